//! Seed and length of a run, from the environment.

use rand::RngExt;
use std::time::Duration;

/// `STRESS_SEED`, or a random one. Printed, so that it can be repeated.
pub fn seed() -> u64 {
    let seed = std::env::var("STRESS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("STRESS_SEED={seed}");
    seed
}

/// `STRESS_MILLIS`, or a second.
pub fn duration() -> Duration {
    let millis = std::env::var("STRESS_MILLIS").ok();
    Duration::from_millis(millis.and_then(|text| text.parse().ok()).unwrap_or(1000))
}
