//! The figures of `/metrics`, made of what `/status.json` tells.

use super::status::{Course, Status};
use worker::exposition::{Exposition, Labelled};

fn one_or_none(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// In the text format of OpenMetrics.
pub fn text(status: &Status) -> String {
    let mut figures = Exposition::default();
    run(status, &mut figures);
    work(status, &mut figures);
    machine(status, &mut figures);
    workers(status, &mut figures);
    figures.text()
}

fn run(status: &Status, figures: &mut Exposition) {
    let info = vec![
        ("verb", status.verb.to_owned()),
        ("version", status.version.to_owned()),
        ("run", status.run.clone().unwrap_or_default()),
    ];
    figures.gauges("run_info", "The verb and its run", [(info, 1.0)]);
    let course = |state: &'static str, of: Course| {
        (
            vec![("state", state.to_owned())],
            one_or_none(status.state == of),
        )
    };
    figures.gauges(
        "run_state",
        "1 for the state that the verb is in",
        [
            course("running", Course::Running),
            course("finished", Course::Finished),
            course("failed", Course::Failed),
        ],
    );
    figures.gauge("run_seconds", "Since the process began", status.seconds);
    figures.gauge(
        "run_term",
        "The leadership number of this coordinator",
        status.term.unwrap_or(0) as f64,
    );
    let now = status.phases.last().filter(|phase| !phase.over);
    let phase = now.map(|phase| (vec![("phase", phase.phase.clone())], 1.0));
    figures.gauges("phase", "1 for the phase that goes on", phase);
    let unit = now.map(|phase| vec![("unit", phase.unit.to_owned())]);
    let done = now.map(|phase| phase.done as f64).unwrap_or_default();
    let done = unit.map(|labels| (labels, done));
    figures.gauges("phase_done", "How much of the phase is done", done);
    if let Some(epoch) = &status.epoch {
        figures.gauge("epoch", "The last epoch that ended", f64::from(epoch.epoch));
        figures.gauge("epochs", "Epochs of this training", f64::from(epoch.epochs));
        figures.gauge("epoch_seconds", "What the last epoch took", epoch.seconds);
        if let Some(objective) = epoch.objective {
            figures.gauge("objective", "What training makes small", objective);
        }
        let metric = |(name, value): (&String, &f64)| (vec![("metric", name.clone())], *value);
        figures.gauges(
            "validation",
            "What was measured after the last epoch",
            epoch.metrics.iter().map(metric),
        );
    }
    figures.counter(
        "checkpoints",
        "Checkpoints made durable",
        status.checkpoints,
    );
    if let Some(seconds) = status.unsaved_seconds {
        figures.gauge(
            "checkpoint_age_seconds",
            "Since the last checkpoint became durable, or, before the first, since the run was opened",
            seconds,
        );
    }
    if let Some(checkpoint) = status.checkpoint {
        figures.gauge(
            "checkpoint_seconds",
            "What the last checkpoint took",
            checkpoint.seconds,
        );
    }
}

fn work(status: &Status, figures: &mut Exposition) {
    let of_step = |(step, count): (&String, &u64)| (vec![("step", step.clone())], *count);
    figures.counters(
        "tasks",
        "Tasks done, by the kind of their step",
        status.tasks.by_step.iter().map(of_step),
    );
    figures.counter(
        "tasks_replayed",
        "Tasks done again after a loss",
        status.tasks.replayed,
    );
    figures.counter(
        "tasks_retried",
        "Tasks given to somebody again",
        status.tasks.retried,
    );
    if let Some(step) = &status.step {
        figures.gauge(
            "step_tasks",
            "Tasks of the step in front",
            step.tasks as f64,
        );
        figures.gauge("step_done", "Those that are done", step.done as f64);
    }
    let of_kind =
        |(kind, count): (&&'static str, &u64)| (vec![("kind", (*kind).to_owned())], *count);
    figures.counters(
        "faults",
        "What went wrong and was made good, by kind",
        status.faults.iter().map(of_kind),
    );
}

fn machine(status: &Status, figures: &mut Exposition) {
    let memory = status.memory;
    for (name, help, value) in [
        (
            "memory_anonymous_bytes",
            "Anonymous memory of the process",
            memory.anonymous_bytes,
        ),
        (
            "memory_budget_bytes",
            "What the process may fill (--memory)",
            memory.budget_bytes,
        ),
    ] {
        figures.gauge(name, help, value as f64);
    }
    figures.counter(
        "moved_between_workers_bytes",
        "Bytes that workers had from each other",
        status.moved.between_workers_bytes,
    );
    figures.counter(
        "moved_through_coordinator_bytes",
        "Bulk bytes through the coordinator",
        status.moved.through_coordinator_bytes,
    );
}

/// By state only: each worker tells of itself at its own port.
fn workers(status: &Status, figures: &mut Exposition) {
    let of_state = |state: &'static str| -> Labelled<f64> {
        let count = status.workers.iter().filter(|of| of.state == state).count();
        (vec![("state", state.to_owned())], count as f64)
    };
    figures.gauges(
        "workers",
        "Workers of this phase, by state",
        [
            "working",
            "leaving",
            "suspected",
            "lost",
            "given_up",
            "shut_out",
        ]
        .map(of_state),
    );
}

#[cfg(test)]
mod tests {
    use super::super::status::{Checkpoint, Epoch, Memory, Phase, Tasks, Worker};
    use super::*;

    #[test]
    fn figures_tell_what_the_status_tells() {
        let phase = Phase {
            phase: "train".into(),
            unit: "tasks",
            done: 12,
            total: None,
            rate: 3.0,
            seconds: 4.0,
            over: false,
            summary: String::new(),
        };
        let status = Status {
            verb: "run",
            version: "1",
            run: Some("0123".into()),
            term: Some(2),
            phases: vec![phase],
            epoch: Some(Epoch {
                epoch: 3,
                epochs: 15,
                objective: Some(2.5),
                metrics: [("rmse".to_owned(), 0.5)].into(),
                seconds: 0.5,
            }),
            tasks: Tasks {
                done: 12,
                replayed: 1,
                retried: 2,
                by_step: [("user half-step".to_owned(), 12)].into(),
            },
            memory: Memory {
                anonymous_bytes: 5,
                peak_anonymous_bytes: 6,
                budget_bytes: 7,
            },
            checkpoint: Some(Checkpoint {
                epoch: 2,
                seconds: 0.125,
                age_seconds: 9.0,
            }),
            unsaved_seconds: Some(9.0),
            checkpoints: 2,
            faults: [("worker_lost", 1)].into(),
            workers: vec![Worker {
                state: "lost",
                ..Worker::default()
            }],
            ..Status::default()
        };
        let text = text(&status);
        for line in [
            "strata_run_info{verb=\"run\",version=\"1\",run=\"0123\"} 1.0",
            "strata_run_state{state=\"running\"} 1.0",
            "strata_run_state{state=\"failed\"} 0.0",
            "strata_phase{phase=\"train\"} 1.0",
            "strata_phase_done{unit=\"tasks\"} 12.0",
            "strata_epoch 3.0",
            "strata_objective 2.5",
            "strata_validation{metric=\"rmse\"} 0.5",
            "strata_checkpoint_age_seconds 9.0",
            "strata_checkpoint_seconds 0.125",
            "strata_checkpoints_total 2",
            "strata_tasks_total{step=\"user half-step\"} 12",
            "strata_tasks_replayed_total 1",
            "strata_tasks_retried_total 2",
            "strata_faults_total{kind=\"worker_lost\"} 1",
            "strata_memory_anonymous_bytes 5.0",
            "strata_memory_budget_bytes 7.0",
            "strata_workers{state=\"lost\"} 1.0",
            "strata_workers{state=\"working\"} 0.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }
}
