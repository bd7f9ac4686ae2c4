// SPDX-License-Identifier: Apache-2.0
//! The outer half: it stays in the host's namespaces, looks after pasta, and ends the anchor.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tapyard_protocol::{Code, Error, LabName, Removed, Result};

use super::channel::Channel;
use super::fork::reap_ended;
use super::host_subnets::host_subnets;
use super::message::{Outside, ToInner, ToOuter};
use super::namespaces::Namespaces;
use super::pasta::{Wanted, plan_dns};
use super::record::{self, Record};
use super::service::Service;
use crate::acts::{self, deed};
use crate::directory::Directory;
use crate::rtnl::{AddressFamily, Monitor, Rtnl, default_route};
use crate::uplink::system_nameservers;
use crate::wait;

/// How long the inner half may take to go once it is told to.
const INNER_DEADLINE: Duration = Duration::from_secs(5);

/// Everything that it holds.
#[derive(Debug)]
pub(super) struct Outer {
    pub(super) directory: Directory,
    pub(super) lab: LabName,
    pub(super) namespaces: Namespaces,
    record: Record,
    rtnl: Rtnl,
    monitor: Monitor,
    service: Service,
    /// What the inner half knows.
    told: Option<Outside>,
    /// `shutdown` was asked for and done.
    ended: bool,
    /// The inner half serves.
    ready: bool,
    /// Whether a network of the lab's sends IPv6 out, once the inner half has said so.
    ipv6: Option<bool>,
}

impl Outer {
    /// Looks at the host's routes and starts or adopts pasta.
    pub(super) fn start(
        directory: Directory,
        lab: LabName,
        namespaces: Namespaces,
        record: Record,
        uid: u32,
    ) -> Result<Outer> {
        let mut outer = Outer {
            directory,
            lab,
            namespaces,
            rtnl: Rtnl::open()?,
            monitor: Monitor::open()?,
            service: Service::default(),
            told: None,
            ended: false,
            ready: false,
            ipv6: None,
            record,
        };
        if let Some(process) = outer
            .record
            .pasta
            .and_then(|pasta| record::hold(pasta, uid))
        {
            let (_, wanted) = outer.look_outside()?;
            outer.service.adopt(process, wanted.as_ref());
        }
        Ok(outer)
    }

    /// Whether a network asks for IPv6. Before the inner half said so, what runs is taken for it.
    fn asks_ipv6(&self) -> bool {
        self.ipv6.unwrap_or_else(|| self.service.carries_ipv6())
    }

    /// The host's side of the uplink, and the pasta that it asks for.
    fn look_outside(&mut self) -> Result<(Outside, Option<Wanted>)> {
        let route6 = self.rtnl.route_out6()?;
        let ipv6 = self.asks_ipv6() && route6.is_some();
        let (servers, forward_dns) = plan_dns(&system_nameservers(), ipv6);
        let mut outside = Outside {
            servers,
            host_subnets: host_subnets(&mut self.rtnl)?,
            ..Outside::default()
        };
        if let Some((gateway, ifindex)) =
            route6.and_then(|route| Some((route.gateway, route.device?)))
        {
            outside.device6 = self.rtnl.link(ifindex)?.map(|link| link.name);
            outside.gateway6 = gateway;
        }
        let routes = self.rtnl.routes(AddressFamily::V4)?;
        let route = default_route(&routes).and_then(|route| Some((route.gateway, route.device?)));
        let Some((gateway, ifindex)) = route else {
            outside.reason = Some(
                Error::new(
                    Code::NoDefaultRoute,
                    "this machine has no IPv4 default route, so guests have no way out",
                )
                .hint("Connect the machine to a network; guests have their way out as soon as it has."),
            );
            return Ok((outside, None));
        };
        let device = self.rtnl.link(ifindex)?.map(|link| link.name);
        let addresses = self.rtnl.addresses(AddressFamily::Any)?;
        outside.addresses = addresses
            .into_iter()
            .filter(|a| a.ifindex == ifindex)
            .map(|a| a.net)
            .collect();
        outside.gateway = gateway;
        outside.device = device.clone();
        let keeper = self.namespaces.keeper.pid();
        let wanted = device.map(|device| Wanted {
            keeper,
            device,
            forward_dns,
            ipv6,
        });
        Ok((outside, wanted))
    }

    /// Brings pasta to what the host's routes ask for, and tells the inner half what changed.
    pub(super) fn follow(&mut self, inner: &Channel) {
        let _by = acts::by_itself("it follows this computer's way out");
        let (mut outside, wanted) = match self.look_outside() {
            Ok(found) => found,
            Err(error) => (
                Outside {
                    reason: Some(error),
                    ..Outside::default()
                },
                None,
            ),
        };
        let (record, directory) = (&mut self.record, &self.directory);
        self.service
            .follow(wanted.as_ref(), &self.namespaces, |pasta| {
                record.pasta = Some(pasta);
                record.write(directory)
            });
        if outside.reason.is_none() {
            outside.reason = self.service.trouble().cloned();
        }
        outside.pasta = self.service.pid();
        outside.ipv6 = self.service.carries_ipv6();
        if self.told.as_ref() != Some(&outside) {
            match inner.send(&ToInner::Outside(outside.clone())) {
                Ok(()) => self.told = Some(outside),
                // Its end is noticed by the loop.
                Err(e) => eprintln!("tell the inner half of the uplink: {e}"),
            }
        }
        tell_acts(inner);
    }

    /// Works until the inner half or the anchor has ended.
    pub(super) fn run(mut self, inner: Channel, child: Pid, fresh: bool) -> Result<()> {
        let result = self.serve(&inner);
        drop(inner);
        end_child(child);
        if self.ended {
            return Ok(());
        }
        let anchor_lives = !self.namespaces.anchor.ended_within(Duration::ZERO);
        if anchor_lives && (self.ready || !fresh) {
            return result; // a later netd finds everything where it is
        }
        // The lab is gone, or has never been: nothing is worth keeping.
        let Removed { mut failed, .. } = self.end();
        failed.extend(self.directory.clear());
        for error in failed {
            eprintln!("{error}");
        }
        result
    }

    fn serve(&mut self, inner: &Channel) -> Result<()> {
        loop {
            // What ended before it became pasta is nobody's to wait for, and keeps an anchor that
            // ends from having ended.
            reap_ended();
            let [host, message, anchor, pasta] = self.wait(inner)?;
            let before = self.asks_ipv6();
            if message {
                match inner.try_receive() {
                    Ok(Some(ToOuter::Ready)) => self.ready = true,
                    Ok(Some(ToOuter::Ipv6(asked))) => self.ipv6 = Some(asked),
                    Ok(Some(ToOuter::Pause(may))) => {
                        self.service.pause(may);
                        tell_acts(inner);
                    }
                    Ok(Some(ToOuter::End)) => {
                        let removed = self.end();
                        self.ended = true;
                        tell_acts(inner);
                        if let Err(e) = inner.send(&ToInner::Ended(removed)) {
                            eprintln!("answer the inner half: {e}");
                        }
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Ok(None) | Err(_) => return Err(self.gone("the inner half of netd")),
                }
            }
            if host {
                self.monitor.drain();
            }
            if pasta {
                self.service.look();
            }
            if self.ended {
                continue;
            }
            if anchor {
                return Err(self.gone("the anchor"));
            }
            let due = self
                .service
                .deadline()
                .is_some_and(|at| at <= Instant::now());
            if host || pasta || due || self.asks_ipv6() != before {
                self.follow(inner);
            }
        }
    }

    /// Waits for the host's routes, the inner half, the anchor's end, pasta's end, or the time
    /// to start pasta again.
    fn wait(&self, inner: &Channel) -> Result<[bool; 4]> {
        // After the end only the inner half is of interest; -1 would do, but has no owner.
        let anchor = if self.ended {
            inner.fd()
        } else {
            self.namespaces.anchor.fd()
        };
        let pasta = self.service.fd().unwrap_or(inner.fd());
        let watched = [self.monitor.fd(), inner.fd(), anchor, pasta];
        let mut fds = watched.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let left = self.service.deadline().filter(|_| !self.ended);
        let left = left.map(wait::left);
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::kernel("wait for the uplink", &errno.into())),
        }
        let ready = fds.map(|fd| !fd.revents().is_empty());
        Ok([
            ready[0],
            ready[1],
            ready[2] && !self.ended,
            ready[3] && self.service.fd().is_some(),
        ])
    }

    /// Ends pasta and the anchor and forgets them; goes on past errors.
    fn end(&mut self) -> Removed {
        let mut out = Removed::default();
        let _by = acts::by_itself("the lab ends");
        if self.service.end() {
            out.removed.push("uplink (pasta)".to_owned());
        }
        let pid = self.namespaces.anchor.pid();
        let deed = deed("ended the namespaces of the lab").command(acts::kill(pid));
        if self.namespaces.end() {
            deed.done();
            out.removed.push(format!("namespaces of {}", self.lab));
        } else {
            out.failed.push(
                Error::new(
                    Code::AnchorFailed,
                    format!("the anchor (process {pid}) does not end"),
                )
                .hint(format!(
                    "Something in its namespace hangs in the kernel; look at /proc/{pid}/stack."
                ))
                .subject(self.lab.as_str()),
            );
        }
        if let Err(e) = Record::remove(&self.directory) {
            out.failed.push(Error::kernel("remove anchor.json", &e));
        }
        out
    }

    fn gone(&self, what: &str) -> Error {
        Error::new(
            Code::AnchorFailed,
            format!("{what} of {} has ended by itself", self.lab),
        )
        .subject(self.lab.as_str())
    }
}

/// The inner half has the log.
fn tell_acts(inner: &Channel) {
    let acts = acts::fresh();
    if !acts.is_empty()
        && let Err(e) = inner.send(&ToInner::Acts(acts))
    {
        eprintln!("tell the inner half what was done: {e}");
    }
}

/// Waits for the inner half, which ends when its channel does, and makes sure.
fn end_child(child: Pid) {
    let deadline = Instant::now() + INNER_DEADLINE;
    while Instant::now() < deadline {
        match waitpid(Some(child), WaitOptions::NOHANG) {
            Ok(None) | Err(Errno::INTR) => std::thread::sleep(Duration::from_millis(5)),
            _ => return,
        }
    }
    // Whatever holds it up, nothing may hold the lab's namespaces when netd says it has ended.
    let _ = kill_process(child, Signal::KILL);
}
