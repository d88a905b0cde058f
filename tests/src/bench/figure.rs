//! Figures, and what becomes of them: a table, JSON lines, a plot.
//!
//! samples, limits, floors → [`Report`]
//!
//! **Invariant:** a figure above its limit is a miss unless the floor that it names is itself above that limit, and near.
//! **Invariant:** a figure without a limit is a floor or informs, and cannot fail.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{plot, sample::Samples};

/// What a floor excuses is at most so many times as much.
const NEAR: f64 = 2.0;

/// One measured quantity. Its value is the median unless it says another quantile.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The benchmark.
    pub bench: &'static str,
    /// What was measured.
    pub name: String,
    /// Of the value.
    pub unit: &'static str,
    /// All samples.
    pub samples: Samples,
    /// Which quantile counts.
    pub percent: usize,
    /// The most that is allowed.
    pub limit: Option<f64>,
    /// A floor of the same run, by name and value: what nothing that does the same work can be below.
    pub floor: Option<(String, f64)>,
}

/// What is to be said of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has no limit.
    Informs,
    /// It keeps its limit.
    Holds,
    /// Its floor forbids the limit.
    Exempt,
    /// It does not keep its limit, and could.
    Missed,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Informs => "",
            Self::Holds => "ok",
            Self::Exempt => "exempt",
            Self::Missed => "MISSED",
        }
    }
}

impl Figure {
    /// A figure whose value is the median, without a limit.
    pub fn new(bench: &'static str, name: impl Into<String>, unit: &'static str, samples: impl Into<Samples>) -> Self {
        let (name, samples) = (name.into(), samples.into());
        Self { bench, name, unit, samples, percent: 50, limit: None, floor: None }
    }

    /// The same with another quantile as its value.
    #[must_use]
    pub fn at(mut self, percent: usize) -> Self {
        self.percent = percent;
        self
    }

    /// The same with a limit.
    #[must_use]
    pub fn at_most(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The same with the floor that may forbid the limit.
    #[must_use]
    pub fn above(mut self, floor: &Self) -> Self {
        self.floor = Some((floor.name.clone(), floor.value()));
        self
    }

    /// The value.
    pub fn value(&self) -> f64 {
        self.samples.quantile(self.percent)
    }

    /// What is to be said of it. A value that is not a number holds nothing.
    pub fn verdict(&self) -> Verdict {
        let Some(limit) = self.limit else { return Verdict::Informs };
        if self.value() <= limit {
            return Verdict::Holds;
        }
        let excuses = |floor: f64| floor > limit && self.value() <= NEAR * floor;
        if self.floor.as_ref().is_some_and(|(_, floor)| excuses(*floor)) { Verdict::Exempt } else { Verdict::Missed }
    }

    fn row(&self) -> String {
        let (low, high) = self.samples.quartiles();
        let spread = if self.samples.len() > 1 { format!("{}-{}", number(low), number(high)) } else { String::new() };
        let limit = self.limit.map(number).unwrap_or_default();
        let quantile = if self.percent == 50 { String::new() } else { format!(" p{}", self.percent) };
        let exempt = match (&self.floor, self.verdict()) {
            (Some((name, value)), Verdict::Exempt) => format!(" by {name} = {}", number(*value)),
            _ => String::new(),
        };
        let name = format!("{}{quantile}", self.name);
        let head = format!("{:<3} {name:<76} {:>9} {:<8} {spread:>15}", self.bench, number(self.value()), self.unit);
        format!("{head} {limit:>9}  {}{exempt}", self.verdict().word()).trim_end().to_owned()
    }

    fn line(&self) -> Value {
        let (low, high) = self.samples.quartiles();
        json!({
            "bench": self.bench, "figure": self.name, "unit": self.unit, "value": self.value(), "quantile": self.percent,
            "median": self.samples.median(), "q1": low, "q3": high, "p99": self.samples.quantile(99), "samples": self.samples.len(),
            "limit": self.limit, "floor": self.floor, "verdict": self.verdict().word(),
        })
    }
}

/// Three significant digits, as far as they say something.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report(Vec<Figure>);

impl Report {
    /// Takes a figure, and says it at once: a run is long.
    pub fn add(&mut self, figure: Figure) {
        eprintln!("{}", figure.row());
        self.0.push(figure);
    }

    /// Takes the figures of another run.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The figures so far.
    pub fn figures(&self) -> &[Figure] {
        &self.0
    }

    /// The table.
    pub fn table(&self) -> String {
        let head = format!("{:<3} {:<76} {:>9} {:<8} {:>15} {:>9}", "", "", "value", "", "quartiles", "at most");
        let rows = self.0.iter().map(Figure::row);
        [head.trim_end().to_owned()].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
    }

    /// Whether no figure misses its limit.
    pub fn holds(&self) -> bool {
        self.0.iter().all(|figure| figure.verdict() != Verdict::Missed)
    }

    /// Appends to `<bench>.jsonl` and writes `<bench>.svg` anew, in a directory.
    pub fn keep(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        for group in self.0.chunk_by(|a, b| a.bench == b.bench) {
            let Some(Figure { bench, .. }) = group.first() else { continue };
            let path = directory.join(format!("{bench}.jsonl"));
            let mut file = fs::File::options().create(true).append(true).open(&path).context("JSON lines")?;
            for figure in group {
                writeln!(file, "{}", figure.line())?;
            }
            fs::write(directory.join(format!("{bench}.svg")), plot::svg(group))?;
        }
        Ok(())
    }

    /// Brings the figures of each benchmark together, in the order of the alphabet.
    pub fn sort(&mut self) {
        self.0.sort_by_key(|figure| figure.bench);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_floor_above_the_limit_excuses_a_miss() {
        let figure = |value: f64| Figure::new("a", "total", "ms", value).at_most(10.0);
        let floor = |value: f64| Figure::new("a", "replay", "ms", value);
        assert_eq!(figure(10.0).verdict(), Verdict::Holds);
        assert_eq!(figure(11.0).verdict(), Verdict::Missed);
        assert_eq!(figure(11.0).above(&floor(9.0)).verdict(), Verdict::Missed);
        assert_eq!(figure(11.0).above(&floor(10.5)).verdict(), Verdict::Exempt);
        assert_eq!(figure(22.0).above(&floor(10.5)).verdict(), Verdict::Missed);
        assert_eq!(figure(f64::NAN).verdict(), Verdict::Missed);
        assert_eq!(floor(99.0).verdict(), Verdict::Informs);
    }
}
