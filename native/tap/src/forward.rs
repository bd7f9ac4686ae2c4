// SPDX-License-Identifier: Apache-2.0
//! `tapyard-tap forward`: a port of this computer that leads to a guest's.

use crate::dial::connect;
use crate::flow::{Flow, reset};
use crate::watchers::{Status, Watchers};
use crate::{args, fail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use tapyard_protocol::{Code, Error, LabName, Port, Rest, Result, Transport, listener_of};

/// Connections at once: six descriptors each, under the usual limit of 1024.
const FLOWS: usize = 128;
/// Of netd's 32 clients.
const DIALS: usize = 8;

#[derive(Debug)]
struct Args {
    netd: PathBuf,
    lab: LabName,
    listen: SocketAddrV4,
    /// The guest's.
    address: IpAddr,
    port: Port,
    watch: Option<PathBuf>,
}

/// Runs `forward` with the words after it; until it is killed.
pub fn run(words: &[OsString]) -> ExitCode {
    let args = match parse(words) {
        Ok(args) => args,
        Err(sentence) => return fail::usage(&sentence),
    };
    if args.watch.is_some() && !is_told_to_begin() {
        eprintln!(
            "tapyard-tap: whoever started this forward has not noted it, so it does not begin"
        );
        return ExitCode::FAILURE;
    }
    let watchers = || Watchers::open(args.watch.as_deref());
    match listen(args.listen).and_then(|listener| serve(&args, &listener, watchers()?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Ok(data) = serde_json::to_string(&error) {
                println!("{{\"error\":{data}}}");
            }
            fail::error(&error)
        }
    }
}

/// Whoever follows this process notes it first, so that one that nobody knows of never listens: a line
/// on standard input says that it is done, and its end that it never will be.
fn is_told_to_begin() -> bool {
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .is_ok_and(|size| size > 0)
}

/// `PORT_TAKEN` with who listens there already; `PORT_DENIED`, `NO_SUCH_ADDRESS`, `KERNEL`.
fn listen(at: SocketAddrV4) -> Result<TcpListener> {
    let listener = TcpListener::bind(at).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::AddrInUse => {
            let owner = listener_of(at.port(), Transport::Tcp);
            let owner = owner.unwrap_or_else(|| "another program".to_owned());
            Error::new(Code::PortTaken, format!("{at} is taken by {owner}"))
                .hint("End that program (ss -ltnp shows it), or forward from another port.")
                .subject(at.to_string())
        }
        std::io::ErrorKind::PermissionDenied => {
            Error::new(Code::PortDenied, format!("this user may not listen on {at}"))
                .hint("Ports below 1024 are root's (sysctl net.ipv4.ip_unprivileged_port_start): forward from a higher one.")
                .subject(at.to_string())
        }
        std::io::ErrorKind::AddrNotAvailable => {
            Error::new(Code::NoSuchAddress, format!("this computer has no address {}", at.ip()))
                .hint("Listen on 127.0.0.1 for this computer alone, or on 0.0.0.0 for every address that it has.")
                .subject(at.ip().to_string())
        }
        _ => Error::kernel(format!("listen on {at}"), &cause).subject(at.to_string()),
    })?;
    listener
        .set_nonblocking(true)
        .map_err(|e| Error::kernel("set up a listener", &e))?;
    Ok(listener)
}

/// What a dial came to: the client, and the guest or why not.
type Dialled = (TcpStream, Result<OwnedFd>);

fn serve(args: &Args, listener: &TcpListener, mut watchers: Watchers) -> Result<()> {
    println!("{{\"listening\":\"{}\"}}", args.listen);
    let (sender, receiver) = channel();
    let setup = |e| Error::kernel("make a socket pair", &e);
    let (wake, woken) = UnixStream::pair().map_err(setup)?;
    wake.set_nonblocking(true).map_err(setup)?;
    woken.set_nonblocking(true).map_err(setup)?;
    let mut flows: Vec<Flow> = Vec::new();
    let wake = Arc::new(wake);
    let mut status = Status::default();
    let mut dials = 0;
    let mut resting = Rest::default();
    loop {
        let (rest, watchers_rest) = (resting.over(), watchers.rest());
        let mut accepting = PollFlags::empty();
        let room = dials < DIALS && flows.len() + dials < FLOWS;
        accepting.set(PollFlags::IN, room && rest.is_none());
        let mut fds = vec![
            PollFd::new(listener, accepting),
            PollFd::new(&woken, PollFlags::IN),
        ];
        // A socket that nothing is wanted of is left out: its hang-up would be told for ever.
        let mut whose = Vec::new();
        for (index, flow) in flows.iter().enumerate() {
            for (fd, flags) in flow.waits().into_iter().filter(|wait| !wait.1.is_empty()) {
                fds.push(PollFd::from_borrowed_fd(fd, flags));
                whose.push(index);
            }
        }
        let flows_end = fds.len();
        fds.extend(
            watchers
                .fds(watchers_rest)
                .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)),
        );
        let until = rest.into_iter().chain(watchers_rest).min();
        let left = until.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(Error::kernel("wait for connections", &e.into())),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let pumped: HashSet<usize> = whose
            .into_iter()
            .zip(&ready[2..flows_end])
            .filter_map(|(index, ready)| ready.then_some(index))
            .collect();
        let mut index = 0..;
        flows.retain_mut(|flow| {
            let ready = index.next().is_some_and(|index| pumped.contains(&index));
            !ready || flow.pump()
        });
        if ready[1] {
            dials -= joined(&woken, &receiver, &mut flows, &mut status);
        }
        if ready[0]
            && let Some((client, _)) = resting.after(listener.accept())
        {
            dials += 1;
            dial(args, client, &sender, &wake);
        }
        status.flows = flows.len();
        watchers.tell(&ready[flows_end..], &status);
    }
}

/// Asks netd in a thread of its own: a guest that does not answer takes seconds.
fn dial(args: &Args, client: TcpStream, done: &Sender<Dialled>, wake: &Arc<UnixStream>) {
    let (netd, lab, address, port) = (args.netd.clone(), args.lab.clone(), args.address, args.port);
    let (done, wake) = (done.clone(), Arc::clone(wake));
    std::thread::spawn(move || {
        let guest = connect(&netd, &lab, address, port);
        // The loop lives as long as this process.
        let _ = done.send((client, guest));
        let _ = std::io::Write::write(&mut &*wake, b"x");
    });
}

/// Joins those whose guest has answered. Returns how many have got an answer of any kind.
fn joined(
    mut woken: &UnixStream,
    receiver: &Receiver<Dialled>,
    flows: &mut Vec<Flow>,
    status: &mut Status,
) -> usize {
    let _ = std::io::Read::read(&mut woken, &mut [0; 64]);
    let mut answered = 0;
    while let Ok((client, guest)) = receiver.try_recv() {
        answered += 1;
        let flow = guest.and_then(|guest| {
            let failed = |e| Error::kernel("join two sockets", &e);
            client.set_nonblocking(true).map_err(failed)?;
            client.set_nodelay(true).map_err(failed)?;
            let own = client.try_clone().map_err(failed)?;
            Flow::new(own.into(), guest).map_err(|e| failed(e.into()))
        });
        match flow {
            Ok(mut flow) => {
                status.failure = None;
                if flow.pump() {
                    flows.push(flow);
                }
            }
            Err(error) => {
                // As if the guest were here: a refused connection is reset.
                reset(client.as_fd());
                eprintln!("tapyard-tap: {error}");
                status.failure = Some(error);
            }
        }
    }
    answered
}

fn parse(words: &[OsString]) -> std::result::Result<Args, String> {
    let (mut netd, mut lab, mut listen, mut to, mut watch) = (None, None, None, None, None);
    args::options(words, |option, value| {
        match option {
            "--netd" => netd = Some(PathBuf::from(value)),
            "--watch" => watch = Some(PathBuf::from(value)),
            "--lab" => lab = Some(args::name(option, value)?),
            "--listen" => {
                listen = match endpoint(option, value)? {
                    SocketAddr::V4(at) => Some(at),
                    SocketAddr::V6(at) => return Err(format!("--listen {at}: IPv4 is wanted")),
                }
            }
            "--to" => to = Some(endpoint(option, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let listen = listen.ok_or("--listen is missing")?;
    let to = to.ok_or("--to is missing")?;
    Ok(Args {
        netd: netd.ok_or("--netd is missing")?,
        lab: lab.ok_or("--lab is missing")?,
        listen,
        address: to.ip(),
        port: Port::try_from(u64::from(to.port()))?,
        watch,
    })
}

/// `192.168.57.2:80`, `[fd00::2]:80`.
fn endpoint(option: &str, value: &OsStr) -> std::result::Result<SocketAddr, String> {
    let at = value.to_str().and_then(|text| text.parse().ok());
    at.filter(|at: &SocketAddr| at.port() != 0)
        .ok_or_else(|| format!("{option} {}: ADDRESS:PORT is wanted", value.display()))
}
