//! A registry on loopback that hands out one image layout, as much of it as a pull takes, and a client
//! that reads from it.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// The repository that it holds.
pub const REPOSITORY: &str = "team/egress-warden";

/// Serves the layout until the test ends; the answer is the address.
pub fn serve(layout: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let layout = layout.to_owned();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that goes away is its own business.
            let _ = answer(connection, &layout);
        }
    });
    address
}

/// What the registry answers to a GET: the media type and the bytes.
pub fn get(registry: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut connection = TcpStream::connect(registry).expect("the registry");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {registry}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("an answer");
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").expect("the end of the head");
    let head = std::str::from_utf8(&answer[..end]).expect("text");
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
    let media_type = head.lines().find_map(|line| line.strip_prefix("content-type: "));
    (media_type.unwrap_or_default().to_owned(), answer[end + 4..].to_vec())
}

fn answer(connection: TcpStream, layout: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(&connection).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The rest of the head.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, media_type, bytes) = match found(path, layout) {
        Some((media_type, bytes)) => ("200 OK", media_type, bytes),
        None => ("404 Not Found", "text/plain".to_owned(), Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        bytes.len()
    );
    (&connection).write_all(head.as_bytes())?;
    if method != "HEAD" { (&connection).write_all(&bytes) } else { Ok(()) }
}

fn found(path: &str, layout: &Path) -> Option<(String, Vec<u8>)> {
    let blob = |digest: &str| -> PathBuf { layout.join("blobs").join(digest.replace(':', "/")) };
    let rest = path.strip_prefix("/v2/")?;
    if rest.is_empty() {
        return Some(("application/json".to_owned(), b"{}".to_vec()));
    }
    let (kind, name) = rest.strip_prefix(REPOSITORY)?.strip_prefix('/')?.split_once('/')?;
    match kind {
        "manifests" => {
            let index = fs::read(layout.join("index.json")).ok()?;
            let index: Value = serde_json::from_slice(&index).ok()?;
            let manifest = &index["manifests"][0];
            let tag = &manifest["annotations"]["org.opencontainers.image.ref.name"];
            let is_asked = tag == name || manifest["digest"] == name;
            let bytes = fs::read(blob(manifest["digest"].as_str()?)).ok()?;
            is_asked.then(|| Some((manifest["mediaType"].as_str()?.to_owned(), bytes)))?
        }
        "blobs" => Some(("application/octet-stream".to_owned(), fs::read(blob(name)).ok()?)),
        _ => None,
    }
}
