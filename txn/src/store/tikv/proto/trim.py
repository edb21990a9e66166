#!/usr/bin/env python3
"""Writes the messages of this folder from kvproto's own .proto files, so that no name and no number is typed by hand.

    trim.py DIRECTORY             writes metapb.rs, errorpb.rs, deadlock.rs, pdpb.rs and kvrpcpb.rs
    trim.py DIRECTORY --check     says whether they are what it would write

DIRECTORY holds kvproto's .proto files, as in the folder `proto` of the crate tikv-client 0.4.0 or of github.com/pingcap/kvproto.
"""

import pathlib
import re
import subprocess
import sys

# What is spoken: message -> fields, None for all of them. Enumerations are taken whole.
WANTED = {
    "metapb": {
        "Store": "id address state version".split(),
        "StoreState": None,
        "RegionEpoch": None,
        "Region": "id start_key end_key region_epoch peers".split(),
        "Peer": "id store_id role".split(),
        "PeerRole": None,
    },
    "errorpb": {
        "NotLeader": None,
        "StoreNotMatch": None,
        "RegionNotFound": None,
        "KeyNotInRegion": None,
        "EpochNotMatch": None,
        "ServerIsBusy": "reason backoff_ms".split(),
        "StaleCommand": None,
        "RaftEntryTooLarge": None,
        "MaxTimestampNotSynced": None,
        "Error": "message not_leader region_not_found key_not_in_region epoch_not_match server_is_busy stale_command store_not_match raft_entry_too_large max_timestamp_not_synced".split(),
    },
    "deadlock": {
        "WaitForEntry": "txn wait_for_txn key_hash key".split(),
    },
    "pdpb": {
        "RequestHeader": "cluster_id".split(),
        "ResponseHeader": None,
        "ErrorType": None,
        "Error": None,
        "TsoRequest": "header count".split(),
        "Timestamp": "physical logical".split(),
        "TsoResponse": None,
        "GetStoreRequest": None,
        "GetStoreResponse": "header store".split(),
        "GetRegionRequest": "header region_key".split(),
        "GetRegionResponse": "header region leader".split(),
        "Member": "name member_id client_urls".split(),
        "GetMembersRequest": None,
        "GetMembersResponse": "header members leader".split(),
        "GetGCSafePointRequest": None,
        "GetGCSafePointResponse": None,
    },
    "kvrpcpb": {
        "Context": "region_id region_epoch peer resolved_locks max_execution_duration_ms is_retry_request committed_locks".split(),
        "GetRequest": None,
        "GetResponse": "region_error error value not_found".split(),
        "BatchGetRequest": None,
        "BatchGetResponse": "region_error pairs error".split(),
        "ScanRequest": "context start_key limit version key_only reverse end_key".split(),
        "ScanResponse": None,
        "PrewriteRequest": "context mutations primary_lock start_version lock_ttl pessimistic_actions txn_size for_update_ts min_commit_ts use_async_commit secondaries try_one_pc assertion_level for_update_ts_constraints".split(),
        "PessimisticAction": None,
        "ForUpdateTSConstraint": None,
        "PrewriteResponse": "region_error errors min_commit_ts one_pc_commit_ts".split(),
        "PessimisticLockWakeUpMode": None,
        "PessimisticLockRequest": "context mutations primary_lock start_version lock_ttl for_update_ts is_first_lock wait_timeout return_values min_commit_ts check_existence lock_only_if_exists wake_up_mode".split(),
        "PessimisticLockKeyResultType": None,
        "PessimisticLockKeyResult": "type value existence locked_with_conflict_ts".split(),
        "PessimisticLockResponse": "region_error errors values not_founds results".split(),
        "PessimisticRollbackRequest": None,
        "PessimisticRollbackResponse": "region_error errors".split(),
        "TxnHeartBeatRequest": "context primary_lock start_version advise_lock_ttl".split(),
        "TxnHeartBeatResponse": "region_error error lock_ttl".split(),
        "CheckTxnStatusRequest": "context primary_key lock_ts caller_start_ts current_ts rollback_if_not_exist force_sync_commit resolving_pessimistic_lock verify_is_primary".split(),
        "CheckTxnStatusResponse": "region_error error lock_ttl commit_version action lock_info".split(),
        "CheckSecondaryLocksRequest": None,
        "CheckSecondaryLocksResponse": "region_error error locks commit_ts".split(),
        "CommitRequest": "context start_version keys commit_version".split(),
        "CommitResponse": "region_error error commit_version".split(),
        "BatchRollbackRequest": "context start_version keys".split(),
        "BatchRollbackResponse": "region_error error".split(),
        "ResolveLockRequest": "context start_version commit_version keys".split(),
        "ResolveLockResponse": "region_error error".split(),
        "FlushRequest": None,
        "FlushResponse": "region_error errors".split(),
        "BufferBatchGetRequest": None,
        "BufferBatchGetResponse": "region_error error pairs".split(),
        "LockInfo": "primary_lock lock_version key lock_ttl txn_size lock_type lock_for_update_ts use_async_commit min_commit_ts secondaries".split(),
        "KeyError": None,
        "WriteConflict": None,
        "Reason": None,
        "AlreadyExist": None,
        "Deadlock": None,
        "CommitTsExpired": None,
        "TxnNotFound": None,
        "CommitTsTooLarge": None,
        "AssertionFailed": None,
        "PrimaryMismatch": None,
        "KvPair": None,
        "Op": None,
        "Assertion": None,
        "AssertionLevel": None,
        "Mutation": None,
        "Action": None,
    },
}

# Newer than the files of tikv-client 0.4.0: shared locks, since TiKV 8.5.8, and what is flushed, since TiKV 8.0.
NEWER_VALUES = {"Op": [("SharedLock", "7"), ("SharedPessimisticLock", "8")]}
NEWER_FIELDS = {
    "LockInfo": """    /// Since TiKV 8.5.8: who holds a lock of the type [`Op::SharedLock`].
    #[prost(message, repeated, tag = "12")]
    pub shared_lock_infos: Vec<LockInfo>,
"""
}

NEWER_MESSAGES = {
    "kvrpcpb": """
message FlushRequest {
    Context context = 1;
    repeated Mutation mutations = 2;
    bytes primary_key = 3;
    uint64 start_ts = 4;
    uint64 min_commit_ts = 5;
    uint64 generation = 6;
    uint64 lock_ttl = 7;
    AssertionLevel assertion_level = 8;
}

message FlushResponse {
    errorpb.Error region_error = 1;
    repeated KeyError errors = 2;
}

message BufferBatchGetRequest {
    Context context = 1;
    repeated bytes keys = 2;
    uint64 version = 3;
}

message BufferBatchGetResponse {
    errorpb.Error region_error = 1;
    KeyError error = 2;
    repeated KvPair pairs = 3;
}
"""
}

SCALARS = {"uint64": "u64", "uint32": "u32", "int64": "i64", "int32": "i32", "bool": "bool", "string": "String"}


def blocks(text):
    """Messages and enumerations with their bodies, nested ones too."""
    text = re.sub(r"//[^\n]*", "", text)
    for match in re.finditer(r"\b(message|enum)\s+(\w+)\s*\{", text):
        end, depth = match.end(), 1
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield match[1], match[2], text[match.end() : end - 1]


def rust_name(name):
    """As Rust wants types to be named: GetGCSafePoint is GetGcSafePoint."""
    return re.sub(r"[A-Z]{2,}(?=[A-Z][a-z]|$)", lambda run: run[0].capitalize(), name)


def variant(name):
    if name.isupper():
        return "".join(part.capitalize() for part in name.split("_"))
    return rust_name(name)


def enumeration(name, body):
    values = re.findall(r"(\w+)\s*=\s*(\d+)\s*;", body) + NEWER_VALUES.get(name, [])
    lines = "".join(f"    {variant(value)} = {number},\n" for value, number in values)
    derives = "Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration"
    return f"#[derive({derives})]\n#[repr(i32)]\npub enum {rust_name(name)} {{\n{lines}}}\n"


def message(package, name, body, wanted, enumerations):
    flat = re.sub(r"\b(message|enum)\s+\w+\s*\{[^{}]*\}", "", body)
    field = r"(repeated\s+)?([\w.]+)\s+(\w+)\s*=\s*(\d+)\s*(?:\[[^\]]*\])?\s*;"
    lines, found = [], set()
    for repeated, kind, label, number in re.findall(field, flat):
        if kind in ("reserved", "option") or (wanted is not None and label not in wanted):
            continue
        found.add(label)
        home, _, short = kind.rpartition(".")
        path = rust_name(short) if home in ("", package) else f"super::{home}::{rust_name(short)}"
        if kind == "bytes":
            attribute, rust = 'bytes = "bytes"', "bytes::Bytes"
        elif kind in SCALARS:
            attribute, rust = kind, SCALARS[kind]
        elif short in enumerations:
            attribute, rust = f'enumeration = "{path}"', "i32"
        else:
            attribute, rust = "message", path
        if repeated:
            attribute, rust = attribute + ", repeated", f"Vec<{rust}>"
        elif attribute == "message":
            attribute, rust = "message, optional", f"Option<{rust}>"
        label = "r#type" if label == "type" else label
        lines.append(f'    #[prost({attribute}, tag = "{number}")]\n    pub {label}: {rust},\n')
    assert wanted is None or found == set(wanted), (name, set(wanted) - found)
    lines.append(NEWER_FIELDS.get(name, ""))
    return f"#[derive(Clone, PartialEq, prost::Message)]\npub struct {rust_name(name)} {{\n{''.join(lines)}}}\n"


def main():
    source, check = pathlib.Path(sys.argv[1]), "--check" in sys.argv[2:]
    folder = pathlib.Path(__file__).parent
    known = {}
    for package in WANTED:
        known[package] = list(blocks((source / f"{package}.proto").read_text()))
        names = {name for _, name, _ in known[package]}
        newer = blocks(NEWER_MESSAGES.get(package, ""))
        known[package] += [block for block in newer if block[1] not in names]
    enumerations = {name for parts in known.values() for kind, name, _ in parts if kind == "enum"}
    stale = []
    for package, wanted in WANTED.items():
        parts = [f"//! Package `{package}` of kvproto, written by `trim.py`.\n"]
        for kind, name, body in known[package]:
            if name not in wanted:
                continue
            if kind == "enum":
                parts.append(enumeration(name, body))
            else:
                parts.append(message(package, name, body, wanted[name], enumerations))
        formatter = ["rustfmt", "--edition", "2024", "--emit", "stdout"]
        text = subprocess.run(formatter, input="\n".join(parts), text=True, capture_output=True, check=True).stdout
        target = folder / f"{package}.rs"
        if check:
            if target.read_text() != text:
                stale.append(target.name)
        else:
            target.write_text(text)
    if stale:
        sys.exit(f"not what kvproto says: {', '.join(stale)}")


main()
