//! A task that fetches all that it reads, whole, and computes once.

use crate::objects::{Numbers, bug, numbers, partition, sealed_numbers};
use crate::work::{Fetched, Need, Output, Part, Room, Want, Work};
use plan::Failure;
use store::partition::Partition;
use tensor::{ObjectKey, Task};

/// What came, in the order of reads.
pub(crate) struct Came {
    keys: Vec<ObjectKey>,
    fetched: std::vec::IntoIter<Fetched>,
    next: usize,
}

impl Came {
    fn next(&mut self) -> Result<(ObjectKey, Fetched), Failure> {
        let (key, came) = (self.keys.get(self.next), self.fetched.next());
        self.next += 1;
        key.copied().zip(came).ok_or_else(|| {
            crate::evaluate::reading::bug("a task reads fewer objects than its op".to_owned())
        })
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        self.fetched.len()
    }

    /// The next, as numbers, made in this run or sealed.
    pub(crate) fn numbers(&mut self) -> Result<Numbers, Failure> {
        match self.next()? {
            (key, Fetched::Sealed(file)) => sealed_numbers(Fetched::Sealed(file), key),
            (key, made) => numbers(made, Some(key)),
        }
    }

    /// All that are left, as numbers.
    pub(crate) fn rest(&mut self) -> Result<Vec<Numbers>, Failure> {
        (0..self.left()).map(|_| self.numbers()).collect()
    }

    /// The next, a partition.
    pub(crate) fn partition(&mut self) -> Result<Partition, Failure> {
        let (key, came) = self.next()?;
        partition(came, key)
    }
}

/// A task in progress: `op` computes of all that came.
pub(crate) struct Whole<F> {
    op: F,
    keys: Vec<ObjectKey>,
    writes: Vec<ObjectKey>,
    room: Room,
    output: Option<Output>,
}

impl<F> Whole<F>
where
    F: FnMut(Came, &[ObjectKey], &Room) -> Result<Output, Failure> + Send + 'static,
{
    /// Over all that the task reads; it writes as many objects as `writes`.
    ///
    /// # Errors
    /// Where it writes more or fewer.
    pub(crate) fn begin(
        task: &Task,
        writes: usize,
        room: &Room,
        op: F,
    ) -> Result<Box<dyn Work>, Failure> {
        if task.writes.len() != writes {
            return Err(bug(task, "writes more or less than its op"));
        }
        Ok(Box::new(Whole {
            op,
            keys: task
                .reads
                .iter()
                .flat_map(|read| read.keys.keys())
                .collect(),
            writes: task.writes.clone(),
            room: room.clone(),
            output: None,
        }))
    }
}

impl<F> Work for Whole<F>
where
    F: FnMut(Came, &[ObjectKey], &Room) -> Result<Output, Failure> + Send + 'static,
{
    fn next_need(&mut self) -> Result<Need, Failure> {
        if self.output.is_some() {
            return Ok(Need::Nothing);
        }
        let wants = self.keys.iter().map(|&key| Want::Object(key, Part::Whole));
        Ok(Need::Fetch(wants.collect()))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        let came = Came {
            keys: std::mem::take(&mut self.keys),
            fetched: fetched.into_iter(),
            next: 0,
        };
        let mut output = (self.op)(came, &self.writes, &self.room)?;
        output.pieces = 1;
        self.output = Some(output);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        Ok(self.output.expect("everything is computed"))
    }
}
