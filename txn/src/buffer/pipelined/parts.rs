//! The parts, and how the active one becomes the next generation (P1, P2).

use super::builder::Thresholds;
use super::flight::Flight;
use super::target::Panicked;
use super::{FlushTarget, Generation};
use crate::buffer::hook::HookSlot;
use crate::buffer::{Builder, Entry, Limits, MemBuffer, Stage, Stats};
use crate::error::{Error, TxnState};
use crate::flags::KeyFlags;
use crate::sync::Mutex;
use crate::transaction::block_on;
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a pipelined buffer holds in memory, between two changes of it.
#[derive(Clone)]
struct Parts {
    active: MemBuffer,
    /// Under way, or failed.
    flushing: Option<Arc<Flight>>,
    /// The generations that were begun, this one's number being the last, and what they counted when they were frozen.
    generations: u64,
    frozen: Stats,
    frozen_dirty: bool,
    /// Nothing is written any more, and why.
    closed: Option<TxnState>,
}

pub(super) struct Pipeline {
    parts: ArcSwap<Parts>,
    /// Held while the parts are changed.
    turn: Mutex<()>,
    target: Arc<dyn FlushTarget>,
    thresholds: Thresholds,
    /// Makes the parts, but for the limit of the whole.
    part: Builder,
    hook: HookSlot,
}

/// What came of the wish to begin a flush.
enum Begun {
    /// It has begun.
    Yes,
    /// There is nothing to flush.
    Nothing,
    /// A stage is open.
    Staged,
    /// Nothing is written any more.
    Closed(TxnState),
    /// This one is not over, or has failed.
    Behind(Arc<Flight>),
}

impl Pipeline {
    pub(super) fn new(target: Arc<dyn FlushTarget>, thresholds: Thresholds, part: Builder) -> Self {
        Pipeline {
            parts: ArcSwap::from_pointee(Parts {
                active: part.build(),
                flushing: None,
                generations: 0,
                frozen: Stats::default(),
                frozen_dirty: false,
                closed: None,
            }),
            turn: Mutex::new(()),
            target,
            thresholds,
            part,
            hook: HookSlot::default(),
        }
    }

    /// Does one write in the active part.
    pub(super) async fn write(
        self: &Arc<Self>,
        write: impl Fn(&MemBuffer) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            self.may_write().await?;
            if let Some(done) = self.write_into(&self.parts.load(), &write) {
                self.report_memory();
                return done;
            }
        }
    }

    /// Does one write in the active part that depends on what the older ones hold for the key. That does not change while the part
    /// is the active one.
    pub(super) async fn write_over(
        self: &Arc<Self>,
        key: &[u8],
        write: impl Fn(&MemBuffer, Option<Entry>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            self.may_write().await?;
            let parts = self.parts.load_full();
            let keys = vec![Bytes::copy_from_slice(key)];
            let older = self.read_in(&parts, parts.flushing(), keys).await?;
            let older = older.into_values().next();
            let write = |active: &MemBuffer| write(active, older.clone());
            if let Some(done) = self.write_into(&parts, write) {
                self.report_memory();
                return done;
            }
        }
    }

    /// Waits for the flush under way if the next one is due.
    async fn may_write(self: &Arc<Self>) -> Result<(), Error> {
        loop {
            match self.begin_due() {
                Begun::Behind(flight) => flight.landed().await?,
                Begun::Closed(state) => return Err(Error::TransactionClosed { state }),
                Begun::Yes | Begun::Nothing | Begun::Staged => return Ok(()),
            }
        }
    }

    /// `None` where the active part of these is not written any more.
    fn write_into(
        self: &Arc<Self>,
        parts: &Parts,
        write: impl Fn(&MemBuffer) -> Result<(), Error>,
    ) -> Option<Result<(), Error>> {
        match write(&parts.active) {
            Err(Error::TransactionClosed { .. }) => {
                self.await_turn();
                None
            }
            // The part knows what is left of the limit; the caller set one for the whole.
            Err(Error::TxnTooLarge { size, .. }) => Some(Err(Error::TxnTooLarge {
                size: parts.frozen.size + size,
                limit: self.limits().buffer,
            })),
            Err(error) => Some(Err(error)),
            Ok(()) => {
                // Should another be under way, the next write waits for it.
                self.begin_due();
                Some(Ok(()))
            }
        }
    }

    /// The part that was frozen under our eyes has been replaced when this returns (P1).
    fn await_turn(&self) {
        drop(self.turn.lock());
    }

    /// Opens a stage in the active part.
    pub(super) fn stage(&self) -> Stage {
        loop {
            let parts = self.parts.load();
            match parts.active.stage_unless_closed() {
                Some(stage) => return stage,
                None if parts.closed.is_some() => return parts.active.stage(),
                None => self.await_turn(),
            }
        }
    }

    fn is_due(&self, stats: Stats) -> bool {
        let Thresholds {
            min_keys,
            min_bytes,
            force_bytes,
        } = self.thresholds;
        stats.len >= min_keys && stats.size >= min_bytes || stats.size >= force_bytes
    }

    /// Begins a flush if one is due.
    fn begin_due(self: &Arc<Self>) -> Begun {
        let parts = self.parts.load();
        match parts.closed {
            Some(state) => Begun::Closed(state),
            None if self.is_due(parts.active.stats()) => {
                self.begin(|parts| parts.closed.is_none() && self.is_due(parts.active.stats()))
            }
            None => Begun::Nothing,
        }
    }

    /// Begins a flush, if the parts are such that it is `wanted`.
    fn begin(self: &Arc<Self>, wanted: impl Fn(&Parts) -> bool) -> Begun {
        let _turn = self.turn.lock();
        let parts = self.parts.load_full();
        if !wanted(&parts) {
            return Begun::Nothing;
        }
        if let Some(flight) = &parts.flushing {
            return Begun::Behind(flight.clone());
        }
        if parts.active.is_empty() {
            return Begun::Nothing;
        }
        // Frozen, if not closed: no write gets to see the state.
        let state = parts.closed.unwrap_or(TxnState::Committing);
        if parts.active.close(state, false).is_err() {
            return Begun::Staged;
        }
        let stats = parts.active.stats();
        let frozen = Stats {
            len: parts.frozen.len + stats.len,
            size: parts.frozen.size + stats.size,
        };
        let generation = Generation {
            number: parts.generations + 1,
            part: parts.active.clone(),
        };
        let flight = Arc::new(Flight::new(generation));
        let active = self.fresh_part(frozen);
        if let Some(state) = parts.closed {
            drop(active.close(state, true));
        }
        self.parts.store(Arc::new(Parts {
            active,
            flushing: Some(flight.clone()),
            generations: parts.generations + 1,
            frozen,
            frozen_dirty: parts.frozen_dirty || parts.active.is_dirty(),
            closed: parts.closed,
        }));
        self.launch(flight);
        Begun::Yes
    }

    /// A part that may take what the limit of the whole leaves.
    fn fresh_part(&self, frozen: Stats) -> MemBuffer {
        let part = match self.limits().buffer {
            usize::MAX => self.part.build(),
            limit => {
                let left = limit.saturating_sub(frozen.size);
                self.part.buffer_limit(left).build()
            }
        };
        if self.hook.is_set() {
            part.count_held_bytes();
        }
        part
    }

    /// Sets the memory hook.
    pub(super) fn set_hook(&self, hook: impl Fn(usize) + Send + Sync + 'static) {
        // No part is made meanwhile.
        let turn = self.turn.lock();
        let parts = self.parts.load();
        parts.in_memory().for_each(MemBuffer::count_held_bytes);
        let replaced = self.hook.set(hook, parts.held_bytes());
        drop(turn);
        drop(replaced);
    }

    pub(super) fn clear_hook(&self) {
        self.hook.clear();
    }

    fn report_memory(&self) {
        self.hook.report(|| self.parts.load().held_bytes());
    }

    /// Flushes in a thread of its own.
    fn launch(self: &Arc<Self>, flight: Arc<Flight>) {
        let (pipeline, flying) = (self.clone(), flight.clone());
        let launched = std::thread::Builder::new()
            .name("untorn-flush".into())
            .spawn(move || {
                let outcome = pipeline.fly(&flying);
                // Whoever waits may rely on the target not being held any more.
                drop(pipeline);
                flying.land(outcome);
            });
        if let Err(error) = launched {
            flight.land(Err(Error::transient(error)));
        }
    }

    fn fly(&self, flight: &Flight) -> Result<(), Error> {
        let generation = flight.generation.clone();
        let number = generation.number();
        let flush = AssertUnwindSafe(|| block_on(self.target.flush(generation)));
        let outcome = catch_unwind(flush).unwrap_or_else(|_| Err(Panicked(number).into()));
        if outcome.is_ok() {
            let _turn = self.turn.lock();
            let parts = Parts::clone(&self.parts.load());
            self.parts.store(Arc::new(Parts {
                flushing: None,
                ..parts
            }));
        }
        outcome
    }

    /// Begins a flush of whatever there is.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<bool, Error> {
        loop {
            if let Some(state) = self.parts.load().closed {
                return Err(Error::TransactionClosed { state });
            }
            if let Some(has_begun) = self.flush_what_there_is().await? {
                return Ok(has_begun);
            }
        }
    }

    /// Flushes what was written before it was closed, and waits for that.
    pub(super) async fn flush_rest(self: &Arc<Self>) -> Result<(), Error> {
        while self.flush_what_there_is().await? != Some(false) {}
        self.flush_wait().await
    }

    /// Whether a flush has begun, or `None` after waiting for the one under way.
    async fn flush_what_there_is(self: &Arc<Self>) -> Result<Option<bool>, Error> {
        match self.begin(|_| true) {
            Begun::Yes => Ok(Some(true)),
            Begun::Nothing => Ok(Some(false)),
            Begun::Staged => Err(Error::StageOpen),
            Begun::Closed(state) => Err(Error::TransactionClosed { state }),
            Begun::Behind(flight) => flight.landed().await.map(|()| None),
        }
    }

    /// The flush under way.
    pub(super) fn flight(&self) -> Option<Arc<Flight>> {
        let flight = self.parts.load().flushing.clone();
        flight.filter(|flight| !flight.has_landed())
    }

    /// Refuses writes from now on, or changes nothing: while a stage is open, unless that is ended.
    pub(super) fn close(&self, state: TxnState, end_stages: bool) -> Result<(), Error> {
        let _turn = self.turn.lock();
        let parts = self.parts.load_full();
        parts.active.close(state, end_stages)?;
        self.parts.store(Arc::new(Parts {
            closed: Some(state),
            ..Parts::clone(&parts)
        }));
        Ok(())
    }

    pub(super) async fn flush_wait(&self) -> Result<(), Error> {
        let flight = self.parts.load().flushing.clone();
        match flight {
            Some(flight) => flight.landed().await,
            None => Ok(()),
        }
    }

    /// What the parts in memory and then the target have for the keys.
    pub(super) async fn read(&self, keys: Vec<Bytes>) -> Result<BTreeMap<Bytes, Entry>, Error> {
        let parts = self.parts.load_full();
        self.read_in(&parts, parts.in_memory(), keys).await
    }

    /// What `looked_at` of the parts and then the target have for the keys.
    async fn read_in<'p>(
        &self,
        parts: &Parts,
        looked_at: impl Iterator<Item = &'p MemBuffer> + Clone,
        keys: Vec<Bytes>,
    ) -> Result<BTreeMap<Bytes, Entry>, Error> {
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        for key in keys {
            match looked_at.clone().find_map(|part| part.get(&key)) {
                Some(entry) => drop(found.insert(key, entry)),
                None => missing.push(key),
            }
        }
        if parts.flushed_any() && !missing.is_empty() {
            found.append(&mut self.target.flushed(missing).await?);
        }
        Ok(found)
    }

    pub(super) fn flags(&self, key: &[u8]) -> Option<KeyFlags> {
        let parts = self.parts.load();
        parts.in_memory().find_map(|part| part.get_flags(key))
    }

    pub(super) fn stats(&self) -> Stats {
        let parts = self.parts.load();
        let active = parts.active.stats();
        Stats {
            len: parts.frozen.len + active.len,
            size: parts.frozen.size + active.size,
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        let parts = self.parts.load();
        parts.frozen_dirty || parts.active.is_dirty()
    }

    pub(super) fn memory(&self) -> u64 {
        let parts = self.parts.load();
        let held = parts.in_memory().map(|part| part.memory().total());
        held.sum()
    }

    pub(super) fn limits(&self) -> Limits {
        self.part.build().limits()
    }

    pub(super) fn generations(&self) -> u64 {
        self.parts.load().generations
    }
}

impl Parts {
    fn held_bytes(&self) -> usize {
        self.in_memory().map(MemBuffer::held_bytes).sum()
    }

    /// Newest first.
    fn in_memory(&self) -> impl Iterator<Item = &MemBuffer> + Clone {
        std::iter::once(&self.active).chain(self.flushing())
    }

    fn flushing(&self) -> impl Iterator<Item = &MemBuffer> + Clone {
        let flushing = self.flushing.as_ref();
        flushing.map(|flight| &flight.generation.part).into_iter()
    }

    /// Whether a generation went out of sight.
    fn flushed_any(&self) -> bool {
        self.generations > u64::from(self.flushing.is_some())
    }
}
