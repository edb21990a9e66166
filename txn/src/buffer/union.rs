//! The buffer over a store.

use super::layer::{Cursor, End, Layer};
use super::{BufferSnapshot, Entry, MemBuffer};
use bytes::Bytes;
use std::iter::{Fuse, FusedIterator};
use std::ops::RangeBounds;

/// A layer of writes over a store's pairs: the layer wins, tombstones hide, flags-only never shows.
///
/// Made by `union` (ascending) and `union_rev` (descending) of [`MemBuffer`] and
/// [`BufferSnapshot`]. Keys come in strict order, none twice. Over a `MemBuffer` the buffer is asked
/// anew at each step: a store value that was overwritten or deleted here before that step began is
/// never yielded, writes behind the cursor are not seen.
#[must_use = "iterators do nothing unless they are advanced"]
pub struct Union<L, S> {
    cursor: Cursor<L>,
    end: End,
    store: Fuse<S>,
    /// The store's next pair, where it was looked at and not yet taken.
    ahead: Option<(Bytes, Bytes)>,
    done: bool,
}

macro_rules! unions {
    ($layer:ty) => {
        impl $layer {
            /// The merged view over `store`: its pairs, ascending. Pairs outside `bounds` or out of
            /// order are passed over.
            pub fn union<K, S>(
                &self,
                bounds: impl RangeBounds<K>,
                store: S,
            ) -> Union<$layer, S::IntoIter>
            where
                K: AsRef<[u8]>,
                S: IntoIterator<Item = (Bytes, Bytes)>,
            {
                Union::new(self.clone(), bounds, End::Front, store)
            }

            /// The merged view from the back over `store`: its pairs, descending. Pairs outside
            /// `bounds` or out of order are passed over.
            pub fn union_rev<K, S>(
                &self,
                bounds: impl RangeBounds<K>,
                store: S,
            ) -> Union<$layer, S::IntoIter>
            where
                K: AsRef<[u8]>,
                S: IntoIterator<Item = (Bytes, Bytes)>,
            {
                Union::new(self.clone(), bounds, End::Back, store)
            }
        }
    };
}

unions!(MemBuffer);
unions!(BufferSnapshot);

impl<L: Layer, S: Iterator<Item = (Bytes, Bytes)>> Union<L, S> {
    fn new<K: AsRef<[u8]>>(
        layer: L,
        bounds: impl RangeBounds<K>,
        end: End,
        store: impl IntoIterator<IntoIter = S>,
    ) -> Self {
        Union {
            cursor: Cursor::new(layer, bounds, false),
            end,
            store: store.into_iter().fuse(),
            ahead: None,
            done: false,
        }
    }

    /// Loads the store's next pair that is still to come.
    fn look_ahead(&mut self) {
        while self
            .ahead
            .as_ref()
            .is_none_or(|(key, _)| !self.cursor.contains(key))
        {
            self.ahead = self.store.next();
            if self.ahead.is_none() {
                return;
            }
        }
    }
}

impl<L: Layer, S: Iterator<Item = (Bytes, Bytes)>> Iterator for Union<L, S> {
    type Item = (Bytes, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            // The store first: what the layer says must be as new as this step.
            self.look_ahead();
            let next = self.ahead.as_ref().map(|(key, _)| &key[..]);
            let own = self.cursor.look(self.end, next);
            let store_first = match (&own, &self.ahead) {
                (None, None) => {
                    self.done = true;
                    return None;
                }
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (Some(own), Some((key, _))) => match self.end {
                    End::Front => key < &own.key,
                    End::Back => key > &own.key,
                },
            };
            if store_first {
                let pair = self.ahead.take()?;
                self.cursor.pass(self.end, pair.0.clone());
                return Some(pair);
            }
            let own = own?;
            self.cursor.pass(self.end, own.key.clone());
            if let Some(Entry::Value(value)) = own.entry {
                return Some((own.key, value));
            }
        }
        None
    }
}

impl<L: Layer, S: Iterator<Item = (Bytes, Bytes)>> FusedIterator for Union<L, S> {}

impl<L, S> std::fmt::Debug for Union<L, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Union").finish_non_exhaustive()
    }
}
