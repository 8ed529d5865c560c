//! Memory, disk, traffic and time of a job before anything runs.
//!
//! **Invariant:** pure arithmetic on counts; every assumption is a named constant and is handed out with
//! the figures. Figures are upper bounds but for time, which is a guess.

mod attributes;

pub use attributes::Attributes;

use serde::{Deserialize, Serialize};
use tensor::{ByteSize, Grid, super_blocks};

/// No process runs with less (DESIGN 3.5).
pub const MEMORY_MIN: u64 = 256 << 20;
/// Of `--memory`, in percent: what is being received from peers,
pub const RECEIVE_PERCENT: u64 = 10;
/// and what a task may use while it computes.
pub const TASK_PERCENT: u64 = 50;
/// The longest panel of a row: what a thread gathers for solvers that run on it, and once more for a row that is cut.
pub const PANEL_BYTES: u64 = 2 << 20;
/// Assumed flop per second and thread of the exact solver (the prototype's on AVX-512 is about 50 G).
pub const FLOPS_PER_THREAD: f64 = 4.0e10;
/// Assumed columns of samples per second and thread of descent (measured with rank 64 and AdaGrad on AVX-512).
pub const SAMPLE_COLUMNS_PER_S: f64 = 4.0e8;
/// Assumed bytes of rows per second and thread that a product with the matrix gathers (measured with width 64, half of it
/// from memory).
pub const GATHERED_BYTES_PER_S: f64 = 3.0e10;
/// Tables that are longer are read by ranges, for which interactions are arranged.
const ARRANGED_TABLE_BYTES: u64 = 16 << 20;
/// Bytes of an interaction that is arranged, with its share of where lines end.
const ARRANGED_BYTES: u64 = 4;
/// Bytes of a sealed edge: the row that it leads to, and its weight.
const EDGE_BYTES: u64 = 8;
/// Assumed bytes per second that a worker can receive.
pub const NETWORK_BYTES_PER_S: f64 = 1.0e9;
/// Assumed rows per second and thread of ingest (measured: 3.7 M rows of whole numbers a second on two threads).
pub const INGEST_ROWS_PER_S: f64 = 1.8e6;

/// The size of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Rows of the user mode.
    pub users: u64,
    /// Rows of the product mode.
    pub products: u64,
    /// Interactions after binning and combining.
    pub interactions: u64,
    /// Time bins; 0 without time.
    pub bins: u64,
    /// Whether time is a factor of the model, rather than left out of it.
    pub tensor: bool,
    /// Contexts; 0 without any.
    pub contexts: u64,
    /// Whether they are a factor of the model.
    pub factors_context: bool,
    /// Whether interactions carry a value other than 1.
    pub values: bool,
    /// Samples for an interaction where training descends on tiles; 0 where it solves.
    pub samples: u64,
    /// Passes over the interactions in which an epoch gathers rows and adds them up: products with the matrix or its transpose.
    pub products_of: u64,
    /// Whether they go by ranges of columns where tables are long.
    pub arranges: bool,
    /// Entries of edges between users and between products, as they are sealed.
    pub edges: u64,
    /// Passes over them in which an epoch gathers rows.
    pub products_of_edges: u64,
    /// Tables like those of the factors that training keeps beside them.
    pub kept_tables: u64,
    /// Rank of the factors.
    pub rank: u64,
    /// Columns beside them: biases, or what a noise is ranked by.
    pub columns_beside: u64,
    /// What is known of users besides.
    pub user_attributes: Attributes,
    /// The same of products.
    pub product_attributes: Attributes,
    /// Epochs.
    pub epochs: u64,
    /// Workers.
    pub workers: u64,
    /// Threads of each.
    pub threads: u64,
    /// `--memory` of each.
    pub memory: ByteSize,
}

/// What one phase needs of each worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// As in progress lines.
    pub name: String,
    /// The least memory for one task in its smallest piece.
    pub smallest: ByteSize,
    /// With this much, nothing is cut in pieces.
    pub whole: ByteSize,
    /// Whether it will be cut in pieces under the given memory.
    pub in_pieces: bool,
}

/// The plan of a job, as the `plan` verb shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Blocks of the user mode.
    pub user_blocks: u64,
    /// Blocks of the product mode.
    pub product_blocks: u64,
    /// Both orientations of the data set, with dictionaries.
    pub data_disk: ByteSize,
    /// The train, validation and test views of them.
    pub views_disk: ByteSize,
    /// What each worker's cache comes to hold.
    pub cache_disk_per_worker: ByteSize,
    /// The factors: one durable copy of the model.
    pub model_disk: ByteSize,
    /// Factor blocks that each worker holds, the versions being written included.
    pub shelf_per_worker: ByteSize,
    /// Memory by phase.
    pub phases: Vec<Phase>,
    /// The smallest `--memory` that would do.
    pub memory_smallest: ByteSize,
    /// The smallest `--memory` with which nothing is cut in pieces or spilled.
    pub memory_whole: ByteSize,
    /// Whether the given memory suffices.
    pub fits: bool,
    /// Bytes that all workers together pull in an epoch.
    pub traffic_per_epoch: ByteSize,
    /// Seconds of ingest.
    pub ingest_seconds: f64,
    /// Seconds of an epoch.
    pub epoch_seconds: f64,
    /// Seconds of all.
    pub total_seconds: f64,
    /// What the seconds rest on.
    pub assumptions: Vec<String>,
}

/// Rows of the fullest block, and blocks.
fn blocks(rows: u64, interactions: u64) -> (u64, u64) {
    match Grid::deal(rows, interactions) {
        Ok(grid) => (
            u64::from(grid.blocks()),
            u64::from(grid.rows.iter().copied().max().unwrap_or(0)),
        ),
        Err(refused) => (
            u64::from(refused.blocks),
            rows.div_ceil(u64::from(refused.blocks.max(1))),
        ),
    }
}

impl Estimate {
    /// The plan for a workload.
    pub fn of(job: &Workload) -> Self {
        let workers = job.workers.max(1);
        let width = (job.rank + job.columns_beside).next_multiple_of(16);
        let sides = [
            (job.user_attributes, job.users),
            (job.product_attributes, job.products),
        ];
        let of_sides = |of: &dyn Fn(Attributes, u64) -> u64| -> u64 {
            sides.iter().map(|&(side, rows)| of(side, rows)).sum()
        };
        let row_bytes = 4 * width;
        let (user_blocks, user_rows) = blocks(job.users, job.interactions);
        let (product_blocks, product_rows) = blocks(job.products, job.interactions);

        // The small modes: their rows, and whether they have factors.
        let small = [
            ("time", job.bins, job.tensor),
            ("context", job.contexts, job.factors_context),
        ];
        let words = |counts: &dyn Fn(bool) -> bool| -> u64 {
            let kept = small
                .iter()
                .filter(|(_, rows, factored)| *rows > 0 && counts(*factored));
            4 * kept.count() as u64
        };
        let factored = small.iter().filter(|(.., factored)| *factored);
        let small_rows: u64 = factored.clone().map(|(_, rows, _)| rows).sum();
        let entry = 4 + words(&|_| true) + 4 * u64::from(job.values);
        let rows = job.users + job.products;
        let data = 2 * job.interactions * entry
            + 8 * rows
            + 32 * rows
            + job.edges * EDGE_BYTES
            + of_sides(&|side, rows| side.data(rows));
        let views = 2 * job.interactions * (entry - words(&|factored| !factored)) + 3 * 8 * rows;
        let factors = (rows + small_rows) * row_bytes;
        let maps = of_sides(&|side, _| side.maps(row_bytes));

        let block = user_rows.max(product_rows) * row_bytes;
        let side = u64::from(super_blocks::side(
            user_blocks as u32,
            product_blocks as u32,
            job.interactions,
        ));
        let partition = job
            .interactions
            .div_ceil(user_blocks.min(product_blocks).max(1))
            * entry;
        let square = 8 * width * width;
        // Two versions of what a worker's share of each table is, while the next one is written.
        let partials = job.user_attributes.partial(width) * user_blocks
            + job.product_attributes.partial(width) * product_blocks;
        let arranged: u64 = [job.users, job.products]
            .iter()
            .filter(|&&others| job.arranges && others * row_bytes > ARRANGED_TABLE_BYTES)
            .map(|_| job.interactions * ARRANGED_BYTES)
            .sum();
        let shelf = (2 + job.kept_tables) * factors.div_ceil(workers)
            + arranged.div_ceil(workers)
            + block
            + 2 * maps
            + partials.div_ceil(workers);
        let panels = (job.threads.max(1) + 1) * PANEL_BYTES;
        let threads = job.threads.max(1);
        let beside = [
            job.user_attributes.half_step(user_rows, width, threads),
            job.product_attributes
                .half_step(product_rows, width, threads),
        ];
        let desks = threads * 4 * square + panels + beside[0].max(beside[1]);
        let solve_smallest = block + desks + (64 << 10) * row_bytes.min(1 << 10);
        let solve_whole = block + desks + job.users.max(job.products) * row_bytes;
        let trained_bytes = 4 * (width + 16);
        // Bins in training, and what a tile adds up beside them.
        let bins_bytes = small_rows * trained_bytes;
        let tile =
            2 * (job.users + job.products).div_ceil(side) * trained_bytes + bins_bytes + (8 << 20);
        // A tile wants both of its blocks at once, as they were and as they will be.
        let train = if job.samples > 0 {
            ("tile", tile, tile)
        } else if job.products_of > 0 {
            let sums = block + 16 * user_rows.max(product_rows) + square / 2;
            let table = job.users.max(job.products) * row_bytes;
            // Rows of a piece, where they are fewer, and a number for each.
            let rows = table.min((64 << 10) * (row_bytes + 4));
            ("product", sums + rows + (1 << 20), sums + table + (1 << 20))
        } else {
            ("half-step", solve_smallest, solve_whole)
        };
        let mut phases = vec![
            ("ingest", 128 << 20, (128 << 20) + 3 * partition),
            train,
            (
                "evaluate",
                block + (64 << 20),
                block + job.products * row_bytes + (64 << 20),
            ),
        ];
        if arranged > 0 {
            // Columns and values of a block, and what they become.
            let bytes = partition + partition / entry * (4 + ARRANGED_BYTES);
            phases.push(("arrangement", bytes, bytes));
        }
        if maps > 0 {
            let solving = sides.map(|(side, _)| side.solving(width, threads));
            let solving = solving[0].max(solving[1]);
            phases.push(("maps", solving, solving));
        }
        for &(name, rows, _) in factored.clone() {
            if job.samples > 0 {
                phases.push((name, bins_bytes, bins_bytes));
                continue;
            }
            let normal = rows * (square + 8 * width);
            phases.push((name, 2 * normal + block, 2 * normal + solve_whole));
        }
        let needs = |bytes: u64| (bytes * 100).div_ceil(TASK_PERCENT).max(MEMORY_MIN);
        let memory_smallest = phases
            .iter()
            .map(|(_, smallest, _)| needs(*smallest))
            .max()
            .unwrap_or(MEMORY_MIN);
        let shelf_percent = 100 - RECEIVE_PERCENT - TASK_PERCENT;
        let memory_whole = phases
            .iter()
            .map(|(_, _, whole)| needs(*whole))
            .max()
            .unwrap_or(MEMORY_MIN);
        let memory_whole = memory_whole.max((shelf * 100).div_ceil(shelf_percent));
        let room = job.memory.0 * TASK_PERCENT / 100;

        // Each half-step every worker pulls what the others hold of the table that it reads, and so does each pass of a graph
        // model; each tile, the products, and in
        // a tensor it gives the gradients of bins, which every worker then pulls.
        let traffic = if job.samples > 0 {
            let bins = side * bins_bytes * (side + workers);
            (side * job.products * trained_bytes + bins) * (workers - 1) / workers
        } else if job.products_of > 0 {
            // Each pass reads a version of one of the two tables, which nobody had before.
            let passes = job.products_of + job.products_of_edges;
            (workers - 1) * passes * rows * row_bytes / 2
        } else {
            (workers - 1) * (rows * row_bytes + maps) + partials * (workers - 1) / workers
        };
        let r = (job.rank + job.columns_beside) as f64;
        let flops = 2.0 * job.interactions as f64 * (r * r + 4.0 * r)
            + rows as f64 * (r * r * r / 3.0 + 2.0 * r * r)
            + factored.count() as f64 * job.interactions as f64 * r * r
            + sides
                .iter()
                .map(|(side, rows)| side.flops(*rows, r))
                .sum::<f64>();
        let threads = (workers * job.threads.max(1)) as f64;
        let work_seconds = if job.samples > 0 {
            let samples = (job.samples * job.interactions) as f64;
            samples * width as f64 / (threads * SAMPLE_COLUMNS_PER_S)
        } else if job.products_of > 0 {
            let named = job.products_of * job.interactions + job.products_of_edges * job.edges;
            let gathered = named * row_bytes;
            let turned = 4.0 * rows as f64 * (width * width) as f64;
            (gathered as f64 / GATHERED_BYTES_PER_S + turned / FLOPS_PER_THREAD) / threads
        } else {
            flops / (threads * FLOPS_PER_THREAD)
        };
        let epoch_seconds = work_seconds + traffic as f64 / workers as f64 / NETWORK_BYTES_PER_S;
        let read = job.interactions + job.edges + of_sides(&|side, rows| side.rows_read(rows));
        let ingest_seconds = read as f64 / (threads * INGEST_ROWS_PER_S);
        Estimate {
            user_blocks,
            product_blocks,
            data_disk: ByteSize(data),
            views_disk: ByteSize(views),
            cache_disk_per_worker: ByteSize((data + views).div_ceil(workers)),
            model_disk: ByteSize(factors + maps),
            shelf_per_worker: ByteSize(shelf),
            phases: phases
                .into_iter()
                .map(|(name, smallest, whole)| Phase {
                    name: name.to_owned(),
                    smallest: ByteSize(smallest),
                    whole: ByteSize(whole),
                    in_pieces: whole > room,
                })
                .collect(),
            memory_smallest: ByteSize(memory_smallest),
            memory_whole: ByteSize(memory_whole),
            fits: job.memory.0 >= memory_smallest,
            traffic_per_epoch: ByteSize(traffic),
            ingest_seconds,
            epoch_seconds,
            total_seconds: ingest_seconds + job.epochs as f64 * epoch_seconds,
            assumptions: vec![
                format!(
                    "{:.0} GFLOP/s a thread for exact solves",
                    FLOPS_PER_THREAD / 1e9
                ),
                format!("{:.1} GB/s into each worker", NETWORK_BYTES_PER_S / 1e9),
                format!(
                    "{:.1} M rows/s a thread for ingest",
                    INGEST_ROWS_PER_S / 1e6
                ),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Workload {
        Workload {
            users: 200_000,
            products: 50_000,
            interactions: 20_000_000,
            bins: 0,
            tensor: false,
            contexts: 0,
            factors_context: false,
            values: true,
            samples: 0,
            products_of: 0,
            arranges: false,
            edges: 0,
            products_of_edges: 0,
            kept_tables: 0,
            rank: 64,
            columns_beside: 0,
            user_attributes: Attributes::default(),
            product_attributes: Attributes::default(),
            epochs: 15,
            workers: 2,
            threads: 1,
            memory: ByteSize(2 << 30),
        }
    }

    #[test]
    fn the_measured_workload_is_met_within_a_factor() {
        let plan = Estimate::of(&job());
        assert_eq!((plan.user_blocks, plan.product_blocks), (64, 64));
        assert_eq!(plan.model_disk, ByteSize(250_000 * 64 * 4));
        assert_eq!(plan.traffic_per_epoch, plan.model_disk);
        // 1.9 s were measured for the prototype on two threads.
        assert!(
            (1.0..4.0).contains(&plan.epoch_seconds),
            "{}",
            plan.epoch_seconds
        );
        assert!(plan.fits && plan.phases.iter().all(|phase| !phase.in_pieces));
    }

    #[test]
    fn less_memory_means_pieces_and_then_refusal() {
        let tight = Workload {
            users: 40_000_000,
            memory: ByteSize(1 << 30),
            ..job()
        };
        let plan = Estimate::of(&tight);
        assert!(plan.phases.iter().any(|phase| phase.in_pieces));
        assert!(plan.memory_smallest < plan.memory_whole);
        assert!(
            !Estimate::of(&Workload {
                memory: ByteSize(100 << 20),
                ..job()
            })
            .fits
        );
        assert!(
            Estimate::of(&Workload {
                memory: plan.memory_smallest,
                ..tight
            })
            .fits
        );
    }

    #[test]
    fn descent_needs_both_blocks_of_a_tile_and_moves_products() {
        let plan = Estimate::of(&Workload {
            samples: 5,
            ..job()
        });
        // 17 super-blocks a side; rows of 80 floats.
        let tile = plan
            .phases
            .iter()
            .find(|phase| phase.name == "tile")
            .unwrap();
        assert_eq!(tile.whole.0, 2 * 250_000_u64.div_ceil(17) * 320 + (8 << 20));
        assert_eq!(plan.traffic_per_epoch, ByteSize(17 * 50_000 * 320 / 2));
        assert!(plan.fits && plan.epoch_seconds > 0.0);
        // Bins in training stand beside a tile's blocks, and move with the gradients of each.
        let tensor = Estimate::of(&Workload {
            samples: 1,
            bins: 52,
            tensor: true,
            ..job()
        });
        let phase = |name: &str| {
            let found = tensor.phases.iter().find(|phase| phase.name == name);
            found.map(|phase| phase.whole.0)
        };
        assert_eq!(phase("tile"), Some(tile.whole.0 + 52 * 320));
        assert_eq!(phase("time"), Some(52 * 320));
        let moved = 17 * 320 * (50_000 + 52 * (17 + 2));
        assert_eq!(tensor.traffic_per_epoch, ByteSize(moved / 2));
    }

    #[test]
    fn biases_are_columns_and_side_information_is_counted_where_it_is_used() {
        let plain = Estimate::of(&job());
        let biased = Estimate::of(&Workload {
            columns_beside: 2,
            ..job()
        });
        assert_eq!(biased.model_disk.0, plain.model_disk.0 / 64 * 80);
        let known = Attributes {
            table_rows: 50_000,
            attributes: 3,
            columns: 100,
            used: false,
            linear: false,
        };
        let stored = Estimate::of(&Workload {
            product_attributes: known,
            ..job()
        });
        assert_eq!(stored.data_disk.0, plain.data_disk.0 + 50_000 * 3 * 4);
        assert!(stored.ingest_seconds > plain.ingest_seconds);
        assert_eq!(
            (stored.model_disk, stored.epoch_seconds.to_bits()),
            (plain.model_disk, plain.epoch_seconds.to_bits())
        );
        let used = Estimate::of(&Workload {
            product_attributes: Attributes {
                used: true,
                ..known
            },
            ..job()
        });
        assert_eq!(used.model_disk.0, plain.model_disk.0 + 100 * 64 * 4);
        // A Gram of 4 x 5 blocks of 16 x 16 halved an attribute, a row a column, from each of 64 blocks; half of it moves.
        let partial = 8 * (3 * (64 * 80 / 2 + 2) + 100 * 64);
        let moved = 64 * partial / 2 + 100 * 64 * 4;
        assert_eq!(used.traffic_per_epoch.0, plain.traffic_per_epoch.0 + moved);
        let phase = |plan: &Estimate, name: &str| {
            let found = plan.phases.iter().find(|phase| phase.name == name);
            found.map(|phase| phase.smallest.0)
        };
        assert!(phase(&used, "half-step") > phase(&plain, "half-step"));
        assert_eq!(phase(&plain, "maps"), None);
        assert!(phase(&used, "maps") > Some(partial));
        assert!(used.epoch_seconds > plain.epoch_seconds);
        let linear = Estimate::of(&Workload {
            product_attributes: Attributes {
                linear: true,
                ..known
            },
            ..job()
        });
        assert_eq!(linear.model_disk.0, plain.model_disk.0 + 100 * 64);
        let moved = 64 * 8 * (100 * 101 / 2 + 100 + 3) / 2 + 100 * 64;
        assert_eq!(
            linear.traffic_per_epoch.0,
            plain.traffic_per_epoch.0 + moved
        );
        assert!(phase(&linear, "maps").is_some());
    }

    #[test]
    fn edges_take_disk_and_passes_over_them_time() {
        let graph = Workload {
            products_of: 8,
            ..job()
        };
        let plain = Estimate::of(&graph);
        let stored = Workload {
            edges: 1_000_000,
            ..graph
        };
        let linked = Estimate::of(&stored);
        assert_eq!(linked.data_disk.0, plain.data_disk.0 + 8_000_000);
        assert!(linked.ingest_seconds > plain.ingest_seconds);
        assert_eq!(
            linked.epoch_seconds.to_bits(),
            plain.epoch_seconds.to_bits()
        );
        let used = Estimate::of(&Workload {
            products_of_edges: 8,
            ..stored
        });
        assert!(used.epoch_seconds > plain.epoch_seconds);
    }

    #[test]
    fn each_pass_of_a_graph_model_moves_a_table() {
        let passes = |products_of| {
            Estimate::of(&Workload {
                products_of,
                workers: 3,
                ..job()
            })
            .traffic_per_epoch
            .0
        };
        let factored = Estimate::of(&Workload {
            workers: 3,
            ..job()
        });
        assert_eq!(passes(2), factored.traffic_per_epoch.0);
        assert_eq!(passes(10), 5 * passes(2));
    }

    #[test]
    fn one_worker_pulls_nothing() {
        assert_eq!(
            Estimate::of(&Workload {
                workers: 1,
                ..job()
            })
            .traffic_per_epoch,
            ByteSize(0)
        );
    }
}
