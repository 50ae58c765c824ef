//! What keeps a file from being used as the description of a gateway.

use super::IstioVersion;
use crate::document::TextError;
use crate::finding::Message;
use crate::policy_file::PolicyError;
use std::borrow::Cow;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GatewayError {
    /// The text itself.
    Text(TextError),
    /// What policies have too: keys, types, numbers, words, hosts.
    Form(PolicyError),
    /// Such a key must be there, as `example` has it.
    Missing { key: &'static str, example: &'static str },
    /// A version of Istio that is not known.
    IstioVersion(Box<str>),
    /// No name of an object of Kubernetes.
    ObjectName(Box<str>),
    /// No label of Kubernetes.
    Label(Box<str>),
    /// No address of an endpoint.
    Address(Box<str>),
    /// No address with a port.
    Socket(Box<str>),
    /// No path of a file in the proxy.
    FilePath(Box<str>),
    /// No address of a module.
    ModuleUrl(Box<str>),
    /// No SHA-256.
    Digest(Box<str>),
    /// Certificate authorities of a way that begins no TLS.
    AuthoritiesWithoutTls,
    /// `caCertificates` beside `secret`.
    TwoAuthorities,
    /// A way that an earlier one leaves nothing.
    NeverUsed { earlier: usize },
    /// What only a gateway for sidecars has, beside `dataplane: ambient`.
    NotAmbient(&'static str),
    /// What only a gateway of Istio's chart has, beside `routes: gateway-api`.
    NotGatewayApi(&'static str),
    /// Two listeners of one Envoy.
    SameSocket { other: &'static str },
}

impl Message for GatewayError {
    fn problem(&self) -> Cow<'_, str> {
        match self {
            Self::Text(error) => error.problem(),
            Self::Form(error) => error.problem(),
            Self::Missing { key, .. } => format!("no `{key}`").into(),
            Self::IstioVersion(text) => format!("Istio {}", shown(text)).into(),
            Self::ObjectName(text) => format!("the name {}", shown(text)).into(),
            Self::Label(text) => format!("the label {}", shown(text)).into(),
            Self::Address(text) => format!("{} (no address)", shown(text)).into(),
            Self::Socket(text) => format!("{} (no address with a port)", shown(text)).into(),
            Self::FilePath(text) => format!("{} (no path of a file)", shown(text)).into(),
            Self::ModuleUrl(text) => format!("{} (no address of a module)", shown(text)).into(),
            Self::Digest(text) => format!("{} (no SHA-256)", shown(text)).into(),
            Self::AuthoritiesWithoutTls => {
                "certificate authorities of a way in which the gateway starts no TLS".into()
            }
            Self::TwoAuthorities => "`secret` beside `caCertificates`".into(),
            Self::NeverUsed { earlier } => {
                format!("a way for ports that `$.spec.ways[{earlier}]` takes for every host").into()
            }
            Self::NotAmbient(key) => format!("`{key}` beside `dataplane: ambient`").into(),
            Self::NotGatewayApi(key) => format!("`{key}` beside `routes: gateway-api`").into(),
            Self::SameSocket { other } => format!("the address of `{other}`").into(),
        }
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::Text(TextError::Empty) => "describe a gateway, or leave the file out".into(),
            Self::Text(error) => error.remedy(),
            Self::Form(error) => error.remedy(),
            Self::Missing { example, .. } => format!("write `{example}`").into(),
            Self::IstioVersion(_) => {
                let known: Vec<_> =
                    IstioVersion::KNOWN.iter().map(|it| format!("\"{it}\"")).collect();
                format!("write one of {}", known.join(", ")).into()
            }
            Self::ObjectName(_) => {
                "write 1 to 63 of a-z, 0-9 and `-`, with a letter or a digit at both ends".into()
            }
            Self::Label(_) => {
                "write at most 63 of letters, digits, `-`, `_` and `.`, with a letter or a digit \
                 at both ends"
                    .into()
            }
            Self::Address(_) => {
                "write an address without a port, such as `203.0.113.7`; the port is `targetPort`"
                    .into()
            }
            Self::Socket(_) => "write both, such as `127.0.0.1:15011`".into(),
            Self::FilePath(_) => {
                "write where the proxy finds it, such as `/etc/ssl/certs/ca-certificates.crt`"
                    .into()
            }
            Self::ModuleUrl(_) => {
                "begin it with `oci://`, `https://`, `http://` or `file://`".into()
            }
            Self::Digest(_) => "write its 64 hex digits, in lower case, without `sha256:`".into(),
            Self::AuthoritiesWithoutTls => "write `way: originate`, or leave them out".into(),
            Self::TwoAuthorities => "keep one of them".into(),
            Self::NeverUsed { .. } => "put it first, or leave it out".into(),
            Self::NotAmbient(_) => {
                "leave it out: a waypoint has a Service and routes of its own".into()
            }
            Self::NotGatewayApi(_) => {
                "leave it out: istiod starts the pods of such a gateway, and makes their Service"
                    .into()
            }
            Self::SameSocket { .. } => "give each listener an address of its own".into(),
        }
    }
}

/// The author's own text in a message: in backticks, on one line, cut.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    format!("`{}`", cut.escape_debug())
}
