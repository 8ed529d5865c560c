//! Lists of edges between users or between products: which columns they have, and how they are read.
//!
//! They are scanned, shuffled and sealed as interactions are, of which both ids are of one mode; only that mode is there already, so
//! their ids are not given rows but matched with those of its dictionaries.

mod matching;
mod program;

pub use matching::{Matching, Next};
pub use program::IngestEdges;

use crate::columns::{ColumnKinds, data_type, id_kind, id_word, is_value};
use crate::error::TablesError;
use crate::spec::{OnBadRow, ScanSpec, ValueRule};
use crate::survey::{
    InputFile, Split, arrow_metadata, chunk_ranges, leaf_of, lineage, plan_splits, read_footer,
};
use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tensor::{Digest, Duplicates, IdKind, Mode, ReadAt, TimeBin};

/// What to read of lists of edges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeSpec {
    /// Between rows of which mode.
    pub mode: Mode,
    /// The column of the ids that take.
    pub from: String,
    /// The column of the ids that they take from.
    pub to: String,
    /// The column of weights, which are added where an edge stands several times. `None`: each edge weighs 1.
    pub weight: Option<String>,
    /// Whether an edge is not also one back.
    pub directed: bool,
    /// What becomes of rows without ids or with a weight that is none.
    pub on_bad_row: OnBadRow,
}

impl EdgeSpec {
    /// The section of the job, for messages.
    pub fn section(&self) -> String {
        format!("input.{}_edges", self.mode)
    }

    /// The named columns with their roles.
    pub fn roles(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let weight = self.weight.as_deref().map(|column| ("weight", column));
        let ends = [("from", self.from.as_str()), ("to", self.to.as_str())];
        ends.into_iter().chain(weight)
    }

    /// As rows of interactions.
    fn scan(&self) -> ScanSpec {
        ScanSpec {
            user: self.from.clone(),
            product: self.to.clone(),
            time: None,
            value: self.weight.clone(),
            event: None,
            nets: false,
            time_bin: TimeBin::None,
            context: None,
            duplicates: self.duplicates(),
            on_bad_row: self.on_bad_row,
            value_rule: ValueRule::NonNegative,
            parts: Vec::new(),
        }
    }

    /// Weights are added; without any, an edge that stands twice is one.
    fn duplicates(&self) -> Duplicates {
        match self.weight {
            Some(_) => Duplicates::Sum,
            None => Duplicates::Max,
        }
    }
}

/// What the footers of lists of edges say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeSurvey {
    /// What is read.
    pub spec: EdgeSpec,
    /// The files; their numbers are those of the session's inputs.
    pub files: Vec<InputFile>,
    /// The type of the ids.
    pub id_kind: IdKind,
    /// What tasks read, in the order (file, row).
    pub splits: Vec<Split>,
    /// Identity of content and spec.
    pub digest: Digest,
}

impl EdgeSurvey {
    /// Reads the footers and checks the columns. `kind` is the type of the mode's ids.
    ///
    /// # Errors
    /// Where a file is missing, not Parquet or lacks a column, one column plays two roles, or a row group cannot be read within the
    /// budget of a task.
    pub fn of(
        files: &[(String, Arc<dyn ReadAt>)],
        spec: EdgeSpec,
        kind: IdKind,
        budget_bytes: u64,
    ) -> Result<Self, TablesError> {
        let roles: Vec<(&str, &str)> = spec.roles().collect();
        for (place, &(second, column)) in roles.iter().enumerate() {
            if let Some(&(first, _)) = roles[..place].iter().find(|(_, other)| *other == column) {
                return Err(TablesError::SameColumn {
                    column: column.to_owned(),
                    first: role_of(first),
                    second: role_of(second),
                });
            }
        }
        let (mut seen, mut splits, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
        for ((name, reader), number) in files.iter().zip(0..) {
            let (file, metadata) = read_footer(name, reader.as_ref())?;
            let arrow = arrow_metadata(name, metadata)?;
            check_columns(name, arrow.schema(), &spec, kind)?;
            let leaves = spec
                .roles()
                .filter_map(|(_, column)| leaf_of(&arrow, column));
            let leaves: Vec<usize> = leaves.collect();
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
        if splits.is_empty() {
            let what = format!("the files of `{}` have no rows", spec.section());
            return Err(TablesError::Empty { what });
        }
        Ok(EdgeSurvey {
            digest: lineage(files, &spec, &seen, &chunks)?,
            files: seen,
            id_kind: kind,
            splits,
            spec,
        })
    }

    /// Rows of all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// The kinds of the columns as rows of interactions have them.
    fn kinds(&self) -> ColumnKinds {
        ColumnKinds {
            user: self.id_kind,
            product: self.id_kind,
            time: None,
            context: None,
        }
    }
}

/// A role as people read it.
fn role_of(role: &str) -> &'static str {
    match role {
        "from" => "`from` of edges",
        "to" => "`to` of edges",
        _ => "`weight` of edges",
    }
}

fn check_columns(
    file: &str,
    schema: &Schema,
    spec: &EdgeSpec,
    kind: IdKind,
) -> Result<(), TablesError> {
    for (role, column) in spec.roles() {
        let name = role_of(role);
        let found = data_type(file, schema, name, column)?;
        let (fits, expected) = if role == "weight" {
            (is_value(found), "a number")
        } else {
            (id_kind(found) == Some(kind), id_word(kind))
        };
        if !fits {
            return Err(TablesError::WrongType {
                file: file.to_owned(),
                column: column.to_owned(),
                role: name,
                found: found.to_string(),
                expected,
            });
        }
    }
    Ok(())
}
