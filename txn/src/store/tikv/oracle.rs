//! Timestamps from PD.
//!
//! One task owns the stream to the leader. Whoever needs a timestamp puts a *wish* into its queue; the task takes all
//! that are there, asks for as many timestamps with one request, and hands them out. What comes meanwhile is the next
//! request: under load the stream is never idle and no wish waits for more than two round trips. A stream that breaks
//! is made anew, to whoever leads then; wishes that were sent are asked for again, since a timestamp that
//! was lost harms nobody. That goes on as long as somebody waits: every wish has its own patience, and is closed when that is over.

use super::TikvError;
use super::call::told;
use super::pd::Pd;
use super::proto::PdRequest;
use super::proto::pdpb::{RequestHeader, TsoRequest, TsoResponse};
use super::retry::Retry;
use crate::store::{COUNTER_BITS, Timestamp, lock};
use http::uri::PathAndQuery;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Streaming;
use tonic_prost::ProstCodec;

/// So many timestamps are asked for at once, at most.
const MOST: usize = 4096;

type Wish = oneshot::Sender<Timestamp>;

/// The source of timestamps.
#[derive(Debug)]
pub(super) struct Oracle {
    wishes: mpsc::UnboundedSender<Wish>,
    last_failure: Arc<Mutex<Option<TikvError>>>,
    pd: Arc<Pd>,
}

impl Oracle {
    /// Starts the task on the current runtime.
    pub(super) fn start(pd: &Arc<Pd>) -> Self {
        let (wishes, queue) = mpsc::unbounded_channel();
        let last_failure = Arc::default();
        let source = Source {
            pd: Arc::clone(pd),
            queue,
            last_failure: Arc::clone(&last_failure),
        };
        tokio::spawn(source.run());
        Self {
            wishes,
            last_failure,
            pd: Arc::clone(pd),
        }
    }

    /// A timestamp above every one that was given out in the cluster before the call.
    pub(super) async fn next(&self) -> Result<Timestamp, TikvError> {
        let asked = Instant::now();
        let (wish, granted) = oneshot::channel();
        self.wishes.send(wish).map_err(|_| TikvError::ShutDown)?;
        let granted = tokio::time::timeout(self.pd.options.patience, granted).await;
        if let Ok(Ok(timestamp)) = granted {
            return Ok(timestamp);
        }
        match self.failure() {
            Some(error) if !error.is_transient() => Err(error),
            last => Err(TikvError::NoTimestamp {
                waited: asked.elapsed(),
                last: last.map_or_else(|| "no answer".to_owned(), |error| error.to_string()),
            }),
        }
    }

    fn failure(&self) -> Option<TikvError> {
        lock(&self.last_failure).clone()
    }
}

/// The task's own.
struct Source {
    pd: Arc<Pd>,
    queue: mpsc::UnboundedReceiver<Wish>,
    last_failure: Arc<Mutex<Option<TikvError>>>,
}

struct Connection {
    requests: mpsc::Sender<TsoRequest>,
    answers: Streaming<TsoResponse>,
}

impl Source {
    async fn run(mut self) {
        let mut connection = None;
        let mut wishes = Vec::new();
        let mut retry = Retry::new(Duration::MAX);
        loop {
            if wishes.is_empty() {
                match self.queue.recv().await {
                    Some(wish) => wishes.push(wish),
                    None => return,
                }
                retry = Retry::new(Duration::MAX);
            }
            while wishes.len() < MOST
                && let Ok(wish) = self.queue.try_recv()
            {
                wishes.push(wish);
            }
            // Nobody waits for those any more.
            wishes.retain(|wish| !wish.is_closed());
            if wishes.is_empty() {
                continue;
            }
            match self.ask(&mut connection, wishes.len(), &mut retry).await {
                Ok(first) => {
                    lock(&self.last_failure).take();
                    for (wish, timestamp) in wishes.drain(..).zip(first..) {
                        // Whoever is gone does not need it.
                        let _ = wish.send(timestamp);
                    }
                }
                Err(error) => {
                    connection = None;
                    self.pd.forget_leader();
                    *lock(&self.last_failure) = Some(error.clone());
                    if retry.pause(error).await.is_err() {
                        // It stays: dropped wishes are told of it.
                        wishes.clear();
                    }
                }
            }
        }
    }

    /// The first of `count` timestamps that follow each other.
    async fn ask(
        &self,
        connection: &mut Option<Connection>,
        count: usize,
        retry: &mut Retry,
    ) -> Result<Timestamp, TikvError> {
        let options = &self.pd.options;
        let timeout = options.call_timeout.min(options.patience);
        let asked = async {
            let request = TsoRequest {
                header: Some(RequestHeader {
                    cluster_id: self.pd.cluster_id(),
                }),
                count: count as u32,
            };
            let broken = |status: String| TikvError::Rpc {
                method: TsoRequest::PATH,
                address: "PD".to_owned(),
                status,
            };
            let live = match connection {
                Some(live) => {
                    let sent = live.requests.send(request).await;
                    sent.map_err(|_| broken("the stream is closed".to_owned()))?;
                    live
                }
                None => connection.insert(self.connect(request, retry).await?),
            };
            let answer = live
                .answers
                .message()
                .await
                .map_err(|status| broken(told(&status)))?;
            let mut answer = answer.ok_or_else(|| broken("the stream has ended".to_owned()))?;
            self.pd.checked(&mut answer)?;
            first_of(&answer, count)
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(TikvError::Rpc {
                method: TsoRequest::PATH,
                address: "PD".to_owned(),
                status: format!("no answer within {timeout:?}"),
            }),
        }
    }

    /// Opens the stream with its first request: PD begins to answer only then.
    async fn connect(&self, first: TsoRequest, retry: &mut Retry) -> Result<Connection, TikvError> {
        let leader = self.pd.leader(retry).await?;
        let mut client = self.pd.channels.client(&leader, TsoRequest::PATH).await?;
        let (requests, stream) = mpsc::channel(1);
        requests.try_send(first).map_err(|_| TikvError::ShutDown)?;
        let stream = tonic::Request::new(ReceiverStream::new(stream));
        let path = PathAndQuery::from_static(TsoRequest::PATH);
        let codec = ProstCodec::<TsoRequest, TsoResponse>::default();
        match client.streaming(stream, path, codec).await {
            Ok(answer) => Ok(Connection {
                requests,
                answers: answer.into_inner(),
            }),
            Err(status) => Err(TikvError::Rpc {
                method: TsoRequest::PATH,
                address: leader,
                status: told(&status),
            }),
        }
    }
}

/// An answer names the last of its timestamps.
fn first_of(answer: &TsoResponse, count: usize) -> Result<Timestamp, TikvError> {
    let nonsense = |what: String| TikvError::Protocol { what };
    let last = answer
        .timestamp
        .as_ref()
        .ok_or_else(|| nonsense("no timestamp".to_owned()))?;
    if answer.count as usize != count || last.logical < count as i64 - 1 || last.physical < 0 {
        return Err(nonsense(format!(
            "asked for {count} timestamps, got {answer:?}"
        )));
    }
    let first = last.logical as u64 + 1 - count as u64;
    Ok(((last.physical as u64) << COUNTER_BITS) + first)
}
