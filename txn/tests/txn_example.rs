//! The example `union_for_update`: that it passes its own checks, and what it says to bad input.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // its `main` is not called from here
#[path = "../examples/union_for_update/main.rs"]
mod example;

use std::ffi::OsString;
use std::path::PathBuf;

struct Ran {
    code: u8,
    out: String,
    errors: String,
}

fn run(arguments: &[&str]) -> Ran {
    let arguments = std::iter::once("union_for_update")
        .chain(arguments.iter().copied())
        .map(OsString::from);
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = example::run(arguments, &mut out, &mut errors);
    Ran {
        code,
        out: String::from_utf8(out).unwrap(),
        errors: String::from_utf8(errors).unwrap(),
    }
}

/// A file of its own for each test, removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn refused(name: &str, content: &[u8]) -> String {
    let file = File::new(name, content);
    let ran = run(&["--input", file.path()]);
    assert_eq!(ran.code, 2, "{}", ran.errors);
    assert_eq!(ran.out, "");
    ran.errors
}

#[test]
fn a_round_over_the_bundled_table_passes_every_check() {
    let json = File::new("report.json", b"");
    let ran = run(&["--branches", "4", "--rows", "500", "--json", json.path()]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert!(
        ran.out.contains("checks              all passed"),
        "{}",
        ran.out
    );
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&json.0).unwrap()).unwrap();
    assert_eq!(report["final_len"], 500);
    assert_eq!(report["rows_locked"], 500);
    assert_eq!(report["monitor"]["torn"], 0);
    assert!(report["waits"].as_u64().unwrap() >= 1);
    assert!(report["monitor"]["readings"].as_u64().unwrap() >= 1);
}

#[test]
fn a_table_of_ones_own_may_be_small_and_of_uneven_keys() {
    let file = File::new(
        "own.tsv",
        b"k\tone\nlonger key\ttwo\twith a tab\r\na\tthree\n",
    );
    let ran = run(&["--input", file.path(), "--branches", "5"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert!(
        ran.out.contains("final size          12 (counted: 12)"),
        "{}",
        ran.out
    );
}

#[test]
fn a_file_that_is_missing_is_named() {
    let ran = run(&["--input", "no/such/table.tsv"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.errors.contains("cannot read no/such/table.tsv"),
        "{}",
        ran.errors
    );
}

#[test]
fn an_empty_table_is_refused() {
    assert!(refused("empty.tsv", b"").contains("has no rows"));
}

#[test]
fn a_malformed_line_is_named_by_its_number() {
    for (content, line, problem) in [
        (&b"a\tb\nno tab\n"[..], "line 2", "no tab"),
        (b"a\tb\nc\td\n\n", "line 3", "no tab"),
        (b"\tvalue\n", "line 1", "key is empty"),
        (b"a\tb\nkey\t\n", "line 2", "value is empty"),
        (b"a\tb\n\xff\tc\n", "line 2", "not UTF-8"),
    ] {
        let errors = refused("malformed.tsv", content);
        assert!(
            errors.contains(line) && errors.contains(problem),
            "{errors}"
        );
    }
}

#[test]
fn a_duplicate_key_is_named_with_both_lines() {
    let errors = refused("twice.tsv", b"a\t1\nb\t2\na\t3\n");
    assert!(
        errors.contains("line 3") && errors.contains("\"a\" is already on line 1"),
        "{errors}"
    );
}

#[test]
fn more_rows_than_the_file_has_are_refused() {
    let file = File::new("short.tsv", b"a\t1\n");
    let ran = run(&["--input", file.path(), "--rows", "2"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.errors.contains("has 1 rows, 2 were asked for"),
        "{}",
        ran.errors
    );
}

#[test]
fn wrong_options_are_refused() {
    for arguments in [
        &["--rows", "0"][..],
        &["--branches", "0"],
        &["--branches", "many"],
        &["--no-such-option"],
        &["--json", "no/such/folder/report.json", "--rows", "1"],
    ] {
        assert_eq!(run(arguments).code, 2, "{arguments:?}");
    }
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(help.out.contains("--branches"));
}

/// The bundled file is what the generator makes, and what the specification asks for.
#[test]
fn the_bundled_customers_follow_the_rules_of_the_specification() {
    let bundled = include_str!("../examples/union_for_update/customers.tsv");
    let file = File::new("written.tsv", b"");
    assert_eq!(
        run(&["--rows", "3000", "--write-table", file.path()]).code,
        0
    );
    assert!(std::fs::read_to_string(&file.0).unwrap() == bundled);

    let rows: Vec<Vec<&str>> = bundled
        .lines()
        .map(|line| line.split_once('\t').unwrap().1.split('|').collect())
        .collect();
    assert_eq!(rows.len(), 3_000);
    assert!(rows.iter().all(|columns| columns.len() == 18));
    assert_eq!(rows[0][0], "BARBARBAR");
    assert_eq!(rows[371][0], "PRICALLYOUGHT");
    assert_eq!(rows[999][0], "EINGEINGEING");
    assert_eq!(
        rows.iter().filter(|columns| columns[10] == "BC").count(),
        300
    );
    for columns in &rows {
        assert!((8..=16).contains(&columns[1].len()));
        assert_eq!(columns[2], "OE");
        assert!(columns[7].len() == 9 && columns[7].ends_with("11111"));
        assert!(columns[8].len() == 16 && columns[8].bytes().all(|b| b.is_ascii_digit()));
        let discount: f64 = columns[12].parse().unwrap();
        assert!((0.0..=0.5).contains(&discount));
        assert!((300..=500).contains(&columns[17].len()));
    }
    // More rows than are bundled go on by the same rules, the next district first.
    let more = run(&["--rows", "3001", "--write-table", file.path()]);
    assert_eq!(more.code, 0);
    let more = std::fs::read_to_string(&file.0).unwrap();
    assert!(more.starts_with(bundled));
    assert!(
        more.lines()
            .next_back()
            .unwrap()
            .starts_with("customer/0001/02/0001\t")
    );
}
