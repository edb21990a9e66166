//! The targets as a table for people.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::{Measured, Target};

/// The table for people; valid Markdown.
pub fn render(targets: &[Target]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["what", "target", "measured", "spread", "met"]);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    for target in targets {
        let (value, spread, met) = match &target.measured {
            None => (String::new(), String::new(), "not measured"),
            Some(measured) => (
                shown(measured),
                measured
                    .spread
                    .map_or_else(String::new, |spread| format!("{:.0}%", spread * 100.0)),
                if measured.met { "yes" } else { "**no**" },
            ),
        };
        table.add_row([
            Cell::new(&target.what),
            Cell::new(&target.wanted),
            right(value),
            right(spread),
            Cell::new(met),
        ]);
    }
    let measured = || targets.iter().filter_map(|target| target.measured);
    let met = measured().filter(|measured| measured.met).count();
    format!(
        "{table}\n\n{met} of {} measured targets are met.\n",
        measured().count()
    )
}

fn shown(measured: &Measured) -> String {
    let unit = measured.unit;
    match measured.value {
        value if unit == "x" => format!("{value:.2}x"),
        value if unit == "%" => format!("{value:.1}%"),
        value => format!("{value:.0}{unit}"),
    }
}
