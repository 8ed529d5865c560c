//! The objects that a worker holds, within a budget of memory: what was not used longest is spilled to files
//! without a name and is read from there.
//!
//! **Invariant:** a spilled object gives the same bytes; what is dropped is gone from memory and from disk.

use crate::work::{Held, Part};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{AlignedBuf, Cache, StoreError};
use tensor::{KeyRange, ObjectKey};

/// The objects that a worker holds. All calls may come from any thread.
#[derive(Debug)]
pub struct Shelf {
    budget_bytes: u64,
    cache: Arc<Cache>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<ObjectKey, Slot>,
    /// Anonymous bytes of all objects.
    memory_bytes: u64,
    /// Bytes spilled since the shelf was made.
    spilled_bytes: u64,
    turn: u64,
}

#[derive(Debug)]
struct Slot {
    held: Held,
    last_turn: u64,
    /// Being written to a file now, by some thread.
    spilling: bool,
}

impl Shelf {
    /// An empty shelf of at most `budget_bytes` of memory, that spills into `cache`.
    pub fn new(budget_bytes: u64, cache: Arc<Cache>) -> Self {
        Shelf {
            budget_bytes,
            cache,
            state: Mutex::default(),
        }
    }

    /// Holds an object from now on, and spills others, or it, where memory is over the budget.
    /// An object that is there already stays: a key always means the same bytes.
    ///
    /// # Errors
    /// Where an object must be spilled and the disk or the cache is full. The objects are held all the same.
    pub fn put(&self, key: ObjectKey, held: Held) -> Result<(), StoreError> {
        if self.keep(key, held) {
            self.spill()?;
        }
        Ok(())
    }

    /// Holds an object as [`Shelf::put`] does, and leaves the spilling to [`Shelf::spill`]: true where it is due.
    pub fn keep(&self, key: ObjectKey, held: Held) -> bool {
        let mut state = self.state();
        state.turn += 1;
        let turn = state.turn;
        if let Some(slot) = state.objects.get_mut(&key) {
            slot.last_turn = turn;
        } else {
            state.memory_bytes += held.anonymous_bytes();
            state.objects.insert(
                key,
                Slot {
                    held,
                    last_turn: turn,
                    spilling: false,
                },
            );
        }
        state.memory_bytes > self.budget_bytes
    }

    /// Spills until memory is within the budget.
    ///
    /// # Errors
    /// Where the disk or the cache is full.
    pub fn spill(&self) -> Result<(), StoreError> {
        self.spill_down_to(self.budget_bytes)
    }

    /// The object, which then counts as used.
    pub fn get(&self, key: ObjectKey) -> Option<Held> {
        let mut state = self.state();
        state.turn += 1;
        let turn = state.turn;
        let slot = state.objects.get_mut(&key)?;
        slot.last_turn = turn;
        Some(slot.held.clone())
    }

    /// A part of an object, packed; `None` where the object is not here.
    ///
    /// # Errors
    /// Where a row lies beyond the last, or a spilled object is damaged or cannot be read.
    pub fn rows(&self, key: ObjectKey, part: &Part) -> Result<Option<AlignedBuf>, StoreError> {
        self.get(key).map(|held| held.part(part)).transpose()
    }

    /// Lets objects go: gives them. Who still has one of them may finish with it.
    pub fn drop_keys(&self, keys: KeyRange) -> Vec<Held> {
        let mut gone = Vec::new();
        let mut state = self.state();
        for key in keys.keys() {
            if let Some(slot) = state.objects.remove(&key) {
                state.memory_bytes -= slot.held.anonymous_bytes();
                gone.push(slot.held);
            }
        }
        gone
    }

    /// Lets everything go.
    pub fn clear(&self) {
        let objects = {
            let mut state = self.state();
            state.memory_bytes = 0;
            std::mem::take(&mut state.objects)
        };
        drop(objects);
    }

    /// Anonymous bytes of the objects held.
    pub fn memory_bytes(&self) -> u64 {
        self.state().memory_bytes
    }

    /// Bytes spilled so far.
    pub fn spilled_bytes(&self) -> u64 {
        self.state().spilled_bytes
    }

    /// Objects held.
    pub fn len(&self) -> usize {
        self.state().objects.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Spills the least recently used objects until at most `limit_bytes` of memory are taken.
    ///
    /// # Errors
    /// Where the disk or the cache is full.
    pub fn spill_down_to(&self, limit_bytes: u64) -> Result<(), StoreError> {
        while let Some((key, buffer, row_bytes)) = self.next_to_spill(limit_bytes) {
            let spilled = self.written(&buffer);
            let mut state = self.state();
            let Some(slot) = state.objects.get_mut(&key) else {
                continue;
            };
            // Dropped and put again meanwhile: another buffer, another slot.
            if !matches!(&slot.held, Held::Memory { buffer: now, .. } if Arc::ptr_eq(now, &buffer))
            {
                continue;
            }
            slot.spilling = false;
            slot.held = Held::File {
                file: spilled?,
                row_bytes,
            };
            state.memory_bytes -= buffer.len() as u64;
            state.spilled_bytes += buffer.len() as u64;
        }
        Ok(())
    }

    /// The least recently used object in memory, where there is too much, marked as being spilled.
    fn next_to_spill(&self, limit_bytes: u64) -> Option<(ObjectKey, Arc<AlignedBuf>, u32)> {
        let mut state = self.state();
        let leaving: u64 = state
            .objects
            .values()
            .filter(|s| s.spilling)
            .map(|s| s.held.anonymous_bytes())
            .sum();
        if state.memory_bytes.saturating_sub(leaving) <= limit_bytes {
            return None;
        }
        let idle = state
            .objects
            .iter_mut()
            .filter(|(_, slot)| !slot.spilling && slot.held.anonymous_bytes() > 0);
        let (key, slot) = idle.min_by_key(|(_, slot)| slot.last_turn)?;
        match &slot.held {
            Held::Memory { buffer, row_bytes } => {
                slot.spilling = true;
                Some((*key, buffer.clone(), *row_bytes))
            }
            Held::File { .. } => None,
        }
    }

    fn written(&self, buffer: &AlignedBuf) -> Result<store::Sealed, StoreError> {
        let mut writer = self.cache.writer()?;
        writer.append(buffer.bytes())?;
        writer.seal_unnamed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::IoMode;
    use tensor::{BlockId, TableId};

    fn key(block: u32) -> ObjectKey {
        ObjectKey::Block {
            table: TableId(1),
            block: BlockId(block),
            version: 3,
        }
    }

    fn block(block: u32) -> Vec<f32> {
        (0..4000).map(|i| (block * 10_000 + i) as f32).collect()
    }

    #[test]
    fn spilled_objects_give_the_same_bytes_and_dropped_ones_leave_nothing() {
        for mode in [IoMode::Mmap, IoMode::Pread] {
            let directory = tempfile::tempdir().unwrap();
            let cache = Arc::new(Cache::open_unsynced(directory.path(), u64::MAX, mode).unwrap());
            let shelf = Shelf::new(40_000, cache.clone());
            for i in 0..8 {
                shelf.put(key(i), Held::from_rows(&block(i), 16)).unwrap();
                assert!(shelf.memory_bytes() <= 40_000);
            }
            assert_eq!(
                (shelf.spilled_bytes(), cache.used_bytes()),
                (6 * 16_000, 6 * 16_000)
            );
            for i in 0..8 {
                let held = shelf.get(key(i)).unwrap();
                assert_eq!(
                    matches!(held, Held::Memory { .. }),
                    i >= 6,
                    "the oldest went first"
                );
                assert_eq!(
                    (held.rows(), held.bytes(), held.row_bytes()),
                    (250, 16_000, 64)
                );
                assert_eq!(
                    bytemuck::cast_slice::<u8, f32>(&held.whole().unwrap()),
                    block(i)
                );
                let rows = shelf
                    .rows(key(i), &Part::Rows(Arc::from([3, 4, 249, 0])))
                    .unwrap()
                    .unwrap();
                let expected: Vec<f32> = [3, 4, 249, 0]
                    .iter()
                    .flat_map(|&r| block(i)[r * 16..][..16].to_vec())
                    .collect();
                assert_eq!(rows.typed::<f32>(), expected);
                let span = shelf.rows(key(i), &Part::Span(10..12)).unwrap().unwrap();
                assert_eq!(span.typed::<f32>(), &block(i)[160..192]);
                assert!(shelf.rows(key(i), &Part::Rows(Arc::from([250]))).is_err());
                assert!(shelf.rows(key(i), &Part::Span(0..251)).is_err());
            }
            shelf.drop_keys(KeyRange::Blocks {
                table: TableId(1),
                first: 0,
                count: 7,
                version: 3,
            });
            assert_eq!(
                (shelf.len(), shelf.memory_bytes(), cache.used_bytes()),
                (1, 16_000, 0)
            );
            assert!(shelf.rows(key(0), &Part::Whole).unwrap().is_none());
            shelf.clear();
            assert!(shelf.is_empty() && shelf.memory_bytes() == 0);
        }
    }

    #[test]
    fn rows_across_chunks_of_a_file_are_whole() {
        for mode in [IoMode::Mmap, IoMode::Pread] {
            let directory = tempfile::tempdir().unwrap();
            let cache = Arc::new(Cache::open_unsynced(directory.path(), u64::MAX, mode).unwrap());
            let shelf = Shelf::new(0, cache);
            // Rows of 48 bytes do not divide a chunk of 1 MiB.
            let values: Vec<f32> = (0..12 * 60_000).map(|i| i as f32).collect();
            shelf.put(key(0), Held::from_rows(&values, 12)).unwrap();
            let rows: Vec<u32> = (0..60_000)
                .step_by(7)
                .chain([21_845, 21_844, 59_999])
                .collect();
            let expected: Vec<f32> = rows
                .iter()
                .flat_map(|&r| values[r as usize * 12..][..12].to_vec())
                .collect();
            let packed = shelf
                .rows(key(0), &Part::Rows(Arc::from(rows)))
                .unwrap()
                .unwrap();
            assert_eq!(packed.typed::<f32>(), expected);
        }
    }

    #[test]
    fn threads_may_spill_and_read_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let cache =
            Arc::new(Cache::open_unsynced(directory.path(), u64::MAX, IoMode::Mmap).unwrap());
        let shelf = Shelf::new(20_000, cache);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let shelf = &shelf;
                scope.spawn(move || {
                    for i in 0..10 {
                        let i = worker * 10 + i;
                        shelf.put(key(i), Held::from_rows(&block(i), 16)).unwrap();
                        let held = shelf.get(key(worker * 10)).unwrap();
                        assert_eq!(
                            bytemuck::cast_slice::<u8, f32>(&held.whole().unwrap()),
                            block(worker * 10)
                        );
                    }
                });
            }
        });
        assert_eq!(shelf.len(), 40);
        assert!(shelf.memory_bytes() <= 20_000);
    }
}
