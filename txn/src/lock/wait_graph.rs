//! Who waits for whom, and the search for a way back.
//!
//! The graph maps an owner to its waiting calls and holds no edges: the search asks the key of each call whom it waits
//! for. Why a cycle that was read twice is one, and why each is found, is in the opening comment of [`lock`](super).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::WaitEdge;
use super::queue::{KeyQueue, Passed};
use super::request::OwnerId;
use super::shards::{Shards, Slot};
use super::waiter::Waiter;
use crate::mutant::planted;

/// As many edges of a walk are kept at most, to see who leads to no cycle.
const EDGES: usize = 1 << 20;

/// The waiting calls of one owner.
#[derive(Debug, Default)]
struct Calls(SmallVec<[Arc<Waiter>; 1]>);

impl Slot for Calls {
    fn is_vacant(&self) -> bool {
        self.0.is_empty()
    }
}

/// See the module.
pub(super) struct WaitGraph {
    owners: Shards<OwnerId, Calls>,
}

/// A call on a cycle, and the owner that it waits for.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) call: Arc<Waiter>,
    pub(super) holder: OwnerId,
}

/// What a walk through the graph came to.
pub(super) enum Walk {
    Found(Cycle),
    Nothing,
    /// Nothing, but a call that it went by has failed or moved: what stands ahead of that may not have been looked at.
    Moved,
    /// Nothing as far as it was to go.
    TooFar,
}

/// Owners from which, as walks have found, no way leads to any other.
///
/// For walks that all begin when every call that one begins at had joined its queue: what comes to be later is for the
/// search of the call that makes it.
#[derive(Debug, Default)]
pub(super) struct Explored {
    owners: HashSet<OwnerId>,
    /// Those of them from which a way may lead to a cycle. The calls of the others need no walk.
    tangled: HashSet<OwnerId>,
    /// The last list of blockers on a key, all of them in `owners`: few keys have most of the calls.
    lists: HashMap<Bytes, Vec<OwnerId>>,
}

/// A cycle: each edge's holder is the next one's waiter, the last one's holder the first one's.
#[derive(Debug, Clone)]
pub(super) struct Cycle(Vec<Edge>);

impl WaitGraph {
    pub(super) fn new() -> Self {
        Self {
            owners: Shards::new(),
        }
    }

    /// Puts a call in, before it joins its queue. If its owner has other calls in here, all of them have siblings: told
    /// is the one whose queue may not know it yet.
    pub(super) fn insert(&self, call: &Arc<Waiter>) -> Option<Arc<Waiter>> {
        self.owners.change(call.owner, |calls| {
            // The later ones knew of it when they came. It is told each time: who was told before may not have come to
            // note it.
            let first = calls.0.first().cloned();
            if let Some(first) = &first {
                first.note_sibling();
                call.note_sibling();
            }
            for repeat in calls.0.iter().filter(|other| other.key == call.key) {
                repeat.note_repeat();
                call.note_repeat();
            }
            calls.0.push(call.clone());
            first
        })
    }

    /// Takes a call out, after its wait has ended.
    pub(super) fn remove(&self, call: &Arc<Waiter>) {
        self.owners.change_present(&call.owner, |calls| {
            calls.0.retain(|other| !Arc::ptr_eq(other, call));
        });
    }

    /// The calls of one owner that still wait.
    pub(super) fn calls(&self, owner: OwnerId) -> SmallVec<[Arc<Waiter>; 1]> {
        self.some_calls(owner, usize::MAX)
    }

    /// No more than so many of them.
    fn some_calls(&self, owner: OwnerId, most: usize) -> SmallVec<[Arc<Waiter>; 1]> {
        let waiting = |calls: &Calls| {
            let waiting = calls.0.iter().filter(|call| call.is_waiting());
            waiting.take(most).cloned().collect()
        };
        self.owners.look(&owner, waiting).unwrap_or_default()
    }

    /// Every call that still waits.
    pub(super) fn all(&self) -> Vec<Arc<Waiter>> {
        let mut all = Vec::new();
        self.owners.for_each(|_, calls| {
            all.extend(calls.0.iter().filter(|call| call.is_waiting()).cloned());
        });
        all
    }

    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }

    /// The shortest cycle through `start`, as far as it can be seen while others go on, and no further than to `most` owners
    /// and calls. Goes by what is explored, and adds what it looked at if it finds none.
    pub(super) fn find_cycle(
        &self,
        start: &Arc<Waiter>,
        keys: &Shards<Bytes, KeyQueue>,
        explored: &mut Explored,
        most: usize,
    ) -> Walk {
        let is_outside = !explored.owners.contains(&start.owner);
        if explored.leads_to_no_cycle(&start.owner) {
            return Walk::Nothing;
        }
        let leads_nowhere = |owner: &OwnerId| {
            is_outside && explored.owners.contains(owner) || explored.leads_to_no_cycle(owner)
        };
        // An owner on the way, and the call by which it was reached.
        let mut reached: HashMap<OwnerId, Arc<Waiter>> = HashMap::new();
        let mut edges = Vec::new();
        let mut next = VecDeque::new();
        let mut passed = Vec::new();
        let mut blockers = |call: &Arc<Waiter>| {
            let Some(next) = keys.look(&call.key, |queue| queue.next_blockers_of(call, most))
            else {
                return Vec::new();
            };
            passed.extend(next.passed);
            next.owners
        };
        let first = blockers(start);
        let is_known = is_outside && explored.lists.get(&start.key) == Some(&first);
        for owner in first.iter().copied().filter(|_| !is_known) {
            if !leads_nowhere(&owner) && reached.insert(owner, start.clone()).is_none() {
                next.push_back(owner);
            }
        }
        let mut left = most;
        while let Some(owner) = next.pop_front() {
            let calls = self.some_calls(owner, left);
            left -= calls.len();
            if left == 0 || reached.len() > most {
                return Walk::TooFar;
            }
            for call in calls {
                for holder in blockers(&call) {
                    if holder == start.owner {
                        return Walk::Found(Cycle::back_from(Edge { call, holder }, &reached));
                    }
                    if edges.len() < EDGES && !explored.leads_to_no_cycle(&holder) {
                        edges.push((owner, holder));
                    }
                    if leads_nowhere(&holder) {
                        continue;
                    }
                    reached.entry(holder).or_insert_with(|| {
                        next.push_back(holder);
                        call.clone()
                    });
                }
            }
        }
        let stood = |passed: &Passed| {
            passed.call.is_granted()
                || keys
                    .look(&passed.call.key, |queue| queue.stands(passed))
                    .unwrap_or(false)
        };
        if !planted("passed-call-trusted") && !passed.iter().all(stood) {
            return Walk::Moved;
        }
        explored.add(reached.into_keys().collect(), &edges);
        if !is_known {
            explored.lists.insert(start.key.clone(), first);
        }
        Walk::Nothing
    }
}

impl Explored {
    /// Whether walks have found that all ways from here end.
    pub(super) fn leads_to_no_cycle(&self, owner: &OwnerId) -> bool {
        self.owners.contains(owner) && !self.tangled.contains(owner)
    }

    /// Adds what a walk has reached, by all edges from there that may lead to a cycle.
    fn add(&mut self, reached: HashSet<OwnerId>, edges: &[(OwnerId, OwnerId)]) {
        for owner in &reached {
            self.tangled.remove(owner);
        }
        self.owners.extend(&reached);
        let mut tangled = reached;
        if edges.len() < EDGES {
            untangle(&mut tangled, edges);
        }
        self.tangled.extend(tangled);
    }
}

/// Takes out whoever leads to no cycle: who has no edge, and then who has none but to those that were taken out.
///
/// Who leads to a cycle may be on one, also where nothing leads back to it here: a walk does not follow those ahead of a
/// call that leads to the same.
fn untangle(owners: &mut HashSet<OwnerId>, edges: &[(OwnerId, OwnerId)]) {
    let mut outgoing: HashMap<OwnerId, usize> = HashMap::new();
    let mut incoming: HashMap<OwnerId, Vec<OwnerId>> = HashMap::new();
    for (from, to) in edges.iter().copied() {
        *outgoing.entry(from).or_default() += 1;
        incoming.entry(to).or_default().push(from);
    }
    let is_end = |owner: &&OwnerId| !outgoing.contains_key(owner);
    let mut ends: Vec<OwnerId> = owners.iter().filter(is_end).copied().collect();
    while let Some(end) = ends.pop() {
        owners.remove(&end);
        for from in incoming.remove(&end).into_iter().flatten() {
            if let Some(left) = outgoing.get_mut(&from) {
                *left -= 1;
                if *left == 0 {
                    ends.push(from);
                }
            }
        }
    }
}

impl Cycle {
    fn back_from(last: Edge, reached: &HashMap<OwnerId, Arc<Waiter>>) -> Self {
        let end = last.holder;
        let mut edges = vec![last];
        while let Some(edge) = edges.last()
            && edge.call.owner != end
        {
            let holder = edge.call.owner;
            let Some(call) = reached.get(&holder).cloned() else {
                break;
            };
            edges.push(Edge { call, holder });
        }
        edges.reverse();
        Self(edges)
    }

    /// Whether every edge stands, one read after another.
    pub(super) fn stands(&self, keys: &Shards<Bytes, KeyQueue>) -> bool {
        self.0.iter().all(|Edge { call, holder }| {
            keys.look(&call.key, |queue| queue.is_blocked_by(call, *holder))
                .unwrap_or(false)
        })
    }

    /// The call of the youngest owner, and the cycle from its edge on.
    pub(super) fn victim(mut self) -> Option<(Arc<Waiter>, Vec<WaitEdge>)> {
        let youngest = (0..self.0.len()).max_by_key(|at| self.0[*at].call.owner)?;
        self.0.rotate_left(youngest);
        let edge = |Edge { call, holder }: &Edge| WaitEdge {
            waiter: call.owner,
            holder: *holder,
            key: call.key.clone(),
        };
        Some((
            self.0.first()?.call.clone(),
            self.0.iter().map(edge).collect(),
        ))
    }
}
