//! The measured figures that a simulation rests on, each with the command that measured it.

use serde::{Deserialize, Serialize};

/// A number and where it is from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// In the unit that the field's name says.
    pub value: f64,
    /// The command that measured it, or `assumed:` and why.
    pub from: String,
}

/// What the exact or the iterative solver takes at a rank, of one thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Solve {
    /// Columns of factors.
    pub rank: u32,
    /// As in `model.solver`.
    pub solver: String,
    /// Microseconds an interaction.
    pub interaction_us: f64,
    /// Microseconds a row beside its interactions.
    pub row_us: f64,
    /// Microseconds an interaction of the equations of a small mode; absent where none was measured.
    #[serde(default)]
    pub small_interaction_us: Option<f64>,
    /// Milliseconds of the eigenbasis of a Gram.
    pub basis_ms: f64,
    /// The command that measured them.
    pub from: String,
}

/// All figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// The machine that they are of, and when.
    pub measured_on: String,
    /// Half-steps by rank and solver.
    pub solves: Vec<Solve>,
    /// Multiply-adds count two: billions a second and thread, of dense work on rows (turning into a basis).
    pub dense_gflops: Figure,
    /// GB a second and thread of what is read or written once (first factors, sums, counts).
    pub stream_gbytes: Figure,
    /// Microseconds that a worker takes for a task beside what it computes.
    pub worker_task_us: Figure,
    /// Microseconds that the coordinator takes for a task from handing it out to hearing of it.
    pub coordinator_task_us: Figure,
    /// GB a second that one process pulls from its peers at the most; the network may be slower.
    pub transport_gbytes: Figure,
    /// Microseconds from a request to the first byte of its answer.
    pub round_trip_us: Figure,
    /// GB a second from the worker's own disk.
    pub disk_gbytes: Figure,
    /// Million rows a second and thread of ingest.
    pub ingest_mrows: Figure,
}

impl Costs {
    /// The figures of a file.
    ///
    /// # Errors
    /// Where it is not JSON, or a figure is missing, unknown, or not above 0.
    pub fn parse(text: &str) -> Result<Self, String> {
        let costs: Costs = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let named = costs.figures();
        let bad = named
            .iter()
            .find(|(_, figure, _)| figure.value.is_nan() || figure.value <= 0.0);
        if let Some((name, figure, _)) = bad {
            return Err(format!(
                "`{name}` is {}: give a number above 0",
                figure.value
            ));
        }
        for solve in &costs.solves {
            let parts = [solve.interaction_us, solve.row_us, solve.basis_ms];
            if parts.iter().any(|part| !(*part > 0.0 && part.is_finite())) {
                return Err(format!("a figure of rank {} is not above 0", solve.rank));
            }
        }
        Ok(costs)
    }

    /// What the solver of a shape takes.
    ///
    /// # Errors
    /// Where it was not measured.
    pub fn solve(&self, rank: u32, solver: &str) -> Result<&Solve, String> {
        let found = self
            .solves
            .iter()
            .find(|solve| solve.rank == rank && solve.solver == solver);
        found.ok_or_else(|| format!("the costs have no figures of `{solver}` at rank {rank}: measure them, and add them to `solves`"))
    }

    /// The single figures: name, figure, unit.
    pub fn figures(&self) -> Vec<(&'static str, &Figure, &'static str)> {
        vec![
            ("dense_gflops", &self.dense_gflops, "GFLOP/s a thread"),
            ("stream_gbytes", &self.stream_gbytes, "GB/s a thread"),
            ("worker_task_us", &self.worker_task_us, "µs a task"),
            (
                "coordinator_task_us",
                &self.coordinator_task_us,
                "µs a task",
            ),
            ("transport_gbytes", &self.transport_gbytes, "GB/s"),
            ("round_trip_us", &self.round_trip_us, "µs"),
            ("disk_gbytes", &self.disk_gbytes, "GB/s"),
            ("ingest_mrows", &self.ingest_mrows, "M rows/s a thread"),
        ]
    }
}
