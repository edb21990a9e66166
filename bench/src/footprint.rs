//! Memory of one table, counted in a process of its own.
//!
//! The `footprint` program runs under an allocator that counts; it fills one table and prints a [`Footprint`].
//! `compare` starts it once for each peer, so that no peer sees another's leavings.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::keys::{KeyKind, Keys, value_of};
use crate::measure::settle;
use crate::peer::{Peer, Room};
use crate::roster::{PeerKind, WithPeer};

/// What tables hold: what they asked for, before the allocator rounds it up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Footprint {
    /// Bytes asked of the allocator and not given back by a freshly filled table, per entry.
    pub bytes_per_entry: f64,
    /// By a new one with nothing in it.
    pub empty_bytes: usize,
}

/// Why there is no footprint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FootprintError {
    /// The program could not be started.
    #[error("{program}: {source}")]
    Start {
        /// What was to be started.
        program: PathBuf,
        /// Why it could not.
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("{program}: {message}")]
    Failed {
        /// What was started.
        program: PathBuf,
        /// Its last words.
        message: String,
    },
    /// It printed something else than a footprint.
    #[error("unreadable answer: {0}")]
    Answer(#[from] serde_json::Error),
}

/// Fills a table and weighs it.
#[derive(Debug, Clone, Copy)]
pub struct Weigh<'k> {
    /// The keys of the table.
    pub keys: &'k Keys,
    /// Bytes that the allocator has given out at this moment.
    pub allocated: fn() -> usize,
}

impl WithPeer for Weigh<'_> {
    type Out = Footprint;
    fn with<P: Peer>(self) -> Footprint {
        let entries = self.keys.len();
        settle();
        let before = (self.allocated)();
        let empty = P::new(Room::once(0));
        let empty_bytes = (self.allocated)()
            .saturating_sub(before)
            .saturating_sub(empty.unused_bytes());
        drop(empty);
        settle();
        let before = (self.allocated)();
        let table = P::new(Room::once(entries));
        for at in 0..entries {
            let key = self.keys.insertion.get(at);
            table.insert(key, &value_of(key, at));
        }
        settle();
        let held = (self.allocated)()
            .saturating_sub(before)
            .saturating_sub(table.unused_bytes());
        drop(table);
        Footprint {
            bytes_per_entry: held as f64 / entries.max(1) as f64,
            empty_bytes,
        }
    }
}

/// The `footprint` program, ready to be asked.
#[derive(Debug, Clone)]
pub struct Scales(PathBuf);

fn output_of(command: &mut Command) -> Result<Vec<u8>, FootprintError> {
    let program = PathBuf::from(command.get_program());
    let output = match command.output() {
        Ok(output) => output,
        Err(source) => return Err(FootprintError::Start { program, source }),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = said.lines().last().unwrap_or("no message").to_owned();
    Err(FootprintError::Failed { program, message })
}

/// Builds `footprint` beside `beside` if cargo started us, so that both programs hold the same code.
fn build(beside: &Path) -> Result<(), FootprintError> {
    let Some(cargo) = env::var_os("CARGO") else {
        return Ok(());
    };
    let mut command = Command::new(cargo);
    command.args(["build", "-p", env!("CARGO_PKG_NAME"), "--bin", "footprint"]);
    if let Some(manifest_dir) = env::var_os("CARGO_MANIFEST_DIR") {
        command.current_dir(manifest_dir);
    }
    let folder = beside.parent().and_then(Path::file_name);
    match folder.and_then(|name| name.to_str()) {
        None | Some("debug") => {}
        Some(profile) => {
            command.args(["--profile", profile]);
        }
    }
    output_of(&mut command).map(drop)
}

impl Scales {
    /// Finds the program beside the running one.
    ///
    /// # Errors
    /// If there is no running program to look beside, or if building failed.
    pub fn find() -> Result<Self, FootprintError> {
        let this = env::current_exe().map_err(|source| FootprintError::Start {
            program: "compare".into(),
            source,
        })?;
        build(&this)?;
        let name = format!("footprint{}", env::consts::EXE_SUFFIX);
        Ok(Self(this.with_file_name(name)))
    }

    /// Weighs one peer with `n` keys of a kind.
    ///
    /// # Errors
    /// If the program cannot be started, fails or prints nothing readable.
    pub fn weigh(
        &self,
        peer: PeerKind,
        keys: KeyKind,
        n: usize,
        seed: u64,
    ) -> Result<Footprint, FootprintError> {
        let mut command = Command::new(&self.0);
        command
            .args(["--peer", peer.name(), "--keys", keys.name()])
            .args(["--n", &n.to_string(), "--seed", &seed.to_string()]);
        Ok(serde_json::from_slice(&output_of(&mut command)?)?)
    }
}
