//! What many courses come to: tables in Markdown and charts.

use super::chart::{Chart, Line};
use super::cluster::Course;
use super::costs::Costs;
use super::shape::{Machine, Shape, Trouble};
use std::fmt::Write as _;

/// Beyond the knee workers spend more than half of their time on something else than work.
pub const KNEE: f64 = 0.5;

/// The courses of a shape by workers, without trouble and with it.
pub struct Courses {
    /// What was run.
    pub shape: Shape,
    /// Nothing goes wrong.
    pub calm: Vec<Course>,
    /// With trouble.
    pub troubled: Vec<Course>,
}

/// The place of the most workers that still spend half of their time on work; none where not even the fewest do.
pub fn knee(courses: &[Course]) -> Option<usize> {
    courses
        .iter()
        .rposition(|course| course.efficiency() >= KNEE)
}

/// The tables of all shapes.
pub fn markdown(all: &[Courses], machine: Machine, trouble: Trouble, costs: &Costs) -> String {
    let mut out = format!(
        "Workers have {} threads, `--memory {}GiB`, {} GiB beside it for the page cache, and {} GB/s in each direction. With trouble, {:.0} % of workers take {} times as long for \
         everything, and one task in {} takes {} times as long.\n",
        machine.threads,
        machine.memory_bytes >> 30,
        machine.page_cache_bytes >> 30,
        machine.network_gbytes,
        100.0 * trouble.slow_share,
        trouble.slow_factor,
        trouble.hiccup_every,
        trouble.hiccup_factor
    );
    for of in all {
        let shape = &of.shape;
        let _ = write!(
            out,
            "\n**{}**: rank {}, `{}`{}.\n\n\
             | workers | epoch | speed-up | efficiency | pulled by a worker | of the coordinator | epoch with trouble | efficiency |\n\
             |---|---|---|---|---|---|---|---|\n",
            shape.title,
            shape.rank,
            shape.solver,
            if shape.bins > 0 {
                ", days as a factor"
            } else {
                ""
            }
        );
        let knee = knee(&of.calm);
        for (place, (calm, troubled)) in of.calm.iter().zip(&of.troubled).enumerate() {
            let _ = writeln!(
                out,
                "| {}{} | {} | {:.0} | {:.0} % | {:.1} GB | {:.1} GB, {:.0} % busy | {} | {:.0} % |",
                calm.workers,
                if knee == Some(place) { " (knee)" } else { "" },
                seconds(calm.epoch_seconds),
                calm.speed_up(),
                100.0 * calm.efficiency(),
                calm.traffic as f64 / f64::from(calm.workers) / 1e9,
                calm.coordinator_bytes as f64 / 1e9,
                100.0 * calm.coordinator_share,
                seconds(troubled.epoch_seconds),
                100.0 * troubled.work_seconds.min(calm.work_seconds)
                    / troubled.epoch_seconds
                    / f64::from(troubled.workers)
            );
        }
    }
    let _ = write!(
        out,
        "\nFigures behind it ({}):\n\n| figure | value | from |\n|---|---|---|\n",
        costs.measured_on
    );
    for solve in &costs.solves {
        let small = solve.small_interaction_us.map_or_else(String::new, |us| {
            format!(", {us} µs an interaction of the days' equations")
        });
        let _ = writeln!(
            out,
            "| rank {}, `{}` | {} µs an interaction, {} µs a row{small}, {} ms an eigenbasis; of a thread | {} |",
            solve.rank,
            solve.solver,
            solve.interaction_us,
            solve.row_us,
            solve.basis_ms,
            solve.from
        );
    }
    for (name, figure, unit) in costs.figures() {
        let _ = writeln!(
            out,
            "| `{name}` | {} {unit} | {} |",
            figure.value, figure.from
        );
    }
    out
}

fn seconds(seconds: f64) -> String {
    if seconds >= 600.0 {
        format!("{:.0} min", seconds / 60.0)
    } else if seconds >= 10.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{seconds:.1} s")
    }
}

/// The charts: a file's name, and what is drawn.
pub fn charts(all: &[Courses]) -> Vec<(&'static str, Chart)> {
    let lines = |of: &dyn Fn(&Course) -> f64, marks: bool| -> Vec<Line> {
        let pairs = all
            .iter()
            .flat_map(|of| [(of, &of.calm, false), (of, &of.troubled, true)]);
        pairs
            .map(|(shape, courses, dashed)| Line {
                name: format!(
                    "{}{}",
                    shape.shape.name,
                    if dashed { ", with trouble" } else { "" }
                ),
                points: courses
                    .iter()
                    .map(|course| (f64::from(course.workers), of(course)))
                    .collect(),
                marked: knee(courses).filter(|_| marks),
                dashed,
            })
            .collect()
    };
    vec![
        (
            "scaling-speed-up.svg",
            Chart {
                title: "Speed-up over one worker that nothing holds up".to_owned(),
                x: "workers".to_owned(),
                y: "times".to_owned(),
                description:
                    "A model. Rings: the most workers that still spend half of their time on work."
                        .to_owned(),
                lines: lines(&Course::speed_up, true),
            },
        ),
        (
            "scaling-traffic.svg",
            Chart {
                title: "GB that a worker pulls in an epoch".to_owned(),
                x: "workers".to_owned(),
                y: "GB".to_owned(),
                description: "A model. The mean over workers of an epoch.".to_owned(),
                lines: lines(
                    &|course| (course.traffic as f64 / f64::from(course.workers) / 1e9).max(1e-3),
                    false,
                ),
            },
        ),
    ]
}
