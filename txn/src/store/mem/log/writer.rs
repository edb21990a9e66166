//! The log's thread: it writes, syncs, decides, and begins checkpoints.
//!
//! One round takes all commits that were queued while the last sync ran, writes them as one frame, syncs, and decides
//! each, in the order in which they were queued. So the order of the log is the order of the commit timestamps, and what
//! is visible is always a prefix of what is on the disk.
//!
//! A write or sync that fails ends the thread. What it had in hand may be on the disk or not, and a second sync would
//! say nothing about that (the kernel may have dropped the pages): the group is lost, so is what was queued, and nothing
//! is taken any more.
//!
//! A store that is closed leaves an empty frame behind, which bears witness that all before it had been synced.

use super::checkpoint::Checkpoint;
use super::directory::Directory;
use super::error::LogFailure;
use super::options::{LogOptions, SyncMode};
use super::queue::{Queue, Queued};
use super::segment::{FileWriter, Frame, Head, Kind};
use crate::mutant::planted;
use crate::store::mem::core::Core;
use crate::store::mem::decision::Verdict;
use crate::sync::{JoinHandle, Parker, spawn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Segments that a checkpoint is written for, however small they are: each opening of the store begins one.
pub(super) const SEGMENTS: usize = 16;

pub(super) struct Writer {
    core: Arc<Core>,
    directory: Arc<dyn Directory>,
    options: LogOptions,
    segment: FileWriter,
    number: u64,
    /// Segments before this one since the last checkpoint, and their bytes.
    earlier: Earlier,
    /// The size of the last checkpoint.
    checkpointed: u64,
    checkpoint: Option<JoinHandle<Option<u64>>>,
    group: Vec<Queued>,
    /// When what is written has to be synced.
    sync_at: Option<Instant>,
}

/// The segments that a recovery would read before the newest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Earlier {
    pub(super) segments: usize,
    pub(super) bytes: u64,
}

impl Writer {
    /// Begins segment `number`, with the frame `sequence`.
    pub(super) fn begin(
        core: Arc<Core>,
        directory: Arc<dyn Directory>,
        options: LogOptions,
        (number, sequence): (u64, u64),
        earlier: Earlier,
    ) -> io::Result<Self> {
        let segment = begin_segment(&core, &*directory, number, sequence)?;
        Ok(Self {
            core,
            directory,
            options,
            segment,
            number,
            earlier,
            checkpointed: 0,
            checkpoint: None,
            group: Vec::new(),
            sync_at: None,
        })
    }

    /// Serves the queue of the store until that ends or fails.
    pub(super) fn run(mut self) {
        let core = Arc::clone(&self.core);
        let Some(queue) = &core.log else { return };
        let parker = Parker::new();
        queue.served_by(parker.unparker());
        core.oracle.ask(parker.unparker());
        let served = catch_unwind(AssertUnwindSafe(|| self.serve(queue, &parker)));
        if let Err(source) = served.unwrap_or_else(|_| Err(io::Error::other("a panic"))) {
            let failure = LogFailure {
                file: self.directory.path(&self.segment.name),
                source: Arc::new(source),
            };
            tracing::error!(%failure, "the store takes no more commits");
            queue.fail(&failure);
            if !planted("log-failure-told-to-the-queue-alone") {
                for queued in self.group.drain(..) {
                    queued.open.fate.lose(failure.clone());
                }
            }
            // Nothing can be committed at the timestamps that are given out from now on.
            core.oracle.unbound();
        }
        if let Some(running) = self.checkpoint.take() {
            drop(running.join());
        }
    }

    fn serve(&mut self, queue: &Queue, parker: &Parker) -> io::Result<()> {
        loop {
            // Asked first: what was queued before the end is found below.
            let is_ending = queue.is_ending();
            self.group = queue.take();
            let is_ending = is_ending || planted("log-end-looked-for-last") && queue.is_ending();
            if !self.group.is_empty() || self.core.oracle.is_asked() {
                self.write()?;
            } else if is_ending {
                return self.close();
            } else {
                parker.park_until(self.sync_at);
            }
            self.sync_if_due()?;
            self.checkpoint_if_due()?;
        }
    }

    /// Writes the group, which may be empty, and decides it.
    fn write(&mut self) -> io::Result<()> {
        let mut frame = Frame::new();
        for queued in &self.group {
            frame.push(queued.entry.bytes());
        }
        let bound = self.core.oracle.bound();
        self.segment.append(frame, bound)?;
        if planted("log-decided-before-the-sync") {
            self.decide();
        }
        match self.options.sync {
            SyncMode::Always => self.segment.sync()?,
            SyncMode::Every(interval) => {
                let at = Instant::now().checked_add(interval);
                self.sync_at = self.sync_at.or(at);
            }
            SyncMode::Never => {}
        }
        self.core.oracle.extend(bound);
        self.decide();
        Ok(())
    }

    fn decide(&mut self) {
        let mut told = Vec::with_capacity(self.group.len());
        if planted("log-decided-from-the-back") {
            self.group.reverse();
        }
        for queued in self.group.drain(..) {
            // Nobody else decides what is with the log.
            if let Verdict::Committed(time) = queued.open.decision.commit(&self.core.oracle) {
                let whom = queued.open.fate.commit(time);
                told.push((queued.open, time, whom));
            }
        }
        for (open, time, whom) in told {
            let is_alone = whom.is_alone;
            whom.wake();
            if is_alone {
                self.core.finish(&open, time);
            }
        }
    }

    fn sync_if_due(&mut self) -> io::Result<()> {
        if self.sync_at.is_some_and(|at| at <= Instant::now()) {
            self.segment.sync()?;
            self.sync_at = None;
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        self.segment.sync()?;
        self.segment
            .append(Frame::new(), self.core.oracle.bound())?;
        self.segment.sync()
    }

    /// Turns to a new segment and has all before it written into a checkpoint, once there is enough of it.
    fn checkpoint_if_due(&mut self) -> io::Result<()> {
        if let Some(ended) = self.checkpoint.take_if(|running| running.is_finished())
            && let Ok(Some(size)) = ended.join()
        {
            self.checkpointed = size;
        }
        // As much again as the last one wrote, so that at most half of what is written is checkpoints.
        let enough = self.options.checkpoint_after.max(self.checkpointed);
        let is_due =
            self.earlier.bytes + self.segment.length >= enough || self.earlier.segments >= SEGMENTS;
        if !is_due || self.checkpoint.is_some() {
            return Ok(());
        }
        self.segment.sync()?;
        self.sync_at = None;
        let sequence = self.segment.sequence();
        self.number += 1;
        self.segment = begin_segment(&self.core, &*self.directory, self.number, sequence)?;
        self.earlier = Earlier::default();
        // Everything in the segments before is decided, nothing in this one: the store at a timestamp drawn
        // now is what they have come to.
        let checkpoint = Checkpoint {
            held: self.core.live.hold_fresh(&self.core.oracle),
            core: Arc::clone(&self.core),
            directory: Arc::clone(&self.directory),
            number: self.number,
            sequence,
        };
        match spawn("untorn-checkpoint", move || checkpoint.run()) {
            Ok(running) => self.checkpoint = Some(running),
            Err(error) => tracing::warn!(%error, "no checkpoint is written"),
        }
        Ok(())
    }
}

fn begin_segment(
    core: &Core,
    directory: &dyn Directory,
    number: u64,
    sequence: u64,
) -> io::Result<FileWriter> {
    let bound = core.oracle.bound();
    let head = Head::new(Kind::Segment, number, sequence, bound);
    let segment = FileWriter::create(directory, Kind::Segment.name(number), &head, sequence)?;
    core.oracle.extend(bound);
    Ok(segment)
}
