//! Encrypted connections.

use super::TikvError;
use std::fmt;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// How connections to a cluster are encrypted: all of them, to PD and to the stores.
///
/// The servers have to show a certificate of the given authority, for the name or address by which they are called or for
/// [`domain`](Self::domain). A cluster whose `[security]` names a `ca-path` asks for one of the client's in return:
/// [`identity`](Self::identity). All is PEM, as in the files that TiKV reads, and is read once: a store that is to outlive its
/// certificates has to be connected anew.
///
/// ```no_run
/// use untorn_txn::store::tikv::{TikvOptions, TikvStore, Tls};
///
/// let tls = Tls::new(std::fs::read("ca.pem")?)
///     .identity(std::fs::read("client.pem")?, std::fs::read("client-key.pem")?);
/// let store = TikvStore::connect_blocking(["pd.example:2379"], TikvOptions::default().tls(tls))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tls(ClientTlsConfig);

impl Tls {
    /// Trusts servers whose certificates go back to this authority, and no others.
    pub fn new(authority: impl AsRef<[u8]>) -> Self {
        let authority = Certificate::from_pem(authority);
        Self(ClientTlsConfig::new().ca_certificate(authority))
    }

    /// Proves who the client is: its certificate, with those between it and the authority, and its key.
    #[must_use]
    pub fn identity(self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        Self(self.0.identity(Identity::from_pem(certificate, key)))
    }

    /// The name that the servers' certificates are for, if it is not the one by which they are called.
    #[must_use]
    pub fn domain(self, name: impl Into<String>) -> Self {
        Self(self.0.domain_name(name))
    }

    pub(super) fn of(&self, endpoint: Endpoint) -> Result<Endpoint, TikvError> {
        let encrypted = endpoint.tls_config(self.0.clone());
        encrypted.map_err(|error| TikvError::BadCertificate {
            reason: super::call::told(&error),
        })
    }
}

impl fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
