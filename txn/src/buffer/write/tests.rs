//! Writes that are held up half-way while a sibling goes on.

use super::*;
use crate::buffer::Entry;
use crate::buffer::seam::Moment;
use crate::error::TxnState;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Holds the next operation of `buffer` up at `moment` and starts `sibling` in a thread of its own there. The operation goes on
/// once the sibling has begun and `wait` is over.
fn start_at<T: Send + 'static>(
    buffer: &MemBuffer,
    moment: Moment,
    sibling: impl Fn() -> T + Clone + Send + Sync + 'static,
    wait: impl Fn(&JoinHandle<()>) + Send + Sync + 'static,
) -> Receiver<T> {
    let (answer, answers) = channel();
    buffer.inner().seam.visit(move |reached| {
        if reached != moment {
            return;
        }
        let (answer, sibling) = (answer.clone(), sibling.clone());
        let (begin, begun) = channel();
        let running = thread::spawn(move || {
            begin.send(()).unwrap();
            // The test may be over before a sibling of a later write is.
            let _ = answer.send(sibling());
        });
        begun.recv().unwrap();
        wait(&running);
    });
    answers
}

/// As [`start_at`]. The write goes on once the sibling has got the processor many times; a sibling that has to wait for the
/// write is not waited for.
fn hold_up<T: Send + 'static>(
    buffer: &MemBuffer,
    moment: Moment,
    sibling: impl Fn() -> T + Clone + Send + Sync + 'static,
) -> Receiver<T> {
    start_at(buffer, moment, sibling, |running| {
        for _ in 0..2_000 {
            if running.is_finished() {
                break;
            }
            thread::yield_now();
        }
    })
}

/// As [`start_at`]. The operation does not go on before the sibling is done.
fn let_pass<T: Send + 'static>(
    buffer: &MemBuffer,
    moment: Moment,
    sibling: impl Fn() -> T + Clone + Send + Sync + 'static,
) -> Receiver<T> {
    start_at(buffer, moment, sibling, |running| {
        let began = Instant::now();
        while !running.is_finished() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the gate is shut"
            );
            thread::yield_now();
        }
    })
}

#[test]
fn who_asks_is_dirty_during_a_write_that_can_be_seen_is_told_of_it() {
    let buffer = MemBuffer::new();
    let sibling = buffer.clone();
    let answers = hold_up(&buffer, Moment::Published, move || {
        (sibling.get("key").is_some(), sibling.is_dirty())
    });
    buffer.set("key", "value").unwrap();
    assert_eq!(answers.recv().unwrap(), (true, true));
}

#[test]
fn room_of_a_shrink_that_can_be_seen_is_given_to_a_sibling() {
    let buffer = MemBuffer::builder().buffer_limit(100).build();
    buffer.set("a", vec![0; 99]).unwrap();
    let sibling = buffer.clone();
    let answers = hold_up(&buffer, Moment::Published, move || {
        assert_eq!(sibling.get("a"), Some(Entry::Tombstone));
        sibling.set("b", vec![0; 98]).is_ok()
    });
    buffer.delete("a").unwrap();
    assert!(answers.recv().unwrap());
    assert_eq!(buffer.size(), 100);
}

#[test]
fn room_of_a_shrink_that_is_not_yet_published_is_given_to_nobody() {
    let buffer = MemBuffer::builder().buffer_limit(100).build();
    buffer.set("a", vec![0; 99]).unwrap();
    let sibling = buffer.clone();
    let answers = hold_up(&buffer, Moment::Decided, move || {
        let grown = sibling.set("b", vec![0; 98]).is_ok();
        (grown, sibling.size())
    });
    buffer.delete("a").unwrap();
    let (grown, size) = answers.recv().unwrap();
    assert!(grown, "it fits once the shrink is there");
    assert!(size <= 100, "{size}");
}

#[test]
fn growth_that_is_decided_and_not_published_is_counted_against_siblings() {
    let buffer = MemBuffer::builder().buffer_limit(100).build();
    let sibling = buffer.clone();
    let answers = hold_up(&buffer, Moment::Decided, move || {
        let fits = sibling.set("b", vec![0; 39]).is_ok();
        let too_much = sibling.set("c", vec![0; 39]).is_ok();
        (fits, too_much, sibling.size())
    });
    buffer.set("a", vec![0; 49]).unwrap();
    let (fits, too_much, size) = answers.recv().unwrap();
    assert!(fits && !too_much);
    assert!(size <= 100, "{size}");
}

#[test]
fn a_stage_opened_during_a_write_does_not_contain_it() {
    let buffer = MemBuffer::new();
    let sibling = buffer.clone();
    let answers = hold_up(&buffer, Moment::Published, move || {
        let stage = sibling.stage();
        stage.cleanup().is_ok() && sibling.get("key").is_some()
    });
    buffer.set("key", "value").unwrap();
    assert!(answers.recv().unwrap());
}

#[test]
fn what_a_reset_replaced_is_freed_when_the_gate_is_open() {
    let buffer = MemBuffer::new();
    buffer.set("old", "value").unwrap();
    let old = std::sync::Arc::downgrade(&buffer.inner().table.load_full());
    let (sibling, seen) = (buffer.clone(), old.clone());
    let answers = let_pass(&buffer, Moment::Emptied, move || {
        // A writer and a stage pass, and what there was before is still to be freed.
        sibling.set("new", "value").unwrap();
        sibling.stage().release().unwrap();
        (sibling.get("old"), seen.strong_count())
    });
    buffer.reset().unwrap();
    assert_eq!(answers.recv().unwrap(), (None, 1));
    assert_eq!((old.strong_count(), buffer.len()), (0, 1));
}

#[test]
fn a_savepoint_that_is_the_last_to_hold_a_table_frees_it_outside_of_the_gate() {
    let buffer = MemBuffer::new();
    buffer.set("old", "value").unwrap();
    let old = std::sync::Arc::downgrade(&buffer.inner().table.load_full());
    let savepoint = buffer.savepoint();
    buffer.reset().unwrap();
    assert_eq!(old.strong_count(), 1);
    let (sibling, seen) = (buffer.clone(), old.clone());
    let answers = let_pass(&buffer, Moment::LetGo, move || {
        sibling.stage().release().unwrap();
        seen.strong_count()
    });
    drop(savepoint);
    assert_eq!((answers.recv().unwrap(), old.strong_count()), (1, 0));
}

#[test]
fn of_writes_that_race_with_the_close_those_that_were_taken_are_there_and_no_other() {
    const WRITERS: usize = 3;
    for round in 0..12u32 {
        let buffer = MemBuffer::new();
        let (taken, takes) = channel();
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (buffer, taken) = (&buffer, taken.clone());
                scope.spawn(move || {
                    // Bounded, so that a buffer that never closes fails the test and does not hang it.
                    for number in 0..100_000 {
                        if buffer
                            .set(key(writer, number), round.to_be_bytes())
                            .is_err()
                        {
                            return;
                        }
                        taken.send(()).unwrap();
                    }
                });
            }
            for _ in 0..=round {
                takes.recv().unwrap();
            }
            buffer.close(TxnState::Committing, false).unwrap();
            let at_close = buffer.range::<&[u8]>(..).count();
            assert_eq!(buffer.len(), at_close);
        });
        drop(taken);
        let taken = takes.iter().count() + round as usize + 1;
        assert_eq!(buffer.len(), taken);
    }
}

fn key(writer: usize, number: u32) -> Vec<u8> {
    [&[writer as u8][..], &number.to_be_bytes()].concat()
}
