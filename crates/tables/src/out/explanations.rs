//! Reasons of recommendations as a Parquet file: a row a reason, the best first, and beside it what its recommendation scores.

use crate::out::OutError;
use crate::out::columns::Columns;
use crate::out::ids::Ids;
use crate::out::parts::ListFile;
use arrow::array::{ArrayRef, Float32Array, Float64Array, UInt32Array};
use arrow::datatypes::{DataType, Field};
use std::path::Path;
use std::sync::Arc;
use tensor::Explained;

/// Rows of a batch: what is held of ids at once.
const BATCH_ROWS: usize = 1 << 16;

/// A file in the making. Dropped without [`ListFile::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct ExplanationsWriter {
    columns: Columns,
    users: Ids,
    products: Ids,
}

impl ListFile for ExplanationsWriter {
    fn create(path: &Path, users: Ids, products: Ids) -> Result<Self, OutError> {
        let because = format!("because_{}", products.column());
        let taken = [users.column(), products.column(), because.as_str()];
        let field = |name: &str, of: DataType| {
            let free = if taken.contains(&name) {
                format!("{name}_")
            } else {
                name.to_owned()
            };
            Field::new(free, of, false)
        };
        let id = |name: &str, ids: &Ids| Field::new(name, ids.data_type(), false);
        let fields = vec![
            id(users.column(), &users),
            field("rank", DataType::UInt32),
            id(products.column(), &products),
            field("score", DataType::Float32),
            field("place", DataType::UInt32),
            id(&because, &products),
            field("contribution", DataType::Float64),
            field("purchases", DataType::Float64),
            field("rest", DataType::Float64),
        ];
        Ok(ExplanationsWriter {
            columns: Columns::create(path, fields)?,
            users,
            products,
        })
    }

    /// Rows of [`Explained`].
    fn write(&mut self, object: &[u8]) -> Result<(), OutError> {
        for rows in object.chunks(BATCH_ROWS * Explained::ROW_BYTES) {
            let rows = Explained::rows(rows).filter(|row| !self.users.is_erased(row.user));
            let rows: Vec<Explained> = rows.collect();
            let words = |of: fn(&Explained) -> u32| -> ArrayRef {
                Arc::new(UInt32Array::from_iter_values(rows.iter().map(of)))
            };
            let numbers = |of: fn(&Explained) -> f64| -> ArrayRef {
                Arc::new(Float64Array::from_iter_values(rows.iter().map(of)))
            };
            let scores = rows.iter().map(|row| row.score);
            let columns = vec![
                self.users.array(rows.iter().map(|row| row.user))?,
                words(|row| row.rank),
                self.products.array(rows.iter().map(|row| row.product))?,
                Arc::new(Float32Array::from_iter_values(scores)),
                words(|row| row.place),
                self.products.array(rows.iter().map(|row| row.because))?,
                numbers(|row| row.contribution),
                numbers(|row| row.purchases),
                numbers(|row| row.rest),
            ];
            self.columns.write(columns)?;
        }
        Ok(())
    }

    /// Lists are counted where they are.
    fn users(&self) -> u64 {
        0
    }

    fn note(&mut self, word: &str, value: String) {
        self.columns.note(word, value);
    }

    fn finish(self) -> Result<u64, OutError> {
        self.columns.finish()
    }
}
