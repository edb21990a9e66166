//! A union of `SELECT ... FOR UPDATE` on one transaction, watched while it runs.
//!
//! The scene of a data race that a distributed database once had: a `UNION` runs its branches in parallel, each
//! locks rows through the *same* transaction, and so writes into its buffer, while other threads ask that buffer
//! for its length. Here every branch is a thread that locks key ranges which overlap with its neighbours'; a
//! monitor reads length, size and dirtiness all the time and checks every reading; a second transaction holds
//! some of the rows and makes branches wait. In the end everything is counted again, independently.
//!
//! ```text
//! cargo run --release --example union_for_update -- --branches 8 --seconds 5
//! cargo run --release -p untorn-txn --features tikv --example union_for_update -- --store tikv --pd 127.0.0.1:2379
//! ```
//!
//! Exit code 0: every check passed. 1: one failed, or a branch did. 2: the table or an option is wrong, or there is no cluster.

mod branch;
mod competitor;
mod ground;
mod monitor;
mod options;
mod report;
mod round;
mod table;
mod tpcc;

use clap::Parser;
use options::Options;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(run(
        std::env::args_os(),
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    ))
}

/// Runs with these arguments, the program's name first. Gives the exit code.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> u8 {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            // Nothing is left to tell it to if this fails.
            let _ = write!(errors, "{error}");
            return 2;
        }
        Err(help) => {
            let _ = write!(out, "{help}");
            return 0;
        }
    };
    let (code, result) = if let Some(path) = &options.write_table {
        (2, write_table(path, options.rows))
    } else {
        match prepared(&options) {
            Err(error) => (2, Err(error)),
            Ok(Prepared { ground, rows, json }) => (
                1,
                round::run_all(&options, &ground, &rows, out).and_then(|summary| {
                    write!(out, "{summary}")?;
                    if let Some(mut json) = json {
                        serde_json::to_writer_pretty(&mut json, &summary)?;
                        writeln!(json)?;
                    }
                    summary.verdict()
                }),
            ),
        }
    };
    match result {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(errors, "error: {error}");
            code
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is to be known before anything runs.
struct Prepared {
    ground: ground::Ground,
    rows: Vec<table::Row>,
    /// Where the report goes.
    json: Option<std::fs::File>,
}

fn prepared(options: &Options) -> Result<Prepared, Failure> {
    let rows = table::load(options.input.as_deref(), options.rows)?;
    let json = match &options.json {
        None => None,
        Some(path) => Some(
            std::fs::File::create(path)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?,
        ),
    };
    Ok(Prepared {
        ground: ground::Ground::of(options)?,
        rows,
        json,
    })
}

fn write_table(path: &std::path::Path, rows: Option<usize>) -> Result<(), Failure> {
    let mut file = std::io::BufWriter::new(
        std::fs::File::create(path)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?,
    );
    let rows = rows.unwrap_or(tpcc::CUSTOMERS_PER_DISTRICT);
    for (key, value) in tpcc::customers(tpcc::SEED, rows) {
        writeln!(file, "{key}\t{value}")?;
    }
    Ok(file.flush()?)
}
