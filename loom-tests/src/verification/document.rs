//! The document, as text.

use super::properties::{PROPERTIES, Property};
use super::record::{Kind, Record, Records};
use super::scenarios::{SCENARIOS, Scenario};
use std::collections::BTreeSet;
use std::path::Path;

/// What stands in the README, between its marks.
pub fn headline(records: &Records) -> String {
    let models = records.of(Kind::Model).count();
    let interleavings = sum(records.of(Kind::Model), "iterations");
    let planted = records.of(Kind::Mutant).count() + records.of(Kind::Planted).count();
    let histories = sum(records.of(Kind::Histories), "checked");
    let fuzzed = sum(records.of(Kind::Fuzz), "runs");
    let mut parts = Vec::new();
    if models > 0 {
        let interleavings = grouped(interleavings);
        parts.push(format!(
            "{models} loom models, {interleavings} interleavings"
        ));
    }
    parts.push(format!("{planted} planted bugs, all found"));
    parts.push(format!("{} histories checked", grouped(histories)));
    parts.push(format!("{} runs of the fuzz targets", grouped(fuzzed)));
    if let Some(soak) = records.of(Kind::Soak).next() {
        let operations = grouped(soak.number("operations"));
        let minutes = soak.number("seconds") / 60;
        parts.push(format!(
            "{operations} operations in a soak of {minutes} minutes"
        ));
    }
    format!("{}.", parts.join("; "))
}

/// The whole document.
pub fn render(records: &Records) -> String {
    let mut text = String::from(HEAD);
    text += &headline(records);
    text += "\n\n## Properties\n\n| property | tool | bound | last count | how to reproduce | what is not covered |\n|---|---|---|---|---|---|\n";
    for property in PROPERTIES {
        text += &row(property, records);
    }
    text += "\n## Races that happened elsewhere\n\nModels by name, then tests with threads.\n\n| | race | looked for by |\n|---|---|---|\n";
    for scenario in &SCENARIOS {
        let by = evidence(scenario, records);
        text += &format!("| S{} | {} | {by} |\n", scenario.number, scenario.what);
    }
    text += "\n## Models\n\n| model | threads | preemptions | interleavings |\n|---|---|---|---|\n";
    for model in records.of(Kind::Model) {
        text += &format!(
            "| `{}` | {} | {} | {} |\n",
            model.name,
            model.field("threads"),
            model.field("preemptions"),
            grouped(model.number("iterations"))
        );
    }
    text += "\n## Planted bugs\n\nWhat is planted, and what has to fail under it and does.\n\n| bug | found by |\n|---|---|\n";
    for mutant in records.of(Kind::Mutant) {
        text += &format!("| `{}` | `{}` |\n", mutant.name, mutant.field("test"));
    }
    for planted in records.of(Kind::Planted) {
        let (bug, report) = (planted.field("bug"), planted.field("report"));
        text += &format!("| `{bug}` | {} sanitizer: {report} |\n", planted.name);
    }
    text += "\n## Histories, sanitizers, fuzzing, soak\n\n| | |\n|---|---|\n";
    for kind in [Kind::Histories, Kind::Sanitizer, Kind::Fuzz, Kind::Soak] {
        for record in records.of(kind) {
            text += &format!("| `{}` | {} |\n", record.name, record.told());
        }
    }
    text
}

const HEAD: &str = "# Verification

What was checked, by which tool and within which bounds. Outside of the bounds nothing is claimed.

This page is made by `cargo run -p untorn-loom-tests --bin verification -- write LOG...` of what the runs print; the lines that it was made
of are in [`verification.records`](verification.records). `.ci/run` fails if names or bounds in its own runs are others than here, or if this
page is not what those lines make. Counts are those of the last run that was written down.

";

fn sum<'r>(records: impl Iterator<Item = &'r Record>, field: &str) -> u64 {
    records.map(|record| record.number(field)).sum()
}

fn belongs(record: &Record, names: &[&str]) -> bool {
    names.iter().any(|name| record.name.starts_with(name))
}

fn row(property: &Property, records: &Records) -> String {
    let found: Vec<_> = records
        .of(property.kind)
        .filter(|record| belongs(record, property.names))
        .collect();
    let span = |field| {
        let all: BTreeSet<u64> = found.iter().map(|record| record.number(field)).collect();
        match (all.first(), all.last()) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            (Some(only), _) => only.to_string(),
            _ => "no".to_owned(),
        }
    };
    let count = |field| grouped(sum(found.iter().copied(), field));
    let (bound, counted) = match property.kind {
        Kind::Model | Kind::Mended => (
            format!(
                "{} threads, {} preemptions",
                span("threads"),
                span("preemptions")
            ),
            format!(
                "{} models, {} interleavings",
                found.len(),
                count("iterations")
            ),
        ),
        Kind::Histories => (
            format!(
                "{} threads of {} operations",
                span("threads"),
                span("operations")
            ),
            format!("{} histories", count("checked")),
        ),
        Kind::Mutant | Kind::Planted => (String::new(), format!("{0} of {0} found", found.len())),
        Kind::Sanitizer => (
            String::new(),
            format!("{} tests, no report", count("tests")),
        ),
        Kind::Fuzz => (
            format!("{} targets, {} s each", found.len(), span("seconds")),
            format!("{} runs", count("runs")),
        ),
        Kind::Soak => (
            format!("{} threads", span("threads")),
            format!(
                "{} rounds, {} operations in {} s",
                count("rounds"),
                count("operations"),
                count("seconds")
            ),
        ),
    };
    let counted = match found.is_empty() {
        true => "not yet run".to_owned(),
        false => counted,
    };
    let bounds = [&bound[..], property.bound];
    let bounds: Vec<_> = bounds
        .into_iter()
        .filter(|bound| !bound.is_empty())
        .collect();
    format!(
        "| {} | {} | {} | {counted} | {} | {} |\n",
        property.claim,
        property.tool,
        bounds.join("; "),
        property.reproduce,
        property.uncovered
    )
}

fn evidence(scenario: &Scenario, records: &Records) -> String {
    let own = ["", "buffer_", "txn_", "lock_"].map(|of| format!("{of}s{}_", scenario.number));
    let names = own.each_ref().map(|name| &name[..]);
    let models = records
        .of(Kind::Model)
        .filter(|model| belongs(model, &names));
    let models = models.map(|model| format!("`{}`", model.name));
    let tests = scenario.tests.iter().map(|(file, test)| {
        let crate_and_file = file.trim_end_matches(".rs").replace("/tests/", "::");
        format!("`{crate_and_file}::{test}`")
    });
    models.chain(tests).collect::<Vec<_>>().join(", ")
}

/// Tests that are named in the document and are not in the tree under `root`.
pub fn missing_tests(root: &Path) -> Vec<String> {
    let tests = SCENARIOS.iter().flat_map(|scenario| scenario.tests);
    let is_there = |file: &str, test: &str| {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        text.contains(&format!("fn {test}("))
    };
    tests
        .filter(|(file, test)| !is_there(file, test))
        .map(|(file, test)| format!("{test} in {file}"))
        .collect()
}

/// Races that nothing looks for.
pub fn forgotten(records: &Records) -> Vec<String> {
    let forgotten = SCENARIOS
        .iter()
        .filter(|scenario| evidence(scenario, records).is_empty());
    forgotten
        .map(|scenario| format!("S{}", scenario.number))
        .collect()
}

/// Records that no row of the table counts.
pub fn uncounted(records: &Records) -> Vec<String> {
    let counted = |record: &&Record| {
        let mut rows = PROPERTIES.iter();
        rows.any(|row| row.kind == record.kind && belongs(record, row.names))
    };
    let all = Kind::ALL.into_iter().flat_map(|kind| records.of(kind));
    all.filter(|record| !counted(record))
        .map(|record| record.name.clone())
        .collect()
}

/// With commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn every_test_that_is_named_is_there() {
        assert_eq!(missing_tests(root()), Vec::<String>::new());
    }

    #[test]
    fn thousands_are_set_apart() {
        let told = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(told, ["0", "999", "1,000", "1,234,567"]);
    }
}
