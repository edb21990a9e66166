//! Every planted bug has to make its model fail.

use untorn_loom_tests::{Outcome, run_planted};

/// One bug a line, `mutant test`: what is planted, and the test that has to fail.
const MUTANTS: &str = include_str!("../../MUTANTS");

#[test]
fn every_mutant_is_caught() {
    let mut all = 0;
    let mut caught = 0;
    for line in MUTANTS.lines() {
        let (mutant, test) = line.split_once(' ').expect("`mutant test`");
        all += 1;
        match run_planted(mutant, test) {
            Outcome::Caught(how) => {
                caught += 1;
                println!("MUTANT {mutant} test={test} caught=true: {how}");
            }
            Outcome::Survived(why) => println!("MUTANT {mutant} test={test} SURVIVED: {why}"),
        }
    }
    println!("mutants: {caught} of {all} caught");
    assert!(all > 0, "no mutants");
    assert_eq!(caught, all, "a planted bug was not found");
}
