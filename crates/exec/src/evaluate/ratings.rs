//! Predicts the held-out values of a block's users: groups of users that fit, with the rows of V that they need.

use crate::evaluate::reading::{
    Reads, RowBytes, RowsOf, bug, limit_of, partial, partition, trouble, whole,
};
use crate::evaluate::scoring::{context_row, no_table, small_keys, time_row};
use crate::evaluate::stretches::short_by;
use crate::objects::bad_partition;
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use model::context::ContextAt;
use model::evaluate::op::RatingsOp;
use model::evaluate::ratings::{RatingSums, user_offset};
use model::forecast::Moment;
use model::score::{at_row, dot};
use plan::Failure;
use rayon::prelude::*;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use store::TypedSection;
use store::partition::Partition;
use tensor::{Grid, KeyRange, ObjectKey, Small, Task};

/// What stays open over all groups.
struct Opened {
    train: Partition,
    held_out: Partition,
    offsets: Vec<RowBytes>,
    small: Small<Option<Known>>,
}

/// The factors of every bin or context that a held-out interaction may have.
struct Known {
    width: usize,
    rows: Vec<f32>,
}

impl Known {
    /// Of all bins of the data, those behind training by the forecast.
    fn times(table: &RowBytes, moment: Moment, width: u32) -> Result<Self, Failure> {
        Self::of(table, width, |bin| time_row(table, moment.at(bin), width))
    }

    /// Of all contexts, those that training did not see as the default says.
    fn contexts(
        table: &RowBytes,
        mean: &RowBytes,
        at: ContextAt,
        width: u32,
    ) -> Result<Self, Failure> {
        let default = RowBytes::from(context_row(table, mean, at)?);
        Self::of(table, width, |row| {
            context_row(table, &default, ContextAt::Row(row))
        })
    }

    fn of(
        table: &RowBytes,
        width: u32,
        row: impl Fn(u32) -> Result<Vec<f32>, Failure>,
    ) -> Result<Self, Failure> {
        let width = width as usize;
        let count = table.typed::<f32>().len() / width;
        let rows = (0..count as u32).map(row).collect::<Result<Vec<_>, _>>()?;
        Ok(Known {
            width,
            rows: rows.concat(),
        })
    }

    fn row(&self, id: u32) -> &[f32] {
        &self.rows[id as usize * self.width..][..self.width]
    }

    fn count(&self) -> usize {
        self.rows.len() / self.width
    }
}

/// The users under way and the products that their held-out interactions name, rising.
struct Group {
    rows: Range<usize>,
    users: Arc<[u32]>,
    products: Vec<u32>,
}

/// The task.
pub(crate) struct RatingsWork {
    op: RatingsOp,
    room: Room,
    keys: Result<Keys, Failure>,
    opened: Option<Opened>,
    groups: VecDeque<Range<usize>>,
    group: Option<Group>,
    sums: RatingSums,
    pieces: u64,
}

/// What the task reads.
#[derive(Clone)]
struct Keys {
    users: ObjectKey,
    factors: KeyRange,
    small: Vec<ObjectKey>,
    offsets: KeyRange,
    train: ObjectKey,
    held_out: ObjectKey,
}

impl Keys {
    fn of(task: &Task, op: &RatingsOp) -> Result<Self, Failure> {
        let mut reads = Reads::of(task);
        Ok(Keys {
            users: reads.one()?,
            factors: reads.range()?,
            small: small_keys(&mut reads, op.moment, op.context)?,
            offsets: reads.range()?,
            train: reads.one()?,
            held_out: reads.one()?,
        })
    }
}

impl RatingsWork {
    pub(crate) fn new(task: &Task, op: RatingsOp, room: &Room) -> Self {
        RatingsWork {
            keys: Keys::of(task, &op),
            op,
            room: room.clone(),
            opened: None,
            groups: VecDeque::new(),
            group: None,
            sums: RatingSums::default(),
            pieces: 0,
        }
    }

    fn open(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let (train, held_out) = (partition(fetched.next())?, partition(fetched.next())?);
        let mut table = || RowBytes::of(fetched.next().ok_or_else(no_table)?);
        let (op, width) = (&self.op, self.op.width);
        let mut small = Small::default();
        if let Some(moment) = op.moment {
            small.time = Some(Known::times(&table()?, moment, width)?);
        }
        if let Some(at) = op.context {
            small.context = Some(Known::contexts(&table()?, &table()?, at, width)?);
        }
        let offsets: Vec<RowBytes> = fetched.map(RowBytes::of).collect::<Result<_, _>>()?;
        let known = small.as_ref().map(|known| {
            let floats = known.as_ref().map_or(0, |known| known.rows.len());
            4 * floats as u64
        });
        let table = self.op.products.rows_total() * 4 + known.time + known.context;
        let left = self
            .room
            .budget_bytes
            .checked_sub(table)
            .ok_or_else(|| short_by(table, self.room.budget_bytes))?;
        let opened = Opened {
            train,
            held_out,
            offsets,
            small,
        };
        self.groups = groups(&self.op, &opened, left)?;
        self.opened = Some(opened);
        self.next_group()
    }

    /// Finds the users and products of the next group that has any.
    fn next_group(&mut self) -> Result<(), Failure> {
        let opened = self
            .opened
            .as_ref()
            .ok_or_else(|| bug("groups before partitions".to_owned()))?;
        while let Some(rows) = self.groups.pop_front() {
            let held_out = RowsOf::read(&opened.held_out, rows.clone(), false)?;
            let held_out = held_out.csr(&opened.held_out, limit_of(&self.op.products))?;
            let train = opened.train.offsets();
            let (mut users, mut products) = (Vec::new(), Vec::new());
            for row in rows.clone() {
                let columns = &held_out.columns()[held_out.row(row - rows.start)];
                if train[row + 1] == train[row] {
                    self.sums.left_out += columns.len() as f64;
                } else if !columns.is_empty() {
                    users.push(row as u32);
                    products.extend(
                        columns
                            .iter()
                            .filter(|&&p| opened.offset(&self.op.products, p).is_some()),
                    );
                    self.sums.left_out += columns
                        .iter()
                        .filter(|&&p| opened.offset(&self.op.products, p).is_none())
                        .count() as f64;
                }
            }
            products.sort_unstable();
            products.dedup();
            if !users.is_empty() && !products.is_empty() {
                self.group = Some(Group {
                    rows,
                    users: users.into(),
                    products,
                });
                return Ok(());
            }
        }
        Ok(())
    }

    fn predict(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let (Some(group), Some(opened)) = (self.group.take(), &self.opened) else {
            return Err(bug("factors before users".to_owned()));
        };
        let width = self.op.width as usize;
        let mut fetched = fetched.into_iter().map(RowBytes::of);
        let users = fetched
            .next()
            .ok_or_else(|| bug("no users came".to_owned()))??;
        let users: &[f32] = users.typed();
        let mut products: Vec<f32> = Vec::with_capacity(group.products.len() * width);
        for rows in fetched {
            products.extend_from_slice(rows?.typed::<f32>());
        }
        let limit = limit_of(&self.op.products);
        let train = RowsOf::read(&opened.train, group.rows.clone(), true)?;
        let held_out = RowsOf::read(&opened.held_out, group.rows.clone(), true)?;
        let ids = opened.ids_of(&group.rows)?;
        let scored = opened.small.as_ref().zip(ids.as_ref());
        let (train, held_out) = (
            train.csr(&opened.train, limit)?,
            held_out.csr(&opened.held_out, limit)?,
        );
        let (op, simd) = (&self.op, self.room.simd);
        let one = |(place, &user): (usize, &u32)| {
            let (mut sums, row) = (RatingSums::default(), user as usize - group.rows.start);
            let mut factors_at = vec![0.0; width];
            let known = |product: u32| opened.offset(&op.products, product);
            let bias = user_offset(&train, row, op.mean, op.damping, |product| {
                known(product).unwrap_or(0.0)
            });
            for position in held_out.row(row) {
                let product = held_out.columns()[position];
                let Some(product_offset) = known(product) else {
                    continue;
                };
                let Ok(slot) = group.products.binary_search(&product) else {
                    continue;
                };
                factors_at.copy_from_slice(&users[place * width..(place + 1) * width]);
                for (_, mode) in scored.each() {
                    if let (Some(known), Some(ids)) = mode {
                        at_row(&mut factors_at, known.row(ids[position]));
                    }
                }
                let factors = &products[slot * width..(slot + 1) * width];
                let predicted = dot(simd, &factors_at, factors) + op.offset;
                let bias_only = op.mean + bias.unwrap_or(0.0) + f64::from(product_offset);
                sums.add(
                    f64::from(held_out.values().at(position)),
                    f64::from(predicted),
                    bias_only,
                    op.range,
                );
            }
            sums
        };
        let each: Vec<RatingSums> = self
            .room
            .pool
            .install(|| group.users.par_iter().enumerate().map(one).collect());
        for sums in &each {
            self.sums.join(sums);
        }
        self.pieces += 1;
        self.next_group()
    }
}

impl Opened {
    /// The bins and contexts of the held-out interactions of some rows, where they score.
    fn ids_of(&self, rows: &Range<usize>) -> Result<Small<Option<TypedSection<u32>>>, Failure> {
        let offsets = self.held_out.offsets();
        let range = offsets[rows.start]..offsets[rows.end];
        let ids = self.held_out.small(range);
        let ids = ids.map_err(|error| trouble(self.held_out.file(), error))?;
        for (mode, (known, ids)) in self.small.as_ref().zip(ids.as_ref()).each() {
            let Some(known) = known else { continue };
            let ids = ids.as_ref().ok_or_else(|| {
                bad_partition(&format!(
                    "has no {mode}, and the model has factors of {mode}"
                ))
            })?;
            if ids.iter().any(|&id| id as usize >= known.count()) {
                return Err(bad_partition(&format!(
                    "names a {mode} that its data set lacks"
                )));
            }
        }
        Ok(ids)
    }

    /// The offset of a product; `None` where it has no training interaction.
    fn offset(&self, grid: &Grid, product: u32) -> Option<f32> {
        let (block, local) = grid.split(product);
        let offsets: &[f32] = self.offsets.get(block.0 as usize)?.typed();
        offsets
            .get(local as usize)
            .copied()
            .filter(|offset| !offset.is_nan())
    }
}

/// Cuts the rows of a block into groups that fit `budget`.
fn groups(op: &RatingsOp, opened: &Opened, budget: u64) -> Result<VecDeque<Range<usize>>, Failure> {
    let (train, held_out) = (opened.train.offsets(), opened.held_out.offsets());
    // A user's row comes packed and is copied; so does each row of V that a held-out interaction may need.
    let row = u64::from(op.width) * 8;
    let (mut groups, mut start, mut bytes) = (VecDeque::new(), 0, 0);
    for place in 0..train.len() - 1 {
        let held = held_out[place + 1] - held_out[place];
        let needed = row + 100 + held * (row + 20) + (train[place + 1] - train[place]) * 8;
        if needed > budget {
            return Err(short_by(needed, budget));
        }
        if bytes + needed > budget {
            groups.push_back(start..place);
            (start, bytes) = (place, 0);
        }
        bytes += needed;
    }
    groups.push_back(start..train.len() - 1);
    Ok(groups)
}

impl Work for RatingsWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let keys = self.keys.clone()?;
        if self.opened.is_none() {
            let sealed = [keys.train, keys.held_out]
                .into_iter()
                .chain(keys.small)
                .chain(keys.offsets.keys());
            return Ok(Need::Fetch(sealed.map(whole).collect()));
        }
        let Some(group) = &self.group else {
            return Ok(Need::Nothing);
        };
        let mut wants = vec![Want::Object(keys.users, Part::Rows(group.users.clone()))];
        let blocks: Vec<ObjectKey> = keys.factors.keys().collect();
        for rows in group
            .products
            .chunk_by(|a, b| self.op.products.split(*a).0 == self.op.products.split(*b).0)
        {
            let (block, _) = self.op.products.split(rows[0]);
            let key = blocks
                .get(block.0 as usize)
                .ok_or_else(|| bug(format!("no block {} of V", block.0)))?;
            let local: Vec<u32> = rows
                .iter()
                .map(|&row| self.op.products.split(row).1)
                .collect();
            wants.push(Want::Object(*key, Part::Rows(local.into())));
        }
        Ok(Need::Fetch(wants))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        if self.opened.is_none() {
            self.open(fetched)
        } else {
            self.predict(fetched)
        }
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(Output {
            partial: partial(&self.sums.to_vec()),
            pieces: self.pieces,
            ..Output::default()
        })
    }
}
