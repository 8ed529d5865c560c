//! Edges between users and between products, brought into a data set that was ingested for a test, and read back.

use crate::ingested::{GENEROUS, Ingested, Input, Row, inputs, parquet_of};
use crate::tiled::{Bed, bed};
use arrow::array::{ArrayRef, Float64Array, Int64Array};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::IoMode;
use store::partition::Partition;
use tables::{EdgeSpec, EdgeSurvey, IngestEdges, OnBadRow};
use tensor::{Axis, Mode, PartitionRef};

/// Columns `a` and `b`, no weights, both ways; bad rows are rejected.
pub fn spec(mode: Mode) -> EdgeSpec {
    EdgeSpec {
        mode,
        from: "a".into(),
        to: "b".into(),
        weight: None,
        directed: false,
        on_bad_row: OnBadRow::Reject,
    }
}

fn axis(found: &Ingested, mode: Mode) -> &Axis {
    if mode == Mode::User {
        &found.data.user
    } else {
        &found.data.product
    }
}

/// Brings lists of edges into the data set.
///
/// # Errors
/// The sentence where they are refused.
///
/// # Panics
/// Where intermediate objects are left.
pub fn link(found: &mut Ingested, files: &[Input], spec: &EdgeSpec) -> Result<(), String> {
    let kind = axis(found, spec.mode).id_kind;
    let survey = EdgeSurvey::of(files, spec.clone(), kind, GENEROUS);
    let survey = survey.map_err(|error| error.to_string())?;
    found.world.inputs = files.iter().map(|(_, file)| file.clone()).collect();
    let before = found.world.objects.len();
    let mut program = IngestEdges::new(found.data.clone(), survey);
    let ran = found.world.run(&mut program, &exec::begin);
    if let Err(error) = ran {
        found.world.objects.clear();
        return Err(error.to_string());
    }
    assert_eq!(found.world.objects.len(), before, "nothing is left");
    found.data = program.into_data_set().expect("it is finished");
    Ok(())
}

/// Partitions of a mode's own rows as (row, row) -> weight.
///
/// # Panics
/// Where they are not those of the mode's grid.
pub fn entries(
    found: &Ingested,
    mode: Mode,
    partitions: &[PartitionRef],
) -> BTreeMap<(u32, u32), f32> {
    let grid = &axis(found, mode).grid;
    let mut entries = BTreeMap::new();
    for (block, of) in grid.block_ids().zip(partitions) {
        let file = found.world.sealed[&of.object.digest].clone();
        let partition = Partition::open(file).unwrap();
        assert_eq!(partition.orientation(), mode);
        assert_eq!(partition.rows(), grid.rows[block.0 as usize]);
        let piece = partition.whole().unwrap();
        for (local, row) in grid.row_ids(block).enumerate() {
            let offsets = &partition.offsets()[local..local + 2];
            for at in offsets[0] as usize..offsets[1] as usize {
                let value = piece.values.as_values().at(at);
                let before = entries.insert((row, piece.columns[at]), value);
                assert_eq!(before, None, "duplicates are combined");
            }
        }
    }
    entries
}

/// The same in original ids.
///
/// # Panics
/// Where they are not those of the mode's grid.
pub fn named(
    found: &Ingested,
    mode: Mode,
    partitions: &[PartitionRef],
) -> BTreeMap<(String, String), f32> {
    let ids = found.ids(axis(found, mode));
    let entries = entries(found, mode, partitions).into_iter();
    entries
        .map(|((from, to), value)| ((ids[&from].clone(), ids[&to].clone()), value))
        .collect()
}

/// A bed with edges between users, one way or both, and weighted ones between products, loops among them.
///
/// # Panics
/// Where they cannot be ingested.
pub fn linked_bed(rows: &[Row], directed: bool, mode: IoMode) -> Bed {
    let mut bed = bed(rows, mode);
    let list = |count: i64, ids: i64, by: i64| {
        let edge = |i: i64| (i * 7 % ids, (i * i + by) % ids, 0.5 + (i % 3) as f64);
        let edges: Vec<(i64, i64, f64)> = (0..count).map(edge).collect();
        let ends = |of: fn(&(i64, i64, f64)) -> i64| -> ArrayRef {
            Arc::new(edges.iter().map(of).collect::<Int64Array>())
        };
        let weights: Float64Array = edges.iter().map(|edge| Some(edge.2)).collect();
        parquet_of(
            vec![
                ("a", ends(|edge| edge.0)),
                ("b", ends(|edge| edge.1)),
                ("w", Arc::new(weights)),
            ],
            100,
        )
    };
    let users = EdgeSpec {
        directed,
        ..spec(Mode::User)
    };
    let products = EdgeSpec {
        weight: Some("w".to_owned()),
        ..spec(Mode::Product)
    };
    for (list, spec) in [(list(90, 40, 3), users), (list(200, 200, 1), products)] {
        link(&mut bed.found, &inputs(&[list]), &spec).unwrap();
    }
    bed
}
