//! The main job on a cluster whose regions split while it runs.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // its `main` is not called from here
#[path = "../../txn/examples/union_for_update/main.rs"]
mod example;

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use untorn_tikv_server::Cluster;

struct Ran {
    code: u8,
    out: String,
    errors: String,
}

fn run(arguments: &[&str]) -> Ran {
    let arguments = ["union_for_update", "--store", "tikv"]
        .iter()
        .chain(arguments);
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = example::run(arguments.map(OsString::from), &mut out, &mut errors);
    Ran {
        code,
        out: String::from_utf8(out).unwrap(),
        errors: String::from_utf8(errors).unwrap(),
    }
}

#[test]
fn nothing_is_lost_and_the_counts_are_equal_while_two_regions_split() {
    let cluster = Cluster::start(3).unwrap();
    // Two regions to begin with: the first district's customers on either side.
    assert!(cluster.split("union_for_update/"));
    let is_done = AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Regions are cut at keys that are locked, and change their leaders: a dozen of them, while the rows are loaded and
            // locked.
            while !is_done.load(Ordering::Acquire) && cluster.regions() < 12 {
                let locks = cluster.locks();
                if let Some(lock) = locks.get(locks.len() / 2)
                    && cluster.split(lock.key.clone())
                {
                    cluster.transfer_leader(&lock.key);
                }
                std::thread::yield_now();
            }
        });
        let ran = run(&[
            "--pd",
            &cluster.pd_endpoint(),
            "--branches",
            "4",
            "--rows",
            "2000",
        ]);
        is_done.store(true, Ordering::Release);
        ran
    });
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.errors);
    assert!(
        ran.out.contains("checks              all passed"),
        "{}",
        ran.out
    );
    println!("{} regions\n{}", cluster.regions(), ran.out);
    assert!(cluster.regions() >= 4, "they split while it ran");
}

#[test]
fn without_a_cluster_it_says_so_and_ends_with_2() {
    let ran = run(&["--pd", "no address at all"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.errors.contains("no address"), "{}", ran.errors);
    let ran = run(&[]);
    assert_eq!(ran.code, 2);
    assert!(ran.errors.contains("--pd"), "{}", ran.errors);
}

#[test]
fn it_runs_on_an_encrypted_cluster_with_the_files_of_its_certificates() {
    let cluster = Cluster::start_encrypted(2).unwrap();
    let directory = tempfile::tempdir().unwrap();
    cluster.write_certificates(&directory).unwrap();
    let file = |name| directory.path().join(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client-key.pem"));
    let endpoint = cluster.pd_endpoint();
    let job = ["--pd", &endpoint, "--branches", "2", "--rows", "500"];
    let ran = run(&[&job[..], &["--ca", &ca, "--cert", &cert, "--key", &key]].concat());
    assert_eq!(ran.code, 0, "{}", ran.errors);
    let ran = run(&[&job[..], &["--ca", "/nonexistent/ca.pem"]].concat());
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.errors.contains("No such file"), "{}", ran.errors);
}
