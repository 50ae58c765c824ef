//! Writes to headers that wait until the filter has returned: what it reads lies in Envoy, and must stay as
//! it is meanwhile.

/// Writes to headers or trailers, in their order.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    operations: Vec<Operation>,
    /// Names and values, one after the other.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Operation {
    name: usize,
    /// None: every entry of the name is removed.
    value: Option<usize>,
}

impl Writes {
    /// One value in the place of every entry of the name.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        self.push(name, Some(value));
    }

    /// No entry of the name.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        self.push(name, None);
    }

    fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        // Room for what most policies write, so that it grows no second time.
        if self.operations.is_empty() {
            self.operations.reserve(8);
            self.bytes.reserve(256);
        }
        self.operations.push(Operation { name: name.len(), value: value.map(<[u8]>::len) });
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }

    /// Each name, with its value; one without a value is to be removed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut rest = &self.bytes[..];
        let mut next = move |length| {
            let (bytes, others) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = others;
            bytes
        };
        self.operations
            .iter()
            .map(move |operation| (next(operation.name), operation.value.map(&mut next)))
    }
}
