//! `domains`: a plain list of hosts, one on a line.
//!
//! There is no standard. Assumed is what proxies that read such lists have in common (Squid's files of
//! dstdomain, dnsmasq, tinyproxy): `name` is that name alone, `.name` the name and everything below it,
//! `*.name` what is below it; a port behind `:` is the only one; `#` begins a comment; case does not
//! count; `!name` takes a host out. A host without a port may be reached at any.

use super::draft::{Action, Draft, Rule, by_ports, count, told};
use super::hosts::{canonical, split_port};
use super::text::Text;
use crate::failure::Failure;
use std::num::NonZeroU16;

/// Whether at least half of the lines are a host.
pub(super) fn looks(text: &Text) -> bool {
    let items: Vec<_> = text.lines().filter_map(|(_, line)| item(line)).take(100).collect();
    let hosts = items.iter().filter(|item| read(item.trim_start_matches('!')).is_ok()).count();
    hosts > 0 && hosts * 2 >= items.len()
}

/// A rule for the hosts of each list, and one for those that it takes out.
pub(super) fn import(texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
    let mut is_whole = true;
    for text in texts {
        let (mut allowed, mut taken_out) = (Vec::new(), Vec::new());
        for (number, line) in text.lines() {
            let Some(item) = item(line) else { continue };
            let (item, list, is_out) = match item.strip_prefix('!') {
                Some(item) => (item, &mut taken_out, true),
                None => (item, &mut allowed, false),
            };
            match read(item) {
                Ok(host) => list.push(host),
                Err((problem, remedy)) if is_out => {
                    // What it takes out may be any of the hosts.
                    is_whole = false;
                    let problem = format!("{problem}, which is taken out: so nothing is allowed");
                    draft.point(text.at_line(number), problem, remedy);
                }
                Err((problem, remedy)) => draft.point(text.at_line(number), problem, remedy),
            }
        }
        let lists = [(allowed, Action::Allow, "hosts"), (taken_out, Action::Deny, "not-hosts")];
        for (hosts, action, name) in lists {
            if !hosts.is_empty() {
                let origin = format!("{}: {}", text.name(), count(hosts.len(), "host"));
                draft.rules.push(Rule::new(name, vec![origin], action, by_ports(hosts)));
            }
        }
    }
    if !is_whole {
        draft.rules.retain(|rule| rule.action == Action::Deny);
    }
    Ok(())
}

/// What a line says, without its comment.
fn item(line: &str) -> Option<&str> {
    let is_comment = |at: &usize| {
        line.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
    };
    let comment = line.match_indices('#').map(|(at, _)| at).find(is_comment);
    let item = line.get(..comment.unwrap_or(line.len()))?.trim();
    (!item.is_empty()).then_some(item)
}

/// A host with its port, or what is wrong with it and what to write.
fn read(item: &str) -> Result<(String, Option<u16>), (String, String)> {
    if item.contains(char::is_whitespace) {
        let remedy = "write one host on a line, and nothing else";
        return Err((format!("more than a host: {}", told(item)), remedy.to_owned()));
    }
    let (host, port) = match item.contains("://") {
        true => (item, None),
        false => split_port(item),
    };
    let Ok(port) = port.map(str::parse::<NonZeroU16>).transpose() else {
        let remedy = "write a port from 1 to 65535, or none for any";
        return Err((format!("no port in {}", told(item)), remedy.to_owned()));
    };
    match canonical(host) {
        Ok(host) => Ok((host, port.map(NonZeroU16::get))),
        Err(error) => {
            let problem = format!("{} in {}", error.problem(), told(item));
            Err((problem, error.remedy().into_owned()))
        }
    }
}
