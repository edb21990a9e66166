//! How the flags of a key lie in the table's tag word.
//!
//! ```text
//! bit  31......24 23......16 15..........0
//!      cleared    check      KeyFlags without NEED_CONSTRAINT_CHECK
//!      of write   of key     of key: LOCKED, LOCKED_VALUE_EXISTS, LOCKED_SHARED; rest of write
//! ```
//!
//! "Of key" bits are in the mask that the table keeps over rollbacks, "of write" bits come back
//! with the version that a rollback restores.
//!
//! `NEED_CONSTRAINT_CHECK` needs both halves: an explicit operation on it belongs to the key, but
//! the clear that comes with every plain value write belongs to that write (else an older write,
//! restored, would lose its check). So the explicit set stores a number above every `cleared`
//! below it in `check`, the explicit clear stores 0 there, and a plain value write copies `check`
//! into `cleared`. The flag is set where `cleared < check`: a rollback brings the older, smaller
//! `cleared` back and leaves `check`.
//!
//! Along the versions of a key `cleared` never falls, so `cleared + 1` is above all of them. With
//! no stage open and no savepoint held nothing below can come back, and a plain value write clears
//! for good (both 0). So the numbers grow only while there is one, by one for each set after a
//! clear. After 254 of them on one key the flag is no longer cleared by plain writes until then: one
//! check too many, never one too few.

use crate::flags::{FlagOp, KeyFlags};

/// The tag word of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tag(pub(super) u32);

const CHECK_SHIFT: u32 = 16;
const CLEARED_SHIFT: u32 = 24;
const NUMBER: u32 = 0xff;

impl Tag {
    /// The bits that the table keeps over rollbacks.
    pub(super) const PERSISTENT: u32 = (KeyFlags::PERSISTENT
        .difference(KeyFlags::NEED_CONSTRAINT_CHECK)
        .bits() as u32)
        | (NUMBER << CHECK_SHIFT);

    fn new(flags: KeyFlags, check: u32, cleared: u32) -> Tag {
        let stored = flags.difference(KeyFlags::NEED_CONSTRAINT_CHECK).bits();
        Tag(u32::from(stored) | (check << CHECK_SHIFT) | (cleared << CLEARED_SHIFT))
    }

    fn check(self) -> u32 {
        (self.0 >> CHECK_SHIFT) & NUMBER
    }

    fn cleared(self) -> u32 {
        (self.0 >> CLEARED_SHIFT) & NUMBER
    }

    /// The flags as a caller sees them.
    pub(super) fn flags(self) -> KeyFlags {
        let mut flags = KeyFlags::from_bits_truncate((self.0 & 0xffff) as u16);
        flags.set(
            KeyFlags::NEED_CONSTRAINT_CHECK,
            self.cleared() < self.check(),
        );
        flags
    }

    /// The tag after a write. `content`: a value or a tombstone, which clears
    /// `NEED_CONSTRAINT_CHECK` unless `ops` touch it. `may_return`: a rollback may bring this tag
    /// back.
    #[inline]
    pub(super) fn after(self, content: bool, ops: &[FlagOp], may_return: bool) -> Tag {
        // Most writes: they say nothing of flags, and there is no check that they would clear.
        if ops.is_empty() && self.0 >> CHECK_SHIFT == 0 {
            return self;
        }
        self.changed(content, ops, may_return)
    }

    fn changed(self, content: bool, ops: &[FlagOp], may_return: bool) -> Tag {
        let before = self.flags();
        let flags = before.apply(ops);
        let explicit = ops.iter().any(|op| {
            let (set, clear) = op.effect();
            (set | clear).contains(KeyFlags::NEED_CONSTRAINT_CHECK)
        });
        let (check, cleared) = (self.check(), self.cleared());
        let (check, cleared) = if explicit {
            if !flags.contains(KeyFlags::NEED_CONSTRAINT_CHECK) {
                (0, cleared)
            } else if cleared < check {
                (check, cleared)
            } else {
                (cleared + 1, cleared)
            }
        } else if content && !may_return {
            (0, 0)
        } else if content && check < NUMBER {
            (check, cleared.max(check))
        } else {
            (check, cleared)
        };
        Tag::new(flags, check, cleared)
    }
}

#[cfg(test)]
mod tests;
