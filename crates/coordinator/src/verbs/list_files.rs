//! Where lists and their reasons go: a file each, or a folder of parts each, of which whole ones are kept by the next process.

use super::engine::Engine;
use crate::failure::Failure;
use model::recommend::{BLOCKS_PER_PART, EXPLAINED, Recommend};
use plan::Refusal;
use std::collections::BTreeSet;
use std::path::Path;
use tables::out::ids::Ids;
use tables::out::{
    ExplanationsWriter, ListFile, Listed, OutError, Parts, PartsWriter, RecommendationsWriter,
};
use tensor::ObjectKey;

/// Why nothing was written, as the end of a verb.
pub fn failed(error: &OutError) -> Failure {
    let kind = match error {
        OutError::Foreign { .. } => Refusal::Config,
        _ => Refusal::Io,
    };
    Failure::new(kind, error.to_string())
}

/// A table of lists in the making.
enum Table<F> {
    File(Box<F>),
    Parts(Box<PartsWriter<F>>),
}

impl<F: ListFile> Table<F> {
    fn write(&mut self, (part, last): (u32, bool), bytes: &[u8]) -> Result<(), OutError> {
        match self {
            Table::File(file) => file.write(bytes),
            Table::Parts(parts) => parts.write(part, bytes, last),
        }
    }

    fn finish(self) -> Result<Listed, OutError> {
        match self {
            Table::File(file) => {
                let users = file.users();
                file.finish().map(|rows| Listed { users, rows })
            }
            Table::Parts(parts) => parts.finish(),
        }
    }
}

/// Lists, and reasons where they are asked for, in the making.
pub struct ListFiles {
    lists: Table<RecommendationsWriter>,
    reasons: Option<Table<ExplanationsWriter>>,
    /// User blocks.
    blocks: u32,
    kept: BTreeSet<u32>,
}

/// What was written.
pub struct Written {
    /// The lists.
    pub lists: Listed,
    /// Rows of reasons.
    pub reasons: Option<u64>,
}

impl ListFiles {
    /// A file of lists, and one of reasons.
    ///
    /// # Errors
    /// Where their folders cannot be written.
    pub fn files(
        lists: &Path,
        reasons: Option<&Path>,
        (users, products): (Ids, Ids),
    ) -> Result<Self, OutError> {
        let create =
            |path: &Path| ExplanationsWriter::create(path, users.clone(), products.clone());
        let reasons = reasons.map(create).transpose()?;
        let lists = RecommendationsWriter::create(lists, users, products)?;
        Ok(ListFiles {
            lists: Table::File(Box::new(lists)),
            reasons: reasons.map(|reasons| Table::File(Box::new(reasons))),
            blocks: 0,
            kept: BTreeSet::new(),
        })
    }

    /// A folder of lists, and one of reasons, made of `made_of`: parts of the same are kept, others are replaced, and both are told.
    ///
    /// # Errors
    /// Where the folders cannot be read or written, or are in use for something else.
    pub fn folders(
        engine: &Engine<'_>,
        (lists, reasons): (&Path, Option<&Path>),
        (users, products): (Ids, Ids),
        (program, made_of): (&Recommend, &str),
    ) -> Result<Self, OutError> {
        let count = program.groups();
        let mut lists = Parts::open(lists, made_of.to_owned(), count)?;
        let open = |reasons| Parts::open(reasons, made_of.to_owned(), count);
        let mut reasons = reasons.map(open).transpose()?;
        let mut kept = lists.kept();
        if let Some(reasons) = &mut reasons {
            // A part is made with its reasons, so both are there or neither is.
            kept = kept.intersection(&reasons.kept()).copied().collect();
            reasons.keep(&kept);
            lists.keep(&kept);
        }
        let note = |line: &str| engine.console.observer().note(line);
        match lists.others() {
            0 => {}
            others => note(&format!(
                "{others} parts here are of other lists than these, and are replaced"
            )),
        }
        if !kept.is_empty() {
            note(&format!(
                "{} of {count} parts are there already, and are kept",
                kept.len()
            ));
        }
        let begin = |reasons| PartsWriter::begin(reasons, users.clone(), products.clone());
        let reasons = reasons.map(begin).transpose()?;
        let lists = PartsWriter::begin(lists, users, products)?;
        Ok(ListFiles {
            lists: Table::Parts(Box::new(lists)),
            reasons: reasons.map(|reasons| Table::Parts(Box::new(reasons))),
            blocks: program.blocks_total(),
            kept,
        })
    }

    /// The parts that need not be made.
    pub fn kept(&self) -> &BTreeSet<u32> {
        &self.kept
    }

    /// Parts that were written.
    pub fn parts_written(&self) -> u32 {
        match &self.lists {
            Table::File(_) => 0,
            Table::Parts(parts) => parts.written(),
        }
    }

    /// Takes a delivered object: those of a part come one after the other, by rising block.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn take(&mut self, key: ObjectKey, bytes: &[u8]) -> Result<(), OutError> {
        let ObjectKey::Block { table, block, .. } = key else {
            unreachable!("lists are blocks of tables");
        };
        let next = block.0 + 1;
        let last = next.is_multiple_of(BLOCKS_PER_PART) || next == self.blocks;
        let place = (block.0 / BLOCKS_PER_PART, last);
        match &mut self.reasons {
            Some(reasons) if table == EXPLAINED => reasons.write(place, bytes),
            _ => self.lists.write(place, bytes),
        }
    }

    /// Makes all durable.
    ///
    /// # Errors
    /// Where that fails.
    pub fn finish(self) -> Result<Written, OutError> {
        let reasons = self.reasons.map(Table::finish).transpose()?;
        Ok(Written {
            lists: self.lists.finish()?,
            reasons: reasons.map(|reasons| reasons.rows),
        })
    }
}
