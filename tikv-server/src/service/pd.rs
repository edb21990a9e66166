//! The placement driver.

use super::{Answer, lost, name_of, unary, unknown};
use crate::faults::Fault;
use crate::state::State;
use http::{Request, Response};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;
use untorn_txn::store::tikv::proto::PdRequest;
use untorn_txn::store::tikv::proto::metapb;
use untorn_txn::store::tikv::proto::pdpb::{
    GetGcSafePointRequest, GetGcSafePointResponse, GetMembersRequest, GetMembersResponse,
    GetRegionRequest, GetRegionResponse, GetStoreRequest, GetStoreResponse, Member, RequestHeader,
    ResponseHeader, Timestamp, TsoRequest, TsoResponse,
};

type Asked<A> = Result<A, Status>;

pub(super) async fn serve(
    state: Arc<State>,
    member: usize,
    request: Request<Body>,
) -> Response<Body> {
    let asks_who_leads = request.uri().path() == GetMembersRequest::PATH;
    if let Err(refused) = leads(&state, member)
        && (state.is_pd_lost() || !asks_who_leads)
    {
        return refused.into_http();
    }
    let fault = match befall(&state, name_of(request.uri().path())).await {
        Ok(fault) => fault,
        Err(lost) => return lost.into_http(),
    };
    match request.uri().path() {
        GetMembersRequest::PATH => {
            unary(
                request,
                move |request| async move { members(&state, request) },
            )
            .await
        }
        GetRegionRequest::PATH => {
            unary(request, move |request| async move {
                region(&state, request, false, fault)
            })
            .await
        }
        "/pdpb.PD/GetPrevRegion" => {
            unary(request, move |request| async move {
                region(&state, request, true, fault)
            })
            .await
        }
        GetStoreRequest::PATH => {
            unary(
                request,
                move |request| async move { store(&state, request) },
            )
            .await
        }
        GetGcSafePointRequest::PATH => {
            unary(request, move |request| async move {
                safe_point(&state, request)
            })
            .await
        }
        TsoRequest::PATH => {
            let codec = ProstCodec::<TsoResponse, TsoRequest>::default();
            Grpc::new(codec)
                .streaming(Tso(state, member), request)
                .await
        }
        _ => unknown(&request),
    }
}

/// What befalls a request before it is looked at: nothing here changes anything, so a lost answer is a lost request.
async fn befall(state: &State, method: &str) -> Asked<Option<Fault>> {
    let fault = state.next_fault_of_pd(method);
    match fault {
        Some(Fault::LostRequest | Fault::LostAnswer) => return Err(lost()),
        Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
        _ => {}
    }
    Ok(fault)
}

/// Whether a member is there, and leads.
fn leads(state: &State, member: usize) -> Asked<()> {
    if state.is_pd_lost() {
        Err(Status::unavailable("this PD is lost"))
    } else if state.leader() != member {
        Err(Status::unavailable("not leader"))
    } else {
        Ok(())
    }
}

fn header(state: &State, asked: Option<&RequestHeader>) -> Asked<Option<ResponseHeader>> {
    let cluster_id = state.cluster_id;
    match asked {
        // As PD says it.
        Some(asked) if asked.cluster_id != cluster_id => Err(Status::failed_precondition(format!(
            "mismatch cluster id, need {cluster_id} but got {}",
            asked.cluster_id
        ))),
        _ => Ok(Some(ResponseHeader {
            cluster_id,
            error: None,
        })),
    }
}

/// Every member answers this, whatever cluster is named.
fn members(state: &State, _: GetMembersRequest) -> Asked<GetMembersResponse> {
    let members = (1..).zip(state.members()).map(|(number, address)| Member {
        name: format!("pd-{number}"),
        member_id: number,
        client_urls: vec![format!("{}://{address}", state.scheme())],
    });
    let members: Vec<Member> = members.collect();
    Ok(GetMembersResponse {
        header: header(state, None)?,
        leader: members.get(state.leader()).cloned(),
        members,
    })
}

fn region(
    state: &State,
    request: GetRegionRequest,
    is_before: bool,
    fault: Option<Fault>,
) -> Asked<GetRegionResponse> {
    let header = header(state, request.header.as_ref())?;
    let found = state.topology(|topology| {
        if is_before {
            topology.find_before(&request.region_key)
        } else {
            Some(topology.find(&request.region_key))
        }
    });
    let found = found.filter(|_| fault != Some(Fault::RegionNotFound));
    let (mut region, mut leader) = found.unzip();
    if fault == Some(Fault::NoPeers) {
        region.iter_mut().for_each(|region| region.peers.clear());
        leader = None;
    }
    Ok(GetRegionResponse {
        header,
        region,
        leader,
    })
}

fn store(state: &State, request: GetStoreRequest) -> Asked<GetStoreResponse> {
    Ok(GetStoreResponse {
        header: header(state, request.header.as_ref())?,
        store: state
            .store_address(request.store_id)
            .map(|address| metapb::Store {
                id: request.store_id,
                address: address.to_string(),
                ..metapb::Store::default()
            }),
    })
}

fn safe_point(state: &State, request: GetGcSafePointRequest) -> Asked<GetGcSafePointResponse> {
    Ok(GetGcSafePointResponse {
        header: header(state, request.header.as_ref())?,
        safe_point: state.safe_point(),
    })
}

/// The stream of timestamps.
struct Tso(Arc<State>, usize);

impl Service<tonic::Request<Streaming<TsoRequest>>> for Tso {
    type Response = tonic::Response<ReceiverStream<Asked<TsoResponse>>>;
    type Error = Status;
    type Future = Answer<Asked<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Streaming<TsoRequest>>) -> Self::Future {
        let (state, member) = (Arc::clone(&self.0), self.1);
        let mut requests = request.into_inner();
        Box::pin(async move {
            let (answers, stream) = mpsc::channel(16);
            tokio::spawn(async move {
                while let Ok(Some(request)) = next(&mut requests).await {
                    let answer = leads(&state, member).and_then(|()| timestamps(&state, &request));
                    let ends = answer.is_err();
                    if answers.send(answer).await.is_err() || ends {
                        return;
                    }
                }
            });
            Ok(tonic::Response::new(ReceiverStream::new(stream)))
        })
    }
}

async fn next(requests: &mut Streaming<TsoRequest>) -> Asked<Option<TsoRequest>> {
    std::future::poll_fn(|context| Pin::new(&mut *requests).poll_next(context))
        .await
        .transpose()
}

/// So many timestamps that follow each other, told by the last of them.
fn timestamps(state: &State, request: &TsoRequest) -> Asked<TsoResponse> {
    let header = header(state, request.header.as_ref())?;
    let (physical, logical) = state.draw(request.count);
    Ok(TsoResponse {
        header,
        count: request.count,
        timestamp: Some(Timestamp { physical, logical }),
    })
}
