// SPDX-License-Identifier: Apache-2.0
//! Users and groups by the system's files, /etc/passwd and /etc/group.

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The names that /etc/passwd has for a user.
pub fn user_names(uid: u32) -> Vec<String> {
    names_of(&read(PASSWD), &[uid])
}

/// The names that /etc/group has for groups.
pub fn group_names(gids: &[u32]) -> Vec<String> {
    names_of(&read(GROUP), gids)
}

/// The groups of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// The primary one.
    pub gid: u32,
    /// The supplementary ones.
    pub others: Vec<u32>,
}

impl Groups {
    /// A user's, as a login would have them. Whom the files do not know has the group of their
    /// number.
    pub fn of(uid: u32) -> Groups {
        Groups::in_files(uid, &read(PASSWD), &read(GROUP))
    }

    fn in_files(uid: u32, passwd: &str, group: &str) -> Groups {
        let user = lines(passwd).find(|line| number(line, 2) == Some(uid));
        let gid = user.as_ref().and_then(|line| number(line, 3));
        let name = user.and_then(|line| line.first().copied());
        let is_member = |line: &Vec<&str>| {
            let mut members = line.get(3).into_iter().flat_map(|list| list.split(','));
            members.any(|member| !member.is_empty() && Some(member) == name)
        };
        let gid = gid.unwrap_or(uid);
        let others = lines(group).filter(is_member);
        let mut others: Vec<u32> = others.filter_map(|line| number(&line, 2)).collect();
        others.retain(|other| *other != gid);
        Groups { gid, others }
    }
}

fn read(path: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

fn number(line: &[&str], field: usize) -> Option<u32> {
    line.get(field)?.parse().ok()
}

/// The names that a file of the form `name:x:number:…` has for the numbers.
fn names_of(text: &str, numbers: &[u32]) -> Vec<String> {
    lines(text)
        .filter(|line| number(line, 2).is_some_and(|own| numbers.contains(&own)))
        .filter_map(|line| line.first().map(|name| (*name).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/:/bin/sh\nada:x:1000:100::/:/bin/sh\nbroken\n:x:1001:7\n";

    #[test]
    fn names() {
        assert_eq!(names_of(USERS, &[1000]), ["ada"]);
        assert_eq!(names_of(USERS, &[0, 1000]), ["root", "ada"]);
    }

    #[test]
    fn groups() {
        let group = "root:x:0:\nlab:x:50:bob,ada\nusers:x:100:ada\nada2:x:60:ada2\nbroken\nx:y:z:ada\n\
                     empty:x:70:\nlast:x:80:ada\n";
        let of = |uid| Groups::in_files(uid, USERS, group);
        assert_eq!((of(1000).gid, of(1000).others), (100, vec![50, 80]));
        assert_eq!((of(1001).gid, of(1001).others), (7, vec![]));
        assert_eq!((of(9).gid, of(9).others), (9, vec![]), "whom nobody knows");
    }
    #[test]
    fn any_bytes() {
        const GROUPS: &str = "lab:x:50:bob,ada\nusers:x:100:\n";
        crate::fuzz::run("passwd", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            (
                names_of(&text, &[0, 1000]),
                Groups::in_files(1000, &text, GROUPS),
            )
        });
        crate::fuzz::run("group", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            (
                names_of(&text, &[50, 100]),
                Groups::in_files(1000, USERS, &text),
            )
        });
    }
}
