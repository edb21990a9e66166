//! The processor's caches, as Linux tells them.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A cache that holds data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// `L1d`, `L2`, ...
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// The caches of the first processor, the smallest first; none where the system does not tell.
pub fn here() -> Vec<Cache> {
    let mut caches = read(Path::new("/sys/devices/system/cpu/cpu0/cache"));
    caches.sort_by_key(|cache| cache.bytes);
    caches
}

fn read(folder: &Path) -> Vec<Cache> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let cache = |folder: &Path| {
        let word = |file: &str| fs::read_to_string(folder.join(file)).ok();
        let (level, kind, size) = (word("level")?, word("type")?, word("size")?);
        let suffix = match kind.trim() {
            "Data" => "d",
            "Unified" => "",
            _ => return None,
        };
        Some(Cache {
            name: format!("L{}{suffix}", level.trim()),
            bytes: size_in_bytes(size.trim())?,
        })
    };
    entries
        .flatten()
        .filter_map(|entry| cache(&entry.path()))
        .collect()
}

fn size_in_bytes(size: &str) -> Option<u64> {
    let (digits, unit) = match size.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => match size.strip_suffix('M') {
            Some(digits) => (digits, 1 << 20),
            None => (size, 1),
        },
    };
    Some(digits.parse::<u64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::size_in_bytes;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        assert_eq!(size_in_bytes("48K"), Some(48 * 1024));
        assert_eq!(size_in_bytes("2M"), Some(2 << 20));
        assert_eq!(size_in_bytes("512"), Some(512));
        assert_eq!(size_in_bytes("much"), None);
    }
}
