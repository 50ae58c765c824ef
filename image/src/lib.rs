//! The module as an image: bytes that follow from the module and the version alone. No clock, no user, no
//! order of a folder and no installed program goes into them, so whoever builds the same module gets the
//! same digest.
//!
//! Three forms, by what reads them:
//! - [`Layout::image`]: an OCI image of one layer with `plugin.wasm`. Registries, container engines and
//!   meshes take it.
//! - [`Layout::artifact`]: an OCI artifact with the module as it is, for registries that take artifacts.
//! - [`docker_archive`]: what `docker load` reads.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// The name of the image, as far as this project chooses it.
pub const NAME: &str = "egress-warden";

/// The file that Istio looks for in a layer.
const PLUGIN: &str = "plugin.wasm";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const IMAGE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media types of the Wasm Artifact Image Specification.
const ARTIFACT_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const ARTIFACT_MODULE: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// An OCI image layout with one manifest: its files, by their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    files: BTreeMap<String, Vec<u8>>,
    digest: Digest,
}

impl Layout {
    /// An OCI image. Its one layer is a compressed archive with the module as `plugin.wasm`.
    pub fn image(module: &[u8], version: &str) -> io::Result<Self> {
        let archive = archive_of_module(module)?;
        let config = image_config(&archive)?;
        let mut layout = Blobs::default();
        let config = layout.add(IMAGE_CONFIG, config);
        let layer = layout.add(IMAGE_LAYER, compressed(&archive)?);
        layout.into_layout(version, config, &[layer])
    }

    /// An OCI artifact of two layers: what runs the module, and the module. Istio takes no artifact with
    /// another number of layers.
    pub fn artifact(module: &[u8], version: &str) -> io::Result<Self> {
        // What the specification calls the version of the ABI of the runtime is Proxy-Wasm's.
        let runtime = json!({"type": "envoy_proxy", "abiVersions": ["0.2.1"], "config": {}});
        let mut layout = Blobs::default();
        let config = layout.add(ARTIFACT_CONFIG, serde_json::to_vec(&json!({}))?);
        let runtime = layout.add(ARTIFACT_CONFIG, serde_json::to_vec(&runtime)?);
        let module = layout.add(ARTIFACT_MODULE, module.to_vec());
        let layers = [titled(runtime, "runtime-config.json"), titled(module, PLUGIN)];
        layout.into_layout(version, config, &layers)
    }

    /// The digest of the manifest: what `sha256` of a plugin compares.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Writes the layout, in the place of what is in the folder.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, bytes)?;
        }
        Ok(())
    }
}

/// An archive with the image, as `docker load` reads it. The engine writes a manifest of its own when it
/// pushes, with another digest.
pub fn docker_archive(module: &[u8], version: &str) -> io::Result<Vec<u8>> {
    let layer = archive_of_module(module)?;
    let config = image_config(&layer)?;
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let layer_name = format!("{}.tar", Digest::of(&layer).hex());
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [format!("{NAME}:{version}")],
        "Layers": [layer_name],
    }]);
    archive(&[
        (&config_name, &config),
        (&layer_name, &layer),
        ("manifest.json", &serde_json::to_vec(&manifest)?),
    ])
}

/// A SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// In hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0
    }
}

/// As registries write it: `sha256:` and the hexadecimal digits.
impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// The blobs of a layout that is being made.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Adds a blob. The answer is its descriptor.
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(&bytes);
        let descriptor = json!({
            "mediaType": media_type,
            "digest": digest.to_string(),
            "size": bytes.len(),
        });
        self.0.insert(format!("blobs/sha256/{}", digest.hex()), bytes);
        descriptor
    }

    fn into_layout(mut self, version: &str, config: Value, layers: &[Value]) -> io::Result<Layout> {
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": layers,
            "annotations": {
                "org.opencontainers.image.title": NAME,
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        }))?;
        let digest = Digest::of(&manifest);
        let mut descriptor = self.add(MANIFEST, manifest);
        annotate(&mut descriptor, "org.opencontainers.image.ref.name", version);
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [descriptor],
        });
        let mut files = self.0;
        files.insert("index.json".to_owned(), serde_json::to_vec(&index)?);
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        files.insert("oci-layout".to_owned(), serde_json::to_vec(&layout)?);
        Ok(Layout { files, digest })
    }
}

/// The name under which clients for artifacts write a layer to a file.
fn titled(mut descriptor: Value, title: &str) -> Value {
    annotate(&mut descriptor, "org.opencontainers.image.title", title);
    descriptor
}

fn annotate(descriptor: &mut Value, key: &str, value: &str) {
    if let Some(descriptor) = descriptor.as_object_mut() {
        descriptor.insert("annotations".to_owned(), json!({ key: value }));
    }
}

/// No code of the image runs on a platform. `linux` and `amd64` are what `docker build` writes for such an
/// image; engines refuse one of a system that they do not know.
fn image_config(layer: &[u8]) -> io::Result<Vec<u8>> {
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer).to_string()]},
    });
    Ok(serde_json::to_vec(&config)?)
}

fn archive_of_module(module: &[u8]) -> io::Result<Vec<u8>> {
    archive(&[(PLUGIN, module)])
}

/// A tape archive of files that root owns, with no time.
fn archive(files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *bytes)?;
    }
    archive.into_inner()
}

/// Without a name, a time or a system in the header.
fn compressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().operating_system(255).write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}
