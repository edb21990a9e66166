//! Power cuts at every operation of the disk.

use super::*;
use rand::RngExt;
use std::sync::Barrier;

const THREADS: usize = 3;
const COMMITS: u64 = 4;

/// Every thread counts in a key of its own and puts each number down beside it. Says how far each was answered.
fn count(db: &Db) -> [u64; THREADS] {
    let barrier = Barrier::new(THREADS);
    let mut answered = [0; THREADS];
    std::thread::scope(|scope| {
        for (thread, answered) in answered.iter_mut().enumerate() {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                while *answered < COMMITS && step(db, thread, *answered + 1).is_ok() {
                    *answered += 1;
                }
            });
        }
    });
    answered
}

fn step(db: &Db, thread: usize, next: u64) -> Result<(), Error> {
    let txn = db.blocking().begin(BeginOptions::default())?;
    txn.put(format!("{thread}/count"), next.to_string())?;
    txn.put(format!("{thread}/done/{next:04}"), "x".repeat(20))?;
    txn.blocking().commit().map(drop)
}

/// The counts, where each has its numbers beside it, from one to it without a gap.
fn counted(db: &Db) -> [u64; THREADS] {
    let all = contents(db);
    std::array::from_fn(|thread| {
        let count = value(db, &format!("{thread}/count"));
        let count = count.map_or(0, |count| count.parse().unwrap());
        let prefix = format!("{thread}/done/");
        let done: Vec<u64> = all
            .iter()
            .filter_map(|(key, _)| key.strip_prefix(&prefix)?.parse().ok())
            .collect();
        assert_eq!(done, (1..=count).collect::<Vec<_>>(), "thread {thread}");
        count
    })
}

fn cut_power(sync: SyncMode, checkpoint_after: u64) -> usize {
    let mut rng = seeded(&format!("{sync:?}, checkpoints after {checkpoint_after}"));
    let options = LogOptions::default()
        .sync(sync)
        .checkpoint_after(checkpoint_after);
    let mut lost = 0;
    for operations in 0.. {
        let disk = Disk::default();
        let part = rng.random();
        disk.fail_after(operations, part);
        let mut answered = [0; THREADS];
        if let Ok(store) = open(&disk, options.clone()) {
            answered = count(&Db::new(store));
        }
        for _ in 0..6 {
            let image = disk.after_power_cut(&mut rng);
            let db = Db::new(open(&image, options.clone()).unwrap());
            let found = counted(&db);
            for thread in 0..THREADS {
                if found[thread] < answered[thread] {
                    assert_ne!(sync, SyncMode::Always, "{answered:?}, found {found:?}");
                    lost += 1;
                }
                assert!(found[thread] <= answered[thread] + 1);
            }
            // And it goes on.
            step(&db, 0, found[0] + 1).unwrap();
            drop(db);
            let db = Db::new(open(&image, options.clone()).unwrap());
            assert_eq!(counted(&db)[0], found[0] + 1);
        }
        if disk.done() < operations {
            assert!(operations > 10, "{operations} operations");
            return lost;
        }
    }
    unreachable!("the workload ends")
}

#[test]
fn no_answered_commit_is_lost_and_none_is_there_by_half() {
    cut_power(SyncMode::Always, u64::MAX);
}

#[test]
fn no_answered_commit_is_lost_while_checkpoints_are_written() {
    cut_power(SyncMode::Always, 600);
}

/// That some are lost shows that the disk forgets.
#[test]
fn without_syncs_the_end_is_lost_and_nothing_by_half() {
    assert!(cut_power(SyncMode::Never, u64::MAX) > 0);
    cut_power(SyncMode::Never, 600);
}
