//! What is added to a model's scores by what a user had, for the users of a group: what it reads of the data set, and how many users the
//! budget lets it score at a time.
//!
//! **Invariant:** it decides nothing that a score could tell: batches and threads change no bit.

use crate::evaluate::reading::{
    Reads, RowBytes, RowsOf, bug, limit_of, malformed, partition, read_range,
};
use crate::evaluate::stretches::short_by;
use crate::objects::held;
use crate::spare::SpareBuffers;
use crate::work::{Fetched, Room};
use model::evaluate::ProductRow;
use model::graph::Edges;
use model::graph::filter::linear::{self, BATCH, Candidates, Linear, Own};
use model::graph::filter::{Links, Near, Neighbourhoods};
use model::score::Added;
use plan::Failure;
use std::sync::Arc;
use store::AlignedBuf;
use store::partition::Partition;
use tensor::csr::CsrRef;
use tensor::{BlockId, Grid, KeyRange, ObjectKey};

/// Interactions that a thread reads at a time.
const PIECE: u64 = 1 << 18;

/// What is added, of a task.
pub(crate) struct Filtering {
    links: Links,
    users: Grid,
    products: Grid,
    /// What is known of products.
    described: KeyRange,
    /// Degrees of users and of products, or the nearest products.
    made: Vec<KeyRange>,
    partitions: Vec<ObjectKey>,
    opened: Option<Opened>,
    /// Users of a batch, and batches at a time.
    batches: (usize, usize),
    /// The scores of a group, and where their memory goes when all are done.
    scores: Option<(AlignedBuf, Arc<SpareBuffers>)>,
}

/// What came.
enum Opened {
    Shared(Linear, Blocks),
    Nearest(Neighbourhoods, Vec<RowBytes>),
}

impl Drop for Filtering {
    fn drop(&mut self) {
        give_back(self.scores.take());
    }
}

fn give_back(scores: Option<(AlignedBuf, Arc<SpareBuffers>)>) {
    if let Some((scores, spare)) = scores {
        let bytes = scores.len();
        spare.give(held(scores, bytes));
    }
}

impl Filtering {
    /// From the next reads of a task. `described` are the blocks of what is known of products.
    ///
    /// # Errors
    /// Where the task reads something else.
    pub(crate) fn of(
        reads: &mut Reads<'_>,
        links: Links,
        (users, products): (&Grid, &Grid),
        described: KeyRange,
    ) -> Result<Self, Failure> {
        let (made, blocks) = match links {
            Links::Shared(_) => (vec![reads.range()?, reads.range()?], products.blocks()),
            Links::Nearest(_) => (vec![reads.range()?], 0),
        };
        let partitions = (0..blocks).map(|_| reads.one());
        Ok(Filtering {
            links,
            users: users.clone(),
            products: products.clone(),
            described,
            made,
            partitions: partitions.collect::<Result<_, _>>()?,
            opened: None,
            batches: (BATCH, 1),
            scores: None,
        })
    }

    /// What it needs, all at once: partitions are files, which take no memory of the task's.
    pub(crate) fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        let made = std::iter::once(&self.described).chain(&self.made);
        made.flat_map(|range| range.keys())
            .chain(self.partitions.iter().copied())
    }

    /// Takes it.
    ///
    /// # Errors
    /// Where it did not come, or a partition is damaged.
    pub(crate) fn open(
        &mut self,
        mut fetched: impl Iterator<Item = Fetched>,
    ) -> Result<(), Failure> {
        let mut blocks = |grid: &Grid| {
            let blocks = grid.block_ids().map(|_| {
                let came = fetched.next();
                RowBytes::of(came.ok_or_else(|| bug("rows of a block did not come".to_owned()))?)
            });
            blocks.collect::<Result<Vec<_>, Failure>>()
        };
        let candidates = blocks(&self.products)?;
        let candidates: Candidates = candidates.iter().map(candidates_of).collect();
        let edges = match self.links {
            Links::Shared(edges) => edges,
            Links::Nearest(nearest) => {
                let near = blocks(&self.products)?;
                let of = Neighbourhoods::new(nearest, &self.products, &candidates);
                self.opened = Some(Opened::Nearest(of, near));
                return Ok(());
            }
        };
        let (users, products) = (blocks(&self.users)?, blocks(&self.products)?);
        let [user_degrees, product_degrees] =
            [&users, &products].map(|of| of.iter().map(RowBytes::typed).collect::<Vec<_>>());
        let linear = Linear::new(
            edges,
            (&self.users, &user_degrees),
            (&self.products, &product_degrees),
            candidates,
        );
        let partitions = self.products.rows.iter().map(|&rows| {
            let partition = partition(fetched.next())?;
            if partition.rows() == rows {
                Ok(partition)
            } else {
                Err(bug(format!(
                    "a partition of {} products where there are {rows}",
                    partition.rows()
                )))
            }
        });
        let blocks = Blocks {
            partitions: partitions.collect::<Result<_, Failure>>()?,
            with_values: edges == Edges::Values,
            limit: limit_of(&self.users),
        };
        self.opened = Some(Opened::Shared(linear, blocks));
        Ok(())
    }

    /// Chooses batches of which all under way take a quarter of `budget`: as wide as can be, as many as there are threads. Tells
    /// what the filter takes, whoever the users.
    ///
    /// # Errors
    /// Where not even 16 users at a time fit.
    pub(crate) fn plan(&mut self, budget: u64, room: &Room) -> Result<u64, Failure> {
        let Some(Opened::Shared(_, blocks)) = &self.opened else {
            let fixed = Neighbourhoods::bytes(&self.products);
            let fits = fixed <= budget / 4;
            return fits
                .then_some(fixed)
                .ok_or_else(|| short_by(4 * fixed, budget));
        };
        let piece = blocks.piece();
        let threads = room.pool.current_num_threads();
        let bytes = |width: usize, threads: usize| {
            let batch = Linear::batch_bytes(&self.users, &self.products, width);
            threads as u64 * (batch + 8 * piece)
        };
        let fixed = Linear::bytes(&self.users, &self.products);
        let quarter = (budget / 4).saturating_sub(fixed);
        let widths = || (1..=BATCH / 16).rev().map(|vectors| 16 * vectors);
        let choices = widths()
            .map(|width| (width, threads))
            .chain((1..threads).rev().map(|threads| (16, threads)));
        let fits = |&(width, threads): &(usize, usize)| bytes(width, threads) <= quarter;
        self.batches = choices
            .into_iter()
            .find(fits)
            .ok_or_else(|| short_by(4 * (fixed + bytes(16, 1)), budget))?;
        Ok(fixed + bytes(self.batches.0, self.batches.1))
    }

    /// What it takes for each user of a group.
    pub(crate) fn user_bytes(&self) -> u64 {
        4 * linear::stride(&self.products) as u64
    }

    /// Scores these rows of a block for all products.
    ///
    /// # Errors
    /// Where a partition is damaged.
    pub(crate) fn score(
        &mut self,
        rows: &[u32],
        train: &Partition,
        room: &Room,
    ) -> Result<(), Failure> {
        let opened = self
            .opened
            .as_ref()
            .ok_or_else(|| bug("a group before what it is scored by".to_owned()))?;
        let own = rows.iter().map(|&row| self.own(row as usize, train));
        let own = own.collect::<Result<Vec<_>, Failure>>()?;
        // Most blocks have as many users as others; new pages for the scores of each took a fifth of the time of all lists.
        let bytes = 4 * linear::stride(&self.products) * rows.len();
        let (mut scores, spare) = match self.scores.take() {
            Some(kept) if kept.0.len() == bytes => kept,
            kept => {
                give_back(kept);
                (room.buffers.take(bytes), Arc::clone(&room.buffers))
            }
        };
        let of = scores.typed_mut();
        let batches = self.batches;
        let scored = room.pool.install(|| match opened {
            Opened::Shared(linear, blocks) => linear.score(room.simd, blocks, &own, batches, of),
            Opened::Nearest(neighbourhoods, near) => {
                let near: Vec<&[Near]> = near.iter().map(RowBytes::typed).collect();
                neighbourhoods.score(&near, &own, of);
                Ok(())
            }
        });
        self.scores = Some((scores, spare));
        scored
    }

    /// The products of a user with what they weigh.
    fn own(&self, row: usize, train: &Partition) -> Result<Own, Failure> {
        let with_values = self.links == Links::Shared(Edges::Values);
        let rows = RowsOf::read(train, row..row + 1, with_values)?;
        let csr = rows.csr(train, limit_of(&self.products))?;
        let weight = |position| {
            if with_values {
                csr.values().at(position)
            } else {
                1.0
            }
        };
        let columns = csr.columns().iter().enumerate();
        Ok(columns
            .map(|(position, &product)| (product, weight(position)))
            .collect())
    }

    /// The scores of the group.
    pub(crate) fn scores(&self) -> Added<'_> {
        Added {
            scores: self
                .scores
                .as_ref()
                .map_or(&[], |(scores, _)| scores.typed()),
            stride: linear::stride(&self.products),
        }
    }
}

/// The places in a block of products that may be listed.
fn candidates_of(rows: &RowBytes) -> Vec<u32> {
    let rows = rows.typed::<ProductRow>().iter().zip(0..);
    let some = rows.filter(|(row, _)| row.popularity > 0);
    some.map(|(_, local)| local).collect()
}

/// The partitions of all products.
struct Blocks {
    partitions: Vec<Partition>,
    with_values: bool,
    limit: u64,
}

impl Blocks {
    /// Interactions that are read at a time at most.
    fn piece(&self) -> u64 {
        let most = self.partitions.iter().map(Partition::interactions).max();
        most.unwrap_or(0).min(PIECE)
    }
}

impl linear::Partitions for Blocks {
    type Error = Failure;

    fn pieces(&self, block: BlockId, of: &mut dyn FnMut(CsrRef<'_>, usize)) -> Result<(), Failure> {
        let partition = &self.partitions[block.0 as usize];
        for start in (0..partition.interactions()).step_by(PIECE as usize) {
            let range = start..partition.interactions().min(start + PIECE);
            let rows = partition.rows_of(range.clone());
            let offsets = &partition.offsets()[rows.start..=rows.end];
            let piece = read_range(partition, range.clone(), self.with_values)?;
            let known = partition.knows_columns(range.clone(), self.limit);
            let limit = (!known).then_some(self.limit);
            let values = piece.values.as_values();
            let csr = CsrRef::new(
                offsets,
                start,
                &piece.columns,
                piece.small_ids(),
                values,
                limit,
            );
            let csr = csr.map_err(|error| malformed(partition, &error))?;
            if !known {
                partition.know_columns(range, self.limit);
            }
            of(csr, rows.start);
        }
        Ok(())
    }
}
