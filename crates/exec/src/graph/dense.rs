//! Layers with weights, forwards and back, and the small matrices that they learn.

use super::rows::whole;
use crate::objects::{
    Numbers, bad_data, bug, fits, held, held_gram, held_row, key_at, numbers, sealed_numbers,
};
use crate::work::{Fetched, Held, Need, Output, Room, Work};
use model::graph::adam::Moved;
use model::graph::dense::{
    LayerRows, back, first_matrix, forward, layer_bytes, mean, step_matrix, through, weight_sums,
};
use model::graph::features::{features, matrix_sums};
use model::graph::gcn::given::read;
use model::graph::popularity::groups;
use model::graph::{
    DenseBackOp, DenseOp, FeaturesBackOp, FeaturesOp, FirstMatrixOp, FirstNumbers, GroupsOp,
    MatrixOp, MeanOp,
};
use plan::Failure;
use std::borrow::Cow;
use store::AlignedBuf;
use tensor::{ObjectKey, Task};

/// An op that reads some small objects and blocks whole, and makes all that it writes in one go.
pub(super) trait Whole: Send {
    /// How many objects it reads.
    fn reads(&self) -> usize;

    /// What it writes, in order; `gram` says whether a Gram is asked for besides.
    ///
    /// # Errors
    /// Where the budget is too small.
    fn make(&self, room: &Room, came: &[Numbers], gram: bool) -> Result<Vec<Held>, Failure>;

    /// Objects that it writes at the least.
    const WRITES: usize;
}

/// A [`Whole`] op in progress.
pub(super) struct WholeWork<O> {
    op: O,
    room: Room,
    keys: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    made: Option<Vec<Held>>,
}

impl<O: Whole> WholeWork<O> {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub(super) fn new(task: &Task, op: O, room: &Room) -> Result<Self, Failure> {
        if !(O::WRITES..=O::WRITES + 1).contains(&task.writes.len()) {
            return Err(bug(task, "writes more or less than its op"));
        }
        let keys = (0..op.reads()).map(|place| key_at(task, place));
        Ok(WholeWork {
            keys: keys.collect::<Result<_, _>>()?,
            op,
            room: room.clone(),
            writes: task.writes.clone(),
            made: None,
        })
    }
}

impl<O: Whole> Work for WholeWork<O> {
    fn next_need(&mut self) -> Result<Need, Failure> {
        Ok(match self.made {
            None => whole(&self.keys),
            Some(_) => Need::Nothing,
        })
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = self.keys.iter().zip(fetched);
        let came = came.map(|(&key, fetched)| match fetched {
            Fetched::Sealed(_) => sealed_numbers(fetched, key),
            made => numbers(made, Some(key)),
        });
        let came = came.collect::<Result<Vec<_>, _>>()?;
        let gram = self.writes.len() > O::WRITES;
        self.made = Some(self.op.make(&self.room, &came, gram)?);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let made = self.made.expect("everything is computed");
        Ok(Output {
            objects: self.writes.into_iter().zip(made).collect(),
            pieces: 1,
            ..Output::default()
        })
    }
}

/// Floats of a row of so many columns.
pub(super) const fn width(columns: u32) -> usize {
    columns.next_multiple_of(16) as usize
}

impl Whole for DenseOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        4
    }

    fn make(&self, room: &Room, came: &[Numbers], gram: bool) -> Result<Vec<Held>, Failure> {
        let (width, weights) = (width(self.columns), came[2].typed::<f32>());
        let of = LayerRows {
            sums: came[0].typed(),
            own: came[1].typed(),
            degrees: came[3].typed(),
        };
        let bytes = 4 * of.sums.len();
        let (rows, threads) = (of.degrees.len(), room.pool.current_num_threads());
        // The block's rows may be many: a budget for them is needed only here, where they are known.
        let beside = layer_bytes(self.columns, 2, rows, threads);
        fits(bytes as u64 + beside, room.budget_bytes)?;
        let mut out = room.buffers.take(bytes);
        let gram = room.pool.install(|| {
            forward(room.simd, self, weights, of, out.typed_mut());
            let gram = gram.then(|| held_gram(room, width, out.typed()));
            self.stored.keep(width, of.degrees, out.typed_mut());
            gram
        });
        Ok(std::iter::once(held(out, 4 * width)).chain(gram).collect())
    }
}

impl Whole for DenseBackOp {
    const WRITES: usize = 3;

    fn reads(&self) -> usize {
        5 + usize::from(self.bends()) + usize::from(self.of_mean.is_some())
    }

    fn make(&self, room: &Room, came: &[Numbers], _: bool) -> Result<Vec<Held>, Failure> {
        let (gradients, weights) = (came[0].typed::<f32>(), came[3].typed::<f32>());
        let of = LayerRows {
            sums: came[1].typed(),
            own: came[2].typed(),
            degrees: came[4].typed(),
        };
        let (bytes, row_bytes) = (4 * gradients.len(), 4 * width(self.columns));
        let (rows, threads) = (of.degrees.len(), room.pool.current_num_threads());
        let beside = layer_bytes(self.columns, self.parts, rows, threads);
        // The gradients are copied where they are not taken as they are.
        let copies = self.bends() || self.share != 1.0 || self.dropout.is_some();
        let blocks = 2 + u64::from(copies);
        fits(blocks * bytes as u64 + beside, room.budget_bytes)?;
        let mut to = [room.buffers.take(bytes), room.buffers.take(bytes)];
        let sums = room.pool.install(|| {
            let mut slopes = Cow::Borrowed(gradients);
            if self.share != 1.0 {
                slopes.to_mut().iter_mut().for_each(|g| *g *= self.share);
            }
            if let Some(dropout) = self.dropout {
                dropout.apply(width(self.columns), slopes.to_mut());
            }
            if self.bends() {
                let slopes = slopes.to_mut();
                through(room.simd, self, of.degrees, came[5].typed(), slopes);
            }
            let by_mean = came.last().filter(|_| self.of_mean.is_some());
            let slopes_and_mean = (&slopes[..], by_mean.map(Numbers::typed));
            let [to_sums, to_own] = &mut to;
            let to = (to_sums.typed_mut(), to_own.typed_mut());
            back(room.simd, self, weights, of.degrees, slopes_and_mean, to);
            weight_sums(room.simd, self, of, &slopes)
        });
        let blocks = to.map(|block| held(block, row_bytes)).into_iter();
        Ok(blocks.chain([held_row(&sums)]).collect())
    }
}

impl Whole for MeanOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        1 + self.layers as usize
    }

    fn make(&self, room: &Room, came: &[Numbers], gram: bool) -> Result<Vec<Held>, Failure> {
        let (degrees, width) = (came[0].typed::<f64>(), width(self.columns));
        let layers: Vec<&[f32]> = came[1..].iter().map(Numbers::typed).collect();
        let bytes = 4 * degrees.len() * width;
        fits(bytes as u64, room.budget_bytes)?;
        let mut out = room.buffers.take(bytes);
        out.bytes_mut().fill(0);
        let gram = room.pool.install(|| {
            mean(self, degrees, &layers, out.typed_mut());
            gram.then(|| held_gram(room, width, out.typed()))
        });
        Ok(std::iter::once(held(out, 4 * width)).chain(gram).collect())
    }
}

impl Whole for FirstMatrixOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        usize::from(self.first == FirstNumbers::Given)
    }

    fn make(&self, room: &Room, came: &[Numbers], _: bool) -> Result<Vec<Held>, Failure> {
        let bytes = 4 * self.lines as usize * width(self.columns);
        fits(bytes as u64, room.budget_bytes)?;
        let mut out = AlignedBuf::zeroed(bytes);
        match came.first() {
            Some(given) if given.typed::<u8>().len() == bytes => {
                out.bytes_mut().copy_from_slice(given.typed());
            }
            Some(_) => {
                return Err(bad_data(
                    "a matrix of `initial_weights` is of another size than its model says"
                        .to_owned(),
                ));
            }
            None => first_matrix(self, out.typed_mut()),
        }
        Ok(vec![held(out, 4 * width(self.columns))])
    }
}

impl Whole for MatrixOp {
    const WRITES: usize = 3;

    fn reads(&self) -> usize {
        1 + self.sums as usize + if self.step > 1 { 2 } else { 0 }
    }

    fn make(&self, room: &Room, came: &[Numbers], _: bool) -> Result<Vec<Held>, Failure> {
        let bytes = came[0].typed::<u8>().len();
        // Copies of matrix and means, and the gradient in f64 and f32.
        fits(6 * bytes as u64, room.budget_bytes)?;
        let (sums, moments) = came[1..].split_at(self.sums as usize);
        let copy = |of: Option<&Numbers>| match of {
            Some(of) => AlignedBuf::copy_of(of.typed()),
            None => AlignedBuf::zeroed(bytes),
        };
        // Before the first step there are no means.
        let mut out = [
            copy(came.first()),
            copy(moments.first()),
            copy(moments.get(1)),
        ];
        let [rows, means, squares] = &mut out;
        let moved = Moved {
            rows: rows.typed_mut(),
            means: means.typed_mut(),
            squares: squares.typed_mut(),
        };
        let sums = sums.iter().map(Numbers::typed);
        room.pool
            .install(|| step_matrix(room.simd, self, sums, moved));
        Ok(out.map(|out| held(out, 4 * width(self.columns))).into())
    }
}

impl Whole for FeaturesOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        let known = if self.attributes.is_empty() { 0 } else { 2 };
        1 + known + usize::from(self.learns_rows)
    }

    fn make(&self, room: &Room, came: &[Numbers], _: bool) -> Result<Vec<Held>, Failure> {
        let (degrees, mut rest) = (came[0].typed::<f64>(), came[1..].iter());
        let mut known = None;
        if !self.attributes.is_empty() {
            let words = rest.next().expect("it is read").typed::<u32>();
            as_many(words, degrees.len() * self.attributes.len())?;
            known = rest
                .next()
                .map(|matrix| (read(&self.words, words), matrix.typed()));
        }
        let bytes = 4 * degrees.len() * width(self.columns);
        fits(bytes as u64, room.budget_bytes)?;
        let mut out = room.buffers.take(bytes);
        let learnt = rest.next().map(Numbers::typed);
        room.pool.install(|| {
            let known = known.as_ref().map(|(words, matrix)| (&words[..], *matrix));
            features(self, degrees, known, learnt, out.typed_mut());
        });
        Ok(vec![held(out, 4 * width(self.columns))])
    }
}

impl Whole for GroupsOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        1
    }

    fn make(&self, room: &Room, came: &[Numbers], _: bool) -> Result<Vec<Held>, Failure> {
        let words = came[0].typed::<u32>();
        let (rows, width) = (
            words.len() / self.attributes as usize,
            width(self.levels + 1),
        );
        as_many(words, rows * self.attributes as usize)?;
        let bytes = 4 * rows * width;
        fits(bytes as u64, room.budget_bytes)?;
        let mut out = room.buffers.take(bytes);
        groups(self, words, out.typed_mut());
        Ok(vec![held(out, 4 * width)])
    }
}

impl Whole for FeaturesBackOp {
    const WRITES: usize = 1;

    fn reads(&self) -> usize {
        2
    }

    fn make(&self, room: &Room, came: &[Numbers], _: bool) -> Result<Vec<Held>, Failure> {
        let (gradients, words) = (came[0].typed::<f32>(), came[1].typed::<u32>());
        let width = width(self.columns);
        as_many(words, gradients.len() / width * self.attributes.len())?;
        let columns: usize = self.attributes.iter().map(|columns| columns.count()).sum();
        // Parts by attribute, and the whole.
        fits((16 * columns * width) as u64, room.budget_bytes)?;
        let words = read(&self.words, words);
        let sums = room.pool.install(|| matrix_sums(self, gradients, &words));
        Ok(vec![held_row(&sums)])
    }
}

/// Refuses words that are not those of a block's rows.
pub(super) fn as_many(words: &[u32], expected: usize) -> Result<(), Failure> {
    if words.len() == expected {
        return Ok(());
    }
    Err(bad_data(format!(
        "the attributes of a block have {} entries instead of {expected}: ingest the data set again",
        words.len()
    )))
}
