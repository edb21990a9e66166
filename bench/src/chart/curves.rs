//! Curves, in panels beside one another.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{ChartError, GRID, INK, legend, short, text};

/// A line through points.
#[derive(Debug, Clone)]
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// Its colour.
    pub color: RGBColor,
    /// Its points, ascending.
    pub points: Vec<(f64, f64)>,
}

/// A panel of curves, both axes logarithmic.
#[derive(Debug, Clone)]
pub struct Curves {
    /// What it shows.
    pub title: String,
    /// What goes to the right.
    pub x: String,
    /// What goes up.
    pub y: String,
    /// The curves.
    pub curves: Vec<Curve>,
    /// Places on the horizontal axis that mean something.
    pub marks: Vec<(f64, String)>,
}

const PANEL_WIDTH: u32 = 540;
const HEIGHT: u32 = 400;

/// Draws panels beside one another.
///
/// # Errors
/// [`ChartError`].
pub fn draw_curves(panels: &[Curves]) -> Result<String, ChartError> {
    let mut svg = String::new();
    {
        let width = PANEL_WIDTH * panels.len().max(2) as u32;
        let root = SVGBackend::with_string(&mut svg, (width, HEIGHT)).into_drawing_area();
        root.fill(&WHITE)?;
        let areas = root.split_evenly((1, panels.len().max(1)));
        for (panel, area) in panels.iter().zip(&areas) {
            panel.draw(area)?;
        }
        root.present()?;
    }
    Ok(svg)
}

/// From the smallest to the largest, with room around them.
fn ends(values: impl Iterator<Item = f64>, below: f64, above: f64) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|value| *value > 0.0) {
        low = low.min(value);
        high = high.max(value);
    }
    if low > high {
        1.0..10.0
    } else {
        low * below..high * above
    }
}

impl Curves {
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<(), ChartError> {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let x = ends(points().map(|point| point.0), 0.9, 1.12);
        let y = ends(points().map(|point| point.1), 0.7, 1.6);
        let area = area.titled(&self.title, text(17))?;
        let names = self.curves.iter();
        let names = names.map(|curve| (curve.name.as_str(), curve.color));
        let area = legend(&area, names)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(54)
            .build_cartesian_2d(x.clone().log_scale(), y.clone().log_scale())?;
        chart
            .configure_mesh()
            .y_labels(20)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .label_style(text(12))
            .axis_desc_style(text(13))
            .x_desc(&self.x)
            .y_desc(&self.y)
            .axis_style(INK.mix(0.4))
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (at, name) in &self.marks {
            if !x.contains(at) {
                continue;
            }
            let line = [(*at, y.start), (*at, y.end)];
            chart.draw_series(LineSeries::new(line, INK.mix(0.35)))?;
            let style = text(12).pos(Pos::new(HPos::Left, VPos::Top));
            let label = Text::new(format!(" {name}"), (*at, y.end * 0.97), style);
            chart.draw_series([label])?;
        }
        for curve in &self.curves {
            let color = curve.color;
            let line = LineSeries::new(curve.points.iter().copied(), color.stroke_width(2));
            chart.draw_series(line)?;
            let dots = curve.points.iter();
            chart.draw_series(dots.map(|point| Circle::new(*point, 3, color.filled())))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Curve, Curves, draw_curves};
    use plotters::style::RED;

    #[test]
    fn panels_show_their_curves_and_the_marks_within_them() {
        let panel = Curves {
            title: "Panel".into(),
            x: "entries".into(),
            y: "ns".into(),
            curves: vec![Curve {
                name: "somebody".into(),
                color: RED,
                points: vec![(1e4, 100.0), (1e5, 200.0)],
            }],
            marks: vec![(2e4, "L2".into()), (1e9, "L9".into())],
        };
        let svg = draw_curves(&[panel.clone(), panel]).unwrap();
        for part in ["Panel", "entries", "somebody", "L2"] {
            assert_eq!(svg.matches(part).count(), 2, "{part:?} in\n{svg}");
        }
        assert!(!svg.contains("L9"));
    }
}
