//! One generation of a pipelined transaction, as a store is asked to put it down.

use super::Prewrite;

/// One generation of a pipelined transaction.
///
/// It has no [`Lock`](super::MutationOp::Lock), since the transaction takes no locks but by flushing, and an
/// [`Insert`](super::MutationOp::Insert) or [`CheckNotExists`](super::MutationOp::CheckNotExists) only of a key that no
/// generation has written.
///
/// ```
/// use untorn_txn::store::{Flush, Mutation, MutationOp, Prewrite};
///
/// let mutation = Mutation::new("k".into(), MutationOp::Put("v".into()));
/// let flush = Flush::new(1, Prewrite::new(vec![mutation]));
/// assert!(!flush.prewrite.may_decide);
/// ```
#[derive(Debug, Clone)]
pub struct Flush {
    /// Its number, from 1 on. Of the generations that write one key the largest counts.
    pub generation: u64,
    /// What it puts down, and how; it never decides. The primary need not be among its mutations.
    pub prewrite: Prewrite,
}

impl Flush {
    /// A prewrite as a generation.
    pub fn new(generation: u64, prewrite: Prewrite) -> Self {
        Self {
            generation,
            prewrite: Prewrite {
                may_decide: false,
                ..prewrite
            },
        }
    }
}
