//! The inbox of a thread, in which others put what it retired.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::__model::{Checked, Inbox};

/// Written plainly by whoever puts it, and freed by whoever gets it: twice, never, or before the write is seen, is found.
struct Batch {
    _checked: Checked,
}

impl Batch {
    fn new() -> Batch {
        let batch = Batch {
            _checked: Checked::new(),
        };
        batch._checked.wrote();
        batch
    }
}

/// Two batches come back while their thread takes what is there and ends. Each is freed by somebody, once.
#[test]
fn each_batch_is_freed_once() {
    model("inbox_each_batch_is_freed_once", 4, 9, || {
        let inbox = Arc::new(Inbox::new());
        let there = Arc::clone(&inbox);
        let putter = spawn(move || {
            for _ in 0..2 {
                // What finds no room comes back, and is freed here.
                let _ = there.put(Batch::new());
            }
        });
        inbox.take().for_each(drop);
        inbox.close().for_each(drop);
        putter.join().unwrap();
    });
}

/// Two who put into the one place that there is.
#[test]
fn two_who_put_at_once() {
    model("inbox_two_who_put_at_once", 3, 20, || {
        let inbox = Arc::new(Inbox::new());
        let putters = [(), ()].map(|()| {
            let there = Arc::clone(&inbox);
            spawn(move || drop(there.put(Batch::new())))
        });
        inbox.close().for_each(drop);
        for putter in putters {
            putter.join().unwrap();
        }
    });
}
