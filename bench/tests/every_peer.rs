//! Every peer does every workload that it can do, and answers rightly, on every kind of keys. What a peer is known to get
//! wrong is named here.

use std::time::Duration;

use clap::ValueEnum;
use untorn_bench::clock::TimeSource;
use untorn_bench::keys::{KeyKind, Keys};
use untorn_bench::measure::{Observer, Setting};
use untorn_bench::peer::Peer;
use untorn_bench::roster::{PeerKind, WithPeer};
use untorn_bench::run::Outcome;
use untorn_bench::workload::Workload;

struct Checks {
    peer: PeerKind,
    keys: KeyKind,
    done: usize,
}

/// masstree 0.9.5 leaves out the first key of a range if keys in it share their first 8 bytes.
fn is_known_to_fail(peer: PeerKind, keys: KeyKind, workload: Workload) -> bool {
    let shared = matches!(
        keys,
        KeyKind::Record | KeyKind::Sequential | KeyKind::Dictionary
    );
    peer == PeerKind::Masstree && workload == Workload::SeekRandom && shared
}

impl Observer for Checks {
    fn wants(&mut self, workload: Workload) -> bool {
        // Some peers miss keys that another thread overwrites: that is a finding, not a fault of the benchmark.
        workload != Workload::ReadWhileWriting && self.peer.cannot(workload, self.keys).is_none()
    }

    fn heard(&mut self, workload: Workload, outcome: Outcome) {
        let context = format!("{:?}, {:?}, {workload:?}", self.peer, self.keys);
        match outcome {
            Outcome::Timed { ns, wrong } => {
                if !is_known_to_fail(self.peer, self.keys, workload) {
                    assert_eq!(wrong, 0, "wrong answers: {context}");
                }
                assert!(ns > 0.0, "no time: {context}");
            }
            Outcome::OverCap { done, planned } => {
                panic!("over the cap after {done} of {planned}: {context}")
            }
        }
        self.done += 1;
    }
}

struct Pass<'k> {
    setting: Setting<'k>,
    checks: Checks,
}

impl WithPeer for Pass<'_> {
    type Out = usize;
    fn with<P: Peer>(mut self) -> usize {
        self.setting.pass::<P>(&mut self.checks);
        self.checks.done
    }
}

#[test]
fn every_peer_answers_rightly_on_every_kind_of_keys() {
    for kind in KeyKind::value_variants() {
        let keys = Keys::new(*kind, 2_000, 42);
        for peer in PeerKind::value_variants() {
            let possible = Workload::value_variants()
                .iter()
                .filter(|workload| match workload {
                    Workload::Memory | Workload::Empty | Workload::ReadWhileWriting => false,
                    Workload::FillRandom => *kind != KeyKind::Sequential,
                    _ => true,
                })
                .filter(|workload| peer.cannot(**workload, *kind).is_none())
                .count();
            let setting = Setting {
                keys: &keys,
                threads: 1,
                cap: Duration::from_secs(600),
                clock: TimeSource::Wall,
            };
            let checks = Checks {
                peer: *peer,
                keys: *kind,
                done: 0,
            };
            let fits = peer.cannot(Workload::FillSeq, *kind).is_none();
            let done = if fits {
                peer.dispatch(Pass { setting, checks })
            } else {
                0
            };
            assert_eq!(done, possible, "{peer:?} on {kind:?}");
        }
    }
}
