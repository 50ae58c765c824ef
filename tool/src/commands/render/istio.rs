//! `render istio`: a gateway for Istio, as files for `kubectl apply -k`.

use super::folder::earlier;
use super::{Inputs, Request};
use crate::console::{Console, Format, GOOD, NAME, counted, styled};
use crate::diagnostics::{self, Diagnostic};
use crate::failure::{Failure, Outcome};
use crate::output::{failed, is_replaceable, of_somebody_else};
use crate::render::istio::{self, File, MARK, MAX_OBJECT, Rendering};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes all that an egress gateway of Istio needs, as files
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  egress-warden render istio policy.yaml --gateway gateway.yaml -o egress
  kubectl apply -k egress
  kubectl apply -k egress/hosts

The second step makes the hosts known to the mesh. It comes last, and when you
delete it comes first: a sidecar that knows a host and has no route to the gateway
dials the host itself, past the policy. `ORDER.txt` in the folder has all steps. For
a waypoint of Istio's ambient mode there is a step before these, and a wait between;
with `routes: gateway-api` there is the wait alone.

Files of an earlier render are replaced. A file of the same name that was written
by somebody else is not touched, and nothing is written.

Exit codes: 0 all is routed, 1 something that the policy names is not (and the
files are written), 2 unreadable input.")]
pub(crate) struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// The folder to write to
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

pub(super) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    args.inputs.render(console, |request, console| write(args, request, console))
}

fn write(args: &Args, request: &Request<'_>, console: &mut Console) -> Result<Outcome, Failure> {
    let Request { config, policy, description, gateway, plan, .. } = request;
    let rendering = istio::render(config, policy, gateway, plan)
        .map_err(|errors| description.refused(errors, console))?;
    let large = istio::largest(&rendering.files);
    if let Some((path, bytes)) = large.filter(|(_, bytes)| *bytes > MAX_OBJECT) {
        let place = args.output.join(path).display().to_string();
        let problem =
            format!("an object of {bytes} bytes, of which an API server takes {MAX_OBJECT}");
        let remedy =
            "write `*.NAME` for hosts under one name, or part the policy between two gateways";
        return Err(Failure::new(place, problem, remedy));
    }
    let folder = Folder { path: &args.output, files: &rendering.files };
    folder.write()?;
    let mut outcome = request.tell(console);
    request.tell_unused(&["envoy"], "an Envoy without a control plane", console);
    for loss in &rendering.losses {
        let diagnostic = Diagnostic::of_istio(loss);
        console.note(format_args!("{}\n", diagnostics::one(request.file.document(), &diagnostic)));
        outcome = Outcome::No;
    }
    tell(args, request, (&rendering, large.is_some()), console)?;
    Ok(outcome)
}

/// Says what was written, and what to do with it.
fn tell(
    args: &Args,
    request: &Request<'_>,
    (rendering, is_large): (&Rendering, bool),
    console: &mut Console,
) -> Result<(), Failure> {
    let (folder, revision) = (args.output.display(), &request.config.revision);
    let Rendering { files, hosts, routes, .. } = rendering;
    if console.format() == Format::Json {
        let paths: Vec<_> = files.iter().map(|file| file.path).collect();
        return console.json(&json!({
            "policy": revision, "hosts": hosts, "routes": routes, "files": paths, "serverSide": is_large,
        }));
    }
    let counts = [(*routes, "route"), (*hosts, "host"), (files.len(), "file")];
    let [routes, hosts, files] = counts.map(|(count, noun)| counted(count as u64, noun));
    let (name, revision) = (styled(NAME, &folder), styled(GOOD, revision));
    console.line(format_args!("{name}: {revision}, {routes} for {hosts}, {files}"))?;
    let server_side = if is_large { " --server-side" } else { "" };
    if rendering.files.iter().any(|file| file.path == "workloads/kustomization.yaml") {
        console.line(format_args!("  kubectl apply{server_side} -k {folder}/workloads"))?;
    }
    console.line(format_args!("  kubectl apply{server_side} -k {folder}"))?;
    if let Some(awaited) = rendering.awaited.filter(|_| rendering.hosts > 0) {
        console.line(format_args!("  wait until {awaited} is ready (ORDER.txt), then"))?;
    }
    if rendering.hosts > 0 {
        console.line(format_args!("  kubectl apply{server_side} -k {folder}/hosts"))?;
    }
    if is_large {
        console.line(
            "An object has more than 262,144 bytes: without --server-side kubectl refuses it.",
        )?;
    }
    Ok(())
}

/// A folder that is written.
struct Folder<'f> {
    path: &'f Path,
    files: &'f [File],
}

/// Names under which kustomize looks for its list.
const LISTS: [&str; 9] = [
    "kustomization.yaml",
    "kustomization.yml",
    "Kustomization",
    "hosts/kustomization.yaml",
    "hosts/kustomization.yml",
    "hosts/Kustomization",
    "workloads/kustomization.yaml",
    "workloads/kustomization.yml",
    "workloads/Kustomization",
];

impl Folder<'_> {
    /// Writes the files, and takes away those of an earlier render that are no longer among them. Where
    /// somebody else has written a file that would be replaced or applied, nothing is written.
    fn write(&self) -> Result<(), Failure> {
        for name in self.files.iter().map(|file| file.path).chain(LISTS) {
            let path = self.path.join(name);
            if !is_replaceable(&path, MARK)? {
                return Err(of_somebody_else(&path, "render istio"));
            }
        }
        for folder in ["", "hosts", "workloads"] {
            for stale in earlier(&self.path.join(folder), MARK)? {
                fs::remove_file(&stale).map_err(|error| failed(&stale, &error))?;
            }
        }
        for file in self.files {
            let path = self.path.join(file.path);
            let folder = path.parent().unwrap_or(self.path);
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
            fs::write(&path, &file.text).map_err(|error| failed(&path, &error))?;
        }
        Ok(())
    }
}
