//! One gRPC call over a cached connection.

use super::{TikvError, TikvOptions, Tls};
use dashmap::DashMap;
use http::uri::PathAndQuery;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// Connections by address. Each is made at the first call, and made again by itself after it broke.
#[derive(Debug)]
pub(super) struct Channels {
    by_address: DashMap<String, Channel>,
    connect_timeout: Duration,
    tls: Option<Tls>,
}

const KEEP_ALIVE: Duration = Duration::from_secs(10);

impl Channels {
    pub(super) fn new(options: &TikvOptions) -> Self {
        Self {
            by_address: DashMap::new(),
            connect_timeout: options.connect_timeout,
            tls: options.tls.clone(),
        }
    }

    fn channel(&self, address: &str) -> Result<Channel, TikvError> {
        if let Some(channel) = self.by_address.view(address, |_, channel| channel.clone()) {
            return Ok(channel);
        }
        let bad = |reason: String| TikvError::BadEndpoint {
            endpoint: address.to_owned(),
            reason,
        };
        let (scheme, host) = match address.split_once("://") {
            Some((scheme @ ("http" | "https"), host)) => (Some(scheme), host),
            _ => (None, address),
        };
        if host.is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        let parse = |scheme| {
            let endpoint = Endpoint::from_shared(format!("{scheme}://{host}"));
            endpoint.map_err(|error| bad(error.to_string()))
        };
        let endpoint = match &self.tls {
            Some(tls) => tls.of(parse("https")?)?,
            None if scheme == Some("https") => {
                let reason =
                    "it asks for an encrypted connection, and the options name no authority";
                return Err(bad(reason.to_owned()));
            }
            None => parse("http")?,
        };
        let channel = endpoint
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .connect_lazy();
        Ok(self
            .by_address
            .entry(address.to_owned())
            .or_insert(channel)
            .clone())
    }

    pub(super) async fn client(
        &self,
        address: &str,
        method: &'static str,
    ) -> Result<Grpc<Channel>, TikvError> {
        // TiKV has no limit for its answers, and one that is refused would come again as large.
        let client = Grpc::new(self.channel(address)?);
        let mut client = client.max_decoding_message_size(usize::MAX);
        match client.ready().await {
            Ok(()) => Ok(client),
            Err(error) => Err(TikvError::Rpc {
                method,
                address: address.to_owned(),
                status: told(&error),
            }),
        }
    }

    /// Sends a request and waits for the answer, for at most `timeout`.
    pub(super) async fn call<Q, A>(
        &self,
        address: &str,
        method: &'static str,
        request: Q,
        timeout: Duration,
    ) -> Result<A, TikvError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let failed = |status: String| TikvError::Rpc {
            method,
            address: address.to_owned(),
            status,
        };
        let called = async {
            let mut client = self.client(address, method).await?;
            let path = PathAndQuery::from_static(method);
            let codec = ProstCodec::<Q, A>::default();
            match client
                .unary(tonic::Request::new(request), path, codec)
                .await
            {
                Ok(answer) => Ok(answer.into_inner()),
                Err(status) => Err(failed(told(&status))),
            }
        };
        match tokio::time::timeout(timeout, called).await {
            Ok(answer) => answer,
            Err(_) => Err(failed(format!("no answer within {timeout:?}"))),
        }
    }
}

/// An error with what caused it: tonic's own words are often only "transport error".
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
