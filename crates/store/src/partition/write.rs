//! Writing a partition as a stream, in memory that does not depend on its length.

use super::{WHAT, schema};
use crate::arrow_file;
use crate::cache::Cache;
use crate::error::StoreError;
use crate::sealed::Sealed;
use crate::spool::Spool;
use tensor::csr::Values;
use tensor::{BlockId, Mode, PartitionRef};

/// A partition in the making: interactions of row 0 in canonical order, `end_row`, those of row 1, and so on.
#[derive(Debug)]
pub struct PartitionWriter {
    cache: Cache,
    orientation: Mode,
    block: BlockId,
    offsets: Spool,
    columns: Spool,
    times: Option<Spool>,
    values: WrittenValues,
    rows: u32,
    interactions: u64,
    /// The last (column, time) of the open row.
    last: Option<(u32, u32)>,
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
        has_time: bool,
    ) -> Result<Self, StoreError> {
        let mut offsets = Spool::new(cache);
        offsets.push(&0_u64.to_le_bytes())?;
        Ok(PartitionWriter {
            cache: cache.clone(),
            orientation,
            block,
            offsets,
            columns: Spool::new(cache),
            times: has_time.then(|| Spool::new(cache)),
            values: WrittenValues::None,
            rows: 0,
            interactions: 0,
            last: None,
        })
    }

    /// Adds an interaction to the open row. `time` is not looked at where the partition has none.
    ///
    /// # Errors
    /// Where the disk is full.
    ///
    /// # Panics
    /// Where it comes before the one pushed last in canonical order: a bug of ours.
    pub fn push(&mut self, column: u32, time: u32, value: f32) -> Result<(), StoreError> {
        self.push_all(&[column], &[time], Values::All(value))
    }

    /// Adds interactions to the open row. `times` is not looked at where the partition has none.
    ///
    /// # Errors
    /// Where the disk is full.
    ///
    /// # Panics
    /// Where they are not in canonical order or differ in length: a bug of ours.
    pub fn push_all(
        &mut self,
        columns: &[u32],
        times: &[u32],
        values: Values<'_>,
    ) -> Result<(), StoreError> {
        for (position, &column) in columns.iter().enumerate() {
            let next = (
                column,
                if self.times.is_some() {
                    times[position]
                } else {
                    0
                },
            );
            assert!(
                self.last <= Some(next),
                "interactions come in canonical order (column, time)"
            );
            self.last = Some(next);
        }
        self.columns.push(bytemuck::cast_slice(columns))?;
        if let Some(spool) = &mut self.times {
            assert_eq!(times.len(), columns.len(), "every interaction has a time");
            spool.push(bytemuck::cast_slice(times))?;
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
        let schema = schema(self.orientation, self.block, self.times.is_some(), constant);
        let mut lengths = vec![u64::from(self.rows), self.interactions, self.interactions];
        let mut buffers = vec![None, Some(&self.offsets), None, None, Some(&self.columns)];
        for spool in [self.times.as_ref(), values].into_iter().flatten() {
            lengths.push(self.interactions);
            buffers.extend([None, Some(spool)]);
        }
        let mut out = self.cache.writer()?;
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
