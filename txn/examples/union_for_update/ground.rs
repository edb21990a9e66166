//! What a round runs on: an embedded store of its own, or a part of a cluster.
//!
//! The embedded store shows its lock table, and everything in it is checked. A cluster does not: there the rival is known to be
//! waited for once a lock call makes no progress, and what is held is told by who is refused.

use super::Failure;
use super::options::{Options, StoreKind};
use super::round::Progress;
use super::table::Row;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use untorn_txn::{BeginOptions, Db, MemStore};

/// A lock call of a cluster that takes longer waits for somebody.
const STALLED: Duration = Duration::from_millis(100);

/// Where the rounds find their stores.
pub enum Ground {
    Memory,
    Cluster(Db),
}

impl Ground {
    /// Connects, where that is to be done.
    pub fn of(options: &Options) -> Result<Self, Failure> {
        match options.store {
            StoreKind::Memory => Ok(Self::Memory),
            StoreKind::Tikv => Ok(Self::Cluster(connected(options)?)),
        }
    }

    /// The store of one round, with the rows under keys that nobody else uses.
    pub fn of_round<'a>(&self, table: &'a [Row], round: u64) -> Result<Field<'a>, Failure> {
        match self {
            Self::Memory => {
                let store = Arc::new(MemStore::new());
                Ok(Field {
                    db: Db::new(Arc::clone(&store) as _),
                    memory: Some(store),
                    table: Cow::Borrowed(table),
                })
            }
            Self::Cluster(db) => {
                let own = format!("union_for_update/{}/{round}/", db.blocking().timestamp()?);
                let own = |(key, value): &Row| (format!("{own}{key}"), value.clone());
                Ok(Field {
                    db: db.clone(),
                    memory: None,
                    table: table.iter().map(own).collect(),
                })
            }
        }
    }
}

#[cfg(feature = "tikv")]
fn connected(options: &Options) -> Result<Db, Failure> {
    use std::fs;
    use untorn_txn::store::tikv::{TikvOptions, TikvStore, Tls};
    let mut chosen = TikvOptions::default();
    if let Some(ca) = &options.ca {
        let mut tls = Tls::new(fs::read(ca)?);
        if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
            tls = tls.identity(fs::read(cert)?, fs::read(key)?);
        }
        chosen = chosen.tls(tls);
    }
    let store = TikvStore::connect_blocking(&options.pd, chosen)?;
    Ok(Db::new(Arc::new(store)))
}

#[cfg(not(feature = "tikv"))]
fn connected(_: &Options) -> Result<Db, Failure> {
    Err("built without TiKV: use `--features tikv`".into())
}

/// The store of one round.
pub struct Field<'a> {
    pub db: Db,
    memory: Option<Arc<MemStore>>,
    pub table: Cow<'a, [Row]>,
}

/// How long lock calls have made no progress.
pub struct Stall {
    asked: u64,
    since: Instant,
}

impl Stall {
    pub fn new() -> Self {
        Self {
            asked: 0,
            since: Instant::now(),
        }
    }
}

/// What an open lock table shows of the union.
pub struct HeldLocks {
    pub keys: usize,
    /// Held by the union alone, taken by one call.
    pub once: usize,
}

impl Field<'_> {
    /// Writes the rows.
    pub fn load(&self) -> Result<(), Failure> {
        for rows in self.table.chunks(1_000) {
            let txn = self.db.blocking().begin(BeginOptions::default())?;
            for (key, value) in rows {
                txn.insert(key, value)?;
            }
            txn.blocking().commit()?;
        }
        Ok(())
    }

    /// Takes the rows out of a store that others use as well.
    pub fn clear(&self) -> Result<(), Failure> {
        if self.memory.is_some() {
            return Ok(());
        }
        for rows in self.table.chunks(1_000) {
            let txn = self.db.blocking().begin(BeginOptions::optimistic())?;
            for (key, _) in rows {
                txn.delete(key)?;
            }
            txn.blocking().commit()?;
        }
        Ok(())
    }

    /// Whether a branch waits for the rival.
    pub fn is_waited_for(&self, progress: &Progress, stall: &mut Stall) -> bool {
        if let Some(store) = &self.memory {
            return !store.locks().waiting().is_empty();
        }
        let asked = progress.asked.load(Ordering::SeqCst);
        if asked != stall.asked || asked == progress.locked.load(Ordering::SeqCst) {
            *stall = Stall {
                asked,
                ..Stall::new()
            };
        }
        stall.since.elapsed() > STALLED
    }

    /// Lock requests that have waited so far, where that is shown.
    pub fn waits(&self) -> Option<u64> {
        self.memory
            .as_ref()
            .map(|store| store.locks().stats().waits)
    }

    /// The locks, where they are shown.
    pub fn held_by(&self, start_ts: u64) -> Option<HeldLocks> {
        let held = self.memory.as_ref()?.locks().held();
        let once = held.iter().filter(|lock| {
            lock.holders.len() == 1
                && lock.holders[0].owner == start_ts
                && lock.holders[0].attempts.len() == 1
        });
        Some(HeldLocks {
            once: once.count(),
            keys: held.len(),
        })
    }

    /// How many keys are locked, where that is shown.
    pub fn locked(&self) -> Option<usize> {
        self.memory.as_ref().map(|store| store.locks().len())
    }
}
