//! Runs the op that explains lists: groups of users that fit, and for each group the rows of the products that they had or are
//! recommended.

use crate::evaluate::reading::{
    Reads, RowBytes, bug, limit_of, malformed, partition, trouble, whole,
};
use crate::evaluate::scoring::{context_row, no_table, small_keys, time_row};
use crate::evaluate::stretches::short_by;
use crate::work::{Fetched, Held, Need, Output, Part, Room, Want, Work};
use model::als::explain::{Explain, Singular};
use model::evaluate::steps::block_of;
use model::recommend::ExplainOp;
use plan::{Failure, Refusal};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use store::AlignedBuf;
use store::partition::{Partition, Piece};
use tensor::{BlockId, Explained, KeyRange, ObjectKey, Recommended, Small, Task};

/// The task.
pub(crate) struct ExplainWork {
    op: ExplainOp,
    room: Room,
    block: BlockId,
    factors: KeyRange,
    /// The partition, the lists, tables of small modes, the Gram.
    first: Vec<ObjectKey>,
    write: ObjectKey,
    open: Option<Open>,
    found: Vec<u8>,
    pieces: u64,
}

/// What came first.
struct Open {
    partition: Partition,
    listed: Vec<Recommended>,
    explain: Explain,
    /// Ranges of `listed`, a user each.
    users: Vec<Range<usize>>,
    /// Ranges of `users`.
    groups: VecDeque<Range<usize>>,
    under: Option<Under>,
}

/// A group whose products' rows are asked for.
struct Under {
    users: Range<usize>,
    pieces: Vec<Piece>,
    /// Rising.
    products: Vec<u32>,
}

impl ExplainWork {
    /// A task that has fetched nothing.
    ///
    /// # Errors
    /// Where the task's keys are not those of its op.
    pub(crate) fn new(task: &Task, op: ExplainOp, room: &Room) -> Result<Self, Failure> {
        let mut reads = Reads::of(task);
        let factors = reads.range()?;
        let mut first = vec![reads.one()?, reads.one()?];
        let lists = first[1];
        first.extend(small_keys(&mut reads, op.moment, op.context)?);
        if op.formula.has_base() {
            first.push(reads.one()?);
        }
        let (ObjectKey::Block { block, .. }, Some(&write)) = (lists, task.writes.first()) else {
            return Err(bug(format!("task {} explains no block of lists", task.id)));
        };
        Ok(ExplainWork {
            op,
            room: room.clone(),
            block,
            factors,
            first,
            write,
            open: None,
            found: Vec::new(),
            pieces: 0,
        })
    }

    fn begin(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let partition = partition(fetched.next())?;
        let rows: Vec<RowBytes> = fetched.map(RowBytes::of).collect::<Result<_, _>>()?;
        let mut rows = rows.into_iter();
        let listed = rows.next().ok_or_else(no_table)?;
        let listed: Vec<Recommended> = Recommended::rows(listed.typed()).collect();
        let (mut small, mut at) = (Small::default(), Vec::new());
        if let Some(moment) = self.op.moment {
            let table = rows.next().ok_or_else(no_table)?;
            at.push(time_row(&table, moment, self.op.formula.width() as u32)?);
            small.time = Some(table.typed::<f32>().to_vec());
        }
        if let Some(context) = self.op.context {
            let (table, mean) = rows.next().zip(rows.next()).ok_or_else(no_table)?;
            at.push(context_row(&table, &mean, context)?);
            small.context = Some(table.typed::<f32>().to_vec());
        }
        let grams = self.grams(rows.next(), &small);
        let grams: Vec<&[f64]> = grams.iter().map(Vec::as_slice).collect();
        let products = self.op.products.rows_total();
        let explain = Explain::new(self.op.formula, products, &grams, small, &at);
        let users = listed.chunk_by(|one, next| one.user == next.user);
        let users = users.scan(0, |end, list| {
            let start = *end;
            *end += list.len();
            Some(start..*end)
        });
        let mut open = Open {
            users: users.collect(),
            partition,
            listed,
            explain,
            groups: VecDeque::new(),
            under: None,
        };
        self.plan(&mut open)?;
        self.open = Some(open);
        self.next_group()
    }

    /// The Grams of all modes beside users, where unobserved cells count.
    fn grams(&self, products: Option<RowBytes>, small: &Small<Option<Vec<f32>>>) -> Vec<Vec<f64>> {
        let Some(products) = products else {
            return Vec::new();
        };
        let mut grams = vec![products.typed::<f64>().to_vec()];
        let (simd, width) = (self.room.simd, self.op.formula.width());
        for (_, table) in small.as_ref().each() {
            let of = |table: &Vec<f32>| {
                let gram = || model::als::gram::block_gram(simd, width, table);
                self.room.pool.install(gram)
            };
            grams.extend(table.as_ref().map(of));
        }
        grams
    }

    /// The block's row of a user.
    fn row(&self, user: u32) -> usize {
        (user - self.op.users.row_ids(self.block).start) as usize
    }

    /// Cuts users into groups, each of which takes a part of the budget.
    fn plan(&self, open: &mut Open) -> Result<(), Failure> {
        let rows = self.op.users.rows[self.block.0 as usize];
        if open.partition.rows() != rows {
            let found = open.partition.rows();
            return Err(bug(format!(
                "block {} has {rows} users and {found}",
                self.block.0
            )));
        }
        let threads = self.room.pool.current_num_threads() as u64;
        // The rows are made once and copied once into the object.
        let reasons = open.listed.len() as u64 * u64::from(self.op.top);
        let fixed = 2 * reasons * Explained::ROW_BYTES as u64;
        let budget = self.room.budget_bytes;
        let budget = budget
            .checked_sub(fixed)
            .ok_or_else(|| short_by(fixed, budget))?;
        let row_bytes = 4 * self.op.formula.width() as u64 + 24;
        let (mut start, mut bytes) = (0, 0);
        for (place, listed) in open.users.iter().enumerate() {
            let row = self.row(open.listed[listed.start].user);
            let offsets = open.partition.offsets();
            let had = offsets[row + 1] - offsets[row];
            let list = listed.len() as u64;
            let here = (had + list) * row_bytes
                + threads.min(2) * Explain::bytes(&self.op.formula, had, list);
            if here > budget / 2 {
                return Err(short_by(2 * here, budget));
            }
            let alone = (threads - 1) * Explain::bytes(&self.op.formula, 0, list);
            if start < place && bytes + here + alone > budget / 2 {
                open.groups.push_back(start..place);
                (start, bytes) = (place, 0);
            }
            bytes += here;
        }
        if start < open.users.len() {
            open.groups.push_back(start..open.users.len());
        }
        Ok(())
    }

    /// Reads what the users of the next group had.
    fn next_group(&mut self) -> Result<(), Failure> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let Some(users) = open.groups.front().cloned() else {
            return Ok(());
        };
        let (mut pieces, mut products) = (Vec::new(), Vec::new());
        for listed in &open.users[users.clone()] {
            let row = self.row(open.listed[listed.start].user);
            let offsets = open.partition.offsets();
            let piece = open.partition.piece(offsets[row]..offsets[row + 1]);
            let piece = piece.map_err(|error| trouble(open.partition.file(), error))?;
            let csr = piece.csr(&offsets[row..=row + 1], limit_of(&self.op.products));
            let csr = csr.map_err(|error| malformed(&open.partition, &error))?;
            products.extend_from_slice(csr.columns());
            products.extend(open.listed[listed.clone()].iter().map(|of| of.product));
            pieces.push(piece);
        }
        products.sort_unstable();
        products.dedup();
        if let Some(open) = &mut self.open {
            open.groups.pop_front();
            open.under = Some(Under {
                users,
                pieces,
                products,
            });
        }
        Ok(())
    }

    fn explain(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let under = self.open.as_mut().and_then(|open| open.under.take());
        let (Some(open), Some(under)) = (&self.open, under) else {
            return Err(bug("rows of products before users".to_owned()));
        };
        let width = self.op.formula.width();
        let came = fetched.into_iter().map(RowBytes::of);
        let came: Vec<RowBytes> = came.collect::<Result<_, _>>()?;
        let rows = came
            .iter()
            .flat_map(|rows| rows.typed::<f32>().chunks_exact(width));
        let rows: Vec<&[f32]> = rows.collect();
        if rows.len() != under.products.len() {
            let (found, asked) = (rows.len(), under.products.len());
            return Err(bug(format!("{found} rows of products came for {asked}")));
        }
        let factors = |product: u32| {
            let place = under.products.binary_search(&product);
            rows[place.unwrap_or_else(|_| unreachable!("all products of the group are there"))]
        };
        let limit = limit_of(&self.op.products);
        let users = open.users[under.users.clone()]
            .par_iter()
            .zip(&under.pieces);
        let reasons = users.map(|(listed, piece)| {
            let listed = &open.listed[listed.clone()];
            let (user, offsets) = (listed[0].user, open.partition.offsets());
            let row = self.row(user);
            let csr = piece.csr(&offsets[row..=row + 1], limit);
            let csr = csr.map_err(|error| malformed(&open.partition, &error))?;
            let found = open
                .explain
                .user(&csr, factors, listed, self.op.top as usize);
            found.map_err(|error| singular(user, error))
        });
        let reasons: Result<Vec<Vec<Explained>>, Failure> =
            self.room.pool.install(|| reasons.collect());
        let rows = reasons?.into_iter().flatten();
        self.found.extend(rows.flat_map(Explained::to_row));
        self.pieces += 1;
        self.next_group()
    }
}

fn singular(user: u32, at: Singular) -> Failure {
    Failure::Refused {
        refusal: Refusal::BadData,
        sentence: format!(
            "the lists of {{user:{user}}} cannot be explained: the matrix of his equations has no positive pivot {}: raise \
             `model.regularization` and train again",
            at.pivot
        ),
    }
}

impl Work for ExplainWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let Some(open) = &self.open else {
            return Ok(Need::Fetch(self.first.iter().copied().map(whole).collect()));
        };
        let Some(under) = &open.under else {
            return Ok(Need::Nothing);
        };
        let blocks = under.products.chunk_by(|&one, &next| {
            self.op.products.split(one).0 == self.op.products.split(next).0
        });
        let wants = blocks.map(|products| {
            let rows = products.iter().map(|&row| self.op.products.split(row).1);
            let block = self.op.products.split(products[0]).0;
            Want::Object(block_of(self.factors, block.0), Part::Rows(rows.collect()))
        });
        Ok(Need::Fetch(wants.collect()))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        if self.open.is_some() {
            self.explain(fetched)
        } else {
            self.begin(fetched)
        }
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let buffer = Arc::new(AlignedBuf::copy_of(&self.found));
        let held = Held::Memory {
            buffer,
            row_bytes: Explained::ROW_BYTES as u32,
        };
        Ok(Output {
            objects: vec![(self.write, held)],
            pieces: self.pieces,
            ..Output::default()
        })
    }
}
