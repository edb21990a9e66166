//! Any order of the steps of calls, over a store that grants, denies, loses and gives back as it likes: a lock that may
//! be committed names a primary that is held, and nothing stays that nobody wants, room in the buffer neither.

use super::key::Place;
use super::*;
use crate::buffer::MemBuffer;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Bytes that the buffer has room for: more than are ever reserved.
const LIMIT: usize = 100;

fn hold(attempt: u64, mode: LockMode) -> Hold {
    Hold {
        attempt,
        mode,
        known: Known::Unknown,
        for_update_ts: 1,
        conflict_ts: None,
    }
}

fn pending(round: u64, buffer: &MemBuffer) -> Pending {
    Pending {
        round,
        room: buffer.reserve(&["k"]).expect("there is room").into_owned(),
        checked: false,
    }
}

/// A request that the store has not answered.
struct Sent {
    primary: Bytes,
    keys: Vec<(Slot, u64)>,
}

struct Call {
    claimed: Claimed,
    mode: LockMode,
    round: Option<u64>,
    from: usize,
    waits: bool,
    sent: Option<Sent>,
}

struct Run {
    register: Register,
    buffer: MemBuffer,
    rng: Xoshiro256PlusPlus,
    calls: Vec<Call>,
    going_back: Withdrawn,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            register: Register::default(),
            buffer: MemBuffer::builder().buffer_limit(LIMIT).build(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            calls: Vec::new(),
            going_back: Withdrawn::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..10) {
            0 if self.calls.len() < 4 => self.claim(),
            1 => self.give_back(),
            2 => self.change_the_mode(),
            _ if !self.calls.is_empty() => {
                let at = self.rng.random_range(0..self.calls.len());
                let call = self.calls.swap_remove(at);
                let call = match self.rng.random_range(0..12) {
                    0 => self.drop_call(call),
                    _ if call.sent.is_some() => self.answer(call),
                    _ => self.go_on(call),
                };
                self.calls.extend(call);
            }
            _ => {}
        }
    }

    fn claim(&mut self) {
        let count = [1, 1, 2, 3][self.rng.random_range(0..4)];
        let mut names: Vec<&str> = NAMES.sample(&mut self.rng, count).copied().collect();
        names.sort_unstable();
        let names: Vec<Bytes> = names.into_iter().map(Bytes::from).collect();
        let mode = match self.rng.random_range(0..4) {
            0 => LockMode::Shared,
            _ => LockMode::Exclusive,
        };
        if let Ok((claimed, round)) = self.register.claim(&names, mode) {
            self.calls.push(Call {
                claimed,
                mode,
                round,
                from: 0,
                waits: self.rng.random_bool(0.5),
                sent: None,
            });
        }
    }

    fn give_back(&mut self) {
        let count = self.rng.random_range(0..=self.going_back.len());
        let returned: Withdrawn = self.going_back.drain(..count).collect();
        self.register.returned(&returned);
    }

    fn change_the_mode(&mut self) {
        let register = &self.register;
        let gone = match self.rng.random_range(0..6) {
            0..3 => register.fair_begin().map(|()| Withdrawn::new()),
            3 => register.fair_retry(),
            4 => register.fair_done().map(|settled| settled.gone),
            _ => register.fair_cancel(),
        };
        self.going_back.extend(gone.unwrap_or_default());
    }

    fn drop_call(&mut self, call: Call) -> Option<Call> {
        if let Some(Sent { keys, .. }) = call.sent {
            self.register.unanswered(&keys);
            let register = self.register.keys.lock();
            let names = keys.iter().map(|&(slot, attempt)| {
                let name = register.slots[slot].name.clone();
                (name, attempt)
            });
            self.going_back.extend(names);
        }
        let withdrawn = self.register.withdraw(&call.claimed, call.round);
        self.going_back.extend(withdrawn);
        None
    }

    fn answer(&mut self, mut call: Call) -> Option<Call> {
        let Some(Sent { primary, keys }) = call.sent.take() else {
            return Some(call);
        };
        let granted = self.rng.random_range(0..=keys.len());
        self.register.not_granted(&keys[granted..]);
        let granted_keys = keys[..granted].iter();
        let holds: Vec<_> = granted_keys
            .map(|&(slot, attempt)| (slot, hold(attempt, call.mode)))
            .collect();
        let (surplus, _) = self.register.granted(&holds, &primary);
        self.going_back.extend(surplus);
        if granted == keys.len() {
            let claimed = &call.claimed[call.from..];
            let held = claimed
                .iter()
                .take_while(|slot| self.register.holds(**slot));
            call.from += held.count();
        } else if self.rng.random_bool(0.5) {
            return self.drop_call(call);
        } else {
            call.from = 0;
        }
        Some(call)
    }

    fn go_on(&mut self, mut call: Call) -> Option<Call> {
        let terms = Terms {
            mode: call.mode,
            round: call.round,
            needs_primary: false,
        };
        let mut announced = Announcement::new();
        let (claimed, from) = (&call.claimed, &mut call.from);
        let held = |_, _, _| ();
        let next = self
            .register
            .next(claimed, from, 2, terms, &mut announced, held);
        match next {
            Ok(Next::Ask { primary }) => {
                let keys = announced.iter();
                let keys = keys
                    .map(|key| (call.claimed[key.at], key.attempt))
                    .collect();
                call.sent = Some(Sent { primary, keys });
                // An answer leads on from there.
                call.from = announced[0].at;
            }
            Ok(Next::Asked) if !call.waits => {
                let slot = call.claimed[call.from];
                call.sent = self
                    .register
                    .ask_beside(slot)
                    .map(|(attempt, primary)| Sent {
                        primary,
                        keys: vec![(slot, attempt)],
                    });
            }
            Ok(Next::Done) if call.from == call.claimed.len() && self.rng.random_bool(0.2) => {
                let pending = call.round.map(|round| pending(round, &self.buffer));
                self.register.keep(call.claimed.iter().copied(), pending);
                return None;
            }
            Ok(_) => {}
            // A shared lock that would be the primary, or that would have to be upgraded.
            Err(_) => return self.drop_call(call),
        }
        Some(call)
    }

    fn check(&self) {
        let register = self.register.keys.lock();
        let is_held = |name: &Bytes| {
            let slot = register.slots.find(name);
            slot.is_some_and(|slot| matches!(register.slots[slot].place, Place::Held(_)))
        };
        for (slot, key) in register.slots.iter() {
            let is_noted = register.fair.pending.contains(&slot);
            assert!(key.pending.is_none() || is_noted, "{:?}", key.name);
            let round = key.pending.as_ref().map(|pending| pending.round);
            let is_of_an_old_round = round.is_some() && round != register.fair.round;
            if let Place::Held(lock) = &key.place
                && !is_of_an_old_round
            {
                let primary = register.primary.as_ref().map(|primary| &primary.key);
                assert_eq!(primary, Some(&lock.primary), "of {:?}", key.name);
                assert!(is_held(&lock.primary), "{:?}", lock.primary);
            }
        }
        for sent in self.calls.iter().filter_map(|call| call.sent.as_ref()) {
            let asks = |&(slot, _): &(Slot, u64)| register.slots[slot].name == sent.primary;
            assert!(
                is_held(&sent.primary) || sent.keys.iter().any(asks),
                "{:?} is asked for by nobody",
                sent.primary
            );
        }
    }

    /// All calls fail, and the mode ends.
    fn end(mut self) {
        while let Some(call) = self.calls.pop() {
            self.drop_call(call);
            self.check();
        }
        let gone = self.register.fair_cancel().unwrap_or_default();
        self.going_back.extend(gone);
        self.check();
        self.register.returned(&self.going_back);
        let register = self.register.keys.lock();
        let of = |is: fn(&key::Key) -> bool| {
            let keys = register.slots.iter().filter(|(_, key)| is(key));
            keys.map(|(_, key)| key.name.clone()).collect::<Vec<_>>()
        };
        let kept = of(|key| key.kept);
        let primary = register.primary.as_ref().map(|primary| primary.key.clone());
        let mut wanted = kept.clone();
        wanted.extend(primary.filter(|primary| !kept.is_empty() && !kept.contains(primary)));
        wanted.sort();
        let mut all = of(|_| true);
        all.sort();
        assert_eq!(all, wanted, "held, and kept or the primary of what is kept");
        assert_eq!(register.active, wanted.len());
        assert_eq!(register.primary.is_some(), !wanted.is_empty());
        assert!(register.beside.is_empty());
        let set = self.buffer.set("k", [0; LIMIT - 1]);
        set.expect("no room is left behind");
    }
}

#[test]
fn no_lock_names_a_primary_that_is_not_held_and_none_stays_that_nobody_wants() {
    let seed = rand::random::<u64>();
    for round in 0..20_000 {
        let seed = seed.wrapping_add(round);
        let _shown = Shown(seed);
        let mut run = Run::new(seed);
        for _ in 0..80 {
            run.step();
            run.check();
        }
        run.end();
    }
}

#[test]
fn a_key_that_is_locked_again_and_again_in_one_round_is_noted_once() {
    let (register, buffer) = (Register::default(), MemBuffer::new());
    register.fair_begin().unwrap();
    for _ in 0..10 {
        let mode = LockMode::Exclusive;
        let (claimed, round) = register.claim(&["k".into()], mode).unwrap();
        let terms = Terms {
            mode,
            round,
            needs_primary: false,
        };
        let mut announced = Announcement::new();
        let next = register.next(&claimed, &mut 0, 1, terms, &mut announced, |_, _, _| ());
        assert!(next.is_ok());
        for key in announced {
            register.granted(&[(claimed[0], hold(key.attempt, mode))], &"k".into());
        }
        let round = round.map(|round| pending(round, &buffer));
        register.keep(claimed.into_iter(), round);
    }
    assert_eq!(register.keys.lock().fair.pending.len(), 1);
    assert_eq!(register.fair_done().unwrap().kept.len(), 1);
}

/// Prints the seed of a run that fails.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}", self.0);
        }
    }
}
