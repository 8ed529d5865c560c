//! Writing a partition as a stream, in memory that does not depend on its length.

use super::{WHAT, schema};
use crate::arrow_file;
use crate::cache::Cache;
use crate::error::StoreError;
use crate::sealed::Sealed;
use crate::spool::Spool;
use tensor::csr::Values;
use tensor::{BlockId, Mode, PartitionRef, Small};

/// A partition in the making: interactions of row 0 in canonical order, `end_row`, those of row 1, and so on.
#[derive(Debug)]
pub struct PartitionWriter {
    cache: Cache,
    orientation: Mode,
    block: BlockId,
    offsets: Spool,
    columns: Spool,
    small: Small<Option<Spool>>,
    values: WrittenValues,
    rows: u32,
    interactions: u64,
    /// The last (column, (time, context)) of the open row.
    last: Option<(u32, Small<u32>)>,
}

#[derive(Debug)]
enum WrittenValues {
    None,
    All(f32),
    Each(Spool),
}

impl PartitionWriter {
    /// Begins the partition of a block; `orientation` is the mode of its rows.
    ///
    /// # Errors
    /// Where the cache cannot be written.
    pub fn create(
        cache: &Cache,
        orientation: Mode,
        block: BlockId,
        has: Small<bool>,
    ) -> Result<Self, StoreError> {
        let mut offsets = Spool::new(cache);
        offsets.push(&0_u64.to_le_bytes())?;
        Ok(PartitionWriter {
            cache: cache.clone(),
            orientation,
            block,
            offsets,
            columns: Spool::new(cache),
            small: has.map(|has| has.then(|| Spool::new(cache))),
            values: WrittenValues::None,
            rows: 0,
            interactions: 0,
            last: None,
        })
    }

    /// Adds an interaction to the open row. Time and context are not looked at where the partition has none.
    ///
    /// # Errors
    /// Where the disk is full.
    ///
    /// # Panics
    /// Where it comes before the one pushed last in canonical order: a bug of ours.
    pub fn push(&mut self, column: u32, small: Small<u32>, value: f32) -> Result<(), StoreError> {
        let (time, context) = ([small.time], [small.context]);
        let small = Small {
            time: &time[..],
            context: &context[..],
        };
        self.push_all(&[column], small, Values::All(value))
    }

    /// Adds interactions to the open row. Times and contexts are not looked at where the partition has none.
    ///
    /// # Errors
    /// Where the disk is full.
    ///
    /// # Panics
    /// Where they are not in canonical order or differ in length: a bug of ours.
    pub fn push_all(
        &mut self,
        columns: &[u32],
        small: Small<&[u32]>,
        values: Values<'_>,
    ) -> Result<(), StoreError> {
        let has = self.small.as_ref().map(Option::is_some);
        for (position, &column) in columns.iter().enumerate() {
            let small = small
                .zip(has)
                .map(|(ids, has)| if has { ids[position] } else { 0 });
            assert!(
                self.last <= Some((column, small)),
                "interactions come in canonical order (column, time, context)"
            );
            self.last = Some((column, small));
        }
        self.columns.push(bytemuck::cast_slice(columns))?;
        for (spool, ids) in [
            (&mut self.small.time, small.time),
            (&mut self.small.context, small.context),
        ] {
            if let Some(spool) = spool {
                assert_eq!(
                    ids.len(),
                    columns.len(),
                    "every interaction has a time and a context"
                );
                spool.push(bytemuck::cast_slice(ids))?;
            }
        }
        match values {
            Values::All(value) => self.push_equal(value, columns.len())?,
            Values::Each(values) => {
                assert_eq!(values.len(), columns.len(), "every interaction has a value");
                self.push_values(values)?;
            }
        }
        self.interactions += columns.len() as u64;
        Ok(())
    }

    /// Closes the open row.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn end_row(&mut self) -> Result<(), StoreError> {
        self.rows += 1;
        self.last = None;
        self.offsets.push(&self.interactions.to_le_bytes())
    }

    /// Seals the partition; what was pushed after the last `end_row` is refused.
    ///
    /// # Errors
    /// Where the disk is full or the last row is open.
    pub fn seal(self) -> Result<(Sealed, PartitionRef), StoreError> {
        if self.last.is_some() {
            return Err(StoreError::Malformed {
                file: self.cache.directory().to_owned(),
                what: WHAT,
                reason: format!("row {} was not closed", self.rows),
            });
        }
        let (constant, values) = match &self.values {
            WrittenValues::None => (Some(1.0), None),
            WrittenValues::All(value) => (Some(*value), None),
            WrittenValues::Each(spool) => (None, Some(spool)),
        };
        let has = self.small.as_ref().map(Option::is_some);
        let schema = schema(self.orientation, self.block, has, constant);
        let mut lengths = vec![u64::from(self.rows), self.interactions, self.interactions];
        let mut buffers = vec![None, Some(&self.offsets), None, None, Some(&self.columns)];
        let Small { time, context } = self.small.as_ref().map(Option::as_ref);
        for spool in [time, context, values].into_iter().flatten() {
            lengths.push(self.interactions);
            buffers.extend([None, Some(spool)]);
        }
        let mut out = self.cache.writer()?;
        let lengths: Vec<(u64, u64)> = lengths.into_iter().map(|length| (length, 0)).collect();
        arrow_file::write(&mut out, &schema, &lengths, &buffers)?;
        let sealed = out.seal()?;
        let reference = PartitionRef {
            object: sealed.reference(),
            rows: self.rows,
            interactions: self.interactions,
        };
        Ok((sealed, reference))
    }

    fn push_equal(&mut self, value: f32, count: usize) -> Result<(), StoreError> {
        match &mut self.values {
            WrittenValues::None if count > 0 => self.values = WrittenValues::All(value),
            WrittenValues::None => {}
            WrittenValues::All(all) if all.to_bits() == value.to_bits() => {}
            _ => {
                let spool = self.spool_values()?;
                (0..count).try_for_each(|_| spool.push(&value.to_le_bytes()))?;
            }
        }
        Ok(())
    }

    fn push_values(&mut self, values: &[f32]) -> Result<(), StoreError> {
        let Some(first) = values.first() else {
            return Ok(());
        };
        let all = match self.values {
            WrittenValues::None => Some(*first),
            WrittenValues::All(value) => Some(value),
            WrittenValues::Each(_) => None,
        };
        if let Some(all) = all
            && values.iter().all(|value| value.to_bits() == all.to_bits())
        {
            self.values = WrittenValues::All(all);
            return Ok(());
        }
        self.spool_values()?.push(bytemuck::cast_slice(values))
    }

    /// The spool of values; the equal ones before it are written out now.
    fn spool_values(&mut self) -> Result<&mut Spool, StoreError> {
        if !matches!(self.values, WrittenValues::Each(_)) {
            let mut spool = Spool::new(&self.cache);
            if let WrittenValues::All(value) = self.values {
                (0..self.interactions).try_for_each(|_| spool.push(&value.to_le_bytes()))?;
            }
            self.values = WrittenValues::Each(spool);
        }
        match &mut self.values {
            WrittenValues::Each(spool) => Ok(spool),
            _ => unreachable!("set above"),
        }
    }
}
