//! Package `deadlock` of kvproto, written by `trim.py`.

#[derive(Clone, PartialEq, prost::Message)]
pub struct WaitForEntry {
    #[prost(uint64, tag = "1")]
    pub txn: u64,
    #[prost(uint64, tag = "2")]
    pub wait_for_txn: u64,
    #[prost(uint64, tag = "3")]
    pub key_hash: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub key: bytes::Bytes,
}
