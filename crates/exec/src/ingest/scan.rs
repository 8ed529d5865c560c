//! Scanning a split: the footer, then row group by row group, the large id columns on two threads.

use super::{bug, failure, held};
use crate::{Fetched, Need, Output, Room, Want, Work};
use bytes::Bytes;
use plan::Failure;
use std::ops::Range;
use tables::op::{self, ScanOp};
use tables::rows::Closed;
use tables::scan::{Side, SplitScan};
use tables::spool::Spool;
use tables::survey::SCAN_FIXED_BYTES;
use tensor::{ByteSize, ObjectKey, Task};

pub(super) struct ScanWork {
    op: ScanOp,
    writes: Vec<ObjectKey>,
    room: Room,
    scan: Option<SplitScan>,
    wants: Vec<Range<u64>>,
    /// Runs of users, runs of products, records, runs of contexts.
    spools: [Spool; 4],
    pieces: u64,
}

impl ScanWork {
    pub(super) fn new(op: ScanOp, task: &Task, room: &Room) -> Result<Self, Failure> {
        let needed = op.split.row_group_bytes_max + SCAN_FIXED_BYTES;
        if needed > room.budget_bytes {
            return Err(Failure::Budget {
                needed: ByteSize(needed),
                left: ByteSize(room.budget_bytes),
                // Twice, for what a worker keeps beside the room of a task.
                enough: ByteSize((2 * needed).max(256 << 20)),
            });
        }
        let spool = || Spool::new(&room.cache, room.budget_bytes / 16);
        Ok(ScanWork {
            wants: vec![op.input.footer.clone()],
            op,
            writes: task.writes.clone(),
            spools: [spool(), spool(), spool(), spool()],
            room: room.clone(),
            scan: None,
            pieces: 0,
        })
    }

    fn keep(&mut self, closed: Option<Closed>) -> Result<(), Failure> {
        let Some(closed) = closed else { return Ok(()) };
        let parts: [&[u8]; 4] = [
            &closed.users,
            &closed.products,
            bytemuck::cast_slice(&closed.records),
            &closed.contexts,
        ];
        for (spool, bytes) in self.spools.iter_mut().zip(parts) {
            spool.append(bytes).map_err(failure)?;
        }
        Ok(())
    }

    /// Decodes row groups as long as their bytes are there.
    fn decode(&mut self, scan: &mut SplitScan) -> Result<(), Failure> {
        while let Some(wants) = scan.open().map_err(failure)? {
            if !wants.is_empty() {
                self.wants = wants;
                return Ok(());
            }
            self.decode_row_group(scan)?;
        }
        Ok(())
    }

    fn decode_row_group(&mut self, scan: &mut SplitScan) -> Result<(), Failure> {
        self.pieces += 1;
        loop {
            self.keep(scan.close_if_full())?;
            let (users, products) = (&mut scan.user_side, &mut scan.product_side);
            let contexts = &mut scan.context_side;
            let (users, products) = self.room.pool.join(
                || users.advance(),
                || {
                    contexts.as_mut().map_or(Ok(false), Side::advance)?;
                    products.advance()
                },
            );
            let (users, products) = (users.map_err(failure)?, products.map_err(failure)?);
            if !users && !products || !scan.combine().map_err(failure)? {
                return Ok(());
            }
        }
    }
}

impl Work for ScanWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.wants.is_empty() {
            return Ok(Need::Nothing);
        }
        let want = |range: &Range<u64>| Want::Input(self.op.split.file, range.clone());
        Ok(Need::Fetch(self.wants.iter().map(want).collect()))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let bytes = |fetched| match fetched {
            Fetched::Bytes(bytes) => Ok(bytes),
            _ => Err(bug("a scan was handed something else than bytes")),
        };
        let mut data = fetched
            .into_iter()
            .map(bytes)
            .collect::<Result<Vec<Bytes>, _>>()?;
        self.wants.clear();
        let mut scan = if let Some(mut scan) = self.scan.take() {
            scan.push(data).map_err(failure)?;
            scan
        } else {
            let footer = data
                .pop()
                .ok_or_else(|| bug("a scan was handed no footer"))?;
            SplitScan::new(&self.op, &footer).map_err(failure)?
        };
        self.decode(&mut scan)?;
        self.scan = Some(scan);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Output, Failure> {
        let scan = self
            .scan
            .take()
            .ok_or_else(|| bug("a scan ends before it began"))?;
        let (last, report) = scan.finish().map_err(failure)?;
        self.keep(last)?;
        let widths = [1, 1, self.op.spec.shape().row_bytes(), 1];
        let mut output = Output {
            partial: op::encode(&report),
            pieces: self.pieces,
            ..Output::default()
        };
        for ((key, spool), width) in self.writes.iter().zip(self.spools).zip(widths) {
            output
                .objects
                .push((*key, held(spool.finish().map_err(failure)?, width)));
        }
        Ok(output)
    }
}
