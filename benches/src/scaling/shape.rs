//! What is simulated: data, machines, and what goes wrong with them.

use model::als::{Als, ContextUse, Input, Preset, Settings, Solver, TimeUse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::{Digest, Grid, PartitionRef, Partitions, SealedRef, Small};

/// How interactions are spread over the rows of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// By Zipf's law with this exponent.
    Zipf(f64),
    /// Log-normal with this deviation of the logarithm.
    LogNormal(f64),
}

impl Spread {
    /// Weights of rows at places from the busiest (0) to the quietest (1), each with its share of rows.
    fn quantiles(self, rows: f64) -> Vec<(f64, f64)> {
        const STEPS: usize = 512;
        let step = |place: usize| place as f64 / STEPS as f64;
        (0..STEPS)
            .map(|place| match self {
                Spread::Zipf(exponent) => {
                    // Ranks between powers of the number of rows: the head is as finely cut as the tail.
                    let (low, high) = (rows.powf(step(place)), rows.powf(step(place + 1)));
                    ((high - low) / rows, (low * high).sqrt().powf(-exponent))
                }
                Spread::LogNormal(sigma) => {
                    let z = 8.0 * (0.5 - step(place) - 0.5 / STEPS as f64);
                    let share = (-z * z / 2.0).exp() * 8.0
                        / STEPS as f64
                        / (2.0 * std::f64::consts::PI).sqrt();
                    (share, (sigma * z).exp())
                }
            })
            .collect()
    }

    /// How many rows of `rows` so many independent interactions name, on average.
    pub fn distinct(self, interactions: f64, rows: f64) -> f64 {
        let quantiles = self.quantiles(rows);
        let weight: f64 = quantiles.iter().map(|(share, weight)| share * weight).sum();
        let shares: f64 = quantiles.iter().map(|(share, _)| share).sum();
        let named = quantiles.iter().map(|(share, of)| {
            let expected = interactions * of * shares / (weight * rows);
            share / shares * -(-expected).exp_m1()
        });
        (rows * named.sum::<f64>()).min(interactions)
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// In files and tables.
    pub name: String,
    /// What it stands for.
    pub title: String,
    /// Rows of both modes, and their interactions.
    pub users: u64,
    /// Products, or nodes that are linked to.
    pub products: u64,
    /// After binning and combining.
    pub interactions: u64,
    /// Bins that are a factor; 0: a matrix.
    pub bins: u32,
    /// Whether unobserved cells count (`hu`), or only values (`explicit`).
    pub implicit: bool,
    /// Columns of factors.
    pub rank: u32,
    /// `cholesky` or `cg`.
    pub solver: String,
    /// Bytes of an interaction of the training view.
    pub entry_bytes: u64,
    /// How interactions are spread over users,
    pub user_spread: Spread,
    /// and over products.
    pub product_spread: Spread,
}

/// A worker of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Threads.
    pub threads: u32,
    /// `--memory`.
    pub memory_bytes: u64,
    /// Memory beside it, in which the system keeps files.
    pub page_cache_bytes: u64,
    /// GB a second in each direction of its network.
    pub network_gbytes: f64,
}

/// What goes wrong, by place and number alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// Share of workers that are slow; the first always is where this is above 0.
    pub slow_share: f64,
    /// How many times as long they take.
    pub slow_factor: f64,
    /// One task of so many takes longer; 0: none.
    pub hiccup_every: u64,
    /// How many times as long.
    pub hiccup_factor: f64,
}

impl Trouble {
    /// How many times as long a worker takes for everything.
    pub fn of_worker(&self, worker: u32) -> f64 {
        let slow = (f64::from(worker) * self.slow_share).fract() < self.slow_share;
        if slow { self.slow_factor } else { 1.0 }
    }

    /// How many times as long it takes for this task.
    pub fn of_task(&self, worker: u32, step: u64, index: u32) -> f64 {
        let mut mixed = u64::from(worker) << 40 ^ step << 24 ^ u64::from(index);
        for factor in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
            mixed = (mixed ^ mixed >> 30).wrapping_mul(factor);
        }
        let hit = self.hiccup_every > 0 && (mixed ^ mixed >> 31).is_multiple_of(self.hiccup_every);
        if hit { self.hiccup_factor } else { 1.0 }
    }
}

fn partitions(grid: &Grid, interactions: u64, entry: u64, side: u8) -> Vec<PartitionRef> {
    let blocks = u64::from(grid.blocks());
    let one = |block: u64| {
        let own = interactions * (block + 1) / blocks - interactions * block / blocks;
        let rows = grid.rows[block as usize];
        let mut digest = [0; 32];
        digest[0] = side;
        digest[1..9].copy_from_slice(&block.to_le_bytes());
        PartitionRef {
            object: SealedRef {
                digest: Digest(digest),
                bytes: own * entry + 8 * u64::from(rows),
            },
            rows,
            interactions: own,
        }
    };
    (0..blocks).map(one).collect()
}

impl Shape {
    /// The grids of users and products, as a first ingest cuts them.
    ///
    /// # Errors
    /// Where row ids would leave 32 bits.
    pub fn grids(&self) -> Result<[Grid; 2], String> {
        let deal = |rows| Grid::deal(rows, self.interactions).map_err(|error| error.to_string());
        Ok([deal(self.users)?, deal(self.products)?])
    }

    /// What is trained on. Blocks are dealt, and so cost the same.
    ///
    /// # Errors
    /// As [`Shape::grids`].
    pub fn input(&self) -> Result<Input, String> {
        let [user, product] = self.grids()?;
        Ok(Input {
            train: Partitions {
                user_major: partitions(&user, self.interactions, self.entry_bytes, 0),
                product_major: partitions(&product, self.interactions, self.entry_bytes, 1),
                interactions: self.interactions,
                netted: 0,
            },
            small: Small {
                time: self.bins,
                context: 0,
            },
            user,
            product,
            decay: None,
            attributes: BTreeMap::new(),
            edges: BTreeMap::new(),
            given: BTreeMap::new(),
            folds: None,
        })
    }

    /// The program, of two epochs: the first reads what the second finds at hand.
    ///
    /// # Errors
    /// Settings or sizes that no job may have.
    pub fn program(&self) -> Result<Als, String> {
        let settings = Settings {
            rank: self.rank,
            epochs: 2,
            preset: if self.implicit {
                Preset::Hu
            } else {
                Preset::Explicit
            },
            time: if self.bins > 0 {
                TimeUse::Factor
            } else {
                TimeUse::Ignore
            },
            context: ContextUse::Ignore,
            solver: match self.solver.as_str() {
                "cholesky" => Solver::Cholesky,
                "cg" => Solver::Cg,
                other => {
                    return Err(format!(
                        "`{other}` is no solver that is simulated: cholesky or cg"
                    ));
                }
            },
            ..Settings::default()
        };
        Als::new(settings, self.input()?).map_err(|error| error.to_string())
    }
}

/// The three shapes of the report.
pub fn shapes() -> Vec<Shape> {
    let shape = |name: &str, title: &str| Shape {
        name: name.to_owned(),
        title: title.to_owned(),
        users: 100_000_000,
        products: 1_000_000,
        interactions: 10_000_000_000,
        bins: 730,
        implicit: true,
        rank: 32,
        solver: "cholesky".to_owned(),
        entry_bytes: 12,
        user_spread: Spread::LogNormal(1.0),
        product_spread: Spread::Zipf(1.0),
    };
    vec![
        shape(
            "retailer",
            "100 M users × 1 M products × 730 days, 10 billion interactions",
        ),
        Shape {
            users: 1_000_000_000,
            products: 10_000_000,
            interactions: 100_000_000_000,
            bins: 0,
            implicit: false,
            rank: 64,
            solver: "cg".to_owned(),
            entry_bytes: 8,
            ..shape(
                "ratings",
                "1 billion users × 10 M items, 100 billion ratings",
            )
        },
        Shape {
            users: 365_000_000,
            products: 365_000_000,
            interactions: 30_000_000_000,
            bins: 0,
            rank: 128,
            solver: "cg".to_owned(),
            entry_bytes: 4,
            ..shape("links", "365 M pages, 30 billion links")
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_draws_name_themselves_and_many_name_all() {
        for spread in [Spread::Zipf(0.8), Spread::Zipf(1.0), Spread::LogNormal(1.0)] {
            let few = spread.distinct(10.0, 1e6);
            assert!(few > 9.0 && few <= 10.0, "{spread:?} {few}");
            let many = spread.distinct(1e12, 1e6);
            assert!((many / 1e6 - 1.0).abs() < 1e-3, "{spread:?} {many}");
            let (less, more) = (spread.distinct(1e6, 1e6), spread.distinct(2e6, 1e6));
            assert!(less < more && more < 2.0 * less);
        }
    }

    #[test]
    fn distinct_rows_are_those_of_a_count() {
        // All weights by name, against the quantiles.
        let (rows, draws) = (2000_usize, 5000.0);
        let weights: Vec<f64> = (1..=rows).map(|rank| (rank as f64).powf(-0.8)).collect();
        let sum: f64 = weights.iter().sum();
        let counted: f64 = weights.iter().map(|w| 1.0 - (-draws * w / sum).exp()).sum();
        let found = Spread::Zipf(0.8).distinct(draws, rows as f64);
        assert!((found / counted - 1.0).abs() < 0.03, "{found} {counted}");
    }
}
