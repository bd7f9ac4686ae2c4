// SPDX-License-Identifier: Apache-2.0
//! `open_tap`: a tap for one NIC, handed over as a file descriptor.

use super::bridged::bridge_name;
use super::guard::{group_of, is_guarded};
use super::shaper::Port;
use super::{Engine, Stopwatch, label};
use crate::acts::{self, deed};
use crate::rtnl::LinkChange;
use crate::{sysctl, tun};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use tapyard_protocol::{
    Code, Error, Mode, NetworkSpec, OpenTap, OpenTapReply, Owner, Result, TapName,
};

impl Engine {
    /// See the protocol page. Dropping the fd removes the tap.
    pub fn open_tap(&mut self, args: &OpenTap) -> Result<(OpenTapReply, OwnedFd)> {
        let opened = self.open_shaped_tap(args);
        if opened.is_err()
            && !args.shape.is_none()
            && let Err(error) = self.hold_shapes()
        {
            eprintln!("undo of open_tap {}: {error}", args.tap);
        }
        opened
    }

    fn open_shaped_tap(&mut self, args: &OpenTap) -> Result<(OpenTapReply, OwnedFd)> {
        self.check_lab(&args.lab)?;
        let recorded = self.settled(&args.lab, &args.network)?.clone();
        let spec = recorded.spec;
        // The leave for a bridge holds as long as its line in netd.conf.
        self.check_uplink(&spec)?;
        let _about = acts::about(&args.lab, &args.network);
        let mut watch = Stopwatch::start();
        let bridge = self
            .rtnl
            .link_named(bridge_name(&spec))?
            .filter(|link| self.is_bridge_of(link, &args.lab, &spec))
            .ok_or_else(|| {
                let name = bridge_name(&spec);
                Error::new(Code::NoSuchNetwork, format!("the bridge {name} is gone"))
                    .hint("Somebody removed it; bring the lab up again.")
                    .subject(spec.name.as_str())
            })?;
        let owner = Owner {
            lab: args.lab.clone(),
            network: args.network.clone(),
            guest: Some(args.guest.clone()),
            nic: Some(args.nic),
        };
        let alias = label::format(self.config.identity.label_uid, &owner);
        if let Some(other) = self.tap_labelled(&alias)? {
            return Err(Error::new(
                Code::NicInUse,
                format!(
                    "NIC {} of {} has {} already",
                    args.nic, args.guest, other.name
                ),
            )
            .hint(format!(
                "Another QEMU of this guest runs; end it first: tapyard force-off {}",
                args.guest
            ))
            .subject(other.name.as_str()));
        }
        self.check_shape(&args.shape)?;
        self.check_tap_quota(&args.tap)?;
        // The tap that this NIC had before is gone, but perhaps not what shaped it.
        let key = (args.guest.clone(), args.nic);
        if recorded.shapes.contains_key(&key) {
            self.hold_shapes()?;
        }
        let (name, fd) = open_free(&args.tap)?;
        let ifindex = rustix::net::netdevice::name_to_index(self.rtnl.fd(), &name)
            .map_err(|e| Error::kernel(format!("look up {name}"), &e.into()))?;
        self.count_tap(ifindex);
        let port = Port {
            ifindex,
            name: &name,
            mac: args.mac.tap_side(),
            mtu: bridge.mtu,
            alias: &alias,
        };
        self.prepare_tap(args, &spec, &port)?;
        self.guard_tap(&spec, ifindex, &name, args.mac)?;
        self.taps.insert(alias.clone(), ifindex);
        let mut steps = vec![watch.step("tap", true)];
        if !args.shape.is_none() {
            self.shape_new_tap(&owner, &port, args.shape)?;
            steps.push(watch.step("tap_shape", true));
        }
        self.make_port(&spec, bridge.ifindex, &port)?;
        if spec.mode == Mode::Bridged && is_guarded(&spec) {
            self.fix_port(&spec, ifindex, &name, args.mac.bytes())?;
        }
        steps.push(watch.step("tap_port", true));
        self.dirty = true;
        let tap = TapName::try_from(name.clone()).map_err(|e| Error::new(Code::Internal, e))?;
        Ok((
            OpenTapReply {
                tap,
                ifindex,
                steps,
            },
            fd,
        ))
    }

    /// Gives a new tap its address, MTU and label.
    fn prepare_tap(&mut self, args: &OpenTap, spec: &NetworkSpec, port: &Port<'_>) -> Result<()> {
        let Port {
            ifindex,
            name,
            mac,
            mtu,
            alias,
        } = *port;
        let change = LinkChange {
            mac: Some(mac),
            mtu: Some(mtu),
            alias: Some(alias),
            group: is_guarded(spec).then(|| group_of(spec)),
            no_link_local: true,
            ..LinkChange::default()
        };
        let made = self.rtnl.change_link(ifindex, name, &change);
        let group = change.group.map(|group| format!(" group {group}"));
        let group = group.unwrap_or_default();
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        deed(format!(
            "made {name} for NIC {} of {}",
            args.nic, args.guest
        ))
        .command(format!(
            "ip tuntap add dev {name} mode tap vnet_hdr\n\
                 ip link set {name} address {mac} mtu {mtu}{group} addrgenmode none\n\
                 ip link set {name} alias {}",
            acts::shell([alias])
        ))
        .told(made)
        .map_err(|e| Error::from(e).subject(name))?;
        // A bridge's port has no use for addresses. Its IPv6 routes would be news to every dnsmasq
        // of the namespace: with 200 of them that is most of the work.
        sysctl::disable_ipv6(name)
            .map_err(|e| Error::kernel(format!("switch IPv6 of {name} off"), &e).subject(name))
    }

    /// Makes a tap a port of the network's bridge, and puts it up.
    fn make_port(&mut self, spec: &NetworkSpec, bridge: u32, port: &Port<'_>) -> Result<()> {
        let name = port.name;
        let change = LinkChange {
            master: Some(bridge),
            up: Some(true),
            ..LinkChange::default()
        };
        let joined = self.rtnl.change_link(port.ifindex, name, &change);
        let bridge = bridge_name(spec);
        deed(format!("made {name} a port of {bridge}"))
            .command(format!("ip link set {name} master {bridge} up"))
            .told(joined)
            .map_err(|e| match e.errno {
                // linux/net/bridge/br_if.c: no free port number below BR_MAX_PORTS.
                Errno::XFULL => Error::new(
                    Code::BridgeFull,
                    format!("{} has all of its 1023 ports in use", spec.name),
                )
                .hint("Spread the guests over a second network.")
                .subject(spec.name.as_str()),
                _ => Error::from(e).subject(name),
            })
    }
}

/// Opens a tap of the preferred name, or of the lowest free `tapN`.
fn open_free(preferred: &TapName) -> Result<(String, OwnedFd)> {
    for name in [preferred.as_str(), tun::NUMBERED] {
        if let Some(opened) = tun::open(name)? {
            return Ok(opened);
        }
    }
    Err(Error::new(
        Code::Kernel,
        format!("the kernel takes neither {preferred} nor any tapN as a tap's name"),
    )
    .subject(preferred.as_str()))
}
