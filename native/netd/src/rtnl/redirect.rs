// SPDX-License-Identifier: Apache-2.0
//! What comes in by an interface cannot wait there. So it is redirected to an intermediate
//! functional block (an interface of kind `ifb`), which has a discipline of its own and then gives
//! it back: `tc filter add dev TAP parent ffff: … action mirred egress redirect dev IFB`.

use super::Result;
use super::link::{
    IFLA_ADDRESS, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, RTM_NEWLINK,
};
use super::qdisc::{INGRESS_HANDLE, TCA_KIND, TCA_OPTIONS, TCMSG, header};
use super::socket::{Message, NLM_F_CREATE, NLM_F_EXCL, Rtnl, u32_at};
use crate::nft::attr::{Attrs, find, parse, string};

const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;

// linux/pkt_cls.h
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TC_U32_TERMINAL: u8 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TC_ACT_STOLEN: u32 = 4;
// linux/tc_act/tc_mirred.h
const TCA_MIRRED_PARMS: u16 = 2;
const TCA_EGRESS_REDIR: u32 = 1;

/// The filter's preference, 1, and its protocol, ETH_P_ALL in network order, as tcm_info.
const FIRST_ALL_PROTOCOLS: u32 = (1 << 16) | (libc::ETH_P_ALL as u16).to_be() as u32;

/// An intermediate functional block to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewIfb<'a> {
    /// Its number, which must be free.
    pub ifindex: u32,
    /// Its name; `%d` in it is a number that the kernel looks for.
    pub name: &'a str,
    /// Its hardware address, which nobody sees.
    pub mac: [u8; 6],
    /// Bytes.
    pub mtu: u32,
    /// Its alias.
    pub alias: &'a str,
}

impl Rtnl {
    /// Makes it and puts its alias on, in one system call (see [`Rtnl::add_bridge`]). EEXIST: the
    /// name is taken; EBUSY: the number is; EOPNOTSUPP: the kernel has none.
    pub fn add_ifb(&mut self, ifb: &NewIfb<'_>) -> Result<()> {
        let mut attrs = Attrs::new();
        attrs
            .string(IFLA_IFNAME, ifb.name)
            .raw(IFLA_ADDRESS, &ifb.mac)
            .raw(IFLA_MTU, &ifb.mtu.to_ne_bytes())
            .nest(IFLA_LINKINFO, |info| {
                info.string(IFLA_INFO_KIND, "ifb");
            });
        let make = Message {
            operation: format!("make {}", ifb.name),
            kind: RTM_NEWLINK,
            flags: NLM_F_CREATE | NLM_F_EXCL,
            body: [super::link::header(ifb.ifindex, 0, 0), attrs.into_bytes()].concat(),
        };
        let mut attrs = Attrs::new();
        attrs.raw(IFLA_IFALIAS, ifb.alias.as_bytes());
        let label = Message {
            operation: format!("label {}", ifb.name),
            kind: RTM_NEWLINK,
            flags: 0,
            body: [super::link::header(ifb.ifindex, 0, 0), attrs.into_bytes()].concat(),
        };
        self.request(&[make, label])
    }

    /// Sends all that comes in by `ifindex`, which has an ingress discipline without filters, to
    /// `to`; `name` is for errors only. ENOENT: the kernel lacks cls_u32 or act_mirred.
    pub fn redirect(&mut self, ifindex: u32, name: &str, to: u32) -> Result<()> {
        self.request(&[Message {
            operation: format!("redirect what comes in by {name}"),
            kind: RTM_NEWTFILTER,
            flags: NLM_F_CREATE | NLM_F_EXCL,
            body: filter(ifindex, to),
        }])
    }

    /// Where all that comes in by `ifindex` is sent to; none where it is not.
    pub fn redirected(&mut self, ifindex: u32) -> Result<Option<u32>> {
        let request = Message {
            operation: "list filters".into(),
            kind: RTM_GETTFILTER,
            flags: 0,
            body: header(ifindex, 0, INGRESS_HANDLE, 0),
        };
        let mut to = None;
        self.dump(&request, |kind, body| {
            if kind == RTM_NEWTFILTER && to.is_none() {
                to = parse_filter(body);
            }
        })?;
        Ok(to)
    }
}

/// RTM_NEWTFILTER: u32 that matches everything, with mirred as its action.
fn filter(ifindex: u32, to: u32) -> Vec<u8> {
    // struct tc_u32_sel with one struct tc_u32_key of mask, value, offset and its mask, all 0.
    let mut selector = [0; 16 + 16];
    selector[0] = TC_U32_TERMINAL;
    selector[2] = 1; // keys
    // struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex.
    let mirred = [0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to].map(u32::to_ne_bytes);
    let mut attrs = Attrs::new();
    attrs.string(TCA_KIND, "u32").nest(TCA_OPTIONS, |options| {
        options
            .raw(TCA_U32_SEL, &selector)
            .nest(TCA_U32_ACT, |actions| {
                actions.nest(1, |action| {
                    action
                        .string(TCA_ACT_KIND, "mirred")
                        .nest(TCA_ACT_OPTIONS, |options| {
                            options.raw(TCA_MIRRED_PARMS, &mirred.concat());
                        });
                });
            });
    });
    let header = header(ifindex, 0, INGRESS_HANDLE, FIRST_ALL_PROTOCOLS);
    [header, attrs.into_bytes()].concat()
}

/// Where a filter like [`filter`]'s sends to; none for any other.
fn parse_filter(body: &[u8]) -> Option<u32> {
    let attrs = body.get(TCMSG..)?;
    let options = find(attrs, TCA_OPTIONS)?;
    let ours = u32_at(body, 16)? == FIRST_ALL_PROTOCOLS
        && find(attrs, TCA_KIND).and_then(string) == Some("u32");
    let selector = find(options, TCA_U32_SEL)?;
    // One key, whose mask is 0.
    let matches_all = selector.get(2) == Some(&1) && u32_at(selector, 16) == Some(0);
    let (_, action) = parse(find(options, TCA_U32_ACT)?).next()?;
    let redirects = find(action, TCA_ACT_KIND).and_then(string) == Some("mirred");
    let parms = find(find(action, TCA_ACT_OPTIONS)?, TCA_MIRRED_PARMS)?;
    let redirects = redirects && u32_at(parms, 20)? == TCA_EGRESS_REDIR;
    u32_at(parms, 24).filter(|_| ours && matches_all && redirects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_no_garbage() {
        let body = filter(7, 9);
        assert_eq!(parse_filter(&body), Some(9));
        for end in 0..body.len() {
            parse_filter(&body[..end]);
            let mut wrong = body.clone();
            wrong[end] ^= 0xff;
            parse_filter(&wrong);
        }
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("filter", parse_filter);
    }
}
