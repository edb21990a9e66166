//! A flush target that keeps what it is given, and can be held up, fail or panic.
#![allow(dead_code)]

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use untorn_txn::buffer::{FlushTarget, Generation};
use untorn_txn::store::Answer;
use untorn_txn::{Entry, Error, KeyFlags};

pub type Mutation = (Bytes, Option<Entry>, KeyFlags);

#[derive(Clone)]
pub struct Flushed(Arc<Inner>);

struct Inner {
    kept: Mutex<Kept>,
    go: Condvar,
}

struct Kept {
    content: BTreeMap<Bytes, Entry>,
    generations: Vec<(u64, Vec<Mutation>)>,
    /// Flushes that may still be done.
    may_go: usize,
    /// From this generation on.
    fails: u64,
    panics: bool,
}

impl Default for Flushed {
    fn default() -> Flushed {
        Flushed::new(usize::MAX, u64::MAX, false)
    }
}

impl Flushed {
    fn new(may_go: usize, fails: u64, panics: bool) -> Flushed {
        let kept = Kept {
            content: BTreeMap::new(),
            generations: Vec::new(),
            may_go,
            fails,
            panics,
        };
        Flushed(Arc::new(Inner {
            kept: Mutex::new(kept),
            go: Condvar::new(),
        }))
    }

    /// One that does no flush before it is let go.
    pub fn held() -> Flushed {
        Flushed::new(0, u64::MAX, false)
    }

    pub fn failing_from(generation: u64) -> Flushed {
        Flushed::new(usize::MAX, generation, false)
    }

    pub fn panicking() -> Flushed {
        Flushed::new(usize::MAX, u64::MAX, true)
    }

    /// Lets so many more flushes be done.
    pub fn let_go(&self, flushes: usize) {
        self.0.kept.lock().unwrap().may_go += flushes;
        self.0.go.notify_all();
    }

    /// What was flushed, with the numbers of the generations.
    pub fn generations(&self) -> Vec<(u64, Vec<Mutation>)> {
        self.0.kept.lock().unwrap().generations.clone()
    }
}

impl FlushTarget for Flushed {
    fn flush(&self, generation: Generation) -> Answer<'_, ()> {
        let kept = self.0.kept.lock().unwrap();
        let mut kept = self.0.go.wait_while(kept, |kept| kept.may_go == 0).unwrap();
        kept.may_go -= 1;
        if generation.number() >= kept.fails {
            return Answer::ready(Err(Error::store(std::io::Error::other("no room"))));
        }
        if kept.panics {
            drop(kept);
            std::panic::resume_unwind(Box::new("planned"));
        }
        let mutations: Vec<_> = generation.mutations().collect();
        let written = mutations
            .iter()
            .filter_map(|(key, entry, _)| Some((key.clone(), entry.clone()?)));
        kept.content.extend(written);
        kept.generations.push((generation.number(), mutations));
        Answer::ready(Ok(()))
    }

    fn flushed(&self, keys: Vec<Bytes>) -> Answer<'_, BTreeMap<Bytes, Entry>> {
        let kept = self.0.kept.lock().unwrap();
        let found = keys.into_iter().filter_map(|key| {
            let entry = kept.content.get(&key).cloned()?;
            Some((key, entry))
        });
        Answer::ready(Ok(found.collect()))
    }
}
