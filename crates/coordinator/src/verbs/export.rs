//! Writes the factors of a model, with their original ids, for other programs.

use super::engine::{Engine, failed};
use super::ids;
use super::stored_model::StoredModel;
use crate::failure::Failure;
use crate::job::settings::ExportFormat;
use crate::output::report::{ExportReport, ExportedReport};
use crate::progress::Unit;
use depot::ModelTable;
use plan::Refusal;
use std::path::Path;
use tables::out::{FactorsFormat, FactorsWriter, Names, OutError, Shape};
use tensor::{ContextAxis, DataSet, DepotId, Mode};

/// Rows that are written at once.
const BATCH_ROWS: usize = 1 << 14;

async fn names(engine: &Engine<'_>, data: &DataSet, mode: Mode) -> Result<Names, Failure> {
    let axis = match mode {
        Mode::User => &data.user,
        Mode::Product => &data.product,
        Mode::Time => return Ok(Names::of_bins(data.time.as_ref())),
        Mode::Context => match data.context.as_deref() {
            Some(ContextAxis::Ids(axis)) => axis,
            _ => return Ok(Names::Numbers("id".to_owned())),
        },
    };
    let ids = ids::of_axis(engine, axis).await?;
    Ok(Names::Ids(Box::new(ids)))
}

/// Writes a file, or two, for each mode that has factors, and a note of what they are.
///
/// # Errors
/// Where the folder cannot be written.
pub async fn export(
    engine: &Engine<'_>,
    data: &DataSet,
    model: &StoredModel,
) -> Result<ExportReport, Failure> {
    let wish = &engine.settings.output.export;
    let folder = wish.folder.clone().ok_or_else(|| {
        Failure::new(
            Refusal::Config,
            "the job names no folder for factors: set `output.export.folder`",
        )
    })?;
    let observer = engine.console.observer();
    let tables = model.manifest.tables.iter();
    let factors: Vec<&ModelTable> = tables
        .filter(|table| table.name == table.mode.name())
        .collect();
    let blocks: usize = factors.iter().map(|table| table.blocks.len()).sum();
    observer.begin("export", Unit::Objects, Some(blocks as u64));
    let mut report = ExportReport {
        folder: folder.clone(),
        digest: model.manifest.factors.to_string(),
        kind: model.manifest.kind.clone(),
        offset: model.record.offset,
        ..ExportReport::default()
    };
    let mut done = 0;
    for table in factors {
        let written = write(engine, (data, model), table, &folder, wish.format).await?;
        report.tables.insert(table.name.clone(), written);
        done += table.blocks.len() as u64;
        observer.progress(done, Some(blocks as u64));
    }
    let rows: u64 = report.tables.values().map(|table| table.rows).sum();
    observer.end(&format!("{rows} rows"));
    Ok(report)
}

async fn write(
    engine: &Engine<'_>,
    (data, model): (&DataSet, &StoredModel),
    table: &ModelTable,
    folder: &Path,
    format: ExportFormat,
) -> Result<ExportedReport, Failure> {
    let depot = engine.depot(DepotId::MODEL)?;
    let io = |error: OutError| Failure::new(Refusal::Io, error.to_string());
    let names = names(engine, data, table.mode).await?;
    let factors = model.record.algorithm.factor_columns(table.rank);
    let (rank, width) = (table.rank as usize, table.width as usize);
    let all = table
        .grid
        .block_ids()
        .flat_map(|block| table.grid.row_ids(block));
    let rows = all.filter(|row| names.has(*row)).count() as u64;
    let note = |key: &str, value: String| (format!("strata.{key}"), value);
    let shape = Shape {
        id: names.column(),
        rows,
        columns: table.rank,
        metadata: vec![
            note("model", model.manifest.factors.to_string()),
            note("kind", model.manifest.kind.clone()),
            note("factors", factors.to_string()),
        ],
    };
    let format = match format {
        ExportFormat::Parquet => FactorsFormat::Parquet,
        ExportFormat::Arrow => FactorsFormat::Arrow,
        ExportFormat::Npy => FactorsFormat::Npy,
    };
    let mut writer = FactorsWriter::create(folder, &table.name, format, shape).map_err(io)?;
    for (block, &object) in table.grid.block_ids().zip(&table.blocks) {
        let rows = table.grid.row_ids(block);
        if rows.is_empty() {
            continue;
        }
        let file = depot.fetch(object, &engine.cache).await.map_err(failed)?;
        let bytes = file
            .section(0..file.len())
            .map_err(|error| Failure::new(Refusal::Io, error.to_string()))?;
        let numbers = bytes.typed::<f32>();
        for (share, first) in numbers
            .chunks(BATCH_ROWS * width)
            .zip(rows.clone().step_by(BATCH_ROWS))
        {
            let last = rows.end.min(first + BATCH_ROWS as u32);
            // Users who were forgotten have a row, and no name.
            let named = |row: &u32| names.has(*row);
            let kept = (first..last).zip(share.chunks_exact(width));
            let kept = kept.filter(|(row, _)| named(row));
            let kept = kept
                .flat_map(|(_, row)| row[..rank].iter().copied())
                .collect();
            let ids = names.array((first..last).filter(named)).map_err(io)?;
            writer.write(ids, kept).map_err(io)?;
        }
    }
    Ok(ExportedReport {
        files: writer.finish().map_err(io)?,
        rows,
        columns: table.rank,
        factors,
    })
}
