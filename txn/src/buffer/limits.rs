//! Limits, and the room that a bounded buffer has left.
//!
//! Limits bind growth: no limit refuses a write that leaves its key no larger than it was, whatever was lowered meanwhile. Of that
//! the very item decides that the write replaces.
//!
//! The buffer limit is strict: `size()` never passes it by a write, however many threads write.
//! One word, `charged`, is compared with the limit, and
//!
//! 1. a write that grows its key adds the growth to `charged` *before* the table publishes it, in
//!    the very closure that the table calls with the item that the write replaces. If the table
//!    calls again because that item changed, what is missing is added first;
//! 2. a write that shrinks its key takes the difference off *after* the table published it;
//! 3. what was added and not used goes back at the end of the write.
//!
//! So `charged >= size` at every instant, and growth is only added where the sum stays within the
//! limit: `size <= charged <= limit`. The word is kept only while a limit is set; it is computed
//! anew from the table, with the gate shut, when a limit is set and after a stage is
//! cleaned up. Room reserved ahead of its writes is part of it.
//!
//! `charged` may be too high for a moment (2 and 3), so a write that does not fit is tried once
//! more with the gate shut: what is refused then is refused for what is really there.

use crate::error::Error;
use crate::mutant::planted;
use crate::sync::{AtomicUsize, Ordering};

/// Longest key, in bytes; a higher key limit is taken as this.
pub const MAX_KEY_LEN: usize = 65_535;

/// What a buffer takes. `usize::MAX` is "no limit", the default for entry and buffer. A write that leaves its key no larger
/// than it was passes all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest key; at most [`MAX_KEY_LEN`], the default.
    pub key: usize,
    /// Largest key and value together; a tombstone counts its key. Flags-only keys are not bound.
    pub entry: usize,
    /// Largest [`size`](super::MemBuffer::size) of the whole buffer.
    pub buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            key: MAX_KEY_LEN,
            entry: usize::MAX,
            buffer: usize::MAX,
        }
    }
}

impl Limits {
    /// A limit on the whole buffer is set.
    pub(super) fn bounded(&self) -> bool {
        self.buffer != usize::MAX
    }

    /// Checks the key, and the entry where `value` is its length (`None`: flags only).
    pub(super) fn admit(&self, key: usize, value: Option<usize>) -> Result<(), TooLarge> {
        within(self.key, key).map_err(TooLarge::Key)?;
        if let Some(value) = value {
            let limit = self.entry.min(key + untorn_memtable::MAX_VALUE_LEN);
            within(limit, key.saturating_add(value)).map_err(TooLarge::Entry)?;
        }
        Ok(())
    }

    /// Checks the size that the whole buffer would have.
    pub(super) fn admit_all(&self, size: usize) -> Result<(), TooLarge> {
        within(self.buffer, size).map_err(TooLarge::Buffer)
    }
}

fn within(limit: usize, size: usize) -> Result<(), Over> {
    match size > limit {
        true => Err(Over { size, limit }),
        false => Ok(()),
    }
}

/// Which limit refuses a write.
#[derive(Debug, Clone, Copy)]
pub(super) enum TooLarge {
    Key(Over),
    Entry(Over),
    Buffer(Over),
}

/// What was asked for, and the limit that it is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Over {
    size: usize,
    limit: usize,
}

impl From<TooLarge> for Error {
    fn from(refused: TooLarge) -> Error {
        match refused {
            TooLarge::Key(Over { size, limit }) => Error::KeyTooLarge { size, limit },
            TooLarge::Entry(Over { size, limit }) => Error::EntryTooLarge { size, limit },
            TooLarge::Buffer(Over { size, limit }) => Error::TxnTooLarge { size, limit },
        }
    }
}

/// The room of a bounded buffer.
#[derive(Debug, Default)]
pub(super) struct Room {
    charged: AtomicUsize,
    /// Reserved ahead of the writes that will use it; part of `charged`.
    reserved: AtomicUsize,
}

/// What one write has added to `charged` and not yet published.
#[derive(Debug, Default)]
pub(super) struct Hold {
    held: usize,
    /// No limit is asked for what it lacks.
    pub(super) is_reserved: bool,
    /// What the write will add, and what it will take away: of the item it was last shown.
    growth: usize,
    shrink: usize,
}

impl Room {
    /// Sets `charged`; only with the gate shut.
    pub(super) fn recount(&self, size: usize) {
        self.charged.store(
            size + self.reserved.load(Ordering::SeqCst),
            Ordering::SeqCst,
        );
    }

    /// Reserves bytes for later writes.
    pub(super) fn reserve(&self, bytes: usize, limits: &Limits) -> Result<(), TooLarge> {
        if limits.bounded() && bytes != 0 {
            self.charge(bytes, limits)?;
        }
        self.reserved.fetch_add(bytes, Ordering::SeqCst);
        Ok(())
    }

    /// Takes bytes out of what is reserved, for a write that begins now.
    pub(super) fn draw(&self, bytes: usize, limits: &Limits) -> Hold {
        if bytes != 0 {
            self.reserved.fetch_sub(bytes, Ordering::SeqCst);
        }
        Hold {
            held: if limits.bounded() { bytes } else { 0 },
            is_reserved: true,
            ..Hold::default()
        }
    }

    /// Gives reserved bytes back.
    pub(super) fn unreserve(&self, bytes: usize, limits: &Limits) {
        let hold = self.draw(bytes, limits);
        self.settle(hold, false);
    }

    #[cfg(test)]
    pub(super) fn charged(&self) -> usize {
        self.charged.load(Ordering::SeqCst)
    }

    /// Makes `hold` fit a write that takes its key from `before` bytes to `after`.
    pub(super) fn fit(
        &self,
        hold: &mut Hold,
        before: usize,
        after: usize,
        limits: &Limits,
    ) -> Result<(), TooLarge> {
        hold.growth = after.saturating_sub(before);
        hold.shrink = before.saturating_sub(after);
        if planted("room-given-early") {
            self.give(std::mem::take(&mut hold.shrink));
        }
        if hold.growth > hold.held {
            let unlimited = Limits::default();
            let limits = match hold.is_reserved || planted("room-without-limit") {
                true => &unlimited,
                false => limits,
            };
            self.charge(hold.growth - hold.held, limits)?;
            hold.held = hold.growth;
        }
        Ok(())
    }

    fn charge(&self, bytes: usize, limits: &Limits) -> Result<(), TooLarge> {
        let mut refused = Ok(());
        let charge = |charged: usize| {
            let sum = charged.saturating_add(bytes);
            refused = limits.admit_all(sum);
            refused.is_ok().then_some(sum)
        };
        let ordering = Ordering::SeqCst;
        // Fails where the last look was refused.
        let _ = self.charged.fetch_update(ordering, ordering, charge);
        refused
    }

    /// Ends a hold: growth that was published now belongs to the table, the rest goes back, and so
    /// does what a published write took away.
    pub(super) fn settle(&self, hold: Hold, published: bool) {
        self.give(hold.held - if published { hold.growth } else { 0 });
        self.give(if published { hold.shrink } else { 0 });
    }

    fn give(&self, bytes: usize) {
        if bytes != 0 {
            self.charged.fetch_sub(bytes, Ordering::SeqCst);
        }
    }
}
