//! A stage: opened, filled with writes, taken back.
//!
//! Both parts are timed in the same cycle, so an opening pays whatever the cleanup before it left to be done.

use std::time::{Duration, Instant};

use untorn_memtable::{Memtable, StageId};
use untorn_txn::MemBuffer;

use super::engine::row;
use super::{Measure, Timed};

/// Writes in a stage.
pub const STAGE_WRITES: u32 = 1000;

/// A table that has stages.
pub trait Staged {
    /// An open stage.
    type Open;
    /// An empty table.
    fn empty() -> Self;
    /// Opens a stage.
    fn open(&self) -> Self::Open;
    /// Writes into it.
    fn write(&self, key: &[u8], value: &[u8]);
    /// Takes it back.
    fn cleanup(&self, stage: Self::Open);
}

const FITS: &str = "benchmark keys and values are far below the limits";
const INNERMOST: &str = "it is the only stage";

impl Staged for Memtable {
    type Open = StageId;
    fn empty() -> Self {
        Memtable::new()
    }
    fn open(&self) -> StageId {
        self.open_stage()
    }
    fn write(&self, key: &[u8], value: &[u8]) {
        self.insert(key, value).expect(FITS);
    }
    fn cleanup(&self, stage: StageId) {
        self.cleanup_stage(stage).expect(INNERMOST);
    }
}

impl Staged for MemBuffer {
    type Open = untorn_txn::buffer::Stage;
    fn empty() -> Self {
        MemBuffer::new()
    }
    fn open(&self) -> Self::Open {
        self.stage()
    }
    fn write(&self, key: &[u8], value: &[u8]) {
        self.set(key, value).expect(FITS);
    }
    fn cleanup(&self, stage: Self::Open) {
        stage.cleanup().expect(INNERMOST);
    }
}

/// The part of the cycle that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The opening.
    Open,
    /// The taking back.
    Cleanup,
}

impl Part {
    /// What its figure is called.
    pub fn measure(self) -> Measure {
        match self {
            Self::Open => Measure::StageOpen,
            Self::Cleanup => Measure::StageCleanup,
        }
    }
}

/// The cycle over one table.
#[derive(Debug)]
pub struct Stage<S> {
    table: S,
    part: Part,
}

impl<S: Staged> Stage<S> {
    /// An empty table, and the part to be timed.
    pub fn new(part: Part) -> Self {
        Self {
            table: S::empty(),
            part,
        }
    }
}

impl<S: Staged> Timed for Stage<S> {
    fn time(&mut self) -> Duration {
        let start = Instant::now();
        let stage = self.table.open();
        let opening = start.elapsed();
        for number in 0..STAGE_WRITES {
            self.table.write(&row(number), &[1; 64]);
        }
        let start = Instant::now();
        self.table.cleanup(stage);
        let cleanup = start.elapsed();
        match self.part {
            Part::Open => opening,
            Part::Cleanup => cleanup,
        }
    }
}
