//! Tables of attributes on their way into the data set.

use super::data::{named, unfit};
use super::engine::{Engine, Stage, key_of};
use super::input::{self, OpenInput};
use crate::failure::Failure;
use crate::job::files;
use crate::job::settings::{AttributeTables, OnBadRow};
use crate::output::report::AttributesReport;
use plan::Refusal;
use plan::estimate::Attributes;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::{AttributeSpec, AttributeSurvey, IngestAttributes, Survey};
use tensor::{DataSet, IdKind, Mode};

/// Tables of attributes whose footers were read.
#[derive(Default)]
pub struct Surveyed {
    surveys: Vec<AttributeSurvey>,
    opened: Vec<Arc<OpenInput>>,
}

impl Surveyed {
    /// What a plan counts of the attributes of a mode: levels that nobody has seen yet are as many as may be kept.
    pub fn counted(&self, mode: Mode) -> Attributes {
        let of_mode = self.surveys.iter().find(|of| of.spec.mode == mode);
        of_mode.map_or_else(Attributes::default, |of| {
            let levels = u64::from(of.spec.max_levels) + 1;
            let columns = of.columns.iter();
            let columns = columns.map(|column| if column.categorical { levels } else { 1 });
            Attributes {
                table_rows: of.files.iter().map(|file| file.rows).sum(),
                attributes: of.columns.len() as u64,
                columns: columns.sum::<u64>().min(of.spec.max_columns.into()),
                used: false,
                linear: false,
            }
        })
    }

    /// The survey of interactions with a lineage that covers the attributes: as it is where there are none.
    pub fn extend(&self, survey: Survey) -> Survey {
        if self.surveys.is_empty() {
            return survey;
        }
        let mut parts: Vec<&[u8]> = vec![b"attributes", &survey.lineage.0];
        parts.extend(self.surveys.iter().map(|of| &of.digest.0[..]));
        let lineage = key_of(&parts);
        Survey { lineage, ..survey }
    }
}

/// Reads the footers of the tables that the job names.
///
/// # Errors
/// Where a file is not what the job says.
pub async fn survey(engine: &Engine<'_>, interactions: &Survey) -> Result<Surveyed, Failure> {
    let input = &engine.settings.input;
    let mut all = Surveyed::default();
    for (mode, tables, kind) in [
        (Mode::User, &input.user_attributes, interactions.kinds.user),
        (
            Mode::Product,
            &input.product_attributes,
            interactions.kinds.product,
        ),
    ] {
        if let Some(tables) = tables {
            survey_mode(engine, mode, tables, kind, &mut all).await?;
        }
    }
    Ok(all)
}

async fn survey_mode(
    engine: &Engine<'_>,
    mode: Mode,
    tables: &AttributeTables,
    kind: IdKind,
    all: &mut Surveyed,
) -> Result<(), Failure> {
    let spec = AttributeSpec {
        mode,
        id: tables.id.clone(),
        columns: tables.columns.clone(),
        categorical: tables.categorical.clone(),
        max_levels: tables.max_levels,
        max_columns: tables.max_columns,
        on_bad_row: match engine.settings.input.on_bad_row {
            OnBadRow::Reject => tables::OnBadRow::Reject,
            OnBadRow::Skip => tables::OnBadRow::Skip,
        },
    };
    let locations = files::expand(&format!("{}.files", spec.section()), &tables.files)?;
    let opened: Vec<Arc<OpenInput>> = locations
        .iter()
        .map(|at| input::open(engine, at))
        .collect::<Result<_, _>>()?;
    let (files, first) = (named(&opened), all.opened.len() as u32);
    let budget = engine.task_memory();
    let survey = move || AttributeSurvey::of(&files, first, spec, kind, budget);
    let survey = tokio::task::spawn_blocking(survey)
        .await
        .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
    let survey = survey.map_err(|error| unfit(engine, error))?;
    all.surveys.push(survey);
    all.opened.extend(opened);
    Ok(())
}

/// Brings the attributes into a data set that has its rows.
///
/// # Errors
/// Where a table is bad.
pub async fn ingest(
    engine: &Engine<'_>,
    data: DataSet,
    attributes: Surveyed,
    term: u64,
) -> Result<DataSet, Failure> {
    if attributes.surveys.is_empty() {
        return Ok(data);
    }
    let run = key_of(&[b"attributes", &data.lineage.0]);
    let inputs = attributes.opened.iter().map(|file| file.served());
    let stage = Stage {
        inputs: inputs.collect(),
        ..Stage::plain("attributes", run, term)
    };
    let mut program = IngestAttributes::new(data, attributes.surveys);
    engine.run(&mut program, stage).await?;
    program.into_data_set().ok_or_else(|| {
        let sentence = "the ingest of attributes ended without a result";
        Failure::new(Refusal::Bug, sentence)
    })
}

/// What a data set knows besides, for people and programs.
pub fn report(data: &DataSet) -> BTreeMap<String, AttributesReport> {
    let report = data.attributes.iter().map(|(mode, known)| {
        let report = AttributesReport {
            attributes: known.attributes.len() as u64,
            columns: known.columns(),
            described: known.described,
            unknown: known.unknown,
        };
        (mode.name().to_owned(), report)
    });
    report.collect()
}
