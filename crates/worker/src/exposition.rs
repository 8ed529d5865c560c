//! Figures in the text format of OpenMetrics, gathered when they are asked for.
//!
//! **Invariant:** a figure is the state at the time of asking: nothing is counted here.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};
use std::sync::atomic::AtomicU64;

/// A figure of several, and what tells it from the others, as in `("worker", "w3")`.
pub type Labelled<T> = (Vec<(&'static str, String)>, T);

type Labels = Vec<(&'static str, String)>;

/// The library writes values as they are.
fn escaped(labels: Labels) -> Labels {
    let value = |text: String| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        text.replace('\n', "\\n")
    };
    let labels = labels.into_iter();
    labels.map(|(name, text)| (name, value(text))).collect()
}

/// Figures of one process, all named `strata_...`.
#[derive(Debug)]
pub struct Exposition(Registry);

impl Default for Exposition {
    fn default() -> Self {
        Exposition(Registry::with_prefix("strata"))
    }
}

impl Exposition {
    fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        // The full stop behind the help is the library's.
        self.0.register(name, help, metric);
    }

    /// What goes up and down. In seconds, bytes or plain numbers; the name says which.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.add(name, help, gauge);
    }

    /// The same of several.
    pub fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = Labelled<f64>>,
    ) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&escaped(labels)).set(value);
        }
        self.add(name, help, family);
    }

    /// What only goes up while the process lives.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.add(name, help, counter);
    }

    /// The same of several.
    pub fn counters(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = Labelled<u64>>,
    ) {
        let family = Family::<Labels, Counter<u64>>::default();
        for (labels, value) in values {
            family.get_or_create(&escaped(labels)).inc_by(value);
        }
        self.add(name, help, family);
    }

    /// All of them.
    ///
    /// # Panics
    /// Never: text is written into memory.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("memory takes it");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_open_metrics() {
        let mut figures = Exposition::default();
        figures.gauge("memory_bytes", "Anonymous memory of the process", 1.5e9);
        figures.counters(
            "faults",
            "What went wrong, by kind",
            [
                (vec![("kind", "lost".to_owned())], 2),
                (vec![("kind", "a \"b\"\n".to_owned())], 1),
            ],
        );
        let text = figures.text();
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            "# HELP strata_memory_bytes Anonymous memory of the process.",
            "# TYPE strata_memory_bytes gauge",
            "strata_memory_bytes 1500000000.0",
            "# TYPE strata_faults counter",
            "strata_faults_total{kind=\"lost\"} 2",
            "strata_faults_total{kind=\"a \\\"b\\\"\\n\"} 1",
        ] {
            assert!(lines.contains(&line), "{line}\n{text}");
        }
        assert_eq!(lines.last(), Some(&"# EOF"));
    }
}
