//! `cargo run -p untorn-loom-tests --bin verification -- check|write LOG...`: see `untorn_loom_tests::verification`.
//!
//! `check` compares the logs of runs with what is committed, and the document with what it is made of. `write` takes the logs
//! over, kind by kind, and makes the document and the README's line anew.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};
use untorn_loom_tests::verification::{Records, compare, document};

const BEGIN: &str = "<!-- verification -->\n";
const END: &str = "<!-- end of verification -->";

struct Paths {
    records: PathBuf,
    document: PathBuf,
    readme: PathBuf,
}

/// The README with the line in its place.
fn with_headline(readme: &str, headline: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{headline}\n{END}{after}"))
}

fn run(command: &str, logs: &[String], paths: &Paths) -> io::Result<Vec<String>> {
    let mut records = Records::read(&fs::read_to_string(&paths.records)?);
    let mut run = String::new();
    for log in logs {
        run += &fs::read_to_string(log)?;
    }
    let run = Records::read(&run);
    let mut wrong = Vec::new();
    match command {
        "write" => {
            records.take_over(run);
            fs::write(&paths.records, records.text())?;
            fs::write(&paths.document, document::render(&records))?;
            let readme = fs::read_to_string(&paths.readme)?;
            match with_headline(&readme, &document::headline(&records)) {
                Some(readme) => fs::write(&paths.readme, readme)?,
                None => wrong.push(format!("the README has no place for the headline: {BEGIN}")),
            }
        }
        "check" => {
            let told = compare(&records, &run);
            wrong.extend(told.iter().map(ToString::to_string));
            for uncounted in document::uncounted(&records) {
                wrong.push(format!("no row of the table counts {uncounted}"));
            }
            for forgotten in document::forgotten(&records) {
                wrong.push(format!("nothing looks for {forgotten}"));
            }
            if fs::read_to_string(&paths.document)? != document::render(&records) {
                wrong.push(
                    "docs/VERIFICATION.md is not what docs/verification.records makes".into(),
                );
            }
            let readme = fs::read_to_string(&paths.readme)?;
            if with_headline(&readme, &document::headline(&records)) != Some(readme) {
                wrong.push("the README's line is not what docs/verification.records makes".into());
            }
        }
        _ => wrong.push(format!("check or write, not {command}")),
    }
    Ok(wrong)
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let paths = Paths {
        records: root.join("docs/verification.records"),
        document: root.join("docs/VERIFICATION.md"),
        readme: root.join("README.md"),
    };
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (command, logs) = arguments
        .split_first()
        .map_or(("", &[][..]), |(command, logs)| (command, logs));
    match run(command, logs, &paths) {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            for what in wrong {
                eprintln!("verification: {what}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("verification: {error}");
            ExitCode::FAILURE
        }
    }
}
