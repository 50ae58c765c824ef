//! `render envoy`: a gateway for an Envoy that no control plane configures.

use super::folder::earlier;
use super::{Inputs, Request};
use crate::console::{Console, Format, GOOD, NAME, counted, styled};
use crate::failure::{Failure, Outcome};
use crate::output::{failed, failure, is_replaceable, of_somebody_else};
use crate::render::envoy::{self, BOOTSTRAP, CLUSTERS, File, MARK, without_gone};
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Writes the whole configuration of a plain Envoy as gateway
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden render envoy policy.yaml > gateway.yaml
  envoy --base-id 2 -c gateway.yaml
  curl -i -H 'host: api.example.com' http://127.0.0.1:15011/

To change the policy of an Envoy that runs, write a folder, and write it again:
  egress-warden render envoy policy.yaml -o gateway
  envoy --base-id 2 -c gateway/envoy.yaml
  egress-warden render envoy changed.yaml -o gateway
Envoy takes what is new without a restart. A policy with errors is not written.
If `envoy.yaml` has changed, the command says so: that needs one.

HTTP goes to one listener (127.0.0.1:15011), and the port in `Host` chooses among
the routes of a host: 80 without one. TLS that is passed on has a listener for
each port (127.0.0.1:15031 for the first). `spec.envoy` of a gateway's description
names other addresses, and the file of the module.

A route goes to what DNS says, or to the `endpoints` of its way. TLS that the
gateway starts is verified by the authorities of the operating system
(/etc/ssl/certs/ca-certificates.crt), or by `caCertificates` of the way.

Rules with `from` need callers with certificates: `spec.envoy.mutualTls` names the
files. Without it, and where TLS is passed on, such rules never allow.

Exit codes: 0 all is routed, 1 something that the policy names is not (and the
file is written), 2 unreadable input.")]
pub(crate) struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// Where to write it: a file, whose name ends in `.yaml`, or a folder. `-` is standard output
    #[arg(short, long, value_name = "FILE|DIR", default_value = "-")]
    output: PathBuf,
}

pub(super) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    args.inputs.render(console, |request, console| write(args, request, console))
}

fn write(args: &Args, request: &Request<'_>, console: &mut Console) -> Result<Outcome, Failure> {
    let Request { config, policy, gateway, plan, .. } = *request;
    let inputs = envoy::Inputs { config, policy, gateway, plan };
    match args.output.extension() {
        _ if args.output == Path::new("-") => {
            let text = in_one_file(inputs, request, console)?;
            let outcome = tell(inputs, request, console);
            console.bytes(text.as_bytes())?;
            Ok(outcome)
        }
        Some(extension) if extension == "yaml" => {
            let text = in_one_file(inputs, request, console)?;
            let outcome = tell(inputs, request, console);
            std::fs::write(&args.output, text).map_err(|error| {
                let place = args.output.display().to_string();
                Failure::new(place, error.to_string(), "name another file")
            })?;
            tell_written(&args.output, request, None, console)?;
            Ok(outcome)
        }
        _ => {
            let name = args.output.to_str().ok_or_else(|| {
                failure(&args.output, "a name that is not UTF-8", "name another folder")
            })?;
            let files = envoy::files(inputs, name)
                .map_err(|errors| request.description.refused(errors, console))?;
            let outcome = tell(inputs, request, console);
            let folder = Folder { path: &args.output, files: &files };
            let needs_restart = folder.write()?;
            tell_written(&args.output, request, Some((&files, needs_restart)), console)?;
            Ok(outcome)
        }
    }
}

fn in_one_file(
    inputs: envoy::Inputs<'_>,
    request: &Request<'_>,
    console: &mut Console,
) -> Result<String, Failure> {
    envoy::bootstrap(inputs).map_err(|errors| request.description.refused(errors, console))
}

/// Tells what the policy and the description say, and this Envoy does not do.
fn tell(inputs: envoy::Inputs<'_>, request: &Request<'_>, console: &mut Console) -> Outcome {
    let outcome = request.tell(console);
    request.tell_unused(&OF_ISTIO, "Istio", console);
    if let Some(unknown) = inputs.callers_unknown() {
        console.note(format_args!("note: {}", unknown.text()));
    }
    outcome
}

/// Settings without a meaning for an Envoy that no control plane configures.
const OF_ISTIO: [&str; 8] =
    ["istio", "dataplane", "routes", "service", "labels", "ports", "module", "workloads"];

/// Says what was written: a file, or the files of a folder.
fn tell_written(
    output: &Path,
    request: &Request<'_>,
    folder: Option<(&[File], bool)>,
    console: &mut Console,
) -> Result<(), Failure> {
    let (revision, routes) = (&request.config.revision, request.plan.routes.len());
    if console.format() == Format::Json {
        let told = match folder {
            None => json!({ "policy": revision, "routes": routes }),
            Some((files, needs_restart)) => {
                let files: Vec<_> = files.iter().map(|file| &*file.path).collect();
                json!({ "policy": revision, "routes": routes, "files": files, "restart": needs_restart })
            }
        };
        return console.json(&told);
    }
    let (name, revision) = (styled(NAME, output.display()), styled(GOOD, revision));
    let routes = counted(routes as u64, "route");
    let Some((files, needs_restart)) = folder else {
        return console.line(format_args!("{name}: {revision}, {routes}"));
    };
    let files = counted(files.len() as u64, "file");
    console.line(format_args!("{name}: {revision}, {routes}, {files}"))?;
    let bootstrap = output.join(BOOTSTRAP);
    match needs_restart {
        true => console.line(format_args!(
            "  {} has changed: an Envoy that runs on it must be started again",
            bootstrap.display()
        )),
        false => console.line(format_args!("  envoy --base-id 2 -c {}", bootstrap.display())),
    }
}

/// A folder that an Envoy may be running on.
struct Folder<'f> {
    path: &'f Path,
    /// In the order in which they are to be moved there.
    files: &'f [File],
}

impl Folder<'_> {
    /// Replaces each file in one step, and takes away those of an earlier render that are no longer among
    /// them; whether the bootstrap has changed. Where somebody else has written one of them, nothing is
    /// written.
    fn write(&self) -> Result<bool, Failure> {
        for file in self.files {
            let path = self.path.join(&file.path);
            if !is_replaceable(&path, MARK)? {
                return Err(of_somebody_else(&path, "render envoy"));
            }
        }
        let staged = self.path.join(".new");
        fs::create_dir_all(self.path).map_err(|error| failed(self.path, &error))?;
        fs::create_dir(&staged).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => failure(
                &staged,
                "another render is writing there, or one was cut off",
                "wait until it has ended, or remove this folder",
            ),
            _ => failed(&staged, &error),
        })?;
        let written = self.replace(&staged);
        fs::remove_dir_all(&staged).map_err(|error| failed(&staged, &error))?;
        written
    }

    /// Envoy looks at a folder whenever something is written in it. So all is written elsewhere before the
    /// first file is moved.
    fn replace(&self, staged: &Path) -> Result<bool, Failure> {
        let bootstrap = fs::read_to_string(self.path.join(BOOTSTRAP)).ok();
        let is_same = |file: &File| bootstrap.as_ref().is_none_or(|old| *old == file.text);
        let needs_restart = self.files.iter().any(|it| it.path == BOOTSTRAP && !is_same(it));
        let mut moves = Vec::with_capacity(self.files.len() + 1);
        if let Some(rest) = self.clusters_without_gone() {
            let (from, to) = (staged.join("clusters"), self.path.join(CLUSTERS));
            fs::write(&from, rest).map_err(|error| failed(&from, &error))?;
            moves.push((from, to));
        }
        for (number, file) in self.files.iter().enumerate() {
            let (from, to) = (staged.join(number.to_string()), self.path.join(&file.path));
            fs::write(&from, &file.text).map_err(|error| failed(&from, &error))?;
            let folder = to.parent().unwrap_or(self.path);
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
            moves.push((from, to));
        }
        for (from, to) in &moves {
            fs::rename(from, to).map_err(|error| failed(to, &error))?;
        }
        for path in self.plugins()? {
            if !moves.iter().any(|(_, to)| *to == path) {
                // Its folder stays: an Envoy whose listener drains may watch it still.
                fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
            }
        }
        Ok(needs_restart)
    }

    /// What goes before the new policy. A policy may stamp a credential for a host that is reached by TLS now:
    /// a route by which it was reached in clear must not lead there any more.
    fn clusters_without_gone(&self) -> Option<String> {
        let earlier = fs::read_to_string(self.path.join(CLUSTERS)).ok()?;
        let later = self.files.iter().find(|file| file.path == CLUSTERS)?;
        without_gone(&earlier, &later.text)
    }

    /// The files of plugins, of this render and of earlier ones.
    fn plugins(&self) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.path.join("policy");
        let entries = fs::read_dir(&folder).map_err(|error| failed(&folder, &error))?;
        let mut plugins = Vec::new();
        for entry in entries {
            let folder = entry.map_err(|error| failed(&folder, &error))?.path();
            if folder.is_dir() {
                plugins.extend(earlier(&folder, MARK)?);
            }
        }
        Ok(plugins)
    }
}
