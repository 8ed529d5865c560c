//! Tables of attributes of users or products: which columns they have, what these come to, and the words of each block.
//!
//! They are read twice: once to learn means and levels, and once for each group of blocks, which keeps what its
//! dictionaries know. So nothing is sorted or kept between, and memory is that of a group.

mod learn;
mod places;
mod program;
mod table;
mod words;

pub use learn::{Learn, LearnReport, Learnt, Moments};
pub use places::Places;
pub use program::IngestAttributes;
pub use table::{Batch, TableScan};
pub use words::{Words, WordsReport};

use crate::columns::{data_type, id_kind, id_word, is_value};
use crate::error::TablesError;
use crate::spec::OnBadRow;
use crate::survey::{
    InputFile, Split, arrow_metadata, chunk_ranges, leaf_of, lineage, plan_splits, read_footer,
};
use arrow::datatypes::{DataType, Schema};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tensor::{Digest, IdKind, Mode, ReadAt};

/// Distinct values of a column that are counted, before the rare ones among them are put together.
pub const LEVELS_MAX: usize = 1 << 16;
/// Bytes of all their names in one report.
pub const LEVEL_BYTES_MAX: usize = 4 << 20;

/// What to read of tables of attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeSpec {
    /// Whose attributes.
    pub mode: Mode,
    /// The column of ids.
    pub id: String,
    /// The columns to take; empty: all others.
    pub columns: Vec<String>,
    /// Columns of integers that are names and not numbers.
    pub categorical: Vec<String>,
    /// Levels that an attribute keeps, the most frequent ones; the others become one.
    pub max_levels: u32,
    /// Columns that all attributes together may take in a model.
    pub max_columns: u32,
    /// What becomes of rows without an id.
    pub on_bad_row: OnBadRow,
}

impl AttributeSpec {
    /// The section of the job, for messages.
    pub fn section(&self) -> String {
        format!("input.{}_attributes", self.mode)
    }
}

/// A column in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Whether its values are names: else they are numbers.
    pub categorical: bool,
}

/// What the footers of tables of attributes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeSurvey {
    /// What is read.
    pub spec: AttributeSpec,
    /// The files.
    pub files: Vec<InputFile>,
    /// The number of the first among the inputs of the session.
    pub first_file: u32,
    /// The type of the ids.
    pub id_kind: IdKind,
    /// The columns in use.
    pub columns: Vec<Column>,
    /// What tasks read, in the order (file, row).
    pub splits: Vec<Split>,
    /// Identity of content and spec.
    pub digest: Digest,
}

impl AttributeSurvey {
    /// Reads the footers and checks the columns. `kind` is the type of the mode's ids.
    ///
    /// # Errors
    /// Where a file is missing, not Parquet, lacks a column or disagrees with the first, or a row group cannot be read within
    /// the budget of a task.
    pub fn of(
        files: &[(String, Arc<dyn ReadAt>)],
        first_file: u32,
        spec: AttributeSpec,
        kind: IdKind,
        budget_bytes: u64,
    ) -> Result<Self, TablesError> {
        let mut survey = AttributeSurvey {
            files: Vec::new(),
            first_file,
            id_kind: kind,
            columns: Vec::new(),
            splits: Vec::new(),
            digest: Digest::default(),
            spec,
        };
        let mut chunks = Vec::new();
        for (index, (name, reader)) in files.iter().enumerate() {
            let (file, metadata) = read_footer(name, reader.as_ref())?;
            let arrow = arrow_metadata(name, metadata)?;
            survey.check_id(name, arrow.schema())?;
            let columns = survey.columns_of(name, arrow.schema())?;
            if index == 0 {
                survey.columns = columns;
            } else if survey.columns != columns {
                return Err(TablesError::BadAttributes(format!(
                    "{name} has other columns, or columns of other types, than {}: write both alike, or name what to \
                     take with `{}.columns`",
                    files[0].0,
                    survey.spec.section()
                )));
            }
            let leaves: Vec<usize> = survey
                .in_use()
                .iter()
                .filter_map(|column| leaf_of(&arrow, column))
                .collect();
            let number = first_file + index as u32;
            let splits = &mut survey.splits;
            plan_splits(name, number, &arrow, &leaves, budget_bytes, &[], splits)?;
            chunks.push(chunk_ranges(
                name,
                file.bytes,
                arrow.metadata(),
                &leaves,
                &[],
            )?);
            survey.files.push(file);
        }
        survey.digest = lineage(files, &survey.spec, &survey.files, &chunks)?;
        Ok(survey)
    }

    /// The columns that are read, the ids first.
    pub fn in_use(&self) -> Vec<&str> {
        let columns = self.columns.iter().map(|column| column.name.as_str());
        std::iter::once(self.spec.id.as_str())
            .chain(columns)
            .collect()
    }

    /// The file of a split.
    pub fn file(&self, split: &Split) -> &InputFile {
        &self.files[(split.file - self.first_file) as usize]
    }

    fn check_id(&self, file: &str, schema: &Schema) -> Result<(), TablesError> {
        let (column, role) = (&self.spec.id, "id of attributes");
        let found = data_type(file, schema, role, column)?;
        if id_kind(found) == Some(self.id_kind) {
            return Ok(());
        }
        Err(TablesError::WrongType {
            file: file.to_owned(),
            column: column.clone(),
            role,
            found: found.to_string(),
            expected: id_word(self.id_kind),
        })
    }

    fn columns_of(&self, file: &str, schema: &Schema) -> Result<Vec<Column>, TablesError> {
        let spec = &self.spec;
        let all = schema.fields().iter().map(|field| field.name().clone());
        let names: Vec<String> = if spec.columns.is_empty() {
            all.filter(|name| *name != spec.id).collect()
        } else {
            spec.columns.clone()
        };
        if names.is_empty() {
            return Err(TablesError::BadAttributes(format!(
                "{file} has no column but `{}`: there is no attribute to take",
                spec.id
            )));
        }
        let column = |name: String| {
            let role = "attribute";
            let found = data_type(file, schema, role, &name)?;
            let named = spec.categorical.contains(&name);
            let categorical = is_name(found) || (named && is_integer(found));
            if !categorical && (named || !is_value(found)) {
                return Err(TablesError::WrongType {
                    file: file.to_owned(),
                    column: name,
                    role,
                    found: found.to_string(),
                    expected: if named {
                        "text, boolean or integer to be categorical"
                    } else {
                        "a number, text or boolean; leave it out of `columns`"
                    },
                });
            }
            Ok(Column { name, categorical })
        };
        names.into_iter().map(column).collect()
    }
}

fn is_name(found: &DataType) -> bool {
    match found {
        DataType::Dictionary(_, value) => is_name(value),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean => true,
        _ => false,
    }
}

fn is_integer(found: &DataType) -> bool {
    match found {
        DataType::Dictionary(_, value) => is_integer(value),
        other => other.is_integer(),
    }
}
