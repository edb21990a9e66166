//! Scans that let go of the epoch as they go.

use crate::memtable::Memtable;
use crate::reclaim;
use crate::version::State;
use crate::visible::newest;
use crate::walk::{Edge, Walk, owned};
use std::ops::{Bound, ControlFlow, RangeBounds};

/// Entries after which the guard is renewed.
const STRIDE: usize = 1024;

impl Memtable {
    /// Shows keys and values in the bounds to `visit`, in ascending order, until that breaks off. Tombstones and tags are left out.
    ///
    /// The promise is that of [`Pinned::range`](crate::Pinned::range), and so is the speed. But the guard is renewed every 1,024
    /// entries, so that a scan of a large table does not keep all that is overwritten meanwhile from being freed.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// let table = untorn_memtable::Memtable::new();
    /// for n in 0..10u8 {
    ///     table.insert([n], [n * n])?;
    /// }
    /// let found = table.scan([3u8].., |key, value| match value {
    ///     [square] if *square > 30 => ControlFlow::Break(key.to_vec()),
    ///     _ => ControlFlow::Continue(()),
    /// });
    /// assert_eq!(found, ControlFlow::Break(vec![6]));
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn scan<K: AsRef<[u8]>, B>(
        &self,
        bounds: impl RangeBounds<K>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut lower = owned(bounds.start_bound());
        let upper = owned(bounds.end_bound());
        loop {
            let guard = reclaim::pin();
            let mut walk = Walk::new(self.table(), lower.clone(), upper.clone(), &guard);
            for left in (0..STRIDE).rev() {
                let Some(entry) = walk.next() else {
                    return ControlFlow::Continue(());
                };
                if let Some(version) = newest(entry, &self.table().clock, &guard)
                    && version.state() == State::Value
                {
                    visit(entry.key(), version.value())?;
                }
                if left == 0 {
                    lower = Bound::Excluded(Edge::Given(entry.key().into()));
                }
            }
        }
    }
}
