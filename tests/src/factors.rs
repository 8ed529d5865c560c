//! The factors of a stored model in original ids, and how well they match planted ones.

use crate::jobs::Job;
use std::collections::BTreeMap;
use store::dictionary::Dictionary;
use store::{Cache, IoMode};
use tensor::{Axis, ContextAxis, Mode};

/// The rows of a mode by original id, as text; those of time by bin, a mean by 0.
pub type Factors = BTreeMap<String, Vec<f32>>;

/// The tables of a job's newest model, in the order of modes.
///
/// # Panics
/// Where there is no whole model or data set.
pub fn of(job: &Job) -> Vec<Factors> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let depot = |name: &str| {
            let place = job.folder().join(name);
            depot::Depot::open(&place.to_string_lossy()).expect("a depot")
        };
        let (data_depot, model_depot) = (depot("data"), depot("model"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::open_unsynced(folder.path(), 1 << 30, IoMode::Pread).expect("a cache");
        let (_, data) = data_depot.latest_data_set(None).await.unwrap().unwrap();
        let (_, model) = model_depot.latest_model(None).await.unwrap().unwrap();
        let mut tables = Vec::new();
        for table in &model.tables {
            let axis: Option<&Axis> = match table.mode {
                // Matrices and maps have rows of their own.
                mode if table.name != mode.name() => None,
                Mode::User => Some(&data.user),
                Mode::Product => Some(&data.product),
                Mode::Context => match data.context.as_deref() {
                    Some(ContextAxis::Ids(axis)) => Some(axis),
                    _ => None,
                },
                Mode::Time => None,
            };
            let (mut factors, mut first) = (Factors::new(), 0);
            for (number, &block) in table.blocks.iter().enumerate() {
                let file = model_depot.fetch(block, &cache).await.expect("a block");
                if file.is_empty() {
                    continue;
                }
                let bytes = file.section(0..file.len()).expect("a whole file").to_vec();
                let rows: Vec<f32> = bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")))
                    .collect();
                let ids: Vec<String> = match axis {
                    Some(axis) => {
                        let sealed = axis.dictionary[number];
                        let file = data_depot
                            .fetch(sealed, &cache)
                            .await
                            .expect("a dictionary");
                        let dictionary = Dictionary::open(file).expect("a whole dictionary");
                        dictionary
                            .iter()
                            .flatten()
                            .map(|id| id.to_string())
                            .collect()
                    }
                    None => (first..table.grid.rows_total())
                        .map(|row| row.to_string())
                        .collect(),
                };
                first += u64::from(table.grid.rows[number]);
                let rows = rows.chunks_exact(table.width as usize);
                let rows = rows.map(|row| row[..table.rank as usize].to_vec());
                factors.extend(ids.into_iter().zip(rows));
            }
            tables.push(factors);
        }
        tables
    })
}

/// The factor match score of two CP decompositions of equal rank (Acar, Dunlavy, Kolda, Mørup, *Scalable tensor
/// factorizations for incomplete data*, 2011): over the best pairing of their components, the mean of the product of
/// the cosines in every mode, each lessened by how far the norms of the two components are apart. 1: they are equal.
///
/// # Panics
/// Where shapes differ, or there are more components than can be paired by trial.
pub fn match_score(truth: &[Vec<Vec<f64>>], found: &[Vec<Vec<f64>>]) -> f64 {
    let rank = truth[0][0].len();
    assert!(rank <= 6 && truth.len() == found.len(), "few components");
    let column = |table: &[Vec<f64>], r: usize| table.iter().map(|row| row[r]).collect::<Vec<_>>();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let score = |a: usize, b: usize| {
        let (mut cosines, mut sizes) = (1.0, [1.0, 1.0]);
        for (truth, found) in truth.iter().zip(found) {
            assert_eq!(truth.len(), found.len(), "rows of one table");
            let (x, y) = (column(truth, a), column(found, b));
            let norms = [dot(&x, &x).sqrt(), dot(&y, &y).sqrt()];
            cosines *= dot(&x, &y) / (norms[0] * norms[1]);
            sizes = [sizes[0] * norms[0], sizes[1] * norms[1]];
        }
        (1.0 - (sizes[0] - sizes[1]).abs() / sizes[0].max(sizes[1])) * cosines
    };
    let scores: Vec<Vec<f64>> = (0..rank)
        .map(|a| (0..rank).map(|b| score(a, b)).collect())
        .collect();
    best(&scores, 0, &mut vec![false; rank]) / rank as f64
}

/// The largest sum of one score from each row and column, rows from `row` on.
fn best(scores: &[Vec<f64>], row: usize, taken: &mut Vec<bool>) -> f64 {
    if row == scores.len() {
        return 0.0;
    }
    let mut most = f64::NEG_INFINITY;
    for column in 0..scores.len() {
        if !taken[column] {
            taken[column] = true;
            most = most.max(scores[row][column] + best(scores, row + 1, taken));
            taken[column] = false;
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_scale_do_not_matter_and_other_factors_do() {
        let one = vec![
            vec![vec![1.0, 2.0], vec![3.0, -1.0]],
            vec![vec![0.5, 1.0], vec![2.0, 2.0]],
        ];
        let turned: Vec<Vec<Vec<f64>>> = one
            .iter()
            .zip([2.0, 0.5])
            .map(|(table, scale)| {
                let row = |row: &Vec<f64>| vec![scale * row[1], -scale * row[0]];
                table.iter().map(row).collect()
            })
            .collect();
        assert!((match_score(&one, &turned) - 1.0).abs() < 1e-12);
        let mut other = one.clone();
        other[0][0][0] = -3.0;
        assert!(match_score(&one, &other) < 0.8);
        let larger: Vec<Vec<f64>> = one[1]
            .iter()
            .map(|row| vec![2.0 * row[0], row[1]])
            .collect();
        assert!((match_score(&one, &[one[0].clone(), larger]) - 0.75).abs() < 1e-12);
    }
}
