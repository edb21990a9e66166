//! Hands the build's flags to the programs, so that every report can name them.

use std::env;
use std::process::Command;

fn main() {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .unwrap_or_else(|| "rustc of unknown version".into());
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let flags = if flags.is_empty() {
        "none".into()
    } else {
        flags.replace('\u{1f}', " ")
    };
    println!("cargo:rustc-env=BENCH_RUSTC={}", version.trim());
    println!("cargo:rustc-env=BENCH_RUSTFLAGS={flags}");
    for (name, from) in [
        ("BENCH_PROFILE", "PROFILE"),
        ("BENCH_OPT_LEVEL", "OPT_LEVEL"),
        ("BENCH_TARGET", "TARGET"),
    ] {
        let value = env::var(from).unwrap_or_else(|_| "unknown".into());
        println!("cargo:rustc-env={name}={value}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
