//! `stamp` objects: the policy's own and those of rules.

use super::MAX_STAMPS;
use super::fault::{Path, quote};
use super::json::Node;
use super::object::{Entry, Reader};
use crate::key_table::KeyTable;
use crate::stamp::{HeaderName, NameError, Stamp, Template};

/// Reads one `stamp`.
pub(super) fn read(reader: &mut Reader, entry: Entry<'_, '_, '_>) -> Stamp {
    let mut stamp = Stamp::default();
    let Some(object) = reader.object(entry, &["set", "remove"]) else { return stamp };
    let mut named = Named::default();
    if let Some((node, path)) = object.get("set") {
        let members = reader.members(node, &path).unwrap_or_default();
        limit(reader, members.len(), &path);
        for ((name, value), position) in members.iter().zip(0..) {
            let path = path.key(name, position);
            let name = header_name(reader, &mut named, name, &path);
            let template = template(reader, value, &path);
            stamp.set.extend(name.zip(template));
        }
    }
    if let Some((node, path)) = object.get("remove") {
        // The default is written as an empty list.
        let items = match node {
            Node::Array(items) => &items[..],
            _ => reader.list(node, &path).unwrap_or_default(),
        };
        limit(reader, items.len(), &path);
        for (index, item) in items.iter().enumerate() {
            let path = path.index(index);
            if let Some(name) = reader.text(item, &path) {
                stamp.remove.extend(header_name(reader, &mut named, name, &path));
            }
        }
    }
    stamp
}

fn limit(reader: &mut Reader, count: usize, path: &Path<'_>) {
    if count > MAX_STAMPS {
        reader.fault(path, format!("{count} headers"), format!("name at most {MAX_STAMPS}"));
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

/// Reads a name that this stamp does not name yet: names that upstreams may fold into one are one.
fn header_name<'n>(
    reader: &mut Reader,
    named: &mut Named<'n>,
    text: &'n str,
    path: &Path<'_>,
) -> Option<HeaderName> {
    let name = match HeaderName::parse(text) {
        Ok(name) => name,
        Err(error) => {
            let remedy = match error {
                NameError::Case => format!("use \"{}\"", text.to_ascii_lowercase()),
                _ => "name another header, such as `x-egress-team`".to_owned(),
            };
            reader.fault(path, format!("{} ({error})", quote(text)), remedy);
            return None;
        }
    };
    let earlier = named.insert(name.folded(), text);
    // The same key twice is reported as such.
    if let Some(earlier) = earlier.filter(|&it| it != text || matches!(path, Path::Index(..))) {
        let problem =
            format!("{}, which this stamp names already as {}", quote(text), quote(earlier));
        reader.fault(path, problem, "set it or remove it, once");
    }
    Some(name)
}

fn template(reader: &mut Reader, value: &Node<'_>, path: &Path<'_>) -> Option<Template> {
    let text = reader.text(value, path)?;
    match Template::parse(text) {
        Ok(template) => Some(template),
        Err(error) => {
            reader.fault(path, error.to_string(), error.remedy());
            None
        }
    }
}
