//! The ingest of attributes as a program of two steps: learn, then seal the words of all blocks.

use super::learn::{LearnReport, Learnt, Moments};
use super::words::WordsReport;
use super::{AttributeSurvey, LEVELS_MAX};
use crate::error::TablesError;
use crate::ingest::{collected, refuse, step, task};
use crate::op::{self, AttributeSplit, LearnOp, Op, WordsOp};
use crate::spec::OnBadRow;
use std::collections::BTreeMap;
use tensor::{
    Attribute, AttributeKind, Attributes, Axis, DataSet, DepotId, Mode, Program, ProgramError,
    Read, Reduced, Step, StepId, Turn,
};

/// Rows of the blocks that one task seals, unless a block has more.
const ROWS_PER_TASK: u64 = 1 << 18;

const LEARN: StepId = StepId(0);
const WORDS: StepId = StepId(1);

/// The ingest of surveyed tables of attributes.
pub struct IngestAttributes {
    data: DataSet,
    surveys: Vec<AttributeSurvey>,
    /// Rows with an id and the attributes, of each survey.
    learnt: Vec<(u64, Vec<Attribute>)>,
    finished: bool,
}

impl IngestAttributes {
    /// Of the rows of a data set.
    pub fn new(data: DataSet, surveys: Vec<AttributeSurvey>) -> Self {
        IngestAttributes {
            data,
            surveys,
            learnt: Vec::new(),
            finished: false,
        }
    }

    /// The data set with its attributes, once the program is finished.
    pub fn into_data_set(self) -> Option<DataSet> {
        self.finished.then_some(self.data)
    }

    fn axis(&self, mode: Mode) -> &Axis {
        if mode == Mode::User {
            &self.data.user
        } else {
            &self.data.product
        }
    }

    fn learn_step(&self) -> Step {
        let mut tasks = Vec::new();
        for survey in &self.surveys {
            for split in &survey.splits {
                let op = Op::Learn(LearnOp {
                    split: split_of(survey, split),
                    id: survey.spec.id.clone(),
                    columns: survey.columns.clone(),
                });
                let index = tasks.len() as u32;
                tasks.push(task(LEARN, index, &op, vec![], vec![], 1 + split.rows));
            }
        }
        step(LEARN, "attributes", tasks, vec![])
    }

    fn after_learn(&mut self, partials: &[Vec<u8>]) -> Result<Turn, TablesError> {
        let mut reports = partials.iter();
        for survey in &self.surveys {
            let reports: Vec<LearnReport> = reports
                .by_ref()
                .take(survey.splits.len())
                .map(|partial| op::decode(partial))
                .collect::<Result<_, _>>()?;
            check(survey, &reports)?;
            let rows = reports.iter().map(|report| report.rows).sum();
            self.learnt.push((rows, attributes(survey, &reports)?));
        }
        Ok(Turn {
            steps: vec![self.words_step()],
            ..Turn::default()
        })
    }

    fn words_step(&self) -> Step {
        let mut tasks = Vec::new();
        for (survey, (_, attributes)) in self.surveys.iter().zip(&self.learnt) {
            let axis = self.axis(survey.spec.mode);
            for blocks in groups(&axis.grid.rows) {
                let rows = axis.grid.rows[blocks.clone()].iter();
                let rows = rows.map(|&rows| u64::from(rows)).sum();
                let splits = survey.splits.iter();
                let op = Op::Words(WordsOp {
                    splits: splits.map(|split| split_of(survey, split)).collect(),
                    id: survey.spec.id.clone(),
                    id_kind: survey.id_kind,
                    columns: survey.columns.clone(),
                    attributes: attributes.clone(),
                    rows,
                });
                let reads = axis.dictionary[blocks].iter();
                let reads = reads.map(|dictionary| Read::whole(dictionary.key(DepotId::DATA)));
                let cost = 1 + survey.files.iter().map(|file| file.rows).sum::<u64>();
                let index = tasks.len() as u32;
                tasks.push(task(WORDS, index, &op, reads.collect(), vec![], cost));
            }
        }
        step(WORDS, "attributes of blocks", tasks, vec![])
    }

    fn after_words(&mut self, partials: &[Vec<u8>]) -> Result<Turn, TablesError> {
        let mut reports = partials.iter();
        for (survey, (rows, attributes)) in self.surveys.iter().zip(&self.learnt) {
            let groups = groups(&self.axis(survey.spec.mode).grid.rows);
            let (mut blocks, mut described) = (Vec::new(), 0);
            for partial in reports.by_ref().take(groups.len()) {
                let report: WordsReport = op::decode(partial)?;
                if let Some((split, row, id)) = report.twice {
                    return Err(TablesError::BadAttributes(format!(
                        "{}, row {row} (from 0): column `{}` has {id} a second time: keep one row of attributes an id",
                        survey.file(&survey.splits[split as usize]).name,
                        survey.spec.id
                    )));
                }
                blocks.extend(report.blocks);
                described += report.described;
            }
            let attributes = Attributes {
                column: survey.spec.id.clone(),
                attributes: attributes.clone(),
                blocks,
                described,
                unknown: rows - described,
            };
            self.data.attributes.insert(survey.spec.mode, attributes);
        }
        self.finished = true;
        Ok(Turn {
            finished: true,
            ..Turn::default()
        })
    }
}

fn split_of(survey: &AttributeSurvey, split: &crate::survey::Split) -> AttributeSplit {
    AttributeSplit {
        input: survey.file(split).clone(),
        split: split.clone(),
    }
}

/// The blocks of each task: neighbours that have at most [`ROWS_PER_TASK`] rows together.
fn groups(rows: &[u32]) -> Vec<std::ops::Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut sum) = (0, 0);
    for (block, &rows) in rows.iter().enumerate() {
        if block > start && sum + u64::from(rows) > ROWS_PER_TASK {
            groups.push(start..block);
            (start, sum) = (block, 0);
        }
        sum += u64::from(rows);
    }
    groups.push(start..rows.len());
    groups
}

/// Ends the ingest at what the tables may not hold.
fn check(survey: &AttributeSurvey, reports: &[LearnReport]) -> Result<(), TablesError> {
    let refuse = |sentence: String| Err(TablesError::BadAttributes(sentence));
    for (report, split) in reports.iter().zip(&survey.splits) {
        let file = &survey.file(split).name;
        if let (OnBadRow::Reject, Some(row)) = (survey.spec.on_bad_row, report.null_id) {
            return Err(TablesError::BadRow {
                file: file.clone(),
                row,
                column: survey.spec.id.clone(),
                fault: "is null",
            });
        }
        let name = |column: u32| &survey.columns[column as usize].name;
        if let Some((row, column)) = report.infinite {
            return refuse(format!(
                "{file}, row {row} (from 0): column `{}` is infinite: correct it, or write null where it is not known",
                name(column)
            ));
        }
        if let Some(column) = report.overflow {
            return refuse(too_many(survey, name(column)));
        }
    }
    Ok(())
}

fn too_many(survey: &AttributeSurvey, column: &str) -> String {
    format!(
        "column `{column}` of {} has more than {LEVELS_MAX} distinct values, or these are too long: it names rows rather \
         than describes them, leave it out of `{}.columns`",
        survey.files[0].name,
        survey.spec.section()
    )
}

/// What the columns come to over all splits.
fn attributes(
    survey: &AttributeSurvey,
    reports: &[LearnReport],
) -> Result<Vec<Attribute>, TablesError> {
    let spec = &survey.spec;
    let mut attributes = Vec::new();
    for (place, column) in survey.columns.iter().enumerate() {
        let mut moments = Moments::default();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for report in reports {
            match report.columns.get(place) {
                Some(Learnt::Number(part)) => moments = moments.join(*part),
                Some(Learnt::Levels(part)) => {
                    for (name, count) in part {
                        *counts.entry(name).or_default() += count;
                    }
                }
                None => return Err(TablesError::Malformed("a column was not learnt")),
            }
        }
        if counts.len() > LEVELS_MAX {
            return Err(TablesError::BadAttributes(too_many(survey, &column.name)));
        }
        if moments.count == 0 && counts.is_empty() {
            return Err(TablesError::BadAttributes(format!(
                "column `{}` of {} has no value at all: leave it out of `{}.columns`",
                column.name,
                survey.files[0].name,
                spec.section()
            )));
        }
        let kind = if column.categorical {
            let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
            counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
            let others = counts.len() > spec.max_levels as usize;
            counts.truncate(spec.max_levels as usize);
            let levels = counts.into_iter().map(|(name, _)| name.to_owned());
            AttributeKind::Levels {
                levels: levels.collect(),
                others,
            }
        } else {
            AttributeKind::Number {
                mean: moments.mean,
                deviation: moments.deviation(),
            }
        };
        attributes.push(Attribute {
            name: column.name.clone(),
            kind,
        });
    }
    let columns: u64 = attributes.iter().map(Attribute::columns).sum();
    let widest = attributes.iter().max_by_key(|one| one.columns());
    if let Some(widest) = widest.filter(|_| columns > u64::from(spec.max_columns)) {
        let section = spec.section();
        return Err(TablesError::Attributes(format!(
            "the attributes of {}s take {columns} columns, `{}` {} of them; {} may be taken: lower `{section}.max_levels`, \
             leave attributes out of `{section}.columns`, or raise `{section}.max_columns`",
            spec.mode,
            widest.name,
            widest.columns(),
            spec.max_columns
        )));
    }
    Ok(attributes)
}

impl Program for IngestAttributes {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        Ok(Turn {
            steps: vec![self.learn_step()],
            ..Turn::default()
        })
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let turn = collected(reduced).and_then(|partials| match step {
            LEARN => self.after_learn(&partials),
            WORDS => self.after_words(&partials),
            _ => Err(TablesError::Malformed("a step that ingest did not ask for")),
        });
        turn.map_err(refuse)
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.learnt.clear();
        self.data.attributes.clear();
        self.finished = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_grouped_by_their_rows() {
        assert_eq!(groups(&[10, 20, 30]).len(), 1);
        let half = (ROWS_PER_TASK / 2) as u32;
        let rows = [half, half, 1, 4 * half, 0, half];
        assert_eq!(groups(&rows), [0..2, 2..3, 3..4, 4..6]);
    }
}
