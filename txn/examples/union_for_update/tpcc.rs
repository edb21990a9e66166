//! Rows of the CUSTOMER table of TPC-C, made by the rules of the specification.
//!
//! Revision 5.11, clauses 4.3.2 (a-strings, n-strings, last names, zip codes) and 4.3.3.1 (the table).
//! Every district has 3,000 customers and a generator of its own, seeded from the seed, the warehouse
//! and the district: the first rows are the same however many are asked for.

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::index;
use rand::{RngExt, SeedableRng};

/// Customers of one district (clause 4.3.3.1).
pub const CUSTOMERS_PER_DISTRICT: usize = 3_000;
/// Districts of one warehouse (clause 1.3.1).
pub const DISTRICTS_PER_WAREHOUSE: usize = 10;
/// Seed of the bundled table.
pub const SEED: u64 = 40_355;

/// Clause 4.3.2.3: a last name is three of these, one per decimal digit.
const SYLLABLES: [&str; 10] = [
    "BAR", "OUGHT", "ABLE", "PRI", "PRES", "ESE", "ANTI", "CALLY", "ATION", "EING",
];
/// The time at which the table was populated; a constant, so that the rows are reproducible.
const SINCE: &str = "2026-01-01 00:00:00";

/// The first `rows` customers as `(key, value)`, in key order.
///
/// The key is `customer/WWWW/DD/CCCC`; the value has the remaining columns, parted by `|`.
pub fn customers(seed: u64, rows: usize) -> impl Iterator<Item = (String, String)> {
    let districts = rows.div_ceil(CUSTOMERS_PER_DISTRICT);
    // Clause 2.1.6: one constant for the whole load of C_LAST.
    let c_load = Xoshiro256PlusPlus::seed_from_u64(seed).random_range(0..=255);
    (0..districts)
        .flat_map(move |n| {
            let warehouse = n / DISTRICTS_PER_WAREHOUSE + 1;
            let district = n % DISTRICTS_PER_WAREHOUSE + 1;
            self::district(seed, c_load, warehouse, district)
        })
        .take(rows)
}

fn district(seed: u64, c_load: u32, warehouse: usize, district: usize) -> Vec<(String, String)> {
    let own = seed ^ ((warehouse as u64) << 40) ^ ((district as u64) << 32);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(own);
    let mut bad_credit = vec![false; CUSTOMERS_PER_DISTRICT];
    for row in index::sample(
        &mut rng,
        CUSTOMERS_PER_DISTRICT,
        CUSTOMERS_PER_DISTRICT / 10,
    ) {
        bad_credit[row] = true;
    }
    (0..CUSTOMERS_PER_DISTRICT)
        .map(|row| {
            let number = if row < 1_000 {
                row as u32
            } else {
                nu_rand(&mut rng, 255, 0, 999, c_load)
            };
            let value = [
                last_name(number),
                a_string(&mut rng, 8, 16),
                "OE".to_owned(),
                a_string(&mut rng, 10, 20),
                a_string(&mut rng, 10, 20),
                a_string(&mut rng, 10, 20),
                a_string(&mut rng, 2, 2),
                format!("{}11111", n_string(&mut rng, 4)),
                n_string(&mut rng, 16),
                SINCE.to_owned(),
                if bad_credit[row] { "BC" } else { "GC" }.to_owned(),
                "50000.00".to_owned(),
                format!("0.{:04}", rng.random_range(0..=5_000)),
                "-10.00".to_owned(),
                "10.00".to_owned(),
                "1".to_owned(),
                "0".to_owned(),
                a_string(&mut rng, 300, 500),
            ]
            .join("|");
            (
                format!("customer/{warehouse:04}/{district:02}/{:04}", row + 1),
                value,
            )
        })
        .collect()
}

/// Clause 4.3.2.3.
fn last_name(number: u32) -> String {
    [number / 100, number / 10, number]
        .map(|digit| SYLLABLES[(digit % 10) as usize])
        .concat()
}

/// Clause 2.1.6: the non-uniform random number.
fn nu_rand(rng: &mut impl RngExt, a: u32, x: u32, y: u32, c: u32) -> u32 {
    ((rng.random_range(0..=a) | rng.random_range(x..=y)) + c) % (y - x + 1) + x
}

/// Clause 4.3.2.2: random alphanumeric characters.
fn a_string(rng: &mut impl RngExt, shortest: usize, longest: usize) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let length = rng.random_range(shortest..=longest);
    (0..length)
        .map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())]))
        .collect()
}

/// Clause 4.3.2.2: random decimal digits.
fn n_string(rng: &mut impl RngExt, length: usize) -> String {
    (0..length)
        .map(|_| char::from(b'0' + rng.random_range(0..10_u8)))
        .collect()
}
