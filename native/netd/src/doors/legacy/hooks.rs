// SPDX-License-Identifier: Apache-2.0
//! Whether an old filter table is there, by the functions that the kernel calls for a packet
//! (linux/netfilter/nfnetlink_hook.h, Linux 5.14; `nft list hooks`). It makes no table, and takes
//! CAP_NET_ADMIN alone.

use super::old::Old;
use crate::nft::attr::{self, Attrs};
use crate::nft::socket::{Message, Socket};

const NFNL_SUBSYS_HOOK: u16 = 12;
/// `NFNL_MSG_HOOK_GET`
const GET: u16 = 0;
// NFNLA_HOOK_…
const HOOKNUM: u16 = 1;
const PRIORITY: u16 = 2;
const FUNCTION_NAME: u16 = 4;
/// `NF_IP_PRI_FILTER`, which is IPv6's too; raw, mangle and security have others.
const FILTER: u32 = 0;

/// None where the kernel does not tell: it has no such subsystem (EINVAL), or no names.
pub(super) fn has_filter(socket: &mut Socket, old: &Old) -> Option<bool> {
    let mut attrs = Attrs::new();
    attrs.be32(HOOKNUM, libc::NF_INET_FORWARD as u32);
    let hooks = socket.dump(&Message {
        operation: "list hooks".into(),
        kind: NFNL_SUBSYS_HOOK << 8 | GET,
        flags: 0,
        family: old.family.number(),
        attrs: attrs.into_bytes(),
    });
    any_filter(hooks.ok()?.iter().map(Vec::as_slice), old)
}

fn any_filter<'a>(hooks: impl Iterator<Item = &'a [u8]>, old: &Old) -> Option<bool> {
    let mut nameless = false;
    for hook in hooks {
        match is_filter(hook, old) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => nameless = true,
        }
    }
    (!nameless).then_some(false)
}

/// None where a function at the filter's place has no name.
fn is_filter(hook: &[u8], old: &Old) -> Option<bool> {
    if attr::find(hook, PRIORITY).and_then(attr::be32) != Some(FILTER) {
        return Some(false);
    }
    let name = attr::find(hook, FUNCTION_NAME).and_then(attr::string)?;
    // Compilers name the parts and copies of a function after it: `name.llvm.1`.
    let name = name.split('.').next().unwrap_or_default();
    Some(old.functions.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::super::old::{IPV4, IPV6};
    use super::*;

    fn hook(priority: i32, function: Option<&str>) -> Vec<u8> {
        let mut attrs = Attrs::new();
        if let Some(function) = function {
            attrs.string(5, "ip_tables").string(FUNCTION_NAME, function);
        }
        attrs.be32(HOOKNUM, 2).be32(PRIORITY, priority as u32);
        attrs.into_bytes()
    }

    fn told(hooks: &[Vec<u8>], old: &Old) -> Option<bool> {
        any_filter(hooks.iter().map(Vec::as_slice), old)
    }

    #[test]
    fn the_filter_is_told_from_other_tables_and_other_families() {
        let mangle = hook(-150, Some("ipt_do_table"));
        let native = hook(0, Some("nft_do_chain_ipv4"));
        assert_eq!(told(&[], &IPV4), Some(false));
        assert_eq!(told(&[mangle.clone(), native.clone()], &IPV4), Some(false));
        for function in ["ipt_do_table", "iptable_filter_hook.llvm.1"] {
            let filter = hook(0, Some(function));
            assert_eq!(
                told(&[mangle.clone(), filter.clone()], &IPV4),
                Some(true),
                "{function}"
            );
            assert_eq!(told(&[filter], &IPV6), Some(false));
        }
        assert_eq!(told(&[hook(0, Some("ip6t_do_table"))], &IPV6), Some(true));
    }

    #[test]
    fn a_kernel_without_names_does_not_tell() {
        assert_eq!(told(&[hook(-150, None)], &IPV4), Some(false));
        assert_eq!(told(&[hook(0, None)], &IPV4), None);
        let named = hook(0, Some("ipt_do_table"));
        assert_eq!(told(&[hook(0, None), named], &IPV4), Some(true));
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("hooks", |bytes| {
            let hooks = crate::nft::socket::objects(bytes).map(|(_, _, attrs)| attrs);
            any_filter(hooks, &IPV4)
        });
    }
}
