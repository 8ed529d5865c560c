//! A task over one partition: small objects first, then piece after piece of its interactions, each with the rows of the other
//! table that it names. What an op does with them is its own ([`Pass`]); how pieces are planned, fetched and counted is here.

mod gather;

pub(crate) use gather::Gather;

use crate::objects::partition;
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use gather::Planned;
use model::als::Rows;
use plan::Failure;
use store::partition::Partition;
use tensor::{CsrRef, ObjectKey};

/// An op that passes over a partition once.
pub(crate) trait Pass: Send {
    /// Takes what came of the keys beside the partition, in their order.
    ///
    /// # Errors
    /// Where it is not what belongs to the partition.
    fn start(
        &mut self,
        room: &Room,
        partition: &Partition,
        came: Vec<Fetched>,
    ) -> Result<(), Failure>;

    /// Computes with the next interactions, of which the first belongs to `first_row`. `ids` are their columns as the data set has
    /// them; those of the piece itself name what was gathered. Runs on the room's pool.
    ///
    /// # Errors
    /// Where the partition names what its data set lacks.
    fn piece(
        &mut self,
        ids: &[u32],
        csr: CsrRef<'_>,
        first_row: u32,
        others: Rows<'_>,
    ) -> Result<(), Failure>;

    /// Hands over the results; the counts of pieces are the driver's.
    ///
    /// # Errors
    /// Where they cannot be.
    fn finish(self, room: &Room, partition: &Partition) -> Result<Output, Failure>;
}

/// A [`Pass`] in progress.
pub(crate) struct Passing<P> {
    pass: P,
    room: Room,
    partition_key: ObjectKey,
    /// What is read besides partition and table.
    keys: Vec<ObjectKey>,
    gather: Gather,
    partition: Option<Partition>,
    planned: Option<Planned>,
    next: u64,
    pieces: u64,
    cut_rows: u64,
}

impl<P: Pass> Passing<P> {
    /// One that has fetched nothing.
    pub(crate) fn new(
        pass: P,
        room: &Room,
        partition_key: ObjectKey,
        keys: Vec<ObjectKey>,
        gather: Gather,
    ) -> Self {
        Passing {
            pass,
            room: room.clone(),
            partition_key,
            keys,
            gather,
            partition: None,
            planned: None,
            next: 0,
            pieces: 0,
            cut_rows: 0,
        }
    }

    fn start(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let mut fetched = fetched.into_iter();
        let first = fetched.next().expect("one answer per want");
        let partition = partition(first, self.partition_key)?;
        let came = fetched.by_ref().take(self.keys.len()).collect();
        self.gather.take_first(fetched)?;
        self.pass.start(&self.room, &partition, came)?;
        self.partition = Some(partition);
        if !self.gather.fetches_rows() {
            while self.plan()?.is_some() {
                self.piece(Vec::new())?;
            }
        }
        Ok(())
    }

    /// Plans the next piece; `None` at the end of the partition.
    fn plan(&mut self) -> Result<Option<Vec<Want>>, Failure> {
        let partition = self.partition.as_ref().expect("the partition came first");
        if self.next == partition.interactions() {
            return Ok(None);
        }
        let (planned, wants) = self.gather.plan(partition, self.next)?;
        self.room.soon(partition, planned.range.clone());
        self.planned = Some(planned);
        Ok(Some(wants))
    }

    fn piece(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let planned = self.planned.take().expect("a piece was planned");
        let partition = self.partition.as_ref().expect("the partition came first");
        let (gather, pass) = (&self.gather, &mut self.pass);
        self.room.pool.install(|| {
            gather.with_piece(
                partition,
                &planned,
                fetched,
                |ids, csr, first_row, others| pass.piece(ids, csr, first_row, others),
            )
        })??;
        self.pieces += 1;
        let cut = partition.offsets().binary_search(&planned.range.end);
        self.cut_rows += u64::from(cut.is_err());
        self.next = planned.range.end;
        self.room.done_for_now(partition, planned.range);
        Ok(())
    }
}

impl<P: Pass> Work for Passing<P> {
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.partition.is_some() {
            return Ok(self.plan()?.map_or(Need::Nothing, Need::Fetch));
        }
        let small = std::iter::once(&self.partition_key).chain(&self.keys);
        let mut wants: Vec<Want> = small.map(|&key| Want::Object(key, Part::Whole)).collect();
        wants.extend(self.gather.first_wants());
        Ok(Need::Fetch(wants))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        if self.partition.is_some() {
            self.piece(fetched)
        } else {
            self.start(fetched)
        }
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let partition = self.partition.as_ref().expect("everything is computed");
        Ok(Output {
            pieces: self.pieces,
            cut_rows: self.cut_rows,
            ..self.pass.finish(&self.room, partition)?
        })
    }
}
