//! An authority for one cluster, and what it has signed.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::path::Path;
use std::{fmt, fs, io};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use untorn_txn::store::tikv::Tls;

/// A certificate and its key, as PEM.
struct Signed {
    certificate: String,
    key: String,
}

pub(crate) struct Security {
    authority: String,
    server: Signed,
    client: Signed,
}

impl Security {
    pub(crate) fn new() -> io::Result<Self> {
        Self::make().map_err(io::Error::other)
    }

    fn make() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let sign = |name: &str| {
            let key = KeyPair::generate()?;
            let params = CertificateParams::new([name.to_owned()])?;
            Ok::<_, rcgen::Error>(Signed {
                certificate: params.signed_by(&key, &issuer)?.pem(),
                key: key.serialize_pem(),
            })
        };
        Ok(Self {
            authority,
            server: sign("127.0.0.1")?,
            client: sign("client")?,
        })
    }

    pub(crate) fn of_server(&self) -> ServerTlsConfig {
        let Signed { certificate, key } = &self.server;
        ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(&self.authority))
    }

    /// As files: `ca.pem`, `client.pem`, `client-key.pem`.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        fs::write(directory.join("ca.pem"), &self.authority)?;
        fs::write(directory.join("client.pem"), &self.client.certificate)?;
        fs::write(directory.join("client-key.pem"), &self.client.key)
    }

    pub(crate) fn of_client(&self) -> Tls {
        let Signed { certificate, key } = &self.client;
        Tls::new(&self.authority).identity(certificate, key)
    }
}

impl fmt::Debug for Security {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").finish_non_exhaustive()
    }
}
