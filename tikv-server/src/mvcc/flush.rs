//! What a pipelined transaction flushes, and reads back.
//!
//! A flush is a prewrite whose locks have a generation. A larger one replaces the lock of a smaller one; an equal or smaller one is
//! ignored. Keys that are locked by others are told, and the rest is written all the same; any other error leaves everything as it was.

use super::prewrite::{Checked, check, lock_of};
use super::{Engine, Kind, Lock, aborted};
use bytes::Bytes;
use untorn_txn::store::Timestamp;
use untorn_txn::store::tikv::proto::kvrpcpb::{FlushRequest, FlushResponse, PrewriteRequest};

impl Engine {
    pub(crate) fn flush(&mut self, request: &FlushRequest) -> FlushResponse {
        let failed = |error| FlushResponse {
            errors: vec![error],
            ..FlushResponse::default()
        };
        if request.generation == 0 {
            return failed(aborted("a generation is greater than 0".to_owned()));
        }
        let prewrite = as_prewrite(request);
        let mut failed_assertion = None;
        let mut locked = Vec::new();
        let mut written = Vec::new();
        for (at, mutation) in prewrite.mutations.iter().enumerate() {
            let key = self.key(&mutation.key);
            let own = key.lock_of(request.start_ts).map(|own| own.generation);
            let checked = match own {
                Some(generation) if generation >= request.generation => continue,
                Some(generation) if generation > 0 => Ok(Checked::Write),
                _ => check(key, &prewrite, at, mutation, &mut failed_assertion),
            };
            match checked {
                Ok(Checked::Write) => written.push((
                    mutation.key.clone(),
                    Lock {
                        generation: request.generation,
                        ..lock_of(&prewrite, mutation)
                    },
                )),
                Ok(Checked::Committed(_)) => return FlushResponse::default(),
                Ok(Checked::Done(_) | Checked::Nothing) => {}
                Err(error) if error.locked.is_some() => locked.push(error),
                Err(error) => return failed(error),
            }
        }
        if let Some(error) = failed_assertion {
            return failed(error);
        }
        for (key, lock) in written {
            self.key(&key).set_lock(lock);
        }
        FlushResponse {
            errors: locked,
            ..FlushResponse::default()
        }
    }

    /// What a transaction has flushed for a key; without bytes where that deletes it.
    pub(crate) fn flushed(&self, key: &Bytes, start: Timestamp) -> Option<Bytes> {
        let lock = self.keys.get(key)?.lock_of(start)?;
        match &lock.kind {
            Kind::Put(value) if lock.generation > 0 => Some(value.clone()),
            Kind::Delete if lock.generation > 0 => Some(Bytes::new()),
            _ => None,
        }
    }
}

fn as_prewrite(request: &FlushRequest) -> PrewriteRequest {
    PrewriteRequest {
        context: request.context.clone(),
        mutations: request.mutations.clone(),
        primary_lock: request.primary_key.clone(),
        start_version: request.start_ts,
        lock_ttl: request.lock_ttl,
        // Unknown.
        txn_size: u64::MAX,
        min_commit_ts: request.min_commit_ts,
        assertion_level: request.assertion_level,
        ..PrewriteRequest::default()
    }
}
