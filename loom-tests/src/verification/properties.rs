//! The rows of the table: what is claimed, and how it is looked at.

use super::record::Kind;

/// One row.
pub struct Property {
    pub claim: &'static str,
    pub tool: &'static str,
    /// The evidence: records of this kind whose names begin with one of these words.
    pub kind: Kind,
    pub names: &'static [&'static str],
    /// What the records do not say of the bound.
    pub bound: &'static str,
    pub reproduce: &'static str,
    pub uncovered: &'static str,
}

const LOOM: &str = "loom 0.7";
const MODELS: &str = "`loom-tests/run FILTER`";
const WEAK: &str = "more threads or preemptions; some orders where a writer reads first, which loom forgets (see the mended one)";

const fn modelled(
    claim: &'static str,
    names: &'static [&'static str],
    uncovered: &'static str,
) -> Property {
    Property {
        claim,
        tool: LOOM,
        kind: Kind::Model,
        names,
        bound: "",
        reproduce: MODELS,
        uncovered,
    }
}

/// In the order of the document. Every model belongs to a row: see `no_model_is_left_out`.
pub const PROPERTIES: &[Property] = &[
    modelled(
        "Writes, reads and counters of one key and of several: each at one instant, nothing lost, counted once",
        &["s1_", "s2_", "s3_", "s4_", "s6_", "s7_"],
        WEAK,
    ),
    modelled(
        "What a guard or snapshot shows stays as it is until it ends, whoever removes or frees",
        &["s5_", "s20_"],
        "guards that are leaked: a test counts what they hold back",
    ),
    modelled(
        "Scans are ordered and meet every settled key once, under inserts, splits, removals and merges",
        &["s8_", "s9_"],
        "leaves above two entries",
    ),
    modelled(
        "Splits, removals and merges of leaves; cells that are used again",
        &["s25_", "s26_", "s27_"],
        "histories of more than four operations",
    ),
    modelled(
        "A stage or savepoint is taken back or kept at one instant, for reads, scans, counts and snapshots",
        &["s10_", "s11_"],
        "nesting deeper than two: property tests, fuzzing and soak",
    ),
    modelled("A snapshot never changes", &["s12_"], WEAK),
    modelled(
        "A freeze is one instant: no write before it is lost, none comes after",
        &["s19_"],
        "tables with more stripes of counters than threads",
    ),
    modelled(
        "Counters over stripes are never negative, and exact at rest",
        &["s21_"],
        "three threads and two stripes: a unit test and soak",
    ),
    modelled(
        "A batch is seen as a whole or not at all",
        &["s28_"],
        "batches above two keys",
    ),
    modelled(
        "Versions under the engine's numbers: a read, write or batch beside a prune is right or refused; a number sees nothing above it that comes meanwhile",
        &[
            "read_beside_prune",
            "read_beside_a_write_above_it",
            "write_beside_prune",
            "batch_beside_prune",
        ],
        "two prunes at once",
    ),
    modelled(
        "A set of tables: a write is in one table and found all the time while tables are frozen, flushed and freed beside it; who waits for room or for a flush is woken",
        &["set_"],
        "arc-swap, for which one word stands; deadlines, since time does not pass; more than three tables",
    ),
    modelled(
        "Reclamation: nothing is freed while it can be reached, nothing twice, all in the end",
        &[
            "replaced_pointer",
            "two_writers_and_a_reader_of_one_pointer",
            "stack_hands",
            "nothing_is_reachable",
            "inbox_",
        ],
        "an oracle stands for crossbeam-epoch here",
    ),
    modelled(
        "What is retired is kept for the guards of that time, by the real crossbeam-epoch",
        &["epoch_"],
        "more than two threads; threads that end",
    ),
    modelled(
        "The buffer: its gate, limits, hook, dirty mark and stages",
        &["buffer_", "gate_"],
        "three writers at once",
    ),
    modelled(
        "Row locks: handed to exactly one waiter, in order; one victim for a deadlock; none lost to who cancels",
        &["lock_"],
        "rings above three",
    ),
    modelled(
        "Locks, writes and the end of one transaction among siblings",
        &["register_", "txn_", "s16_", "s17_", "s18_", "s23_", "s24_"],
        "the store behind it",
    ),
    modelled(
        "The write-ahead log: a commit is answered and seen only once it is on the disk, in the log's order; a failed sync is told to all who wait; none is lost to a rollback, an end or a checkpoint beside it",
        &["log_"],
        "timestamps, the real oracle's; a crash in the middle of a write: tests that cut and kill",
    ),
    Property {
        claim: "The same models where loom forgets no order: a loom mended by `loom-tests/loom.patch`, without which a writer that reads first is not interleaved with all readers (tokio-rs/loom#166)",
        tool: "loom 0.7.3, mended",
        kind: Kind::Mended,
        names: &[""],
        bound: "",
        reproduce: "`loom-tests/run --mended 1`",
        uncovered: "the higher bounds of the rows above, which loom as it is explores in part",
    },
    Property {
        claim: "The models can fail: bugs planted in the code are found",
        tool: LOOM,
        kind: Kind::Mutant,
        names: &[""],
        bound: "one bug at a time",
        reproduce: "`loom-tests/run every_mutant`",
        uncovered: "bugs nobody thought of",
    },
    Property {
        claim: "Every answer is one that a sequential table could give at an instant of its call",
        tool: "own checker (Wing, Gong, Lowe), `todc-utils` beside it",
        kind: Kind::Histories,
        names: &["points", "stats_", "stages_", "the_end", "what_fails"],
        bound: "",
        reproduce: "`cargo test --release -p untorn-memtable --test linearizability -- --nocapture`",
        uncovered: "longer histories; batches and savepoints, which models and property tests have",
    },
    Property {
        claim: "The checker can fail: crossbeam-skiplist 0.1.3 is found out",
        tool: "own checker",
        kind: Kind::Histories,
        names: &["peer_"],
        bound: "",
        reproduce: "`cargo test --release -p untorn-linearizability -- --nocapture`",
        uncovered: "",
    },
    Property {
        claim: "Snapshot isolation; serializability where what is read is locked; also when requests are lost or repeated",
        tool: "`adya` 0.1 and an own cycle check, which have to agree",
        kind: Kind::Histories,
        names: &["isolation_"],
        bound: "list-append, 5 keys",
        reproduce: "`cargo test --release -p untorn-txn --test isolation -- --nocapture`",
        uncovered: "predicates: ranges are not locked",
    },
    Property {
        claim: "No use after free, no leak",
        tool: "AddressSanitizer, LeakSanitizer",
        kind: Kind::Sanitizer,
        names: &["address"],
        bound: "stress, linearizability and race tests; epochs with bags of few objects",
        reproduce: "`.ci/sanitize address`",
        uncovered: "schedules that did not happen",
    },
    Property {
        claim: "No data race",
        tool: "ThreadSanitizer, std instrumented",
        kind: Kind::Sanitizer,
        names: &["thread"],
        bound: "the same tests; crossbeam-epoch with one CAS made AcqRel (see the script)",
        reproduce: "`.ci/sanitize thread`",
        uncovered: "what is ordered by fences alone, which it does not know",
    },
    Property {
        claim: "The sanitizers can fail: planted bugs are reported",
        tool: "both",
        kind: Kind::Planted,
        names: &[""],
        bound: "",
        reproduce: "`.ci/sanitize address`, `.ci/sanitize thread`",
        uncovered: "",
    },
    Property {
        claim: "Any operations, keys and bounds give what a plain map gives, with no crash and no use after free",
        tool: "libFuzzer with AddressSanitizer",
        kind: Kind::Fuzz,
        names: &[""],
        bound: "one thread",
        reproduce: "`.ci/fuzz SECONDS`",
        uncovered: "threads",
    },
    Property {
        claim: "Everything together for long: exact after each round, memory flat",
        tool: "`soak`",
        kind: Kind::Soak,
        names: &[""],
        bound: "rounds of 20,000 steps a thread, 64 MiB",
        reproduce: "`cargo run --release -p untorn-bench --bin soak -- --minutes 60`",
        uncovered: "other processors than x86-64",
    },
];
