//! `image MODULE FOLDER` writes the images of a module, and says what a plugin has to name.
//! `./build.sh image` calls it.
#![forbid(unsafe_code)]

use egress_warden_image::{Layout, NAME, docker_archive};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [module, folder] = &*arguments else {
        eprintln!(
            "image: expected two arguments: the file of the module, and a folder to write to"
        );
        return ExitCode::from(2);
    };
    let module = match fs::read(module) {
        Ok(bytes) => bytes,
        Err(error) => return fail(module, &error, "build it with `./build.sh module`"),
    };
    match write(&module, Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(folder, &error, "make room, or name another folder"),
    }
}

fn write(module: &[u8], folder: &Path) -> io::Result<()> {
    let (image, artifact) = (folder.join("oci"), folder.join("artifact"));
    let archive = folder.join("docker.tar");
    let layouts = [
        (image, Layout::image(module, VERSION)?, "OCI image"),
        (artifact, Layout::artifact(module, VERSION)?, "OCI artifact"),
    ];
    for (path, layout, what) in &layouts {
        layout.write(path)?;
        println!("{}: {what}, for a plugin:", path.display());
        println!("  url: oci://REGISTRY/{NAME}:{VERSION}");
        println!("  sha256: {}", layout.digest().hex());
    }
    fs::write(&archive, docker_archive(module, VERSION)?)?;
    println!("{}: for `docker load`, as {NAME}:{VERSION}", archive.display());
    Ok(())
}

fn fail(place: &str, error: &io::Error, remedy: &str) -> ExitCode {
    eprintln!("image: {place}: {error}: {remedy}");
    ExitCode::FAILURE
}
