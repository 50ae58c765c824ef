//! From a policy to the configuration of proxies: the description of a gateway, the plan of what is routed
//! how, and what each kind of proxy is given for it.
//!
//! Nothing here decides: what a rule means is asked of its source, and the proxy that is configured runs
//! the policy itself.

pub(crate) mod envoy;
pub(crate) mod gateway;
pub(crate) mod istio;
pub(crate) mod plan;
mod policy_json;
mod template;
mod wildcard_port;
