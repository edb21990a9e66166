//! What a benchmark asks of a map: the smallest interface that every peer serves at its best.

/// How much a table must be ready for. Only peers with a fixed region of memory look at it.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Distinct keys.
    pub entries: usize,
    /// Writes in all, overwrites included.
    pub writes: usize,
}

impl Room {
    /// Room for `entries` keys, each written once.
    pub const fn once(entries: usize) -> Self {
        Self {
            entries,
            writes: entries,
        }
    }

    /// Room for `entries` keys and for every overwrite that a round of workloads makes: two of each key, and of a
    /// twentieth and a half of them for the mixed ones.
    pub const fn for_a_round(entries: usize) -> Self {
        Self {
            entries,
            writes: entries * 4 + 64,
        }
    }
}

/// A map from byte strings to byte strings, used through `&self` by many threads.
///
/// Each method is one whole operation: it takes and gives back the guard that the peer needs.
pub trait Peer: Sync + Sized {
    /// Keys come back in order, so scans can be asked for.
    const ORDERED: bool = true;
    /// Set if the table holds keys of this length alone.
    const KEY_LEN: Option<usize> = None;
    /// It is a table and nothing more. What is more is neither weighed nor timed while it is made and dropped.
    const IS_TABLE: bool = true;
    /// Memory of overwritten values comes back while the table lives, so a writer may go on without end.
    const RECLAIMS: bool = true;

    /// An empty table.
    fn new(room: Room) -> Self;

    /// Puts a copy of `value` under a copy of `key`, whether or not the key is there.
    fn insert(&self, key: &[u8], value: &[u8]);

    /// Replaces the value of a key that is there. Differs from [`insert`](Peer::insert) only where a peer has a
    /// cheaper way.
    fn overwrite(&self, key: &[u8], value: &[u8]) {
        self.insert(key, value);
    }

    /// Writes all of them, keys with their values. Differs from [`insert`](Peer::insert) one after another only where a peer takes
    /// them as one.
    fn write_many(&self, writes: &[(&[u8], &[u8])]) {
        for (key, value) in writes {
            self.insert(key, value);
        }
    }

    /// Shows `read` the value of `key`, in place.
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R>;

    /// Shows `read` the values of those of the keys that are there. Differs from [`get`](Peer::get) one after another only
    /// where a peer has a better way.
    fn get_many(&self, keys: &[&[u8]], mut read: impl FnMut(&[u8])) {
        for key in keys {
            self.get(key, &mut read);
        }
    }

    /// Shows `visit` up to `limit` entries from `from` upwards, in order, and says how many there were.
    ///
    /// Peers that are not [`ORDERED`](Peer::ORDERED) visit none.
    fn scan(&self, from: &[u8], limit: usize, visit: impl FnMut(&[u8], &[u8])) -> usize;

    /// Shows `visit` every entry, in order if the peer has one, and says how many there were.
    fn scan_all(&self, visit: impl FnMut(&[u8], &[u8])) -> usize;

    /// Bytes that the table asked for up front and has not used: not counted as its footprint.
    fn unused_bytes(&self) -> usize {
        0
    }
}
