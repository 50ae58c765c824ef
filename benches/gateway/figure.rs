//! One figure of several rounds: its median and how far the rounds lie apart.

use serde_json::{Value, json};

/// A figure's median, its quartiles, and its least and greatest value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    /// Between these two lies the middle half.
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Figure {
    /// The figure of `values`, of which there is at least one.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (values.len() - 1) as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Self { median: at(0.5), lower: at(0.25), upper: at(0.75), min: at(0.0), max: at(1.0) }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "median": self.median,
            "lower_quartile": self.lower,
            "upper_quartile": self.upper,
            "min": self.min,
            "max": self.max,
        })
    }
}
