//! The placement driver: who leads, where regions and stores are, where the collector stands.
//!
//! Every member can be asked for the members; everything else is answered by their leader. The cluster is named in
//! every request and every answer. It is fixed by the first answer, or by the option
//! [`cluster_id`](super::TikvOptions::cluster_id); one of another cluster is refused at once, before anything is sent to
//! its stores.

use super::call::Channels;
use super::proto::pdpb::{
    GetGcSafePointRequest, GetMembersRequest, GetMembersResponse, GetRegionRequest,
    GetRegionResponse, GetStoreRequest,
};
use super::proto::{PdRequest, PdResponse, metapb};
use super::retry::Retry;
use super::{TikvError, TikvOptions, codec};
use crate::store::{Timestamp, lock};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;

/// Length of a border that no region begins after.
const BEHIND_ALL: usize = 1024;
/// For how long the collector's place is remembered.
const SAFE_POINT_AGE: Duration = Duration::from_secs(1);

/// A connection to PD.
#[derive(Debug)]
pub(super) struct Pd {
    pub(super) channels: Arc<Channels>,
    pub(super) options: TikvOptions,
    given: Vec<String>,
    members: Mutex<Members>,
    /// When the collector's place was last asked for, and what came of it.
    safe_point: Mutex<Option<(Instant, Result<Timestamp, TikvError>)>>,
    asks_safe_point: AsyncMutex<()>,
}

#[derive(Debug, Clone, Default)]
struct Members {
    cluster_id: u64,
    leader: Option<String>,
    addresses: Vec<String>,
}

impl Pd {
    /// Finds the leader.
    pub(super) async fn connect(
        endpoints: Vec<String>,
        options: TikvOptions,
        channels: Arc<Channels>,
    ) -> Result<Self, TikvError> {
        let members = Members {
            cluster_id: options.cluster_id.unwrap_or(0),
            ..Members::default()
        };
        let pd = Self {
            channels,
            given: endpoints,
            members: Mutex::new(members),
            safe_point: Mutex::default(),
            asks_safe_point: AsyncMutex::default(),
            options,
        };
        let mut retry = Retry::new(pd.options.patience);
        loop {
            match pd.find_leader(&mut retry).await {
                Ok(_) => return Ok(pd),
                Err(error) => {
                    let last = error.to_string();
                    retry
                        .pause(error)
                        .await
                        .map_err(|error| pd.unreachable(error, &retry, last))?;
                }
            }
        }
    }

    pub(super) fn cluster_id(&self) -> u64 {
        lock(&self.members).cluster_id
    }

    /// The leader's address, as far as it is known.
    pub(super) async fn leader(&self, retry: &mut Retry) -> Result<String, TikvError> {
        let known = lock(&self.members).leader.clone();
        match known {
            Some(leader) => Ok(leader),
            None => self.find_leader(retry).await,
        }
    }

    /// The next request asks who leads.
    pub(super) fn forget_leader(&self) {
        lock(&self.members).leader = None;
    }

    /// Asks every known address, those given first, until one names a leader.
    async fn find_leader(&self, retry: &mut Retry) -> Result<String, TikvError> {
        let mut addresses = self.given.clone();
        addresses.extend(lock(&self.members).addresses.iter().cloned());
        addresses.dedup();
        let mut last = TikvError::Pd {
            message: "no member names a leader".to_owned(),
        };
        for address in addresses {
            let timeout = retry.left(self.options.call_timeout);
            let leader = match self.ask_members(&address, timeout).await {
                Ok(leader) => leader,
                Err(error) if error.is_transient() => {
                    last = error;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(leader) = leader {
                return Ok(leader);
            }
        }
        Err(last)
    }

    /// Whom one member takes for the leader.
    async fn ask_members(
        &self,
        address: &str,
        timeout: Duration,
    ) -> Result<Option<String>, TikvError> {
        let request = GetMembersRequest::default();
        let answer = self
            .channels
            .call(address, GetMembersRequest::PATH, request, timeout);
        let mut answer: GetMembersResponse = answer.await?;
        self.checked(&mut answer)?;
        let leader = answer.leader.take();
        let leader = leader.and_then(|leader| leader.client_urls.into_iter().next());
        let mut members = lock(&self.members);
        members.addresses = answer
            .members
            .into_iter()
            .flat_map(|member| member.client_urls)
            .collect();
        members.leader.clone_from(&leader);
        Ok(leader)
    }

    /// Notes the cluster of the first answer, and refuses that of another.
    pub(super) fn checked<A: PdResponse>(&self, answer: &mut A) -> Result<(), TikvError> {
        let header = answer.header_mut();
        let mut members = lock(&self.members);
        if members.cluster_id == 0 {
            members.cluster_id = header.cluster_id;
        }
        if header.cluster_id != members.cluster_id {
            return Err(TikvError::WrongCluster {
                expected: members.cluster_id,
                found: header.cluster_id,
            });
        }
        match header.error.take() {
            Some(error) if error.r#type != 0 => Err(TikvError::Pd {
                message: error.message,
            }),
            _ => Ok(()),
        }
    }

    async fn ask<Q: PdRequest>(&self, request: Q) -> Result<Q::Response, TikvError> {
        self.ask_by(Q::PATH, request).await
    }

    async fn ask_by<Q: PdRequest>(
        &self,
        method: &'static str,
        mut request: Q,
    ) -> Result<Q::Response, TikvError> {
        request.header_mut().cluster_id = self.cluster_id();
        let mut retry = Retry::new(self.options.patience);
        loop {
            let asked = self.ask_once(method, request.clone(), &mut retry).await;
            let error = match asked {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.forget_leader();
            let last = error.to_string();
            retry
                .pause(error)
                .await
                .map_err(|error| self.unreachable(error, &retry, last))?;
        }
    }

    async fn ask_once<Q: PdRequest>(
        &self,
        method: &'static str,
        request: Q,
        retry: &mut Retry,
    ) -> Result<Q::Response, TikvError> {
        let leader = self.leader(retry).await?;
        let timeout = retry.left(self.options.call_timeout);
        let mut answer: Q::Response = self
            .channels
            .call(&leader, method, request, timeout)
            .await?;
        self.checked(&mut answer)?;
        Ok(answer)
    }

    fn unreachable(&self, error: TikvError, retry: &Retry, last: String) -> TikvError {
        match error {
            TikvError::Rpc { .. } => TikvError::NoPd {
                endpoints: self.given.clone(),
                waited: retry.waited(),
                last,
            },
            other => other,
        }
    }

    /// The region that holds a key, with its leader if PD knows one.
    pub(super) async fn region(&self, key: &[u8]) -> Result<GetRegionResponse, TikvError> {
        let request = GetRegionRequest {
            region_key: codec::encode_key(key),
            ..GetRegionRequest::default()
        };
        self.ask(request).await
    }

    /// The region before the one that begins with a key, or the last one of all.
    pub(super) async fn region_before(
        &self,
        border: Option<&[u8]>,
    ) -> Result<GetRegionResponse, TikvError> {
        let Some(border) = border else {
            // Behind every key: no encoded key of so many bytes is greater.
            let request = GetRegionRequest {
                region_key: vec![0xff; BEHIND_ALL].into(),
                ..GetRegionRequest::default()
            };
            return self.ask(request).await;
        };
        let request = GetRegionRequest {
            region_key: codec::encode_key(border),
            ..GetRegionRequest::default()
        };
        self.ask_by("/pdpb.PD/GetPrevRegion", request).await
    }

    pub(super) async fn store(&self, store_id: u64) -> Result<metapb::Store, TikvError> {
        let request = GetStoreRequest {
            store_id,
            ..GetStoreRequest::default()
        };
        let answer = self.ask(request).await?;
        answer.store.ok_or_else(|| TikvError::Pd {
            message: format!("there is no store {store_id}"),
        })
    }

    /// Up to where the cluster's collector may have dropped old versions, as of a second ago at most. One asks for all who wait.
    pub(super) async fn safe_point(&self) -> Result<Timestamp, TikvError> {
        let came = Instant::now();
        if let Some(known) = self.known_safe_point(came) {
            return known;
        }
        let _asks = self.asks_safe_point.lock().await;
        if let Some(known) = self.known_safe_point(came) {
            return known;
        }
        let asked = Instant::now();
        let answer = self.ask(GetGcSafePointRequest::default()).await;
        let at = answer.map(|answer| answer.safe_point);
        *lock(&self.safe_point) = Some((asked, at.clone()));
        at
    }

    /// What the last question came to: whoever came before it has that for its own, also a failure.
    fn known_safe_point(&self, came: Instant) -> Option<Result<Timestamp, TikvError>> {
        let last = lock(&self.safe_point);
        let (asked, at) = last.as_ref()?;
        let is_known = *asked >= came || (at.is_ok() && asked.elapsed() < SAFE_POINT_AGE);
        is_known.then(|| at.clone())
    }
}
