//! What all servers of a cluster share.

use crate::connection::Breakable;
use crate::faults::{Fault, Faults};
use crate::mvcc::Engine;
use crate::topology::Topology;
use crate::waits::Waits;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::sync::watch;
use untorn_txn::store::{COUNTER_BITS, Timestamp};

/// How long the next in a queue waits for the first to come back.
const WAKE_NEXT: Duration = Duration::from_millis(20);

/// The data and who waits for it: one mutex, so that a lock that is given up is not missed by who goes to wait.
#[derive(Debug, Default)]
pub(crate) struct Data {
    pub(crate) engine: Engine,
    pub(crate) waits: Waits,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) cluster_id: u64,
    is_encrypted: bool,
    data: Mutex<Data>,
    topology: Mutex<Topology>,
    faults: Mutex<Faults>,
    newest: AtomicU64,
    safe_point: AtomicU64,
    pd_is_lost: AtomicBool,
    /// How often all connections were cut.
    cuts: watch::Sender<u64>,
    taken: AtomicU64,
    /// Requests to stores that are being carried out.
    pub(crate) served: AtomicUsize,
    /// Of PD's members and of the stores.
    addresses: OnceLock<(Vec<SocketAddr>, Vec<SocketAddr>)>,
    /// Which member of PD leads.
    leader: AtomicUsize,
}

impl State {
    pub(crate) fn new(cluster_id: u64, stores: u64, is_encrypted: bool) -> Self {
        Self {
            cluster_id,
            is_encrypted,
            data: Mutex::default(),
            topology: Mutex::new(Topology::new(stores)),
            faults: Mutex::default(),
            newest: AtomicU64::new(0),
            safe_point: AtomicU64::new(0),
            pd_is_lost: AtomicBool::new(false),
            cuts: watch::Sender::new(0),
            taken: AtomicU64::new(0),
            served: AtomicUsize::new(0),
            addresses: OnceLock::new(),
            leader: AtomicUsize::new(0),
        }
    }

    /// How PD's addresses begin.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.is_encrypted {
            true => "https",
            false => "http",
        }
    }

    pub(crate) fn listens_at(&self, members: Vec<SocketAddr>, stores: Vec<SocketAddr>) {
        self.addresses.get_or_init(|| (members, stores));
    }

    pub(crate) fn members(&self) -> &[SocketAddr] {
        let addresses = self.addresses.get();
        addresses.map_or(&[], |(members, _)| members)
    }

    pub(crate) fn store_address(&self, id: u64) -> Option<SocketAddr> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        self.addresses.get()?.1.get(index).copied()
    }

    pub(crate) fn leader(&self) -> usize {
        self.leader.load(Ordering::Acquire)
    }

    /// Has the next member of PD lead.
    pub(crate) fn transfer_pd_leader(&self) {
        let members = self.members().len();
        let next = |leader| Some((leader + 1) % members);
        let _ = self
            .leader
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// The physical part and the last logical one of so many timestamps that follow each other.
    pub(crate) fn draw(&self, count: u32) -> (i64, i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = (now.map_or(0, |now| now.as_millis() as u64)) << COUNTER_BITS;
        let step = u64::from(count.max(1));
        let drawn = |newest: Timestamp| {
            let next = newest.max(now) + step;
            // All of them within one millisecond.
            let first = next - step + 1;
            let crosses = first >> COUNTER_BITS != next >> COUNTER_BITS;
            Some(if crosses {
                ((next >> COUNTER_BITS) << COUNTER_BITS) + step
            } else {
                next
            })
        };
        let before = self
            .newest
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, drawn);
        let last = before.ok().and_then(drawn).unwrap_or_default();
        (
            (last >> COUNTER_BITS) as i64,
            (last & ((1 << COUNTER_BITS) - 1)) as i64,
        )
    }

    pub(crate) fn data<T>(&self, run: impl FnOnce(&mut Data) -> T) -> T {
        run(&mut held(&self.data))
    }

    pub(crate) fn topology<T>(&self, run: impl FnOnce(&mut Topology) -> T) -> T {
        run(&mut held(&self.topology))
    }

    pub(crate) fn faults<T>(&self, run: impl FnOnce(&mut Faults) -> T) -> T {
        run(&mut held(&self.faults))
    }

    pub(crate) fn next_fault(&self, method: &str) -> Option<Fault> {
        self.faults(|faults| faults.next(method))
    }

    pub(crate) fn next_fault_of_pd(&self, method: &str) -> Option<Fault> {
        self.faults(|faults| faults.next_of_pd(method))
    }

    pub(crate) fn safe_point(&self) -> Timestamp {
        self.safe_point.load(Ordering::Acquire)
    }

    pub(crate) fn collect(&self, upto: Timestamp) {
        self.safe_point.fetch_max(upto, Ordering::AcqRel);
    }

    pub(crate) fn is_pd_lost(&self) -> bool {
        self.pd_is_lost.load(Ordering::Acquire)
    }

    pub(crate) fn lose_pd(&self, is_lost: bool) {
        self.pd_is_lost.store(is_lost, Ordering::Release);
    }

    pub(crate) fn take(&self, stream: TcpStream) -> Breakable {
        // Only a count.
        self.taken.fetch_add(1, Ordering::Relaxed);
        Breakable::new(stream, self.cuts.subscribe())
    }

    pub(crate) fn connections(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn cut_connections(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Tells who waits for keys whose locks were given up.
    pub(crate) fn wake(self: &Arc<Self>, keys: &[Bytes]) {
        for key in keys {
            let others_wait = self.data(|data| data.engine.is_free(key) && data.waits.wake(key));
            if others_wait {
                let (state, key) = (Arc::clone(self), key.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(WAKE_NEXT).await;
                    state.wake(&[key]);
                });
            }
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
