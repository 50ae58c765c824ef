//! TLS ClientHellos as bytes (RFC 8446, section 4.1.2): what no TLS library would send among them.

use serde::Deserialize;

use egress_warden_simulate::Bytes;

/// A ClientHello. Defaults: no server name, one record, nothing that is not needed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The entries of the server_name extension (RFC 6066, section 3); absent: no such extension.
    pub names: Option<Vec<Bytes>>,
    /// A second server_name extension, with this one name.
    again: Option<Bytes>,
    /// The kind of the names: 0 is `host_name`, the only one there is.
    #[serde(default)]
    kind: u8,
    /// Bytes of padding (RFC 7685).
    #[serde(default)]
    padding: usize,
    /// Whether there is an encrypted ClientHello beside the outer name (RFC 9849).
    #[serde(default)]
    encrypted: bool,
    /// The largest TLS record; 0: 16 KiB.
    #[serde(default)]
    record: usize,
}

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const PADDING: u16 = 21;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

impl Hello {
    /// One that asks for `name`.
    pub fn to(name: impl AsRef<[u8]>) -> Self {
        Self { names: Some(vec![Bytes(name.as_ref().to_vec())]), ..Self::default() }
    }

    /// The records that carry it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        if let Some(names) = &self.names {
            extensions.extend(extension(SERVER_NAME, &self.list(names)));
        }
        if let Some(name) = &self.again {
            extensions.extend(extension(SERVER_NAME, &self.list(std::slice::from_ref(name))));
        }
        extensions.extend(extension(SUPPORTED_GROUPS, b"\0\x04\0\x1d\0\x17"));
        extensions.extend(extension(SIGNATURE_ALGORITHMS, b"\0\x04\x04\x03\x08\x04"));
        if self.encrypted {
            // Outer, HKDF-SHA256 with AES-128-GCM, config 7, a key of 32 bytes, and a payload.
            let outer = [&b"\0\0\x01\0\x01\x07"[..], &sized(&[9; 32]), &sized(&[7; 200])].concat();
            extensions.extend(extension(ENCRYPTED_CLIENT_HELLO, &outer));
        }
        if self.padding > 0 {
            extensions.extend(extension(PADDING, &vec![0; self.padding]));
        }
        let body = [
            &b"\x03\x03"[..],
            &[0x11; 32],
            // No session, two cipher suites, no compression.
            b"\0\0\x04\xc0\x2b\xc0\x2f\x01\0",
            &sized(&extensions),
        ]
        .concat();
        let length = u32::try_from(body.len()).expect("24 bits").to_be_bytes();
        let handshake = [&b"\x01"[..], &length[1..], &body].concat();
        let record = if self.record == 0 { 1 << 14 } else { self.record };
        let records = handshake.chunks(record);
        records.flat_map(|part| [&b"\x16\x03\x01"[..], &sized(part)].concat()).collect()
    }

    fn list(&self, names: &[Bytes]) -> Vec<u8> {
        let entry = |name: &Bytes| [&[self.kind][..], &sized(&name.0)].concat();
        sized(&names.iter().flat_map(entry).collect::<Vec<_>>())
    }
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(data)].concat()
}

/// Bytes with their length in two bytes before them.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("two bytes");
    [&length.to_be_bytes()[..], bytes].concat()
}
