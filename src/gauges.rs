//! What gauges tell of the policy in force, as data. A proxy never frees a gauge, so the names are the
//! same for every policy: a hash is a value.

use crate::config::Config;

/// One gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// Its name.
    pub name: &'static str,
    /// What it shows. All are exact as a double, which Prometheus has.
    pub value: u64,
}

/// The gauges of a policy for requests, or for connections.
pub type Gauges = [Gauge; 3];

macro_rules! gauges {
    ($prefix:literal, $config:expr) => {
        [
            Gauge { name: concat!($prefix, "policy_hash"), value: $config.hash },
            Gauge {
                name: concat!($prefix, "policy_rules"),
                value: count($config.policy.rules().len()),
            },
            Gauge { name: concat!($prefix, "policy_hosts"), value: count($config.hosts) },
        ]
    };
}

/// Those of a policy for requests.
pub fn of_requests(config: &Config) -> Gauges {
    gauges!("egress_warden.", config)
}

/// Those of a policy for connections. Apart from those of requests: a proxy may have both filters.
pub fn of_connections(config: &Config) -> Gauges {
    gauges!("egress_warden.connections.", config)
}

fn count(number: usize) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn the_hash_is_the_one_of_records() {
        let mut zeros = 0;
        for number in 0..64 {
            let text = format!(
                r#"{{"policy": "p", "rules": [{{
                    "id": "r{number}", "action": "allow",
                    "to": [{{"hosts": ["a.test", "b.test"]}}, {{"notHosts": ["c.test"]}}]
                }}]}}"#
            );
            let config = config::read(text.as_bytes()).unwrap();
            let [hash, rules, hosts] = of_requests(&config);
            assert_eq!(*config.revision, *format!("p@{:012x}", hash.value));
            assert!(hash.value < 1 << 48);
            assert_eq!((rules.value, hosts.value), (1, 3));
            zeros += u32::from(hash.value < 1 << 44);
            assert_eq!(
                of_connections(&config).map(|it| it.value),
                [hash, rules, hosts].map(|it| it.value)
            );
        }
        assert!(zeros > 0, "no hash begins with a zero");
    }
}
