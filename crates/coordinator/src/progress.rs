//! What a run tells while it goes on, and how people see it.
//!
//! **Invariant:** everything here goes to stderr and decides nothing; a run without an observer gives the same bits.

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tensor::News;

/// What is counted while a phase goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Tasks of steps.
    Tasks,
    /// Rows read or written.
    Rows,
    /// Users served.
    Users,
    /// Bytes.
    Bytes,
    /// Objects of a depot.
    Objects,
}

impl Unit {
    /// As it is called.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Tasks => "tasks",
            Unit::Rows => "rows",
            Unit::Users => "users",
            Unit::Bytes => "bytes",
            Unit::Objects => "objects",
        }
    }

    fn show(self, count: u64) -> String {
        match self {
            Unit::Bytes => HumanBytes(count).to_string(),
            other => format!("{} {}", HumanCount(count), other.name()),
        }
    }
}

/// Hears how a run goes on. Phases do not nest; a new one ends the one before.
pub trait Observer: Send + Sync {
    /// A phase begins: `ingest`, `views`, `train`, `evaluate`, `recommend`, `verify`.
    fn begin(&self, phase: &str, unit: Unit, total: Option<u64>);

    /// So much is done, of so much where that is known by now.
    fn progress(&self, done: u64, total: Option<u64>);

    /// The phase is over; `summary` says what came of it.
    fn end(&self, summary: &str);

    /// News of the program.
    fn news(&self, news: &News);

    /// A line that people should see.
    fn note(&self, line: &str);
}

/// Several who hear the same.
#[derive(Default)]
pub struct Several(Vec<Arc<dyn Observer>>);

impl Several {
    /// One more.
    pub fn add(&mut self, observer: Arc<dyn Observer>) {
        self.0.push(observer);
    }
}

impl Observer for Several {
    fn begin(&self, phase: &str, unit: Unit, total: Option<u64>) {
        self.0.iter().for_each(|one| one.begin(phase, unit, total));
    }

    fn progress(&self, done: u64, total: Option<u64>) {
        self.0.iter().for_each(|one| one.progress(done, total));
    }

    fn end(&self, summary: &str) {
        self.0.iter().for_each(|one| one.end(summary));
    }

    fn news(&self, news: &News) {
        self.0.iter().for_each(|one| one.news(news));
    }

    fn note(&self, line: &str) {
        self.0.iter().for_each(|one| one.note(line));
    }
}

/// A phase that is going on.
#[derive(Debug)]
struct Phase {
    name: String,
    unit: Unit,
    began: Instant,
    epoch_began: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

/// Without a terminal a line at most so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// For people: bars with rates and the time left on a terminal, plain lines elsewhere.
#[derive(Debug)]
pub struct Lines {
    terminal: bool,
    phase: Mutex<Option<Phase>>,
}

impl Lines {
    /// Bars if stderr is a terminal.
    pub fn new(terminal: bool) -> Self {
        Self {
            terminal,
            phase: Mutex::new(None),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Option<Phase>) -> T) -> T {
        act(&mut self.phase.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn say(phase: Option<&Phase>, line: &str) {
        match phase.and_then(|phase| phase.bar.as_ref()) {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

impl Observer for Lines {
    fn begin(&self, phase: &str, unit: Unit, total: Option<u64>) {
        self.with(|current| {
            if let Some(bar) = current.take().and_then(|earlier| earlier.bar) {
                bar.finish_and_clear();
            }
            let bar = self.terminal.then(|| bar(phase, unit, total));
            if bar.is_none() {
                eprintln!("{phase} ...");
            }
            let now = Instant::now();
            *current = Some(Phase {
                name: phase.to_owned(),
                unit,
                began: now,
                epoch_began: now,
                said: now,
                bar,
            });
        });
    }

    fn progress(&self, done: u64, total: Option<u64>) {
        self.with(|current| {
            let Some(phase) = current else { return };
            if let Some(bar) = &phase.bar {
                if let Some(total) = total {
                    bar.set_length(total);
                }
                bar.set_position(done);
            } else if phase.said.elapsed() >= LINE_EVERY {
                phase.said = Instant::now();
                eprintln!(
                    "{}",
                    progress_line(&phase.name, phase.unit, done, total, phase.began.elapsed())
                );
            }
        });
    }

    fn end(&self, summary: &str) {
        self.with(|current| {
            let Some(phase) = current.take() else { return };
            if let Some(bar) = phase.bar {
                bar.finish_and_clear();
            }
            eprintln!(
                "{}: {summary} ({:.1} s)",
                phase.name,
                phase.began.elapsed().as_secs_f64()
            );
        });
    }

    fn news(&self, news: &News) {
        self.with(|current| {
            let seconds = current.as_mut().map(|phase| {
                let seconds = phase.epoch_began.elapsed().as_secs_f64();
                phase.epoch_began = Instant::now();
                seconds
            });
            Self::say(current.as_ref(), &news_line(news, seconds));
        });
    }

    fn note(&self, line: &str) {
        self.with(|current| Self::say(current.as_ref(), line));
    }
}

fn bar(phase: &str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let counted = match unit {
        Unit::Bytes => "{bytes}/{total_bytes} {bytes_per_sec}",
        _ => "{human_pos}/{human_len} {per_sec}",
    };
    let template = format!(
        "{{prefix:10}} {{bar:32}} {counted} {}, {{eta}} left",
        unit.name()
    );
    // The template is ours and is tried in a test; without it the bar is only plainer.
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = total
        .map_or_else(ProgressBar::no_length, ProgressBar::new)
        .with_style(style);
    bar.set_prefix(phase.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A line where there is no terminal: what is done, how fast, how long it will take.
fn progress_line(
    phase: &str,
    unit: Unit,
    done: u64,
    total: Option<u64>,
    elapsed: Duration,
) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let rate = done as f64 / seconds;
    let of = total.map_or_else(String::new, |total| format!(" of {}", unit.show(total)));
    let left = total
        .filter(|_| rate > 0.0)
        .map_or_else(String::new, |total| {
            let left = Duration::from_secs_f64(total.saturating_sub(done) as f64 / rate);
            format!(", {} left", HumanDuration(left))
        });
    let rate = unit.show(rate as u64);
    format!("{phase}: {}{of}, {rate}/s{left}", unit.show(done))
}

/// `epoch  3/15  objective 1.234567e6  recall@20 0.1234  ndcg@20 0.1234  (1.23 s)`: of all metrics those that people
/// follow, the two of lists for new products, or the error of values; `--json` keeps the rest.
pub fn news_line(news: &News, seconds: Option<f64>) -> String {
    let News::Epoch {
        epoch,
        epochs,
        objective,
        metrics,
    } = news;
    let width = epochs.to_string().len();
    let mut parts = vec![format!("epoch {epoch:>width$}/{epochs}")];
    parts.extend(objective.map(|objective| format!("objective {objective:.6e}")));
    let followed = metrics.iter().filter_map(|(name, value)| {
        let figure = name.strip_prefix("new_products ")?;
        let shown = figure.starts_with("recall@") || figure.starts_with("ndcg@");
        shown.then_some((figure, value))
    });
    let mut followed: Vec<_> = followed.collect();
    followed.sort_by(|(one, _), (other, _)| other.cmp(one));
    let errors = metrics.iter().filter(|(name, _)| name == "rmse");
    followed.extend(errors.map(|(name, value)| (name.as_str(), value)));
    parts.extend(
        followed
            .iter()
            .map(|(figure, value)| format!("{figure} {value:.4}")),
    );
    parts.extend(seconds.map(|seconds| format!("({seconds:.2} s)")));
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_rate_and_time_left() {
        let line = progress_line(
            "ingest",
            Unit::Rows,
            3000,
            Some(9000),
            Duration::from_secs(3),
        );
        assert_eq!(
            line,
            "ingest: 3,000 rows of 9,000 rows, 1,000 rows/s, 6 seconds left"
        );
        let news = News::Epoch {
            epoch: 3,
            epochs: 15,
            objective: Some(1234.5),
            metrics: vec![
                ("all_products recall@20".into(), 0.75),
                ("new_products map@20".into(), 0.25),
                ("new_products ndcg@20".into(), 0.25),
                ("new_products recall@20".into(), 0.5),
                ("new_products users".into(), 2000.0),
            ],
        };
        assert_eq!(
            news_line(&news, Some(1.0)),
            "epoch  3/15  objective 1.234500e3  recall@20 0.5000  ndcg@20 0.2500  (1.00 s)"
        );
    }

    #[test]
    fn every_bar_has_a_valid_template() {
        for unit in [
            Unit::Tasks,
            Unit::Rows,
            Unit::Users,
            Unit::Bytes,
            Unit::Objects,
        ] {
            assert!(!bar("phase", unit, Some(10)).is_finished());
        }
        for counted in [
            "{bytes}/{total_bytes} {bytes_per_sec}",
            "{human_pos}/{human_len} {per_sec}",
        ] {
            assert!(
                ProgressStyle::with_template(&format!(
                    "{{prefix:10}} {{bar:32}} {counted} x, {{eta}} left"
                ))
                .is_ok()
            );
        }
    }
}
