//! Lists of edges on their way into the data set.

use super::data::{named, unfit};
use super::engine::{Engine, Stage, key_of};
use super::input::{self, OpenInput};
use crate::failure::Failure;
use crate::job::files;
use crate::job::settings::{EdgeLists, OnBadRow};
use crate::output::report::EdgesReport;
use plan::Refusal;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::{EdgeSpec, EdgeSurvey, IngestEdges, Survey};
use tensor::{DataSet, IdKind, Mode};

/// Lists of edges whose footers were read, with their files.
#[derive(Default)]
pub struct Surveyed(Vec<(EdgeSurvey, Vec<Arc<OpenInput>>)>);

impl Surveyed {
    /// What a plan counts of them: each both ways, or sealed both ways.
    pub fn counted(&self) -> u64 {
        self.0.iter().map(|(of, _)| 2 * of.rows()).sum()
    }

    /// The survey of interactions with a lineage that covers the edges: as it is where there are none.
    pub fn extend(&self, survey: Survey) -> Survey {
        if self.0.is_empty() {
            return survey;
        }
        let mut parts: Vec<&[u8]> = vec![b"edges", &survey.lineage.0];
        parts.extend(self.0.iter().map(|(of, _)| &of.digest.0[..]));
        let lineage = key_of(&parts);
        Survey { lineage, ..survey }
    }
}

/// Reads the footers of the lists that the job names.
///
/// # Errors
/// Where a file is not what the job says.
pub async fn survey(engine: &Engine<'_>, interactions: &Survey) -> Result<Surveyed, Failure> {
    let (input, kinds) = (&engine.settings.input, interactions.kinds);
    let mut all = Surveyed::default();
    for (mode, lists, kind) in [
        (Mode::User, &input.user_edges, kinds.user),
        (Mode::Product, &input.product_edges, kinds.product),
    ] {
        if let Some(lists) = lists {
            all.0.push(survey_mode(engine, mode, lists, kind).await?);
        }
    }
    Ok(all)
}

async fn survey_mode(
    engine: &Engine<'_>,
    mode: Mode,
    lists: &EdgeLists,
    kind: IdKind,
) -> Result<(EdgeSurvey, Vec<Arc<OpenInput>>), Failure> {
    let spec = EdgeSpec {
        mode,
        from: lists.from.clone(),
        to: lists.to.clone(),
        weight: lists.weight.clone(),
        directed: lists.directed,
        on_bad_row: match engine.settings.input.on_bad_row {
            OnBadRow::Reject => tables::OnBadRow::Reject,
            OnBadRow::Skip => tables::OnBadRow::Skip,
        },
    };
    let locations = files::expand(&format!("{}.files", spec.section()), &lists.files)?;
    let opened: Result<Vec<Arc<OpenInput>>, Failure> =
        locations.iter().map(|at| input::open(engine, at)).collect();
    let opened = opened?;
    let (files, budget) = (named(&opened), engine.task_memory());
    let survey = tokio::task::spawn_blocking(move || EdgeSurvey::of(&files, spec, kind, budget))
        .await
        .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
    Ok((survey.map_err(|error| unfit(engine, error))?, opened))
}

/// Brings the edges into a data set that has their rows.
///
/// # Errors
/// Where a list is bad.
pub async fn ingest(
    engine: &Engine<'_>,
    mut data: DataSet,
    edges: Surveyed,
    term: u64,
) -> Result<DataSet, Failure> {
    for (survey, opened) in edges.0 {
        let mode = survey.spec.mode.name().as_bytes();
        let run = key_of(&[b"edges", mode, &data.lineage.0]);
        let stage = Stage {
            inputs: opened.iter().map(|file| file.served()).collect(),
            ..Stage::plain("edges", run, term)
        };
        let mut program = IngestEdges::new(data, survey);
        engine.run(&mut program, stage).await?;
        data = program.into_data_set().ok_or_else(|| {
            let sentence = "the ingest of edges ended without a result";
            Failure::new(Refusal::Bug, sentence)
        })?;
    }
    Ok(data)
}

/// The edges of a data set, for people and programs.
pub fn report(data: &DataSet) -> BTreeMap<String, EdgesReport> {
    let report = data.edges.iter().map(|(mode, edges)| {
        let report = EdgesReport {
            entries: edges.entries(),
            directed: edges.directed,
            input_rows: edges.input_rows,
            loops: edges.loops,
            unknown: edges.unknown,
            bad_rows: edges.bad_rows.clone(),
        };
        (mode.name().to_owned(), report)
    });
    report.collect()
}
