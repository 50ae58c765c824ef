//! The images as those read them who will have to: Istio's agent by its rules, and skopeo where it is
//! installed.

mod registry;

use egress_warden_image::{Digest, Layout, docker_archive};
use serde_json::Value;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stands for the module: bytes that do not compress to one run, in more than one block of an archive.
fn module() -> Vec<u8> {
    let noise = (0_u32..5_000).map(|it| (it.wrapping_mul(2_654_435_761) >> 24) as u8);
    [b"\0asm\x01\0\0\0".to_vec(), noise.collect()].concat()
}

const VERSION: &str = "1.2.3";

struct Written {
    folder: tempfile::TempDir,
    image: Layout,
    artifact: Layout,
}

impl Written {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let image = Layout::image(&module(), VERSION).expect("an image");
        let artifact = Layout::artifact(&module(), VERSION).expect("an artifact");
        image.write(&folder.path().join("image")).expect("room");
        artifact.write(&folder.path().join("artifact")).expect("room");
        let archive = docker_archive(&module(), VERSION).expect("an archive");
        std::fs::write(folder.path().join("docker.tar"), archive).expect("room");
        Self { folder, image, artifact }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn the_agent_of_istio_gets_the_module_out_of_either_form() {
    let written = Written::new();
    for (name, layout) in [("image", &written.image), ("artifact", &written.artifact)] {
        let registry = registry::serve(&written.path(name));
        let tagged = pulled(registry, VERSION).expect(name);
        assert_eq!(tagged.module, module(), "{name}");
        assert_eq!(tagged.sha256, layout.digest().hex(), "{name}");
        let pinned = pulled(registry, &layout.digest().to_string()).expect(name);
        assert_eq!(pinned.module, module(), "{name}");
    }
}

/// What the agent knows of an image.
struct Pulled {
    /// What it compares with `sha256` of a plugin.
    sha256: String,
    module: Vec<u8>,
}

/// The rules of Istio's `pkg/wasm/imagefetcher.go`: an OCI manifest is read as an image first, then as an
/// artifact.
fn pulled(registry: SocketAddr, reference: &str) -> Result<Pulled, String> {
    let at = |kind: &str, name: &str| {
        registry::get(registry, &format!("/v2/{}/{kind}/{name}", registry::REPOSITORY))
    };
    let (media_type, bytes) = at("manifests", reference);
    if media_type != "application/vnd.oci.image.manifest.v1+json" {
        return Err(format!("another manifest: {media_type}"));
    }
    let manifest: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let layers: Vec<(&str, Vec<u8>)> = manifest["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|layer| {
            let digest = layer["digest"].as_str().expect("a digest");
            let (_, bytes) = at("blobs", digest);
            assert_eq!(Digest::of(&bytes).to_string(), digest);
            assert_eq!(layer["size"], bytes.len());
            (layer["mediaType"].as_str().expect("a media type"), bytes)
        })
        .collect();
    let module = of_image(&layers).or_else(|error| of_artifact(&layers).map_err(|it| error + &it));
    Ok(Pulled { sha256: Digest::of(&bytes).hex().to_owned(), module: module? })
}

/// `plugin.wasm` of the last layer, in whichever folder.
fn of_image(layers: &[(&str, Vec<u8>)]) -> Result<Vec<u8>, String> {
    let (media_type, layer) = layers.last().ok_or("no layer")?;
    if *media_type != "application/vnd.oci.image.layer.v1.tar+gzip" {
        return Err(format!("no image: {media_type}"));
    }
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&layer[..]));
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let path = entry.path().map_err(|error| error.to_string())?;
        if path.file_name().is_some_and(|name| name == "plugin.wasm") {
            let mut module = Vec::new();
            entry.read_to_end(&mut module).map_err(|error| error.to_string())?;
            return Ok(module);
        }
    }
    Err("no plugin.wasm".to_owned())
}

/// The layer of its media type, of exactly two.
fn of_artifact(layers: &[(&str, Vec<u8>)]) -> Result<Vec<u8>, String> {
    let wasm = "application/vnd.module.wasm.content.layer.v1+wasm";
    let [first, second] = layers else { return Err(format!("{} layers", layers.len())) };
    let layer = [first, second].into_iter().find(|(media_type, _)| *media_type == wasm);
    Ok(layer.ok_or("no layer with a module")?.1.clone())
}

/// Of the same module wherever it is built, and with every build of what compresses.
#[test]
fn the_digests_are_those_of_every_other_build() {
    let Written { image, artifact, .. } = Written::new();
    assert_eq!(
        [image.digest().hex(), artifact.digest().hex()],
        [
            "dee3ef265134adc1f789df7e7c7ec4297335402887995e8e0ae758ae9e0e3358",
            "08a5fc503d0b29c8cee4ffebd6e1bcc9f21abe0a8372f5361f3a344688a928c8",
        ]
    );
}

#[test]
fn what_was_in_the_folder_before_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("image");
    Layout::artifact(&module(), VERSION).and_then(|it| it.write(&folder)).expect("room");
    Layout::image(&module(), VERSION).and_then(|it| it.write(&folder)).expect("room");
    let blobs = std::fs::read_dir(folder.join("blobs/sha256")).expect("blobs");
    assert_eq!(blobs.count(), 3, "manifest, config and layer");
}

/// `./build.sh test` says where skopeo is not installed.
#[test]
fn skopeo_reads_every_form_and_keeps_the_digest() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        return;
    }
    let written = Written::new();
    let (image, artifact) = (written.path("image"), written.path("artifact"));
    let archive = format!("docker-archive:{}", written.path("docker.tar").display());
    let told: Value = serde_json::from_slice(&skopeo(&["inspect", &oci(&image)])).expect("JSON");
    assert_eq!(told["Digest"], written.image.digest().to_string());
    for (from, layout, name) in
        [(&image, &written.image, "image-copy"), (&artifact, &written.artifact, "artifact-copy")]
    {
        let copy = written.path(name);
        skopeo(&["copy", &oci(from), &oci(&copy)]);
        let digest = std::fs::read_to_string(copy.join("index.json")).expect("an index");
        assert!(digest.contains(&layout.digest().to_string()), "{name}: {digest}");
        let registry = registry::serve(from);
        let url = format!("docker://{registry}/{}:{VERSION}", registry::REPOSITORY);
        let folder = written.path(&format!("{name}-pulled"));
        let folder = format!("dir:{}", folder.display());
        skopeo(&["copy", "--src-tls-verify=false", &url, &folder]);
        let manifest = skopeo(&["inspect", "--raw", &folder]);
        assert_eq!(Digest::of(&manifest), *layout.digest(), "{name}");
    }
    // An engine has the layer that the image has: the same `diff_ids`, so the same configuration.
    let config = |from: &str| skopeo(&["inspect", "--raw", "--config", from]);
    assert_eq!(config(&archive), config(&oci(&image)));
}

fn oci(layout: &Path) -> String {
    format!("oci:{}", layout.display())
}

fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output();
    let output = output.expect("skopeo starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
