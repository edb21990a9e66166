//! Locks of an optimistic transaction (rule 29): marks that commit checks.

use super::super::Core;
use super::super::options::{LockOptions, LockOutcome};
use crate::error::Error;
use crate::flags::FlagOp;
use bytes::Bytes;

impl Core {
    /// The store is not asked for locks.
    pub(super) async fn mark_keys(
        &self,
        keys: &[Bytes],
        options: &LockOptions,
    ) -> Result<Vec<LockOutcome>, Error> {
        let mut room = self.buffer.reserve(keys)?;
        let values = if options.return_values || options.check_existence {
            let values = self.store().batch_get(keys, self.start_ts).await?;
            values.into_iter().map(Some).collect()
        } else {
            vec![None; keys.len()]
        };
        let _gate = self.gate.read();
        self.life.check_open()?;
        let outcome = |(key, value): (&Bytes, Option<Option<Bytes>>)| LockOutcome {
            locked: true,
            already_locked: self.is_flagged(key),
            exists: value.as_ref().map(Option::is_some),
            value: value.flatten().filter(|_| options.return_values),
            for_update_ts: 0,
            locked_with_conflict_ts: None,
        };
        let outcomes = keys.iter().zip(values).map(outcome).collect();
        room.update_all(keys.iter().map(|key| (key, [FlagOp::SetLocked])))?;
        Ok(outcomes)
    }
}
