//! `stamp` objects: the policy's own and those of rules.

use super::MAX_STAMPS;
use super::error::{Error, ErrorKind, Path};
use super::reader::{Entry, Reader};
use super::tree::{Node, Value};
use crate::key_table::KeyTable;
use crate::stamp::{HeaderName, NameError, Stamp, Template};

/// Reads one `stamp`.
pub(super) fn read<N: Node>(reader: &mut Reader, entry: Entry<'_, '_, N>) -> Stamp {
    let mut stamp = Stamp::default();
    let Some(object) = reader.object(entry, &["set", "remove"]) else { return stamp };
    let mut named = Named::default();
    if let Some((node, path)) = object.get("set") {
        let members = reader.members(node, &path).unwrap_or_default();
        limit(reader, members.len(), &path);
        for (member, position) in members.iter().zip(0..) {
            let name = N::key(member);
            let path = path.key(name, position);
            let name = header_name(reader, &mut named, name, HeaderName::to_set, &path);
            let template = template(reader, N::member_value(member), &path);
            stamp.set.extend(name.zip(template));
        }
    }
    if let Some((node, path)) = object.get("remove") {
        // The default is written as an empty list.
        let items = match node.value() {
            Value::List(items) => items,
            _ => reader.list(node, &path).unwrap_or_default(),
        };
        limit(reader, items.len(), &path);
        for (index, item) in items.iter().enumerate() {
            let path = path.index(index);
            if let Some(name) = reader.text(item, &path) {
                let read = HeaderName::to_remove;
                stamp.remove.extend(header_name(reader, &mut named, name, read, &path));
            }
        }
    }
    stamp
}

fn limit(reader: &mut Reader, count: usize, path: &Path<'_>) {
    if count > MAX_STAMPS {
        reader.error(path, ErrorKind::TooManyHeaders { count });
    }
}

/// The names of one stamp.
#[derive(Default)]
struct Named<'n> {
    /// Folded, with the place of their text.
    folded: KeyTable,
    texts: Vec<&'n str>,
}

impl<'n> Named<'n> {
    /// Takes a name; the text that it stood under before.
    fn insert(&mut self, folded: &str, text: &'n str) -> Option<&'n str> {
        let next = u32::try_from(self.texts.len()).ok()?;
        let (place, is_new) = self.folded.entry(folded.as_bytes(), next)?;
        let earlier = self.texts.get(*place as usize).copied().filter(|_| !is_new);
        *place = next;
        self.texts.push(text);
        earlier
    }
}

/// Reads a name that this stamp does not name yet: names that upstreams may fold into one are one. It is
/// the key at the end of the path, or an item of a list.
fn header_name<'n>(
    reader: &mut Reader,
    named: &mut Named<'n>,
    text: &'n str,
    read: fn(&str) -> Result<HeaderName, NameError>,
    path: &Path<'_>,
) -> Option<HeaderName> {
    let is_key = matches!(path, Path::Key(..));
    let at = if is_key { Error::at_key } else { Error::at };
    let name = match read(text) {
        Ok(name) => name,
        Err(error) => {
            reader.errors.push(at(path, ErrorKind::Header { text: text.into(), error }));
            return None;
        }
    };
    let earlier = named.insert(name.folded(), text);
    // The same key twice is reported as such.
    if let Some(earlier) = earlier.filter(|&it| it != text || !is_key) {
        let (text, earlier) = (text.into(), earlier.into());
        reader.errors.push(at(path, ErrorKind::DuplicateHeader { text, earlier }));
    }
    Some(name)
}

fn template<N: Node>(reader: &mut Reader, value: &N, path: &Path<'_>) -> Option<Template> {
    let text = reader.text(value, path)?;
    match Template::parse(text, reader.environment) {
        Ok(template) => Some(template),
        Err(error) => {
            reader.error(path, ErrorKind::Template(error));
            None
        }
    }
}
