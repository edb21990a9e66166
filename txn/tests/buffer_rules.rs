//! The tests that `docs/BUFFER.md` names exist.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the tests of a name's file are.
fn source(root: &Path, file: &str) -> PathBuf {
    match file.strip_prefix("src/") {
        Some(inside) => root.join("src/buffer").join(inside).with_extension("rs"),
        None => {
            let alone = root.join("tests").join(file).with_extension("rs");
            let folder = root.join("tests").join(file).join("main.rs");
            if alone.exists() { alone } else { folder }
        }
    }
}

#[test]
fn each_rule_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/BUFFER.md")).unwrap();
    let mut named = BTreeSet::new();
    for rule in page.lines().filter(|line| line.starts_with("| ")) {
        let names: Vec<_> = rule
            .split('`')
            .filter_map(|word| word.split_once("::"))
            .collect();
        let is_heading = rule.contains("| held by |");
        assert!(is_heading || !names.is_empty(), "held by nothing: {rule}");
        named.extend(names);
    }
    for (file, test) in &named {
        let path = source(root, file);
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let test = format!("fn {test}()");
        let is_there = text.contains(&format!("#[test]\n{test}"));
        assert!(is_there, "{} has no test {test}", path.display());
    }
    println!("{} tests hold the rules", named.len());
}
