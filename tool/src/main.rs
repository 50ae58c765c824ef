//! The program `egress-warden`.

use egress_warden_tool::page::Built;

/// `./build.sh page` builds it; the build script says where it lies.
const PAGE: Built = Built {
    script: include_str!(concat!(env!("EGRESS_WARDEN_PAGE"), "/page.js")),
    what_if_script: include_str!(concat!(env!("EGRESS_WARDEN_PAGE"), "/what_if.js")),
    what_if: include_bytes!(concat!(env!("EGRESS_WARDEN_PAGE"), "/what_if.wasm")),
};

fn main() -> std::process::ExitCode {
    egress_warden_tool::run(PAGE)
}
