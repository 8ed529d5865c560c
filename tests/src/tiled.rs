//! A bed for blockwise SGD in one process: rows ingested, a training view and its tiles.

use crate::ingested::{DAY, GENEROUS, Ingested, Row, inputs, parquet_of, spec, try_ingest_with};
use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array};
use bytes::Bytes;
use model::graph::{self, tiles::Caches};
use model::sgd::Input;
use std::sync::Arc;
use store::IoMode;
use tables::BuildViews;
use tensor::{SplitPart, ViewSpec};

fn file(rows: &[Row]) -> Bytes {
    let users: Int64Array = rows.iter().map(|row| Some(row.user)).collect();
    let products: Int64Array = rows.iter().map(|row| Some(row.product)).collect();
    let days: Date32Array = rows
        .iter()
        .map(|row| Some((row.seconds / DAY) as i32))
        .collect();
    let values: Float64Array = rows.iter().map(|row| Some(row.value)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("u", Arc::new(users)),
        ("p", Arc::new(products)),
        ("t", Arc::new(days)),
        ("v", Arc::new(values)),
    ];
    parquet_of(columns, 5000)
}

/// A world with a training view and its tiles. Some users and products have no training interaction.
pub struct Bed {
    /// Where its sealed files are.
    pub found: Ingested,
    /// What a program trains on.
    pub input: Input,
}

/// Caches so small that all products of graph models go by ranges, of a hundred rows of 32 floats each.
pub const BY_RANGES: Caches = Caches {
    table_bytes: 0,
    range_bytes: 4 * 32 * 100,
    sums_bytes: 1 << 20,
    uses: 0,
};

impl Bed {
    /// What a graph model trains on.
    pub fn graph(&self, caches: Caches) -> graph::Input {
        graph::Input {
            user: self.input.user.clone(),
            product: self.input.product.clone(),
            train: self.input.train.clone(),
            caches,
            edges: self.found.data.edges.clone(),
            given: std::collections::BTreeMap::new(),
        }
    }
}

/// Ingests rows; three quarters of the interactions, by hash, are trained on.
///
/// # Panics
/// Where they cannot be ingested.
pub fn bed(rows: &[Row], mode: IoMode) -> Bed {
    bed_of(rows, mode, true)
}

/// The same with bins of time.
///
/// # Panics
/// Where they cannot be ingested.
pub fn bed_in_bins(rows: &[Row], mode: IoMode) -> Bed {
    bed_of(rows, mode, false)
}

fn bed_of(rows: &[Row], mode: IoMode, collapse_time: bool) -> Bed {
    let mut found =
        try_ingest_with(&inputs(&[file(rows)]), &spec(), GENEROUS, mode, false).unwrap();
    let train = ViewSpec {
        part: SplitPart::Train,
        bins: None,
        hash: Some((3, 0..u64::MAX / 4 * 3)),
        collapse_time,
        collapse_context: true,
        tiles: None,
        decay: None,
        newcomers: None,
    };
    let data = found.data.clone();
    let interactions = data.parts[0].1.interactions;
    let side = tensor::super_blocks::side(
        data.user.grid.blocks(),
        data.product.grid.blocks(),
        interactions,
    );
    let tiles = ViewSpec {
        tiles: Some(side),
        ..train.clone()
    };
    let mut program = BuildViews::new(data.clone(), vec![train, tiles]);
    found.world.run(&mut program, &exec::begin).unwrap();
    let mut views = program.into_views().unwrap().into_iter();
    let mut next = || views.next().unwrap().partitions;
    let bins = if collapse_time { 0 } else { data.small().time };
    let input = Input {
        user: data.user.grid,
        product: data.product.grid,
        side,
        train: next(),
        tiles: next(),
        bins,
        given: std::collections::BTreeMap::new(),
    };
    Bed { found, input }
}
