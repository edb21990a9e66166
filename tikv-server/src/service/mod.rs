//! gRPC: a request's path names the method, its body is one message or a stream of them.

mod pd;
mod tikv;

use crate::state::State;
use http::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;
use tower_service::Service;

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What listens at one address.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) state: Arc<State>,
    pub(crate) role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Role {
    /// A member of PD.
    Pd(usize),
    Store(u64),
}

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let state = Arc::clone(&self.state);
        let role = self.role;
        Box::pin(async move {
            Ok(match role {
                Role::Pd(member) => pd::serve(state, member, request).await,
                Role::Store(id) => tikv::serve(state, id, request).await,
            })
        })
    }
}

/// A method of one request and one answer, as tonic wants it.
struct Unary<F>(F);

impl<Q, A, F, Running> Service<tonic::Request<Q>> for Unary<F>
where
    A: Send + 'static,
    F: FnOnce(Q) -> Running + Clone,
    Running: Future<Output = Result<A, Status>> + Send + 'static,
{
    type Response = tonic::Response<A>;
    type Error = Status;
    type Future = Answer<Result<tonic::Response<A>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        // What was received is carried out, also if the caller is gone.
        let running = tokio::spawn((self.0.clone())(request.into_inner()));
        Box::pin(async move {
            let ran = running
                .await
                .unwrap_or_else(|error| Err(Status::internal(error.to_string())));
            ran.map(tonic::Response::new)
        })
    }
}

async fn unary<Q, A, F, Running>(request: Request<Body>, method: F) -> Response<Body>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
    F: FnOnce(Q) -> Running + Clone,
    Running: Future<Output = Result<A, Status>> + Send + 'static,
{
    Grpc::new(ProstCodec::<A, Q>::default())
        .unary(Unary(method), request)
        .await
}

/// The name of a method, as faults are asked for.
fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn lost() -> Status {
    Status::unavailable("the connection failed, as planned")
}

/// The answer to a method that is not served.
fn unknown(request: &Request<Body>) -> Response<Body> {
    Status::unimplemented(request.uri().path().to_owned()).into_http()
}
