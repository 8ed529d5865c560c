//! Tables of vectors that users bring along, one a row of a mode: a column of ids, and either one column of lists or a column
//! of numbers for each entry. A task reads all of them and keeps those of its blocks, as tables of attributes are read.

use crate::attributes::{Batch, Column, Places, TableScan};
use crate::columns::{cast_to, data_type, id_kind, id_word, is_value};
use crate::error::TablesError;
use crate::numbered::Numbered;
use crate::op::{AttributeSplit, RowIds, VectorsOp};
use crate::survey::{
    InputFile, Split, arrow_metadata, chunk_ranges, leaf_of, lineage, plan_splits, read_footer,
};
use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::datatypes::{DataType, Float32Type, Schema};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use store::{AlignedBuf, Sealed};
use tensor::{Axis, ContextAxis, DataSet, Digest, Imported, Mode, ReadAt, SealedRef};

/// Bytes of the vectors that one task keeps, unless those of a block take more.
const TASK_BYTES: u64 = 32 << 20;

/// What to read of tables of vectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorSpec {
    /// The setting that names the files, for messages.
    pub key: String,
    /// Whose rows.
    pub mode: Mode,
    /// Entries that a vector may have: one of these.
    pub entries: Vec<u32>,
    /// Whether they must be 0 or more.
    pub non_negative: bool,
}

/// How a row has its vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// In one column of lists.
    List(String),
    /// In one column an entry.
    Columns(Vec<String>),
}

/// What the footers of tables of vectors say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorSurvey {
    /// What is read.
    pub spec: VectorSpec,
    /// The files.
    pub files: Vec<InputFile>,
    /// What tasks read, in the order (file, row).
    pub splits: Vec<Split>,
    /// Identity of content and spec.
    pub digest: Digest,
    id: String,
    form: Form,
}

impl VectorSurvey {
    /// Reads the footers and checks the columns against the ids of rows. `first_file` is the number of the first file among the
    /// inputs of the session.
    ///
    /// # Errors
    /// Where a file is missing, not Parquet, has no column of ids or no vectors, or disagrees with the first, or a row group
    /// cannot be read within the budget of a task.
    pub fn of(
        files: &[(String, Arc<dyn ReadAt>)],
        first_file: u32,
        spec: VectorSpec,
        rows: &RowsOf,
        budget_bytes: u64,
    ) -> Result<Self, TablesError> {
        let (mut seen, mut splits, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
        let mut first: Option<(String, Form)> = None;
        for (index, (name, reader)) in files.iter().enumerate() {
            let (file, metadata) = read_footer(name, reader.as_ref())?;
            let arrow = arrow_metadata(name, metadata)?;
            let id = id_of(name, arrow.schema(), rows)?;
            let form = form_of(name, arrow.schema(), &id, &spec)?;
            let (id, form) = match &first {
                Some((known, of)) if (known, of) != (&id, &form) => {
                    return Err(TablesError::BadVectors(format!(
                        "{name} has other columns than {}: write the files of `{}` alike",
                        files[0].0, spec.key
                    )));
                }
                _ => first.insert((id, form)),
            };
            let columns = std::iter::once(id.as_str()).chain(form.columns());
            let leaves: Vec<usize> = columns.filter_map(|name| leaf_of(&arrow, name)).collect();
            let number = first_file + index as u32;
            plan_splits(
                name,
                number,
                &arrow,
                &leaves,
                budget_bytes,
                &[],
                &mut splits,
            )?;
            chunks.push(chunk_ranges(
                name,
                file.bytes,
                arrow.metadata(),
                &leaves,
                &[],
            )?);
            seen.push(file);
        }
        let (id, form) = first.ok_or(TablesError::Malformed("no file of vectors"))?;
        Ok(VectorSurvey {
            digest: lineage(files, &spec, &seen, &chunks)?,
            files: seen,
            splits,
            spec,
            id,
            form,
        })
    }

    /// The blocks of each task with its op, whose rows of `width` floats it writes block by block.
    pub fn tasks(
        &self,
        of: &RowsOf,
        width: usize,
        first_file: u32,
    ) -> Vec<(Range<u32>, VectorsOp)> {
        let split = |split: &Split| AttributeSplit {
            input: self.files[(split.file - first_file) as usize].clone(),
            split: split.clone(),
        };
        let splits: Vec<AttributeSplit> = self.splits.iter().map(split).collect();
        let (rows, ids) = match of {
            RowsOf::Ids(axis) => (axis.grid.rows.clone(), RowIds::Original(axis.id_kind)),
            RowsOf::Numbers(of) => (vec![of.rows], RowIds::Numbered(of.clone())),
        };
        let op = |blocks: Range<u32>| VectorsOp {
            splits: splits.clone(),
            id: self.id.clone(),
            ids: ids.clone(),
            form: self.form.clone(),
            spec: self.spec.clone(),
            width: width as u32,
            rows: rows[blocks.start as usize..blocks.end as usize].to_vec(),
        };
        let (mut tasks, mut start, mut bytes) = (Vec::new(), 0, 0);
        for (block, &rows) in (0..).zip(&rows) {
            let more = u64::from(rows) * 4 * width as u64;
            if block > start && bytes + more > TASK_BYTES {
                tasks.push((start..block, op(start..block)));
                (start, bytes) = (block, 0);
            }
            bytes += more;
        }
        let end = rows.len() as u32;
        tasks.push((start..end, op(start..end)));
        tasks
    }
}

impl Form {
    fn columns(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Form::List(name) => std::slice::from_ref(name),
            Form::Columns(names) => names,
        };
        names.iter().map(String::as_str)
    }
}

/// Whose rows a table of vectors may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowsOf {
    /// Those of a mode with original ids.
    Ids(Axis),
    /// Those of a small mode without.
    Numbers(Numbered),
}

impl RowsOf {
    /// Those of a mode of a data set, which has it.
    pub fn of(data: &DataSet, mode: Mode) -> Option<Self> {
        match mode {
            Mode::User => Some(RowsOf::Ids(data.user.clone())),
            Mode::Product => Some(RowsOf::Ids(data.product.clone())),
            Mode::Time => data.time.as_ref().map(|time| {
                RowsOf::Numbers(Numbered {
                    column: time.column.clone(),
                    rows: time.bins,
                    bins: Some((time.bin, time.first_bin)),
                })
            }),
            Mode::Context => data.context.as_deref().map(|context| match context {
                ContextAxis::Ids(axis) => RowsOf::Ids(axis.clone()),
                ContextAxis::Cycle { column, cycle } => RowsOf::Numbers(Numbered {
                    column: column.clone(),
                    rows: cycle.places(),
                    bins: None,
                }),
            }),
        }
    }

    /// The dictionaries of some of its blocks.
    pub fn dictionaries(&self, blocks: &Range<u32>) -> &[SealedRef] {
        match self {
            RowsOf::Ids(axis) => &axis.dictionary[blocks.start as usize..blocks.end as usize],
            RowsOf::Numbers(_) => &[],
        }
    }
}

/// The column of ids: that of the data set, or `id`.
fn id_of(file: &str, schema: &Schema, rows: &RowsOf) -> Result<String, TablesError> {
    let role = "id of initial factors";
    let has = |name: &str| schema.fields().iter().any(|field| field.name() == name);
    let known = match rows {
        RowsOf::Ids(axis) => &axis.column,
        RowsOf::Numbers(of) => &of.column,
    };
    let column = if !has(known) && has("id") {
        "id"
    } else {
        known
    };
    let axis = match rows {
        RowsOf::Ids(axis) => axis,
        RowsOf::Numbers(of) => {
            of.kind(file, schema, role, column)?;
            return Ok(column.to_owned());
        }
    };
    let found = data_type(file, schema, role, column)?;
    if id_kind(found) == Some(axis.id_kind) {
        return Ok(column.to_owned());
    }
    Err(TablesError::WrongType {
        file: file.to_owned(),
        column: column.to_owned(),
        role,
        found: found.to_string(),
        expected: id_word(axis.id_kind),
    })
}

fn is_list(found: &DataType) -> bool {
    match found {
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => {
            is_value(of.data_type())
        }
        _ => false,
    }
}

fn form_of(file: &str, schema: &Schema, id: &str, spec: &VectorSpec) -> Result<Form, TablesError> {
    let others = schema.fields().iter().filter(|field| field.name() != id);
    let names: Vec<String> = others.clone().map(|field| field.name().clone()).collect();
    if let [name] = &names[..]
        && others.clone().all(|field| is_list(field.data_type()))
    {
        return Ok(Form::List(name.clone()));
    }
    if let Some(other) = others.clone().find(|field| !is_value(field.data_type())) {
        return Err(TablesError::BadVectors(format!(
            "{file}: column `{}` ({}) is no number: beside `{id}` give one column of lists, or a column of numbers for each              entry, and nothing else",
            other.name(),
            other.data_type()
        )));
    }
    if !spec.entries.contains(&(names.len() as u32)) {
        return Err(TablesError::BadVectors(format!(
            "{file} has {} columns of numbers beside `{id}`, the model has {}: write as many, or change `model.rank`",
            names.len(),
            spec.expected()
        )));
    }
    Ok(Form::Columns(names))
}

impl VectorSpec {
    fn expected(&self) -> String {
        let each = self.entries.iter().map(u32::to_string);
        each.collect::<Vec<_>>().join(" factors, with biases ")
    }
}

/// The rows of some blocks by what tells them.
enum Known {
    Ids(Places),
    Numbers(Numbered),
}

impl Known {
    fn of(&self, ids: &ArrayRef) -> Result<Vec<Option<(u32, u32)>>, TablesError> {
        match self {
            Known::Ids(places) => places.of(ids),
            Known::Numbers(of) => {
                let rows = of.of(ids)?.into_iter();
                Ok(rows.map(|row| row.map(|row| (0, row))).collect())
            }
        }
    }

    /// A row, for people.
    fn id(&self, block: u32, local: u32) -> String {
        match self {
            Known::Ids(places) => places.id(block, local),
            Known::Numbers(_) => format!("row {local} (from 0) of the data"),
        }
    }
}

/// The vectors of some blocks in the making.
pub struct Vectors {
    op: VectorsOp,
    places: Known,
    blocks: Vec<AlignedBuf>,
    report: Imported,
}

impl Vectors {
    /// Bytes for what an op keeps, with dictionaries of so many bytes.
    pub fn bytes(op: &VectorsOp, dictionaries: u64) -> u64 {
        let rows = op.rows.iter().map(|&rows| u64::from(rows)).sum();
        rows * 4 * u64::from(op.width) + Places::bytes(rows, dictionaries)
    }

    /// The reading of its files.
    pub fn scan(op: &VectorsOp) -> TableScan {
        let column = |name: &str| Column {
            name: name.to_owned(),
            categorical: false,
        };
        let columns: Vec<Column> = op.form.columns().map(column).collect();
        TableScan::new(&op.id, &columns, &op.splits)
    }

    /// Nothing known yet: the first float of every row is no number. `dictionaries` are those of the op's blocks.
    ///
    /// # Errors
    /// Where a dictionary is damaged, or is not of the block's rows.
    pub fn new(op: VectorsOp, dictionaries: Vec<Sealed>) -> Result<Self, TablesError> {
        let rows = op.rows.iter().map(|&rows| rows as usize);
        let places = match &op.ids {
            RowIds::Original(kind) => {
                let places = Places::new(*kind, dictionaries)?;
                if !places.rows().eq(rows.clone()) {
                    return Err(TablesError::Malformed("dictionaries of other blocks"));
                }
                Known::Ids(places)
            }
            RowIds::Numbered(of) => Known::Numbers(of.clone()),
        };
        let width = op.width as usize;
        let block = |rows: usize| {
            let mut block = AlignedBuf::zeroed(4 * rows * width);
            let rows = block.typed_mut::<f32>().chunks_exact_mut(width);
            rows.for_each(|row| row[0] = f32::NAN);
            block
        };
        Ok(Vectors {
            blocks: rows.map(block).collect(),
            report: Imported::default(),
            places,
            op,
        })
    }

    /// Takes rows.
    ///
    /// # Errors
    /// Where one has no id or no vector as the model has them, or an id comes a second time.
    pub fn batch(&mut self, batch: &Batch) -> Result<(), TablesError> {
        let file = &self.op.splits[batch.split].input.name;
        let bad = |row: usize, what: String| {
            let row = batch.first_row + row as u64;
            Err(TablesError::BadVectors(format!(
                "{file}, row {row} (from 0): {what}"
            )))
        };
        if let Some(row) = (0..batch.ids.len()).find(|&row| batch.ids.is_null(row)) {
            return bad(
                row,
                format!("column `{}` is null: give every row an id", self.op.id),
            );
        }
        let (places, vectors) = (self.places.of(&batch.ids)?, Entries::of(&batch.columns)?);
        let width = self.op.width as usize;
        let mut vector = Vec::with_capacity(width);
        for (row, place) in places.into_iter().enumerate() {
            vectors.read(row, &mut vector);
            let spec = &self.op.spec;
            if !spec.entries.contains(&(vector.len() as u32)) {
                let what = format!(
                    "the vector has {} entries, the model has {}: write as many, or change `model.rank`",
                    vector.len(),
                    spec.expected()
                );
                return bad(row, what);
            }
            if vector.iter().any(|x| !x.is_finite()) {
                return bad(
                    row,
                    "an entry is null or not a finite number: leave the row out".to_owned(),
                );
            }
            if spec.non_negative && vector.iter().any(|&x| x < 0.0) {
                return bad(
                    row,
                    "an entry is below 0, which `model.non_negative` excludes".to_owned(),
                );
            }
            self.report.rows += 1;
            let Some((block, local)) = place else {
                continue;
            };
            let rows: &mut [f32] = self.blocks[block as usize].typed_mut();
            let out = &mut rows[local as usize * width..][..width];
            if !out[0].is_nan() {
                let id = self.places.id(block, local);
                return bad(row, format!("{id} comes a second time: keep one row an id"));
            }
            out[..vector.len()].copy_from_slice(&vector);
            self.report.known += 1;
        }
        Ok(())
    }

    /// The rows of each block, and what became of the table's.
    pub fn finish(self) -> (Vec<AlignedBuf>, Imported) {
        (self.blocks, self.report)
    }
}

/// The vectors of a batch, as f32.
enum Entries {
    List(ArrayRef, Float32Array),
    Columns(Vec<Float32Array>),
}

impl Entries {
    fn of(columns: &[ArrayRef]) -> Result<Self, TablesError> {
        let reals = |array: &ArrayRef| {
            let array = cast_to(array, &DataType::Float32)?;
            Ok::<_, TablesError>(array.as_primitive::<Float32Type>().clone())
        };
        let values = match columns[0].data_type() {
            DataType::List(_) => columns[0].as_list::<i32>().values(),
            DataType::LargeList(_) => columns[0].as_list::<i64>().values(),
            DataType::FixedSizeList(..) => columns[0].as_fixed_size_list().values(),
            _ => {
                let columns = columns.iter().map(reals).collect::<Result<_, _>>()?;
                return Ok(Entries::Columns(columns));
            }
        };
        Ok(Entries::List(columns[0].clone(), reals(values)?))
    }

    /// The entries of a row; null is no number, and a null list has no entries.
    fn read(&self, row: usize, out: &mut Vec<f32>) {
        let at = |array: &Float32Array, place: usize| {
            if array.is_valid(place) {
                array.value(place)
            } else {
                f32::NAN
            }
        };
        out.clear();
        match self {
            Entries::Columns(columns) => out.extend(columns.iter().map(|column| at(column, row))),
            Entries::List(lists, _) if lists.is_null(row) => {}
            Entries::List(lists, values) => {
                let range = match lists.data_type() {
                    DataType::List(_) => {
                        let offsets = lists.as_list::<i32>().value_offsets();
                        offsets[row] as usize..offsets[row + 1] as usize
                    }
                    DataType::LargeList(_) => {
                        let offsets = lists.as_list::<i64>().value_offsets();
                        offsets[row] as usize..offsets[row + 1] as usize
                    }
                    _ => {
                        let lists = lists.as_fixed_size_list();
                        let start = lists.value_offset_at(row);
                        start..start + lists.value_length() as usize
                    }
                };
                out.extend(range.map(|place| at(values, place)));
            }
        }
    }
}
