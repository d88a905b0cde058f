//! One plot of one benchmark: a line for each figure, on a logarithmic axis.
//!
//! figures → SVG
//!
//! **Invariant:** a dot is the value, the bar its quartiles, the red stroke its limit; grey figures have none.

use std::fmt::Write;

use super::figure::{Figure, Verdict, number};

const LABELS: f64 = 560.0;
const AXIS: f64 = 420.0;
const LINE: f64 = 18.0;
/// Zero has no place on a logarithmic axis: it is drawn at its left end.
const LEAST: f64 = 1e-3;

/// The plot. Figures of all units share one axis, which is labelled by powers of ten alone.
pub(super) fn svg(figures: &[Figure]) -> String {
    let values = figures.iter().flat_map(|figure| [Some(figure.value()), figure.limit]).flatten();
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((1.0_f64, 1.0_f64), |(low, high), value| (low.min(value.max(LEAST)), high.max(value)));
    let axis = Axis { low: low.log10().floor(), high: high.log10().ceil().max(low.log10().floor() + 1.0) };
    let mut lines = 0.0;
    let mut body = String::new();
    for figure in figures {
        lines += 1.0;
        row(&mut body, figure, lines * LINE, &axis);
    }
    let (width, height) = (LABELS + AXIS + 140.0, (lines + 2.0) * LINE);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/>
{}{body}</svg>
"#,
        axis.grid(lines * LINE + LINE)
    )
}

struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn x(&self, value: f64) -> f64 {
        LABELS + AXIS * ((value.max(LEAST).log10() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn grid(&self, bottom: f64) -> String {
        let mut grid = String::new();
        let mut power = self.low;
        while power <= self.high {
            let (value, x) = (10_f64.powf(power), self.x(10_f64.powf(power)));
            // A String takes whatever is written to it.
            let _ = writeln!(
                grid,
                r##"<line x1="{x:.1}" y1="4" x2="{x:.1}" y2="{bottom}" stroke="#ddd"/><text x="{x:.1}" y="{:.0}" text-anchor="middle" fill="#888">{}</text>"##,
                bottom + 12.0,
                number(value)
            );
            power += 1.0;
        }
        grid
    }
}

fn row(body: &mut String, figure: &Figure, y: f64, axis: &Axis) {
    let colour = match figure.verdict() {
        Verdict::Informs => "#999",
        Verdict::Holds | Verdict::Exempt => "#1668a8",
        Verdict::Missed => "#c0392b",
    };
    let (low, high) = figure.samples.quartiles();
    let [value, low, high] = [figure.value(), low, high].map(|value| axis.x(value));
    let label = figure.name.replace('&', "&amp;").replace('<', "&lt;");
    let (text, middle) = (y + 4.0, y);
    let words = format!("{} {}", number(figure.value()), figure.unit);
    let _ = writeln!(
        body,
        r#"<text x="{:.0}" y="{text}" text-anchor="end">{label}</text><line x1="{low:.1}" y1="{middle}" x2="{high:.1}" y2="{middle}" stroke="{colour}" stroke-width="5" opacity="0.4"/><circle cx="{value:.1}" cy="{middle}" r="4" fill="{colour}"/><text x="{:.0}" y="{text}">{words}</text>"#,
        LABELS - 10.0,
        LABELS + AXIS + 10.0
    );
    if let Some(limit) = figure.limit.map(|limit| axis.x(limit)) {
        let _ = writeln!(
            body,
            r##"<line x1="{limit:.1}" y1="{:.0}" x2="{limit:.1}" y2="{:.0}" stroke="#c0392b" stroke-width="2"/>"##,
            y - 7.0,
            y + 7.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::Samples;

    #[test]
    fn every_figure_has_a_dot_and_every_limit_a_stroke() {
        let samples: Samples = [1.0, 2.0, 3.0].into_iter().collect();
        let figures = [
            Figure::new("a", "ours < theirs", "ms", samples).at_most(10.0),
            Figure::new("a", "nothing at all", "B", 0.0),
        ];
        let text = svg(&figures);
        assert_eq!(text.matches("<circle").count(), 2);
        assert_eq!(text.matches(r##"stroke="#c0392b" stroke-width="2""##).count(), 1);
        assert!(text.contains("ours &lt; theirs") && !text.contains("NaN"));
    }
}
