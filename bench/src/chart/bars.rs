//! Bars in groups, on a logarithmic axis.

use plotters::prelude::*;
use plotters::style::text_anchor::VPos;

use super::{ChartError, GRID, INK, centered, legend, short, text};

/// One bar of each group.
#[derive(Debug, Clone)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Its colour.
    pub color: RGBColor,
    /// Its value in each group; none where there is nothing to show.
    pub values: Vec<Option<f64>>,
}

/// A chart of bars.
#[derive(Debug, Clone)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// How to read it, in a line below the title.
    pub legend: String,
    /// What each group is about.
    pub groups: Vec<String>,
    /// The bars.
    pub series: Vec<Series>,
    /// The value from which bars rise or fall; the axis' lower end if there is none.
    pub base: Option<f64>,
}

const WIDTH: u32 = 980;
const HEIGHT: u32 = 430;

/// Pixels that a bar needs to bear its value.
const LABELLED: f64 = 17.0;

/// The part of a group's width that its bars take.
const FILLED: f64 = 0.84;

impl Bars {
    /// The lower and the upper end of the axis.
    fn ends(&self) -> (f64, f64) {
        let values = self.series.iter().flat_map(|series| &series.values);
        let values = values.flatten().copied().chain(self.base);
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            return (0.1, 10.0);
        }
        (low * 0.7, high * 1.6)
    }

    /// Draws it.
    ///
    /// # Errors
    /// [`ChartError`].
    pub fn svg(&self) -> Result<String, ChartError> {
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
            root.fill(&WHITE)?;
            self.draw(&root)?;
            root.present()?;
        }
        Ok(svg)
    }

    fn draw<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, plotters::coord::Shift>,
    ) -> Result<(), ChartError> {
        let (low, high) = self.ends();
        let base = self.base.unwrap_or(low);
        let root = root.titled(&self.title, text(19))?;
        let root = root.titled(&self.legend, text(13))?;
        let names = self.series.iter();
        let names = names.map(|series| (series.name.as_str(), series.color));
        let root = legend(&root, names)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..self.groups.len() as f64, (low..high).log_scale())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .y_labels(20)
            .y_label_formatter(&|value| short(*value))
            .y_label_style(text(12))
            .axis_style(INK.mix(0.4))
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .draw()?;
        let width = FILLED / self.series.len().max(1) as f64;
        let has_room = width * f64::from(WIDTH) / self.groups.len().max(1) as f64 > LABELLED;
        for (nth, series) in self.series.iter().enumerate() {
            let place = |group: usize| group as f64 + (1.0 - FILLED) / 2.0 + nth as f64 * width;
            let color = series.color;
            let bars = series.values.iter().enumerate();
            let bars = bars.filter_map(|(group, value)| Some((place(group), (*value)?)));
            let bars: Vec<(f64, f64)> = bars.filter(|(_, value)| *value > 0.0).collect();
            chart.draw_series(bars.iter().map(|(left, value)| {
                let right = left + width * 0.92;
                Rectangle::new([(*left, base), (right, *value)], color.filled())
            }))?;
            if !has_room {
                continue;
            }
            for (left, value) in &bars {
                let upwards = *value >= base;
                let style = centered(11, if upwards { VPos::Bottom } else { VPos::Top });
                let (x, y) = chart.backend_coord(&(left + width * 0.46, *value));
                let y = if upwards { y - 2 } else { y + 2 };
                let (x0, y0) = root.get_base_pixel();
                root.draw(&Text::new(short_value(*value), (x - x0, y - y0), style))?;
            }
        }
        if self.base.is_some() {
            let line = [(0.0, base), (self.groups.len() as f64, base)];
            chart.draw_series(LineSeries::new(line, INK.stroke_width(1)))?;
        }
        for (at, group) in self.groups.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(at as f64 + 0.5, low));
            let (x0, y0) = root.get_base_pixel();
            // Every other one lower, so that long names have room.
            let lower = if at % 2 == 1 { 16 } else { 0 };
            let style = centered(13, VPos::Top);
            let place = (x - x0, y - y0 + 6 + lower);
            root.draw(&Text::new(group.as_str(), place, style))?;
        }
        Ok(())
    }
}

fn short_value(value: f64) -> String {
    match value {
        v if v < 1.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => short(v.round()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Bars, Series};
    use plotters::style::BLUE;

    #[test]
    fn a_chart_names_its_groups_and_its_series_and_shows_every_value() {
        let bars = Bars {
            title: "Title".into(),
            legend: "Legend".into(),
            groups: vec!["get".into(), "insert".into()],
            series: vec![Series {
                name: "somebody".into(),
                color: BLUE,
                values: vec![Some(7.75), None],
            }],
            base: Some(1.0),
        };
        let svg = bars.svg().unwrap();
        for part in [
            "<svg", "Title", "Legend", "get", "insert", "somebody", "7.8",
        ] {
            assert!(svg.contains(part), "{part:?} is missing in\n{svg}");
        }
    }

    #[test]
    fn a_chart_of_nothing_can_be_drawn() {
        let bars = Bars {
            title: "Nothing".into(),
            legend: String::new(),
            groups: vec!["get".into()],
            series: Vec::new(),
            base: None,
        };
        assert!(bars.svg().unwrap().contains("Nothing"));
    }
}
