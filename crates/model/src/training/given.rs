//! First factors that users brought along: the tasks that read them, and what became of their tables.

use super::epochs::{decode, refuse};
use std::ops::Range;
use tensor::{Imported, Mode, ProgramError, Read};

/// A task that reads first factors from where they came. It writes blocks of rows of all columns of the model, a row that is
/// not given beginning with no number, and returns an [`Imported`].
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Another crate's op.
    pub op: tensor::Op,
    /// What it reads.
    pub reads: Vec<Read>,
    /// The blocks that it writes, in order.
    pub blocks: Range<u32>,
    /// Its relative cost.
    pub cost: u64,
}

/// What the tasks of a mode found together.
///
/// # Errors
/// Where no row has an id of the data set.
pub(crate) fn imported(mode: Mode, partials: &[Vec<u8>]) -> Result<Imported, ProgramError> {
    let mut sum = Imported::default();
    for partial in partials {
        // Every task reads all rows, and knows those of its blocks.
        let part: Imported = decode(partial)?;
        sum.rows = part.rows;
        sum.known += part.known;
    }
    if sum.known == 0 {
        return refuse(format!(
            "none of the {} rows of `{}` has an id of the data set: give factors of the same data, or remove the key",
            sum.rows,
            Imported::key(mode)
        ));
    }
    Ok(sum)
}
