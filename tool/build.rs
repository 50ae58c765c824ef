//! Finds what `./build.sh page` builds, which the program has in it for the page that `report` writes.

use std::path::Path;

const FILES: [&str; 3] = ["page.js", "what_if.js", "what_if.wasm"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The library alone, which the module that is built first is made of.
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/page");
    for file in FILES {
        let file = page.join(file);
        println!("cargo::rerun-if-changed={}", file.display());
        if !file.is_file() {
            println!("cargo::error={} is missing: run `./build.sh page` first", file.display());
        }
    }
    println!("cargo::rustc-env=EGRESS_WARDEN_PAGE={}", page.display());
}
