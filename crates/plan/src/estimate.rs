//! Memory, disk, traffic and time of a job before anything runs.
//!
//! **Invariant:** pure arithmetic on counts; every assumption is a named constant and is handed out with
//! the figures. Figures are upper bounds, but for time, which is a guess, and for the memory that is expected ([`Expected`]).

mod attributes;
mod expected;
#[cfg(test)]
mod tests;

pub use attributes::Attributes;
pub use expected::Expected;

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
/// What a user of the nearest products holds while counts are made: interactions of a piece, with bytes for each.
const BASKETS_BYTES: u64 = 20 << 18;
/// Counts of pairs that are made together, unless all users take more.
const COUNTS_BYTES: u64 = 128 << 20;
/// A product that is near another, with how near.
const NEAR_BYTES: u64 = 8;
/// What an ingest keeps for a row, at most, in case that it is broken off: its record in the runs (measured with times: 22), and a value.
const KEPT_ROW_BYTES: u64 = 24;
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
    /// Tables that a pass through a graph model makes and needs again on its way back.
    pub made_tables: u64,
    /// Whether unobserved cells count, so that the Gram of each table is added up over all workers.
    pub gram: bool,
    /// Of each product, so many others that lists and evaluation score by; 0 where they do not.
    pub nearest: u64,
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
    /// Bytes per second that each can receive,
    pub network: ByteSize,
    /// and that each can read from its disk.
    pub disk: ByteSize,
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
    /// The state of training beside them, from which it goes on after a fall; twice that while one follows the other.
    pub checkpoint_disk: ByteSize,
    /// The most that the data set takes while it is ingested, with what is kept in case that this is broken off.
    pub ingest_disk: ByteSize,
    /// Factor blocks that each worker holds, the versions being written included.
    pub shelf_per_worker: ByteSize,
    /// Memory by phase.
    pub phases: Vec<Phase>,
    /// The anonymous memory that a worker's process is expected to have at the most.
    pub memory_expected: Expected,
    /// The smallest `--memory` that would do.
    pub memory_smallest: ByteSize,
    /// The smallest `--memory` with which nothing is cut in pieces or spilled.
    pub memory_whole: ByteSize,
    /// Whether the given memory suffices.
    pub fits: bool,
    /// Bytes that all workers together pull in an epoch.
    pub traffic_per_epoch: ByteSize,
    /// Bytes of interactions that each worker reads in an epoch.
    pub read_per_epoch: ByteSize,
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
        let solve_smallest = solve_smallest.min(solve_whole);
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
        if job.nearest > 0 {
            let row = 4 * job.products;
            let chosen = 2 * product_rows * job.nearest * NEAR_BYTES;
            let fixed = row + BASKETS_BYTES.min(20 * job.interactions) + chosen;
            let together = COUNTS_BYTES.max(4 * job.interactions);
            let counts = together.clamp(row, row * product_rows.max(1));
            phases.push(("nearest", fixed + row, fixed + counts));
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
            let upper = 8 * (width * (width + 16) / 2);
            let grams = u64::from(job.gram) * (user_blocks + product_blocks) * upper;
            let normals = small_rows * user_blocks * (upper + 8 * width);
            let added = partials + grams + normals;
            (workers - 1) * (rows * row_bytes + maps) + added * (workers - 1) / workers
        };
        // The view of training in both orientations; a graph model reads it once a pass.
        let passes = job.products_of.max(2);
        let read_per_epoch = (views * passes / 2).div_ceil(workers);
        let r = (job.rank + job.columns_beside) as f64;
        let flops = 2.0 * job.interactions as f64 * (r * r + 4.0 * r)
            + rows as f64 * (r * r * r / 3.0 + 2.0 * r * r)
            + factored.count() as f64 * job.interactions as f64 * r * r
            + sides
                .iter()
                .map(|(side, rows)| side.flops(*rows, r))
                .sum::<f64>();
        let all_threads = (workers * threads) as f64;
        let work_seconds = if job.samples > 0 {
            let samples = (job.samples * job.interactions) as f64;
            samples * width as f64 / (all_threads * SAMPLE_COLUMNS_PER_S)
        } else if job.products_of > 0 {
            let named = job.products_of * job.interactions + job.products_of_edges * job.edges;
            let gathered = named * row_bytes;
            let turned = 4.0 * rows as f64 * (width * width) as f64;
            (gathered as f64 / GATHERED_BYTES_PER_S + turned / FLOPS_PER_THREAD) / all_threads
        } else {
            flops / (all_threads * FLOPS_PER_THREAD)
        };
        let disk_seconds = read_per_epoch as f64 / job.disk.0.max(1) as f64;
        let moved_seconds = traffic as f64 / workers as f64 / job.network.0.max(1) as f64;
        let epoch_seconds = work_seconds.max(disk_seconds) + moved_seconds;
        let state = if job.products_of > 0 {
            job.kept_tables * factors
        } else if job.samples > 0 {
            (rows + small_rows) * trained_bytes
        } else {
            0
        };
        let normal = small_rows * 8 * (width * (width + 16) / 2 + width);
        let memory_expected = Expected::of(&expected::Parts {
            memory: job.memory.0,
            workers,
            threads,
            rows_read: job.interactions,
            tables: match job.products_of {
                0 => (2 + job.kept_tables) * factors,
                _ => (2 * job.kept_tables + job.made_tables).max(2) * factors,
            },
            largest_table: job.users.max(job.products) * row_bytes,
            block,
            normals: if job.samples > 0 {
                0
            } else {
                normal * user_blocks
            },
            arranged,
            task: if job.samples > 0 {
                tile - (8 << 20)
            } else if job.products_of > 0 {
                train.2
            } else {
                threads * (4 * square + PANEL_BYTES) + beside[0].max(beside[1])
            },
        });
        let read = job.interactions + job.edges + of_sides(&|side, rows| side.rows_read(rows));
        let ingest_seconds = read as f64 / (all_threads * INGEST_ROWS_PER_S);
        Estimate {
            user_blocks,
            product_blocks,
            data_disk: ByteSize(data),
            views_disk: ByteSize(views),
            cache_disk_per_worker: ByteSize((data + views).div_ceil(workers)),
            model_disk: ByteSize(factors + maps),
            checkpoint_disk: ByteSize(state),
            ingest_disk: ByteSize(
                data + job.interactions * (KEPT_ROW_BYTES + 4 * u64::from(job.values)),
            ),
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
            memory_expected,
            memory_smallest: ByteSize(memory_smallest),
            memory_whole: ByteSize(memory_whole),
            fits: job.memory.0 >= memory_smallest,
            traffic_per_epoch: ByteSize(traffic),
            read_per_epoch: ByteSize(read_per_epoch),
            ingest_seconds,
            epoch_seconds,
            total_seconds: ingest_seconds + job.epochs as f64 * epoch_seconds,
            assumptions: vec![
                format!(
                    "{:.0} GFLOP/s a thread for exact solves",
                    FLOPS_PER_THREAD / 1e9
                ),
                format!(
                    "{:.2} GB/s into each worker, {:.2} GB/s from its disk (`plan.network`, `plan.disk`)",
                    job.network.0 as f64 / 1e9,
                    job.disk.0 as f64 / 1e9
                ),
                format!(
                    "{} for a process before it reads anything, in the memory that is expected",
                    ByteSize(expected::PROCESS_BYTES)
                ),
                format!(
                    "{:.1} M rows/s a thread for ingest",
                    INGEST_ROWS_PER_S / 1e6
                ),
            ],
        }
    }
}
