//! A statement that fails halfway takes back its own writes and no others, however many threads wrote for it.
//!
//! Each statement of the transaction runs in a stage, its parts on threads of their own. A part that finds a broken rule fails the
//! statement: the stage is cleaned up at one instant, the locks stay. A savepoint, taken by the session, takes back several
//! statements that had succeeded.
//!
//! ```sh
//! cargo run --release -p untorn-txn --example statement_rollback
//! ```

use untorn_txn::{BeginOptions, Db, Error, LockOptions, Transaction};

const PARTS: u64 = 4;
const ROWS: u64 = 1_000;

fn row(n: u64) -> String {
    format!("account/{n:06}")
}

/// Adds `amount` to each row, on several threads. A row that would hold more than `most` breaks a rule.
fn add(txn: &Transaction, amount: u64, most: u64) -> Result<bool, Error> {
    let stage = txn.stage()?;
    let part = |part: u64| -> Result<bool, Error> {
        for n in (part..ROWS).step_by(PARTS as usize) {
            let key = row(n);
            txn.blocking().lock_keys([&key], LockOptions::default())?;
            let held = txn.blocking().get(&key)?;
            let held = held.and_then(|held| std::str::from_utf8(&held).ok()?.parse().ok());
            let sum = held.unwrap_or(0) + amount;
            if sum > most + n {
                return Ok(false);
            }
            txn.put(&key, sum.to_string())?;
        }
        Ok(true)
    };
    let parts: Vec<Result<bool, Error>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PARTS).map(|n| scope.spawn(move || part(n))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Ok(false)))
            .collect()
    });
    let kept = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
    let kept = kept.into_iter().all(|kept| kept);
    match kept {
        true => stage.release()?,
        false => stage.cleanup()?,
    }
    Ok(kept)
}

fn main() -> Result<(), Error> {
    let db = Db::in_memory();
    let txn = db.blocking().begin(BeginOptions::default())?;

    assert!(add(&txn, 10, 100)?);
    let after_the_first = txn.stats();
    println!("first statement: {after_the_first:?}");

    assert!(!add(&txn, 95, 100)?, "row 0 would hold 105");
    assert_eq!(txn.stats(), after_the_first);
    println!(
        "second statement: failed, taken back as a whole; locks held: {}",
        txn.held_locks()
    );

    let savepoint = txn.savepoint()?;
    assert!(add(&txn, 5, 100)?);
    assert!(add(&txn, 7, 100)?);
    assert_eq!(txn.blocking().get(row(3))?.as_deref(), Some(&b"22"[..]));
    txn.rollback_to(&savepoint)?;
    assert_eq!(txn.blocking().get(row(3))?.as_deref(), Some(&b"10"[..]));
    println!("two more statements: taken back to the savepoint");

    let info = txn.blocking().commit()?;
    assert_eq!(info.keys as u64, ROWS);
    println!("committed {} rows, {} bytes", info.keys, info.bytes);
    Ok(())
}
