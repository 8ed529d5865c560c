//! The first look at the files: their footers, whether they agree, how they are split into tasks, and the
//! identity of their content.

use crate::columns::ColumnKinds;
use crate::error::TablesError;
use crate::range::{FolderTime, Selection, Span, lies_outside};
use crate::spec::ScanSpec;
use arrow::datatypes::Schema;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use tensor::{ByteSize, Digest, ReadAt};

/// Rows of a segment: the unit that a worker sorts in memory. Neighbouring row groups are scanned together up
/// to this number; larger ones are cut at it.
pub const SEGMENT_ROWS: u32 = 1 << 19;

/// Memory that scanning needs besides the compressed column chunks of a row group: a segment's rows, its ids,
/// and decoded batches.
pub const SCAN_FIXED_BYTES: u64 = 48 << 20;

/// Column chunks are hashed whole for the lineage up to this many bytes in all files together.
const HASHED_WHOLE_BYTES_MAX: u64 = 1 << 30;
/// Beyond that, so many bytes at the beginning, the middle and the end of each.
const HASHED_SAMPLE_BYTES: u64 = 64 << 10;

/// So much is read at once to be hashed: a column of a row group in memory is made whole then, and no page of it twice.
const HASHED_AT_ONCE: u64 = 8 << 20;

/// Where the metadata of a file lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Its name in messages.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its footer metadata.
    pub footer: Range<u64>,
    /// Its rows.
    pub rows: u64,
    /// The time of all of them, where its folder tells it.
    pub time: Option<FolderTime>,
}

/// Row groups of one file that one task scans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The file.
    pub file: u32,
    /// Its row groups.
    pub row_groups: Range<u32>,
    /// The number, in the file, of the first row.
    pub first_row: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of the largest of its row groups, in the columns in use.
    pub row_group_bytes_max: u64,
}

/// What the footers say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// The files, in the order given.
    pub files: Vec<InputFile>,
    /// The kinds of the columns in use.
    pub kinds: ColumnKinds,
    /// The splits, in the order (file, row).
    pub splits: Vec<Split>,
    /// Identity of content, spec and engine version: see [`survey`].
    pub lineage: Digest,
    /// Of each file, what tells it from others whatever its name: the hash of its length, its footer, samples of its column
    /// chunks in use, and the time that its folder tells.
    pub digests: Vec<Digest>,
    /// The most memory that a split needs to be scanned.
    pub scan_bytes_max: u64,
    /// The times that are wanted, where not all are.
    pub span: Option<Span>,
    /// Rows of row groups that are not read, since none of their times is wanted.
    pub skipped_rows: u64,
}

impl Survey {
    /// Whether every file lies within the times that are wanted, or outside: where folders tell them, or all times are wanted. Else a
    /// file may have rows that another range would not leave out.
    pub fn takes_files_whole(&self) -> bool {
        self.span.is_none() || self.files.iter().all(|file| file.time.is_some())
    }

    /// All rows of all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Rows that are read.
    pub fn rows_read(&self) -> u64 {
        self.rows() - self.skipped_rows
    }
}

/// Reads the footers, checks the columns, plans the splits and hashes the content.
///
/// The lineage is the BLAKE3 hash of the spec, the engine version, and of every file its length, its footer and the
/// column chunks in use: whole up to 1 GiB in all, beyond that 64 KiB at the beginning, the middle and
/// the end of each. Names of files are no part of it.
///
/// # Errors
/// Where a file is missing, empty, not Parquet, lacks a column or disagrees with the first, and where a row group
/// cannot be scanned within `budget_bytes` of a task.
pub fn survey(
    files: &[(String, Arc<dyn ReadAt>)],
    spec: &ScanSpec,
    budget_bytes: u64,
) -> Result<Survey, TablesError> {
    survey_selected(files, spec, &Selection::default(), budget_bytes)
}

/// The same of a part of the times, and of files whose times their folders tell. Row groups without a wanted time are neither
/// read nor hashed; the range and the times of folders are part of the lineage.
///
/// # Errors
/// Besides where a folder contradicts its file, or nothing lies in the range.
pub fn survey_selected(
    files: &[(String, Arc<dyn ReadAt>)],
    spec: &ScanSpec,
    selection: &Selection,
    budget_bytes: u64,
) -> Result<Survey, TablesError> {
    spec.check(files.len())?;
    let mut span = None;
    let mut skipped_rows = 0;
    let mut seen: Vec<InputFile> = Vec::new();
    let mut kinds: Option<ColumnKinds> = None;
    let mut splits = Vec::new();
    let mut chunks: Vec<Vec<Range<u64>>> = Vec::new();
    for (index, (name, reader)) in files.iter().enumerate() {
        let (mut file, metadata) = read_footer(name, reader.as_ref())?;
        file.time = selection.folders.get(index).copied().flatten();
        let arrow = arrow_metadata(name, metadata)?;
        check_folder(name, arrow.schema(), spec, file.time, selection)?;
        let found = ColumnKinds::of(name, arrow.schema(), spec, file.time)?;
        match (&kinds, seen.first()) {
            (Some(kinds), Some(first)) => kinds.agree(&first.name, &found, name, spec)?,
            _ => kinds = Some(found),
        }
        if let (0, Some(kind), Some(column)) = (index, found.time, &spec.time) {
            span = selection.range.span(column, kind, spec.time_bin)?;
        }
        let skipped = span.map_or_else(Vec::new, |span| groups_outside(span, &file, &arrow, spec));
        let groups = arrow.metadata().row_groups().iter().zip(&skipped);
        let outside = groups.filter(|(_, skipped)| **skipped);
        skipped_rows += outside.map(|(group, _)| rows_of(group)).sum::<u64>();
        let leaves = leaves_in_use(&arrow, spec);
        plan_splits(
            name,
            index as u32,
            &arrow,
            &leaves,
            budget_bytes,
            &skipped,
            &mut splits,
        )?;
        let metadata = arrow.metadata();
        chunks.push(chunk_ranges(name, file.bytes, metadata, &leaves, &skipped)?);
        seen.push(file);
    }
    let rows: u64 = seen.iter().map(|file| file.rows).sum();
    let Some(kinds) = kinds.filter(|_| rows > 0) else {
        let names: Vec<&str> = files
            .iter()
            .take(3)
            .map(|(name, _)| name.as_str())
            .collect();
        let what = match names.as_slice() {
            [] => "no input file is given".to_owned(),
            [one] => format!("{one} has no rows"),
            _ if files.len() > 3 => {
                format!(
                    "{} and {} more files have no rows",
                    names.join(", "),
                    files.len() - 3
                )
            }
            _ => format!("{} have no rows", names.join(", ")),
        };
        return Err(TablesError::Empty { what });
    };
    if skipped_rows == rows {
        let what = format!("none of the {rows} rows lies {}", selection.range);
        return Err(TablesError::Empty { what });
    }
    let lineage = lineage(files, spec, &seen, &chunks)?;
    let lineage = with_times(lineage, span, &seen)?;
    let digests = digests(files, &seen, &chunks)?;
    let largest = splits
        .iter()
        .map(|split| split.row_group_bytes_max)
        .max()
        .unwrap_or(0);
    Ok(Survey {
        files: seen,
        kinds,
        splits,
        lineage,
        digests,
        scan_bytes_max: largest + SCAN_FIXED_BYTES,
        span,
        skipped_rows,
    })
}

/// A time must stand in the file, or be told by a folder; where folders tell it for some files, what is missing is a folder.
fn check_folder(
    name: &str,
    schema: &Schema,
    spec: &ScanSpec,
    time: Option<FolderTime>,
    selection: &Selection,
) -> Result<(), TablesError> {
    let Some(column) = &spec.time else {
        return Ok(());
    };
    let stands = schema.field_with_name(column).is_ok();
    if time.is_some() || stands || selection.folders.iter().all(Option::is_none) {
        return Ok(());
    }
    Err(TablesError::Folder(format!(
        "{name} has no column `{column}` and lies in no folder `{column}=...`, as other files do: move it into one, or leave it \
         out of `input.files`"
    )))
}

/// Row groups of which no time is wanted.
fn groups_outside(
    span: Span,
    file: &InputFile,
    arrow: &ArrowReaderMetadata,
    spec: &ScanSpec,
) -> Vec<bool> {
    let groups = arrow.metadata().row_groups().iter();
    if let Some(time) = file.time {
        return groups.map(|_| !span.holds(time.number)).collect();
    }
    let column = spec.time.as_deref();
    let field = column.and_then(|column| arrow.schema().field_with_name(column).ok());
    let leaf = column.and_then(|column| leaf_of(arrow, column));
    let outside = |group| match (leaf, field) {
        (Some(leaf), Some(field)) => lies_outside(span, arrow, group, leaf, field),
        _ => false,
    };
    groups.map(outside).collect()
}

/// A lineage that knows a range and the times of folders; without either it is what it was.
fn with_times(
    lineage: Digest,
    span: Option<Span>,
    files: &[InputFile],
) -> Result<Digest, TablesError> {
    let times: Vec<_> = files.iter().map(|file| file.time).collect();
    if span.is_none() && times.iter().all(Option::is_none) {
        return Ok(lineage);
    }
    let encoded = postcard::to_stdvec(&(span, times));
    let encoded = encoded.map_err(|_| TablesError::Malformed("a range of times"))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"strata times 1\0");
    hasher.update(&lineage.0).update(&encoded);
    Ok(Digest(*hasher.finalize().as_bytes()))
}

fn rows_of(group: &RowGroupMetaData) -> u64 {
    group.num_rows().max(0) as u64
}

/// The bytes that end every Parquet file: the length of the metadata and the magic word.
const TAIL_BYTES: u64 = 8;

pub(crate) fn read_footer(
    name: &str,
    reader: &dyn ReadAt,
) -> Result<(InputFile, ParquetMetaData), TablesError> {
    let bytes = reader.len();
    let read = |range: Range<u64>| {
        let mut buffer = vec![0; (range.end - range.start) as usize];
        reader
            .read_at(range.start, &mut buffer)
            .map_err(|source| TablesError::Read {
                file: name.to_owned(),
                source,
            })?;
        Ok::<_, TablesError>(buffer)
    };
    if bytes < 4 + TAIL_BYTES {
        return Err(TablesError::corrupt(name, format!("it has {bytes} bytes")));
    }
    let tail = read(bytes - TAIL_BYTES..bytes)?;
    if &tail[4..] != b"PAR1" {
        return Err(TablesError::corrupt(
            name,
            "it does not end with the word PAR1",
        ));
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if length + TAIL_BYTES + 4 > bytes {
        return Err(TablesError::corrupt(
            name,
            "its metadata are longer than the file",
        ));
    }
    let footer = bytes - TAIL_BYTES - length..bytes - TAIL_BYTES;
    let metadata = parse_footer(name, &read(footer.clone())?)?;
    let rows = metadata.row_groups().iter().map(rows_of).sum();
    Ok((
        InputFile {
            name: name.to_owned(),
            bytes,
            footer,
            rows,
            time: None,
        },
        metadata,
    ))
}

/// Parses footer metadata.
///
/// # Errors
/// Where they are damaged.
pub fn parse_footer(name: &str, footer: &[u8]) -> Result<ParquetMetaData, TablesError> {
    ParquetMetaDataReader::decode_metadata(footer)
        .map_err(|error| TablesError::corrupt(name, error))
}

/// Metadata with their arrow schema.
///
/// # Errors
/// Where the schema is damaged.
pub fn arrow_metadata(
    name: &str,
    metadata: ParquetMetaData,
) -> Result<ArrowReaderMetadata, TablesError> {
    ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::default())
        .map_err(|error| TablesError::corrupt(name, error))
}

/// The Parquet leaf of a top-level column that has one, as numbers, text and lists have; the schema was checked before.
pub fn leaf_of(arrow: &ArrowReaderMetadata, column: &str) -> Option<usize> {
    arrow.parquet_schema().columns().iter().position(|leaf| {
        let path = leaf.path().parts();
        path.first().is_some_and(|name| name == column)
    })
}

fn leaves_in_use(arrow: &ArrowReaderMetadata, spec: &ScanSpec) -> Vec<usize> {
    let in_use = spec
        .roles()
        .filter(|(role, _)| *role != "value" || spec.reads_values());
    in_use
        .filter_map(|(_, column)| leaf_of(arrow, column))
        .collect()
}

fn group_bytes(group: &RowGroupMetaData, leaves: &[usize]) -> u64 {
    leaves
        .iter()
        .map(|&leaf| group.column(leaf).compressed_size().max(0) as u64)
        .sum()
}

/// Neighbouring row groups make a split; those that are `skipped` (absent: none is) make none.
pub(crate) fn plan_splits(
    name: &str,
    file: u32,
    arrow: &ArrowReaderMetadata,
    leaves: &[usize],
    budget_bytes: u64,
    skipped: &[bool],
    splits: &mut Vec<Split>,
) -> Result<(), TablesError> {
    let mut row = 0;
    let mut open: Option<Split> = None;
    for (index, group) in arrow.metadata().row_groups().iter().enumerate() {
        let rows = rows_of(group);
        if skipped.get(index) == Some(&true) {
            splits.extend(open.take());
            row += rows;
            continue;
        }
        let bytes = group_bytes(group, leaves);
        if bytes + SCAN_FIXED_BYTES > budget_bytes {
            return Err(TablesError::RowGroup {
                file: name.to_owned(),
                row_group: index,
                needed: ByteSize(bytes + SCAN_FIXED_BYTES),
                left: ByteSize(budget_bytes),
            });
        }
        match &mut open {
            Some(split) if split.rows + rows <= u64::from(SEGMENT_ROWS) => {
                split.row_groups.end += 1;
                split.rows += rows;
                split.row_group_bytes_max = split.row_group_bytes_max.max(bytes);
            }
            _ => splits.extend(open.replace(Split {
                file,
                row_groups: index as u32..index as u32 + 1,
                first_row: row,
                rows,
                row_group_bytes_max: bytes,
            })),
        }
        row += rows;
    }
    splits.extend(open);
    Ok(())
}

/// Where a column of a row group lies; `None` where the footer says numbers below zero, of which the decoder's own function panics.
fn chunk_range(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let first = column.dictionary_page_offset();
    let start = u64::try_from(first.unwrap_or(column.data_page_offset())).ok()?;
    let length = u64::try_from(column.compressed_size()).ok()?;
    Some(start..start.checked_add(length)?)
}

pub(crate) fn chunk_ranges(
    name: &str,
    file_bytes: u64,
    metadata: &ParquetMetaData,
    leaves: &[usize],
    skipped: &[bool],
) -> Result<Vec<Range<u64>>, TablesError> {
    let mut ranges = Vec::new();
    let groups = metadata.row_groups().iter().enumerate();
    for (index, group) in groups.filter(|(index, _)| skipped.get(*index) != Some(&true)) {
        for &leaf in leaves {
            let range = chunk_range(group.column(leaf)).filter(|range| range.end <= file_bytes);
            ranges.push(range.ok_or_else(|| {
                let reason = format!("row group {index} reaches beyond the end of the file");
                TablesError::corrupt(name, reason)
            })?);
        }
    }
    Ok(ranges)
}

pub(crate) fn lineage(
    files: &[(String, Arc<dyn ReadAt>)],
    spec: &impl Serialize,
    seen: &[InputFile],
    chunks: &[Vec<Range<u64>>],
) -> Result<Digest, TablesError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"strata lineage 1\0");
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
    hasher.update(b"\0");
    let encoded = postcard::to_stdvec(spec).map_err(|_| TablesError::Malformed("a spec"))?;
    hasher
        .update(&(encoded.len() as u64).to_le_bytes())
        .update(&encoded);
    let total: u64 = chunks
        .iter()
        .flatten()
        .map(|range| range.end - range.start)
        .sum();
    for (index, ((name, reader), file)) in files.iter().zip(seen).enumerate() {
        hasher.update(&file.bytes.to_le_bytes());
        hash_range(name, reader.as_ref(), file.footer.clone(), &mut hasher)?;
        for range in &chunks[index] {
            if total <= HASHED_WHOLE_BYTES_MAX {
                hash_range(name, reader.as_ref(), range.clone(), &mut hasher)?;
            } else {
                for sample in samples(range) {
                    hash_range(name, reader.as_ref(), sample, &mut hasher)?;
                }
            }
        }
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// See [`Survey::digests`].
fn digests(
    files: &[(String, Arc<dyn ReadAt>)],
    seen: &[InputFile],
    chunks: &[Vec<Range<u64>>],
) -> Result<Vec<Digest>, TablesError> {
    let mut digests = Vec::with_capacity(files.len());
    for ((name, reader), (file, chunks)) in files.iter().zip(seen.iter().zip(chunks)) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"strata input 1\0");
        hasher.update(&file.bytes.to_le_bytes());
        hash_range(name, reader.as_ref(), file.footer.clone(), &mut hasher)?;
        for sample in chunks.iter().flat_map(samples) {
            hash_range(name, reader.as_ref(), sample, &mut hasher)?;
        }
        // Two days may have sold the same.
        if let Some(time) = file.time {
            hasher.update(&time.number.to_le_bytes());
        }
        digests.push(Digest(*hasher.finalize().as_bytes()));
    }
    Ok(digests)
}

/// The beginning, the middle and the end of a range.
fn samples(range: &Range<u64>) -> [Range<u64>; 3] {
    let length = (range.end - range.start).min(HASHED_SAMPLE_BYTES);
    let middle = range.start + (range.end - range.start - length) / 2;
    [range.start, middle, range.end - length].map(|start| start..start + length)
}

fn hash_range(
    name: &str,
    reader: &dyn ReadAt,
    range: Range<u64>,
    hasher: &mut blake3::Hasher,
) -> Result<(), TablesError> {
    let mut buffer = vec![0; (range.end - range.start).min(HASHED_AT_ONCE) as usize];
    let mut start = range.start;
    while start < range.end {
        let length = (range.end - start).min(buffer.len() as u64);
        let part = &mut buffer[..length as usize];
        reader
            .read_at(start, part)
            .map_err(|source| TablesError::Read {
                file: name.to_owned(),
                source,
            })?;
        hasher.update(part);
        start += length;
    }
    Ok(())
}

/// A file whose bytes are in memory, for tests and small inputs.
#[derive(Clone, Debug)]
pub struct InMemory(pub Bytes);

impl ReadAt for InMemory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0[..].read_at(offset, buffer)
    }
}
