//! What was done, and how it ended.

use super::Trouble;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Troubles by kind, each with the time until an epoch beyond the last one ended.
#[derive(Default)]
pub struct Table {
    /// Until work went on.
    pub recoveries: BTreeMap<Trouble, Vec<Duration>>,
    /// Jobs whose digest is that of an undisturbed one.
    pub jobs: usize,
    /// How often a coordinator that was started again ended because no worker was to be had yet, and had to be started once more.
    pub again: usize,
}

impl Table {
    /// Adds a trouble.
    pub fn add(&mut self, trouble: Trouble, recovery: Duration) {
        self.recoveries.entry(trouble).or_default().push(recovery);
    }

    /// Adds all of another one.
    pub fn append(&mut self, other: Table) {
        for (trouble, recoveries) in other.recoveries {
            self.recoveries
                .entry(trouble)
                .or_default()
                .extend(recoveries);
        }
        self.jobs += other.jobs;
        self.again += other.again;
    }

    /// How many troubles there were.
    pub fn troubles(&self) -> usize {
        self.recoveries.values().map(Vec::len).sum()
    }
}

/// The one in the middle.
pub fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Table {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            to,
            "{:<18} {:>6} {:>9} {:>9}",
            "trouble", "times", "median s", "slowest s"
        )?;
        for (trouble, times) in &self.recoveries {
            let slowest = times.iter().max().copied().unwrap_or_default();
            let (name, median) = (format!("{trouble:?}"), median(times));
            writeln!(
                to,
                "{name:<18} {:>6} {:>9.2} {:>9.2}",
                times.len(),
                median.as_secs_f64(),
                slowest.as_secs_f64()
            )?;
        }
        write!(
            to,
            "{} troubles in {} jobs, each with the digest of the undisturbed one; {} coordinators found no worker at once",
            self.troubles(),
            self.jobs,
            self.again
        )
    }
}
