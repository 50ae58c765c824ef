//! What README, SECURITY.md, CONTRIBUTING.md, the changelog and `docs/` say about the project's own files, held against
//! these files: links, policies, the language, names of tests, paths and commands. The tool's sessions in them are run by
//! `tool/tests/cli.rs`.

#![cfg(not(target_family = "wasm"))]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use egress_warden::config::{
    MAX_DEPTH, MAX_HOSTS, MAX_MESSAGE, MAX_NAME, MAX_RULES, MAX_STAMPS, MAX_TEXT,
};
use egress_warden::host::SPECIAL_NAMES;

/// Fewest `_` in the name of a test that the documents mention; no setting of Envoy that they name has as many, and what the
/// filter itself names begins with `egress_`.
const UNDERSCORES_OF_TESTS: usize = 4;

/// Folders in which a path between backticks begins.
const FOLDERS: [&str; 6] = ["benches/", "docs/", "envoy/", "src/", "tests/", "tool/"];

#[test]
fn every_link_leads_to_a_file_and_to_a_heading() {
    let mut links = 0;
    for document in Document::all() {
        for link in document.links().filter(|link| !link.contains("://")) {
            let (path, anchor) =
                link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = match path {
                "" => document.path.clone(),
                path => document.path.parent().expect("a folder").join(path),
            };
            assert!(target.exists(), "{}: no {link}", document.name());
            if let Some(anchor) = anchor {
                let anchors = Document::read(&target).anchors();
                assert!(
                    anchors.contains(anchor),
                    "{}: no heading {link} in {anchors:#?}",
                    document.name()
                );
            }
            links += 1;
        }
    }
    assert!(links > 50, "{links} links");
}

#[test]
fn every_policy_in_the_documents_is_valid() {
    let mut policies = 0;
    for document in Document::all() {
        for block in document.blocks("yaml").filter(|block| block.starts_with("policy:")) {
            let policy: serde_json::Value = serde_saphyr::from_str(block).expect("YAML");
            if let Err(errors) = egress_warden::config::read(policy.to_string().as_bytes()) {
                panic!("{}: {errors}", document.name());
            }
            policies += 1;
        }
    }
    assert!(policies >= 2, "{policies} policies");
}

#[test]
fn the_policy_of_the_readme_is_the_file_that_its_sessions_read() {
    let readme = Document::read(&repository().join("README.md"));
    let policy = readme.blocks("yaml").next().expect("a policy");
    assert_eq!(
        policy,
        fs::read_to_string(repository().join("envoy/two-hosts.yaml")).expect("a policy")
    );
}

/// What the language grows by belongs on its page, too.
#[test]
fn the_page_of_the_language_names_every_key_limit_and_special_name() {
    let page = Document::read(&repository().join("docs/policy.md")).text;
    let schema = repository().join("tool/src/commands/schema/policy.json");
    let schema = fs::read_to_string(schema).expect("a schema");
    let mut keys = BTreeSet::new();
    keys_of(&serde_json::from_str(&schema).expect("JSON"), &mut keys);
    assert!(keys.len() > 30, "{keys:?}");
    let words: BTreeSet<&str> = page.split(|it: char| !it.is_alphanumeric()).collect();
    for key in &keys {
        assert!(words.contains(&**key), "no `{key}`");
    }
    for name in SPECIAL_NAMES {
        assert!(page.contains(&format!("`{name}`")), "no `{name}`");
    }
    let limits = [
        format!("{} MiB", MAX_TEXT >> 20),
        format!("{},000 rules", MAX_RULES / 1_000),
        format!("{},000,000 hosts", MAX_HOSTS / 1_000_000),
        format!("{MAX_DEPTH} levels"),
        format!("{MAX_STAMPS} headers"),
        format!("{MAX_MESSAGE} bytes"),
        format!("1 to {MAX_NAME} of a-z"),
    ];
    for limit in limits {
        assert!(page.contains(&limit), "no {limit}");
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let sources = sources();
    let mut tests = 0;
    for document in Document::all() {
        for name in document.spans().filter(|span| is_name_of_test(span)) {
            let function = format!("fn {name}(");
            assert!(
                sources.iter().any(|text| text.contains(&function)),
                "{}: no test {name}",
                document.name()
            );
            tests += 1;
        }
    }
    assert!(tests > 50, "{tests} tests");
}

#[test]
fn every_path_that_is_named_exists() {
    let mut paths = 0;
    for document in Document::all() {
        let is_path = |span: &&str| {
            FOLDERS.iter().any(|folder| span.starts_with(folder)) && !span.contains(' ')
        };
        for path in document.spans().filter(is_path) {
            let exists = match path.split_once('*') {
                Some((stem, _)) => any_starts_with(stem),
                None => repository().join(path).exists(),
            };
            assert!(exists, "{}: no {path}", document.name());
            paths += 1;
        }
    }
    assert!(paths > 50, "{paths} paths");
}

#[test]
fn every_cargo_command_names_packages_and_targets_that_exist() {
    let packages = Package::all();
    let mut targets = 0;
    for document in Document::all() {
        for command in document.commands("cargo ") {
            let words: Vec<&str> = command.split_whitespace().collect();
            let after = |flag: &str| {
                let at = words.iter().position(|word| *word == flag)?;
                words.get(at + 1).copied()
            };
            let Some(name) = after("-p").or(after("--package")) else { continue };
            let package = packages.iter().find(|package| package.name == name);
            let package =
                package.unwrap_or_else(|| panic!("{}: no package in `{command}`", document.name()));
            for kind in ["test", "bench"] {
                let Some(target) = after(&format!("--{kind}")) else { continue };
                assert!(package.has(kind, target), "{}: no {kind} in `{command}`", document.name());
                targets += 1;
            }
        }
    }
    assert!(targets > 3, "{targets} targets");
}

#[test]
fn every_command_of_the_build_script_is_one_that_its_help_lists() {
    let mut help = Command::new("bash");
    help.current_dir(repository()).args(["./build.sh", "help"]);
    let help = help.output().expect("the script runs");
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    let mut commands = 0;
    for document in Document::all() {
        for command in document.commands("./build.sh ") {
            let command: Vec<&str> = command.split_whitespace().take(2).collect();
            let command = command.join(" ");
            assert!(help.contains(&command), "{}: no `{command}` in\n{help}", document.name());
            commands += 1;
        }
    }
    assert!(commands > 5, "{commands} commands");
}

/// Who follows a document runs the Envoy that the demo and `./build.sh test` install.
#[test]
fn every_installed_envoy_that_is_named_is_the_newest() {
    let configurations = files_under(&repository().join("envoy"), "yaml");
    let texts = configurations.iter().map(|path| Document::read(path)).chain(Document::all());
    let mut paths = 0;
    for document in texts {
        for after in document.text.split("target/envoy/").skip(1) {
            let version = after.split('/').next().unwrap_or_default();
            if version.starts_with(|first: char| first.is_ascii_digit()) {
                assert_eq!(version, kit::envoys::newest(), "{}", document.name());
                paths += 1;
            }
        }
    }
    assert!(paths > 5, "{paths} paths");
}

/// A page of the documentation.
struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    fn all() -> Vec<Self> {
        let mut paths: Vec<PathBuf> =
            ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"]
                .map(|name| repository().join(name))
                .into();
        paths.extend(files_under(&repository().join("docs"), "md"));
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path: path.to_owned(), text }
    }

    fn name(&self) -> String {
        self.path.strip_prefix(repository()).unwrap_or(&self.path).display().to_string()
    }

    /// What stands between fences, by turns with what does not, the latter first.
    fn parts(&self) -> impl Iterator<Item = &str> {
        self.text.split("```")
    }

    fn prose(&self) -> impl Iterator<Item = &str> {
        self.parts().step_by(2)
    }

    /// Fenced blocks of a language, without their fences.
    fn blocks(&self, language: &str) -> impl Iterator<Item = &str> {
        let blocks = self.parts().skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
        blocks.filter(move |(head, _)| *head == language).map(|(_, block)| block)
    }

    /// The targets of links and images.
    fn links(&self) -> impl Iterator<Item = &str> {
        let after = self.prose().flat_map(|part| part.split("](").skip(1));
        after.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
    }

    /// What stands between single backticks. A span may not reach over a paragraph.
    fn spans(&self) -> impl Iterator<Item = &str> {
        let lines = self.prose().flat_map(|part| part.split("\n\n"));
        lines.flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2))
    }

    /// Commands that begin so: in prose, or behind the prompt of a block.
    fn commands<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a str> {
        let blocks = self.parts().skip(1).step_by(2).flat_map(str::lines);
        let shown = blocks.filter_map(|line| line.strip_prefix("$ "));
        let shown = shown.map(|line| line.split(" #").next().unwrap_or(line));
        let shown = shown.filter_map(move |line| line.find(start).and_then(|at| line.get(at..)));
        shown.chain(self.spans().filter(move |span| span.starts_with(start)))
    }

    /// The names by which links reach headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let lines = self.prose().flat_map(str::lines);
        let headings = lines.filter(|line| line.starts_with('#'));
        let anchor = |heading: &str| {
            let kept = heading.trim_start_matches('#').trim().chars();
            let kept = kept.filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        };
        headings.map(anchor).collect()
    }
}

/// A package of the workspace.
struct Package {
    name: String,
    folder: PathBuf,
    manifest: String,
}

impl Package {
    fn all() -> Vec<Self> {
        let manifest = fs::read_to_string(repository().join("Cargo.toml")).expect("a manifest");
        let members =
            manifest.lines().find_map(|line| line.strip_prefix("members = ")).expect("members");
        let folders = members.split('"').skip(1).step_by(2).chain(["."]);
        folders.map(|folder| Self::read(&repository().join(folder))).collect()
    }

    fn read(folder: &Path) -> Self {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let package = manifest.split("[package]").nth(1).expect("a package");
        let name = package.lines().find_map(|line| line.strip_prefix("name = ")).expect("a name");
        Self { name: name.trim_matches('"').to_owned(), folder: folder.to_owned(), manifest }
    }

    /// Whether it has a test or a benchmark of this name, found by Cargo or written in the manifest.
    fn has(&self, kind: &str, target: &str) -> bool {
        let is_written = self.manifest.contains(&format!("[[{kind}]]\nname = \"{target}\""));
        is_written || (kind == "test" && self.folder.join(format!("tests/{target}.rs")).exists())
    }
}

/// The keys of every object that a JSON Schema describes.
fn keys_of(schema: &serde_json::Value, keys: &mut BTreeSet<String>) {
    let serde_json::Value::Object(members) = schema else { return };
    if let Some(properties) = members.get("properties").and_then(serde_json::Value::as_object) {
        keys.extend(properties.keys().cloned());
    }
    members.values().for_each(|member| keys_of(member, keys));
}

fn is_name_of_test(span: &str) -> bool {
    !span.starts_with("egress_")
        && span
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && span.bytes().filter(|byte| *byte == b'_').count() >= UNDERSCORES_OF_TESTS
}

/// Whether any file or folder has a path that begins so.
fn any_starts_with(stem: &str) -> bool {
    let (folder, start) = stem.rsplit_once('/').unwrap_or(("", stem));
    let entries = fs::read_dir(repository().join(folder)).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(start))
}

/// The text of every source file.
fn sources() -> Vec<String> {
    let folders = ["src", "tests", "tool", "benches"];
    let files = folders.iter().flat_map(|folder| files_under(&repository().join(folder), "rs"));
    files.map(|file| fs::read_to_string(file).expect("a source file")).collect()
}

/// Files with this extension, at any depth.
fn files_under(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_under(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn repository() -> &'static Path {
    Path::new(kit::REPOSITORY)
}
