//! Ops that test the engine itself: no mathematics, known results, and arithmetic whose bits change
//! with the order of what is read.

use crate::work::{Fetched, Held, Need, Output, Part, Want, Work};
use crate::{failure_of, unknown_op};
use plan::Failure;
use std::sync::Arc;
use store::AlignedBuf;
use tensor::{ObjectKey, Op, OpFamily, Task};

const VERSION: u16 = 1;

/// A probe. What it reads and writes is the task's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Does nothing: its cost is the engine's. Writes must be empty.
    Empty,
    /// Spins for this many steps of integer arithmetic, about a nanosecond each. Writes must be empty.
    Burn(u64),
    /// Writes one block of `rows` × `width` f32 whose values in [-1, 1) are a function of seed and position.
    Fill {
        /// Rows of the block.
        rows: u32,
        /// Values of a row.
        width: u32,
        /// The counter's key.
        seed: u64,
    },
    /// Reads blocks, one a piece; the partial is the f64 sum of their values in order.
    Sum,
    /// As [`Probe::Sum`], of every `step`-th of the first `rows` rows of each block, which are pulled as
    /// rows, and of the last `rows / 2` of them, pulled as a span.
    SumRows {
        /// Rows of a block.
        rows: u32,
        /// The stride, at least 1.
        step: u32,
    },
    /// Reads any number of blocks of one shape and writes one: `w ← 0.75 w + r` over the reads in order.
    /// The partial is the f64 sum of what was written.
    Mix,
    /// Reads two blocks of one shape and writes both: `a' = a/2 + b/4 + 1/8`, `b' = b/2 - a'/4`.
    Tile,
}

impl Probe {
    /// The probe as a task's op.
    pub fn op(self) -> Op {
        let words: &[u64] = match self {
            Probe::Empty => &[0],
            Probe::Burn(steps) => &[1, steps],
            Probe::Fill { rows, width, seed } => &[2, rows.into(), width.into(), seed],
            Probe::Sum => &[3],
            Probe::SumRows { rows, step } => &[4, rows.into(), step.into()],
            Probe::Mix => &[5],
            Probe::Tile => &[6],
        };
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Op {
            family: OpFamily::Probe,
            version: VERSION,
            body: body.into(),
        }
    }

    /// What [`Probe::op`] encoded.
    pub fn decode(op: &Op) -> Option<Self> {
        if op.family != OpFamily::Probe || op.version != VERSION || !op.body.len().is_multiple_of(8)
        {
            return None;
        }
        let words: Vec<u64> = op
            .body
            .as_chunks()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word))
            .collect();
        Some(match *words {
            [0] => Probe::Empty,
            [1, steps] => Probe::Burn(steps),
            [2, rows, width, seed] => Probe::Fill {
                rows: rows.try_into().ok()?,
                width: width.try_into().ok()?,
                seed,
            },
            [3] => Probe::Sum,
            [4, rows, step] => Probe::SumRows {
                rows: rows.try_into().ok()?,
                step: u32::try_from(step).ok().filter(|&s| s > 0)?,
            },
            [5] => Probe::Mix,
            [6] => Probe::Tile,
            _ => return None,
        })
    }

    /// The value that [`Probe::Fill`] writes at a position of a block (row by row).
    pub fn filled(seed: u64, position: u64) -> f32 {
        // SplitMix64's finalizer over a counter; 24 bits of it make an exact f32.
        let mixed = mix(seed ^ position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (mixed >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    fn reads_allowed(self, reads: usize) -> bool {
        match self {
            Probe::Empty | Probe::Burn(_) => true,
            Probe::Fill { .. } => reads == 0,
            Probe::Sum | Probe::SumRows { .. } | Probe::Mix => reads > 0,
            Probe::Tile => reads == 2,
        }
    }

    fn writes(self) -> usize {
        match self {
            Probe::Empty | Probe::Burn(_) | Probe::Sum | Probe::SumRows { .. } => 0,
            Probe::Fill { .. } | Probe::Mix => 1,
            Probe::Tile => 2,
        }
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A probe in progress.
struct Running {
    probe: Probe,
    reads: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    /// Pieces done.
    pieces: usize,
    sum: f64,
    blocks: Vec<AlignedBuf>,
    row_bytes: u32,
}

pub(crate) fn begin(task: &Task) -> Result<Box<dyn Work>, Failure> {
    let probe = Probe::decode(&task.op).ok_or_else(|| unknown_op(task))?;
    let reads: Vec<ObjectKey> = task
        .reads
        .iter()
        .flat_map(|read| read.keys.keys())
        .collect();
    if !probe.reads_allowed(reads.len()) || task.writes.len() != probe.writes() {
        return Err(unknown_op(task));
    }
    let writes = task.writes.clone();
    Ok(Box::new(Running {
        probe,
        reads,
        writes,
        pieces: 0,
        sum: 0.0,
        blocks: Vec::new(),
        row_bytes: 4,
    }))
}

impl Running {
    /// The objects of one piece: the tile needs both blocks at once, all others go block by block.
    fn piece(&self) -> &[ObjectKey] {
        match self.probe {
            Probe::Empty | Probe::Burn(_) | Probe::Fill { .. } => &[],
            Probe::Tile => &self.reads[..if self.pieces == 0 { 2 } else { 0 }],
            Probe::Sum | Probe::SumRows { .. } | Probe::Mix => {
                &self.reads[self.pieces..self.reads.len().min(self.pieces + 1)]
            }
        }
    }

    fn parts(&self) -> Vec<Part> {
        match self.probe {
            Probe::SumRows { rows, step } => {
                let strided: Vec<u32> = (0..rows).step_by(step as usize).collect();
                let span = u64::from(rows - rows / 2)..u64::from(rows);
                vec![Part::Rows(strided.into()), Part::Span(span)]
            }
            _ => vec![Part::Whole],
        }
    }

    fn fold(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len().is_multiple_of(4),
            "{} bytes are no numbers",
            bytes.len()
        );
        let values: Vec<f32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|value| f32::from_le_bytes(*value))
            .collect();
        match self.probe {
            Probe::Mix => {
                if self.blocks.is_empty() {
                    self.blocks.push(AlignedBuf::zeroed(bytes.len()));
                }
                let mixed = self.blocks[0].typed_mut::<f32>();
                mixed
                    .iter_mut()
                    .zip(&values)
                    .for_each(|(w, r)| *w = 0.75 * *w + r);
            }
            Probe::Tile => self.blocks.push(AlignedBuf::copy_of(bytes)),
            _ => self.sum += values.iter().map(|&v| f64::from(v)).sum::<f64>(),
        }
    }

    fn tile(&mut self) {
        let [a, b] = &mut self.blocks[..] else {
            unreachable!("a tile reads two blocks")
        };
        for (a, b) in a.typed_mut::<f32>().iter_mut().zip(b.typed_mut::<f32>()) {
            *a = 0.5 * *a + 0.25 * *b + 0.125;
            *b = 0.5 * *b - 0.25 * *a;
        }
    }

    fn write_alone(&mut self) {
        match self.probe {
            Probe::Burn(steps) => {
                std::hint::black_box((0..steps).fold(1, |word, step| mix(word ^ step)));
            }
            Probe::Fill { rows, width, seed } => {
                let mut block = AlignedBuf::zeroed(rows as usize * width as usize * 4);
                let values = block.typed_mut::<f32>().iter_mut();
                values
                    .zip(0..)
                    .for_each(|(value, position)| *value = Probe::filled(seed, position));
                self.row_bytes = width * 4;
                self.blocks.push(block);
            }
            _ => {}
        }
    }
}

impl Work for Running {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let parts = self.parts();
        let wants: Vec<Want> = self
            .piece()
            .iter()
            .flat_map(|&key| {
                parts
                    .iter()
                    .map(move |part| Want::Object(key, part.clone()))
            })
            .collect();
        let alone =
            self.reads.is_empty() && self.pieces == 0 && !matches!(self.probe, Probe::Empty);
        if wants.is_empty() && !alone {
            Ok(Need::Nothing)
        } else {
            Ok(Need::Fetch(wants))
        }
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let keys = self.piece().to_vec();
        let parts = self.parts().len();
        for (at, fetched) in fetched.into_iter().enumerate() {
            let damaged = |error| failure_of(error, Some(keys[at / parts]));
            match fetched {
                Fetched::Held(Held::Memory { buffer, row_bytes }) => {
                    self.row_bytes = row_bytes;
                    self.fold(buffer.bytes());
                }
                Fetched::Held(Held::File { file, row_bytes }) => {
                    self.row_bytes = row_bytes;
                    self.fold(&file.section(0..file.len()).map_err(damaged)?);
                }
                Fetched::Sealed(file) => self.fold(&file.section(0..file.len()).map_err(damaged)?),
                Fetched::Rows(rows) => self.fold(rows.bytes()),
                Fetched::Bytes(bytes) => self.fold(&bytes),
            }
        }
        if self.probe == Probe::Tile {
            self.tile();
        }
        self.write_alone();
        self.pieces += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let row_bytes = self.row_bytes;
        let sum = match self.probe {
            Probe::Sum | Probe::SumRows { .. } => Some(self.sum),
            Probe::Mix => Some(
                self.blocks[0]
                    .typed::<f32>()
                    .iter()
                    .map(|&v| f64::from(v))
                    .sum(),
            ),
            _ => None,
        };
        let held = self.blocks.into_iter().map(|buffer| Held::Memory {
            buffer: Arc::new(buffer),
            row_bytes,
        });
        Ok(Output {
            objects: self.writes.into_iter().zip(held).collect(),
            partial: sum
                .map(|sum| sum.to_le_bytes().to_vec())
                .unwrap_or_default(),
            pieces: self.pieces as u64,
            ..Output::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::{BlockId, Read, StepId, TableId, TaskId};

    fn key(block: u32, version: u64) -> ObjectKey {
        ObjectKey::Block {
            table: TableId(0),
            block: BlockId(block),
            version,
        }
    }

    /// Runs a probe over what `fetch` gives.
    fn run(
        probe: Probe,
        reads: &[ObjectKey],
        writes: &[ObjectKey],
        fetch: impl Fn(&Want) -> Fetched,
    ) -> Output {
        let task = Task {
            id: TaskId {
                step: StepId(0),
                index: 0,
            },
            op: probe.op(),
            reads: reads.iter().map(|&key| Read::whole(key)).collect(),
            writes: writes.to_vec(),
            after: vec![],
            chain: None,
            cost: 1,
        };
        let mut work = begin(&task).unwrap();
        while let Need::Fetch(wants) = work.next_need().unwrap() {
            work.compute(wants.iter().map(&fetch).collect()).unwrap();
        }
        work.finish().unwrap()
    }

    fn block(values: &[f32]) -> Fetched {
        let buffer = Arc::new(AlignedBuf::copy_of(bytemuck::cast_slice(values)));
        Fetched::Held(Held::Memory {
            buffer,
            row_bytes: 4,
        })
    }

    fn written(output: &Output, index: usize) -> Vec<f32> {
        let (_, Held::Memory { buffer, .. }) = &output.objects[index] else {
            panic!("in memory")
        };
        buffer.typed::<f32>().to_vec()
    }

    #[test]
    fn encodings_go_both_ways() {
        for probe in [
            Probe::Empty,
            Probe::Burn(7),
            Probe::Fill {
                rows: 3,
                width: 16,
                seed: u64::MAX,
            },
            Probe::Sum,
            Probe::SumRows { rows: 9, step: 2 },
            Probe::Mix,
            Probe::Tile,
        ] {
            assert_eq!(Probe::decode(&probe.op()), Some(probe));
        }
        let mut op = Probe::Sum.op();
        op.version = 2;
        assert_eq!(Probe::decode(&op), None);
    }

    #[test]
    fn results_are_the_formulas() {
        let two = |want: &Want| match want {
            Want::Object(k, _) if *k == key(0, 0) => block(&[1.0, 2.0]),
            _ => block(&[4.0, 8.0]),
        };
        let sum = run(Probe::Sum, &[key(0, 0), key(1, 0)], &[], two);
        assert_eq!(
            (sum.partial, sum.pieces),
            (15.0_f64.to_le_bytes().to_vec(), 2)
        );

        let mixed = run(Probe::Mix, &[key(0, 0), key(1, 0)], &[key(0, 1)], two);
        assert_eq!(written(&mixed, 0), [4.75, 9.5]);

        let tile = run(
            Probe::Tile,
            &[key(0, 0), key(1, 0)],
            &[key(0, 1), key(1, 1)],
            two,
        );
        assert_eq!(written(&tile, 0), [1.625, 3.125]);
        assert_eq!(written(&tile, 1), [1.593_75, 3.218_75]);

        let filled = run(
            Probe::Fill {
                rows: 2,
                width: 2,
                seed: 5,
            },
            &[],
            &[key(0, 0)],
            two,
        );
        assert_eq!(
            written(&filled, 0),
            [0, 1, 2, 3].map(|at| Probe::filled(5, at))
        );
        assert!(written(&filled, 0).iter().all(|v| (-1.0..1.0).contains(v)));

        assert!(run(Probe::Burn(10), &[], &[], two).objects.is_empty());
        assert_eq!(run(Probe::Empty, &[], &[], two).pieces, 0);
    }
}
