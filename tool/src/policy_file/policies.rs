//! The policies of an input. A text may hold several documents, and lists, of which some carry a policy.

use super::PolicyFile;
use super::carrier::Contents;
use super::foreign;
use crate::console::Console;
use crate::document::{Document, TextError};
use crate::failure::Failure;
use crate::finding::Finding;
use egress_warden::config;
use std::path::Path;
use std::rc::Rc;

/// The policies of a text, in its order.
#[derive(Debug)]
pub(crate) struct Policies {
    document: Rc<Document>,
    files: Vec<PolicyFile>,
    /// What else there is, as messages name it.
    others: Vec<String>,
    /// Whether the text is meant as a policy. Of other texts it is asked whether there is one.
    meant: bool,
}

/// Most errors beside several policies that are told with each of them, so that a file cannot make an
/// answer of its length squared.
const MAX_AROUND: usize = 16;

/// Which policy a command is about if an input holds several.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Which {
    /// If a file holds several policies: the one of this name, or in the manifest of this name
    /// (`NAME` or `NAMESPACE/NAME`)
    #[arg(long, value_name = "NAME")]
    document: Option<String>,
}

impl Which {
    pub(crate) fn name(&self) -> Option<&str> {
        self.document.as_deref()
    }
}

impl Policies {
    /// Reads a file that is meant as a policy; `-` is standard input. What is text has no failure here:
    /// without a policy it stands for one with errors.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        Ok(Self::of(document(path)?, true))
    }

    /// Reads a file of a folder, which may be something else: then there are no policies.
    pub(crate) fn look_into(path: &Path) -> Result<Self, Failure> {
        Ok(Self::of(document(path)?, false))
    }

    /// Takes apart a text that is meant as a policy; one that is valid JSON is read as JSON whatever its
    /// name.
    pub(crate) fn of_text(name: String, text: String, is_json_by_name: bool) -> Self {
        Self::of(Document::of_text(name, text, is_json_by_name), true)
    }

    fn of(mut document: Document, meant: bool) -> Self {
        let errors = document.take_errors();
        if document.roots().is_empty() {
            let document = Rc::new(document);
            let files = vec![PolicyFile::new(&document, None, errors, true)];
            return Self { document, files, others: Vec::new(), meant };
        }
        let Contents { policies, errors, mut around, others } =
            Contents::of(&document, &errors, meant);
        if policies.len() > 1 {
            around.truncate(MAX_AROUND);
        }
        let document = Rc::new(document);
        let is_alone = policies.len() == 1;
        let mut files: Vec<_> = policies
            .into_iter()
            .zip(errors)
            .map(|(place, mut errors)| {
                errors.extend(around.iter().cloned());
                errors.sort_by_key(|error| error.span.start);
                PolicyFile::new(&document, Some(place), errors, is_alone)
            })
            .collect();
        if files.is_empty() && (meant || !around.is_empty()) {
            files.push(PolicyFile::new(&document, None, around, true));
        }
        Self { document, files, others, meant }
    }

    /// The same file with another text.
    pub(crate) fn rewritten(&self, text: String) -> Self {
        Self::of(self.document.rewritten(text), self.meant)
    }

    /// The whole text, taken apart.
    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    /// At least one where the text is meant as a policy.
    pub(crate) fn files(&self) -> &[PolicyFile] {
        &self.files
    }

    /// What else there is, as messages name it.
    pub(crate) fn others(&self) -> &[String] {
        &self.others
    }

    pub(crate) fn into_files(self) -> Vec<PolicyFile> {
        self.files
    }

    /// Says what is beside the policies.
    pub(crate) fn tell_others(&self, console: &mut Console) {
        let has_policy = self.files.iter().any(|file| file.place.is_some());
        if has_policy && !self.others.is_empty() {
            let (name, others) = (self.document.name(), foreign::some(&self.others));
            console.note(format_args!("{name}: passed over, no policy: {others}"));
        }
    }

    /// Says what a command that reads on leaves aside.
    pub(crate) fn tell(&self, console: &mut Console) {
        if self.document.mark().is_some() {
            let place = self.document.at(0);
            console.note(format_args!(
                "{place}: a byte-order mark, which the filter refuses: `egress-warden check --fix` \
                 takes it away"
            ));
        }
        self.tell_others(console);
    }

    /// The policy of a text that must hold no other.
    pub(super) fn into_one(mut self) -> PolicyFile {
        let second = self.files.get(1).and_then(|file| Some(file.carrier()?.span.clone()));
        let Some(span) = second else {
            let none = || PolicyFile::new(&self.document, None, Vec::new(), true);
            return self.files.pop().unwrap_or_else(none);
        };
        let error = Finding::whole(span, TextError::SecondDocument);
        PolicyFile::new(&self.document, None, vec![error], true)
    }

    /// The policy that a command is about: the only one, or the one of a name.
    pub(crate) fn only(self, name: Option<&str>) -> Result<PolicyFile, Failure> {
        one_of(self.document.name().to_owned(), self.files, name)
    }
}

fn document(path: &Path) -> Result<Document, Failure> {
    Document::read(path, config::MAX_TEXT, "a policy")
}

/// The only policy of some, or the one of a name. What cannot be read stays, for its errors.
pub(crate) fn one_of(
    place: String,
    mut files: Vec<PolicyFile>,
    name: Option<&str>,
) -> Result<PolicyFile, Failure> {
    let all: Vec<String> = files.iter().map(PolicyFile::label).collect();
    if let Some(name) = name {
        files.retain(|file| file.place.is_none() || file.is_named(name));
    }
    let count = files.len();
    if let (Some(file), 1) = (files.pop(), count) {
        return Ok(file);
    }
    let (problem, remedy) = match name {
        Some(name) if count == 0 => {
            let problem =
                format!("no policy and no manifest of the name `{}`", name.escape_debug());
            (problem, format!("name one of these: {}", foreign::some(&all)))
        }
        Some(name) => {
            let problem = format!("{count} policies of the name `{}`", name.escape_debug());
            (problem, "name a manifest, as `NAMESPACE/NAME`, or give each its own name".to_owned())
        }
        None if count == 0 => ("no policy".to_owned(), "name a file with one".to_owned()),
        None => {
            let problem = format!("{count} policies: {}", foreign::some(&all));
            (problem, "choose one by its name: `--document NAME`".to_owned())
        }
    };
    Err(Failure::new(place, problem, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, meant: bool) -> Policies {
        Policies::of(Document::of_text("p".to_owned(), text.to_owned(), false), meant)
    }

    /// How each policy of a text is named, and whether it is valid.
    fn found(text: &str) -> Vec<(String, bool)> {
        let policies = read(text, true);
        policies.files().iter().map(|file| (file.label(), file.config().is_ok())).collect()
    }

    const POLICY: &str = "policy: one\ndefault: deny\n";
    const PLUGIN: &str = "kind: WasmPlugin\nmetadata: {namespace: a, name: b}\nspec: {pluginConfig: \
                          {policy: two, default: deny}}\n";

    const OF_LIBRARY: (&str, &str) = ("egress-warden", "{value: {policy: four, default: deny}}");

    /// An EnvoyFilter with filters of these names that are given this.
    fn envoy_filter(filters: &[(&str, &str)]) -> String {
        let patches = filters.iter().map(|(name, given)| {
            let filter = format!("{{filter_name: {name}, filter_config: {given}}}");
            format!("{{patch: {{value: {{typed_config: {filter}}}}}}}")
        });
        let patches: Vec<_> = patches.collect();
        let spec = format!("spec: {{configPatches: [{}]}}", patches.join(", "));
        format!("apiVersion: a/v1\nkind: EnvoyFilter\nmetadata: {{name: e}}\n{spec}\n")
    }

    #[test]
    fn the_policies_of_a_text_are_found_wherever_they_stand() {
        let one = || ("policy one".to_owned(), true);
        let two = || ("WasmPlugin a/b".to_owned(), true);
        let other = "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\n";
        let item = |text: &str| format!("- {}", text.replace('\n', "\n  "));
        let list = |items: &[&str]| {
            let items: Vec<_> = items.iter().map(|text| item(text)).collect();
            format!("kind: List\napiVersion: v1\nitems:\n{}\n", items.join("\n"))
        };
        let in_list = list(&[other, PLUGIN]);
        let extension = "kind: TrafficExtension\nmetadata: {name: d}\nspec: {wasm: {pluginConfig: \
                         {policy: three, default: deny}}}\n";
        for (text, expected) in [
            (POLICY.to_owned(), vec![one()]),
            (format!("{other}---\n{POLICY}---\n{PLUGIN}"), vec![one(), two()]),
            (in_list.clone(), vec![two()]),
            (format!("{POLICY}---\n{}", list(&[&in_list, other])), vec![one(), two()]),
            (format!("---\n{extension}...\n---\n"), vec![("TrafficExtension d".to_owned(), true)]),
            // The native library's, as often as it is loaded; other filters are passed over.
            (
                envoy_filter(&[("other", "{value: {}}"), OF_LIBRARY, OF_LIBRARY]),
                vec![("EnvoyFilter e".to_owned(), true), ("EnvoyFilter e".to_owned(), true)],
            ),
            (
                format!("{POLICY}---\n{}", envoy_filter(&[("egress-warden", "{value: '{}'}")])),
                vec![one(), ("EnvoyFilter e".to_owned(), false)],
            ),
            (
                "kind: EnvoyExtensionPolicy\nmetadata: {name: f}\nspec: {dynamicModule: [{filterName: \
                 other, config: {}}, {filterName: 'egress-warden:waypoint', config: {policy: four, default: deny}}]}"
                    .to_owned(),
                vec![("EnvoyExtensionPolicy f".to_owned(), true)],
            ),
            // What is meant as a policy is told of its errors.
            ("polcy: one\n".to_owned(), vec![("a policy without a name".to_owned(), false)]),
            (
                format!("{POLICY}---\nrules: []\n"),
                vec![one(), ("a policy without a name".to_owned(), false)],
            ),
            // Another language's rules, and another plugin's.
            (
                format!(
                    "{POLICY}---\napiVersion: v1\nkind: ClusterRole\nrules: []\n---\n{}",
                    PLUGIN.replace("policy: two, default: deny", "rules: {}")
                ),
                vec![one()],
            ),
        ] {
            assert_eq!(found(&text), expected, "{text}");
        }
    }

    /// Errors of what is passed over are nobody's, unless there may be a policy behind them.
    #[test]
    fn no_error_beside_a_policy_hides_another() {
        for (beside, is_harmless) in [
            ("kind: A\nspec: {mode: 0644, on: yes}\n", true),
            ("kind: A\nspec: {a: 1, a: 2, <<: {b: c}, d: !e f}\n", true),
            ("on: yes\nkind: A\n", true),
            ("kind: A\ndata: |\n  b\n", true),
            ("kind: A\nkind: WasmPlugin\nspec: {pluginConfig: {policy: x}}\n", false),
            ("kind: A\n<<: {kind: WasmPlugin}\n", false),
            ("kind: !!binary V2FzbVBsdWdpbg==\nspec: {pluginConfig: {policy: x}}\n", false),
            ("kind: A\nitems: []\nitems: [{kind: WasmPlugin}]\n", false),
            ("kind: WasmPlugin\nspec: {a: b, a: c}\n", false),
            ("kind: WasmPlugin\nspec: {<<: {pluginConfig: {policy: x}}}\n", false),
            ("kind: List\nitems: [{kind: A, spec: {a: 1, a: 2}}, {kind: A}]\n", true),
            ("kind: List\nitems: [{kind: A, kind: B}, {kind: A}]\n", false),
            ("kind: List\nitems: [{kind: A, b: &c {d: 1, d: 2}}, *c]\n", false),
            ("b: {c: &d WasmPlugin, e: {f: &d A}}\nkind: *d\n", false),
        ] {
            let text = format!("{beside}---\n{POLICY}");
            assert_eq!(found(&text), [("policy one".to_owned(), is_harmless)], "{text}");
            // Nor is a file of a folder passed over for it.
            assert_eq!(read(beside, false).files().is_empty(), is_harmless, "{beside}");
        }
    }

    #[test]
    fn an_error_in_what_an_alias_stands_for_is_one_of_its_policy() {
        for (tag, is_valid) in [("", true), ("!x ", false)] {
            let text = format!(
                "kind: List\nitems:\n- {{kind: A, b: {{c: &d {tag}deny}}}}\n- {}",
                PLUGIN.replace("default: deny", "default: *d").replace('\n', "\n  ")
            );
            assert_eq!(found(&text), [("WasmPlugin a/b".to_owned(), is_valid)], "{text}");
        }
    }

    #[test]
    fn only_what_is_plainly_no_policy_is_passed_over() {
        for other in [
            "kind: Kustomization\napiVersion: b/v1\nresources: [a.yaml]",
            "resources: [a.yaml]",
            "replicaCount: 2\nimage: {tag: '1'}",
            "apiVersion: v1\nkind: Service\nspec: {}",
            "apiVersion: v1\nkind: ConfigMap\ndata: {}",
            "team: pay\nnamespaces: [pay]",
            "default: {a: b}",
            "[]",
        ] {
            assert!(read(other, false).files().is_empty(), "{other}");
            assert!(!read(other, true).files().is_empty(), "{other}");
        }
        for meant in [
            "",
            "\u{feff}policy: x\nrules: []",
            "polcy: x\nrules: []",
            "polcy: x\ndefault: deny",
            "policy: x\nrule: []",
            "x: 1\n---\npolicy: x\nrules: []",
            "x: {{ y }}",
            "a:\n\tb: c",
        ] {
            assert!(!read(meant, false).files().is_empty(), "{meant}");
        }
    }

    #[test]
    fn one_of_several_is_chosen_by_its_name_or_by_its_manifests() {
        let text =
            format!("{POLICY}---\n{PLUGIN}---\n{}", PLUGIN.replace("a, name: b", "c, name: b"));
        let chosen = |name| {
            let chosen = read(&text, true)
                .only(name)
                .map(|file| file.at(file.carrier().unwrap().span.start));
            chosen.map_err(|failure| failure.to_string())
        };
        assert_eq!(chosen(Some("one")).unwrap(), "p:1:1");
        assert_eq!(chosen(Some("a/b")).unwrap(), "p:4:1");
        assert_eq!(chosen(Some("c/b")).unwrap(), "p:8:1");
        for (name, problem) in [
            (None, "3 policies: policy one, WasmPlugin a/b, WasmPlugin c/b"),
            (Some("b"), "2 policies of the name `b`"),
            (Some("two"), "2 policies of the name `two`"),
            (Some("c/d"), "no policy and no manifest of the name `c/d`"),
        ] {
            let failure = chosen(name).unwrap_err();
            assert!(failure.contains(problem), "{name:?}: {failure}");
        }
        // An input that cannot be read is told of, whatever name is asked for.
        let failure = read("a: [", true).only(Some("x")).unwrap().into_valid().unwrap_err();
        assert!(failure.to_string().starts_with("p:1:"), "{failure}");
    }

    /// A command in a message is safe to run.
    #[test]
    fn only_names_are_put_into_a_command() {
        let remedy = |name: &str, key: &str| {
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: \"{name}\"}}\ndata: {{\"{key}\": \"policy: a\"}}\n"
            );
            read(&text, true).only(None).unwrap().into_valid().unwrap_err().to_string()
        };
        let command = |name: &str, key: &str| {
            format!(
                "`kubectl get configmap {name} -o jsonpath='{{.data.{key}}}' | egress-warden check -`"
            )
        };
        assert!(remedy("a", "b.yaml").ends_with(&command("a", "b\\.yaml")));
        for odd in ["a; b", "$(a)", "-a", "a'b", "a}b", ""] {
            assert!(remedy(odd, odd).ends_with(&command("NAME", "KEY")), "{}", remedy(odd, odd));
        }
    }
}
