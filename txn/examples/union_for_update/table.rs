//! The table to lock: where its rows come from, and what is wrong with a file that is not one.

use super::tpcc;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// 3,000 customers: one district of TPC-C, as `tpcc::customers(tpcc::SEED, 3_000)` makes them.
const BUNDLED: &str = include_str!("customers.tsv");

/// One row: key and value.
pub type Row = (String, String);

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{name} has no rows")]
    Empty { name: String },
    #[error("{name}, line {line}: {problem}")]
    Malformed {
        name: String,
        line: usize,
        problem: &'static str,
    },
    #[error("{name}, line {line}: the key {key:?} is already on line {first}")]
    DuplicateKey {
        name: String,
        line: usize,
        first: usize,
        key: String,
    },
    #[error("{name} has {found} rows, {wanted} were asked for")]
    TooFew {
        name: String,
        found: usize,
        wanted: usize,
    },
}

/// The rows to lock, in key order: the first `rows` of `input`, or of the bundled table.
///
/// The bundled table goes on beyond its end by the same rules; a file does not.
pub fn load(input: Option<&Path>, rows: Option<usize>) -> Result<Vec<Row>, TableError> {
    let (name, mut table) = match input {
        Some(path) => {
            let name = path.display().to_string();
            let bytes = fs::read(path).map_err(|source| TableError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
            let table = parse(&name, &bytes)?;
            (name, table)
        }
        None => {
            let name = "the bundled table".to_owned();
            let mut table = parse(&name, BUNDLED.as_bytes())?;
            let known = table.len();
            if let Some(rows) = rows.filter(|&rows| rows > known) {
                table.extend(tpcc::customers(tpcc::SEED, rows).skip(known));
            }
            (name, table)
        }
    };
    if let Some(wanted) = rows {
        if wanted > table.len() {
            return Err(TableError::TooFew {
                name,
                found: table.len(),
                wanted,
            });
        }
        table.truncate(wanted);
    }
    if table.is_empty() {
        return Err(TableError::Empty { name });
    }
    table.sort_unstable();
    Ok(table)
}

/// One row a line, `key<TAB>value`; the value may hold further tabs.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Row>, TableError> {
    let malformed = |line: usize, problem| TableError::Malformed {
        name: name.to_owned(),
        line,
        problem,
    };
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let mut rows: Vec<Row> = Vec::with_capacity(lines.len());
    let mut seen = HashSet::with_capacity(lines.len());
    for (at, line) in lines.into_iter().enumerate() {
        let number = at + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text =
            std::str::from_utf8(line).map_err(|_| malformed(number, "the text is not UTF-8"))?;
        let (key, value) = text
            .split_once('\t')
            .ok_or_else(|| malformed(number, "there is no tab between key and value"))?;
        if key.is_empty() {
            return Err(malformed(number, "the key is empty"));
        }
        if value.is_empty() {
            return Err(malformed(number, "the value is empty"));
        }
        if !seen.insert(key) {
            return Err(TableError::DuplicateKey {
                name: name.to_owned(),
                line: number,
                first: rows
                    .iter()
                    .position(|(earlier, _)| earlier == key)
                    .map_or(number, |at| at + 1),
                key: key.to_owned(),
            });
        }
        rows.push((key.to_owned(), value.to_owned()));
    }
    if rows.is_empty() {
        return Err(TableError::Empty {
            name: name.to_owned(),
        });
    }
    Ok(rows)
}
