//! Charts, as SVG: [bars](Bars) beside one another and [curves](Curves).

mod bars;
mod comparison;
mod curves;
mod growth;
mod latency;
mod palette;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub use bars::{Bars, Series};
pub use comparison::{ratios, scaling};
pub use curves::{Curve, Curves, draw_curves};
pub use growth::cost_over_size;
pub use latency::tails;
pub use palette::color_of;

/// A chart could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a chart could not be drawn: {0}")]
pub struct ChartError(String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for ChartError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

/// What letters look like, here and there at other sizes.
const FONT: &str = "sans-serif";

/// Nearly black.
const INK: RGBColor = RGBColor(40, 44, 52);

/// Lines behind the figures.
const GRID: RGBColor = RGBColor(226, 229, 233);

fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

fn centered(size: u32, vertical: VPos) -> TextStyle<'static> {
    text(size).pos(Pos::new(HPos::Center, vertical))
}

/// A number as an axis shows it: as short as it can be.
fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e9 => (v / 1e9, "G"),
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let digits = format!("{scaled:.2}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}{unit}")
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn axes_show_short_numbers() {
        assert_eq!(short(0.25), "0.25");
        assert_eq!(short(10.0), "10");
        assert_eq!(short(1_500.0), "1.5k");
        assert_eq!(short(10_000_000.0), "10M");
    }
}
