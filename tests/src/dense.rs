//! Small dense matrices in f64, written naively: what graph models are compared with.

use crate::ingested::Ingested;
use kernels::{Simd, eigen, eigen_scratch};
use model::graph::Edges;
use std::collections::BTreeMap;
use tensor::{Grid, Partitions};

/// A matrix by rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Cells of a row.
    pub columns: usize,
    /// Row by row.
    pub cells: Vec<f64>,
}

impl Dense {
    /// Zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        let cells = vec![0.0; rows * columns];
        Dense { columns, cells }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.cells.len() / self.columns
    }

    /// A cell.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.cells[row * self.columns + column]
    }

    /// Cell by cell.
    pub fn from(rows: usize, columns: usize, cell: impl Fn(usize, usize) -> f64) -> Self {
        let cells = (0..rows * columns).map(|i| cell(i / columns, i % columns));
        let cells = cells.collect();
        Dense { columns, cells }
    }

    /// The product.
    #[must_use]
    pub fn times(&self, other: &Dense) -> Dense {
        Dense::from(self.rows(), other.columns, |i, j| {
            let terms = (0..self.columns).map(|k| self.at(i, k) * other.at(k, j));
            terms.sum()
        })
    }

    /// Turned over.
    #[must_use]
    pub fn transposed(&self) -> Dense {
        Dense::from(self.columns, self.rows(), |i, j| self.at(j, i))
    }

    /// The Frobenius norm.
    pub fn size(&self) -> f64 {
        self.cells.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    /// The difference.
    #[must_use]
    pub fn minus(&self, other: &Dense) -> Dense {
        Dense::from(self.rows(), self.columns, |i, j| {
            self.at(i, j) - other.at(i, j)
        })
    }

    /// The eigenvalues and vectors, one a row, of a symmetric matrix.
    ///
    /// # Panics
    /// Where the values are not found.
    pub fn eigen(&self) -> (Vec<f64>, Dense) {
        let n = self.columns;
        let (mut vectors, mut values) = (self.clone(), vec![0.0; n]);
        let mut scratch = vec![0.0; eigen_scratch(n)];
        let cells = &mut vectors.cells;
        assert!(eigen(Simd::PORTABLE, cells, &mut values, &mut scratch));
        (values, vectors)
    }

    /// The best approximation of a rank, its values mapped.
    pub fn best(&self, rank: usize, map: impl Fn(f64) -> f64) -> (Vec<f64>, Dense) {
        let (squares, right) = self.transposed().times(self).eigen();
        let values: Vec<f64> = squares
            .iter()
            .map(|square| square.max(0.0).sqrt())
            .collect();
        let left = self.times(&right.transposed());
        let best = Dense::from(self.rows(), self.columns, |i, j| {
            let some = (0..rank).filter(|&k| values[k] > 1e-9);
            let terms = some.map(|k| left.at(i, k) / values[k] * map(values[k]) * right.at(k, j));
            terms.sum()
        });
        (values, best)
    }
}

/// Interactions as a dense matrix, over the rows that exist, in the order of their ids.
///
/// # Panics
/// Where their partitions are not there.
pub fn matrix(found: &Ingested, of: &Partitions, edges: Edges) -> Dense {
    let ids = |grid: &Grid| -> BTreeMap<u32, usize> {
        grid.block_ids()
            .flat_map(|block| grid.row_ids(block))
            .zip(0..)
            .collect()
    };
    let (users, products) = (ids(&found.data.user.grid), ids(&found.data.product.grid));
    let mut dense = Dense::zeros(users.len(), products.len());
    for ((user, product, _), value) in found.rows(of) {
        let value = match edges {
            Edges::Binary => 1.0,
            Edges::Values => f64::from(value),
        };
        dense.cells[users[&user] * products.len() + products[&product]] = value;
    }
    dense
}

/// The rows of a table of floats, padding included.
pub fn table(bytes: &[u8], width: usize) -> Dense {
    let numbers = bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes);
    Dense {
        columns: width,
        cells: numbers.map(f64::from).collect(),
    }
}
