//! Files of sorted rows: the length of the key and of the value, then both; a tombstone has a length of its own.

use crate::Failure;
use rayon::prelude::*;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use untorn_memtable::{Kind, Memtable};

const TOMBSTONE: u32 = u32::MAX;
/// Stretches of a table that are encoded side by side.
const SHARDS: usize = 16;

/// A row as it is in a file; no value is a tombstone.
pub type Record = (Vec<u8>, Option<Vec<u8>>);

pub struct SortedFile {
    path: PathBuf,
}

impl SortedFile {
    /// Writes all rows of a table, its shards encoded in parallel.
    pub fn write(path: &Path, table: &Memtable) -> Result<SortedFile, Failure> {
        let encode = |shard: untorn_memtable::Shard| -> Result<Vec<u8>, Failure> {
            let mut bytes = Vec::new();
            for item in table.pin().range_all(shard.range) {
                let value_len = match item.kind {
                    Kind::Tombstone => TOMBSTONE,
                    _ => u32::try_from(item.value.len())?,
                };
                bytes.extend(u32::try_from(item.key.len())?.to_le_bytes());
                bytes.extend(value_len.to_le_bytes());
                bytes.extend(item.key);
                bytes.extend(item.value);
            }
            Ok(bytes)
        };
        let shards = table.shards(SHARDS);
        let encoded: Result<Vec<_>, _> = shards.into_par_iter().map(encode).collect();
        let mut file = BufWriter::new(File::create(path)?);
        for bytes in encoded? {
            file.write_all(&bytes)?;
        }
        file.flush()?;
        Ok(SortedFile { path: path.into() })
    }

    /// The number under which the file was begun: a higher one holds newer rows.
    pub fn name(&self) -> &Path {
        &self.path
    }

    pub fn read(&self) -> Result<Records, Failure> {
        let file = BufReader::new(File::open(&self.path)?);
        Ok(Records { file })
    }
}

pub struct Records {
    file: BufReader<File>,
}

impl Records {
    fn record(&mut self) -> Result<Option<Record>, Failure> {
        let mut lengths = [[0; 4]; 2];
        match self.file.read_exact(lengths.as_flattened_mut()) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let [key_len, value_len] = lengths.map(u32::from_le_bytes);
        let mut key = vec![0; key_len as usize];
        self.file.read_exact(&mut key)?;
        if value_len == TOMBSTONE {
            return Ok(Some((key, None)));
        }
        let mut value = vec![0; value_len as usize];
        self.file.read_exact(&mut value)?;
        Ok(Some((key, Some(value))))
    }
}

impl Iterator for Records {
    type Item = Result<Record, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.record().transpose()
    }
}
