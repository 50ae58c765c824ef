//! Which variables a policy may name as secrets. In Wasm the VM's configuration gives the module its
//! environment; a library has all of Envoy's, and who writes a policy must not reach all of it.

use egress_warden::load;

/// The variable with the names of those that `{secret:NAME}` may name, separated by commas.
const LIST: &str = "EGRESS_WARDEN_SECRETS";

/// The value of a variable that the list names.
pub(crate) fn listed(name: &str) -> Option<Vec<u8>> {
    let list = load::variable(LIST)?;
    let mut names = list.split(|byte| *byte == b',');
    names.any(|it| it.trim_ascii() == name.as_bytes()).then(|| load::variable(name)).flatten()
}
