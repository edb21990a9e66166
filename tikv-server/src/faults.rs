//! What goes wrong, on command or drawn from a seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use untorn_txn::store::tikv::proto::errorpb::{
    self, RaftEntryTooLarge, RegionNotFound, ServerIsBusy, StaleCommand,
};

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// None: the request is spared, and what was asked for behind this meets the next.
    Spared,
    /// It is lost: not carried out, and the connection fails.
    LostRequest,
    /// It is carried out, and the connection fails.
    LostAnswer,
    /// It is carried out twice; the second answer is told.
    Duplicate,
    /// It is carried out later.
    Delay(Duration),
    /// The region is too busy for it.
    Busy,
    /// The store does not know the region; PD knows none for the key.
    RegionNotFound,
    /// PD knows nobody who has a copy of the region.
    NoPeers,
    /// The region says that the request is stale.
    StaleCommand,
    /// The log of the region does not take so much at once.
    TooLarge,
}

impl Fault {
    const DRAWN: [Fault; 7] = [
        Fault::LostRequest,
        Fault::LostAnswer,
        Fault::Duplicate,
        Fault::Delay(Duration::from_millis(3)),
        Fault::Busy,
        Fault::RegionNotFound,
        Fault::StaleCommand,
    ];

    /// The error of a region that refuses.
    pub(crate) fn refusal(self) -> Option<errorpb::Error> {
        match self {
            Fault::Busy => Some(errorpb::Error {
                server_is_busy: Some(ServerIsBusy {
                    reason: "as planned".to_owned(),
                    backoff_ms: 1,
                }),
                ..errorpb::Error::default()
            }),
            Fault::RegionNotFound => Some(errorpb::Error {
                region_not_found: Some(RegionNotFound { region_id: 0 }),
                ..errorpb::Error::default()
            }),
            Fault::StaleCommand => Some(errorpb::Error {
                stale_command: Some(StaleCommand {}),
                ..errorpb::Error::default()
            }),
            Fault::TooLarge => Some(errorpb::Error {
                raft_entry_too_large: Some(RaftEntryTooLarge {
                    region_id: 1,
                    entry_size: 9 << 20,
                }),
                ..errorpb::Error::default()
            }),
            _ => None,
        }
    }
}

/// The faults to come.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    asked_for: HashMap<String, VecDeque<Fault>>,
    lasting: HashMap<String, Fault>,
    drawn: Option<(StdRng, f64)>,
    happened: u64,
}

impl Faults {
    pub(crate) fn ask_for(&mut self, method: &str, fault: Fault) {
        self.asked_for
            .entry(method.to_owned())
            .or_default()
            .push_back(fault);
    }

    /// From now on every request of a method meets a fault, unless another one was asked for.
    pub(crate) fn last(&mut self, method: &str, fault: Fault) {
        self.lasting.insert(method.to_owned(), fault);
    }

    /// From now on a request meets a fault with this chance.
    pub(crate) fn draw_from(&mut self, seed: u64, chance: f64) {
        self.drawn = Some((StdRng::seed_from_u64(seed), chance));
    }

    /// What befalls a request to a store.
    pub(crate) fn next(&mut self, method: &str) -> Option<Fault> {
        let fault = self.planned(method).or_else(|| {
            let (rng, chance) = self.drawn.as_mut()?;
            rng.random_bool(*chance)
                .then(|| Fault::DRAWN[rng.random_range(0..Fault::DRAWN.len())])
        });
        self.happens(fault)
    }

    /// What befalls a request to PD: nothing is drawn for it.
    pub(crate) fn next_of_pd(&mut self, method: &str) -> Option<Fault> {
        let fault = self.planned(method);
        self.happens(fault)
    }

    fn planned(&mut self, method: &str) -> Option<Fault> {
        let asked_for = self.asked_for.get_mut(method).and_then(VecDeque::pop_front);
        asked_for.or_else(|| self.lasting.get(method).copied())
    }

    fn happens(&mut self, fault: Option<Fault>) -> Option<Fault> {
        let fault = fault.filter(|fault| *fault != Fault::Spared);
        self.happened += u64::from(fault.is_some());
        fault
    }

    /// No more faults.
    pub(crate) fn end(&mut self) {
        self.asked_for.clear();
        self.lasting.clear();
        self.drawn = None;
    }

    pub(crate) fn happened(&self) -> u64 {
        self.happened
    }
}
