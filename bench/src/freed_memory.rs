//! Where freed memory goes between two measurements: nowhere.
//!
//! mimalloc, which all peers share, gives memory back to the system ten milliseconds after it was freed, and the system clears each
//! page of what is asked for again. On a virtual machine that can take longer than an insert itself; and who pays is whoever fills a
//! table after a pause, not who follows at once. So the allocator is told to keep what it has, and what a table needs is there
//! before the first round.

use std::env;
use std::hint::black_box;

/// mimalloc's option: after how many milliseconds freed memory goes back to the system; never, if that is negative. It is read once,
/// before the program begins.
const OPTION: &str = "MIMALLOC_PURGE_DELAY";
const NEVER: &str = "-1";

/// Starts the program anew with an allocator that keeps freed memory, unless the caller has chosen how long it does. Returns if that
/// need not or cannot be.
pub fn keep() {
    #[cfg(unix)]
    if env::var_os(OPTION).is_none()
        && let Ok(program) = env::current_exe()
    {
        use std::os::unix::process::CommandExt;
        use std::process::Command;
        // Comes back only if it failed: then the figures say that memory was not kept.
        let _ = Command::new(program)
            .args(env::args_os().skip(1))
            .env(OPTION, NEVER)
            .exec();
    }
}

/// Whether it is kept.
pub fn is_kept() -> bool {
    env::var_os(OPTION).is_some_and(|delay| delay == NEVER)
}

/// Takes so many bytes, writes to each page of them, and frees them.
pub fn provide(bytes: usize) {
    const BLOCK: usize = 1 << 10;
    let blocks: Vec<Box<[u8; BLOCK]>> = (0..bytes / BLOCK).map(|_| Box::new([1; BLOCK])).collect();
    drop(black_box(blocks));
}
