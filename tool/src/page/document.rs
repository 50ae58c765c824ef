//! The one file of a page.
//!
//! It has a Content-Security-Policy that admits its own scripts and its own style by their hashes, the
//! module of WebAssembly, and nothing else: no network, no other file, no form. What logs say stands in it
//! in base64 only.

use super::data::{self, About};
use super::packed::Packed;
use super::traffic::Traffic;
use super::{Built, MAX_PAGE};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// How a page begins, so that an earlier one is known.
pub(crate) const MARK: &str = "<!doctype html>\n<!-- written by egress-warden report -->\n";

const PAGE: &str = include_str!("../../page/page.html");
const STYLE: &str = include_str!("../../page/style.css");
/// Of what others wrote in the script: their licences ask for it.
const LICENCES: &str = include_str!("../../page/licences.txt");

/// What a page takes beside its parts: hashes, and what packing may add.
const MARGIN: usize = 256 << 10;
/// Which share of the room for data is for what is not a distinct request, in percent.
const SHARE: usize = 45;

/// The page of this traffic.
pub(crate) fn write(traffic: &Traffic, about: &About<'_>, built: Built) -> io::Result<Vec<u8>> {
    let mut packed = Packed::new(MAX_PAGE);
    packed.write_all(built.what_if)?;
    let module = packed.finish()?;
    let programs = PAGE.len()
        + STYLE.len()
        + LICENCES.len()
        + built.script.len()
        + built.what_if_script.len()
        + module.len();
    let room = MAX_PAGE.saturating_sub(programs + MARGIN);
    let data = data::of_traffic(traffic, about, room / 100 * SHARE)?;
    let rows = data::of_records(traffic, room.saturating_sub(data.text.len()))?;
    let left_out = rows.left_out.to_string();
    let policy = policy([built.what_if_script, built.script]);
    let parts = [
        ("policy", policy.as_str()),
        ("style", STYLE),
        ("data", &data.text),
        ("rows-left-out", &left_out),
        ("rows", &rows.text),
        ("what-if", &module),
        ("what-if-script", built.what_if_script),
        ("script", built.script),
        ("licences", LICENCES),
    ];
    Ok(filled(&parts).into_bytes())
}

/// The Content-Security-Policy that admits these scripts.
fn policy(scripts: [&str; 2]) -> String {
    let [what_if_script, script] = scripts.map(hash);
    let style = hash(STYLE);
    format!(
        "default-src 'none'; script-src {what_if_script} {script} 'wasm-unsafe-eval'; \
         style-src {style}; base-uri 'none'; form-action 'none'"
    )
}

fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// The page with a part in the place of each `{{name}}`. What stands in a part is not looked at.
fn filled(parts: &[(&str, &str)]) -> String {
    let mut text = MARK.to_owned();
    let mut pieces = PAGE.split("{{");
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or(("", piece));
        let part = parts.iter().find(|(it, _)| *it == name);
        text.push_str(part.map_or("", |(_, part)| part));
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Judge, Policy};
    use super::*;
    use crate::logs::{self, Tally};
    use crate::policy_file::PolicyFile;
    use egress_warden::root_id::Connections;
    use flate2::read::GzDecoder;
    use serde_json::{Value, json};
    use std::io::Read;

    const BUILT: Built = Built {
        script: "let a = 1 < 2;\n",
        what_if_script: "let wasm_bindgen;",
        what_if: b"\0asm",
    };

    fn page_of(log: &str, policy: Option<&str>) -> String {
        let policy = policy.map(|text| {
            let file = PolicyFile::of_text("policy.yaml".to_owned(), text.to_owned(), false);
            file.into_valid().expect(text)
        });
        let judge = Judge {
            config: policy.as_ref().map(|(_, config)| config),
            connections: Connections::default(),
            with_queries: false,
        };
        let mut traffic = Traffic::default();
        let mut chunk = Traffic::default();
        logs::read_bytes(log.into(), &mut |logged| chunk.push(logged, judge));
        traffic.add(chunk);
        let about = About {
            tally: &Tally::default(),
            empty: None,
            policy: policy.as_ref().map(|(file, config)| Policy { file, config }),
            root_id: "connections".to_owned(),
            with_queries: false,
        };
        String::from_utf8(write(&traffic, &about, BUILT).expect("a page")).expect("text")
    }

    /// What stands between two texts, for the first time.
    fn between<'p>(page: &'p str, from: &str, to: &str) -> &'p str {
        page.split_once(from).expect(from).1.split_once(to).expect(to).0
    }

    /// A block of data.
    fn block(page: &str, id: &str) -> Vec<u8> {
        let tag = between(page, &format!(r#"id="{id}""#), "</script>");
        let packed = STANDARD.decode(tag.split_once('>').expect(tag).1).expect("base64");
        let mut bytes = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("gzip");
        bytes
    }

    fn json_of(page: &str, id: &str) -> Value {
        serde_json::from_slice(&block(page, id)).expect(id)
    }

    fn line(host: &str, path: &str, decision: &str) -> String {
        let line = json!({
            "start_time": "2026-11-25T03:00:00.123Z", "method": "GET", "authority": host, "path": path,
            "response_code": 200, "source_principal": "spiffe://td/ns/shop/sa/cart",
            "egress_decision": decision, "egress_reason": "default",
        });
        format!("{line}\n")
    }

    #[test]
    fn the_policy_of_the_page_admits_its_own_scripts_and_its_style_and_nothing_else() {
        let page = page_of(&line("a.test", "/", "allow"), None);
        assert!(page.starts_with(MARK));
        let policy = between(&page, r#"http-equiv="Content-Security-Policy" content=""#, "\"");
        let of = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        let scripts: Vec<&str> = page
            .split("<script>")
            .skip(1)
            .map(|it| it.split("</script>").next().unwrap())
            .collect();
        assert_eq!(scripts, [BUILT.what_if_script, BUILT.script]);
        let expected = format!(
            "default-src 'none'; script-src {} {} 'wasm-unsafe-eval'; style-src {}; base-uri 'none'; \
             form-action 'none'",
            of(scripts[0]),
            of(scripts[1]),
            of(between(&page, "<style>", "</style>"))
        );
        assert_eq!(policy, expected);
        // Before anything that it could refuse.
        assert!(page.find("Content-Security-Policy") < page.find("<style>"));
        for attribute in
            ["src=", "onclick", "onload", "style=", "javascript:", "http://", "https://"]
        {
            assert!(!PAGE.contains(attribute), "{attribute}");
        }
        assert_eq!(block(&page, "module"), BUILT.what_if);
    }

    #[test]
    fn the_page_has_the_licences_of_the_libraries_in_its_script() {
        let lock: Value =
            serde_json::from_str(include_str!("../../page/package-lock.json")).unwrap();
        let packages = lock["packages"].as_object().unwrap().iter();
        let shipped = packages.filter(|(path, it)| !path.is_empty() && it["dev"] != true);
        let names: Vec<&str> = shipped.filter_map(|(path, _)| path.rsplit('/').next()).collect();
        assert!(names.len() >= 2, "{names:?}");
        for name in names {
            let holder = LICENCES.to_lowercase().contains(&format!("\n{name}: "));
            assert!(holder, "tool/page/licences.txt does not name {name}");
        }
        // It stands in a comment.
        assert!(!LICENCES.contains("--") && !LICENCES.contains('>'));
    }

    #[test]
    fn what_logs_say_stands_in_the_page_in_base64_only() {
        let hostile = [
            "</script><script>alert(1)</script>",
            "<!--<script>",
            "{{script}}",
            "\u{202e}gpj.exe",
            "]]>",
            "<img src=x onerror=alert(1)>",
        ];
        let log: String = hostile.iter().map(|it| line(it, &format!("/{it}"), "deny")).collect();
        let page = page_of(&log, Some("policy: p\ndefault: deny\nrules: [] # </script><b>\n"));
        let plain = page_of(&line("a.test", "/", "deny"), None);
        for it in hostile.iter().copied().chain(["</script><b>"]) {
            let count = |page: &str| page.matches(it).count();
            assert_eq!(count(&page), count(&plain), "{it}");
        }
        let hosts: Vec<Value> = json_of(&page, "data")["flows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|flow| flow[1].clone())
            .collect();
        let host = |it: &&str| json!(logs::without_secrets(it));
        assert!(hostile.iter().all(|it| hosts.contains(&host(it))), "{hosts:?}");
        let rows = json_of(&page, "rows");
        let paths: Vec<&Value> =
            rows.as_array().unwrap().iter().map(|row| &row[3]["path"]).collect();
        assert!(hostile.iter().all(|it| paths.contains(&&json!(format!("/{it}")))), "{paths:?}");
    }

    #[test]
    fn the_same_logs_give_the_same_bytes_and_the_data_is_that_of_the_logs() {
        let mut log = String::new();
        for number in 0..900 {
            let decision = if number % 3 == 0 { "deny" } else { "allow" };
            log += &line(
                &format!("h{}.test", number % 70),
                &format!("/{}?key=s3cret", number % 7),
                decision,
            );
        }
        let page = page_of(&log, None);
        assert!(page == page_of(&log, None));
        let data = json_of(&page, "data");
        assert_eq!(data["head"]["classes"], json!([600, 0, 300, 0, 0]));
        let sum = |rows: &Value, at: usize| -> u64 {
            rows.as_array().unwrap().iter().map(|row| row[at].as_u64().unwrap()).sum()
        };
        assert_eq!((sum(&data["flows"], 5), &data["left_out"]), (900, &json!(0)));
        assert_eq!(sum(&data["outcomes"], 2), 900);
        let rows = json_of(&page, "rows");
        assert_eq!(sum(&rows, 0), 900);
        assert_eq!(between(&page, "data-left-out=\"", "\""), "0");
        assert_eq!(rows[0][1], json!(1_795_575_600_123_u64));
        assert!(!rows.to_string().contains("s3cret"));
        assert!(rows[0][3]["path"].as_str().unwrap().ends_with('?'));
        // Each refused flow says how it is opened.
        for flow in data["flows"].as_array().unwrap() {
            assert_eq!(flow[8].is_string(), flow[4] == 1, "{flow}");
        }
    }

    #[test]
    fn a_policy_is_told_with_the_rules_that_no_verdict_names() {
        let policy = "policy: p\ndefault: deny\nrules:\n- {id: a, action: allow, to: [{hosts: [a.test]}]}\n\
                      - {id: next, action: allow, state: dry-run, to: [{hosts: [b.test]}]}\n\
                      - {id: never, action: deny, to: [{hosts: [c.test]}]}\n";
        let log = line("a.test", "/", "deny")
            + &line("b.test", "/", "deny")
            + &line("d.test", "/", "allow");
        let data = json_of(&page_of(&log, Some(policy)), "data");
        assert_eq!(data["head"]["classes"], json!([1, 0, 1, 1, 0]));
        let of_policy = &data["head"]["policy"];
        assert_eq!(of_policy["text"], policy);
        assert_eq!(
            of_policy["unused"],
            json!([{"id": "never", "action": "deny", "state": null, "until": null, "place": "policy.yaml:6:8"}])
        );
    }

    #[test]
    fn no_log_makes_a_page_larger_than_it_may_be() {
        let mut state = 7_u64;
        let mut word = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            format!("{:016x}", state ^ (state >> 31))
        };
        let mut log = String::new();
        for number in 0..40_000 {
            let path: String = (0..14).map(|_| word()).collect();
            let host = format!("{}.{}.test", word(), word());
            log += &line(&host, &path, if number % 2 == 0 { "deny" } else { "allow" });
        }
        // Nor do rules and reasons that it makes up.
        let mut verdicts = String::new();
        for number in 0..20_000 {
            let rule: String = (0..25).map(|_| word()).collect();
            let decided = json!({"start_time": "2026-11-25T03:00:00Z", "method": "GET",
                "authority": "a.test", "path": format!("/{number}"), "egress_decision": "deny",
                "egress_reason": rule, "egress_rule": word()});
            verdicts += &format!("{decided}\n");
        }
        let page = page_of(&verdicts, None);
        assert!(page.len() <= MAX_PAGE && page.len() > MAX_PAGE / 2, "{}", page.len());
        let data = json_of(&page, "data");
        assert!(data["outcomes"].as_array().unwrap().len() > 1_000);
        assert!(data["flows"].as_array().unwrap().len() > 1_000);

        let page = page_of(&log, None);
        assert!(page.len() <= MAX_PAGE && page.len() > MAX_PAGE / 2, "{}", page.len());
        let (data, rows) = (json_of(&page, "data"), json_of(&page, "rows"));
        let held = rows.as_array().unwrap().len() as u64;
        let left_out: u64 = between(&page, "data-left-out=\"", "\"").parse().unwrap();
        assert_eq!(held + left_out, 40_000);
        assert!(left_out > 0);
        let flows = data["flows"].as_array().unwrap().len() as u64;
        assert_eq!(flows + data["left_out"].as_u64().unwrap(), 40_000);
    }
}
