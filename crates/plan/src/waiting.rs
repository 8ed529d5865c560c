//! Who waits for what. Tasks that read the same range share one watch, so that a step of 64 tasks that
//! all read the same 64 blocks costs 64 updates of one counter, not 64 × 64.

use crate::action::{Holder, Source};
use crate::objects::Objects;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tensor::{KeyRange, ObjectKey, Task, TaskId, WorkerId};

/// The interest of unfinished tasks in one range.
pub(crate) struct Watch {
    /// Objects of the range that do not exist at present.
    pub missing: u32,
    /// Unfinished tasks that read the range.
    pub readers: BTreeSet<TaskId>,
    /// Neighbours with the same holders joined; rebuilt when a holder changes.
    runs: Option<Arc<[Source]>>,
}

/// All watches.
#[derive(Default)]
pub(crate) struct Watches {
    map: BTreeMap<KeyRange, Watch>,
    /// The ranges of more than one block, by table and version.
    spans: BTreeMap<(u16, u64), Vec<KeyRange>>,
}

/// A range in the one form under which it is watched; nothing for what always exists.
pub(crate) fn watched(range: KeyRange) -> Option<KeyRange> {
    match range {
        KeyRange::One(ObjectKey::Sealed { .. }) | KeyRange::Blocks { count: 0, .. } => None,
        KeyRange::Blocks { count: 1, .. } => range.keys().next().map(KeyRange::One),
        _ => Some(range),
    }
}

/// The watched ranges of a task, each once.
pub(crate) fn ranges(task: &Task) -> Vec<KeyRange> {
    let mut ranges: Vec<KeyRange> = task
        .reads
        .iter()
        .filter_map(|read| watched(read.keys))
        .collect();
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

impl Watches {
    /// Adds a reader. The first one of a range sees every key of it; keys that do not exist go to `absent`.
    pub(crate) fn add(
        &mut self,
        range: KeyRange,
        reader: TaskId,
        objects: &Objects,
        absent: &mut Vec<ObjectKey>,
    ) -> bool {
        if !self.map.contains_key(&range) {
            let before = absent.len();
            absent.extend(range.keys().filter(|key| !objects.exists(key)));
            let missing = (absent.len() - before) as u32;
            if let KeyRange::Blocks { table, version, .. } = range {
                self.spans
                    .entry((table.0, version))
                    .or_default()
                    .push(range);
            }
            self.map.insert(
                range,
                Watch {
                    missing,
                    readers: BTreeSet::new(),
                    runs: None,
                },
            );
        }
        let watch = self.map.get_mut(&range).expect("it was just put there");
        watch.readers.insert(reader);
        watch.missing == 0
    }

    /// Takes a reader away. True where it was the last and the range is no longer watched.
    pub(crate) fn remove(&mut self, range: KeyRange, reader: TaskId) -> bool {
        let Some(watch) = self.map.get_mut(&range) else {
            return false;
        };
        watch.readers.remove(&reader);
        if !watch.readers.is_empty() {
            return false;
        }
        self.map.remove(&range);
        if let KeyRange::Blocks { table, version, .. } = range
            && let Some(spans) = self.spans.get_mut(&(table.0, version))
        {
            spans.retain(|span| *span != range);
            if spans.is_empty() {
                self.spans.remove(&(table.0, version));
            }
        }
        true
    }

    /// Whether a single unfinished task reads exactly this range.
    pub(crate) fn has_one_reader(&self, range: KeyRange) -> bool {
        let watch = self.map.get(&range);
        watch.is_some_and(|watch| watch.readers.len() == 1)
    }

    /// The watched ranges that contain a key.
    fn covering(&self, key: ObjectKey) -> impl Iterator<Item = KeyRange> {
        let one = Some(KeyRange::One(key)).filter(|one| self.map.contains_key(one));
        let spans = match key {
            ObjectKey::Block {
                table,
                block,
                version,
            } => self
                .spans
                .get(&(table.0, version))
                .map(|spans| (block.0, spans.as_slice())),
            _ => None,
        };
        let (block, spans) = spans.unwrap_or((0, &[]));
        let within = move |span: &&KeyRange| match span {
            KeyRange::Blocks { first, count, .. } => (*first..*first + *count).contains(&block),
            KeyRange::One(_) => false,
        };
        one.into_iter().chain(spans.iter().filter(within).copied())
    }

    /// Whether an unfinished task reads this object.
    pub(crate) fn reads(&self, key: ObjectKey) -> bool {
        self.covering(key).next().is_some()
    }

    /// An object came into being: the tasks whose range is complete by it.
    pub(crate) fn appeared(&mut self, key: ObjectKey, mut complete: impl FnMut(TaskId)) {
        let ranges: Vec<KeyRange> = self.covering(key).collect();
        for range in ranges {
            let watch = self
                .map
                .get_mut(&range)
                .expect("covering ranges are watched");
            watch.missing -= 1;
            watch.runs = None;
            if watch.missing == 0 {
                watch.readers.iter().copied().for_each(&mut complete);
            }
        }
    }

    /// An object ceased to be: the tasks whose range was complete until now.
    pub(crate) fn vanished(&mut self, key: ObjectKey, mut incomplete: impl FnMut(TaskId)) {
        let ranges: Vec<KeyRange> = self.covering(key).collect();
        for range in ranges {
            let watch = self
                .map
                .get_mut(&range)
                .expect("covering ranges are watched");
            if watch.missing == 0 {
                watch.readers.iter().copied().for_each(&mut incomplete);
            }
            watch.missing += 1;
            watch.runs = None;
        }
    }

    /// The holders of an object changed, and it still exists.
    pub(crate) fn moved(&mut self, key: ObjectKey) {
        let ranges: Vec<KeyRange> = self.covering(key).collect();
        for range in ranges {
            self.map
                .get_mut(&range)
                .expect("covering ranges are watched")
                .runs = None;
        }
    }

    /// Where a worker gets those objects of a range that it does not hold itself.
    pub(crate) fn sources(
        &mut self,
        range: KeyRange,
        worker: WorkerId,
        objects: &Objects,
        to: &mut Vec<Source>,
    ) {
        let Some(watch) = self.map.get_mut(&range) else {
            return;
        };
        let runs = watch.runs.get_or_insert_with(|| join(range, objects));
        let own = Holder::Worker(worker);
        to.extend(
            runs.iter()
                .filter(|run| !run.holders.contains(&own))
                .cloned(),
        );
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }
}

/// The sources of a range, neighbours with the same holders joined.
fn join(range: KeyRange, objects: &Objects) -> Arc<[Source]> {
    let mut runs: Vec<Source> = Vec::new();
    for key in range.keys() {
        let Some(object) = objects.get(&key) else {
            continue;
        };
        let holders = object.sources();
        let last = runs.last_mut().filter(|last| last.holders == holders);
        if !last.is_some_and(|last| extend(&mut last.keys, key)) {
            runs.push(Source {
                keys: key.into(),
                holders,
            });
        }
    }
    runs.into()
}

/// Makes a range one block longer where the key is the next block of it.
pub(crate) fn extend(range: &mut KeyRange, key: ObjectKey) -> bool {
    let ObjectKey::Block {
        table,
        block,
        version,
    } = key
    else {
        return false;
    };
    match range {
        KeyRange::One(ObjectKey::Block {
            table: t,
            block: b,
            version: v,
        }) if (*t, *v) == (table, version) && b.0 + 1 == block.0 => {
            *range = KeyRange::Blocks {
                table,
                first: b.0,
                count: 2,
                version,
            };
            true
        }
        KeyRange::Blocks {
            table: t,
            first,
            count,
            version: v,
        } if (*t, *v) == (table, version) && *first + *count == block.0 => {
            *count += 1;
            true
        }
        _ => false,
    }
}
