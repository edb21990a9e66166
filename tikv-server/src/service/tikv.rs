//! A store: its regions' requests, each in one step under the engine's mutex.

use super::{lost, name_of, unary, unknown};
use crate::faults::Fault;
use crate::mvcc::{self, Locking};
use crate::state::{Data, State};
use bytes::Bytes;
use http::{Request, Response};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use untorn_txn::store::tikv::proto::kvrpcpb::{
    BatchGetRequest, BatchGetResponse, BatchRollbackRequest, BatchRollbackResponse,
    BufferBatchGetRequest, BufferBatchGetResponse, CheckSecondaryLocksRequest,
    CheckTxnStatusRequest, CommitRequest, CommitResponse, FlushRequest, FlushResponse, GetRequest,
    GetResponse, KvPair, PessimisticLockRequest, PessimisticLockResponse,
    PessimisticLockWakeUpMode, PessimisticRollbackRequest, PessimisticRollbackResponse,
    PrewriteRequest, ResolveLockRequest, ResolveLockResponse, ScanRequest, ScanResponse,
    TxnHeartBeatRequest,
};
use untorn_txn::store::tikv::proto::{RegionRequest, RegionResponse};

/// How long a request waits that does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// A request of this service: which keys have to be in the region, and what is done.
trait Serve: RegionRequest {
    fn keys(&self) -> Vec<Bytes>;

    /// Names the keys of the region that it is about, where it names none.
    fn name_keys(&mut self, _data: &Data, _region: &(Bytes, Bytes)) {}

    /// The answer, with the keys whose locks may have been given up.
    fn run(self, data: &mut Data) -> Self::Response;

    fn gives_up(&self) -> Vec<Bytes> {
        Vec::new()
    }
}

pub(super) async fn serve(state: Arc<State>, store: u64, request: Request<Body>) -> Response<Body> {
    macro_rules! methods {
        ($($request:ident)*) => {
            match request.uri().path() {
                $($request::PATH => unary(request, move |request: $request| answer(state, store, request)).await,)*
                PessimisticLockRequest::PATH => {
                    unary(request, move |request| answer_lock(state, store, request)).await
                }
                _ => unknown(&request),
            }
        };
    }
    methods! {
        GetRequest BatchGetRequest ScanRequest PessimisticRollbackRequest PrewriteRequest CommitRequest
        BatchRollbackRequest TxnHeartBeatRequest CheckTxnStatusRequest CheckSecondaryLocksRequest ResolveLockRequest
        FlushRequest BufferBatchGetRequest
    }
}

/// A request that is being carried out.
struct Served(Arc<State>);

impl Served {
    fn new(state: &Arc<State>) -> Self {
        // Only a count, for who looks at it.
        state.served.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(state))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.served.fetch_sub(1, Ordering::Release);
    }
}

/// What befalls a request before it is looked at.
async fn befall<R: RegionRequest>(
    state: &State,
    store: u64,
    request: &mut R,
    keys: &[Bytes],
) -> Result<Result<Option<Fault>, R::Response>, Status> {
    let fault = state.next_fault(name_of(R::PATH));
    if let Some(Fault::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    if fault == Some(Fault::LostRequest) {
        return Err(lost());
    }
    let refusal = fault.and_then(Fault::refusal);
    let refusal = refusal.or_else(|| {
        state.topology(|topology| topology.refuses(store, request.context_mut(), keys.iter()))
    });
    Ok(match refusal {
        None => Ok(fault),
        Some(refusal) => {
            let mut response = R::Response::default();
            *response.region_error_mut() = Some(refusal);
            Err(response)
        }
    })
}

async fn answer<R: Serve>(
    state: Arc<State>,
    store: u64,
    mut request: R,
) -> Result<R::Response, Status> {
    let _served = Served::new(&state);
    let keys = request.keys();
    let fault = match befall(&state, store, &mut request, &keys).await? {
        Ok(fault) => fault,
        Err(refused) => return Ok(refused),
    };
    let region = request.context_mut().region_id;
    let region = state.topology(|topology| topology.borders(region));
    let (given_up, answer) = state.data(|data| {
        request.name_keys(data, &region);
        let given_up = request.gives_up();
        if fault == Some(Fault::Duplicate) {
            drop(request.clone().run(data));
        }
        (given_up, request.run(data))
    });
    state.wake(&given_up);
    if fault == Some(Fault::LostAnswer) {
        return Err(lost());
    }
    Ok(answer)
}

async fn answer_lock(
    state: Arc<State>,
    store: u64,
    mut request: PessimisticLockRequest,
) -> Result<PessimisticLockResponse, Status> {
    let _served = Served::new(&state);
    let keys: Vec<Bytes> = request
        .mutations
        .iter()
        .map(|mutation| mutation.key.clone())
        .collect();
    let fault = match befall(&state, store, &mut request, &keys).await? {
        Ok(fault) => fault,
        Err(refused) => return Ok(refused),
    };
    let answer = lock(&state, &request).await;
    match fault {
        Some(Fault::LostAnswer) => Err(lost()),
        Some(Fault::Duplicate) => Ok(lock(&state, &request).await),
        _ => Ok(answer),
    }
}

async fn lock(state: &Arc<State>, request: &PessimisticLockRequest) -> PessimisticLockResponse {
    let is_forced = request.wake_up_mode == PessimisticLockWakeUpMode::WakeUpModeForceLock as i32;
    let wait = match request.wait_timeout {
        0 => DEFAULT_WAIT,
        millis => Duration::from_millis(u64::try_from(millis).unwrap_or(0)),
    };
    let end = Instant::now() + wait;
    let start = request.start_version;
    let failed = |error| PessimisticLockResponse {
        errors: vec![error],
        ..PessimisticLockResponse::default()
    };
    loop {
        let entered = state.data(|data| match data.engine.pessimistic_lock(request) {
            Locking::Answered(answer) => Err(answer),
            Locking::Blocked { error, .. } if request.wait_timeout < 0 || Instant::now() >= end => {
                Err(failed(error))
            }
            Locking::Blocked {
                key,
                holders,
                error,
            } => {
                let place = data
                    .waits
                    .enter(start, &key, holders.clone(), request.is_first_lock);
                place.map(|place| (place, holders, error)).map_err(failed)
            }
        });
        let (mut place, holders, error) = match entered {
            Ok(entered) => entered,
            Err(answer) => return answer,
        };
        // Also where the caller is gone.
        let leaving = Leaving {
            state,
            key: place.key.clone(),
            number: place.number,
        };
        let woken = tokio::time::timeout_at(end, &mut place.woken).await;
        drop(leaving);
        match woken {
            Err(_) => return failed(error),
            Ok(_) if is_forced => {}
            Ok(_) => {
                let by = holders.first().copied().unwrap_or_default();
                let at = state.data(|data| data.engine.newest_commit(&place.key));
                return failed(mvcc::conflict(request, &place.key, by, at));
            }
        }
    }
}

struct Leaving<'a> {
    state: &'a State,
    key: Bytes,
    number: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.state
            .data(|data| data.waits.leave(&self.key, self.number));
    }
}

impl Serve for GetRequest {
    fn keys(&self) -> Vec<Bytes> {
        vec![self.key.clone()]
    }

    fn run(mut self, data: &mut Data) -> GetResponse {
        let resolved = std::mem::take(&mut self.context_mut().resolved_locks);
        let mut answer = GetResponse::default();
        match data.engine.get(&self.key, self.version, &resolved) {
            Ok(Some(value)) => answer.value = value,
            Ok(None) => answer.not_found = true,
            Err(error) => answer.error = Some(error),
        }
        answer
    }
}

impl Serve for BatchGetRequest {
    fn keys(&self) -> Vec<Bytes> {
        self.keys.clone()
    }

    fn run(mut self, data: &mut Data) -> BatchGetResponse {
        let resolved = std::mem::take(&mut self.context_mut().resolved_locks);
        let mut answer = BatchGetResponse::default();
        for key in self.keys {
            let (error, value) = match data.engine.get(&key, self.version, &resolved) {
                Ok(None) => continue,
                Ok(Some(value)) => (None, value),
                Err(error) => (Some(error), Bytes::new()),
            };
            answer.pairs.push(KvPair { error, key, value });
        }
        answer
    }
}

impl Serve for ScanRequest {
    /// The border that is not a key of the range may lie at the region's end.
    fn keys(&self) -> Vec<Bytes> {
        let first = if self.reverse {
            &self.end_key
        } else {
            &self.start_key
        };
        vec![first.clone()]
    }

    fn run(mut self, data: &mut Data) -> ScanResponse {
        let resolved = std::mem::take(&mut self.context_mut().resolved_locks);
        ScanResponse {
            pairs: data.engine.scan(&self, &resolved),
            ..ScanResponse::default()
        }
    }
}

impl Serve for PessimisticRollbackRequest {
    fn keys(&self) -> Vec<Bytes> {
        self.keys.clone()
    }

    fn run(self, data: &mut Data) -> PessimisticRollbackResponse {
        data.engine
            .pessimistic_rollback(&self.keys, self.start_version, self.for_update_ts);
        PessimisticRollbackResponse::default()
    }

    fn gives_up(&self) -> Vec<Bytes> {
        self.keys.clone()
    }
}

impl Serve for PrewriteRequest {
    fn keys(&self) -> Vec<Bytes> {
        self.mutations
            .iter()
            .map(|mutation| mutation.key.clone())
            .collect()
    }

    fn run(self, data: &mut Data) -> Self::Response {
        data.engine.prewrite(&self)
    }

    fn gives_up(&self) -> Vec<Bytes> {
        if self.try_one_pc {
            Serve::keys(self)
        } else {
            Vec::new()
        }
    }
}

impl Serve for CommitRequest {
    fn keys(&self) -> Vec<Bytes> {
        self.keys.clone()
    }

    fn run(self, data: &mut Data) -> CommitResponse {
        let committed = data
            .engine
            .commit(&self.keys, self.start_version, self.commit_version);
        CommitResponse {
            error: committed.err(),
            commit_version: self.commit_version,
            ..CommitResponse::default()
        }
    }

    fn gives_up(&self) -> Vec<Bytes> {
        self.keys.clone()
    }
}

impl Serve for BatchRollbackRequest {
    fn keys(&self) -> Vec<Bytes> {
        self.keys.clone()
    }

    fn run(self, data: &mut Data) -> BatchRollbackResponse {
        BatchRollbackResponse {
            error: data.engine.roll_back(&self.keys, self.start_version).err(),
            ..BatchRollbackResponse::default()
        }
    }

    fn gives_up(&self) -> Vec<Bytes> {
        self.keys.clone()
    }
}

impl Serve for TxnHeartBeatRequest {
    fn keys(&self) -> Vec<Bytes> {
        vec![self.primary_lock.clone()]
    }

    fn run(self, data: &mut Data) -> Self::Response {
        data.engine.heartbeat(&self)
    }
}

impl Serve for CheckTxnStatusRequest {
    fn keys(&self) -> Vec<Bytes> {
        vec![self.primary_key.clone()]
    }

    fn run(self, data: &mut Data) -> Self::Response {
        data.engine.check_txn_status(&self)
    }

    fn gives_up(&self) -> Vec<Bytes> {
        vec![self.primary_key.clone()]
    }
}

impl Serve for CheckSecondaryLocksRequest {
    fn keys(&self) -> Vec<Bytes> {
        self.keys.clone()
    }

    fn run(self, data: &mut Data) -> Self::Response {
        data.engine.check_secondary_locks(&self)
    }

    fn gives_up(&self) -> Vec<Bytes> {
        self.keys.clone()
    }
}

impl Serve for FlushRequest {
    fn keys(&self) -> Vec<Bytes> {
        let mutations = self.mutations.iter();
        mutations.map(|mutation| mutation.key.clone()).collect()
    }

    fn run(self, data: &mut Data) -> FlushResponse {
        data.engine.flush(&self)
    }
}

impl Serve for BufferBatchGetRequest {
    fn keys(&self) -> Vec<Bytes> {
        self.keys.clone()
    }

    fn run(self, data: &mut Data) -> BufferBatchGetResponse {
        let found = |key: Bytes| {
            let value = data.engine.flushed(&key, self.version)?;
            let error = None;
            Some(KvPair { error, key, value })
        };
        BufferBatchGetResponse {
            pairs: self.keys.into_iter().filter_map(found).collect(),
            ..BufferBatchGetResponse::default()
        }
    }
}

impl Serve for ResolveLockRequest {
    fn keys(&self) -> Vec<Bytes> {
        self.keys.clone()
    }

    fn name_keys(&mut self, data: &Data, (lower, upper): &(Bytes, Bytes)) {
        if self.keys.is_empty() {
            self.keys = data.engine.locked_by(self.start_version, lower, upper);
        }
    }

    fn run(self, data: &mut Data) -> ResolveLockResponse {
        ResolveLockResponse {
            error: data
                .engine
                .resolve(&self.keys, self.start_version, self.commit_version)
                .err(),
            ..ResolveLockResponse::default()
        }
    }

    fn gives_up(&self) -> Vec<Bytes> {
        self.keys.clone()
    }
}
