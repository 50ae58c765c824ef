//! The page of `egress-warden report` in a real browser: it shows the numbers of the other commands, keeps to
//! itself, and can be used by everybody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use browser_kit::{Browser, Look, Page, Theme, report};
use serde_json::{Value, json};

const POLICY: &str = "\
policy: shop
default: deny
rules:
- id: payments
  action: allow
  from:
  - principals: [cluster.local/ns/shop/sa/web]
  to:
  - hosts: [api.example.com]
    methods: [GET, POST]
- id: packages
  action: allow
  state: dry-run
  to:
  - hosts: ['*.packages.example']
- id: old
  action: deny
  to:
  - hosts: [old.example]
- id: never
  action: allow
  to:
  - hosts: [never.example]
";

/// A folder with logs, a policy and pages.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// A page of this log, and the policy if there is one; and what the command says of it.
    fn page(&self, log: &str, policy: Option<&str>) -> Result<(PathBuf, Value)> {
        self.file("access.log", log)?;
        let page = self.folder.path().join("report.html");
        let mut arguments = vec![Path::new("access.log")];
        if let Some(policy) = policy {
            self.file("policy.yaml", policy)?;
            arguments.extend(["--policy", "policy.yaml"].map(Path::new));
        }
        let said = report(kit::tool(), self.folder.path(), &arguments, &page)?;
        Ok((page, said))
    }

    /// The answer of another command in JSON, with `{log}` and `{policy}` for the files.
    fn ask(&self, command: &[&str]) -> Result<Value> {
        let names = command.iter().map(|word| match *word {
            "{log}" => self.folder.path().join("access.log"),
            "{policy}" => self.folder.path().join("policy.yaml"),
            "{edited}" => self.folder.path().join("edited.yaml"),
            word => word.into(),
        });
        let output = Command::new(kit::tool()).args(names).args(["--format", "json"]).output()?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A line of an access log.
fn line(second: usize, caller: Option<&str>, host: &str, path: &str) -> String {
    let (day, hour) = (24 + second / 86_400, second / 3_600 % 24);
    let time = format!("2026-11-{day}T{hour:02}:{:02}:{:02}Z", second / 60 % 60, second % 60);
    let line = json!({
        "start_time": time, "authority": host, "method": "GET", "path": path, "response_code": 200,
        "source_principal": caller.map(|it| format!("spiffe://cluster.local/ns/{it}")),
        "upstream_cluster": format!("outbound|443||{host}"),
    });
    format!("{line}\n")
}

/// Some callers, and what they called.
fn traffic(requests: usize) -> String {
    let callers = [Some("shop/sa/web"), Some("shop/sa/cron"), None];
    let hosts =
        ["api.example.com", "a.packages.example", "old.example", "unknown.example", "192.0.2.7"];
    (0..requests).fold(String::new(), |mut log, number| {
        let caller = callers[number / 2 % 3];
        let host = hosts[number * number % 7 % hosts.len()];
        log += &line(number * 7, caller, host, &format!("/v1/{}", number % 11));
        log
    })
}

/// The texts of a column.
fn column(rows: &[Vec<String>], at: usize) -> Vec<&str> {
    rows.iter().filter_map(|row| row.get(at)).map(String::as_str).collect()
}

fn digits(text: &str) -> Option<u64> {
    text.replace([',', '\u{202f}', ' '], "").parse().ok()
}

#[tokio::test]
async fn the_page_shows_what_replay_counts() -> Result<()> {
    let Some(browser) = Browser::start().await? else { return Ok(()) };
    let desk = Desk::new()?;
    let (file, _) = desk.page(&traffic(5_000), Some(POLICY))?;
    let counted = desk.ask(&["replay", "{policy}", "{log}"])?;
    let page = Page::open(&browser, &file, Look::DESKTOP).await?;
    assert_eq!(page.total("total-all").await?, 5_000);
    // Allowed, would be refused, refused, refused and would be allowed.
    let [allowed, would_deny, denied, would_allow] = [
        page.total("total-kind-0").await?,
        page.total("total-kind-1").await?,
        page.total("total-kind-2").await?,
        page.total("total-kind-3").await?,
    ];
    assert_eq!(allowed + would_deny, counted["allowed"], "{counted}");
    assert_eq!(denied + would_allow, counted["denied"], "{counted}");
    let would: u64 = counted["would"]
        .as_array()
        .context("would")?
        .iter()
        .filter_map(|it| it["requests"].as_u64())
        .sum();
    assert_eq!((would_deny, would_allow), (0, would));
    let mut by_reason = BTreeMap::<String, u64>::new();
    for verdict in counted["verdicts"].as_array().context("verdicts")? {
        let key = format!(
            "{} {}",
            verdict["reason"].as_str().context("text")?,
            verdict["decision"].as_str().context("text")?
        );
        *by_reason.entry(key).or_default() += verdict["requests"].as_u64().context("a number")?;
    }
    let mut shown = BTreeMap::new();
    for row in page.rows("reasons-rows").await? {
        // A sign stands before the word.
        let decision = row[1].trim_start_matches(|it: char| !it.is_ascii_alphabetic());
        shown.insert(format!("{} {decision}", row[0]), digits(&row[2]).context("a number")?);
    }
    assert_eq!(shown, by_reason);
    assert_eq!(column(&page.rows("unused-rows").await?, 0), ["never"]);
    page.ensure_quiet().await
}

#[tokio::test]
async fn tables_filter_and_sort_by_keyboard() -> Result<()> {
    let Some(browser) = Browser::start().await? else { return Ok(()) };
    let desk = Desk::new()?;
    let (file, _) = desk.page(&traffic(2_000), Some(POLICY))?;
    let page = Page::open(&browser, &file, Look::DESKTOP).await?;
    // Most frequent first.
    let counts: Vec<_> = page.rows("hosts-rows").await?.iter().map(|row| digits(&row[1])).collect();
    assert!(counts.windows(2).all(|pair| pair[0] >= pair[1]), "{counts:?}");
    // By name, as somebody does who has no mouse.
    let focus = "document.querySelector('#hosts-rows thead button').focus()";
    browser.run(focus, &[]).await?;
    browser.client().active_element().await?.send_keys("\u{e007}").await?;
    let rows = page.rows("hosts-rows").await?;
    let hosts = column(&rows, 0);
    assert!(hosts.is_sorted() && hosts.len() > 2, "{hosts:?}");
    let sorted = "return document.querySelector('#hosts-rows th').getAttribute('aria-sort')";
    assert_eq!(browser.run(sorted, &[]).await?, "ascending");
    page.write("hosts-filter", "packages").await?;
    page.until(
        "the table is filtered",
        "return document.querySelectorAll('#hosts-rows tbody tr').length === 1",
    )
    .await?;
    // One filter for all: flows, refusals and tables.
    page.write("filter-text", "old.example").await?;
    page.until(
        "all is filtered",
        "return /flow/.test(document.getElementById('filter-status').textContent)",
    )
    .await?;
    let refused = page.rows("refusals-rows").await?;
    assert!(
        !refused.is_empty()
            && refused.iter().all(|row| row.iter().any(|cell| cell.contains("old.example"))),
        "{refused:?}"
    );
    // The first stop of the Tab key leads past the navigation.
    browser.run("document.activeElement.blur(); scrollTo(0, 0)", &[]).await?;
    let skip = "document.querySelector('a.skip').focus(); return document.activeElement.innerText";
    assert_eq!(browser.run(skip, &[]).await?, "Skip to the content");
    page.ensure_quiet().await
}

#[tokio::test]
async fn an_edited_policy_decides_as_replay_and_diff_say() -> Result<()> {
    let Some(browser) = Browser::start().await? else { return Ok(()) };
    let desk = Desk::new()?;
    let (file, _) = desk.page(&traffic(5_000), Some(POLICY))?;
    let page = Page::open(&browser, &file, Look::DESKTOP).await?;
    let edited = POLICY.replace("  state: dry-run\n", "").replace("[GET, POST]", "[POST]");
    desk.file("edited.yaml", &edited)?;
    let counted = desk.ask(&["replay", "{edited}", "{log}"])?;
    let before = desk.ask(&["replay", "{policy}", "{log}"])?;
    page.judge(&edited).await?;
    assert_eq!(page.total("what-if-allowed").await?, counted["allowed"]);
    assert_eq!(page.total("what-if-denied").await?, counted["denied"]);
    let [opened, closed] =
        [page.total("what-if-opens").await?, page.total("what-if-closes").await?];
    assert!(opened > 0 && closed > 0, "{opened} {closed}");
    let allowed = |answer: &Value| answer["allowed"].as_u64().unwrap_or_default();
    assert_eq!(allowed(&before) + opened - closed, allowed(&counted));
    // By the traffic of the log, `diff` finds the same.
    let diff = desk.ask(&["diff", "{policy}", "{edited}", "{log}"])?;
    ensure!(diff.to_string().contains(&opened.to_string()), "{opened} in {diff}");
    ensure!(diff.to_string().contains(&closed.to_string()), "{closed} in {diff}");

    // Every error stands at its line.
    let wrong = POLICY
        .replace("action: deny", "action: deni")
        .replace("[never.example]", "[NEVER..example]");
    page.judge(&wrong).await?;
    let errors = page.text("what-if-errors").await?;
    let lines: Vec<_> = wrong
        .lines()
        .enumerate()
        .filter(|(_, it)| it.contains("deni") || it.contains("NEVER"))
        .map(|(at, _)| format!("Line {},", at + 1))
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|it| errors.contains(it)), "{errors}");
    // And the next edit is judged again.
    page.judge(&edited).await?;
    assert_eq!(page.total("what-if-allowed").await?, counted["allowed"]);
    page.ensure_quiet().await
}

/// What callers send is shown as text, and does nothing.
#[tokio::test]
async fn hostile_names_are_text() -> Result<()> {
    let Some(browser) = Browser::start().await? else { return Ok(()) };
    let desk = Desk::new()?;
    let names = [
        "</script><script>document.title='owned'</script>",
        "<img src=x onerror=\"document.title='owned'\">",
        "<!--",
        "-->",
        "<![CDATA[",
        "{{data}}",
        "javascript:document.title='owned'",
        "\u{202e}moc.live\u{202c}",
        "\u{0000}\u{001b}[31m",
        "שלום.example",
        "\u{2028}\u{2029}",
        &"a".repeat(1_000),
    ];
    let mut log = String::new();
    for (number, name) in names.iter().enumerate() {
        for place in 0..3 {
            let text =
                |at, usual: &str| if at == place { (*name).to_owned() } else { usual.to_owned() };
            log += &line(
                number,
                Some(&text(0, "shop/sa/web")),
                &text(1, "api.example.com"),
                &text(2, "/v1"),
            );
        }
    }
    for policy in [Some(POLICY), None] {
        let (file, _) = desk.page(&log, policy)?;
        let page = Page::open(&browser, &file, Look::DESKTOP).await?;
        page.judge(POLICY).await?;
        assert_eq!(browser.run("return document.title", &[]).await?, "Egress report");
        let strange = "return [...document.querySelectorAll('img, iframe, object, embed, base, form')].map((it) => it.outerHTML)";
        assert_eq!(browser.run(strange, &[]).await?, json!([]));
        let scripts = "return document.querySelectorAll('script').length";
        let (plain, _) = Desk::new()?.page(&line(0, None, "a.example", "/"), policy)?;
        let expected = std::fs::read_to_string(&file)?.matches("<script").count();
        ensure!(!plain.exists() || expected > 0);
        assert_eq!(browser.run(scripts, &[]).await?, expected);
        page.ensure_quiet().await?;
    }
    Ok(())
}

/// Pages of logs that have little, or much, or odd names; each can be read by everybody, in both themes.
#[tokio::test]
async fn every_page_is_accessible() -> Result<()> {
    let Some(browser) = Browser::start().await? else { return Ok(()) };
    let desk = Desk::new()?;
    let fifty_thousand = (0..50_000).fold(String::new(), |mut log, number| {
        log += &line(number, Some("shop/sa/web"), &format!("h{number}.example"), "/");
        log
    });
    let mut odd = traffic(100);
    odd += &line(0, Some("חנות/sa/שלום"), "מכירה.example", "/עברית");
    odd += &line(
        1,
        Some(&"c".repeat(1_000)),
        &format!("{}.example", "h".repeat(1_000)),
        &format!("/{}", "p".repeat(1_000)),
    );
    for (name, log, policy) in [
        ("no line", String::new(), None),
        ("no request", "a line of something else\n".repeat(20), None),
        ("no verdicts", traffic(500), None),
        ("one request", line(0, None, "a.example", "/"), Some(POLICY)),
        ("odd names", odd, Some(POLICY)),
        ("50,000 hosts", fifty_thousand, Some(POLICY)),
    ] {
        let (file, said) = desk.page(&log, policy)?;
        for theme in [Theme::Light, Theme::Dark] {
            let look = Look { theme, ..Look::DESKTOP };
            let page = Page::open(&browser, &file, look).await?;
            let open_all =
                "document.querySelectorAll('details').forEach((it) => { it.open = true; })";
            browser.run(open_all, &[]).await?;
            if policy.is_some() {
                page.judge(POLICY).await?;
            }
            assert_eq!(page.total("total-all").await?, said["requests"], "{name}");
            let barriers = page.barriers().await?;
            assert_eq!(barriers, [""; 0], "{name}, {theme:?}");
            page.ensure_quiet().await?;
        }
        // A telephone: nothing is wider than the window but what scrolls by itself.
        let page =
            Page::open(&browser, &file, Look { width: 390, height: 844, ..Look::DESKTOP }).await?;
        let wider = "return document.documentElement.scrollWidth - innerWidth";
        let wider = browser.run(wider, &[]).await?;
        assert!(wider.as_i64().is_some_and(|it| it <= 0), "{name}: {wider}");
        page.ensure_quiet().await?;
    }
    Ok(())
}

/// The pictures of README.md: `target/report/light.png` and `dark.png`.
#[tokio::test]
async fn the_page_as_pictures() -> Result<()> {
    let Some(browser) = Browser::start().await? else { return Ok(()) };
    let desk = Desk::new()?;
    let policy = Path::new(kit::REPOSITORY).join("tests/browser/example.yaml");
    let (file, _) = desk.page(&two_days(), Some(&std::fs::read_to_string(policy)?))?;
    let pictures = Path::new(kit::REPOSITORY).join("target/report");
    std::fs::create_dir_all(&pictures)?;
    for (theme, name) in [(Theme::Light, "light"), (Theme::Dark, "dark")] {
        let page = Page::open(&browser, &file, Look { theme, ..Look::DESKTOP }).await?;
        let picture = browser.picture(Some(1_395)).await?;
        std::fs::write(pictures.join(format!("{name}.png")), picture)?;
        page.ensure_quiet().await?;
    }
    Ok(())
}

/// Two days of a small shop, with more calls by day than by night.
fn two_days() -> String {
    let flows = [
        ("payments/sa/api", "api.stripe.com", "/v1/charges", 40),
        ("payments/sa/worker", "api.stripe.com", "/v1/refunds", 14),
        ("payments/sa/worker", "sqs.eu-west-1.amazonaws.com", "/", 22),
        ("shop/sa/web", "maps.googleapis.com", "/maps/api/geocode/json", 18),
        ("shop/sa/web", "s3.eu-central-1.amazonaws.com", "/images", 30),
        ("shop/sa/checkout", "api.sendgrid.com", "/v3/mail/send", 12),
        ("shop/sa/checkout", "api.stripe.com", "/v1/charges", 5),
        ("crm/sa/worker", "api.sendgrid.com", "/v3/mail/send", 9),
        ("crm/sa/worker", "legacy.partner.example", "/orders", 6),
        ("ci/sa/runner", "registry.npmjs.org", "/express", 16),
        ("ci/sa/runner", "files.pythonhosted.org", "/packages", 7),
        ("ci/sa/runner", "sts.eu-west-1.amazonaws.com", "/", 10),
        ("search/sa/index", "s3.eu-central-1.amazonaws.com", "/index", 20),
        ("search/sa/index", "telemetry.vendor.example", "/collect", 8),
        ("", "169.254.169.254", "/latest/meta-data", 2),
        ("", "api.str1pe.com", "/v1/charges", 1),
    ];
    let weights: usize = flows.iter().map(|it| it.3).sum();
    let mut random = 1_u64;
    (0..40_000).fold(String::new(), |mut log, _| {
        let mut draw = |below: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        // Most often at 13 o'clock: the sum of two dice, once or on the next day.
        let second = draw(2) * 86_400 + (draw(43_200) + draw(43_200) + 3_600) % 86_400;
        let mut rest = draw(weights);
        let flow = flows.iter().find(|it| {
            let is_it = rest < it.3;
            rest = rest.saturating_sub(it.3);
            is_it
        });
        let Some((caller, host, path, _)) = flow else { return log };
        log += &line(second, Some(*caller).filter(|it| !it.is_empty()), host, path);
        log
    })
}
