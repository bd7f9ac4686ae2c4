// SPDX-License-Identifier: Apache-2.0
//! Queueing disciplines (tc(8)): RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC.

use super::Result;
use super::socket::{Message, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Rtnl, u32_at, u64_at};
use crate::nft::attr::{Attrs, find, parse, string};
use rustix::io::Errno;
use tapyard_protocol::Shape;

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;

// linux/rtnetlink.h
pub(super) const TCA_KIND: u16 = 1;
pub(super) const TCA_OPTIONS: u16 = 2;
/// sizeof(struct tcmsg).
pub(super) const TCMSG: usize = 20;

// linux/pkt_sched.h
const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_H_INGRESS: u32 = 0xffff_fff1;
/// The handle that the ingress discipline always has.
pub(super) const INGRESS_HANDLE: u32 = 0xffff_0000;
const TC_LINKLAYER_ETHERNET: u8 = 1;
const TCA_TBF_PARMS: u16 = 1;
const TCA_NETEM_RATE: u16 = 6;
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_NETEM_JITTER64: u16 = 11;
/// sizeof(struct tc_netem_qopt).
const NETEM_QOPT: usize = 24;

/// A tick of the packet scheduler (linux/net/pkt_sched.h, PSCHED_SHIFT), in nanoseconds.
const TICK: u64 = 64;
const SECOND: u64 = 1_000_000_000;
/// A frame's header and a VLAN's tag, which the MTU does not count.
const FRAME_HEADER: u64 = 18;
/// What may go at once after a pause: as much as the rate lets through in so long, ns.
const BURST: u64 = 10_000_000;
/// What waits beyond that: as long as this, ns, and so many frames at least.
const QUEUE: u64 = 50_000_000;
const QUEUE_FRAMES: u64 = 8;
/// netem counts packets, and holds those that are delayed as well. A guest must not fill the
/// memory with them, and one that its offloads made can be 64 KiB.
const NETEM_PACKETS: u64 = 2000;
/// What is taken for the rate where there is none, bytes per second.
const NETEM_RATE: u64 = 1_000_000_000 / 8;

/// The root discipline of an interface, as netd sets it. Rates are in bytes per second, times in
/// nanoseconds unless they are ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discipline {
    /// A token bucket (tc-tbf(8)).
    Tbf {
        /// At most u32::MAX.
        rate: u64,
        /// Ticks that the bucket takes to fill.
        burst: u32,
        /// Bytes in the queue.
        limit: u32,
    },
    /// Delay and loss (tc-netem(8)), with its own rate where there is one.
    Netem {
        /// 0 for none.
        rate: u64,
        /// How long each packet is held up.
        delay: u64,
        /// By how much that varies.
        jitter: u64,
        /// Of 2³²−1.
        loss: u32,
        /// Packets in the queue.
        limit: u32,
    },
}

impl Discipline {
    /// The one that holds an interface of this MTU to a shape; none where it is none.
    pub fn of(shape: &Shape, mtu: u32) -> Option<Discipline> {
        let frame = u64::from(mtu) + FRAME_HEADER;
        let rate = shape.rate / 8;
        if shape.wants_netem() {
            let delay = u64::from(shape.delay) * 1000;
            let jitter = u64::from(shape.jitter) * 1000;
            let speed = if rate == 0 { NETEM_RATE } else { rate };
            // At most 1.25e9 times 20.05e9 over 1e9: all within 64 bits when divided first.
            let held = (speed / 1000).max(1) * ((delay + jitter + QUEUE) / 1_000_000) / frame;
            return Some(Discipline::Netem {
                rate,
                delay,
                jitter,
                loss: of_million(shape.loss),
                limit: held.clamp(QUEUE_FRAMES, NETEM_PACKETS) as u32,
            });
        }
        if rate == 0 {
            return None;
        }
        // Two frames, or the kernel would drop the largest one as it can never go.
        let burst = (rate * BURST / SECOND).max(2 * frame);
        let limit = burst + (rate * QUEUE / SECOND).max(QUEUE_FRAMES * frame);
        Some(Discipline::Tbf {
            rate,
            burst: clamp(burst * SECOND / rate / TICK),
            limit: clamp(limit),
        })
    }

    /// The shape that it holds to.
    pub fn shape(&self) -> Shape {
        match *self {
            Discipline::Tbf { rate, .. } => Shape {
                rate: rate * 8,
                ..Shape::default()
            },
            Discipline::Netem {
                rate,
                delay,
                jitter,
                loss,
                ..
            } => Shape {
                rate: rate * 8,
                delay: clamp(delay / 1000),
                jitter: clamp(jitter / 1000),
                loss: to_million(loss),
            },
        }
    }

    /// Its name, which is the kernel's module's as well, behind `sch_`.
    pub fn kind(&self) -> &'static str {
        match self {
            Discipline::Tbf { .. } => "tbf",
            Discipline::Netem { .. } => "netem",
        }
    }

    /// As tc(8) is told it.
    pub fn words(&self) -> String {
        match *self {
            Discipline::Tbf { rate, burst, limit } => {
                let bytes = (u64::from(burst) * TICK * rate).div_ceil(SECOND);
                format!("tbf rate {}bit burst {bytes} limit {limit}", rate * 8)
            }
            Discipline::Netem {
                rate,
                delay,
                jitter,
                loss,
                limit,
            } => {
                let mut words = format!("netem limit {limit}");
                if delay != 0 {
                    words += &format!(" delay {}us", delay / 1000);
                }
                if jitter != 0 {
                    words += &format!(" {}us", jitter / 1000);
                }
                if loss != 0 {
                    words += &format!(" loss {}%", f64::from(to_million(loss)) / 1e4);
                }
                if rate != 0 {
                    words += &format!(" rate {}bit", rate * 8);
                }
                words
            }
        }
    }

    /// TCA_OPTIONS.
    fn options(&self) -> Vec<u8> {
        match *self {
            Discipline::Tbf { rate, burst, limit } => {
                // struct tc_tbf_qopt: rate, peak rate, limit, buffer, mtu.
                let mut parms = ratespec(clamp(rate)).to_vec();
                parms.extend([0; 12]);
                for word in [limit, burst, 0] {
                    parms.extend(word.to_ne_bytes());
                }
                let mut attrs = Attrs::new();
                attrs.raw(TCA_TBF_PARMS, &parms);
                attrs.into_bytes()
            }
            Discipline::Netem {
                rate,
                delay,
                jitter,
                loss,
                limit,
            } => {
                // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter. A kernel
                // before 4.16 knows no LATENCY64 and goes by the ticks.
                let (latency, varies) = (clamp(delay / TICK), clamp(jitter / TICK));
                let mut bytes = Vec::with_capacity(NETEM_QOPT);
                for word in [latency, limit, loss, 0, 0, varies] {
                    bytes.extend(word.to_ne_bytes());
                }
                let mut attrs = Attrs::new();
                // struct tc_netem_rate: rate, packet overhead, cell size, cell overhead. Where it
                // is left out, the one that was before stays.
                let mut speed = clamp(rate).to_ne_bytes().to_vec();
                speed.extend([0; 12]);
                attrs
                    .raw(TCA_NETEM_RATE, &speed)
                    .raw(TCA_NETEM_LATENCY64, &delay.to_ne_bytes())
                    .raw(TCA_NETEM_JITTER64, &jitter.to_ne_bytes());
                bytes.extend(attrs.into_bytes());
                bytes
            }
        }
    }

    fn parse(kind: &str, options: &[u8]) -> Option<Discipline> {
        match kind {
            "tbf" => {
                let parms = find(options, TCA_TBF_PARMS)?;
                Some(Discipline::Tbf {
                    rate: u32_at(parms, 8)?.into(),
                    limit: u32_at(parms, 24)?,
                    burst: u32_at(parms, 28)?,
                })
            }
            "netem" => {
                let attrs = options.get(NETEM_QOPT..)?;
                let long = |kind, ticks: usize| -> Option<u64> {
                    match find(attrs, kind) {
                        Some(value) => u64_at(value, 0),
                        None => Some(u64::from(u32_at(options, ticks)?) * TICK),
                    }
                };
                let rate = match find(attrs, TCA_NETEM_RATE) {
                    Some(value) => u32_at(value, 0)?,
                    None => 0,
                };
                Some(Discipline::Netem {
                    rate: rate.into(),
                    delay: long(TCA_NETEM_LATENCY64, 0)?,
                    limit: u32_at(options, 4)?,
                    loss: u32_at(options, 8)?,
                    jitter: long(TCA_NETEM_JITTER64, 20)?,
                })
            }
            _ => None,
        }
    }
}

/// A discipline of an interface, as RTM_GETQDISC tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qdisc {
    /// Its interface.
    pub ifindex: u32,
    /// Where it stands.
    pub place: Place,
    /// What it is, where it is one that netd could have set.
    pub discipline: Option<Discipline>,
}

/// Where a discipline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All that is sent goes through it.
    Root,
    /// All that comes in meets its filters.
    Ingress,
    /// Within another one.
    Inner,
}

impl Rtnl {
    /// The disciplines of all interfaces.
    pub fn qdiscs(&mut self) -> Result<Vec<Qdisc>> {
        let request = Message {
            operation: "list queueing disciplines".into(),
            kind: RTM_GETQDISC,
            flags: 0,
            body: header(0, 0, 0, 0),
        };
        let mut qdiscs = Vec::new();
        self.dump(&request, |kind, body| {
            if kind == RTM_NEWQDISC {
                qdiscs.extend(parse_qdisc(body));
            }
        })?;
        Ok(qdiscs)
    }

    /// Whether the kernel has a discipline of this kind, or a module that it loads for it. Asks for
    /// one without its parameters, which is refused in any case and changes nothing.
    pub fn has_discipline(&mut self, ifindex: u32, kind: &str) -> Result<bool> {
        let mut attrs = Attrs::new();
        attrs.string(TCA_KIND, kind);
        let request = Message {
            operation: format!("ask for the discipline {kind}"),
            kind: RTM_NEWQDISC,
            flags: NLM_F_CREATE | NLM_F_EXCL,
            body: [header(ifindex, 0, TC_H_ROOT, 0), attrs.into_bytes()].concat(),
        };
        match self.request(&[request]) {
            Err(error) if error.errno == Errno::NOENT => Ok(false),
            // EINVAL: its parameters are missing. EEXIST: another one is there.
            Err(error) if matches!(error.errno, Errno::INVAL | Errno::EXIST) => Ok(true),
            Err(error) => Err(error),
            Ok(()) => Ok(true),
        }
    }

    /// Puts a root discipline in the place of the one that is there; `name` is for errors only.
    /// ENOENT: the kernel has none of its kind.
    pub fn set_root(&mut self, ifindex: u32, name: &str, discipline: &Discipline) -> Result<()> {
        let kind = discipline.kind();
        let mut attrs = Attrs::new();
        attrs
            .string(TCA_KIND, kind)
            .raw(TCA_OPTIONS, &discipline.options());
        self.request(&[Message {
            operation: format!("give {name} the discipline {kind}"),
            kind: RTM_NEWQDISC,
            flags: NLM_F_CREATE | NLM_F_REPLACE,
            body: [header(ifindex, 0, TC_H_ROOT, 0), attrs.into_bytes()].concat(),
        }])
    }

    /// Makes incoming packets meet filters; `name` is for errors only.
    pub fn add_ingress(&mut self, ifindex: u32, name: &str) -> Result<()> {
        let mut attrs = Attrs::new();
        attrs.string(TCA_KIND, "ingress");
        self.request(&[Message {
            operation: format!("filter what comes in by {name}"),
            kind: RTM_NEWQDISC,
            flags: NLM_F_CREATE | NLM_F_EXCL,
            body: [
                header(ifindex, INGRESS_HANDLE, TC_H_INGRESS, 0),
                attrs.into_bytes(),
            ]
            .concat(),
        }])
    }

    /// Takes a discipline away, with its filters; the root gets the kernel's default. One that is
    /// not there is fine, as is an interface that is not there.
    pub fn delete_qdisc(&mut self, ifindex: u32, name: &str, place: Place) -> Result<()> {
        let (handle, parent) = match place {
            Place::Ingress => (INGRESS_HANDLE, TC_H_INGRESS),
            Place::Root | Place::Inner => (0, TC_H_ROOT),
        };
        let message = Message {
            operation: format!("take {name}'s discipline away"),
            kind: RTM_DELQDISC,
            flags: 0,
            body: header(ifindex, handle, parent, 0),
        };
        match self.request(&[message]) {
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::INVAL | Errno::NODEV) => {
                Ok(())
            }
            result => result,
        }
    }
}

/// struct tcmsg.
pub(super) fn header(ifindex: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4]; // AF_UNSPEC, padding
    for word in [ifindex, handle, parent, info] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// struct tc_ratespec: cell_log, linklayer, overhead, cell_align, mpu, rate.
fn ratespec(rate: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[1] = TC_LINKLAYER_ETHERNET;
    bytes[8..].copy_from_slice(&rate.to_ne_bytes());
    bytes
}

/// An RTM_NEWQDISC message; none where it is not one.
fn parse_qdisc(body: &[u8]) -> Option<Qdisc> {
    let ifindex = u32_at(body, 4)?;
    let place = match u32_at(body, 12)? {
        TC_H_ROOT => Place::Root,
        TC_H_INGRESS => Place::Ingress,
        _ => Place::Inner,
    };
    let attrs = body.get(TCMSG..)?;
    let mut kind = None;
    let mut options = None;
    for (attr, value) in parse(attrs) {
        match attr {
            TCA_KIND => kind = string(value),
            TCA_OPTIONS => options = Some(value),
            _ => {}
        }
    }
    Some(Qdisc {
        ifindex,
        place,
        discipline: Discipline::parse(kind?, options.unwrap_or_default()),
    })
}

fn of_million(part: u32) -> u32 {
    clamp(u64::from(part) * u64::from(u32::MAX) / u64::from(Shape::EVERY_PACKET))
}

fn to_million(part: u32) -> u32 {
    let all = u64::from(u32::MAX);
    clamp((u64::from(part) * u64::from(Shape::EVERY_PACKET) + all / 2) / all)
}

fn clamp(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(words: &str) -> Shape {
        words.parse().unwrap()
    }

    fn message(discipline: &Discipline) -> Vec<u8> {
        let mut attrs = Attrs::new();
        attrs
            .string(TCA_KIND, discipline.kind())
            .raw(TCA_OPTIONS, &discipline.options());
        [header(7, 0x8001_0000, TC_H_ROOT, 2), attrs.into_bytes()].concat()
    }

    #[test]
    fn reads_what_it_writes_and_no_garbage() {
        for words in [
            "8000:0:0:0",
            "10000000:0:0:0",
            "10000000000:0:0:0",
            "0:1:0:0",
            "0:0:0:1",
            "0:0:0:1000000",
            "8000:10000000:10000000:123457",
            "10000000:20000:5000:10000",
        ] {
            let wanted = shape(words);
            for mtu in [68, 1500, 65_535] {
                let discipline = Discipline::of(&wanted, mtu).unwrap();
                assert_eq!(discipline.shape(), wanted, "{words}");
                let body = message(&discipline);
                let read = parse_qdisc(&body).unwrap();
                assert_eq!((read.ifindex, read.place), (7, Place::Root));
                assert_eq!(read.discipline, Some(discipline), "{words}");
                for end in 0..body.len() {
                    parse_qdisc(&body[..end]);
                    let mut wrong = body.clone();
                    wrong[end] ^= 0xff;
                    let _ = parse_qdisc(&wrong).map(|q| q.discipline.map(|d| d.shape()));
                }
            }
        }
        assert_eq!(Discipline::of(&Shape::default(), 1500), None);
    }

    /// `tc qdisc replace dev 7 root netem limit 61 delay 20ms 5ms loss 1% rate 10mbit` by the
    /// layout of linux/pkt_sched.h, as no kernel at hand may have netem: struct tc_netem_qopt,
    /// then TCA_NETEM_RATE, _LATENCY64 and _JITTER64.
    #[cfg(target_endian = "little")]
    #[test]
    fn netem_as_the_kernels_header_has_it() {
        let discipline = Discipline::of(&shape("10000000:20000:5000:10000"), 1500).unwrap();
        let words: &[&[u8]] = &[
            &312_500_u32.to_le_bytes(),    // latency: 20 ms in ticks of 64 ns
            &61_u32.to_le_bytes(),         // limit: 75 ms of 10 Mbit/s in frames of 1518
            &42_949_672_u32.to_le_bytes(), // loss: 1 % of 2³²−1
            &[0; 8],                       // gap, duplicate
            &78_125_u32.to_le_bytes(),     // jitter: 5 ms in ticks
            &[20, 0, 6, 0],                // TCA_NETEM_RATE
            &1_250_000_u32.to_le_bytes(),  // bytes per second
            &[0; 12],                      // packet overhead, cell size, cell overhead
            &[12, 0, 10, 0],               // TCA_NETEM_LATENCY64
            &20_000_000_u64.to_le_bytes(), // nanoseconds
            &[12, 0, 11, 0],               // TCA_NETEM_JITTER64
            &5_000_000_u64.to_le_bytes(),
        ];
        assert_eq!(discipline.options(), words.concat());
    }

    #[test]
    fn in_the_words_of_tc() {
        for (shape_words, words) in [
            (
                "10000000:0:0:0",
                "tbf rate 10000000bit burst 12500 limit 75000",
            ),
            ("8000:0:0:0", "tbf rate 8000bit burst 3036 limit 15180"),
            ("0:20500:0:0", "netem limit 2000 delay 20500us"),
            (
                "10000000:20000:5000:12345",
                "netem limit 61 delay 20000us 5000us loss 1.2345% rate 10000000bit",
            ),
        ] {
            let discipline = Discipline::of(&shape(shape_words), 1500).unwrap();
            assert_eq!(discipline.words(), words);
        }
    }

    /// A kernel before 4.16 tells ticks only.
    #[test]
    fn netem_of_an_older_kernel() {
        let discipline = Discipline::of(&shape("0:20000:5000:0"), 1500).unwrap();
        let options = discipline.options();
        let read = Discipline::parse("netem", &options[..NETEM_QOPT]);
        assert_eq!(read, Some(discipline));
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("qdisc", |bytes| {
            parse_qdisc(bytes).map(|qdisc| qdisc.discipline.map(|d| d.shape()))
        });
    }
}
