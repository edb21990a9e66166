//! What can go wrong between here and a cluster.

use crate::error::Error;
use std::time::Duration;

/// Why a request to PD or TiKV failed: the source of [`Error::Store`].
///
/// ```
/// use untorn_txn::store::tikv::TikvError;
///
/// let error = TikvError::WrongCluster { expected: 1, found: 2 };
/// assert_eq!(error.to_string(), "the cluster is 2, not 1");
/// assert!(!error.is_transient());
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TikvError {
    /// An address that cannot be used.
    #[error("\"{endpoint}\" is no address: {reason}")]
    BadEndpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or a key of the [`Tls`](super::Tls) that cannot be used.
    #[error("no certificate, or no key: {reason}")]
    BadCertificate {
        /// What is wrong with it.
        reason: String,
    },
    /// No member of PD answered in time.
    #[error("no PD at {endpoints:?} within {waited:?}: {last}")]
    NoPd {
        /// The addresses that were tried.
        endpoints: Vec<String>,
        /// For how long.
        waited: Duration,
        /// The last failure.
        last: String,
    },
    /// PD is that of another cluster.
    #[error("the cluster is {found}, not {expected}")]
    WrongCluster {
        /// The cluster that the store is connected to, or that was asked for.
        expected: u64,
        /// The one that answered.
        found: u64,
    },
    /// PD refused a request.
    #[error("PD refused: {message}")]
    Pd {
        /// Its words.
        message: String,
    },
    /// PD gave no timestamp in time.
    #[error("no timestamp within {waited:?}: {last}")]
    NoTimestamp {
        /// How long it was waited for.
        waited: Duration,
        /// The last failure.
        last: String,
    },
    /// A region could not be reached in time, or its leader not be found.
    #[error("no answer of the region of {key} within {waited:?}: {last}")]
    RegionUnavailable {
        /// The key, for people.
        key: String,
        /// For how long it was tried.
        waited: Duration,
        /// The last failure.
        last: String,
    },
    /// A value that the log of its region does not take.
    #[error("{size} bytes are more than region {region} takes at once")]
    TooLarge {
        /// The number of the region.
        region: u64,
        /// What was to be written.
        size: u64,
    },
    /// A gRPC call failed.
    #[error("{method} at {address}: {status}")]
    Rpc {
        /// The method.
        method: &'static str,
        /// Where it was sent.
        address: String,
        /// The status that came back, or what the connection met.
        status: String,
    },
    /// An answer that the protocol does not allow.
    #[error("an answer that makes no sense: {what}")]
    Protocol {
        /// What was wrong with it.
        what: String,
    },
    /// The store was dropped while a request was under way.
    #[error("the store is shut down")]
    ShutDown,
}

impl TikvError {
    /// Whether another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        !matches!(
            self,
            TikvError::BadEndpoint { .. }
                | TikvError::BadCertificate { .. }
                | TikvError::WrongCluster { .. }
                | TikvError::TooLarge { .. }
                | TikvError::Protocol { .. }
                | TikvError::ShutDown
        )
    }
}

impl From<TikvError> for Error {
    fn from(error: TikvError) -> Error {
        if error.is_transient() {
            Error::transient(error)
        } else {
            Error::store(error)
        }
    }
}
