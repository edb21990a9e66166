//! Package `kvrpcpb` of kvproto, written by `trim.py`.

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: bytes::Bytes,
    #[prost(uint64, tag = "3")]
    pub version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<KeyError>,
    #[prost(bytes = "bytes", tag = "3")]
    pub value: bytes::Bytes,
    #[prost(bool, tag = "4")]
    pub not_found: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ScanRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(bytes = "bytes", tag = "2")]
    pub start_key: bytes::Bytes,
    #[prost(uint32, tag = "3")]
    pub limit: u32,
    #[prost(uint64, tag = "4")]
    pub version: u64,
    #[prost(bool, tag = "5")]
    pub key_only: bool,
    #[prost(bool, tag = "6")]
    pub reverse: bool,
    #[prost(bytes = "bytes", tag = "7")]
    pub end_key: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ScanResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, repeated, tag = "2")]
    pub pairs: Vec<KvPair>,
    #[prost(message, optional, tag = "3")]
    pub error: Option<KeyError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PrewriteRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(message, repeated, tag = "2")]
    pub mutations: Vec<Mutation>,
    #[prost(bytes = "bytes", tag = "3")]
    pub primary_lock: bytes::Bytes,
    #[prost(uint64, tag = "4")]
    pub start_version: u64,
    #[prost(uint64, tag = "5")]
    pub lock_ttl: u64,
    #[prost(enumeration = "PessimisticAction", repeated, tag = "7")]
    pub pessimistic_actions: Vec<i32>,
    #[prost(uint64, tag = "8")]
    pub txn_size: u64,
    #[prost(uint64, tag = "9")]
    pub for_update_ts: u64,
    #[prost(uint64, tag = "10")]
    pub min_commit_ts: u64,
    #[prost(bool, tag = "11")]
    pub use_async_commit: bool,
    #[prost(bytes = "bytes", repeated, tag = "12")]
    pub secondaries: Vec<bytes::Bytes>,
    #[prost(bool, tag = "13")]
    pub try_one_pc: bool,
    #[prost(enumeration = "AssertionLevel", tag = "15")]
    pub assertion_level: i32,
    #[prost(message, repeated, tag = "16")]
    pub for_update_ts_constraints: Vec<ForUpdateTsConstraint>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PessimisticAction {
    SkipPessimisticCheck = 0,
    DoPessimisticCheck = 1,
    DoConstraintCheck = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ForUpdateTsConstraint {
    #[prost(uint32, tag = "1")]
    pub index: u32,
    #[prost(uint64, tag = "2")]
    pub expected_for_update_ts: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PrewriteResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, repeated, tag = "2")]
    pub errors: Vec<KeyError>,
    #[prost(uint64, tag = "3")]
    pub min_commit_ts: u64,
    #[prost(uint64, tag = "4")]
    pub one_pc_commit_ts: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PessimisticLockWakeUpMode {
    WakeUpModeNormal = 0,
    WakeUpModeForceLock = 1,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PessimisticLockRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(message, repeated, tag = "2")]
    pub mutations: Vec<Mutation>,
    #[prost(bytes = "bytes", tag = "3")]
    pub primary_lock: bytes::Bytes,
    #[prost(uint64, tag = "4")]
    pub start_version: u64,
    #[prost(uint64, tag = "5")]
    pub lock_ttl: u64,
    #[prost(uint64, tag = "6")]
    pub for_update_ts: u64,
    #[prost(bool, tag = "7")]
    pub is_first_lock: bool,
    #[prost(int64, tag = "8")]
    pub wait_timeout: i64,
    #[prost(bool, tag = "10")]
    pub return_values: bool,
    #[prost(uint64, tag = "11")]
    pub min_commit_ts: u64,
    #[prost(bool, tag = "12")]
    pub check_existence: bool,
    #[prost(bool, tag = "13")]
    pub lock_only_if_exists: bool,
    #[prost(enumeration = "PessimisticLockWakeUpMode", tag = "14")]
    pub wake_up_mode: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PessimisticLockKeyResultType {
    LockResultNormal = 0,
    LockResultLockedWithConflict = 1,
    LockResultFailed = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PessimisticLockKeyResult {
    #[prost(enumeration = "PessimisticLockKeyResultType", tag = "1")]
    pub r#type: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: bytes::Bytes,
    #[prost(bool, tag = "3")]
    pub existence: bool,
    #[prost(uint64, tag = "4")]
    pub locked_with_conflict_ts: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PessimisticLockResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, repeated, tag = "2")]
    pub errors: Vec<KeyError>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub values: Vec<bytes::Bytes>,
    #[prost(bool, repeated, tag = "6")]
    pub not_founds: Vec<bool>,
    #[prost(message, repeated, tag = "8")]
    pub results: Vec<PessimisticLockKeyResult>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PessimisticRollbackRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(uint64, tag = "2")]
    pub start_version: u64,
    #[prost(uint64, tag = "3")]
    pub for_update_ts: u64,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub keys: Vec<bytes::Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PessimisticRollbackResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, repeated, tag = "2")]
    pub errors: Vec<KeyError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnHeartBeatRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(bytes = "bytes", tag = "2")]
    pub primary_lock: bytes::Bytes,
    #[prost(uint64, tag = "3")]
    pub start_version: u64,
    #[prost(uint64, tag = "4")]
    pub advise_lock_ttl: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnHeartBeatResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<KeyError>,
    #[prost(uint64, tag = "3")]
    pub lock_ttl: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckTxnStatusRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(bytes = "bytes", tag = "2")]
    pub primary_key: bytes::Bytes,
    #[prost(uint64, tag = "3")]
    pub lock_ts: u64,
    #[prost(uint64, tag = "4")]
    pub caller_start_ts: u64,
    #[prost(uint64, tag = "5")]
    pub current_ts: u64,
    #[prost(bool, tag = "6")]
    pub rollback_if_not_exist: bool,
    #[prost(bool, tag = "7")]
    pub force_sync_commit: bool,
    #[prost(bool, tag = "8")]
    pub resolving_pessimistic_lock: bool,
    #[prost(bool, tag = "9")]
    pub verify_is_primary: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckTxnStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<KeyError>,
    #[prost(uint64, tag = "3")]
    pub lock_ttl: u64,
    #[prost(uint64, tag = "4")]
    pub commit_version: u64,
    #[prost(enumeration = "Action", tag = "5")]
    pub action: i32,
    #[prost(message, optional, tag = "6")]
    pub lock_info: Option<LockInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckSecondaryLocksRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub keys: Vec<bytes::Bytes>,
    #[prost(uint64, tag = "3")]
    pub start_version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckSecondaryLocksResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<KeyError>,
    #[prost(message, repeated, tag = "3")]
    pub locks: Vec<LockInfo>,
    #[prost(uint64, tag = "4")]
    pub commit_ts: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CommitRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(uint64, tag = "2")]
    pub start_version: u64,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub keys: Vec<bytes::Bytes>,
    #[prost(uint64, tag = "4")]
    pub commit_version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CommitResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<KeyError>,
    #[prost(uint64, tag = "3")]
    pub commit_version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchGetRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub keys: Vec<bytes::Bytes>,
    #[prost(uint64, tag = "3")]
    pub version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchGetResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, repeated, tag = "2")]
    pub pairs: Vec<KvPair>,
    #[prost(message, optional, tag = "5")]
    pub error: Option<KeyError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchRollbackRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(uint64, tag = "2")]
    pub start_version: u64,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub keys: Vec<bytes::Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchRollbackResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<KeyError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ResolveLockRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(uint64, tag = "2")]
    pub start_version: u64,
    #[prost(uint64, tag = "3")]
    pub commit_version: u64,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub keys: Vec<bytes::Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ResolveLockResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<KeyError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Context {
    #[prost(uint64, tag = "1")]
    pub region_id: u64,
    #[prost(message, optional, tag = "2")]
    pub region_epoch: Option<super::metapb::RegionEpoch>,
    #[prost(message, optional, tag = "3")]
    pub peer: Option<super::metapb::Peer>,
    #[prost(uint64, repeated, tag = "13")]
    pub resolved_locks: Vec<u64>,
    #[prost(uint64, tag = "14")]
    pub max_execution_duration_ms: u64,
    #[prost(bool, tag = "20")]
    pub is_retry_request: bool,
    #[prost(uint64, repeated, tag = "22")]
    pub committed_locks: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct LockInfo {
    #[prost(bytes = "bytes", tag = "1")]
    pub primary_lock: bytes::Bytes,
    #[prost(uint64, tag = "2")]
    pub lock_version: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub key: bytes::Bytes,
    #[prost(uint64, tag = "4")]
    pub lock_ttl: u64,
    #[prost(uint64, tag = "5")]
    pub txn_size: u64,
    #[prost(enumeration = "Op", tag = "6")]
    pub lock_type: i32,
    #[prost(uint64, tag = "7")]
    pub lock_for_update_ts: u64,
    #[prost(bool, tag = "8")]
    pub use_async_commit: bool,
    #[prost(uint64, tag = "9")]
    pub min_commit_ts: u64,
    #[prost(bytes = "bytes", repeated, tag = "10")]
    pub secondaries: Vec<bytes::Bytes>,
    /// Since TiKV 8.5.8: who holds a lock of the type [`Op::SharedLock`].
    #[prost(message, repeated, tag = "12")]
    pub shared_lock_infos: Vec<LockInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyError {
    #[prost(message, optional, tag = "1")]
    pub locked: Option<LockInfo>,
    #[prost(string, tag = "2")]
    pub retryable: String,
    #[prost(string, tag = "3")]
    pub abort: String,
    #[prost(message, optional, tag = "4")]
    pub conflict: Option<WriteConflict>,
    #[prost(message, optional, tag = "5")]
    pub already_exist: Option<AlreadyExist>,
    #[prost(message, optional, tag = "6")]
    pub deadlock: Option<Deadlock>,
    #[prost(message, optional, tag = "7")]
    pub commit_ts_expired: Option<CommitTsExpired>,
    #[prost(message, optional, tag = "8")]
    pub txn_not_found: Option<TxnNotFound>,
    #[prost(message, optional, tag = "9")]
    pub commit_ts_too_large: Option<CommitTsTooLarge>,
    #[prost(message, optional, tag = "10")]
    pub assertion_failed: Option<AssertionFailed>,
    #[prost(message, optional, tag = "11")]
    pub primary_mismatch: Option<PrimaryMismatch>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteConflict {
    #[prost(uint64, tag = "1")]
    pub start_ts: u64,
    #[prost(uint64, tag = "2")]
    pub conflict_ts: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub key: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub primary: bytes::Bytes,
    #[prost(uint64, tag = "5")]
    pub conflict_commit_ts: u64,
    #[prost(enumeration = "Reason", tag = "6")]
    pub reason: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Reason {
    Unknown = 0,
    Optimistic = 1,
    PessimisticRetry = 2,
    SelfRolledBack = 3,
    RcCheckTs = 4,
    LazyUniquenessCheck = 5,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AlreadyExist {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Deadlock {
    #[prost(uint64, tag = "1")]
    pub lock_ts: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub lock_key: bytes::Bytes,
    #[prost(uint64, tag = "3")]
    pub deadlock_key_hash: u64,
    #[prost(message, repeated, tag = "4")]
    pub wait_chain: Vec<super::deadlock::WaitForEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CommitTsExpired {
    #[prost(uint64, tag = "1")]
    pub start_ts: u64,
    #[prost(uint64, tag = "2")]
    pub attempted_commit_ts: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub key: bytes::Bytes,
    #[prost(uint64, tag = "4")]
    pub min_commit_ts: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnNotFound {
    #[prost(uint64, tag = "1")]
    pub start_ts: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub primary_key: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CommitTsTooLarge {
    #[prost(uint64, tag = "1")]
    pub commit_ts: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AssertionFailed {
    #[prost(uint64, tag = "1")]
    pub start_ts: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: bytes::Bytes,
    #[prost(enumeration = "Assertion", tag = "3")]
    pub assertion: i32,
    #[prost(uint64, tag = "4")]
    pub existing_start_ts: u64,
    #[prost(uint64, tag = "5")]
    pub existing_commit_ts: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PrimaryMismatch {
    #[prost(message, optional, tag = "1")]
    pub lock_info: Option<LockInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct KvPair {
    #[prost(message, optional, tag = "1")]
    pub error: Option<KeyError>,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub value: bytes::Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Op {
    Put = 0,
    Del = 1,
    Lock = 2,
    Rollback = 3,
    Insert = 4,
    PessimisticLock = 5,
    CheckNotExists = 6,
    SharedLock = 7,
    SharedPessimisticLock = 8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Assertion {
    None = 0,
    Exist = 1,
    NotExist = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AssertionLevel {
    Off = 0,
    Fast = 1,
    Strict = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Mutation {
    #[prost(enumeration = "Op", tag = "1")]
    pub op: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub value: bytes::Bytes,
    #[prost(enumeration = "Assertion", tag = "4")]
    pub assertion: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Action {
    NoAction = 0,
    TtlExpireRollback = 1,
    LockNotExistRollback = 2,
    MinCommitTsPushed = 3,
    TtlExpirePessimisticRollback = 4,
    LockNotExistDoNothing = 5,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct FlushRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(message, repeated, tag = "2")]
    pub mutations: Vec<Mutation>,
    #[prost(bytes = "bytes", tag = "3")]
    pub primary_key: bytes::Bytes,
    #[prost(uint64, tag = "4")]
    pub start_ts: u64,
    #[prost(uint64, tag = "5")]
    pub min_commit_ts: u64,
    #[prost(uint64, tag = "6")]
    pub generation: u64,
    #[prost(uint64, tag = "7")]
    pub lock_ttl: u64,
    #[prost(enumeration = "AssertionLevel", tag = "8")]
    pub assertion_level: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct FlushResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, repeated, tag = "2")]
    pub errors: Vec<KeyError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BufferBatchGetRequest {
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub keys: Vec<bytes::Bytes>,
    #[prost(uint64, tag = "3")]
    pub version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BufferBatchGetResponse {
    #[prost(message, optional, tag = "1")]
    pub region_error: Option<super::errorpb::Error>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<KeyError>,
    #[prost(message, repeated, tag = "3")]
    pub pairs: Vec<KvPair>,
}
