//! RocksDB with everything in its skiplist memtable: the log switched off, and a write buffer so large that nothing is flushed.
//!
//! A write is a batch that goes through the database's write path, which numbers it and joins it with those of other
//! threads; a read takes the database's current version and a sequence number, and looks for files that are not there once the memtable has no
//! answer. That is more than a table does, and less cannot be had through the database's interface. The library has an allocator of its own.

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, Options, ReadOptions, WriteBatch,
    WriteOptions,
};
use tempfile::TempDir;

use crate::peer::{Peer, Room};

/// Larger than any table here: 4 GiB.
pub(crate) const WRITE_BUFFER: usize = 4 << 30;

/// The family of keys that every database has.
const FAMILY: &str = "default";

/// A database in a directory that goes with it.
pub struct RocksPeer {
    db: DB,
    reading: ReadOptions,
    writing: WriteOptions,
    // Behind `db`, which is closed first.
    _home: TempDir,
}

/// From where `cursor` stands.
fn walk(
    cursor: &mut DBRawIterator<'_>,
    limit: usize,
    mut visit: impl FnMut(&[u8], &[u8]),
) -> usize {
    let mut seen = 0;
    while seen < limit
        && let Some((key, value)) = cursor.item()
    {
        visit(key, value);
        seen += 1;
        cursor.next();
    }
    seen
}

impl RocksPeer {
    fn family(&self) -> &ColumnFamily {
        let family = self.db.cf_handle(FAMILY);
        family.expect("the database was opened with this family")
    }

    fn property(&self, name: &str) -> u64 {
        let value = self.db.property_int_value(name);
        value.ok().flatten().expect("the property is a number")
    }

    /// Nothing was flushed, and nothing waits for it.
    fn is_in_memtable(&self) -> bool {
        let waiting = self.property("rocksdb.num-immutable-mem-table");
        waiting + self.property("rocksdb.total-sst-files-size") == 0
    }
}

impl Drop for RocksPeer {
    fn drop(&mut self) {
        assert!(
            std::thread::panicking() || self.is_in_memtable(),
            "the table outgrew RocksDB's memtable, so its figures are of something else"
        );
    }
}

impl Peer for RocksPeer {
    const IS_TABLE: bool = false;

    fn new(_: Room) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(WRITE_BUFFER);
        let family = ColumnFamilyDescriptor::new(FAMILY, options.clone());
        let db = DB::open_cf_descriptors(&options, home.path(), [family]);
        let mut writing = WriteOptions::default();
        writing.disable_wal(true);
        Self {
            db: db.expect("a database can be made in an empty directory"),
            reading: ReadOptions::default(),
            writing,
            _home: home,
        }
    }

    fn insert(&self, key: &[u8], value: &[u8]) {
        self.db
            .put_opt(key, value, &self.writing)
            .expect("a write without a log touches no disk");
    }

    fn write_many(&self, writes: &[(&[u8], &[u8])]) {
        let mut batch = WriteBatch::default();
        for (key, value) in writes {
            batch.put(key, value);
        }
        self.db
            .write_opt(batch, &self.writing)
            .expect("a write without a log touches no disk");
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let value = self.db.get_pinned_opt(key, &self.reading);
        let value = value.expect("a read from the memtable touches no disk");
        value.map(|value| read(&value))
    }

    fn get_many(&self, keys: &[&[u8]], mut read: impl FnMut(&[u8])) {
        let family = self.family();
        let values = self
            .db
            .batched_multi_get_cf_opt(family, keys, false, &self.reading);
        for value in values {
            let value = value.expect("a read from the memtable touches no disk");
            value.into_iter().for_each(|value| read(&value));
        }
    }

    fn scan(&self, from: &[u8], limit: usize, visit: impl FnMut(&[u8], &[u8])) -> usize {
        let mut cursor = self.db.raw_iterator();
        cursor.seek(from);
        walk(&mut cursor, limit, visit)
    }

    fn scan_all(&self, visit: impl FnMut(&[u8], &[u8])) -> usize {
        let mut cursor = self.db.raw_iterator();
        cursor.seek_to_first();
        walk(&mut cursor, usize::MAX, visit)
    }
}

#[cfg(test)]
mod tests {
    use super::RocksPeer;
    use crate::peer::{Peer, Room};

    #[test]
    fn what_is_flushed_is_noticed() {
        let peer = RocksPeer::new(Room::once(2));
        peer.insert(b"key", b"value");
        assert_eq!(peer.property("rocksdb.num-entries-active-mem-table"), 1);
        assert!(peer.is_in_memtable());
        peer.db.flush().unwrap();
        assert!(!peer.is_in_memtable());
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(peer)));
        assert!(dropped.is_err());
    }
}
