// SPDX-License-Identifier: Apache-2.0
//! As much of systemd-resolved as netd asks for: what is set for an interface, until that is gone.

use std::collections::BTreeMap;
use std::ffi::CStr;

use serde_json::{Value, json};

use super::wire::{Answer, Call, number, string};

/// Its name on the bus.
pub const NAME: &str = "org.freedesktop.resolve1";

/// Settings by interface.
#[derive(Debug, Default)]
pub struct Resolved {
    links: BTreeMap<u32, BTreeMap<&'static str, Value>>,
}

impl Resolved {
    /// What it knows of interfaces that are there.
    pub fn state(&self) -> Value {
        let links = self.links.iter();
        let links = links.filter_map(|(index, set)| Some((name(*index)?, json!(set))));
        json!(links.collect::<BTreeMap<String, Value>>())
    }

    /// Its errors are those of the real one.
    pub fn call(&mut self, call: &Call) -> Answer {
        let body = &call.body;
        let index = number(body, 0);
        if name(index).is_none() {
            let text = format!("Link {index} not known");
            return Err((format!("{NAME}.NoSuchLink"), text));
        }
        let (key, value) = match call.member.as_str() {
            "SetLinkDefaultRoute" => ("default route", json!(number(body, 4) == 1)),
            "SetLinkDNSSEC" => ("DNSSEC", json!(string(body, &mut 4))),
            "SetLinkDNSOverTLS" => ("DNS over TLS", json!(string(body, &mut 4))),
            // a(sb) of one: its length, the name, whether it is for routing only.
            "SetLinkDomains" => ("domain", json!(string(body, &mut 8))),
            // a(iay) of one: its length, the family, the address.
            "SetLinkDNS" => ("server", json!(body[16..])),
            "RevertLink" => {
                self.links.remove(&index);
                return Ok(None);
            }
            other => panic!("resolved is asked for {other}"),
        };
        self.links.entry(index).or_default().insert(key, value);
        Ok(None)
    }
}

/// The interface of this number.
fn name(index: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: writes a name that ends with a NUL into a buffer of the size that it wants.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: it was found, so the buffer holds its name.
    let name = unsafe { CStr::from_ptr(found) };
    Some(name.to_string_lossy().into_owned())
}
