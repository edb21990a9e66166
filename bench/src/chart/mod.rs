//! Charts, as SVG: [bars](Bars) beside one another and [curves](Curves).

mod bars;
mod comparison;
mod curves;
mod growth;
mod latency;
mod palette;

use plotters::coord::Shift;
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

/// Height of a row of names.
const LEGEND: u32 = 24;

/// Writes a row of names with their colours along the top of an area; the rest of the area comes back.
fn legend<'n, DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    names: impl Iterator<Item = (&'n str, RGBColor)>,
) -> Result<DrawingArea<DB, Shift>, DrawingAreaErrorKind<DB::ErrorType>> {
    let (row, rest) = area.split_vertically(LEGEND);
    let mut x = 56;
    for (name, color) in names {
        let square = [(x, 7), (x + 11, 18)];
        row.draw(&Rectangle::new(square, color.filled()))?;
        row.draw(&Text::new(name, (x + 16, 6), text(13)))?;
        let width = row.estimate_text_size(name, &text(13))?.0 as i32;
        x += 16 + width + 18;
    }
    Ok(rest)
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
