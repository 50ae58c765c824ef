//! `squid`: the `acl` and `http_access` lines of a squid.conf.
//!
//! By Squid's configuration reference (acl, http_access): the first `http_access` line all of whose ACLs
//! match decides; an ACL matches if one of its values does, and its lines add up; `!` negates. Where no
//! line matches, the opposite of the last one is done; without lines all is refused. In `dstdomain`, `.name`
//! is the name and everything below it, `name` that name alone. In a policy a deny wins over every allow, so
//! each allow line becomes a rule without what earlier lines deny.
//!
//! Conditions that a policy does not know: an allow line with one is left out, and a deny line is taken
//! to match whatever it would be. Callers by address (`src`) are who reaches the gateway: they are
//! left to the network if all lines that allow say the same of them. A request is judged by its own method:
//! what a tunnel carries is seen by neither.

mod area;
mod config;

use super::draft::{Action, Draft, Entry, Rule, told};
use super::text::Text;
use crate::failure::Failure;
use area::{Area, Part};
use config::{Config, Line, Literal, Meaning};
use egress_warden::config::MAX_HOSTS;
use std::collections::BTreeSet;

/// Most areas of one line.
const MAX_AREAS: usize = 1_000;

/// Whether a text has a line that only Squid has.
pub(super) fn looks(text: &Text) -> bool {
    text.lines().any(|(_, line)| {
        let mut words = line.split_whitespace();
        let is_access = words.next() == Some("http_access");
        is_access && matches!(words.next(), Some("allow" | "deny"))
    })
}

/// A rule for each line that allows. The texts are one configuration.
pub(super) fn import(texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
    let config = Config::read(texts, draft);
    if let (true, Some(text)) = (config.lines.is_empty(), texts.first()) {
        let remedy = "name a squid.conf with its access rules";
        return Err(Failure::new(text.name(), "no `http_access` line", remedy));
    }
    if !config.is_whole {
        return Ok(());
    }
    let allowed = Reading::new(&config).allowed(draft);
    let callers: BTreeSet<_> = allowed.iter().map(|it| &it.callers).collect();
    let is_one = callers.len() < 2;
    for line in &allowed {
        if is_one || line.callers.is_empty() {
            line.tell_callers(&config, draft);
            line.write(draft);
        } else {
            draft.point(
                line.line.place.clone(),
                format!("{}, while other lines are for other callers", told(&line.line.text)),
                "write a rule with `from`: a policy knows callers by their identity",
            );
        }
    }
    Ok(())
}

/// The lines in their order, and what the earlier ones left of the requests.
struct Reading<'c> {
    config: &'c Config,
    /// What all deny lines so far refuse.
    denied: Vec<Vec<(Part, bool)>>,
    /// What all deny lines so far demand of callers by address.
    callers: BTreeSet<String>,
    /// Whether nothing gets past the lines so far.
    is_closed: bool,
}

/// A line that allows.
struct Allowed<'c> {
    line: &'c Line,
    callers: BTreeSet<String>,
    areas: Vec<Area>,
}

impl<'c> Reading<'c> {
    fn new(config: &'c Config) -> Self {
        let callers = BTreeSet::new();
        Self { config, denied: Vec::new(), callers, is_closed: false }
    }

    /// What each line allows that nothing before it denies.
    fn allowed(mut self, draft: &mut Draft) -> Vec<Allowed<'c>> {
        for line in &self.config.earlier_denials {
            self.deny(line, draft);
        }
        let mut allowed = Vec::new();
        for line in self.config.lines.iter().chain(&self.config.last) {
            if self.is_closed {
                break;
            }
            match line.allows {
                true => allowed.extend(self.allow(line, draft)),
                false => self.deny(line, draft),
            }
        }
        allowed
    }

    fn allow(&mut self, line: &'c Line, draft: &mut Draft) -> Option<Allowed<'c>> {
        let (mut area, mut callers) = (Some(Area::all()), self.callers.clone());
        for literal in &line.literals {
            match (self.config.meaning(&literal.name), literal.is_negated) {
                (Meaning::All, false) | (Meaning::Manager, true) => {}
                (Meaning::All, true) | (Meaning::Manager, false) => return None,
                (Meaning::Part(part), is_negated) => {
                    area = area.and_then(|area| area.within(&part, !is_negated));
                }
                (Meaning::Caller, _) => drop(callers.insert(literal.to_string())),
                (Meaning::Local, true) | (Meaning::ToLocal, true) => {
                    tell_local(line, literal, draft);
                }
                (Meaning::Local | Meaning::ToLocal | Meaning::Unknown(_), _) => {
                    draft.point(
                        line.place.clone(),
                        format!("{}: {}", told(&line.text), self.config.told(literal)),
                        "what this line allows stays refused: write a rule for it by hand",
                    );
                    return None;
                }
            }
        }
        let mut areas: Vec<Area> = area.into_iter().collect();
        for denied in &self.denied {
            let Some(rest) = rest(&areas, denied) else {
                draft.point(
                    line.place.clone(),
                    format!("{}, behind too many lines that deny parts of it", told(&line.text)),
                    "what this line allows stays refused: put the lines together",
                );
                return None;
            };
            areas = rest;
        }
        (!areas.is_empty()).then_some(Allowed { line, callers, areas })
    }

    /// Adds what a line denies: hosts alone to those of other lines, so that one step takes all of them out.
    fn add_denied(&mut self, parts: Vec<(Part, bool)>) {
        if let [(Part::Hosts(hosts), true)] = &parts[..] {
            for denied in &mut self.denied {
                if let [(Part::Hosts(all), true)] = &mut denied[..] {
                    all.extend(hosts);
                    return;
                }
            }
        }
        self.denied.push(parts);
    }

    fn deny(&mut self, line: &Line, draft: &mut Draft) {
        let (mut parts, mut callers, mut has_unknown) = (Vec::new(), Vec::new(), false);
        for literal in &line.literals {
            match (self.config.meaning(&literal.name), literal.is_negated) {
                (Meaning::All, false) | (Meaning::Manager, true) => {}
                (Meaning::All, true) | (Meaning::Manager, false) => return,
                (Meaning::Part(part), is_negated) => parts.push((part, !is_negated)),
                (Meaning::Caller, _) => callers.push(literal),
                // Of a request to a name nobody knows the address here.
                (Meaning::Local | Meaning::ToLocal, false) => {
                    tell_local(line, literal, draft);
                    return;
                }
                (Meaning::Local | Meaning::ToLocal | Meaning::Unknown(_), _) => {
                    has_unknown = true;
                    draft.point(
                        line.place.clone(),
                        format!("{}: {}", told(&line.text), self.config.told(literal)),
                        "more stays refused than this line denies: allow what is missing by hand",
                    );
                }
            }
        }
        if !callers.is_empty() && parts.is_empty() && !has_unknown {
            let others: Vec<_> = callers.iter().map(|literal| literal.negated()).collect();
            self.callers.insert(others.join(" or "));
            return;
        }
        for literal in callers {
            draft.point(
                line.place.clone(),
                format!("{}: {}", told(&line.text), self.config.told(literal)),
                "it is denied to every caller: write rules with `from` for the others",
            );
        }
        match parts.is_empty() {
            true => self.is_closed = true,
            false => self.add_denied(parts),
        }
    }
}

/// What is left of areas without what a line denies; nothing where that is too much to write.
fn rest(areas: &[Area], denied: &[(Part, bool)]) -> Option<Vec<Area>> {
    let (mut rest, mut size) = (Vec::new(), 0_usize);
    for area in areas.iter().flat_map(|area| area.without(denied)) {
        if rest.last() != Some(&area) {
            size = size.saturating_add(area.size());
            rest.push(area);
        }
        if rest.len() > MAX_AREAS || size > MAX_HOSTS {
            return None;
        }
    }
    Some(rest)
}

/// A line about the proxy's own machine.
fn tell_local(line: &Line, literal: &Literal, draft: &mut Draft) {
    let problem = format!("{}: {literal} is about the addresses of the proxy", told(&line.text));
    let remedy = "the filter refuses such addresses where a request names them; the network must \
                  refuse names that lead to them";
    draft.point(line.place.clone(), problem, remedy);
}

impl Allowed<'_> {
    /// Names what the line says of callers by address.
    fn tell_callers(&self, config: &Config, draft: &mut Draft) {
        for callers in &self.callers {
            let (place, source) = config.source_of(callers).unwrap_or((&self.line.place, ""));
            let source = if source.is_empty() { String::new() } else { format!(" ({source})") };
            draft.point(
                place,
                format!(
                    "only callers who are {}{source}: a policy does not know addresses of callers",
                    told(callers)
                ),
                "let only these reach the gateway, or add `from` to the rules",
            );
        }
    }

    fn write(&self, draft: &mut Draft) {
        let place = &self.line.place;
        let all: Vec<_> = self.areas.iter().flat_map(|area| area.entries(place, draft)).collect();
        let mut entries: Vec<Entry> = Vec::new();
        for entry in &all {
            let is_covered =
                entries.contains(entry) || all.iter().any(|it| area::covers(it, entry));
            if !is_covered {
                entries.push(entry.clone());
            }
        }
        if entries.is_empty() {
            return;
        }
        let is_any = |entry: &Entry| *entry == Entry::default();
        if entries.iter().any(is_any) {
            // An entry says something: every method but the one that needs an entry of its own.
            for entry in entries.iter_mut().filter(|entry| is_any(entry)) {
                entry.not_methods.push("CONNECT".to_owned());
            }
        }
        let mut names = self.line.literals.iter().filter(|it| !it.is_negated).map(|it| &*it.name);
        let name = names.next_back().unwrap_or("all").to_owned();
        let origin = format!("{place}: {}", self.line.text);
        draft.rules.push(Rule::new(&name, vec![origin], Action::Allow, entries));
    }
}
