//! The server name of a TLS connection (RFC 6066, section 3), as far as it says where the connection
//! goes.
//!
//! A proxy chooses a connection's way out by the bytes of the server name. So exactly one spelling of a
//! host is accepted: lower case, as Envoy shows every server name, and without a trailing dot, which
//! RFC 6066 does not allow. `x` and `x.` are the same host in an authority, but not here: a proxy sends
//! them different ways.

use super::authority::parse_port;
use super::name::MAX_LABEL;
use super::{Authority, Host, Malformed};

/// The one form of server names that the ways out behind a plugin are chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerNameForm {
    /// A DNS name: `api.example.com`.
    Host,
    /// The mesh's own form of a name and a port: `outbound_.PORT_.SUBSET_.NAME`. The subset may be
    /// empty.
    Mesh,
}

/// How the mesh's own form begins. No DNS name that is judged begins so.
const MESH_FORM: &[u8] = b"outbound_.";

impl<'a> Authority<'a> {
    /// Reads a TLS server name of this form; the mesh's own says a port too. An address is none.
    pub fn of_server_name(bytes: &'a [u8], form: ServerNameForm) -> Result<Self, Malformed> {
        match form {
            ServerNameForm::Host => Ok(Self { host: canonical_name(bytes)?, port: None }),
            ServerNameForm::Mesh => {
                let (port, name) = port_and_name(bytes).ok_or(Malformed::NoMeshForm)?;
                Ok(Self { host: canonical_name(name)?, port: Some(parse_port(port)?) })
            }
        }
    }
}

/// Reads a name that is written in its canonical form, and is not the mesh's own form of another.
fn canonical_name(bytes: &[u8]) -> Result<Host<'_>, Malformed> {
    if bytes.starts_with(MESH_FORM) {
        return Err(Malformed::MeshForm);
    }
    match Host::parse(bytes)? {
        Host::Name(name) if name.as_str().as_bytes() != bytes => Err(Malformed::Spelling),
        host @ Host::Name(_) => Ok(host),
        Host::Address(_) => Err(Malformed::Address),
    }
}

/// Splits `outbound_.PORT_.SUBSET_.NAME`.
fn port_and_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (port, rest) = split_once(bytes.strip_prefix(MESH_FORM)?)?;
    let (subset, name) = split_once(rest)?;
    is_subset(subset).then_some((port, name))
}

/// Istio takes labels of RFC 1123 for subsets, and nothing else.
fn is_subset(subset: &[u8]) -> bool {
    let is_label_byte = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    subset.len() <= MAX_LABEL && subset.iter().all(is_label_byte)
}

fn split_once(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(2).position(|pair| pair == b"_.")?;
    Some((bytes.get(..at)?, bytes.get(at.saturating_add(2)..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn read(text: &str, form: ServerNameForm) -> Result<(String, Option<u16>), Malformed> {
        let authority = Authority::of_server_name(text.as_bytes(), form)?;
        Ok((authority.host.canonical().into_owned(), authority.port))
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_name_is_read_as_it_stands() {
        for text in
            ["api.test", "_dmarc.api.test", "xn--bcher-kva.test", "inbound_.443_._.api.test"]
        {
            assert_eq!(read(text, ServerNameForm::Host), Ok((text.to_owned(), None)), "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn another_spelling_of_a_name_is_malformed() {
        for name in ["API.test", "api.test.", "Api.Test.", "XN--BCHER-KVA.test"] {
            assert_eq!(read(name, ServerNameForm::Host), Err(Malformed::Spelling), "{name}");
            let text = format!("outbound_.443_._.{name}");
            assert_eq!(read(&text, ServerNameForm::Mesh), Err(Malformed::Spelling), "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn the_meshs_form_names_the_host_inside_it_and_a_port() {
        for (text, port) in
            [("outbound_.443_._.api.test", 443), ("outbound_.8443_.v1_.api.test", 8443)]
        {
            let expected = Ok(("api.test".to_owned(), Some(port)));
            assert_eq!(read(text, ServerNameForm::Mesh), expected, "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn each_form_is_taken_only_where_it_is_expected() {
        let mesh =
            ["outbound_.443_._.api.test", "outbound_.443_.v1_.api.test", "outbound_.api.test"];
        for text in mesh {
            assert_eq!(read(text, ServerNameForm::Host), Err(Malformed::MeshForm), "{text}");
        }
        assert_eq!(read("api.test", ServerNameForm::Mesh), Err(Malformed::NoMeshForm));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_is_no_name_is_malformed() {
        use Malformed as M;
        for (text, error) in [
            ("", M::Empty),
            (".", M::EmptyLabel),
            ("api.test:443", M::Byte(b':')),
            ("api\0.test", M::Byte(0)),
            ("1.2.3.4", M::Address),
            ("[2001:db8::1]", M::Address),
        ] {
            assert_eq!(read(text, ServerNameForm::Host), Err(error), "{text}");
        }
        for (text, error) in [
            ("", M::NoMeshForm),
            ("outbound_.", M::NoMeshForm),
            ("outbound_.443_.api.test", M::NoMeshForm),
            ("OUTBOUND_.443_._.api.test", M::NoMeshForm),
            ("outbound_.443_.V1_.api.test", M::NoMeshForm),
            ("outbound_.443_.v1\0_.api.test", M::NoMeshForm),
            ("outbound_.443_.v.1_.api.test", M::NoMeshForm),
            ("outbound_._._.api.test", M::Port),
            ("outbound_.0443_._.api.test", M::Port),
            ("outbound_.443_._.", M::Empty),
            ("outbound_.443_._.1.2.3.4", M::Address),
            ("outbound_.443_._.outbound_.443_._.api.test", M::MeshForm),
        ] {
            assert_eq!(read(text, ServerNameForm::Mesh), Err(error), "{text}");
        }
    }
}
