//! Which service accounts pods run as: the file of `--service-accounts`.
//!
//! Sources select pods by labels, which no policy knows. Each entry of the file says of a namespace: every
//! pod that runs as one of these accounts carries these labels. So accounts whose labels a selector asks for
//! stand for pods that it selects.

use super::draft::told;
use super::text::Text;
use crate::document::Node;
use crate::failure::Failure;
use std::collections::BTreeMap;

/// Labels of pods.
pub(super) type Labels = BTreeMap<String, String>;

/// The service accounts of a file, by the labels of their pods.
#[derive(Debug, Default)]
pub(super) struct Accounts(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    namespace: String,
    labels: Labels,
    accounts: Vec<String>,
}

/// How an entry is written.
const REMEDY: &str =
    "write entries such as `- {namespace: shop, labels: {app: web}, serviceAccounts: [web]}`";

impl Accounts {
    pub(super) fn read(text: &Text) -> Result<Self, Failure> {
        let mut accounts = Self::default();
        for node in text.objects()? {
            let entry = Entry::read(text, node)?;
            accounts.add(text, node, entry)?;
        }
        Ok(accounts)
    }

    /// Adds an entry. One that says of an account's pods what another denies would make a selector wider.
    fn add(&mut self, text: &Text, node: &Node, entry: Entry) -> Result<(), Failure> {
        let differs = |other: &&Entry| {
            let differs = |(key, value)| other.labels.get(key).is_some_and(|it| it != value);
            other.namespace == entry.namespace && entry.labels.iter().any(differs)
        };
        let shared = self.0.iter().filter(differs).flat_map(|other| &other.accounts);
        if let Some(account) = shared.into_iter().find(|it| entry.accounts.contains(it)) {
            let problem = format!(
                "pods of {} with other labels than an entry before says",
                told(&format!("{}/{account}", entry.namespace))
            );
            let remedy = "leave out accounts that pods of several kinds share: no policy tells such pods apart";
            return Err(Failure::new(text.at(node), problem, remedy));
        }
        self.0.push(entry);
        Ok(())
    }

    /// `NAMESPACE/ACCOUNT` of those whose pods are all selected; in any namespace where none is named.
    pub(super) fn whose_pods(
        &self,
        namespaces: Option<&[String]>,
        are_selected: impl Fn(&Labels) -> bool,
    ) -> Vec<String> {
        let is_there =
            |entry: &&Entry| namespaces.is_none_or(|names| names.contains(&entry.namespace));
        let entries = self.0.iter().filter(is_there).filter(|entry| are_selected(&entry.labels));
        let accounts = entries.flat_map(|entry| {
            entry.accounts.iter().map(|account| format!("{}/{account}", entry.namespace))
        });
        let mut accounts: Vec<String> = accounts.collect();
        accounts.sort();
        accounts.dedup();
        accounts
    }
}

impl Entry {
    fn read(text: &Text, node: &Node) -> Result<Self, Failure> {
        let wrong = |at: &Node, problem: String| Err(Failure::new(text.at(at), problem, REMEDY));
        for member in node.members() {
            if !["namespace", "labels", "serviceAccounts"].contains(&&*member.key) {
                return wrong(&member.value, format!("an unknown key {}", told(&member.key)));
            }
        }
        let namespace = node.get("namespace").and_then(Node::text).filter(|it| is_name(it));
        let Some(namespace) = namespace else { return wrong(node, "no `namespace`".to_owned()) };
        let labels = node.get("labels").and_then(labels).filter(|labels| !labels.is_empty());
        let Some(labels) = labels else {
            return wrong(node, "no `labels`, or values that are no text".to_owned());
        };
        let listed = node.get("serviceAccounts").map_or(&[][..], Node::items);
        let accounts: Option<Vec<_>> = listed.iter().map(account).collect();
        match accounts.filter(|accounts| !accounts.is_empty()) {
            Some(accounts) => Ok(Self { namespace: namespace.to_owned(), labels, accounts }),
            None => wrong(node, "no `serviceAccounts`, or names that are none".to_owned()),
        }
    }
}

fn account(node: &Node) -> Option<String> {
    node.text().filter(|it| is_name(it)).map(str::to_owned)
}

/// An object of texts.
pub(super) fn labels(node: &Node) -> Option<Labels> {
    let label = |key: &str, value: &Node| Some((key.to_owned(), value.text()?.to_owned()));
    node.members().iter().map(|member| label(&member.key, &member.value)).collect()
}

/// `app=web,tier=front`.
pub(super) fn shown(labels: &Labels) -> String {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(",")
}

/// Whether a text is the name of a namespace or an account, and so no pattern.
pub(super) fn is_name(text: &str) -> bool {
    let is_in_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|byte| is_in_name(byte) || byte == b'-' || byte == b'.')
}
