//! Scoring all products for the users of a block: groups of users that fit, whose factors come once each, and for each group
//! all products in pieces.
//!
//! **Invariant:** nothing here knows what becomes of a score, or which users are in a group.

use crate::evaluate::filtering::Filtering;
use crate::evaluate::reading::{Reads, RowBytes, bug, whole};
use crate::evaluate::stretches::{Loaded, Pieces, short_by};
use crate::work::{Fetched, Need, Part, Room, Want};
use model::context::ContextAt;
use model::forecast::Moment;
use model::graph::filter::Links;
use model::score::{Packed, Users, at_row};
use plan::Failure;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use store::partition::Partition;
use tensor::{BlockId, Grid, KeyRange, ObjectKey, Task};

/// What a model scores with.
#[derive(Clone, Copy)]
pub(crate) struct Scorer<'a> {
    /// The bin of a tensor.
    pub(crate) moment: Option<Moment>,
    /// The context, where contexts are factored.
    pub(crate) context: Option<ContextAt>,
    /// Floats of a row of factors.
    pub(crate) width: u32,
    /// What is added to scores by what a user had.
    pub(crate) filter: Option<Links>,
    /// The most of a group in a list.
    pub(crate) most: Option<u32>,
    /// The grids of users and of products.
    pub(crate) grids: [&'a Grid; 2],
}

/// The users under way.
struct Under {
    rows: Arc<[u32]>,
    factors: Vec<f32>,
    piece: usize,
}

/// Groups of users against all products.
pub(crate) struct Scoring {
    moment: Option<Moment>,
    context: Option<ContextAt>,
    width: u32,
    users: ObjectKey,
    factors: KeyRange,
    small: Vec<ObjectKey>,
    products: KeyRange,
    /// What users are multiplied by.
    small_rows: Vec<Vec<f32>>,
    pieces: Option<Pieces>,
    groups: VecDeque<Range<usize>>,
    under: Option<Under>,
    kept: Option<Loaded>,
    packed: Packed,
    filtering: Option<Filtering>,
    pieces_done: u64,
}

impl Scoring {
    /// From the first reads of a task: a block of users, the factors of products, tables of small modes, what is known of
    /// products, what a filter needs. Tells the block.
    ///
    /// # Errors
    /// Where the task reads something else.
    pub(crate) fn of(
        task: &Task,
        reads: &mut Reads<'_>,
        scorer: Scorer<'_>,
    ) -> Result<(Self, BlockId), Failure> {
        let users = reads.one()?;
        let factors = reads.range()?;
        let small = small_keys(reads, scorer.moment, scorer.context)?;
        let products = reads.range()?;
        let filtering = scorer.filter.map(|links| {
            let [user_grid, product_grid] = scorer.grids;
            Filtering::of(reads, links, (user_grid, product_grid), products)
        });
        let ObjectKey::Block { block, .. } = users else {
            return Err(bug(format!(
                "task {} reads no block of users first",
                task.id
            )));
        };
        let scoring = Scoring {
            users,
            factors,
            small,
            products,
            small_rows: Vec::new(),
            pieces: None,
            groups: VecDeque::new(),
            under: None,
            kept: None,
            packed: Packed::new(scorer.width as usize, scorer.most),
            filtering: filtering.transpose()?,
            pieces_done: 0,
            moment: scorer.moment,
            context: scorer.context,
            width: scorer.width,
        };
        Ok((scoring, block))
    }

    /// What to fetch next; `sealed` come before all else, then the tables of small modes and what a filter needs.
    pub(crate) fn next_need(&self, sealed: &[ObjectKey]) -> Need {
        let Some(pieces) = &self.pieces else {
            let first = sealed.iter().chain(&self.small).copied();
            let filter = self.filtering.iter().flat_map(Filtering::keys);
            return Need::Fetch(first.chain(filter).map(whole).collect());
        };
        let Some(under) = &self.under else {
            return Need::Nothing;
        };
        let mut wants = Vec::new();
        if under.piece == 0 {
            wants.push(Want::Object(self.users, Part::Rows(under.rows.clone())));
        }
        if self.kept.is_none() {
            wants.extend(pieces.wants(under.piece));
        }
        Need::Fetch(wants)
    }

    /// Whether the first came.
    pub(crate) fn is_open(&self) -> bool {
        self.pieces.is_some()
    }

    /// Takes the tables of small modes and what a filter needs.
    ///
    /// # Errors
    /// Where one did not come, or lacks a row.
    pub(crate) fn take_first(
        &mut self,
        fetched: impl IntoIterator<Item = Fetched>,
    ) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let tables = fetched.by_ref().take(self.small.len()).map(RowBytes::of);
        let mut tables = tables.collect::<Result<Vec<_>, _>>()?.into_iter();
        if let Some(moment) = self.moment {
            let table = tables.next().ok_or_else(no_table)?;
            let row = time_row(&table, moment, self.width)?;
            self.small_rows.push(row);
        }
        if let Some(context) = self.context {
            let (table, mean) = tables.next().zip(tables.next()).ok_or_else(no_table)?;
            self.small_rows.push(context_row(&table, &mean, context)?);
        }
        match &mut self.filtering {
            Some(filtering) => filtering.open(fetched),
            None => Ok(()),
        }
    }

    /// Cuts `count` users into groups of which each takes half of `budget`, and the products into pieces that take the other
    /// half. `needed` is what a user takes, and a filter takes its own.
    ///
    /// # Errors
    /// Where a user or a product does not fit.
    pub(crate) fn plan(
        &mut self,
        products: &Grid,
        budget: u64,
        count: usize,
        needed: impl Fn(usize) -> u64,
        room: &Room,
    ) -> Result<(), Failure> {
        let (mut budget, mut filtered) = (budget, 0);
        if let Some(filtering) = &mut self.filtering {
            budget -= filtering.plan(budget, room)?;
            filtered = filtering.user_bytes();
        }
        let (mut start, mut bytes) = (0, 0);
        for place in 0..count {
            let needed = needed(place) + filtered;
            if needed > budget / 2 {
                return Err(short_by(2 * needed, budget / 2));
            }
            if bytes + needed > budget / 2 {
                self.groups.push_back(start..place);
                (start, bytes) = (place, 0);
            }
            bytes += needed;
        }
        if start < count {
            self.groups.push_back(start..count);
        }
        let width = self.width as usize;
        let pieces = Pieces::plan(self.factors, self.products, products, width, budget / 2)?;
        self.pieces = Some(pieces);
        Ok(())
    }

    /// The places of the next group, for its caller to begin with those that it wants.
    pub(crate) fn next_group(&mut self) -> Option<Range<usize>> {
        self.groups.pop_front()
    }

    /// Begins with these rows of the block, of which `train` is the training partition.
    ///
    /// # Errors
    /// Where a partition that a filter reads is damaged.
    pub(crate) fn begin(
        &mut self,
        rows: Arc<[u32]>,
        train: &Partition,
        room: &Room,
    ) -> Result<(), Failure> {
        self.packed.begin();
        if let Some(filtering) = &mut self.filtering {
            filtering.score(&rows, train, room)?;
        }
        self.under = Some(Under {
            rows,
            factors: Vec::new(),
            piece: 0,
        });
        Ok(())
    }

    /// Takes the factors of the users, where they came, and a piece of the products.
    ///
    /// # Errors
    /// Where something else came.
    pub(crate) fn take(&mut self, mut fetched: Vec<Fetched>) -> Result<Loaded, Failure> {
        let (Some(under), Some(pieces)) = (&mut self.under, &self.pieces) else {
            return Err(bug("products before users".to_owned()));
        };
        if under.piece == 0 {
            under.factors = RowBytes::of(fetched.remove(0))?.typed::<f32>().to_vec();
            for row in &self.small_rows {
                at_row(&mut under.factors, row);
            }
        }
        match self.kept.take() {
            Some(kept) => Ok(kept),
            None => pieces.load(under.piece, fetched),
        }
    }

    /// The rows of the users under way, what they score with, and room for products.
    ///
    /// # Panics
    /// Where no group is under way.
    pub(crate) fn under(&mut self) -> (&[u32], Users<'_>, &mut Packed) {
        let under = self.under.as_ref().expect("a group was begun");
        let users = Users {
            factors: &under.factors,
            added: self.filtering.as_ref().map(Filtering::scores),
        };
        (&under.rows, users, &mut self.packed)
    }

    /// Is done with a piece. Whether it was the last of the group.
    pub(crate) fn done(&mut self, loaded: Loaded) -> bool {
        self.pieces_done += 1;
        let count = self.pieces.as_ref().map_or(0, Pieces::len);
        // The only piece serves all groups.
        self.kept = Some(loaded).filter(|_| count == 1);
        if let Some(under) = &mut self.under {
            under.piece += 1;
            if under.piece < count {
                return false;
            }
        }
        self.under = None;
        true
    }

    /// Pieces that were scored.
    pub(crate) fn pieces_done(&self) -> u64 {
        self.pieces_done
    }
}

/// The next reads of a task that scores: the tables of the small modes.
pub(crate) fn small_keys(
    reads: &mut Reads<'_>,
    moment: Option<Moment>,
    context: Option<ContextAt>,
) -> Result<Vec<ObjectKey>, Failure> {
    let count = usize::from(moment.is_some()) + 2 * usize::from(context.is_some());
    (0..count).map(|_| reads.one()).collect()
}

pub(crate) fn no_table() -> Failure {
    bug("a table of a small mode did not come".to_owned())
}

/// The factors of a context.
pub(crate) fn context_row(
    table: &RowBytes,
    mean: &RowBytes,
    at: ContextAt,
) -> Result<Vec<f32>, Failure> {
    let found = at.row(table.typed(), mean.typed());
    let found = found.ok_or_else(|| bug(format!("the table of contexts lacks {at:?}")))?;
    Ok(found.to_vec())
}

/// The factors of time at a moment.
pub(crate) fn time_row(table: &RowBytes, moment: Moment, width: u32) -> Result<Vec<f32>, Failure> {
    let found = moment.row(table.typed(), width as usize);
    found.ok_or_else(|| bug(format!("the table of bins lacks a row of {moment:?}")))
}
