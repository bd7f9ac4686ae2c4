// SPDX-License-Identifier: Apache-2.0
//! System calls that netd and its children give up (seccomp(2)): they answer EPERM, and the
//! kernel logs the attempt where `kernel.seccomp.actions_logged` has `errno`.

use std::io;

// linux/filter.h, linux/bpf_common.h
const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ANY_BIT: u16 = 0x45;
#[cfg(target_arch = "x86_64")]
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
// `struct seccomp_data`; the low half of the first argument on a little-endian machine.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
/// Numbers from here on are those of the x32 ABI.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

#[cfg(target_arch = "x86_64")]
const OURS: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OURS: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const OURS: u32 = 0xc000_00f3;

/// Nothing that netd, its anchor, dnsmasq or pasta do needs one of these.
const NEVER: [libc::c_long; 42] = [
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    // Large surfaces that are often where a kernel bug is.
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    libc::SYS_vmsplice,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    libc::SYS_personality,
    // The machine's time, names, accounts and swap.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Files by handle, past every directory's permissions.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
];

/// Where netd has come to where it works, neither it nor dnsmasq needs these. (pasta does: it
/// makes itself a sandbox.)
const SETTLED: [libc::c_long; 13] = [
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
];

const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// The socket families that netd and dnsmasq use.
const FAMILIES: [libc::c_int; 5] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_PACKET,
];

/// Gives up what nobody here needs. Inherited by every child, and across exec. Wants
/// no_new_privs.
pub fn forbid_always() -> io::Result<()> {
    let mut program = Program::begin();
    NEVER.iter().for_each(|call| program.forbid(*call));
    install(&program.end())
}

/// Gives up mounting, making and entering namespaces, and sockets of strange families: for the
/// half of netd that has its place. dnsmasq inherits it.
pub fn forbid_namespaces() -> io::Result<()> {
    let mut program = Program::begin();
    SETTLED.iter().for_each(|call| program.forbid(*call));
    // Its flags lie in memory, which a filter cannot read; the C library goes on with clone.
    program.when(libc::SYS_clone3, &[give(libc::ENOSYS)]);
    program.when(
        libc::SYS_clone,
        &[
            step(LOAD_WORD, FIRST_ARGUMENT),
            branch(JUMP_ANY_BIT, NEW_NAMESPACES, 0, 1),
            give(libc::EPERM),
            allow(),
        ],
    );
    let mut families = vec![step(LOAD_WORD, FIRST_ARGUMENT)];
    for family in FAMILIES {
        families.extend([branch(JUMP_EQUAL, family as u32, 0, 1), allow()]);
    }
    families.push(give(libc::EAFNOSUPPORT));
    program.when(libc::SYS_socket, &families);
    install(&program.end())
}

/// A program in the making: each part is "if it is this call, answer; else go on".
struct Program(Vec<libc::sock_filter>);

impl Program {
    fn begin() -> Program {
        let mut code = vec![
            step(LOAD_WORD, ARCHITECTURE),
            branch(JUMP_EQUAL, OURS, 1, 0),
            step(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
            step(LOAD_WORD, NUMBER),
        ];
        #[cfg(target_arch = "x86_64")]
        code.extend([branch(JUMP_AT_LEAST, X32, 0, 1), give(libc::ENOSYS)]);
        code.shrink_to_fit();
        Program(code)
    }

    fn forbid(&mut self, call: libc::c_long) {
        self.when(call, &[give(libc::EPERM)]);
    }

    /// `answer` ends with a return on every way through it.
    fn when(&mut self, call: libc::c_long, answer: &[libc::sock_filter]) {
        // The longest answer has a dozen instructions; the field holds 255.
        let skip = u8::try_from(answer.len()).unwrap_or(u8::MAX);
        self.0.push(branch(JUMP_EQUAL, call as u32, 0, skip));
        self.0.extend_from_slice(answer);
    }

    fn end(mut self) -> Vec<libc::sock_filter> {
        self.0.push(allow());
        self.0
    }
}

fn step(code: u16, k: u32) -> libc::sock_filter {
    branch(code, k, 0, 0)
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn allow() -> libc::sock_filter {
    step(RETURN, libc::SECCOMP_RET_ALLOW)
}

fn give(errno: libc::c_int) -> libc::sock_filter {
    step(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32)
}

fn install(code: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(code.len()).map_err(io::Error::other)?,
        filter: code.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which lives until the call returns, and writes
    // nothing to it.
    let installed = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_LOG,
            &raw const program,
        )
    };
    match installed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confine::no_new_privileges;

    /// What a call answers in a process that has given both lists up.
    fn errno_of(call: impl FnOnce() -> libc::c_long) -> i32 {
        // SAFETY: the child makes system calls only, and ends by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let confined = no_new_privileges()
                .and_then(|()| forbid_always())
                .and_then(|()| forbid_namespaces());
            let status = match confined {
                Err(_) => 255,
                Ok(()) if call() < 0 => io::Error::last_os_error().raw_os_error().unwrap_or(254),
                Ok(()) => 0,
            };
            // SAFETY: _exit touches no memory.
            unsafe { libc::_exit(status) };
        }
        let mut status = 0;
        // SAFETY: waits for the child that was made above.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFEXITED(status), "{status}");
        libc::WEXITSTATUS(status)
    }

    #[test]
    fn what_was_given_up_is_refused_and_the_rest_is_not() {
        // SAFETY: system calls that take no pointer, or a null one, in a child that ends at once.
        unsafe {
            assert_eq!(errno_of(|| libc::syscall(libc::SYS_getpid)), 0);
            assert_eq!(
                errno_of(|| libc::syscall(libc::SYS_bpf, 0, 0, 0)),
                libc::EPERM
            );
            assert_eq!(
                errno_of(|| libc::syscall(libc::SYS_ptrace, 0, 0, 0, 0)),
                libc::EPERM
            );
            assert_eq!(
                errno_of(|| libc::unshare(libc::CLONE_NEWUSER).into()),
                libc::EPERM
            );
            let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
            assert_eq!(
                errno_of(|| libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0)),
                libc::EPERM
            );
            assert_eq!(
                errno_of(|| libc::syscall(libc::SYS_clone3, 0, 0)),
                libc::ENOSYS
            );
            let socket = |family| move || libc::socket(family, libc::SOCK_DGRAM, 0).into();
            assert_eq!(errno_of(socket(libc::AF_INET)), 0);
            assert_eq!(errno_of(socket(libc::AF_UNIX)), 0);
            assert_eq!(errno_of(socket(libc::AF_VSOCK)), libc::EAFNOSUPPORT);
        }
    }
}
