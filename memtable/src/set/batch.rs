//! Batches that go to a set: into the active table, or as a table of their own.

use super::{Member, MemtableSet, Room, SetWritten, Tables};
use crate::batch::WriteBatch;
use crate::error::Error;
use crate::item::Written;
use crate::mutant::planted;

impl MemtableSet {
    /// Applies all writes of a batch at one instant, to all readers and snapshots of the set; see
    /// [`Memtable::apply`](crate::Memtable::apply).
    ///
    /// It takes what its writes would take one by one, and fits whole or not at all. One that takes more than half of
    /// [`Limits::table`](crate::Limits::table) becomes a frozen table of its own, so that no writer has to complete it; the active table is
    /// frozen before, as by [`MemtableSet::rotate`].
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], [`Error::WriteTooLarge`], [`Error::MemoryLimit`]; [`Error::TagAlone`] for a key
    /// whose tag is set and whose content is not, since that may lie in an older table. Nothing is changed then.
    pub fn apply(&self, batch: &WriteBatch) -> Result<SetWritten, Error> {
        batch.check()?;
        batch.check_content()?;
        self.write_batch(batch.into(), |table| table.apply(batch))
    }

    /// Writes a batch that takes so much to the active table, or makes it one of its own.
    pub(crate) fn write_batch(
        &self,
        room: Room,
        apply: impl FnMut(&Member) -> Result<Written, Error>,
    ) -> Result<SetWritten, Error> {
        match self.shared.budget.fills_half_a_table(room) {
            false => self.write(room, apply),
            true => self.put_in_front(room, apply),
        }
    }

    /// Makes the batch a table of its own (T6).
    fn put_in_front(
        &self,
        room: Room,
        mut apply: impl FnMut(&Member) -> Result<Written, Error>,
    ) -> Result<SetWritten, Error> {
        self.reserve(room)?;
        let member = Member::new(self.shared.budget.clone());
        member.take_over(room);
        let changed = match apply(&member) {
            Ok(written) => written.changed,
            Err(refused) => {
                drop(member);
                self.shared.budget.free_retired();
                return Err(refused);
            }
        };
        member.freeze();
        loop {
            let tables = self.shared.tables.load();
            let active = match planted("set-batch-before-freeze") {
                true => tables.active.stats(),
                false => tables.active.freeze(),
            };
            let before = (active.len > 0).then_some(&tables.active);
            let number = tables.number.wrapping_add(before.iter().count() as u64);
            let frozen = std::iter::once(&member).chain(before).chain(&tables.frozen);
            let next = Tables {
                number: number.wrapping_add(1),
                active: Member::new(self.shared.budget.clone()),
                frozen: frozen.cloned().collect(),
            };
            if self.exchange(&tables, next) {
                return Ok(SetWritten {
                    changed,
                    table: number,
                });
            }
        }
    }
}
