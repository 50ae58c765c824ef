//! A picture on a terminal.

use super::lines::{asked, by, flow_text, flows, notes_of_counters, notes_of_log, per_second};
use super::picture::{Opening, Part, Picture, Row as Refusal};
use crate::failure::Failure;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState};
use ratatui::{DefaultTerminal, Frame};
use std::io;
use std::time::Duration;
use unicode_width::UnicodeWidthChar as _;

/// Below this width, in columns, only host and reason are shown.
const NARROW: u16 = 70;
/// Rows that the opening of a refusal has at most.
const OPENING: u16 = 12;

/// A terminal that shows pictures. It is as before when this ends, however that happens.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    view: View,
}

/// What somebody wants who pressed a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    End,
    /// What is shown is to be shown again, in another way.
    Redraw,
}

impl Screen {
    pub(crate) fn open(is_coloured: bool) -> Result<Self, Failure> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = execute!(io::stdout(), Show);
            before(panic);
        }));
        let terminal = ratatui::try_init().map_err(|error| {
            ratatui::restore();
            failure(&error)
        })?;
        Ok(Self { terminal, view: View { is_coloured, selected: 0 } })
    }

    pub(crate) fn show(&mut self, picture: &Picture) -> Result<(), Failure> {
        let Self { terminal, view } = self;
        terminal.draw(|frame| view.draw(picture, frame)).map_err(|error| failure(&error))?;
        Ok(())
    }

    /// Waits so long for a key, or for another size.
    pub(crate) fn wait(&mut self, time: Duration) -> Result<Option<Wish>, Failure> {
        if !event::poll(time).map_err(|error| failure(&error))? {
            return Ok(None);
        }
        let event = event::read().map_err(|error| failure(&error))?;
        Ok(self.view.take(&event))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The cursor comes back with the terminal's own end.
        ratatui::restore();
    }
}

fn failure(error: &io::Error) -> Failure {
    Failure::new("terminal", error.to_string(), "give `--plain` for lines")
}

/// How a picture is looked at.
#[derive(Debug)]
struct View {
    is_coloured: bool,
    /// The refusal whose opening is shown.
    selected: usize,
}

impl View {
    fn take(&mut self, event: &Event) -> Option<Wish> {
        let key = match event {
            Event::Resize(..) => return Some(Wish::Redraw),
            Event::Key(key) if key.kind != KeyEventKind::Release => key,
            _ => return None,
        };
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        self.selected = match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::End),
            KeyCode::Char('c' | 'd') if is_control => return Some(Wish::End),
            KeyCode::Down | KeyCode::Char('j') => self.selected.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.selected.saturating_sub(1),
            KeyCode::Home => 0,
            _ => return None,
        };
        Some(Wish::Redraw)
    }

    fn draw(&mut self, picture: &Picture, frame: &mut Frame<'_>) {
        let head = self.head(picture);
        let part = picture.refusals();
        let refusals: Vec<_> = part.into_iter().flat_map(refusals).collect();
        self.selected = self.selected.min(refusals.len().saturating_sub(1));
        let selected = refusals.get(self.selected).map(|(refusal, _)| *refusal);
        let width = frame.area().width;
        let opening = selected.map_or_else(Vec::new, |it| opening(it, width));
        let of_opening = match opening.len() {
            0 => 0,
            lines => u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(1).min(OPENING),
        };
        let height = u16::try_from(head.len()).unwrap_or(u16::MAX);
        let [at_head, at_table, at_opening, at_foot] = Layout::vertical([
            Constraint::Length(height),
            Constraint::Min(0),
            Constraint::Length(of_opening),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(head), at_head);
        let mut state = TableState::default().with_selected(selected.map(|_| self.selected));
        frame.render_stateful_widget(self.table(&refusals, at_table.width), at_table, &mut state);
        let block = Block::new().borders(Borders::TOP).title("how to open it");
        let text: Vec<_> = opening.into_iter().map(Line::from).collect();
        frame.render_widget(Paragraph::new(text).block(block), at_opening);
        let keys = Line::from("q: end   up, down: another refusal");
        frame.render_widget(Paragraph::new(keys.style(self.faint())), at_foot);
    }

    /// Both sources in lines.
    fn head(&self, picture: &Picture) -> Vec<Line<'static>> {
        let mut lines =
            vec![Line::from(format!("egress-warden watch   {}", picture.time)).style(self.bold())];
        if let Some(admin) = &picture.admin {
            lines.extend(self.part("counters", &admin.part));
            lines.extend(notes_of_counters(admin).into_iter().map(|it| self.note(it)));
        }
        if let Some(log) = &picture.log {
            lines.extend(self.part("log", &log.part));
            lines.extend(notes_of_log(log).into_iter().map(|it| self.note(it)));
        }
        lines
    }

    fn part(&self, kind: &str, part: &Part) -> Vec<Line<'static>> {
        let mut lines = vec![Line::from(vec![
            Span::from(format!("{kind} {}   ", part.source)),
            Span::from(part.policies.join(", ")).style(self.bold()),
        ])];
        if let Some(problem) = &part.problem {
            lines.push(Line::from(format!("  {problem}")).style(self.colour(Color::Red)));
        }
        let flows = flows(part);
        lines.extend(
            flows.map(|(what, flow)| Line::from(format!("  {what:<12}{}", flow_text(flow)))),
        );
        lines
    }

    fn note(&self, note: String) -> Line<'static> {
        Line::from(format!("  {note}")).style(self.colour(Color::Yellow))
    }

    fn table(&self, refusals: &[(&Refusal, bool)], width: u16) -> Table<'static> {
        let is_narrow = width < NARROW;
        let row = |(refusal, is_would): &(&Refusal, bool)| {
            let (what, colour) = match is_would {
                false => ("refused", Color::Red),
                true => ("would be", Color::Yellow),
            };
            let what = Cell::from(what).style(self.colour(colour));
            let count = Cell::from(Line::from(refusal.count.to_string()).right_aligned());
            let rate = Line::from(per_second(refusal.per_second)).right_aligned();
            let asked = Cell::from(asked(refusal).unwrap_or_default());
            match is_narrow {
                true => Row::new([count, Cell::from(by(refusal)), asked]),
                false => Row::new([count, Cell::from(rate), what, Cell::from(by(refusal)), asked]),
            }
        };
        let rows: Vec<_> = refusals.iter().map(row).collect();
        let by = Constraint::Max(24);
        let widths = match is_narrow {
            true => vec![Constraint::Length(7), by, Constraint::Fill(1)],
            false => vec![
                Constraint::Length(10),
                Constraint::Length(10),
                Constraint::Length(8),
                by,
                Constraint::Fill(1),
            ],
        };
        Table::new(rows, widths)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
            .block(Block::new().borders(Borders::TOP).title("most refused"))
    }

    fn bold(&self) -> Style {
        if self.is_coloured { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() }
    }

    fn faint(&self) -> Style {
        if self.is_coloured { Style::new().add_modifier(Modifier::DIM) } else { Style::new() }
    }

    fn colour(&self, colour: Color) -> Style {
        if self.is_coloured { Style::new().fg(colour) } else { Style::new() }
    }
}

/// What is refused, and then what would be, each with whether it would be.
fn refusals(part: &Part) -> impl Iterator<Item = (&Refusal, bool)> {
    let refused = part.refused.iter().map(|it| (it, false));
    refused.chain(part.would_be_refused.iter().map(|it| (it, true)))
}

/// How to open it, in lines of this width.
fn opening(refusal: &Refusal, width: u16) -> Vec<String> {
    let text = match &refusal.opening {
        Opening::RuleToAdd(text) | Opening::NoRule(text) => text,
    };
    text.lines().flat_map(|line| wrapped(line, width.into())).map(str::to_owned).collect()
}

/// A line in pieces of this width at most, in columns. Ratatui's own wrapping panics if a wide character follows a
/// word that leaves one column.
fn wrapped(line: &str, width: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), line);
    loop {
        let mut columns = 0;
        let end = rest.char_indices().find_map(|(at, character)| {
            columns += character.width().unwrap_or_default();
            (columns > width).then_some(at)
        });
        let Some(end) = end else { break };
        let head = rest.get(..end).unwrap_or_default();
        // Behind a blank, but for those that indent the line.
        let blank =
            head.rfind(' ').filter(|at| !head.get(..*at).unwrap_or_default().trim().is_empty());
        let cut = blank.map_or(end, |at| at + 1);
        match rest.split_at_checked(cut) {
            Some((piece, behind)) if !piece.is_empty() => {
                pieces.push(piece);
                rest = behind;
            }
            // Not one character fits.
            _ => break,
        }
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::picture::{Asked, Flow, OfCounters, OfLog};
    use super::*;
    use crate::judgement::Judgement;
    use proptest::prelude::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;
    use ratatui::crossterm::event::KeyEvent;

    fn part(refused: Vec<Refusal>, would_be_refused: Vec<Refusal>) -> Part {
        Part {
            source: "access.log".to_owned(),
            problem: None,
            seconds: Some(2.0),
            policies: vec!["shop@3fbbb900ce6a".to_owned()],
            requests: Flow {
                per_second: Some(42.51),
                allowed: 1234,
                denied: 56,
                ..Flow::default()
            },
            connections: Flow::default(),
            refused,
            would_be_refused,
        }
    }

    fn refusal(host: &str, opening: Opening) -> Refusal {
        Refusal {
            connection: false,
            count: 12,
            per_second: Some(0.5),
            judgement: Judgement {
                decision: "deny".into(),
                reason: "rule".into(),
                rule: Some("no-admin".into()),
            },
            asked: Some(Asked {
                host: host.to_owned(),
                port: Some(443),
                caller: Some("cluster.local/ns/shop/sa/cart".to_owned()),
                method: Some("GET".to_owned()),
                path: Some("/v1".to_owned()),
            }),
            opening,
        }
    }

    fn of_log(part: Part) -> Picture {
        let log =
            OfLog { part, ended: false, others: 0, unread: 0, lines: serde_json::Value::Null };
        Picture { time: "2026-11-30T21:03:04Z".to_owned(), admin: None, log: Some(log) }
    }

    fn drawn(picture: &Picture, width: u16, height: u16, selected: usize) -> Buffer {
        let mut view = View { is_coloured: true, selected };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| view.draw(picture, frame)).expect("a frame");
        terminal.backend().buffer().clone()
    }

    fn text(buffer: &Buffer) -> Vec<String> {
        let width = usize::from(buffer.area.width.max(1));
        let lines = buffer.content().chunks(width);
        lines
            .map(|line| line.iter().map(|it| it.symbol()).collect::<String>().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn a_screen_says_what_is_refused_and_how_to_open_the_selected_one() {
        let rule = Opening::RuleToAdd("- id: b-test\n  action: allow\n".to_owned());
        let refused = vec![
            refusal("a.test", Opening::NoRule("the deny rule `no-admin` matches".to_owned())),
            refusal("b.test", rule),
        ];
        let mut picture =
            of_log(part(refused, vec![refusal("c.test", Opening::NoRule("c".to_owned()))]));
        let lines = text(&drawn(&picture, 100, 16, 1));
        assert_eq!(lines[0], "egress-warden watch   2026-11-30T21:03:04Z");
        assert_eq!(lines[1], "log access.log   shop@3fbbb900ce6a");
        assert_eq!(lines[2], "  requests    42.5/s, 1234 allowed, 56 denied");
        assert!(lines[3].starts_with("most refused"), "{lines:#?}");
        let row = "        12      0.5/s refused  by rule no-admin         GET a.test:443/v1 by cluster.local/ns/shop/s";
        assert_eq!(lines[4], row);
        assert!(lines[5].contains("GET b.test"), "{lines:#?}");
        assert!(lines[6].contains("would be by rule no-admin"), "{lines:#?}");
        assert!(lines[12].starts_with("how to open it"), "{lines:#?}");
        assert_eq!(&lines[13..15], ["- id: b-test", "  action: allow"]);

        let lines = text(&drawn(&picture, 40, 16, 0));
        assert!(lines[4].starts_with("     12 by rule no-admin"), "{lines:#?}");
        assert!(lines.iter().any(|it| it == "the deny rule `no-admin` matches"), "{lines:#?}");

        // A source that does not answer says so, and what was seen stays.
        let admin = OfCounters {
            part: Part {
                problem: Some("admin: no answer: wait".to_owned()),
                ..part(vec![], vec![])
            },
            in_force: vec!["3fbbb900ce6a".to_owned(), "0123456789ab".to_owned()],
            policies_problem: Some("why".to_owned()),
            restarts: 1,
            guard_refused: 2,
            updates_rejected: 3,
        };
        picture.admin = Some(admin);
        let lines = text(&drawn(&picture, 100, 20, 0));
        for said in [
            "  admin: no answer: wait",
            "2 times the guard",
            "3 policies",
            "1 times",
            "why",
            "a.test",
        ] {
            assert!(lines.iter().any(|it| it.contains(said)), "{said}: {lines:#?}");
        }
    }

    #[test]
    fn without_colour_there_is_none() {
        let picture =
            of_log(part(vec![refusal("a.test", Opening::NoRule("a".to_owned()))], vec![]));
        let mut view = View { is_coloured: false, selected: 0 };
        let mut terminal = Terminal::new(TestBackend::new(80, 20)).expect("a terminal");
        terminal.draw(|frame| view.draw(&picture, frame)).expect("a frame");
        let cells = terminal.backend().buffer().content();
        assert!(cells.iter().all(|it| it.fg == Color::Reset && it.bg == Color::Reset));
        assert!(drawn(&picture, 80, 20, 0).content().iter().any(|it| it.fg == Color::Red));
    }

    #[test]
    #[ignore = "the next test runs it, on a terminal"]
    fn a_program_that_panics() {
        let mut screen = Screen::open(true).expect("a terminal");
        screen.show(&Picture::default()).expect("a picture");
        // What is shown is not to be dropped by unwinding: a release does not unwind.
        std::mem::forget(screen);
        panic!("as a program does");
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let terminal = nix::pty::openpty(None, None).expect("a terminal");
        let end = || std::process::Stdio::from(terminal.slave.try_clone().expect("an end"));
        let mut child = std::process::Command::new(std::env::current_exe().expect("a program"))
            .args(["--exact", "live::screen::tests::a_program_that_panics", "--ignored"])
            .args(["--nocapture"])
            .env("RUST_BACKTRACE", "0")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("a child");
        let before = nix::sys::termios::tcgetattr(&terminal.slave).expect("a terminal");
        let mut master = std::fs::File::from(terminal.master.try_clone().expect("an end"));
        let (sender, shown) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 1 << 12];
            while let Ok(read @ 1..) = io::Read::read(&mut master, &mut bytes) {
                let _ = sender.send(String::from_utf8_lossy(&bytes[..read]).into_owned());
            }
        });
        child.wait().expect("a child");
        let after = nix::sys::termios::tcgetattr(&terminal.slave).expect("a terminal");
        assert_eq!(after.local_flags, before.local_flags);
        let mut all = String::new();
        while !all.contains("as a program does") {
            all +=
                &shown.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{all:?}"));
        }
        let places =
            ["\u{1b}[?1049h", "\u{1b}[?25l", "\u{1b}[?1049l", "\u{1b}[?25h", "panicked at"];
        let places = places.map(|it| all.rfind(it).unwrap_or_else(|| panic!("no {it:?}: {all:?}")));
        assert!(places.is_sorted(), "{all:?}");
    }

    #[test]
    fn keys_end_it_or_select() {
        let mut view = View { is_coloured: true, selected: 0 };
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        let plain = KeyModifiers::NONE;
        for (code, modifiers, wish, selected) in [
            (KeyCode::Down, plain, Some(Wish::Redraw), 1),
            (KeyCode::Char('j'), plain, Some(Wish::Redraw), 2),
            (KeyCode::Up, plain, Some(Wish::Redraw), 1),
            (KeyCode::Home, plain, Some(Wish::Redraw), 0),
            (KeyCode::Char('k'), plain, Some(Wish::Redraw), 0),
            (KeyCode::Char('c'), plain, None, 0),
            (KeyCode::Char('c'), KeyModifiers::CONTROL, Some(Wish::End), 0),
            (KeyCode::Char('q'), plain, Some(Wish::End), 0),
            (KeyCode::Esc, plain, Some(Wish::End), 0),
        ] {
            assert_eq!(view.take(&key(code, modifiers)), wish, "{code:?}");
            assert_eq!(view.selected, selected, "{code:?}");
        }
        assert_eq!(view.take(&Event::Resize(1, 1)), Some(Wish::Redraw));
        assert_eq!(view.take(&Event::FocusLost), None);
    }

    #[test]
    fn a_line_is_wrapped_behind_blanks_or_where_it_must() {
        for (line, width, expected) in [
            ("", 5, &[""][..]),
            ("one two", 7, &["one two"]),
            ("one two", 6, &["one ", "two"]),
            ("    paths: x", 8, &["    path", "s: x"]),
            ("ab宽cd", 3, &["ab", "宽c", "d"]),
            ("宽宽", 1, &["宽宽"]),
            ("abc", 0, &["abc"]),
        ] {
            assert_eq!(wrapped(line, width), expected, "{line} {width}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Even if a text of a picture had something that a terminal obeys.
        #[test]
        fn every_size_is_drawn_and_no_control_character_reaches_a_cell(
            width in 0..200_u16,
            height in 0..60_u16,
            rows in 0..80_usize,
            selected in 0..90_usize,
            host in prop_oneof![
                "[\\x00-\\x1f\\x7f-\\u{9f}宽é\u{202e}]{0,40}",
                Just("宽".repeat(1000)),
                Just("a".repeat(1000)),
                Just(String::new()),
            ],
        ) {
            let opening = |row| match row % 2 {
                0 => Opening::NoRule(host.clone()),
                _ => Opening::RuleToAdd(format!("- id: {host}\n").repeat(row)),
            };
            let refused: Vec<_> = (0..rows).map(|row| refusal(&host, opening(row))).collect();
            let picture = of_log(part(refused.clone(), refused));
            let buffer = drawn(&picture, width, height, selected);
            prop_assert!(!buffer.content().iter().any(|it| it.symbol().contains(char::is_control)));
            drawn(&Picture::default(), width, height, selected);
        }
    }
}
