// SPDX-License-Identifier: Apache-2.0
//! What `iptables -S` lists.

use crate::doors::judge::{ESTABLISHED, NEW, Rules};
use crate::doors::rule::{Decision, Name, Rule, Test};
use crate::doors::tables::{Base, Hook, Table};

/// The table of an `iptables -S`.
pub(super) fn parse(text: &str) -> Table {
    let mut table = Table::default();
    for line in text.lines() {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["-P", chain, policy] => {
                table.rules.entry((*chain).to_owned()).or_default();
                let hook = match *chain {
                    "FORWARD" => Hook::Forward,
                    "INPUT" => Hook::Input,
                    _ => continue,
                };
                table.bases.push(Base {
                    name: (*chain).to_owned(),
                    hook,
                    policy_drops: *policy == "DROP",
                });
            }
            ["-N", chain] => _ = table.rules.entry((*chain).to_owned()).or_default(),
            ["-A", chain, rest @ ..] => add(&mut table.rules, chain, rest),
            _ => {}
        }
    }
    table
}

/// Splits at spaces, but not between quotes, as iptables writes them.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        let last = words.len() - 1;
        match c {
            _ if escaped => {
                words[last].push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words[last].push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn add(rules: &mut Rules, chain: &str, words: &[&str]) {
    let mut rule = Rule {
        handle: 0,
        comment: None,
        tests: Vec::new(),
        decision: None,
    };
    let mut words = words.iter().copied();
    let mut not = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default();
        let test = match word {
            "!" => {
                not = true;
                continue;
            }
            "-i" => Test::Incoming(Name::of_iptables(value())),
            "-o" => Test::Outgoing(Name::of_iptables(value())),
            "-p" => protocol(value()).map_or(Test::Unknown, Test::Protocol),
            "--dport" => value().parse().map_or(Test::Unknown, Test::Port),
            "--ctstate" | "--state" => state(value()).map_or(Test::Unknown, Test::State),
            "--comment" => {
                rule.comment = Some(value().to_owned());
                continue;
            }
            // What a match asks is in its own words.
            "-m" if matches!(value(), "comment" | "conntrack" | "state" | "tcp" | "udp") => {
                continue;
            }
            "-j" | "-g" => {
                let target = value().to_owned();
                rule.decision = match target.as_str() {
                    "ACCEPT" => Some(Decision::Accept),
                    "DROP" | "REJECT" => Some(Decision::Drop),
                    "RETURN" => Some(Decision::Return),
                    _ if word == "-g" => Some(Decision::Goto(target)),
                    _ => Some(Decision::Jump(target)),
                };
                // What follows belongs to the target.
                break;
            }
            _ => Test::Unknown,
        };
        rule.tests.push(match std::mem::take(&mut not) {
            true => Test::Not(Box::new(test)),
            false => test,
        });
    }
    rules.entry(chain.to_owned()).or_default().push(rule);
}

/// The words of each rule of a chain that has this label, as `iptables -S` lists them.
pub(super) fn specifications(text: &str, chain: &str, label: &str) -> Vec<Vec<String>> {
    let all = text.lines().map(words).filter_map(|mut words| {
        let ours = words.len() > 2 && words[0] == "-A" && words[1] == chain;
        let rule = ours.then(|| words.split_off(2))?;
        let comment = rule.windows(2).find(|pair| pair[0] == "--comment")?;
        (comment[1] == label).then_some(rule)
    });
    all.collect()
}

fn protocol(name: &str) -> Option<u8> {
    match name {
        "tcp" => Some(libc::IPPROTO_TCP as u8),
        "udp" => Some(libc::IPPROTO_UDP as u8),
        "icmp" => Some(libc::IPPROTO_ICMP as u8),
        "ipv6-icmp" => Some(libc::IPPROTO_ICMPV6 as u8),
        _ => name.parse().ok(),
    }
}

fn state(names: &str) -> Option<u32> {
    names.split(',').try_fold(0, |mask, name| {
        let bit = match name {
            "INVALID" => 1,
            "ESTABLISHED" => ESTABLISHED,
            "RELATED" => 4,
            "NEW" => NEW,
            "UNTRACKED" => 64,
            _ => return None,
        };
        Some(mask | bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_iptables_lists() {
        let table = parse(
            "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N DOCKER-USER\n\
             -A FORWARD -j DOCKER-USER\n\
             -A FORWARD ! -i br+ -o eth0 -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset\n\
             -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment \"a \\\"b\\\" c\" -j ACCEPT\n\
             -A FORWARD -s 10.0.0.0/8 -g DOCKER-USER\n",
        );
        let bases: Vec<_> = table
            .bases
            .iter()
            .map(|base| (base.name.as_str(), base.policy_drops))
            .collect();
        assert_eq!(bases, [("INPUT", false), ("FORWARD", true)]);
        let forward = &table.rules["FORWARD"];
        assert_eq!(
            forward[0].decision,
            Some(Decision::Jump("DOCKER-USER".into()))
        );
        assert_eq!(forward[1].tests.len(), 4);
        assert!(matches!(forward[1].tests[0], Test::Not(_)));
        assert_eq!(forward[1].decision, Some(Decision::Drop));
        assert_eq!(forward[2].comment.as_deref(), Some("a \"b\" c"));
        assert_eq!(forward[2].tests, [Test::State(6)]);
        assert_eq!(
            forward[3].decision,
            Some(Decision::Goto("DOCKER-USER".into()))
        );
        assert!(table.rules.contains_key("DOCKER-USER"));
    }

    #[test]
    fn a_label_is_a_whole_comment_in_its_chain() {
        let ours = "-A FORWARD -i br0 -m comment --comment l -j ACCEPT";
        assert_eq!(specifications(ours, "FORWARD", "l").len(), 1);
        // Another's comment, another chain, a comment that only begins like ours.
        for other in [
            "-A INPUT -m comment --comment l -j ACCEPT",
            "-A FORWARD -j DROP",
            "-A FORWARD -m comment --comment lab -j DROP",
        ] {
            assert!(specifications(other, "FORWARD", "l").is_empty());
        }
    }

    #[test]
    fn any_bytes() {
        crate::fuzz::run("iptables", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let table = parse(&text);
            let verdicts = crate::doors::judge::verdicts([&table].into_iter());
            let ours = specifications(&text, "FORWARD", "tapyard:0:seed:br0");
            (table, verdicts, ours)
        });
    }
}
