//! Connections that break on command.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// A connection that is reset when it is cut.
pub(crate) struct Breakable {
    stream: TcpStream,
    /// Until it is cut.
    whole: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Breakable {
    /// It is cut with the next change of `cuts`.
    pub(crate) fn new(stream: TcpStream, mut cuts: watch::Receiver<u64>) -> Self {
        let whole = async move {
            // Nobody can cut any more what belongs to a cluster that is gone.
            if cuts.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        Self {
            stream,
            whole: Some(Box::pin(whole)),
        }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let is_whole = match &mut self.whole {
            Some(whole) => whole.as_mut().poll(context).is_pending(),
            None => false,
        };
        if is_whole {
            return Ok(());
        }
        self.whole = None;
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Breakable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Breakable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.whole.is_none() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Breakable {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}
