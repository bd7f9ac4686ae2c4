// SPDX-License-Identifier: Apache-2.0
//! Errors are data: a code from a closed list, what happened to what, and what to do now.

use serde::{Deserialize, Serialize};

/// Every code that netd answers with; `docs/netd-protocol.md` ("Codes") says when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // each is described once, in the protocol page
pub enum Code {
    // The conversation.
    BadMessage,
    BadArgs,
    NoSuchVerb,
    TooLarge,
    HelloFirst,
    ProtocolMismatch,
    NotAllowed,
    Busy,
    // Networks and taps.
    WrongLab,
    NoSuchNetwork,
    NameTaken,
    SubnetOverlap,
    SubnetNotOnLan,
    AddressTaken,
    NoNatSwitch,
    ModeNeedsHostScope,
    BridgeNotAllowed,
    WifiCannotBridge,
    NoSuchBridge,
    InterfaceInUse,
    NicInUse,
    MacTaken,
    NoSuchNic,
    NoSuchInterface,
    NetemMissing,
    ShaperMissing,
    BridgeFull,
    QuotaReached,
    GuestUnreachable,
    TunMissing,
    TunUnreadable,
    DnsmasqMissing,
    DnsmasqFailed,
    VhostMissing,
    JournalFailed,
    Kernel,
    // The uplink.
    NoDefaultRoute,
    NoIpv6Route,
    PastaMissing,
    PastaFailed,
    // Starting netd.
    Usage,
    BadDirectory,
    PathTooLong,
    AlreadyRunning,
    NoPrivilege,
    UnsafePath,
    NamespaceDenied,
    AnchorFailed,
    // `tapyard-tap forward`.
    PortTaken,
    PortDenied,
    NoSuchAddress,
    // `tapyard-tap plug`.
    QmpFailed,
    // A client's own: netd is not there, or did not answer in time.
    Unreachable,
    TimedOut,
    // A defect in netd.
    Internal,
}

/// A failure, as it travels: `{code, message, hint?, subject?}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure, for programs.
    pub code: Code,
    /// What happened, to what, in words.
    pub message: String,
    /// What to do now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The object it concerns: an interface, a subnet, a path, a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// The result of everything that can fail in a way that a user can meet.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error without hint and subject.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error {
            code,
            message: message.into(),
            hint: None,
            subject: None,
        }
    }

    /// Adds what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the object that it concerns.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// A system call that failed: `KERNEL`, with the operation, the system's words and errno.
    pub fn kernel(operation: impl std::fmt::Display, cause: &std::io::Error) -> Self {
        Error::new(Code::Kernel, format!("{operation}: {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_upper_snake_case_on_the_wire() {
        let error = Error::new(Code::NicInUse, "m").subject("tap0");
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"code":"NIC_IN_USE","message":"m","subject":"tap0"}"#
        );
    }
}
