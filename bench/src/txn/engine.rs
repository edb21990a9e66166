//! What the measurements ask of a transactional store.

/// A lock was not given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It would have closed a cycle of waiting transactions.
    #[error("deadlock")]
    Deadlock,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A store with pessimistic transactions, used through `&self` by many threads.
pub trait Engine: Send + Sync + Sized + 'static {
    /// Its name in reports.
    const NAME: &'static str;

    /// A transaction of it.
    type Txn<'e>: EngineTxn + Send
    where
        Self: 'e;

    /// An empty one, in memory or as near to that as it can be.
    fn open() -> Self;

    /// A new transaction, younger than all before it.
    fn begin(&self) -> Self::Txn<'_>;

    /// How many calls wait for a lock; `None` if it does not tell.
    fn waiting(&self) -> Option<usize>;
}

/// A transaction.
pub trait EngineTxn {
    /// Locks a key exclusively, waiting for as long as it takes.
    ///
    /// # Errors
    /// [`Refusal`].
    fn lock(&self, key: &[u8]) -> Result<(), Refusal>;

    /// Locks many keys exclusively, in the best way that there is.
    ///
    /// # Errors
    /// [`Refusal`].
    fn lock_batch(&self, keys: &[&[u8]]) -> Result<(), Refusal> {
        keys.iter().try_for_each(|key| self.lock(key))
    }

    /// Writes a value.
    ///
    /// # Errors
    /// [`Refusal`].
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Refusal>;

    /// Commits.
    ///
    /// # Errors
    /// [`Refusal`].
    fn commit(self) -> Result<(), Refusal>;

    /// Rolls back.
    ///
    /// # Errors
    /// [`Refusal`].
    fn rollback(self) -> Result<(), Refusal>;
}

/// Key number `number` of a table of rows.
pub(super) fn row(number: u32) -> [u8; 16] {
    let mut key = *b"t_row___________";
    key[12..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Until `calls` wait; for a millisecond with an engine that does not tell.
pub(super) fn until_waiting<E: Engine>(engine: &E, calls: usize) {
    while engine.waiting().is_some_and(|waiting| waiting < calls) {
        std::thread::yield_now();
    }
    if engine.waiting().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
