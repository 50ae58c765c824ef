//! A fleet and the access log of its egress gateway: 300 services in 30 namespaces, 2,000 hosts, and
//! among their traffic noise, typos and an attacker. The same seed gives the same log.
//!
//! The gateway only watches (`mode: monitor`), so that whatever anybody tried has passed: nothing but
//! the requests themselves tells who was who.

use crate::access_log::Sent;
use std::collections::BTreeSet;

/// Why somebody made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Intent {
    /// A service at work.
    Work,
    /// Somebody mistyped a host.
    Typo,
    /// Monitoring, scanners, broken clients.
    Noise,
    /// An attacker in one of the services.
    Probe,
}

/// 2026-11-02, a Monday, in milliseconds.
const START: u64 = 1_793_577_600_000;
/// Two weeks.
const SPAN: u64 = 14 * DAY;
const DAY: u64 = 86_400_000;

const NAMESPACES: [&str; 30] = [
    "accounts",
    "ads",
    "analytics",
    "audit",
    "billing",
    "booking",
    "catalog",
    "chat",
    "checkout",
    "content",
    "delivery",
    "email",
    "fraud",
    "gateway",
    "geo",
    "growth",
    "identity",
    "inventory",
    "invoices",
    "ledger",
    "loyalty",
    "media",
    "orders",
    "partners",
    "payments",
    "pricing",
    "reports",
    "search",
    "support",
    "web",
];
const SERVICES_OF_NAMESPACE: usize = 10;

/// Hosts that every service calls.
const SHARED: usize = 20;
/// Vendors with a name for each customer.
const TENANTED: usize = 40;
const TENANTS: usize = 30;
/// Vendors with a few names.
const SMALL_VENDORS: usize = 60;
const SMALL_NAMES: [&str; 4] = ["api", "auth", "cdn", "hooks"];
/// Names that customers choose below a public suffix.
const HOSTED: usize = 120;
const SUFFIXES: [&str; 4] = ["github.io", "s3.amazonaws.com", "azurewebsites.net", "myshopify.com"];
/// Vendors with one name.
const SINGLE: usize = 420;

/// Everything the gateway saw, in the order of time.
pub fn traffic(seed: u64) -> Vec<(Intent, Sent)> {
    let mut dice = Dice::new(seed);
    let hosts = Hosts::new(&mut dice);
    let mut sent = Vec::with_capacity(260_000);
    work(&mut dice, &hosts, &mut sent);
    typos(&mut dice, &hosts, &mut sent);
    noise(&mut dice, &hosts, &mut sent);
    probes(&mut dice, &hosts, &mut sent);
    sent.sort_by(|(_, a), (_, b)| (a.time, &a.host, &a.caller).cmp(&(b.time, &b.host, &b.caller)));
    sent
}

/// The hosts of a fleet, each with the namespaces that use it.
struct Hosts {
    shared: Vec<String>,
    of_namespaces: Vec<(String, Vec<usize>)>,
}

impl Hosts {
    fn new(dice: &mut Dice) -> Self {
        let mut names = Names::default();
        let mut shared = Vec::new();
        for number in 0..SHARED {
            let prefix = ["api", "intake", "registry", "login"][number % 4];
            shared.push(format!("{prefix}.{}", names.vendor(dice)));
        }
        let mut of_namespaces: Vec<(String, Vec<usize>)> = Vec::new();
        for _ in 0..TENANTED {
            let vendor = names.vendor(dice);
            let users = users(dice, 2);
            for tenant in 0..TENANTS {
                of_namespaces.push((format!("t{}.{vendor}", 100 + tenant * 7), users.clone()));
            }
        }
        for _ in 0..SMALL_VENDORS {
            let vendor = names.vendor(dice);
            let users = users(dice, 3);
            for name in SMALL_NAMES {
                of_namespaces.push((format!("{name}.{vendor}"), users.clone()));
            }
        }
        for number in 0..HOSTED {
            let vendor = names.vendor(dice);
            let (name, _) = vendor.split_once('.').expect("a vendor has a suffix");
            of_namespaces.push((format!("{name}.{}", SUFFIXES[number % 4]), users(dice, 1)));
        }
        for _ in 0..SINGLE {
            of_namespaces.push((format!("api.{}", names.vendor(dice)), users(dice, 3)));
        }
        Self { shared, of_namespaces }
    }
}

/// Up to so many namespaces.
fn users(dice: &mut Dice, most: usize) -> Vec<usize> {
    let users: BTreeSet<usize> =
        (0..=dice.roll(most)).map(|_| dice.roll(NAMESPACES.len())).collect();
    users.into_iter().collect()
}

/// Names of vendors. Any two differ in two of their three parts, so that none looks like another.
#[derive(Default)]
struct Names(usize);

impl Names {
    fn vendor(&mut self, dice: &mut Dice) -> String {
        const PARTS: [&str; 29] = [
            "acro", "balt", "cind", "dovet", "ember", "fjord", "glint", "harb", "indig", "jasp",
            "kestr", "lumen", "marl", "north", "opal", "pylon", "quart", "rivul", "sable", "tundr",
            "umbra", "velv", "willo", "xeno", "yarr", "zeph", "mail", "cloud", "desk",
        ];
        const TOPS: [&str; 5] = ["com", "io", "net", "co.uk", "dev"];
        let (a, b) = (self.0 / PARTS.len() % PARTS.len(), self.0 % PARTS.len());
        self.0 += 1;
        let top = TOPS[dice.roll(TOPS.len())];
        format!("{}{}{}.{top}", PARTS[a], PARTS[b], PARTS[(a + b) % PARTS.len()])
    }
}

fn service(namespace: usize, number: usize) -> String {
    let namespace = NAMESPACES[namespace];
    const ACCOUNTS: [&str; SERVICES_OF_NAMESPACE] =
        ["api", "worker", "cron", "sync", "hooks", "export", "import", "cache", "jobs", "edge"];
    format!("cluster.local/ns/{namespace}/sa/{}", ACCOUNTS[number])
}

fn work(dice: &mut Dice, hosts: &Hosts, sent: &mut Vec<(Intent, Sent)>) {
    for host in &hosts.shared {
        for namespace in 0..NAMESPACES.len() {
            for number in 0..SERVICES_OF_NAMESPACE {
                calls(dice, host, service(namespace, number), sent);
            }
        }
    }
    for (host, users) in &hosts.of_namespaces {
        for namespace in users {
            for number in 0..SERVICES_OF_NAMESPACE {
                if dice.roll(4) > 0 {
                    calls(dice, host, service(*namespace, number), sent);
                }
            }
        }
    }
}

/// What one service sends to one host: a few requests, sometimes many.
fn calls(dice: &mut Dice, host: &str, caller: String, sent: &mut Vec<(Intent, Sent)>) {
    let count = match dice.roll(50) {
        0 => 60,
        1..=9 => 12,
        _ => 4 + dice.roll(3),
    };
    for _ in 0..count {
        let call = Sent {
            time: dice.time(),
            caller: Some(caller.clone()),
            method: ["GET", "GET", "POST", "PUT"][dice.roll(4)],
            host: host.to_owned(),
            port: 443,
            path: format!("/v1/items/{}?page={}", dice.roll(100_000), dice.roll(9)),
        };
        sent.push((Intent::Work, call));
    }
}

fn typos(dice: &mut Dice, hosts: &Hosts, sent: &mut Vec<(Intent, Sent)>) {
    for _ in 0..120 {
        let host = &hosts.shared[dice.roll(SHARED)];
        let at = host.find('.').expect("a host has labels") + 2 + dice.roll(4);
        let mut typo = host.clone();
        match dice.roll(3) {
            0 => drop(typo.remove(at)),
            1 => typo.insert(at, 'x'),
            _ => {
                let twin = typo.remove(at);
                typo.insert(at - 1, twin);
            }
        }
        if typo == *host {
            continue;
        }
        let caller = any_service(dice);
        for _ in 0..=dice.roll(4) {
            let mistyped = odd(dice, &typo, 443, Some(caller.clone()), "GET");
            sent.push((Intent::Typo, mistyped));
        }
    }
}

fn noise(dice: &mut Dice, hosts: &Hosts, sent: &mut Vec<(Intent, Sent)>) {
    for _ in 0..500 {
        let shared = hosts.shared[dice.roll(SHARED)].clone();
        let (host, port, method): (String, u16, &str) = match dice.roll(6) {
            0 => ("bad..host".to_owned(), 443, "GET"),
            1 => (format!("192.0.2.{}", dice.roll(250)), 80, "GET"),
            2 => ("localhost".to_owned(), 8080, "GET"),
            3 => ("redis-master".to_owned(), 6379, "GET"),
            4 => (shared, 8443, "GET"),
            _ => (shared, 443, "CONNECT"),
        };
        let caller = (dice.roll(3) > 0).then(|| any_service(dice));
        sent.push((Intent::Noise, odd(dice, &host, port, caller, method)));
    }
    // Nobody knows who these are, and whom they call is well known.
    for _ in 0..100 {
        let host = &hosts.shared[dice.roll(SHARED)];
        sent.push((Intent::Noise, odd(dice, host, 443, None, "GET")));
    }
}

/// An attacker who has taken over two services.
fn probes(dice: &mut Dice, hosts: &Hosts, sent: &mut Vec<(Intent, Sent)>) {
    let taken_over = [service(29, 3), service(11, 7)];
    let mut probe = |dice: &mut Dice, host: &str, port: u16, count: usize| {
        for _ in 0..count {
            let caller = Some(taken_over[dice.roll(2)].clone());
            let probe = odd(dice, host, port, caller, "GET");
            sent.push((Intent::Probe, probe));
        }
    };
    for host in ["169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]", "127.0.0.1"] {
        probe(dice, host, 80, 30);
    }
    for _ in 0..300 {
        let host = format!("10.{}.{}.{}", dice.roll(4), dice.roll(250), dice.roll(250));
        probe(dice, &host, 80, 1);
    }
    // Secrets carried out in names.
    for _ in 0..400 {
        let secret = dice.next();
        probe(dice, &format!("{secret:016x}.cdn-telemetry.net"), 443, 1);
    }
    // Names that look like those everybody calls.
    for host in &hosts.shared {
        let (prefix, vendor) = host.split_once('.').expect("a host has labels");
        let swapped = vendor.replacen(['e', 'o', 'a', 'i', 'u'], "0", 1);
        probe(dice, &format!("{prefix}.{swapped}"), 443, 12);
        probe(dice, &format!("{host}.login-check.org"), 443, 12);
        let (name, _) = vendor.split_once('.').expect("a vendor has a suffix");
        probe(dice, &format!("{prefix}.{name}.xyz"), 443, 12);
    }
    probe(dice, "xn--strpe-3ya.com", 443, 200);
    // Neighbours of names below a public suffix.
    for suffix in SUFFIXES {
        for number in 0..8 {
            probe(dice, &format!("drop{number}.{suffix}"), 443, 1 + dice.0 as usize % 3);
        }
    }
    // Ports that nobody uses at hosts that everybody uses.
    for port in [22, 25, 3306] {
        probe(dice, &hosts.shared[0], port, 4);
    }
    // A call home, every few hours, from one of the two.
    for _ in 0..40 {
        let caller = Some(service(29, 3));
        let call = odd(dice, "updates.quietharbour.info", 443, caller, "POST");
        sent.push((Intent::Probe, call));
    }
    // All at once, out of the night.
    let burst = START + 9 * DAY + 3 * 3_600_000;
    for number in 0..600 {
        let mut upload = odd(dice, "paste.dropzone-files.com", 443, Some(service(29, 3)), "PUT");
        upload.time = burst + number * 500;
        sent.push((Intent::Probe, upload));
    }
}

fn any_service(dice: &mut Dice) -> String {
    service(dice.roll(NAMESPACES.len()), dice.roll(SERVICES_OF_NAMESPACE))
}

fn odd(
    dice: &mut Dice,
    host: &str,
    port: u16,
    caller: Option<String>,
    method: &'static str,
) -> Sent {
    Sent { time: dice.time(), caller, method, host: host.to_owned(), port, path: "/".to_owned() }
}

/// xorshift64*: the same choices on every machine.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `sides` - 1.
    fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % sides
    }

    fn time(&mut self) -> u64 {
        START + self.next() % SPAN
    }
}
