//! Logs as they are found: cut, packed, gigantic, mixed with what is no request. No input makes the
//! tool panic, and none is passed over in silence.

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const POLICY: &str = "envoy/policy.yaml";

#[test]
fn what_holds_no_request_is_unreadable_input() {
    let folder = Folder::new();
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("blank", b"\n\n \n".to_vec()),
        ("binary", (0..=255).cycle().take(3 << 20).collect()),
        ("zeros", vec![0; 3 << 20]),
        ("text.log", b"[info] started\n[info] stopped\n".repeat(100)),
        ("other.json", br#"{"level":"info","msg":"ready"}"#.to_vec()),
        ("numbers.json", b"1\n2\n3\n".to_vec()),
        ("array.json", b"[1, \"a\", {}, [{\"authority\":\"a.test\"}]]".to_vec()),
        ("array-half.json", br#"[{"authority":"a.test","method":"GET","response_c"#.to_vec()),
        ("deep-array.json", b"[".repeat(200_000)),
        ("deep-text.json", nested(9).into_bytes()),
        ("gigantic-item.json", [&b"[{\"a\":\""[..], &b"x".repeat(10 << 20), b"\"}]"].concat()),
        (
            "gigantic-part.log",
            b"2026-11-25T03:00:00.1Z stdout P xxxxxxxxxxxxxxxxxxxxxx\n".repeat(200_000),
        ),
        ("deep.json", b"{\"a\":".repeat(200_000)),
        (
            "latin1.log",
            b"{\"authority\":\"b\xfccher.test\",\"method\":\"GET\",\"response_code\":1}\n".to_vec(),
        ),
        ("half.log", line(1).into_bytes()[..700].to_vec()),
        ("half.gz", gzip(&lines(5_000))[..20_000].to_vec()),
        ("magic.gz", b"\x1f\x8b".to_vec()),
        ("broken.gz", [&b"\x1f\x8b\x08\0\0\0\0\0\0\xff"[..], &[0xff; 100]].concat()),
        ("magic.zst", b"\x28\xb5\x2f\xfd".to_vec()),
        ("broken.zst", [&b"\x28\xb5\x2f\xfd"[..], &[0xff; 100]].concat()),
        (
            "utf-16.log",
            line(1).encode_utf16().fold(b"\xff\xfe".to_vec(), |mut all, unit| {
                all.extend(unit.to_le_bytes());
                all
            }),
        ),
        ("magic.xz", b"\xfd7zXZ\0".to_vec()),
        ("broken.xz", [&b"\xfd7zXZ\0\0\x04"[..], &[0xff; 100]].concat()),
        ("magic.bz2", b"BZh9".to_vec()),
        ("broken.bz2", [&b"BZh91AY&SY"[..], &[0xff; 100]].concat()),
        ("gigantic-line.log", b"x".repeat(10 << 20)),
    ] {
        let log = folder.file(name, &bytes);
        for command in commands() {
            let output = tool(&[&command[..], &[text(&log)]].concat(), b"");
            assert_complains(&output, name);
        }
    }
    for missing in [folder.0.path().join("missing"), folder.0.path().to_owned()] {
        for command in commands() {
            assert_complains(
                &tool(&[&command[..], &[text(&missing)]].concat(), b""),
                text(&missing),
            );
        }
    }
}

#[test]
fn the_requests_among_other_lines_are_counted_and_so_are_the_lines() {
    let folder = Folder::new();
    let mut bytes = Vec::new();
    for number in 1..=3 {
        bytes.extend(line(number).into_bytes());
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"{\"authority\":\"");
    bytes.resize(bytes.len() + (10 << 20), b'x');
    bytes.extend(b"\",\"method\":\"GET\",\"response_code\":200}\n\n");
    bytes.extend(line(4).replace("/v1", "/\u{fc}").into_bytes());
    bytes.extend(b"\n\xff\xfe\n\0\0\0\n[info] no object\n");
    bytes.extend(&line(5).into_bytes()[..300]);
    let log = folder.file("mixed.log", &bytes);
    let output = tool(&["replay", "--format", "json", POLICY, text(&log)], b"");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("an answer");
    assert_eq!(answer["requests"], 4, "{answer}");
    let unread = &answer["lines"]["unread"];
    assert_eq!(unread["lines"], 5, "{unread}");
    let first: Vec<_> = unread["first"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| {
            let place = it["place"].as_str().expect("a place");
            (place.rsplit(':').next().expect("a line"), it["problem"].as_str().expect("a problem"))
        })
        .collect();
    assert_eq!(
        first,
        [
            ("4", "longer than 1 MiB"),
            ("7", "not UTF-8"),
            ("8", "neither JSON nor text of a known format"),
            ("9", "neither JSON nor text of a known format"),
            ("10", "half-written"),
        ]
    );
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("mixed.log:4: longer than 1 MiB") && said.len() < 2_000, "{said}");
}

/// A log that is read for more than two seconds: with a terminal its speed is shown there, and without
/// one nothing is.
#[test]
fn progress_is_shown_on_a_terminal_where_reading_takes_a_while() {
    let folder = Folder::new();
    for is_terminal in [true, false] {
        let pipe = folder.0.path().join(format!("{is_terminal}.log"));
        let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        let exe = env!("CARGO_BIN_EXE_egress-warden");
        let mut command = match is_terminal {
            true => {
                let mut command = Command::new("script");
                let replay = format!("{exe} replay {POLICY} {}", text(&pipe));
                command.args(["--quiet", "--return", "--command", &replay, "/dev/null"]);
                command
            }
            false => {
                let mut command = Command::new(exe);
                command.args(["replay", POLICY, text(&pipe)]);
                command
            }
        };
        let child = command
            .current_dir(kit::REPOSITORY)
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a terminal");
        // More than is read at a time, twice.
        let half = lines(5_000);
        let mut writer = std::fs::File::create(&pipe).expect("the pipe");
        writer.write_all(&half).expect("the pipe");
        std::thread::sleep(std::time::Duration::from_millis(2_500));
        writer.write_all(&half).expect("the pipe");
        drop(writer);
        let output = child.wait_with_output().expect("an end");
        let shown = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(shown.contains("10000 requests"), "{shown}");
        assert_eq!(shown.contains("lines/s"), is_terminal, "{shown}");
    }
}

/// A gate must not be green on input that it did not read.
#[test]
fn too_many_unread_lines_make_the_answer_incomplete() {
    let folder = Folder::new();
    let log_of = |unread: usize, read: usize| {
        let text = b"[2026-11-25T03:00:00.123Z] \"GET / HTTP/1.1\" 200\n\n".repeat(unread);
        let name = format!("{unread}-of-{}.log", unread + read);
        folder.file(&name, &[text, lines(read)].concat())
    };
    let (gate, at_limit, beyond) = (log_of(500, 1), log_of(1, 99), log_of(1, 98));
    let commands =
        [vec!["replay", POLICY], vec!["diff", "--fail-on", "any", POLICY, POLICY], vec!["learn"]];
    for command in commands {
        let run = |log: &Path, more: &[&str]| {
            let output = tool(&[&command[..], &[text(log)], more].concat(), b"");
            let [out, err] =
                [output.stdout, output.stderr].map(|it| String::from_utf8(it).expect("text"));
            (output.status.code(), out, err)
        };
        let (code, out, err) = run(&gate, &[]);
        assert_eq!(code, Some(2), "{command:?}: {err}");
        let first = out.lines().next().expect("an answer").trim_start_matches("# ");
        assert!(
            first.starts_with("INCOMPLETE: 500 of 501 lines could not be read, more than 1 %"),
            "{out}"
        );
        assert!(err.starts_with(&format!("error: {}: 500 of 501 lines", text(&gate))), "{err}");
        let (code, out, _) = run(&gate, &["--format", "json"]);
        assert_eq!(code, Some(2), "{command:?}");
        assert!(out.starts_with(r#"{"complete":false,"#), "{out}");

        for (log, more) in [(&gate, &["--max-unread", "100"][..]), (&at_limit, &[])] {
            let (code, out, err) = run(log, more);
            assert!(matches!(code, Some(0 | 1)), "{command:?} {more:?}: {err}");
            assert!(!format!("{out}{err}").contains("INCOMPLETE"), "{command:?} {more:?}: {out}");
            let (_, out, _) = run(log, &[more, &["--format", "json"]].concat());
            assert!(out.starts_with(r#"{"complete":true,"#), "{out}");
        }
        assert_eq!(run(&beyond, &[]).0, Some(2), "{command:?}");
        assert_eq!(run(&at_limit, &["--max-unread", "0"]).0, Some(2), "{command:?}");
        assert_eq!(run(&at_limit, &["--max-unread", "101"]).0, Some(2), "{command:?}");
    }
    // What `--only` leaves out was read.
    let refused = r#"{"egress_decision":"deny","egress_reason":"default","authority":"a.test","method":"GET","path":"/"}"#;
    let both =
        folder.file("both.log", &[refused.as_bytes(), b"\n", &lines(99)[..], b"text\n"].concat());
    let output = tool(&["replay", POLICY, text(&both), "--only", "filter"], b"");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// A burst whose times cannot be read is no habit of days, and helps none to look like one.
#[test]
fn nothing_is_learnt_from_lines_without_a_time() {
    let folder = Folder::new();
    let line = |caller: &str, host: &str, time: &str| {
        format!(
            r#"{{"authority":"{host}","method":"GET","path":"/","response_code":200,{time}"source_principal":"spiffe://td/ns/shop/sa/{caller}","upstream_cluster":"outbound|443||{host}"}}"#
        ) + "\n"
    };
    let hour = |hour: u64| format!(r#""start_time":{},"#, 1_795_575_600 + hour * 3_600);
    let mut log = String::new();
    for number in 0..60 {
        log += &line("a", "daily.example.com", &hour(number));
        log += &line("a", "burst.example.net", r#""start_time":"03:00:00","#);
        log += &line("b", "burst.example.net", "");
    }
    // Too few hours, and one caller alone: lines without a time add neither.
    for number in 0..30 {
        log += &line("a", "hours.example.org", &hour(number % 2));
        log += &line("a", "alone.example.dev", &hour(number));
        log += &line("b", "hours.example.org", "");
        log += &line("b", "alone.example.dev", "");
    }
    let log = folder.file("undated.log", log.as_bytes());
    for with_refused in [&[][..], &["--with-refused"]] {
        let arguments = [&["learn", "--format", "json", text(&log)], with_refused].concat();
        let output = tool(&arguments, b"");
        assert!(output.status.success(), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("an answer");
        assert_eq!(answer["lines"]["without_time"], 180, "{answer}");
        let rules = answer["policy"]["rules"].as_array().expect("rules");
        let hosts: Vec<_> = rules.iter().map(|rule| &rule["to"][0]["hosts"]).collect();
        assert_eq!(hosts, [&serde_json::json!(["daily.example.com"])], "{answer}");
        let mut apart: Vec<_> = answer["apart"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|it| (it["host"].as_str(), it["reason"].as_str()))
            .collect();
        apart.dedup();
        apart.sort_unstable();
        assert_eq!(
            apart,
            [
                (Some("alone.example.dev"), Some("rare")),
                (Some("alone.example.dev"), Some("undated")),
                (Some("burst.example.net"), Some("undated")),
                (Some("hours.example.org"), Some("rare")),
                (Some("hours.example.org"), Some("undated")),
            ]
        );
    }
}

#[test]
fn a_log_is_the_same_whole_split_packed_or_piped() {
    let folder = Folder::new();
    // Over three chunks, so that every core has some.
    let all = lines(4_000);
    assert!(all.len() > 3 << 20);
    let half = all.iter().take(all.len() / 2).rposition(|&byte| byte == b'\n').expect("a line") + 1;
    let (head, tail) = all.split_at(half);
    let whole = folder.file("all.log", &all);
    let parts = [folder.file("head.gz", &gzip(head)), folder.file("tail.zst", &zstd(tail))];
    let expected = verdicts(&tool(&["replay", "--format", "json", POLICY, text(&whole)], b""));
    let split =
        tool(&["replay", "--format", "json", POLICY, text(&parts[0]), text(&parts[1])], b"");
    assert_eq!(verdicts(&split), expected);
    assert_eq!(
        verdicts(&tool(&["replay", "--format", "json", POLICY, "-"], &gzip(&all))),
        expected
    );
    let learn = |log: &[&str], input: &[u8]| tool(&[&["learn"], log].concat(), input).stdout;
    let learnt = learn(&[text(&whole)], b"");
    assert_eq!(learn(&["-"], &all), learnt);
    assert_eq!(learn(&[text(&parts[1]), text(&parts[0])], b""), learnt, "in another order");
}

#[test]
fn nobody_who_stops_reading_is_complained_to() {
    let folder = Folder::new();
    let log = folder.file("all.log", &lines(2_000));
    let mut tool = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .current_dir(kit::REPOSITORY)
        .args(["learn", text(&log)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    drop(tool.stdout.take());
    let output = tool.wait_with_output().expect("the tool ends");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"");
}

fn commands() -> [Vec<&'static str>; 3] {
    [vec!["replay", POLICY], vec!["diff", POLICY, POLICY], vec!["learn"]]
}

fn assert_complains(output: &Output, name: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{name}: {said:.500}");
    assert!(said.starts_with("error: ") && said.contains(name), "{name}: {said:.500}");
    assert_eq!(said.lines().count(), 1, "{name}: {said:.500}");
    assert!(!said.contains("panicked") && said.len() < 1_000, "{name}: {said:.500}");
    assert_eq!(output.stdout, b"", "{name}");
}

/// What was decided, without the places.
fn verdicts(output: &Output) -> Vec<(Value, Value, Value)> {
    let answer: Value = serde_json::from_slice(&output.stdout).expect("an answer");
    let rows = answer["verdicts"].as_array().expect("a list").iter();
    rows.map(|row| (row["reason"].clone(), row["rule"].clone(), row["requests"].clone())).collect()
}

fn line(number: usize) -> String {
    let sent = kit::access_log::Sent {
        time: 1_793_577_600_000 + u64::try_from(number).expect("small") * 10_000,
        caller: Some(format!("cluster.local/ns/shop/sa/s{}", number % 7)),
        method: "GET",
        host: ["allowed.example", "a.archive.example", "denied.example"][number % 3].to_owned(),
        port: 80,
        path: "/v1".to_owned(),
    };
    kit::access_log::line(number, &sent)
}

fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| format!("{}\n", line(number)).into_bytes()).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn tool(arguments: &[&str], input: &[u8]) -> Output {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .current_dir(kit::REPOSITORY)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    let mut stdin = tool.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // The tool may end before it has read everything.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = tool.wait_with_output().expect("the tool ends");
    let _ = writer.join().expect("the writer ends");
    output
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }
}

/// A request in as many envelopes.
fn nested(envelopes: usize) -> String {
    (0..envelopes).fold(line(1), |inner, _| serde_json::json!({ "log": inner }).to_string())
}
