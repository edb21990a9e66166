//! The pipelined buffer: when it flushes, what is seen meanwhile, and what comes of a failure.
#![allow(clippy::unwrap_used)]

mod flushed;

use bytes::Bytes;
use flushed::Flushed;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use untorn_txn::buffer::pipelined::PipelinedBuilder;
use untorn_txn::buffer::{PipelinedBuffer, Stats};
use untorn_txn::{Entry, Error, FlagOp, KeyFlags};

/// Flushes at two keys of eight bytes in all.
fn small() -> PipelinedBuilder {
    PipelinedBuffer::builder().min_keys(2).min_bytes(8)
}

fn value(bytes: &'static str) -> Option<Entry> {
    Some(Entry::Value(bytes.into()))
}

#[test]
fn a_generation_holds_the_mutations_in_key_order_and_has_a_number() {
    let target = Flushed::default();
    let buffer = small().build(target.clone());
    let writes = buffer.blocking();
    writes.update_flags("flags", [FlagOp::SetLocked]).unwrap();
    writes
        .set_with_flags("b", "1", [FlagOp::SetPresumeNotExists])
        .unwrap();
    writes.delete("a").unwrap();
    writes.flush_wait().unwrap();
    assert_eq!(buffer.generations(), 1);
    writes.set("c", "2").unwrap();
    assert!(writes.flush().unwrap());
    writes.flush_wait().unwrap();
    let flushed = target.generations();
    assert_eq!(
        flushed
            .iter()
            .map(|(number, _)| *number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    let presumed = KeyFlags::PRESUME_NOT_EXISTS | KeyFlags::NEED_CHECK_EXISTS;
    let key = Bytes::from_static;
    assert_eq!(
        flushed[0].1,
        [
            (key(b"a"), Some(Entry::Tombstone), KeyFlags::empty()),
            (key(b"b"), value("1"), presumed),
            (key(b"flags"), None, KeyFlags::LOCKED),
        ]
    );
}

#[test]
fn a_part_is_flushed_when_it_has_passed_both_thresholds_or_the_forced_one() {
    let buffer = small().force_bytes(100).build(Flushed::default());
    let writes = buffer.blocking();
    writes.set("a", "12345678").unwrap();
    assert_eq!(buffer.generations(), 0, "one key");
    writes.set("b", "1").unwrap();
    assert_eq!(buffer.generations(), 1, "two keys of eleven bytes");
    writes.flush_wait().unwrap();
    writes.set("c", "1").unwrap();
    writes.set("d", "1").unwrap();
    assert_eq!(buffer.generations(), 1, "four bytes");
    writes.flush().unwrap();
    writes.flush_wait().unwrap();
    writes.set("e", [7; 99]).unwrap();
    assert_eq!(buffer.generations(), 3, "forced");
}

#[test]
fn reads_look_in_the_active_part_then_in_the_flushing_one_then_at_the_target() {
    let target = Flushed::held();
    let buffer = small().build(target.clone());
    let calls = buffer.blocking();
    calls.set("old", "in the target").unwrap();
    calls.set("hidden", "1").unwrap();
    target.let_go(1);
    calls.flush_wait().unwrap();
    calls.set("mid", "flushing").unwrap();
    calls.delete("hidden").unwrap();
    assert_eq!(buffer.generations(), 2, "held up");
    calls.set("new", "active").unwrap();
    calls.update_flags("mid", [FlagOp::SetReadable]).unwrap();

    let all = calls
        .batch_get(["old", "hidden", "mid", "new", "none"])
        .unwrap();
    let expected = [
        ("hidden", Entry::Tombstone),
        ("mid", Entry::Value("flushing".into())),
        ("new", Entry::Value("active".into())),
        ("old", Entry::Value("in the target".into())),
    ];
    assert!(
        all.iter()
            .map(|(key, entry)| (&key[..], entry.clone()))
            .eq(expected
                .iter()
                .map(|(key, entry)| (key.as_bytes(), entry.clone())))
    );
    assert_eq!(buffer.get_flags("mid"), Some(KeyFlags::READABLE));
    assert_eq!(buffer.get_flags("hidden"), Some(KeyFlags::empty()));
    assert_eq!(buffer.get_flags("old"), None);
    target.let_go(1);
    calls.flush_wait().unwrap();
    assert_eq!(calls.get("hidden").unwrap(), Some(Entry::Tombstone));
    assert_eq!(calls.get("mid").unwrap(), value("flushing"));
}

#[test]
fn a_write_waits_for_the_flush_under_way_when_the_next_one_is_due_and_not_before() {
    let target = Flushed::held();
    let buffer = small().build(target.clone());
    let calls = buffer.blocking();
    calls.set("a", "1234").unwrap();
    calls.set("b", "1234").unwrap();
    assert_eq!(buffer.generations(), 1);
    // The next part passes its thresholds while the first is held up; it is the write after that which has to wait.
    calls.set("c", "1234").unwrap();
    calls.set("d", "1234").unwrap();
    let waiting = buffer.set("e", "1");
    let mut waiting = pin!(waiting);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    assert_eq!(calls.get("e").unwrap(), None);
    assert!(!woken.0.load(Ordering::SeqCst));
    target.let_go(2);
    calls.flush_wait().unwrap();
    while !woken.0.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    assert!(matches!(
        waiting.as_mut().poll(&mut context),
        Poll::Ready(Ok(()))
    ));
    assert_eq!(buffer.generations(), 2);
    calls.flush_wait().unwrap();
    assert_eq!(calls.get("e").unwrap(), value("1"));
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn an_error_of_the_target_comes_out_of_the_write_that_would_begin_the_next_flush() {
    let target = Flushed::failing_from(1);
    let buffer = small().build(target);
    let calls = buffer.blocking();
    calls.set("a", "1234").unwrap();
    calls.set("b", "1234").unwrap();
    let failed = calls.flush_wait();
    assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
    calls.set("c", "1234").unwrap();
    calls.set("d", "1234").unwrap();
    for _ in 0..2 {
        let refused = calls.set("e", "1234");
        assert!(matches!(refused, Err(Error::Store { .. })), "{refused:?}");
        assert!(matches!(calls.flush(), Err(Error::Store { .. })));
    }
    assert_eq!((buffer.len(), buffer.generations()), (4, 1));
    for key in ["a", "b", "c", "d"] {
        assert_eq!(calls.get(key).unwrap(), value("1234"), "{key}");
    }
    assert_eq!(calls.get("e").unwrap(), None);
}

#[test]
fn a_target_that_panics_has_failed() {
    let buffer = small().build(Flushed::panicking());
    let calls = buffer.blocking();
    calls.set("a", "1").unwrap();
    assert!(calls.flush().unwrap());
    let failed = calls.flush_wait().unwrap_err();
    assert!(
        failed.to_string().contains("generation 1 panicked"),
        "{failed}"
    );
    assert_eq!(calls.get("a").unwrap(), value("1"));
}

/// C6.
#[test]
fn no_flush_begins_while_a_stage_is_open() {
    let target = Flushed::default();
    let buffer = small().build(target.clone());
    let calls = buffer.blocking();
    let stage = buffer.stage();
    for key in ["a", "b", "c", "d"] {
        calls.set(key, "1234").unwrap();
    }
    assert!(matches!(calls.flush(), Err(Error::StageOpen)));
    assert_eq!(buffer.generations(), 0);
    stage.cleanup().unwrap();
    assert_eq!((buffer.len(), buffer.is_dirty()), (0, false));
    let stage = buffer.stage();
    calls.set("a", "1234").unwrap();
    calls.set("b", "1234").unwrap();
    stage.release().unwrap();
    calls.set("c", "1").unwrap();
    calls.flush_wait().unwrap();
    assert!(buffer.is_dirty());
    assert_eq!(target.generations()[0].1.len(), 2, "the third came after");
}

/// Rule 18.
#[test]
fn the_hook_is_told_of_what_all_parts_hold_and_that_a_flush_gave_it_back() {
    let target = Flushed::held();
    let buffer = PipelinedBuffer::builder()
        .min_keys(2)
        .min_bytes(40_000)
        .build(target.clone());
    let calls = buffer.blocking();
    calls.set("a", [0; 10_000]).unwrap();
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (notes, inside) = (told.clone(), buffer.clone());
    buffer.set_memory_hook(move |total| {
        // Nothing is held: the buffer may be used.
        inside.blocking().set("from the hook", "1").unwrap();
        notes.lock().unwrap().push(total);
    });
    let last = || *told.lock().unwrap().last().unwrap();
    calls.set("b", [0; 40_000]).unwrap();
    assert_eq!(buffer.generations(), 1, "held up");
    assert!((50_000..60_000).contains(&last()), "{}", last());
    calls.set("c", [0; 10_000]).unwrap();
    assert!((60_000..70_000).contains(&last()), "{}", last());
    target.let_go(1);
    calls.flush_wait().unwrap();
    calls.set("d", "1").unwrap();
    assert!((10_000..20_000).contains(&last()), "{}", last());
    assert_eq!(told.lock().unwrap().len(), 3);

    buffer.set_memory_hook(|_| std::panic::resume_unwind(Box::new("planned")));
    let write = || calls.set("e", [0; 10_000]);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(write)).is_err());
    buffer.clear_memory_hook();
    let written = calls.get("e").unwrap().and_then(Entry::into_value);
    assert_eq!(written.map(|value| value.len()), Some(10_000));
}

#[test]
fn counters_add_up_over_generations() {
    let buffer = small().build(Flushed::default());
    let calls = buffer.blocking();
    for _ in 0..3 {
        calls.set("a", "1234").unwrap();
        calls.delete("b").unwrap();
        calls.flush().unwrap();
    }
    assert_eq!((buffer.len(), buffer.size()), (6, 18));
    assert!(!buffer.is_empty() && buffer.is_dirty());
    calls.flush_wait().unwrap();
    assert_eq!((buffer.generations(), buffer.memory()), (3, 0));
}

#[test]
fn the_limit_of_the_whole_binds_the_sum_of_all_generations() {
    let buffer = small().buffer_limit(20).build(Flushed::default());
    let calls = buffer.blocking();
    calls.set("a", "12345").unwrap();
    calls.set("b", "12345").unwrap();
    assert_eq!(buffer.generations(), 1);
    calls.set("c", "12345").unwrap();
    let refused = calls.set("d", "12");
    assert!(
        matches!(
            refused,
            Err(Error::TxnTooLarge {
                size: 21,
                limit: 20
            })
        ),
        "{refused:?}"
    );
    calls.set("d", "1").unwrap();
    assert_eq!(buffer.size(), 20);
    calls.flush().unwrap();
    let refused = calls.set("e", "1");
    assert!(
        matches!(refused, Err(Error::TxnTooLarge { .. })),
        "{refused:?}"
    );
}

#[test]
fn what_was_settled_is_found_by_every_reader_while_parts_come_and_go() {
    const WRITERS: usize = 3;
    const KEYS: u32 = 400;
    let target = Flushed::default();
    let buffer = PipelinedBuffer::builder()
        .min_keys(20)
        .min_bytes(1)
        .build(target.clone());
    let settled: [AtomicUsize; WRITERS] = Default::default();
    let key = |writer: usize, n: u32| [&[writer as u8][..], &n.to_be_bytes()].concat();
    let start = Barrier::new(WRITERS + 1);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (buffer, settled, start) = (&buffer, &settled, &start);
                scope.spawn(move || {
                    start.wait();
                    for n in 0..KEYS {
                        let key = key(writer, n);
                        buffer.blocking().set(&key, n.to_be_bytes()).unwrap();
                        settled[writer].store(n as usize + 1, Ordering::Release);
                    }
                })
            })
            .collect();
        start.wait();
        let mut before = Stats::default();
        while !writers.iter().all(|writer| writer.is_finished()) {
            for (writer, settled) in settled.iter().enumerate() {
                let settled = settled.load(Ordering::Acquire) as u32;
                for n in [settled / 2, settled]
                    .into_iter()
                    .filter_map(|n| n.checked_sub(1))
                {
                    let found = buffer.blocking().get(key(writer, n)).unwrap();
                    let expected = Entry::Value(Bytes::copy_from_slice(&n.to_be_bytes()));
                    assert_eq!(found, Some(expected), "key {n} of writer {writer}");
                }
            }
            let stats = buffer.stats();
            assert!(before.len <= stats.len, "{before:?}, then {stats:?}");
            assert_eq!(stats.size, stats.len * 9);
            before = stats;
        }
    });
    buffer.blocking().flush().unwrap();
    buffer.blocking().flush_wait().unwrap();
    assert_eq!(buffer.len(), WRITERS * KEYS as usize);
    let flushed = target.generations();
    assert_eq!(flushed.len() as u64, buffer.generations());
    let keys: usize = flushed.iter().map(|(_, mutations)| mutations.len()).sum();
    assert_eq!(
        keys,
        WRITERS * KEYS as usize,
        "each write is in one generation"
    );
}

#[test]
fn by_default_a_part_is_flushed_at_ten_thousand_keys_of_sixteen_mebibytes() {
    const KEYS: u32 = 10_000;
    // With a key of four bytes each, so that the last one passes both.
    let value = vec![7; (16 << 20) / KEYS as usize - 3];
    let buffer = PipelinedBuffer::builder().build(Flushed::default());
    let writes = buffer.blocking();
    for key in 1..KEYS {
        writes.set(key.to_be_bytes(), &value).unwrap();
    }
    writes.set(1_u32.to_be_bytes(), vec![8; 17 << 20]).unwrap();
    assert_eq!(buffer.generations(), 0, "a key too few");
    writes.set(1_u32.to_be_bytes(), "small").unwrap();
    writes.set(KEYS.to_be_bytes(), "small").unwrap();
    assert_eq!(buffer.generations(), 0, "bytes too few: {}", buffer.size());
    writes.set(1_u32.to_be_bytes(), &value).unwrap();
    writes.set(KEYS.to_be_bytes(), &value).unwrap();
    assert_eq!(buffer.generations(), 1, "{}", buffer.size());
}
