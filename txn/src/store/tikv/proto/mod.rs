//! The messages of the protocol, as far as it is spoken here.
//!
//! One file for each package of [kvproto](https://github.com/pingcap/kvproto), with its names and its field numbers, written by
//! `trim.py` from kvproto's own files (with `--check` it tells whether they still agree). What is left out of a message
//! is skipped when it is read. `prost` derives the encoding from the attributes, so neither a build script nor a compiler of
//! `.proto` files is needed.
//!
//! Public for test servers. The fields are documented in kvproto.
#![allow(missing_docs, clippy::doc_markdown)]

pub mod deadlock;
pub mod errorpb;
pub mod kvrpcpb;
pub mod metapb;
pub mod pdpb;

/// A request of the service `tikvpb.Tikv` that is sent to the leader of a region.
pub trait RegionRequest: prost::Message + Default + Clone + 'static {
    /// The answer to it.
    type Response: RegionResponse;
    /// The method, as it stands in the request's path.
    const PATH: &'static str;
    /// Where it is sent to.
    fn context_mut(&mut self) -> &mut kvrpcpb::Context;
}

/// The answer to a [`RegionRequest`].
pub trait RegionResponse: prost::Message + Default + 'static {
    /// Why the region did not take the request.
    fn region_error_mut(&mut self) -> &mut Option<errorpb::Error>;
}

macro_rules! region_requests {
    ($($request:ident => $response:ident, $method:literal;)*) => {$(
        impl RegionRequest for kvrpcpb::$request {
            type Response = kvrpcpb::$response;
            const PATH: &'static str = concat!("/tikvpb.Tikv/", $method);

            fn context_mut(&mut self) -> &mut kvrpcpb::Context {
                self.context.get_or_insert_default()
            }
        }

        impl RegionResponse for kvrpcpb::$response {
            fn region_error_mut(&mut self) -> &mut Option<errorpb::Error> {
                &mut self.region_error
            }
        }
    )*};
}

region_requests! {
    GetRequest => GetResponse, "KvGet";
    BatchGetRequest => BatchGetResponse, "KvBatchGet";
    ScanRequest => ScanResponse, "KvScan";
    PessimisticLockRequest => PessimisticLockResponse, "KvPessimisticLock";
    PessimisticRollbackRequest => PessimisticRollbackResponse, "KVPessimisticRollback";
    PrewriteRequest => PrewriteResponse, "KvPrewrite";
    CommitRequest => CommitResponse, "KvCommit";
    BatchRollbackRequest => BatchRollbackResponse, "KvBatchRollback";
    TxnHeartBeatRequest => TxnHeartBeatResponse, "KvTxnHeartBeat";
    CheckTxnStatusRequest => CheckTxnStatusResponse, "KvCheckTxnStatus";
    CheckSecondaryLocksRequest => CheckSecondaryLocksResponse, "KvCheckSecondaryLocks";
    ResolveLockRequest => ResolveLockResponse, "KvResolveLock";
    FlushRequest => FlushResponse, "KvFlush";
    BufferBatchGetRequest => BufferBatchGetResponse, "KvBufferBatchGet";
}

/// A request of the service `pdpb.PD`.
pub trait PdRequest: prost::Message + Default + Clone + 'static {
    /// The answer to it.
    type Response: PdResponse;
    /// The method, as it stands in the request's path.
    const PATH: &'static str;
    /// Names the cluster.
    fn header_mut(&mut self) -> &mut pdpb::RequestHeader;
}

/// The answer to a [`PdRequest`].
pub trait PdResponse: prost::Message + Default + 'static {
    /// Names the cluster, and what went wrong.
    fn header_mut(&mut self) -> &mut pdpb::ResponseHeader;
}

macro_rules! pd_requests {
    ($($request:ident => $response:ident, $method:literal;)*) => {$(
        impl PdRequest for pdpb::$request {
            type Response = pdpb::$response;
            const PATH: &'static str = concat!("/pdpb.PD/", $method);

            fn header_mut(&mut self) -> &mut pdpb::RequestHeader {
                self.header.get_or_insert_default()
            }
        }

        impl PdResponse for pdpb::$response {
            fn header_mut(&mut self) -> &mut pdpb::ResponseHeader {
                self.header.get_or_insert_default()
            }
        }
    )*};
}

pd_requests! {
    GetMembersRequest => GetMembersResponse, "GetMembers";
    GetRegionRequest => GetRegionResponse, "GetRegion";
    GetStoreRequest => GetStoreResponse, "GetStore";
    GetGcSafePointRequest => GetGcSafePointResponse, "GetGCSafePoint";
    TsoRequest => TsoResponse, "Tso";
}
