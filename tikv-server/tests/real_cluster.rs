//! The promises of a store and the main job on a real cluster, named by `TIKV_PD`; nothing where that is not set.
//!
//! ```text
//! tiup playground --mode tikv-slim
//! TIKV_PD=127.0.0.1:2379 cargo test -p untorn-tikv-server --test real_cluster
//! ```
//!
//! With `TIKV_SHARED_LOCKS=1` shared locks too, which need TiKV 8.5.8. Everything that is written there begins with `conformance/` or
//! `union_for_update/`.

#[allow(dead_code)] // its `main` is not called from here
#[path = "../../txn/examples/union_for_update/main.rs"]
mod example;

use std::ffi::OsString;
use std::process::ExitCode;
use untorn_txn::store::conformance;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};

/// The promises that are not kept.
fn broken_promises(pd: &str) -> Vec<&'static str> {
    let has_shared_locks = std::env::var_os("TIKV_SHARED_LOCKS").is_some();
    // The suite looks at transactions between their phases.
    let options = TikvOptions::default()
        .async_commit(false)
        .one_phase(false)
        .shared_locks(has_shared_locks);
    let connected = || match TikvStore::connect_blocking(pd.split(','), options.clone()) {
        Ok(store) => store,
        Err(error) => panic!("{error}"),
    };
    let mut failed = conformance::check(connected);
    failed.retain(|case| has_shared_locks || !case.starts_with("a_shared_"));
    failed
}

/// What the main job says, if it fails.
fn failed_job(pd: &str) -> Option<String> {
    let arguments = ["union_for_update", "--store", "tikv", "--pd", pd];
    let size = ["--branches", "4", "--rows", "2000"];
    let arguments = arguments.iter().chain(&size).map(OsString::from);
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = example::run(arguments, &mut out, &mut errors);
    (code != 0).then(|| {
        let said = [out, errors].concat();
        format!("{code}: {}", String::from_utf8_lossy(&said))
    })
}

fn main() -> ExitCode {
    let Ok(pd) = std::env::var("TIKV_PD") else {
        println!("real_cluster: skipped, TIKV_PD names no cluster");
        return ExitCode::SUCCESS;
    };
    let broken = broken_promises(&pd);
    println!(
        "{} promises, broken are {broken:?}",
        conformance::CASES.len()
    );
    let failed = failed_job(&pd);
    println!(
        "union_for_update: {}",
        failed.as_deref().unwrap_or("passed")
    );
    if broken.is_empty() && failed.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
