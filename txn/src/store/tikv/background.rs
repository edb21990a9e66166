//! Work that nobody waits for: the second phase of a commit that is decided, locks that are given back, requests whose
//! caller is gone. A store that is dropped leaves its runtime to it until it is done.

use std::future::Future;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Tasks that run to their end.
#[derive(Debug)]
pub(super) struct Background {
    handle: Handle,
    running: watch::Sender<usize>,
}

impl Background {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            running: watch::Sender::new(0),
        }
    }

    /// Runs a task to its end.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.running.send_modify(|running| *running += 1);
        let running = Running(self.running.clone());
        self.handle.spawn(async move {
            let _running = running;
            task.await
        })
    }

    pub(super) fn is_idle(&self) -> bool {
        *self.running.borrow() == 0
    }

    /// Waits until no task runs.
    pub(super) fn idle(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut running = self.running.subscribe();
        async move {
            // It fails where the sender is gone, with the tasks.
            drop(running.wait_for(|running| *running == 0).await);
        }
    }
}

/// Counts a task, also one that panics or is dropped.
struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}
