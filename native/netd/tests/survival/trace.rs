// SPDX-License-Identifier: Apache-2.0
//! Runs netd under ptrace(2) and stops it before a system call that changes something, so that
//! the test can kill there. Points are found by running, not listed by hand: every call counts
//! that is not known to change nothing outside its process.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::FromRawFd;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libc::{c_int, c_long, c_void, pid_t};

use crate::bus::wire::Call;
use crate::world::SOON;

/// A system call that changes something, about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Who makes it: `netd`, `netd/1` its first child, `netd/1/1` that one's.
    pub process: String,
    /// The call, with the file's name where it has one.
    pub call: String,
    /// The program that makes it outlived netd, which was killed.
    pub outlives: bool,
    /// There was somebody to be killed.
    pub met: bool,
}

impl Point {
    /// A line of the journal is about to be written.
    fn is_journal(&self) -> bool {
        self.call.starts_with("write ") && self.call.contains("/journal")
    }

    /// A line of the journal or a sysctl of IPv6 is about to be written.
    fn is_of_ipv6(&self) -> bool {
        self.is_journal() || self.call.starts_with("write /proc/sys/net/ipv6/")
    }

    /// A table of the old iptables is about to be another.
    fn is_replacement(&self) -> bool {
        self.call == REPLACE
    }

    /// The program of the old iptables is about to change them, or to end.
    fn is_of_program(&self) -> bool {
        self.process.ends_with(PROGRAM) && (self.is_replacement() || self.call == "exit")
    }

    /// A line of the journal is about to be written, or a neighbour made or deleted.
    fn is_of_proxies(&self) -> bool {
        let neighbours = ["sendto netlink 28", "sendto netlink 29"];
        self.is_journal() || neighbours.contains(&self.call.as_str())
    }

    /// The system bus is about to be told something.
    fn is_bus(&self) -> bool {
        self.call.starts_with(BUS)
    }
}

/// When to kill. Counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the call with this number.
    Call(usize),
    /// Before the line of the journal or the sysctl of IPv6 with this number is written.
    OfIpv6(usize),
    /// Before the line of the journal with this number is written, or that change of neighbours made.
    OfProxies(usize),
    /// After the line of the journal with this number is written, before anything else is done.
    AfterLine(usize),
    /// Before the line of the journal or the change of the old iptables with this number.
    OfLegacy(usize),
    /// Before the change of the old iptables, or the end of the program that changes or lists them, with
    /// this number.
    OfProgram(usize),
    /// Before a message to the system bus, and after it, before anything else is done: the even
    /// numbers and the odd ones.
    Bus(usize),
}

/// Whom to kill.
pub enum Kill {
    /// The process that makes the call.
    Actor,
    /// The process that the caller started, and the others of netd go on.
    Leader,
    /// Whomever this kills; true where there was somebody.
    Other(Box<dyn FnOnce() -> bool + Send>),
}

/// netd, traced until the kill or its end.
pub struct Traced {
    /// Its number.
    pub pid: pid_t,
    /// What it says.
    pub stdout: Option<ChildStdout>,
    point: Arc<Mutex<Option<Point>>>,
    thread: JoinHandle<()>,
}

impl Traced {
    /// Starts `command` (program and arguments) with its stderr in `log`.
    pub fn start(command: Vec<OsString>, log: File, moment: Moment, kill: Kill) -> Traced {
        let point = Arc::new(Mutex::new(None));
        let (started, start) = mpsc::channel();
        let done = Arc::clone(&point);
        // Only the thread that attached may trace.
        let thread = std::thread::spawn(move || {
            // It stops itself, so that it is traced from before its first instruction.
            #[allow(clippy::zombie_processes)] // waited for by its number
            let mut child = Command::new("sh")
                .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
                .args(command)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(log)
                .spawn()
                .unwrap();
            let pid = child.id() as pid_t;
            let options = libc::PTRACE_O_TRACESYSGOOD
                | libc::PTRACE_O_TRACEFORK
                | libc::PTRACE_O_TRACEVFORK
                | libc::PTRACE_O_TRACECLONE
                | libc::PTRACE_O_TRACEEXEC;
            ptrace(libc::PTRACE_SEIZE, pid, 0, options as usize).unwrap();
            started.send((pid, child.stdout.take().unwrap())).unwrap();
            Tracer {
                leader: pid,
                running: false,
                names: HashMap::from([(pid, ("netd".to_owned(), 0))]),
                calls: 0,
                lines: 0,
                of_ipv6: 0,
                of_legacy: 0,
                of_program: 0,
                of_proxies: 0,
                messages: 0,
                moment,
                kill: Some(kill),
                point: done,
            }
            .run();
        });
        let (pid, stdout) = start.recv().unwrap();
        Traced {
            pid,
            stdout: Some(stdout),
            point,
            thread,
        }
    }

    /// Where somebody was killed, once that is done.
    pub fn point(&self) -> Option<Point> {
        self.point.lock().unwrap().clone()
    }

    /// Whether tracing is over.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Tracer {
    leader: pid_t,
    /// The leader has become netd.
    running: bool,
    /// Processes by number, with their count of children.
    names: HashMap<pid_t, (String, u32)>,
    calls: usize,
    lines: usize,
    of_ipv6: usize,
    of_legacy: usize,
    of_program: usize,
    of_proxies: usize,
    messages: usize,
    moment: Moment,
    kill: Option<Kill>,
    point: Arc<Mutex<Option<Point>>>,
}

impl Tracer {
    fn run(mut self) {
        loop {
            let mut status = 0;
            // SAFETY: waits for what this thread traces, into an integer of ours.
            let pid =
                unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
            if pid < 0 {
                return;
            }
            if !libc::WIFSTOPPED(status) {
                self.names.remove(&pid);
                if pid == self.leader {
                    return self.let_go();
                }
                continue;
            }
            let mut signal = 0;
            match (libc::WSTOPSIG(status), status >> 16) {
                (libc::SIGSTOP, libc::PTRACE_EVENT_STOP) if !self.running => {
                    go_on(pid);
                }
                (
                    _,
                    libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE,
                ) => self.name_child(pid),
                (_, libc::PTRACE_EVENT_EXEC) if pid == self.leader => {
                    self.running = true;
                    go_on(pid);
                }
                (_, libc::PTRACE_EVENT_EXEC) => match title(pid).filter(|t| t.ends_with(PROGRAM)) {
                    // netd waits for what it does.
                    Some(title) => _ = self.names.insert(pid, (title, 0)),
                    // dnsmasq or pasta: no part of netd any more.
                    None => {
                        self.names.remove(&pid);
                        let _ = ptrace(libc::PTRACE_DETACH, pid, 0, 0);
                        continue;
                    }
                },
                (_, event) if event != 0 => {}
                (stop, _) if stop == libc::SIGTRAP | 0x80 => {
                    if self.running && self.is_the_end(pid) {
                        return self.let_go();
                    }
                }
                (stop, _) => signal = stop,
            }
            // It may have been killed meanwhile.
            let _ = ptrace(libc::PTRACE_SYSCALL, pid, 0, signal as usize);
        }
    }

    /// What is still traced goes on without.
    fn let_go(mut self) {
        for pid in self.names.keys() {
            let _ = ptrace(libc::PTRACE_INTERRUPT, *pid, 0, 0);
        }
        // Those that are stopped already, first: the interrupt comes later and to nobody.
        self.names.retain(|pid, _| {
            let goes = ptrace(libc::PTRACE_DETACH, *pid, 0, 0).is_ok();
            go_on(*pid);
            !goes
        });
        while !self.names.is_empty() {
            let mut status = 0;
            // SAFETY: waits for what this thread traces, into an integer of ours.
            let pid =
                unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
            if pid < 0 {
                return;
            }
            if libc::WIFSTOPPED(status) {
                let _ = ptrace(libc::PTRACE_DETACH, pid, 0, 0);
                go_on(pid);
            }
            self.names.remove(&pid);
        }
    }

    fn name_child(&mut self, parent: pid_t) {
        let mut child: libc::c_ulong = 0;
        if ptrace(
            libc::PTRACE_GETEVENTMSG,
            parent,
            0,
            (&raw mut child) as usize,
        )
        .is_err()
        {
            return;
        }
        let (name, count) = self
            .names
            .entry(parent)
            .or_insert_with(|| ("netd/?".to_owned(), 0));
        *count += 1;
        let name = format!("{name}/{count}");
        self.names.insert(child as pid_t, (name, 0));
    }

    /// Looks at a system call that is about to be made; true when the kill is done.
    fn is_the_end(&mut self, pid: pid_t) -> bool {
        let Some((number, args)) = entered(pid) else {
            return false;
        };
        let Some(call) = describe(pid, number, &args) else {
            return false;
        };
        let process = match self.names.get(&pid) {
            Some((name, _)) => name.clone(),
            None => "netd/?".to_owned(),
        };
        let point = Point {
            process,
            call,
            outlives: false,
            met: true,
        };
        let ipv6 = point.is_of_ipv6();
        let program = point.is_of_program();
        let replacement = point.is_replacement();
        let legacy = replacement || point.is_journal();
        let (calls, lines, of_ipv6) = (self.calls, self.lines, self.of_ipv6);
        let proxies = point.is_of_proxies();
        let (of_legacy, of_program) = (self.of_legacy, self.of_program);
        let (of_proxies, messages) = (self.of_proxies, self.messages);
        self.calls += 1;
        self.lines += usize::from(point.is_journal());
        self.of_ipv6 += usize::from(ipv6);
        self.of_legacy += usize::from(legacy);
        self.of_program += usize::from(program);
        self.of_proxies += usize::from(proxies);
        self.messages += usize::from(point.is_bus());
        let now = match self.moment {
            Moment::Call(at) => at == calls,
            Moment::OfIpv6(at) => ipv6 && at == of_ipv6,
            Moment::OfLegacy(at) => legacy && at == of_legacy,
            Moment::OfProgram(at) => program && at == of_program,
            Moment::OfProxies(at) => proxies && at == of_proxies,
            Moment::AfterLine(at) => lines == at + 1,
            Moment::Bus(at) if at.is_multiple_of(2) => point.is_bus() && messages == at / 2,
            Moment::Bus(at) => messages == at / 2 + 1,
        };
        if !now {
            return false;
        }
        *self.point.lock().unwrap() = Some(point);
        match self.kill.take() {
            Some(Kill::Actor) => kill(pid),
            Some(Kill::Leader) => {
                kill(self.leader);
                let mut status = 0;
                // SAFETY: waits for our own child, into an integer of ours.
                unsafe { libc::waitpid(self.leader, &raw mut status, libc::__WALL) };
                if replacement && !is_ended(pid) {
                    let mut point = self.point.lock().unwrap();
                    point.iter_mut().for_each(|point| point.outlives = true);
                }
            }
            Some(Kill::Other(act)) => {
                let met = act();
                let mut point = self.point.lock().unwrap();
                point.iter_mut().for_each(|point| point.met = met);
            }
            None => {}
        }
        true
    }
}

/// Whether a traced process ends soon by itself, though it stands still.
fn is_ended(pid: pid_t) -> bool {
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        let mut status = 0;
        // SAFETY: waits for what this thread traces, into an integer of ours.
        let found = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::WNOHANG) };
        if found < 0 || found == pid && !libc::WIFSTOPPED(status) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// What a process was started as.
fn title(pid: pid_t) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    line.split('\0').next().map(str::to_owned)
}

/// kill -9.
pub fn kill(pid: pid_t) {
    // SAFETY: a process of this test's.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Ends a stop of job control, which its being traced may have hidden.
fn go_on(pid: pid_t) {
    // SAFETY: a process of this test's.
    unsafe { libc::kill(pid, libc::SIGCONT) };
}

fn ptrace(request: libc::c_uint, pid: pid_t, address: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: the requests that are used here take numbers, or a pointer to something of the
    // caller's that is large enough.
    match unsafe { libc::ptrace(request, pid, address as *mut c_void, data as *mut c_void) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// The call that a stopped process enters; none where it leaves one.
fn entered(pid: pid_t) -> Option<(c_long, [u64; 6])> {
    const ENTRY: u8 = 1;
    // SAFETY: plain data for which all zeroes is a value.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::ptrace_syscall_info>();
    ptrace(
        libc::PTRACE_GET_SYSCALL_INFO,
        pid,
        size,
        (&raw mut info) as usize,
    )
    .ok()?;
    if info.op != ENTRY {
        return None;
    }
    // SAFETY: op says that this is the field that was filled.
    let entry = unsafe { info.u.entry };
    Some((entry.nr as c_long, entry.args))
}

/// A call in words; none where it changes nothing outside its process.
fn describe(pid: pid_t, number: c_long, args: &[u64; 6]) -> Option<String> {
    if HARMLESS.contains(&number) {
        return None;
    }
    let file = |fd: u64| {
        let link = fs::read_link(format!("/proc/{pid}/fd/{}", fd as c_int));
        link.map_or_else(|_| "?".to_owned(), |path| path.display().to_string())
    };
    Some(match number {
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev => {
            format!("write {}", file(args[0]))
        }
        libc::SYS_openat => {
            let changing = libc::O_CREAT | libc::O_TRUNC;
            if args[2] as c_int & changing == 0 {
                return None;
            }
            format!("create {}", text(pid, args[1]))
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => {
            let changing = libc::O_CREAT | libc::O_TRUNC;
            if args[1] as c_int & changing == 0 {
                return None;
            }
            format!("create {}", text(pid, args[0]))
        }
        libc::SYS_sendto => {
            let head = memory(pid, args[1], 16);
            if is_question(&head, args[2]) {
                return None;
            }
            match netlink(&head, args[2]) {
                Some((kind, _)) => format!("sendto netlink {kind}"),
                None => match to_bus(&memory(pid, args[1], args[2] as usize)) {
                    Some(what) => format!("{BUS}{what}"),
                    None => "sendto socket".to_owned(),
                },
            }
        }
        libc::SYS_sendmsg => "sendmsg".to_owned(),
        libc::SYS_setsockopt => match (args[1] as c_int, args[2] as c_int) {
            (libc::IPPROTO_IP | libc::IPPROTO_IPV6, SO_SET_REPLACE) => REPLACE.to_owned(),
            _ => return None,
        },
        libc::SYS_ioctl => match args[1] as libc::c_ulong {
            libc::TCGETS | libc::FIONBIO | SIOCGIFINDEX | libc::FIOCLEX => return None,
            request => format!("ioctl {request:#x}"),
        },
        libc::SYS_renameat | libc::SYS_renameat2 => format!("rename {}", text(pid, args[1])),
        libc::SYS_unlinkat => format!("unlink {}", text(pid, args[1])),
        libc::SYS_mkdirat => format!("mkdir {}", text(pid, args[1])),
        libc::SYS_clone | libc::SYS_clone3 => "clone".to_owned(),
        libc::SYS_execve => format!("execve {}", text(pid, args[0])),
        libc::SYS_kill | libc::SYS_pidfd_send_signal => "kill".to_owned(),
        libc::SYS_unshare => "unshare".to_owned(),
        libc::SYS_setns => "setns".to_owned(),
        libc::SYS_bind => "bind".to_owned(),
        libc::SYS_exit_group => "exit".to_owned(),
        libc::SYS_ftruncate => format!("truncate {}", file(args[0])),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename | libc::SYS_unlink | libc::SYS_rmdir | libc::SYS_mkdir => {
            let what = match number {
                libc::SYS_rename => "rename",
                libc::SYS_mkdir => "mkdir",
                _ => "unlink",
            };
            format!("{what} {}", text(pid, args[0]))
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork | libc::SYS_vfork => "clone".to_owned(),
        other => format!("system call {other}"),
    })
}

/// How the programs of the old iptables are called, IPv4's and IPv6's.
const PROGRAM: &str = "tables-legacy";
/// Their change, as a point calls it.
const REPLACE: &str = "replace the table";
/// `IPT_SO_SET_REPLACE`, which is IPv6's too (linux/netfilter_ipv4/ip_tables.h).
const SO_SET_REPLACE: c_int = 64;

/// What the system bus is told, as a point calls it.
const BUS: &str = "the bus: ";

/// What these bytes say to the system bus, where they are for it.
fn to_bus(bytes: &[u8]) -> Option<String> {
    if bytes.starts_with(b"\0AUTH ") || bytes == b"BEGIN\r\n" {
        return Some(
            String::from_utf8_lossy(&bytes[..5])
                .trim_matches('\0')
                .to_owned(),
        );
    }
    Some(Call::parse(bytes)?.member)
}

const SIOCGIFINDEX: libc::c_ulong = 0x8933;

/// Type and flags of a buffer that is a netlink message (linux/netlink.h).
fn netlink(head: &[u8], length: u64) -> Option<(u16, u16)> {
    let size = u32::from_ne_bytes(head.get(0..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(head.get(4..6)?.try_into().ok()?);
    let flags = u16::from_ne_bytes(head.get(6..8)?.try_into().ok()?);
    (size >= 16 && u64::from(size) <= length).then_some((kind, flags))
}

/// A dump, or rtnetlink's RTM_GET….
fn is_question(head: &[u8], length: u64) -> bool {
    const DUMP: u16 = 0x300;
    const CREATE: u16 = 0x400;
    const ROUTE: std::ops::Range<u16> = 16..256;
    netlink(head, length).is_some_and(|(kind, flags)| {
        (flags & DUMP == DUMP && flags & CREATE == 0)
            || (ROUTE.contains(&kind) && kind & 3 == 2 && flags & DUMP == 0)
    })
}

/// Memory of a traced process; as much of it as there is.
fn memory(pid: pid_t, address: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let here = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: size,
    };
    let there = libc::iovec {
        iov_base: address as *mut c_void,
        iov_len: size,
    };
    // SAFETY: reads into `bytes`, as far as it goes.
    let read = unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0) };
    bytes.truncate(read.max(0) as usize);
    bytes
}

/// A path in the memory of a traced process.
fn text(pid: pid_t, address: u64) -> String {
    let bytes: Vec<u8> = (0..256)
        .map_while(|i| memory(pid, address + i, 1).first().copied())
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A pipe's two ends, for those who want to hold netd's stderr.
pub fn memory_file() -> File {
    // SAFETY: makes an fd, which nobody else owns.
    unsafe { File::from_raw_fd(libc::memfd_create(c"netd".as_ptr(), 0)) }
}

/// What a process does to itself only, or what only looks.
const HARMLESS: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_brk,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_chdir,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_connect,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_exit,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_memfd_create,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_pidfd_open,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_prlimit64,
    libc::SYS_pselect6,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_seccomp,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setsid,
    libc::SYS_sigaltstack,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_statx,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_wait4,
    libc::SYS_waitid,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getpgrp,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pause,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
];
