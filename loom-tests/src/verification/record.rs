//! What a check prints of itself.

use std::collections::{BTreeMap, BTreeSet};

/// What kind of evidence it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A loom model that was explored to its end.
    Model,
    /// The same on a mended loom, within a lower bound.
    Mended,
    /// A planted bug that a model found.
    Mutant,
    /// A test under a sanitizer.
    Sanitizer,
    /// A planted bug that a sanitizer reported.
    Planted,
    /// Histories that a checker found right, or wrong where they have to be.
    Histories,
    /// A fuzz target that found nothing.
    Fuzz,
    /// A soak that saw nothing wrong.
    Soak,
}

impl Kind {
    /// In the order of the document.
    pub const ALL: [Kind; 8] = [
        Kind::Model,
        Kind::Mended,
        Kind::Mutant,
        Kind::Sanitizer,
        Kind::Planted,
        Kind::Histories,
        Kind::Fuzz,
        Kind::Soak,
    ];

    /// The word that its lines begin with.
    fn word(self) -> &'static str {
        match self {
            Kind::Model => "MODEL",
            Kind::Mended => "MENDED",
            Kind::Mutant => "MUTANT",
            Kind::Sanitizer => "SANITIZER",
            Kind::Planted => "PLANTED",
            Kind::Histories => "HISTORIES",
            Kind::Fuzz => "FUZZ",
            Kind::Soak => "SOAK",
        }
    }

    /// The fields that say how far it looked; the others count.
    fn bounds(self) -> &'static [&'static str] {
        match self {
            Kind::Model | Kind::Mended => &["threads", "preemptions"],
            Kind::Mutant => &["test"],
            Kind::Sanitizer => &["reports"],
            Kind::Planted => &["bug", "report"],
            Kind::Histories => &["threads", "operations"],
            Kind::Fuzz => &[],
            Kind::Soak => &["threads"],
        }
    }

    /// What a line has to say so that it is evidence.
    fn success(self) -> (&'static str, &'static str) {
        match self {
            Kind::Model | Kind::Mended => ("complete", "true"),
            Kind::Mutant => ("caught", "true"),
            Kind::Sanitizer => ("reports", "0"),
            Kind::Planted => ("reported", "true"),
            Kind::Histories => ("as_expected", "true"),
            Kind::Fuzz | Kind::Soak => ("clean", "true"),
        }
    }
}

/// One line of evidence: `KIND name field=value ...`, and words after a colon that mean nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What kind of evidence it is.
    pub kind: Kind,
    /// Of the model, bug, test.
    pub name: String,
    line: String,
    fields: BTreeMap<String, String>,
}

impl Record {
    /// A line of evidence, wherever in the line it begins; nothing for every other line, and for one that tells of a failure.
    pub fn read(line: &str) -> Option<Record> {
        let (kind, at) = Kind::ALL
            .into_iter()
            .find_map(|kind| Some((kind, line.find(&format!("{} ", kind.word()))?)))?;
        let line = line[at..].trim_end();
        let line = line.split_once(": ").map_or(line, |(evidence, _)| evidence);
        let mut words = line.split_whitespace().skip(1);
        let name = words.next()?.to_owned();
        let fields: BTreeMap<_, _> = words
            .filter_map(|word| word.split_once('='))
            .map(|(field, value)| (field.to_owned(), value.to_owned()))
            .collect();
        let (field, value) = kind.success();
        let record = Record {
            kind,
            name,
            line: line.to_owned(),
            fields,
        };
        (record.field(field) == value).then_some(record)
    }

    /// The field's value; empty if it has none.
    pub fn field(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    /// The field as a number; 0 if it is none.
    pub fn number(&self, field: &str) -> u64 {
        self.field(field).parse().unwrap_or_default()
    }

    /// The fields as they were printed.
    pub fn told(&self) -> String {
        let words = self.line.split_whitespace().skip(2);
        words.collect::<Vec<_>>().join(" ")
    }

    /// What is run as a whole or not at all: all of a kind, but one sanitizer goes without the other.
    pub(super) fn run(&self) -> (Kind, &str) {
        match self.kind {
            Kind::Sanitizer | Kind::Planted => (self.kind, &self.name),
            kind => (kind, ""),
        }
    }

    /// Kind, name and bounds.
    fn bound(&self) -> String {
        let bounds = self.kind.bounds().iter();
        let bounds = bounds.map(|field| format!(" {field}={}", self.field(field)));
        format!(
            "{} {}{}",
            self.kind.word(),
            self.name,
            bounds.collect::<String>()
        )
    }
}

/// The evidence of a run, or what is committed of the last ones.
#[derive(Debug, Default)]
pub struct Records(Vec<Record>);

impl Records {
    /// All lines of evidence in the text; of those with the same name and bounds the last one.
    pub fn read(text: &str) -> Records {
        let by_bound: BTreeMap<_, _> = text
            .lines()
            .filter_map(Record::read)
            .map(|record| ((record.kind, record.bound()), record))
            .collect();
        Records(by_bound.into_values().collect())
    }

    /// Those of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Record> {
        self.0.iter().filter(move |record| record.kind == kind)
    }

    /// What was run as a whole.
    pub(super) fn runs(&self) -> BTreeSet<(Kind, &str)> {
        self.0.iter().map(Record::run).collect()
    }

    /// Names and bounds of what was run together.
    pub(super) fn bounds(&self, run: (Kind, &str)) -> BTreeSet<String> {
        let of_run = self.0.iter().filter(|record| record.run() == run);
        of_run.map(Record::bound).collect()
    }

    /// Takes over what was run, each run as a whole.
    pub fn take_over(&mut self, run: Records) {
        let ran = run.runs();
        self.0.retain(|record| !ran.contains(&record.run()));
        self.0.extend(run.0);
        self.0.sort_by_key(|record| (record.kind, record.bound()));
    }

    /// The lines, in order.
    pub fn text(&self) -> String {
        let lines = self.0.iter();
        lines.map(|record| format!("{}\n", record.line)).collect()
    }
}
