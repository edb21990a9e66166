//! RocksDB with everything in its skiplist memtable: the log switched off, and a write buffer so large that nothing is flushed.
//!
//! A write goes through the database's write path, which numbers it and joins it with those of other threads; a get asks the
//! memtable and then files that are not there.

use rocksdb::{DB, DBRawIterator, Options, WriteOptions};
use tempfile::TempDir;

use crate::peer::{Peer, Room};

/// Larger than any table here: 4 GiB.
const WRITE_BUFFER: usize = 4 << 30;

/// A database in a directory that goes with it.
pub struct RocksPeer {
    db: DB,
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

impl Peer for RocksPeer {
    const IS_TABLE: bool = false;

    fn new(_: Room) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(WRITE_BUFFER);
        let db =
            DB::open(&options, home.path()).expect("a database can be made in an empty directory");
        let mut writing = WriteOptions::default();
        writing.disable_wal(true);
        Self {
            db,
            writing,
            _home: home,
        }
    }

    fn insert(&self, key: &[u8], value: &[u8]) {
        self.db
            .put_opt(key, value, &self.writing)
            .expect("a write without a log touches no disk");
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let value = self.db.get_pinned(key);
        let value = value.expect("a read from the memtable touches no disk");
        value.map(|value| read(&value))
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
