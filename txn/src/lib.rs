#![forbid(unsafe_code)]
//! Transactions that many threads use at once.
