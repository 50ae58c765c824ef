//! Writes to headers that wait until the filter has returned: what it reads lies in Envoy, and must stay as
//! it is meanwhile.

/// Writes to headers or trailers, in their order.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    operations: Vec<Operation>,
    /// Names and values, one after the other.
    bytes: Vec<u8>,
}

/// What is done to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// One value takes the place of every entry.
    Set,
    /// A value is added: there is no entry.
    Add,
    /// Every entry goes.
    Remove,
}

#[derive(Debug)]
struct Operation {
    write: Write,
    name: usize,
    value: usize,
}

impl Writes {
    /// The value of a removal is empty.
    pub(crate) fn push(&mut self, write: Write, name: &[u8], value: &[u8]) {
        // Room for what most policies write, so that it grows no second time.
        if self.operations.is_empty() {
            self.operations.reserve(8);
            self.bytes.reserve(256);
        }
        self.operations.push(Operation { write, name: name.len(), value: value.len() });
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
    }

    /// Each, with its name and value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Write, &[u8], &[u8])> {
        let mut rest = &self.bytes[..];
        let mut next = move |length| {
            let (bytes, others) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = others;
            bytes
        };
        let operations = self.operations.iter();
        operations.map(move |it| (it.write, next(it.name), next(it.value)))
    }
}
