//! A checked, borrowed view of the interactions of one block in one orientation.

use crate::mode::Small;

/// Why a block's arrays are not a CSR block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// The row pointers do not rise from 0 to the number of interactions.
    #[error("row pointer {row} does not rise, or the last is not the number of interactions")]
    Offsets {
        /// The first row at fault.
        row: usize,
    },
    /// An array has another length than the columns.
    #[error("the {array} array has {found} entries, the columns have {expected}")]
    Length {
        /// Which array.
        array: &'static str,
        /// Its length.
        found: usize,
        /// The length it should have.
        expected: usize,
    },
    /// A column id lies beyond the mode's row ids.
    #[error("interaction {position} names column {column}, beyond {limit}")]
    Column {
        /// Where.
        position: usize,
        /// The column.
        column: u32,
        /// One more than the largest legal id.
        limit: u64,
    },
}

/// The values of interactions: one for all, or one each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values<'a> {
    /// Every interaction has this value.
    All(f32),
    /// One value each.
    Each(&'a [f32]),
}

impl Values<'_> {
    /// The value of the interaction at a position.
    pub fn at(&self, position: usize) -> f32 {
        match self {
            Values::All(value) => *value,
            Values::Each(values) => values[position],
        }
    }
}

/// The interactions of consecutive rows: row `i` owns the positions `offsets[i] .. offsets[i + 1]`, in canonical
/// order (column, time, context). Several interactions of one column at different times are legal.
///
/// The first offset need not be 0: a piece of a block keeps the block's positions, and `base` is the
/// position of `columns[0]`. Rows cut by the ends of the piece own only what lies inside.
#[derive(Clone, Copy, Debug)]
pub struct CsrRef<'a> {
    offsets: &'a [u64],
    base: u64,
    columns: &'a [u32],
    small: Small<Option<&'a [u32]>>,
    values: Values<'a>,
}

/// Whether a column is `limit` or more. Interactions are checked anew in every epoch, so this is written for vector
/// instructions that every machine has: below 2³¹ the sign of a difference tells, and a largest value takes three times as long.
fn some_beyond(columns: &[u32], limit: u64) -> bool {
    match u32::try_from(limit) {
        Ok(limit @ 1..=0x8000_0000) => {
            let signs = |signs, &column: &u32| signs | column | (limit - 1).wrapping_sub(column);
            columns.iter().fold(0, signs) >> 31 == 1
        }
        _ => columns.iter().any(|&column| u64::from(column) >= limit),
    }
}

impl<'a> CsrRef<'a> {
    /// Checks the structure in one pass; kernels then assert lengths only.
    ///
    /// `offsets` has one entry more than there are rows; it may reach below `base` and beyond
    /// `base + columns.len()` in its first and last rows where the piece cuts them. Columns are below `column_limit`; it is
    /// `None` where they were held against their limit before.
    ///
    /// # Errors
    /// The first fault found.
    pub fn new(
        offsets: &'a [u64],
        base: u64,
        columns: &'a [u32],
        small: Small<Option<&'a [u32]>>,
        values: Values<'a>,
        column_limit: Option<u64>,
    ) -> Result<Self, CsrError> {
        if offsets.is_empty() {
            return Err(CsrError::Offsets { row: 0 });
        }
        if let Some(row) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(CsrError::Offsets { row });
        }
        let end = base + columns.len() as u64;
        if offsets[0] > base || offsets[offsets.len() - 1] < end {
            return Err(CsrError::Offsets {
                row: offsets.len() - 1,
            });
        }
        let expected = columns.len();
        for (mode, ids) in small.each() {
            if let Some(found) = ids.map(<[u32]>::len).filter(|&found| found != expected) {
                return Err(CsrError::Length {
                    array: mode.name(),
                    found,
                    expected,
                });
            }
        }
        if let Values::Each(values) = values
            && values.len() != expected
        {
            return Err(CsrError::Length {
                array: "value",
                found: values.len(),
                expected,
            });
        }
        if let Some(limit) = column_limit
            && some_beyond(columns, limit)
        {
            let position = columns
                .iter()
                .position(|&column| u64::from(column) >= limit)
                .unwrap_or(0);
            return Err(CsrError::Column {
                position,
                column: columns[position],
                limit,
            });
        }
        Ok(CsrRef {
            offsets,
            base,
            columns,
            small,
            values,
        })
    }

    /// Rows touched, whole or cut.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Interactions present.
    pub fn interactions(&self) -> usize {
        self.columns.len()
    }

    /// All interactions of a row in the block, present or not: the n_i of the formulas.
    pub fn row_count(&self, row: usize) -> u64 {
        self.offsets[row + 1] - self.offsets[row]
    }

    /// Where, within the row, the first interaction that is present stands; 0 unless the piece cuts the row.
    pub fn row_start(&self, row: usize) -> u64 {
        self.base.max(self.offsets[row]).min(self.offsets[row + 1]) - self.offsets[row]
    }

    /// The positions in `columns`, `small` and `values` of a row's interactions that are present.
    pub fn row(&self, row: usize) -> std::ops::Range<usize> {
        let end = self.base + self.columns.len() as u64;
        let clamp = |offset: u64| (offset.clamp(self.base, end) - self.base) as usize;
        clamp(self.offsets[row])..clamp(self.offsets[row + 1])
    }

    /// Column row ids.
    pub fn columns(&self) -> &'a [u32] {
        self.columns
    }

    /// Time bins and contexts, where the block has them.
    pub fn small(&self) -> Small<Option<&'a [u32]>> {
        self.small
    }

    /// Values.
    pub fn values(&self) -> Values<'a> {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_knows_its_place_in_cut_rows() {
        let offsets = [0, 4, 4, 10];
        let columns = [7, 8, 1, 2, 3];
        let csr = CsrRef::new(
            &offsets,
            2,
            &columns,
            Small::default(),
            Values::All(1.0),
            Some(9),
        )
        .unwrap();
        assert_eq!(
            (csr.row(0), csr.row_start(0), csr.row_count(0)),
            (0..2, 2, 4)
        );
        assert_eq!(
            (csr.row(1), csr.row_start(1), csr.row_count(1)),
            (2..2, 0, 0)
        );
        assert_eq!(
            (csr.row(2), csr.row_start(2), csr.row_count(2)),
            (2..5, 0, 6)
        );
    }

    #[test]
    fn faults_are_named() {
        let wrong = |offsets: &[u64], columns: &[u32]| {
            CsrRef::new(
                offsets,
                0,
                columns,
                Small::default(),
                Values::All(1.0),
                Some(5),
            )
            .unwrap_err()
        };
        assert_eq!(wrong(&[], &[]), CsrError::Offsets { row: 0 });
        assert_eq!(wrong(&[0, 2, 1], &[0]), CsrError::Offsets { row: 1 });
        assert_eq!(wrong(&[0, 1], &[0, 1]), CsrError::Offsets { row: 1 });
        assert_eq!(
            wrong(&[0, 2], &[0, 5]),
            CsrError::Column {
                position: 1,
                column: 5,
                limit: 5
            }
        );
    }
}
