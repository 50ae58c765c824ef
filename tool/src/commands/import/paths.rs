//! Patterns of paths that a policy takes as their source means them.

use egress_warden::config;
use serde_json::json;

/// Whether a pattern is a path or, with a `*` at its end, what begins so.
pub(super) fn is_prefix(pattern: &str) -> bool {
    let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
    !prefix.contains(['*', '{', '}', '%']) && is_pattern(pattern)
}

/// Whether a policy takes a pattern of paths.
pub(super) fn is_pattern(pattern: &str) -> bool {
    let to = json!([{ "hosts": ["a.example"], "paths": [pattern] }]);
    let rule = json!({ "id": "a", "action": "allow", "to": to });
    let policy = json!({ "policy": "a", "default": "deny", "rules": [rule] });
    config::read(policy.to_string().as_bytes()).is_ok()
}
