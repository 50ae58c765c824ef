//! The program `egress-warden`.

fn main() -> std::process::ExitCode {
    egress_warden_tool::run(None)
}
