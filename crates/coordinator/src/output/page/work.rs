//! What a run took, and what it survived. The one section that differs from run to run.

use super::chart::{Caption, bars};
use super::html::Html;
use super::{Cell, Section, Work, charts, names, note, number, paragraph, table};
use crate::output::report::PhaseReport;
use tensor::ByteSize;

/// The section.
pub fn section(work: &Work) -> Option<Section> {
    if work.phases.is_empty() {
        return None;
    }
    let rows: Vec<(String, f64, String)> = work
        .phases
        .iter()
        .map(|phase| {
            (
                names::phase(&phase.phase),
                phase.seconds,
                number::seconds(phase.seconds),
            )
        })
        .collect();
    let told: Vec<String> = rows
        .iter()
        .map(|(name, _, text)| format!("{name} {text}"))
        .collect();
    let caption = Caption {
        id: "phases",
        title: "Time by phase",
        description: &format!("{}.", told.join(", ")),
    };
    Some(Section {
        id: "work",
        name: "What it took",
        parts: vec![
            paragraph(survived(work)),
            charts(vec![bars(caption, &rows)]),
            phases(&work.phases),
            note(
                "This section tells of the run, and differs from run to run. All others are the same for the same data and job.",
            ),
        ],
    })
}

/// Losses, in a sentence.
fn survived(work: &Work) -> String {
    let replayed: u64 = work.phases.iter().map(|phase| phase.tasks_replayed).sum();
    let rollbacks: u64 = work.phases.iter().map(|phase| phase.rollbacks).sum();
    let mut told = Vec::new();
    if let Some(epoch) = work.resumed_from {
        told.push(format!(
            "training was interrupted and went on after epoch {epoch}"
        ));
    }
    if rollbacks > 0 {
        told.push(format!(
            "work went back to a checkpoint {}",
            names::several(rollbacks, "time")
        ));
    }
    if replayed > 0 {
        told.push(format!(
            "{} ran again after a loss",
            names::several(replayed, "task")
        ));
    }
    if told.is_empty() {
        return "Nothing was lost on the way: no task ran twice.".to_owned();
    }
    format!(
        "Faults on the way: {}. They cost time and changed no figure: the result is the same to the bit.",
        told.join("; ")
    )
}

fn phases(phases: &[PhaseReport]) -> Html {
    let header = [
        Cell::Text("Phase".into()),
        Cell::Number("Time".into()),
        Cell::Number("Workers".into()),
        Cell::Number("Tasks".into()),
        Cell::Number("Peak memory".into()),
        Cell::Number("Between workers".into()),
        Cell::Number("Through the coordinator".into()),
    ];
    let rows = phases.iter().map(|phase| {
        let cells = [
            number::seconds(phase.seconds),
            number::count(phase.workers),
            number::count(phase.tasks),
            ByteSize(phase.peak_anonymous_bytes).to_string(),
            ByteSize(phase.bytes_to_peers).to_string(),
            ByteSize(phase.bytes_through_coordinator).to_string(),
        ];
        let cells = cells.map(|text| Cell::Number(text.into()));
        (names::phase(&phase.phase).into(), cells.into())
    });
    let caption = "Phases; memory is the most anonymous memory of the coordinator's process, its embedded workers included";
    table("table-phases", caption, &header, rows.collect(), None)
}
