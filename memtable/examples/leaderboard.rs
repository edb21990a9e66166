//! A leaderboard that many threads update while it is read: points are added with `compute`, and the board is a second range of
//! keys, ordered by points, that is read from its end.
//!
//! `cargo run --release -p untorn-memtable --example leaderboard`

use std::thread;
use untorn_memtable::{Error, Memtable, Snapshot};

const PLAYERS: u32 = 10_000;
const GAMES: u32 = 200_000;
const THREADS: u32 = 4;

/// `p` and the player: the points as eight bytes.
fn player_key(player: u32) -> Vec<u8> {
    [&b"p"[..], &player.to_be_bytes()].concat()
}

/// `r`, the points and the player, so that the last key is the best player.
fn rank_key(points: u64, player: u32) -> Vec<u8> {
    [&b"r"[..], &points.to_be_bytes(), &player.to_be_bytes()].concat()
}

fn points(value: &[u8]) -> u64 {
    value.try_into().map_or(0, u64::from_be_bytes)
}

/// Adds points, at least one, to a player and moves him on the board. Two threads may move one player in any order: each takes away just the
/// place that its own addition made old, so in the end one is left.
fn win(table: &Memtable, player: u32, won: u64) -> Result<(), Error> {
    let mut before = None;
    let now = table.compute(player_key(player), |value| {
        before = value.map(points);
        Some((before.unwrap_or(0) + won).to_be_bytes().to_vec())
    })?;
    table.insert(rank_key(now.map_or(0, |value| points(&value)), player), "")?;
    if let Some(before) = before {
        let old = rank_key(before, player);
        // Its maker may not have put it there yet.
        while table.remove(&old)?.is_none() {
            thread::yield_now();
        }
    }
    Ok(())
}

/// The best players at one instant, with their points.
fn best(table: &Memtable, count: usize) -> Vec<(u32, u64)> {
    let board = Snapshot::new(table).range::<&[u8]>(&b"r"[..]..&b"s"[..]);
    let parse = |key: &[u8]| {
        let (points, player) = key.get(1..)?.split_first_chunk::<8>()?;
        let player = u32::from_be_bytes(player.try_into().ok()?);
        Some((player, u64::from_be_bytes(*points)))
    };
    board
        .rev()
        .filter_map(|entry| parse(&entry.key))
        .take(count)
        .collect()
}

fn main() -> Result<(), Error> {
    let table = Memtable::new();
    thread::scope(|scope| {
        let players: Vec<_> = (0..THREADS)
            .map(|first| {
                let table = &table;
                scope.spawn(move || {
                    (first..GAMES)
                        .step_by(THREADS as usize)
                        .try_for_each(|game| {
                            let random = u64::from(game).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                            win(table, (random >> 40) as u32 % PLAYERS, 1 + (random >> 58))
                        })
                })
            })
            .collect();
        while players.iter().any(|player| !player.is_finished()) {
            let best = best(&table, 3);
            assert!(best.is_sorted_by_key(|&(_, points)| std::cmp::Reverse(points)));
        }
        players
            .into_iter()
            .try_for_each(|player| match player.join() {
                Ok(played) => played,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })?;
    for (rank, (player, points)) in best(&table, 10).into_iter().enumerate() {
        println!("{:>3}. player {player:>5} with {points} points", rank + 1);
    }
    let players = table.pin().range(&b"p"[..]..&b"q"[..]).count();
    let places = table.pin().range(&b"r"[..]..&b"s"[..]).count();
    println!("{players} players on {places} places");
    assert_eq!(players, places);
    Ok(())
}
