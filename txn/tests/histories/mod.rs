//! Histories of transactions that read lists and append to them, and two judges of them.
//!
//! Every appended number is used once, so a list that was read tells which transactions its reader saw, and in which
//! order they wrote (Kingsbury and Alvaro, "Elle", VLDB 2020). One judge is the crate `adya`; the other one is here: edges
//! *dependency* (ww, wr) and *anti-dependency* (rw) between committed transactions, and a search for cycles. Serializable:
//! none. Snapshot isolation: none in which no two anti-dependencies follow each other (Cerone and Gotsman, PODC 2016).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

/// What a transaction did: the lists that it read, and what it appended afterwards.
#[derive(Debug, Clone, Default)]
pub struct Work {
    pub reads: Vec<(String, Vec<u64>)>,
    pub appends: Vec<(String, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    Committed,
    Failed,
    Unknown,
}

#[derive(Debug, Default)]
pub struct Recorder {
    lines: Mutex<Vec<String>>,
    ended: Mutex<Vec<(Work, Outcome)>>,
}

fn json(kind: &str, process: usize, work: &Work, with_reads: bool) -> String {
    let reads = work.reads.iter().map(|(key, list)| {
        let list = if with_reads {
            format!("{list:?}")
        } else {
            "null".to_owned()
        };
        format!(r#"["r","{key}",{list}]"#)
    });
    let appends = work
        .appends
        .iter()
        .map(|(key, number)| format!(r#"["append","{key}",{number}]"#));
    let value: Vec<String> = reads.chain(appends).collect();
    format!(
        r#"{{"type":"{kind}","process":{process},"value":[{}]}}"#,
        value.join(",")
    )
}

impl Recorder {
    /// A transaction that is about to do this; what its reads will give is not looked at. `process` runs one at a time.
    pub fn begin(&self, process: usize, work: &Work) {
        let line = json("invoke", process, work, false);
        self.lines.lock().unwrap().push(line);
    }

    pub fn end(&self, process: usize, work: Work, outcome: Outcome) {
        let (kind, with_reads) = match outcome {
            Outcome::Committed => ("ok", true),
            Outcome::Failed => ("fail", false),
            Outcome::Unknown => ("info", false),
        };
        let line = json(kind, process, &work, with_reads);
        self.lines.lock().unwrap().push(line);
        self.ended.lock().unwrap().push((work, outcome));
    }

    pub fn committed(&self) -> usize {
        let ended = self.ended.lock().unwrap();
        ended
            .iter()
            .filter(|each| each.1 == Outcome::Committed)
            .count()
    }

    /// Whether both judges find that the model holds; panics if they do not agree.
    pub fn is(&self, model: Model, finally: &BTreeMap<String, Vec<u64>>) -> bool {
        let history = adya::History::from_json(&self.lines.lock().unwrap().join("\n")).unwrap();
        let options = adya::Opts {
            models: vec![model.name().to_owned()],
            ..adya::Opts::default()
        };
        let report = adya::check(&history, adya::Workload::ListAppend, &options);
        let own = self.own(model, finally);
        assert_eq!(
            report.valid == adya::Valid::True,
            own.is_ok(),
            "{model:?}: adya found {:?}, the own check {own:?}",
            report.anomaly_types
        );
        own.is_ok()
    }

    fn own(&self, model: Model, finally: &BTreeMap<String, Vec<u64>>) -> Result<(), String> {
        let ended = self.ended.lock().unwrap();
        let mut writers: HashMap<u64, usize> = HashMap::new();
        for (number, (work, outcome)) in ended.iter().enumerate() {
            for (key, value) in &work.appends {
                let is_there = finally.get(key).is_some_and(|list| list.contains(value));
                match outcome {
                    Outcome::Committed if !is_there => return Err(format!("{value} is lost")),
                    Outcome::Failed if is_there => {
                        return Err(format!("{value} was not committed"));
                    }
                    _ => {}
                }
                writers.insert(*value, number);
            }
        }
        let (mut depends, mut precedes) = (BTreeSet::new(), BTreeSet::new());
        for list in finally.values() {
            for pair in list.windows(2) {
                depends.insert((writers[&pair[0]], writers[&pair[1]]));
            }
        }
        for (number, (work, outcome)) in ended.iter().enumerate() {
            if *outcome != Outcome::Committed {
                continue;
            }
            for (key, seen) in &work.reads {
                let list = finally.get(key).map_or(&[][..], Vec::as_slice);
                let Some(after) = list.strip_prefix(&seen[..]) else {
                    return Err(format!("{key} was {seen:?} and became {list:?}"));
                };
                depends.extend(seen.last().map(|last| (writers[last], number)));
                precedes.extend(after.first().map(|next| (number, writers[next])));
            }
        }
        let differ = |edge: &(usize, usize)| edge.0 != edge.1;
        depends.retain(differ);
        precedes.retain(differ);
        let edges: BTreeSet<(usize, usize)> = match model {
            Model::Serializable => depends.union(&precedes).copied().collect(),
            Model::SnapshotIsolation => {
                let after = |through: usize| {
                    precedes
                        .range((through, 0)..(through + 1, 0))
                        .map(|edge| edge.1)
                };
                let joined = depends
                    .iter()
                    .flat_map(|&(from, through)| after(through).map(move |to| (from, to)));
                joined.chain(depends.iter().copied()).collect()
            }
        };
        if is_acyclic(ended.len(), &edges) {
            Ok(())
        } else {
            Err("there is a cycle".to_owned())
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Model {
    SnapshotIsolation,
    Serializable,
}

impl Model {
    fn name(self) -> &'static str {
        match self {
            Self::SnapshotIsolation => "snapshot-isolation",
            Self::Serializable => "serializable",
        }
    }
}

/// Takes away what nothing leads to, as long as there is something.
fn is_acyclic(count: usize, edges: &BTreeSet<(usize, usize)>) -> bool {
    let mut leading_here = vec![0; count];
    edges.iter().for_each(|edge| leading_here[edge.1] += 1);
    let mut free: Vec<usize> = (0..count).filter(|node| leading_here[*node] == 0).collect();
    let mut taken = 0;
    while let Some(node) = free.pop() {
        taken += 1;
        for &(_, next) in edges.range((node, 0)..(node + 1, 0)) {
            leading_here[next] -= 1;
            if leading_here[next] == 0 {
                free.push(next);
            }
        }
    }
    taken == count
}
