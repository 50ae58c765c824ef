//! `watch` as it is run: on a pseudo-terminal, which is as before afterwards; on a log that grows and is rotated; and on
//! an admin address that answers, answers nonsense, answers slowly, begins again, and is away.

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long something may take on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";

fn tool() -> Command {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_egress-warden"));
    tool.arg("watch").env("TERM", "xterm-256color").env_remove("NO_COLOR");
    tool
}

/// A request that was decided so.
fn line(number: usize, decision: &str) -> String {
    let (status, details) = match decision {
        "allow" => (200, "via_upstream"),
        _ => (403, "egress_denied[default]"),
    };
    let line = json!({
        "start_time": "2026-11-30T10:00:00Z", "authority": format!("{decision}.test"), "method": "GET",
        "path": format!("/{number}"), "response_code": status, "upstream_cluster": "outbound|443||x",
        "egress_decision": decision, "egress_reason": "default", "egress_policy": "shop@3fbbb900ce6a",
        "response_code_details": details,
    });
    format!("{line}\n")
}

/// A program on a terminal of its own.
struct OnTerminal {
    terminal: OpenptyResult,
    child: Child,
    shown: mpsc::Receiver<String>,
    all: String,
}

impl OnTerminal {
    fn start(command: &mut Command) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(Some(&size), None).expect("a terminal");
        let end = || Stdio::from(terminal.slave.try_clone().expect("an end"));
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the tool");
        let (sender, shown) = mpsc::channel();
        let mut master = File::from(terminal.master.try_clone().expect("an end"));
        thread::spawn(move || {
            let mut bytes = [0; 1 << 16];
            while let Ok(read @ 1..) = master.read(&mut bytes) {
                let _ = sender.send(String::from_utf8_lossy(&bytes[..read]).into_owned());
            }
        });
        Self { terminal, child, shown, all: String::new() }
    }

    /// Waits until something was shown.
    fn shows(&mut self, text: &str) {
        let start = Instant::now();
        while !self.all.contains(text) {
            assert!(start.elapsed() < PATIENCE, "no {text:?} in {:?}", self.all);
            if let Ok(more) = self.shown.recv_timeout(Duration::from_millis(100)) {
                self.all.push_str(&more);
            }
        }
    }

    fn press(&self, keys: &[u8]) {
        let mut master = File::from(self.terminal.master.try_clone().expect("an end"));
        master.write_all(keys).expect("keys");
    }

    /// Whether keys come as they are pressed, without their echo.
    fn is_raw(&self) -> bool {
        let slave: &OwnedFd = &self.terminal.slave;
        let flags = tcgetattr(slave).expect("a terminal").local_flags;
        !flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    /// Waits for the end: its exit code, after which the terminal is as before.
    fn ends(&mut self) -> Option<i32> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end: {:?}", self.all);
            thread::sleep(Duration::from_millis(20));
        };
        self.shows(LEAVE);
        let left = self.all.rfind(LEAVE).expect("left");
        assert_eq!(self.all.rfind(ENTER).map(|it| it < left), Some(true));
        self.shows(SHOW_CURSOR);
        assert!(!self.is_raw(), "{:?}", self.all);
        status.code()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_terminal_is_as_before_however_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    fs::write(&log, line(1, "deny")).expect("a log");
    let start = || {
        let mut program = OnTerminal::start(tool().arg(&log).args(["--interval", "1"]));
        program.shows(ENTER);
        program.shows("q: end");
        assert!(program.is_raw());
        program
    };
    for keys in [&b"q"[..], b"\x1b", b"\x03"] {
        let mut program = start();
        program.press(keys);
        assert_eq!(program.ends(), Some(0), "{keys:?}");
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut program = start();
        let id = i32::try_from(program.child.id()).expect("an id");
        kill(Pid::from_raw(id), signal).expect("a signal");
        assert_eq!(program.ends(), Some(0), "{signal}");
    }
}

/// What the tool writes, one picture a line.
struct Pictures {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Pictures {
    fn start(arguments: &[&str]) -> Self {
        let mut tool = tool();
        tool.args(arguments).args(["--interval", "1", "--format", "json"]);
        let mut child = tool.stdout(Stdio::piped()).spawn().expect("the tool");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The first picture that is wanted; `check` sees each before.
    fn until(&mut self, is_wanted: impl Fn(&Value) -> bool, check: impl Fn(&Value)) -> Value {
        let start = Instant::now();
        loop {
            let picture = self.next();
            if is_wanted(&picture) {
                return picture;
            }
            check(&picture);
            assert!(start.elapsed() < PATIENCE, "{picture:#}");
        }
    }

    /// Ends it as Ctrl-C does.
    fn end(mut self) -> Option<i32> {
        let id = i32::try_from(self.child.id()).expect("an id");
        kill(Pid::from_raw(id), Signal::SIGINT).expect("a signal");
        self.child.wait().expect("a child").code()
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(path: &Path, text: &str) {
    let mut file = File::options().append(true).create(true).open(path).expect("a log");
    file.write_all(text.as_bytes()).expect("written");
}

#[test]
fn a_log_that_grows_is_counted_once_through_rotation_and_truncation() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let lines = |from: usize, count: usize, decision: &str| {
        (from..from + count).map(|number| line(number, decision)).collect::<String>()
    };
    append(&log, &lines(0, 300, "allow"));
    let mut pictures = Pictures::start(&[&log.to_string_lossy()]);
    let counts = |picture: &Value| {
        let requests = &picture["log"]["requests"];
        (requests["allowed"].as_u64().unwrap_or(0), requests["denied"].as_u64().unwrap_or(0))
    };
    let mut expect = |allowed, denied| {
        pictures.until(
            |picture| counts(picture) == (allowed, denied),
            |picture| {
                let (seen_allowed, seen_denied) = counts(picture);
                assert!(seen_allowed <= allowed && seen_denied <= denied, "{picture:#}");
            },
        )
    };
    let first = expect(300, 0);
    assert_eq!(first["log"]["requests"]["per_second"], 0.0, "the past is in no rate");
    let half = line(0, "deny");
    let (start, rest) = half.split_at(20);
    append(&log, &(lines(0, 40, "deny") + start));
    let second = expect(300, 40);
    assert!(second["log"]["requests"]["per_second"].as_f64().is_some_and(|rate| rate > 0.0));
    append(&log, rest);
    expect(300, 41);
    fs::rename(&log, folder.path().join("access.log.1")).expect("renamed");
    append(&folder.path().join("access.log.1"), &lines(41, 9, "deny"));
    append(&log, &lines(50, 10, "deny"));
    expect(300, 60);
    File::options().write(true).open(&log).expect("a log").set_len(0).expect("cut");
    // A cut log is told by its length, as long as it is shorter.
    append(&log, &lines(60, 3, "deny"));
    let last = expect(300, 63);
    let refused = last["log"]["refused"].as_array().expect("refusals");
    assert_eq!((refused.len(), &refused[0]["count"]), (1, &json!(63)), "{last:#}");
    assert_eq!(refused[0]["host"], "deny.test");
    assert!(refused[0]["rule_to_add"].as_str().is_some_and(|it| it.contains("hosts: [deny.test]")));
    assert_eq!(last["log"]["policies"], json!(["shop@3fbbb900ce6a"]));
    assert_eq!(last["log"]["lines"]["access_log"], 363);
    assert_eq!(last["log"]["unread"], 0);
    assert_eq!(pictures.end(), Some(0));
}

#[test]
fn a_pipe_is_counted_to_its_end() {
    let mut tool = tool();
    tool.args(["-", "--format", "json"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = tool.spawn().expect("the tool");
    let mut input = child.stdin.take().expect("a pipe");
    for number in 0..1000 {
        input.write_all(line(number, "deny").as_bytes()).expect("written");
    }
    drop(input);
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("text");
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["log"]["requests"]["denied"], 1000);
    assert_eq!(last["log"]["ended"], true);
}

/// What an admin address answers to a path: status and body. `None` keeps it waiting.
type Answers = Arc<Mutex<Box<dyn Fn(&str) -> Option<(u16, String)> + Send>>>;

/// A proxy's admin address.
struct Admin {
    address: SocketAddr,
    answers: Answers,
}

impl Admin {
    fn start(answer: impl Fn(&str) -> Option<(u16, String)> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers: Answers = Arc::new(Mutex::new(Box::new(answer)));
        let shared = Arc::clone(&answers);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&shared);
                thread::spawn(move || {
                    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    let path = lines.next().unwrap_or_default();
                    let path = path.split(' ').nth(1).unwrap_or_default().to_owned();
                    lines.find(String::is_empty);
                    let answer = answers.lock().expect("answers")(&path);
                    let Some((status, body)) = answer else {
                        return thread::sleep(PATIENCE);
                    };
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                    );
                    let _ = (&stream).write_all((head + &body).as_bytes());
                });
            }
        });
        Self { address, answers }
    }

    fn now_answers(&self, answer: impl Fn(&str) -> Option<(u16, String)> + Send + 'static) {
        *self.answers.lock().expect("answers") = Box::new(answer);
    }
}

/// Statistics with so many refusals, after so many seconds.
fn stats(denied: u64, uptime: u64) -> impl Fn(&str) -> Option<(u16, String)> + Send + 'static {
    let stats = json!({"stats": [
        {"name": "server.uptime", "value": uptime},
        {"name": "wasmcustom.egress_warden.requests.deny.default", "value": denied},
    ]});
    let dump = fs::read_to_string("tests/examples/verify.in/istio.json").expect("a dump");
    move |path| match path.starts_with("/stats") {
        true => Some((200, stats.to_string())),
        false => Some((200, dump.clone())),
    }
}

#[test]
fn an_admin_address_that_fails_is_told_and_asked_again() {
    let admin = Admin::start(stats(100, 50));
    let url = format!("http://{}", admin.address);
    let mut pictures = Pictures::start(&["--admin", &url]);
    let part = |picture: &Value| picture["admin"].clone();
    let denied = |picture: &Value| picture["admin"]["requests"]["denied"].clone();
    let no_negative = |picture: &Value| {
        let rate = &picture["admin"]["requests"]["per_second"];
        assert!(rate.is_null() || rate.as_f64().is_some_and(|rate| rate >= 0.0), "{picture:#}");
    };
    let first = pictures.next();
    assert_eq!((denied(&first), part(&first)["seconds"].clone()), (json!(100), Value::Null));
    let policies = ["payments-egress-tls@d3a5b8765ac8", "payments-egress@2aaeb1cc64aa"];
    assert_eq!(part(&first)["policies"], json!(policies));
    admin.now_answers(stats(110, 51));
    let second = pictures.until(|it| denied(it) == json!(110), no_negative);
    assert!(part(&second)["requests"]["per_second"].as_f64().is_some_and(|it| it > 0.0));
    let refused = &part(&second)["refused"][0];
    assert_eq!((&refused["reason"], &refused["count"]), (&json!("default"), &json!(110)));
    assert!(refused["no_rule"].as_str().is_some_and(|it| it.contains("access log")), "{refused}");

    let garbage = "<html>\u{1b}[2J{";
    for (answer, problem) in [
        (Some((200, garbage.to_owned())), "statistics"),
        (Some((200, String::new())), "empty"),
        (Some((503, "no".to_owned())), "status 503"),
        (Some((200, "x: 1\n".repeat(14 << 20))), "limit"),
        (Some((200, "{\"stats\":[".to_owned())), "cut off"),
        (None, "timeout"),
    ] {
        admin.now_answers(move |_| answer.clone());
        let seen = pictures.until(
            |it| it["admin"]["problem"].as_str().is_some_and(|it| it.contains(problem)),
            no_negative,
        );
        let told = part(&seen)["problem"].as_str().expect("a problem").to_owned();
        assert!(told.starts_with(&url) && !told.contains('\u{1b}'), "{told}");
        assert_eq!(denied(&seen), 110, "what was seen stays");
    }
    // It began again.
    admin.now_answers(stats(7, 2));
    let back = pictures.until(|it| it["admin"]["problem"].is_null(), no_negative);
    assert_eq!((denied(&back), &part(&back)["restarts"]), (json!(7), &json!(1)));
    no_negative(&back);
    assert_eq!(pictures.end(), Some(0));
}

#[test]
fn what_is_not_there_ends_with_two() {
    let away = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let away = format!("http://{away}");
    for (arguments, said) in [
        (&[][..], "nothing to watch is named"),
        (&["missing.log"], "missing.log: no such file"),
        (&["."], "is a folder"),
        (&["--admin", "https://a.test", "--once"], "only plain HTTP"),
        (&["--admin", "a.test:15000", "--once"], "only plain HTTP"),
        (&["--admin", &away, "--once"], "no answer"),
        (&["--interval", "0", "-"], "--interval"),
    ] {
        let output = tool().args(arguments).stdin(Stdio::null()).output().expect("the tool");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(said), "{arguments:?}: {told}");
    }
}
