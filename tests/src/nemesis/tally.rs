//! What series of troubles came to, added up over several runs: a line a job, in a file where one is named.
//!
//! **Invariant:** a line is written when its job has ended with the digest of the undisturbed one, and not before: what is in the file has held.

use super::Trouble;
use super::table::Table;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Jobs so far, and where they are noted.
#[derive(Default)]
pub struct Tally {
    file: Option<PathBuf>,
    /// All of them.
    pub table: Table,
    /// The series that were drawn from already: seed, bed and number.
    past: Vec<(u64, String, u32)>,
}

impl Tally {
    /// With all that a file has, if one is named; it need not be there yet.
    ///
    /// # Panics
    /// Where it holds something else.
    pub fn open(file: Option<PathBuf>) -> Tally {
        let text = file
            .as_ref()
            .and_then(|file| std::fs::read_to_string(file).ok());
        let mut tally = Tally {
            file,
            ..Tally::default()
        };
        for line in text.unwrap_or_default().lines() {
            let job: Value =
                serde_json::from_str(line).expect("a line of a tally is a JSON object");
            tally.take(&job);
        }
        tally
    }

    fn take(&mut self, job: &Value) {
        let number = |key: &str| job[key].as_u64().expect("a number");
        let mut table = Table {
            jobs: 1,
            again: number("again") as usize,
            ..Table::default()
        };
        for trouble in job["troubles"].as_array().expect("troubles") {
            let name = trouble[0].as_str().expect("a kind");
            let kind = Trouble::named(name).unwrap_or_else(|| panic!("{name} is no trouble"));
            let seconds = trouble[1].as_f64().expect("seconds");
            table.add(kind, Duration::from_secs_f64(seconds));
        }
        self.table.append(table);
        let bed = job["bed"].as_str().expect("a bed").to_owned();
        self.past
            .push((number("seed"), bed, number("number") as u32));
    }

    /// The first series of a seed on a bed that was not drawn from yet.
    pub fn next(&self, seed: u64, bed: &str) -> u32 {
        let of = |past: &&(u64, String, u32)| past.0 == seed && past.1 == bed;
        let last = self.past.iter().filter(of).map(|past| past.2).max();
        last.map_or(0, |last| last + 1)
    }

    /// Adds a job that has ended as it should.
    ///
    /// # Panics
    /// Where the file cannot be written.
    pub fn add(&mut self, seed: u64, bed: &str, number: u32, table: &Table) {
        let troubles: Vec<Value> = table
            .recoveries
            .iter()
            .flat_map(|(kind, times)| times.iter().map(move |time| (kind, time)))
            .map(|(kind, time)| json!([format!("{kind:?}"), time.as_secs_f64()]))
            .collect();
        let job = json!({
            "seed": seed, "bed": bed, "number": number, "again": table.again, "troubles": troubles,
        });
        if let Some(file) = &self.file {
            let file = OpenOptions::new().create(true).append(true).open(file);
            let written = file.and_then(|mut file| file.write_all(format!("{job}\n").as_bytes()));
            written.expect("the tally can be written");
        }
        self.take(&job);
    }

    /// How many troubles there were of these kinds.
    pub fn count(&self, kinds: &[Trouble]) -> usize {
        let of = kinds
            .iter()
            .filter_map(|kind| self.table.recoveries.get(kind));
        of.map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_goes_on_where_the_one_before_it_ended() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = Some(folder.path().join("tally.jsonl"));
        let mut tally = Tally::open(file.clone());
        assert_eq!((tally.next(1, "proxied"), tally.table.jobs), (0, 0));
        let mut table = Table {
            jobs: 1,
            again: 2,
            ..Table::default()
        };
        table.add(Trouble::KillWorker, Duration::from_millis(250));
        table.add(Trouble::KillWorker, Duration::from_millis(750));
        table.add(Trouble::Wall, Duration::from_secs(3));
        tally.add(1, "proxied", 4, &table);
        let mut again = Tally::open(file);
        assert_eq!(again.table.to_string(), tally.table.to_string());
        assert_eq!((again.next(1, "proxied"), again.next(1, "net")), (5, 0));
        assert_eq!(again.next(2, "proxied"), 0);
        again.add(1, "net", 0, &table);
        assert_eq!((again.table.jobs, again.table.again), (2, 4));
        assert_eq!(again.count(Trouble::KILLS), 4);
        assert_eq!(again.count(Trouble::PARTITIONS), 2);
    }
}
