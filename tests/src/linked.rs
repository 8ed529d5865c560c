//! Edges between users and between products, brought into a data set that was ingested for a test, and read back.

use crate::ingested::{GENEROUS, Ingested, Input};
use std::collections::BTreeMap;
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
