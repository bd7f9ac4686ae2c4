// SPDX-License-Identifier: Apache-2.0
//! What a NIC's traffic is held to ("Shaping" in the protocol page).

use serde::{Deserialize, Serialize};

/// Held to in each direction. A 0 is no limit, no delay, no loss; all of them 0 is no shape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Numbers")]
pub struct Shape {
    /// Bits per second.
    pub rate: u64,
    /// Microseconds that each packet is held up.
    pub delay: u32,
    /// Microseconds by which that varies, at most the delay.
    pub jitter: u32,
    /// Packets of a million that are lost.
    pub loss: u32,
}

/// A shape that is not checked yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    #[serde(default)]
    rate: u64,
    #[serde(default)]
    delay: u32,
    #[serde(default)]
    jitter: u32,
    #[serde(default)]
    loss: u32,
}

impl Shape {
    /// 8 kbit/s and 10 Gbit/s.
    pub const RATES: std::ops::RangeInclusive<u64> = 8_000..=10_000_000_000;
    /// 10 s.
    pub const LONGEST_DELAY: u32 = 10_000_000;
    /// All of them.
    pub const EVERY_PACKET: u32 = 1_000_000;

    /// Nothing is held up, dropped or counted.
    pub fn is_none(&self) -> bool {
        *self == Shape::default()
    }

    /// Whether it wants more than a rate.
    pub fn wants_netem(&self) -> bool {
        self.delay != 0 || self.loss != 0
    }
}

impl TryFrom<Numbers> for Shape {
    type Error = String;

    fn try_from(numbers: Numbers) -> Result<Self, String> {
        let Numbers {
            rate,
            delay,
            jitter,
            loss,
        } = numbers;
        if rate != 0 && !Shape::RATES.contains(&rate) {
            let (least, most) = (Shape::RATES.start(), Shape::RATES.end());
            return Err(format!(
                "a rate of {rate} bit/s is not 0 or {least} … {most}"
            ));
        }
        if delay > Shape::LONGEST_DELAY {
            let longest = Shape::LONGEST_DELAY;
            return Err(format!("a delay of {delay} µs is longer than {longest}"));
        }
        if jitter > delay {
            return Err(format!(
                "a jitter of {jitter} µs is more than the delay, {delay}"
            ));
        }
        if loss > Shape::EVERY_PACKET {
            return Err(format!("a loss of {loss} packets of a million"));
        }
        Ok(Shape {
            rate,
            delay,
            jitter,
            loss,
        })
    }
}

/// `RATE:DELAY:JITTER:LOSS`, as tapyard-tap is given it.
impl std::str::FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| format!("{text:?} is not RATE:DELAY:JITTER:LOSS in numbers");
        let parts: Vec<&str> = text.split(':').take(5).collect();
        let [rate, delay, jitter, loss] = parts.as_slice() else {
            return Err("RATE:DELAY:JITTER:LOSS is wanted".to_owned());
        };
        Numbers {
            rate: rate.parse().map_err(wrong)?,
            delay: delay.parse().map_err(wrong)?,
            jitter: jitter.parse().map_err(wrong)?,
            loss: loss.parse().map_err(wrong)?,
        }
        .try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        for (good, text) in [
            (true, "0:0:0:0"),
            (true, "8000:0:0:0"),
            (true, "10000000000:10000000:10000000:1000000"),
            (false, "7999:0:0:0"),
            (false, "10000000001:0:0:0"),
            (false, "0:10000001:0:0"),
            (false, "0:5:6:0"),
            (false, "0:0:0:1000001"),
            (false, "0:0:0"),
            (false, "0:0:0:0:0"),
            (false, "-1:0:0:0"),
            (false, "1e6:0:0:0"),
        ] {
            assert_eq!(text.parse::<Shape>().is_ok(), good, "{text}");
        }
        assert!(Shape::default().is_none());
        let json = serde_json::from_str::<Shape>(r#"{"rate":1000000}"#).unwrap();
        assert_eq!((json.rate, json.wants_netem()), (1_000_000, false));
        assert!(serde_json::from_str::<Shape>(r#"{"rate":1}"#).is_err());
        assert!(serde_json::from_str::<Shape>(r#"{"speed":1000000}"#).is_err());
    }
}
