//! Bringing the records of a split to row ids, sorted in both orientations, segment by segment; the orientations on two
//! threads.

use super::{bug, failure, held, rows};
use crate::{Fetched, Need, Output, Part, Room, Want, Work};
use plan::Failure;
use tables::op::{self, ShuffleOp, ShuffleReport};
use tables::order::{Ordered, Translated};
use tables::spool::Spool;
use tensor::{KeyRange, ObjectKey, Read, Task};

pub(super) struct ShuffleWork {
    op: ShuffleOp,
    reads: Vec<Read>,
    writes: Vec<ObjectKey>,
    room: Room,
    next: usize,
    first_record: u64,
    spools: [Spool; 2],
    report: ShuffleReport,
}

impl ShuffleWork {
    pub(super) fn new(op: ShuffleOp, task: &Task, room: &Room) -> Self {
        let spool = || Spool::new(&room.cache, room.budget_bytes / 8);
        ShuffleWork {
            op,
            reads: task.reads.clone(),
            writes: task.writes.clone(),
            spools: [spool(), spool()],
            room: room.clone(),
            next: 0,
            first_record: 0,
            report: ShuffleReport::default(),
        }
    }

    fn span(&self, read: usize, start: u64, count: u32) -> Result<Want, Failure> {
        let KeyRange::One(key) = self.reads[read].keys else {
            return Err(bug("a shuffle reads single objects"));
        };
        Ok(Want::Object(
            key,
            Part::Span(start..start + u64::from(count)),
        ))
    }
}

impl Work for ShuffleWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let Some(segment) = self.op.segments.get(self.next) else {
            return Ok(Need::Nothing);
        };
        let ids = [segment.users, segment.products, segment.contexts];
        let mut wants = vec![self.span(0, self.first_record, segment.records)?];
        for (read, (start, count)) in (1..self.reads.len()).zip(ids) {
            wants.push(self.span(read, start, count)?);
        }
        Ok(Need::Fetch(wants))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let fetched = fetched
            .into_iter()
            .map(rows)
            .collect::<Result<Vec<_>, _>>()?;
        let [records, users, products, contexts @ ..] = fetched.as_slice() else {
            return Err(bug("a shuffle was handed other objects than it asked for"));
        };
        let op = &self.op;
        let translated = Translated::new(
            records.typed(),
            op.shape,
            users.typed(),
            products.typed(),
            contexts.first().map(|contexts| contexts.typed()),
            op.first_bin,
        );
        drop(fetched);
        let translated = match op.edges {
            None => translated,
            Some(rule) => {
                let (edges, unknown, loops) = translated.edges(rule);
                self.report.unknown += unknown;
                self.report.loops += loops;
                edges
            }
        };
        let two_sided = self.writes.len() > 1;
        let (by_user, by_product) = self.room.pool.join(
            || translated.ordered(true, op.user),
            || two_sided.then(|| translated.ordered(false, op.product)),
        );
        drop(translated);
        let mut keep = |side: usize, ordered: Ordered| {
            self.spools[side]
                .append(bytemuck::cast_slice(&ordered.words))
                .map_err(failure)?;
            Ok::<_, Failure>(ordered.starts)
        };
        self.report.user_major.push(keep(0, by_user)?);
        if let Some(by_product) = by_product {
            self.report.product_major.push(keep(1, by_product)?);
        }
        self.first_record += u64::from(self.op.segments[self.next].records);
        self.next += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let mut output = Output {
            partial: op::encode(&self.report),
            pieces: self.next as u64,
            ..Output::default()
        };
        let width = self.op.shape.row_bytes();
        for (key, spool) in self.writes.iter().zip(self.spools) {
            output
                .objects
                .push((*key, held(spool.finish().map_err(failure)?, width)));
        }
        Ok(output)
    }
}
