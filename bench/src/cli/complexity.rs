//! `complexity`: whether operations stay as cheap however often they are done.

use std::time::Duration;

use untorn_bench::complexity::{self, FEWEST, Plan};
use untorn_bench::environment::Machine;

use super::Failure;
use super::options::Json;

/// One thread. Ends well whatever comes out: what grows is marked.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// The largest number of operations; the smallest is 500, and each is twice the one before.
    #[arg(long, default_value_t = 32_000, value_parser = clap::value_parser!(u64).range(FEWEST..=1 << 30))]
    most: u64,
    /// Only forms whose name has this in it.
    #[arg(long)]
    only: Option<String>,
    /// A form that took more seconds than this is not done more often.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    cap: u64,
    #[command(flatten)]
    json: Json,
}

impl Args {
    /// Does the forms, prints, writes.
    pub fn run(self) -> Result<(), Failure> {
        println!("{}", Machine::here());
        let plan = Plan {
            most: self.most,
            only: self.only,
            cap: Duration::from_secs(self.cap),
        };
        let report = plan.run();
        print!("{}", complexity::render(&report));
        self.json.write(&report)
    }
}
