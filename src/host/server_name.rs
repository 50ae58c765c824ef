//! The server name of a TLS connection (RFC 6066, section 3), as far as it says where the connection
//! goes.

use super::authority::parse_port;
use super::{Authority, Host, Malformed};

/// How the mesh's own form begins. What begins so is that form or malformed.
const MESH_FORM: &[u8] = b"outbound_.";

impl<'a> Authority<'a> {
    /// Reads a TLS server name: a DNS name, or the mesh's own form of one,
    /// `outbound_.PORT_.SUBSET_.NAME`, which says a port too. An address is none.
    pub fn of_server_name(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (port, name) = match strip_mesh_form(bytes) {
            Some(rest) => {
                let (port, name) = port_and_name(rest).ok_or(Malformed::MeshForm)?;
                (Some(parse_port(port)?), name)
            }
            None => (None, bytes),
        };
        match Host::parse(name)? {
            host @ Host::Name(_) => Ok(Self { host, port }),
            Host::Address(_) => Err(Malformed::Address),
        }
    }
}

/// Parts `PORT_.SUBSET_.NAME`; the subset is empty or a label. The form does not nest.
fn port_and_name(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (port, rest) = split_once(rest)?;
    let (subset, name) = split_once(rest)?;
    (is_subset(subset) && strip_mesh_form(name).is_none()).then_some((port, name))
}

/// Istio takes labels of RFC 1123 for subsets, and nothing else.
fn is_subset(subset: &[u8]) -> bool {
    let is_label_byte = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    subset.len() <= 63 && subset.iter().all(is_label_byte)
}

/// What follows the beginning of the mesh's form, in any case, as a host's letters are lowered.
fn strip_mesh_form(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_at_checked(MESH_FORM.len())?;
    head.eq_ignore_ascii_case(MESH_FORM).then_some(rest)
}

fn split_once(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(2).position(|pair| pair == b"_.")?;
    Some((bytes.get(..at)?, bytes.get(at.saturating_add(2)..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn read(text: &str) -> Result<(String, Option<u16>), Malformed> {
        let authority = Authority::of_server_name(text.as_bytes())?;
        Ok((authority.host.canonical().into_owned(), authority.port))
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_server_name_is_a_name_in_any_spelling() {
        for text in ["api.test", "API.Test", "api.test."] {
            assert_eq!(read(text), Ok(("api.test".to_owned(), None)), "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn the_meshs_form_names_the_host_inside_it_and_a_port() {
        for (text, port) in [
            ("outbound_.443_._.api.test", 443),
            ("outbound_.8443_.v1_.api.test", 8443),
            ("OUTBOUND_.80_._.API.test.", 80),
        ] {
            assert_eq!(read(text), Ok(("api.test".to_owned(), Some(port))), "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_is_neither_is_malformed() {
        use Malformed as M;
        for (text, error) in [
            ("", M::Empty),
            ("api.test:443", M::Byte(b':')),
            ("api\0.test", M::Byte(0)),
            ("1.2.3.4", M::Address),
            ("[2001:db8::1]", M::Address),
            ("outbound_.", M::MeshForm),
            ("outbound_.443_.api.test", M::MeshForm),
            ("outbound_._._.api.test", M::Port),
            ("outbound_.443_.v1\0_.api.test", M::MeshForm),
            ("outbound_.443_.v.1_.api.test", M::MeshForm),
            ("outbound_.0443_._.api.test", M::Port),
            ("outbound_.443_._.", M::Empty),
            ("outbound_.443_._.1.2.3.4", M::Address),
            ("outbound_.443_._.Outbound_.443_._.api.test", M::MeshForm),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }
}
