//! The open transactions of a store, by start timestamp.
//!
//! What is looked at or done with one is outside of the map's own locks, which are held for a step of the map alone. One
//! that is not there has been decided and resolved before: whoever misses it sees all of that.

use super::core::Open;
use crate::store::Timestamp;
use dashmap::DashMap;
use hashbrown::DefaultHashBuilder;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Transactions {
    map: DashMap<Timestamp, Arc<Open>, DefaultHashBuilder>,
    /// Loom does not see the map's locks: in a model a mutex shows it which step comes after which.
    #[cfg(untorn_loom)]
    order: crate::sync::Mutex<()>,
}

impl Transactions {
    pub(super) fn find(&self, start: Timestamp) -> Option<Arc<Open>> {
        self.map().view(&start, |_, open| Arc::clone(open))
    }

    pub(super) fn insert(&self, start: Timestamp, open: Arc<Open>) {
        self.map().insert(start, open);
    }

    /// Makes one where there is none of that name. Says whether there was none.
    pub(super) fn enter<E>(
        &self,
        start: Timestamp,
        make: impl FnOnce() -> Result<Arc<Open>, E>,
    ) -> Result<bool, E> {
        let mut is_vacant = false;
        let entered = self.map().entry(start).or_try_insert_with(|| {
            is_vacant = true;
            make()
        });
        entered.map(|_| is_vacant)
    }

    pub(super) fn remove(&self, start: Timestamp) {
        drop(self.map().remove(&start));
    }

    fn map(&self) -> &DashMap<Timestamp, Arc<Open>, DefaultHashBuilder> {
        #[cfg(untorn_loom)]
        drop(self.order.lock());
        &self.map
    }
}
