//! Reads at a timestamp.
//!
//! A key that is locked by somebody who wrote it before the timestamp cannot be read at once: the lock's transaction is
//! looked at, and with the first look its commit timestamp is pushed above the reader's, so that it is the reader who
//! goes on and the lock that is passed over. Only a transaction of async commit, whose timestamp is fixed
//! already, is waited for.

use super::TikvError;
use super::cluster::Cluster;
use super::proto::kvrpcpb::{BatchGetRequest, Context, GetRequest, KeyError, ScanRequest as Scan};
use super::resolve::{Found, Passed, each};
use crate::error::Error;
use crate::store::{Pairs, ScanRequest, Timestamp};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// Keys of one page of a scan (rule 54).
const PAGE: usize = 256;

impl Cluster {
    pub(super) async fn get(
        self: &Arc<Self>,
        key: &Bytes,
        at: Timestamp,
    ) -> Result<Option<Bytes>, Error> {
        let mut passed = Passed::default();
        loop {
            let request = GetRequest {
                context: Some(passed.context()),
                key: key.clone(),
                version: at,
            };
            let answer = self.at_key(key, &request, Duration::ZERO).await?;
            match answer.error {
                None if answer.not_found => return Ok(None),
                None => return Ok(Some(answer.value)),
                Some(error) => self.pass(vec![error], at, &mut passed).await?,
            }
        }
    }

    /// In the order of `keys`, which may name a key more than once.
    pub(super) async fn batch_get(
        self: &Arc<Self>,
        keys: &[Bytes],
        at: Timestamp,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let mut left = keys.to_vec();
        left.sort_unstable();
        left.dedup();
        let mut found: HashMap<Bytes, Bytes> = HashMap::new();
        let mut passed = Passed::default();
        while !left.is_empty() {
            let request = |keys: &[Bytes]| BatchGetRequest {
                context: Some(passed.context()),
                keys: keys.to_vec(),
                version: at,
            };
            let answers = self.spread(left, request, Duration::ZERO).await?;
            left = Vec::new();
            let mut locked = Vec::new();
            for (keys, answer) in answers {
                if let Some(error) = answer.error {
                    locked.push(error);
                    left.extend(keys);
                    continue;
                }
                for pair in answer.pairs {
                    match pair.error {
                        // The pair's own key is empty then, in some versions.
                        Some(error) => {
                            left.extend(error.locked.as_ref().map(|lock| lock.key.clone()));
                            locked.push(error);
                        }
                        None => drop(found.insert(pair.key, pair.value)),
                    }
                }
            }
            left.sort_unstable();
            if !locked.is_empty() {
                self.pass(locked, at, &mut passed).await?;
            }
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// Page after page, region after region.
    pub(super) async fn scan(self: &Arc<Self>, request: &ScanRequest) -> Result<Pairs, Error> {
        let mut lower = first_of(&request.lower);
        let mut upper = match &request.upper {
            Bound::Unbounded => None,
            Bound::Excluded(key) => Some(key.clone()),
            Bound::Included(key) => Some(after(key)),
        };
        let mut pairs = Pairs::new();
        let mut passed = Passed::default();
        let mut retry = self.retry();
        while pairs.len() < request.limit && upper.as_ref().is_none_or(|upper| lower < *upper) {
            let region = if request.reverse {
                self.regions.locate_before(upper.as_deref()).await?
            } else {
                self.regions.locate(&lower).await?
            };
            let begin = lower.clone().max(region.start.clone());
            let end = match &upper {
                Some(upper) if region.end.is_empty() || *upper < region.end => upper.clone(),
                _ => region.end.clone(),
            };
            let limit = PAGE.min(request.limit - pairs.len());
            let (start_key, end_key) = if request.reverse {
                let behind = if end.is_empty() {
                    behind_all()
                } else {
                    end.clone()
                };
                (behind, begin.clone())
            } else {
                (begin.clone(), end.clone())
            };
            let page = Scan {
                context: Some(passed.context()),
                start_key,
                end_key,
                limit: limit as u32,
                version: request.at,
                reverse: request.reverse,
                key_only: false,
            };
            let Some(answer) = self.at_chosen(&region, page, &mut retry).await? else {
                continue;
            };
            retry = self.retry();
            let mut locked: Vec<KeyError> = answer.error.into_iter().collect();
            let is_last = answer.pairs.len() < limit;
            let before = pairs.len();
            for pair in answer.pairs {
                match pair.error {
                    Some(error) => locked.push(error),
                    // What comes behind a locked key is asked for again, with it.
                    None if locked.is_empty() => pairs.push((pair.key, pair.value)),
                    None => {}
                }
            }
            let last = pairs[before..].last().map(|(key, _)| key.clone());
            if !locked.is_empty() || !is_last {
                match (last, request.reverse) {
                    (Some(last), false) => lower = after(&last),
                    (Some(last), true) => upper = Some(last),
                    (None, _) => {}
                }
                if !locked.is_empty() {
                    self.pass(locked, request.at, &mut passed).await?;
                }
                continue;
            }
            // The region has no more: on to its neighbour.
            if request.reverse {
                if begin <= lower {
                    break;
                }
                upper = Some(begin);
            } else {
                if end.is_empty() {
                    break;
                }
                lower = end;
            }
        }
        Ok(pairs)
    }

    /// Clears the way past locks that a reader at `at` met.
    async fn pass(
        self: &Arc<Self>,
        met: Vec<KeyError>,
        at: Timestamp,
        passed: &mut Passed,
    ) -> Result<(), Error> {
        let mut locks = Vec::with_capacity(met.len());
        for error in met {
            let Some(locked) = error.locked else {
                return Err(TikvError::Protocol {
                    what: format!("a read failed: {error:?}"),
                }
                .into());
            };
            locks.extend(each(locked));
        }
        locks.retain(|lock| !passed.transactions.contains(&lock.lock_version));
        for (lock, found) in self.resolve(locks, at).await? {
            match found {
                Found::Gone => {}
                Found::Passed => passed.transactions.push(lock.lock_version),
                Found::Alive { .. } => passed.wait().await,
            }
        }
        Ok(())
    }
}

impl Passed {
    /// The context of the next request.
    fn context(&self) -> Context {
        Context {
            resolved_locks: self.transactions.clone(),
            ..Context::default()
        }
    }
}

/// Behind every key: from the back, an empty border would be before them all. TiKV takes no key of so many bytes.
fn behind_all() -> Bytes {
    const LONGEST_KEY: usize = 8 << 10;
    vec![0xff; LONGEST_KEY].into()
}

fn first_of(bound: &Bound<Bytes>) -> Bytes {
    match bound {
        Bound::Unbounded => Bytes::new(),
        Bound::Included(key) => key.clone(),
        Bound::Excluded(key) => after(key),
    }
}

/// The key that follows another.
fn after(key: &Bytes) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.extend_from_slice(&[0]);
    next.freeze()
}
