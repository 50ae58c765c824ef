//! The plot of cost against the number of hosts.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figure::Figure;
use crate::report::Report;

const SIZE: (u32, u32) = (880, 500);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x3d, 0x47);
const FAINT: RGBColor = RGBColor(0x6b, 0x75, 0x80);
const GRID: RGBColor = RGBColor(0xe3, 0xe7, 0xeb);

const LINE_HEIGHT: i32 = 19;
const COST_TICKS: [f64; 8] = [50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1_000.0];
const HOST_TICKS: [(f64, &str); 6] = [
    (1.0, "1"),
    (10.0, "10"),
    (100.0, "100"),
    (1_000.0, "1,000"),
    (10_000.0, "10,000"),
    (100_000.0, "100,000"),
];

/// A line of the plot: its name, the set-ups on it by their number of hosts, and its colour.
struct Series {
    name: &'static str,
    setups: &'static [(u32, &'static str)],
    colour: RGBColor,
}

const SERIES: [Series; 3] = [
    Series {
        name: "AuthorizationPolicy lists",
        setups: &[(100, "lists-100"), (1_000, "lists-1000"), (10_000, "lists-10000")],
        colour: RGBColor(0xc4, 0x4e, 0x2b),
    },
    Series {
        name: "native trio",
        setups: &[
            (1, "native-1"),
            (1_000, "native-1000"),
            (10_000, "native-10000"),
            (100_000, "native-100000"),
        ],
        colour: RGBColor(0x6b, 0x77, 0x85),
    },
    Series {
        name: "egress-warden",
        setups: &[
            (1, "warden-1"),
            (100, "warden-100"),
            (1_000, "warden-1000"),
            (10_000, "warden-10000"),
            (100_000, "warden-100000"),
        ],
        colour: RGBColor(0x1b, 0x6e, 0xc2),
    },
];

/// Draws it as SVG, both axes logarithmic.
pub(crate) fn draw(report: &Report, path: &Path) -> Result<()> {
    let none = report.cost("none").median;
    let keys = SERIES.iter().flat_map(|series| series.setups);
    let greatest = keys.map(|(_, key)| report.cost(key).upper).fold(none, f64::max);
    let hosts = Axis { least: 0.8, greatest: 125_000.0, start: 72, end: SIZE.0 - 232 };
    let cost = Axis { least: 50.0, greatest: greatest * 1.15, start: SIZE.1 - 62, end: 64 };

    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let write = |text: &str, size: u32, colour: &RGBColor, at: (i32, i32), anchor: Pos| {
        let style = (FONT, size).into_font().color(colour).pos(anchor);
        root.draw_text(text, &style, at)
    };
    let line = |points: Vec<(i32, i32)>, colour: &RGBColor, width: u32| {
        root.draw(&PathElement::new(points, colour.stroke_width(width)))
    };
    let [left, above, below] =
        [(HPos::Left, VPos::Center), (HPos::Left, VPos::Bottom), (HPos::Center, VPos::Top)]
            .map(|(h, v)| Pos::new(h, v));

    write("CPU time of a request in Envoy", 19, &INK, (24, 32), above)?;
    write("µs, both axes logarithmic", 13, &FAINT, (24, 50), above)?;
    for ticks in COST_TICKS.iter().filter(|ticks| cost.has(**ticks)) {
        let y = cost.place(*ticks);
        line(vec![(hosts.place(hosts.least), y), (hosts.place(hosts.greatest), y)], &GRID, 1)?;
        let style = Pos::new(HPos::Right, VPos::Center);
        write(&format!("{ticks}"), 13, &FAINT, (hosts.place(hosts.least) - 8, y), style)?;
    }
    for (tick, label) in HOST_TICKS {
        let (x, y) = (hosts.place(tick), cost.place(cost.least));
        line(vec![(x, y), (x, y + 5)], &INK, 1)?;
        write(label, 13, &FAINT, (x, y + 10), below)?;
    }
    let y = cost.place(cost.least);
    line(vec![(hosts.place(hosts.least), y), (hosts.place(hosts.greatest), y)], &INK, 1)?;
    let middle = i32::midpoint(hosts.place(hosts.least), hosts.place(hosts.greatest));
    write("hosts in the policy", 14, &INK, (middle, y + 32), below)?;

    // Names stand where their lines end, and lines that end together would write over each other.
    let mut names = vec![(none, String::from("no filter"), INK, 100_000.0)];
    let y = cost.place(none);
    let (start, end) = (hosts.place(hosts.least), hosts.place(hosts.greatest));
    for x in (start..end).step_by(9) {
        line(vec![(x, y), ((x + 4).min(end), y)], &INK, 1)?;
    }
    for Series { name, setups, colour } in &SERIES {
        let costs: Vec<(f64, Figure)> =
            setups.iter().map(|(hosts, key)| (f64::from(*hosts), report.cost(key))).collect();
        let places: Vec<(i32, i32)> = costs
            .iter()
            .map(|(count, figure)| (hosts.place(*count), cost.place(figure.median)))
            .collect();
        for ((_, figure), (x, _)) in costs.iter().zip(&places) {
            line(vec![(*x, cost.place(figure.lower)), (*x, cost.place(figure.upper))], colour, 1)?;
        }
        line(places.clone(), colour, 2)?;
        for place in &places {
            root.draw(&Circle::new(*place, 4, colour.filled()))?;
        }
        if let Some((count, figure)) = costs.last() {
            let name = format!("{name}, {:.0} µs", figure.median);
            names.push((figure.median, name, *colour, *count));
        }
    }
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = i32::MAX;
    for (median, name, colour, count) in names {
        let y = cost.place(median).min(free);
        free = y - LINE_HEIGHT;
        let name = if name == "no filter" { format!("{name}, {median:.0} µs") } else { name };
        write(&name, 14, &colour, (hosts.place(count) + 14, y), left)?;
    }
    root.present()?;
    Ok(())
}

/// One axis: the values at its ends, and where these are on the picture.
struct Axis {
    least: f64,
    greatest: f64,
    start: u32,
    end: u32,
}

impl Axis {
    fn has(&self, value: f64) -> bool {
        (self.least..=self.greatest).contains(&value)
    }

    fn place(&self, value: f64) -> i32 {
        let part = (value / self.least).ln() / (self.greatest / self.least).ln();
        let [start, end] = [self.start, self.end].map(f64::from);
        (start + part.clamp(0.0, 1.0) * (end - start)).round() as i32
    }
}
