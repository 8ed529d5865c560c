//! Blockwise SGD end to end in one process: bit for bit the sequential course that the method describes, whatever must not
//! matter; and what ends a run.

use kernels::losses;
use kernels::random::{Random, ln};
use kernels::sgd::{
    BIAS, Bins, COUNT, Pair, Point, Rule, Tables, Whole, column_sums, pairs, points,
    points_in_bins, pull, row_len,
};
use kernels::{Simd, width_of};
use model::sgd::bins::move_bins;
use model::sgd::noise::{draw, table, weight};
use model::sgd::schedule::Latin;
use model::sgd::{BinsOp, Loss, Noise, Optimizer, Settings, Sgd, start_of};
use std::collections::BTreeMap;
use store::IoMode;
use tensor::{
    BlockId, Checkpoint, Grid, Mode, News, Program, ProgramError, Reduced, StepId, SuperBlocks,
    Turn,
};
use tests::ingested::Row;
use tests::inline::InlineError;
use tests::tiled::{Bed, bed, bed_in_bins};

const LOSSES: [Loss; 6] = [
    Loss::Squared,
    Loss::Logistic,
    Loss::Line,
    Loss::BernoulliPoisson,
    Loss::Poisson,
    Loss::Bpr,
];

fn some_rows(count: u64) -> Vec<Row> {
    tests::ingested::some_rows(count, 5)
}

fn settings(loss: Loss) -> Settings {
    Settings {
        rank: 5,
        epochs: 3,
        loss,
        seed: 9,
        biases: matches!(loss, Loss::Squared | Loss::Logistic | Loss::Bpr),
        ..Settings::default()
    }
}

/// A matrix with each loss, and a tensor.
fn beds(rows: &[Row], mode: IoMode) -> [(Bed, Vec<Settings>); 2] {
    let tensor = Settings {
        time: true,
        ..settings(Loss::Squared)
    };
    [
        (bed(rows, mode), LOSSES.map(settings).to_vec()),
        (bed_in_bins(rows, mode), vec![tensor]),
    ]
}

/// The tables of a model, as bytes, and the objectives. A matrix has no times.
#[derive(Clone, Debug, PartialEq)]
struct Trained {
    users: Vec<u8>,
    products: Vec<u8>,
    times: Vec<u8>,
    objectives: Vec<f64>,
}

fn result(bed: &Bed, program: &Sgd) -> Trained {
    let tables = program.tables();
    let bytes = |at: usize| {
        let table = tables.get(at);
        table.map_or_else(Vec::new, |table| bed.found.world.bytes_of(table.keys()))
    };
    let objectives = bed.found.world.news.iter().map(|news| {
        let News::Epoch { objective, .. } = news;
        objective.unwrap()
    });
    Trained {
        users: bytes(0),
        products: bytes(1),
        times: bytes(2),
        objectives: objectives.collect(),
    }
}

fn train(bed: &mut Bed, settings: &Settings) -> Result<Trained, InlineError> {
    let mut program = Sgd::new(settings.clone(), bed.input.clone()).unwrap();
    bed.found.world.news.clear();
    bed.found.world.objects.clear();
    bed.found.world.run(&mut program, &exec::begin)?;
    Ok(result(bed, &program))
}

/// One mode of the sequential course: all rows, super-block after super-block.
#[derive(Clone)]
struct Side {
    grid: Grid,
    joined: SuperBlocks,
    /// The first row of each super-block.
    starts: Vec<u32>,
    rows: Vec<f32>,
}

impl Side {
    fn new(grid: &Grid, side: u32, counts: &BTreeMap<u32, u64>, mode: Mode, job: &Job<'_>) -> Self {
        let joined = SuperBlocks::new(grid, side);
        let starts = (0..side)
            .map(|one| (0..one).map(|before| joined.rows(before)).sum())
            .collect();
        let settings = job.settings;
        let width = settings.width();
        let mut rows = Vec::new();
        for id in grid.block_ids().flat_map(|block| grid.row_ids(block)) {
            let mut row = vec![0.0; row_len(width)];
            let count = counts.get(&id).copied().unwrap_or(0);
            row[width + COUNT] = count as f32;
            let factors = &mut row[..settings.rank as usize];
            let random = Random::new(
                settings.seed,
                0x200 + u32::from(mode == Mode::Product),
                0,
                id,
            );
            if count > 0 && settings.loss.covers_all_cells() {
                for (x, at) in factors.iter_mut().zip(0..) {
                    *x = job.scale * (0.5 + random.uniform(at));
                }
            } else if count > 0 {
                random.fill_normal(factors);
                for x in factors {
                    *x *= job.scale;
                }
            }
            rows.extend(row);
        }
        Side {
            grid: grid.clone(),
            joined,
            starts,
            rows,
        }
    }

    fn of(&self, id: u32) -> (u32, u32) {
        self.joined.split(id).unwrap()
    }

    fn published(&self, mode: Mode, settings: &Settings, noise: f64) -> Vec<u8> {
        let (rank, width) = (settings.rank as usize, settings.width());
        let columns = settings.columns() as usize;
        let mut bytes = Vec::new();
        for row in self.rows.chunks_exact(row_len(width)) {
            let count = row[width + COUNT];
            let mut out = vec![0.0_f32; width_of(columns)];
            if count > 0.0 {
                out[..rank].copy_from_slice(&row[..rank]);
                let mut more = Vec::new();
                if settings.biases {
                    let one_and = [row[width + BIAS], 1.0];
                    more.extend(one_and);
                    match mode {
                        Mode::Product => more.reverse(),
                        Mode::Time => more.fill(1.0),
                        _ => {}
                    }
                } else if settings.loss == Loss::Line {
                    let share = ln(weight(f64::from(count), settings.noise_power())) - ln(noise);
                    more.push(if mode == Mode::User {
                        1.0
                    } else {
                        share as f32
                    });
                }
                out[rank..columns].copy_from_slice(&more);
            }
            bytes.extend(out.iter().flat_map(|x| x.to_le_bytes()));
        }
        bytes
    }
}

struct Job<'a> {
    settings: &'a Settings,
    scale: f32,
}

/// The method in one loop over epochs, strata, tiles, users and samples, on two tables.
fn sequential(bed: &Bed, settings: &Settings) -> Trained {
    let (width, side) = (settings.width(), bed.input.side);
    let cells = bed.found.rows(&bed.input.train);
    let mut counts = [BTreeMap::new(), BTreeMap::new()];
    let mut times = vec![vec![0.0; bed.input.bins as usize * row_len(width)]];
    for bin in times[0].chunks_exact_mut(row_len(width)) {
        bin[..settings.rank as usize].fill(1.0);
    }
    for &(user, product, _) in cells.keys() {
        *counts[0].entry(user).or_insert(0) += 1;
        *counts[1].entry(product).or_insert(0) += 1;
    }
    let grids = [&bed.input.user, &bed.input.product];
    let all = grids[0].rows_total() as f64 * grids[1].rows_total() as f64;
    let rank = f64::from(settings.rank);
    let scale = if settings.loss.covers_all_cells() {
        (cells.len() as f64 / all / rank).sqrt()
    } else {
        1.0 / rank.sqrt()
    };
    let job = Job {
        settings,
        scale: (settings.init_scale * scale) as f32,
    };
    let mut users = Side::new(grids[0], side, &counts[0], Mode::User, &job);
    let mut products = Side::new(grids[1], side, &counts[1], Mode::Product, &job);
    let (offset, start) = if settings.fits_values() {
        // Sums by super-blocks, these by the tree.
        let mut sums = [vec![0.0; side as usize], vec![0.0; side as usize]];
        for (&(user, _, _), value) in &cells {
            let one = users.of(user).0 as usize;
            sums[0][one] += f64::from(*value);
            sums[1][one] += f64::from(*value) * f64::from(*value);
        }
        let [mean, squares] = sums.map(|sums| model::reduce::tree_sum(&sums) / cells.len() as f64);
        (mean as f32, start_of(squares - mean * mean))
    } else {
        (0.0, 1e-20)
    };
    // Noise by super-block.
    let mut noise: Vec<(Vec<Noise>, f64)> = Vec::new();
    for one in 0..side {
        let (start, rows) = (products.starts[one as usize], products.joined.rows(one));
        let weights: Vec<f64> = (start..start + rows)
            .map(|row| f64::from(products.rows[row as usize * row_len(width) + width + COUNT]))
            .map(|count| weight(count, settings.noise_power()))
            .collect();
        noise.push((table(&weights), weights.iter().sum()));
    }
    let total: f64 = noise.iter().map(|(_, weight)| weight).sum();
    let mut tiles: BTreeMap<(u32, u32), Had> = BTreeMap::new();
    for (&(user, product, bin), &value) in &cells {
        let ((a, row), (b, column)) = (users.of(user), products.of(product));
        let tile = tiles.entry((a, b)).or_default();
        tile.entry(row).or_default().push((column, bin, value));
    }
    let empty = BTreeMap::new();
    let mut objectives = Vec::new();
    for epoch in 1..=settings.epochs {
        let latin = Latin::new(settings.seed, epoch, side);
        let mut strata = Vec::new();
        for stratum in 0..side {
            let mut losses = Vec::new();
            // Bins as the tiles of the stratum before the last left them.
            let bins = times[times.len().saturating_sub(2)].clone();
            let mut gradients = vec![vec![0.0; bins.len()]; side as usize];
            for a in 0..side {
                let b = latin.product(stratum, a);
                let range = |side: &Side, one: u32| {
                    let start = side.starts[one as usize] as usize * row_len(width);
                    start..start + side.joined.rows(one) as usize * row_len(width)
                };
                let (at, to) = (range(&users, a), range(&products, b));
                losses.push(tile_loss(
                    settings,
                    (epoch, a * side + b, offset, start),
                    tiles.get(&(a, b)).unwrap_or(&empty),
                    (&noise[b as usize].0, noise[b as usize].1 / total),
                    &mut users.rows[at],
                    &mut products.rows[to],
                    (&bins, &mut gradients[a as usize]),
                ));
            }
            let op = BinsOp {
                bins: bed.input.bins,
                rank: settings.rank,
                rate: settings.rate_of(epoch),
                adagrad: settings.optimizer == Optimizer::Adagrad,
                regularization: settings.regularization as f32,
            };
            let gradients: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
            let mut moved = times.last().unwrap().clone();
            move_bins(&op, &gradients, &mut moved);
            times.push(moved);
            strata.push(model::reduce::tree_sum(&losses));
        }
        objectives.push(model::reduce::tree_sum(&strata));
    }
    assert_eq!(users.grid, bed.input.user);
    let bins = Side {
        rows: times.pop().unwrap(),
        ..users.clone()
    };
    Trained {
        users: users.published(Mode::User, settings, total),
        products: products.published(Mode::Product, settings, total),
        times: bins.published(Mode::Time, settings, total),
        objectives,
    }
}

/// Products, bins and values of the users of a tile who have any.
type Had = BTreeMap<u32, Vec<(u32, u32, f32)>>;

/// Four quarters of a batch side by side, read across.
fn in_four_streams<T: Copy>(samples: &[T]) -> Vec<T> {
    let quarters: Vec<&[T]> = samples.chunks(samples.len().div_ceil(4).max(1)).collect();
    let across = (0..quarters.first().map_or(0, |quarter| quarter.len())).flat_map(|place| {
        quarters
            .iter()
            .filter_map(move |quarter| quarter.get(place))
    });
    across.copied().collect()
}

/// All samples of a tile, one call of a kernel each.
fn tile_loss(
    settings: &Settings,
    (epoch, tile, offset, start): (u32, u32, f32, f32),
    had: &Had,
    (noise, share): (&[Noise], f64),
    users: &mut [f32],
    products: &mut [f32],
    (times, gradients): (&[f32], &mut [f32]),
) -> f64 {
    let width = settings.width();
    let rule = Rule {
        rank: settings.rank,
        rate: settings.rate_of(epoch),
        adagrad: settings.optimizer == Optimizer::Adagrad,
        start,
        regularization: settings.regularization as f32,
        biases: settings.biases,
        nonnegative: settings.loss.covers_all_cells(),
    };
    let simd = Simd::PORTABLE;
    let mut losses = 0.0;
    let mut sums = [vec![0.0; width], vec![0.0; width]];
    let mut shares = [users.len(), products.len()].map(|len| vec![0.0_f32; len / row_len(width)]);
    if settings.loss.covers_all_cells() {
        column_sums(simd, users, &mut sums[0]);
        column_sums(simd, products, &mut sums[1]);
        losses += sums[0]
            .iter()
            .zip(&sums[1])
            .map(|(a, b)| a * b)
            .sum::<f64>();
        for (&user, row) in had {
            shares[0][user as usize] = 1.0 / row.len() as f32;
            for (product, ..) in row {
                shares[1][*product as usize] += 1.0;
            }
        }
        shares[1]
            .iter_mut()
            .filter(|share| **share > 0.0)
            .for_each(|share| *share = 1.0 / *share);
    }
    let singles = sums.map(|sums| sums.iter().map(|&x| x as f32).collect::<Vec<f32>>());
    let whole = settings.loss.covers_all_cells().then_some(Whole {
        users: &singles[0],
        products: &singles[1],
        user_shares: &shares[0],
        product_shares: &shares[1],
    });
    let kernel = match settings.loss {
        Loss::Squared => losses::Loss::Squared,
        Loss::BernoulliPoisson => losses::Loss::BernoulliPoisson,
        Loss::Poisson => losses::Loss::Poisson,
        Loss::Logistic | Loss::Line | Loss::Bpr => losses::Loss::Logistic,
    };
    // The losses of a batch are added before those of batches: in this test a tile is one batch.
    let (mut all_points, mut all_bins, mut all_pairs) = (Vec::new(), Vec::new(), Vec::new());
    for user in 0..(users.len() / row_len(width)) as u32 {
        let none = Vec::new();
        let row = had.get(&user).unwrap_or(&none);
        let random = Random::new(settings.seed, 0x1_0000 + tile, epoch, user);
        let mut next = 2;
        let mut negative = || {
            for _ in 0..8 {
                let product = draw(noise, random.word_64(next));
                next += 1;
                if settings.loss == Loss::Line || row.iter().all(|(had, ..)| *had != product) {
                    return Some(product);
                }
            }
            None
        };
        if settings.loss == Loss::Bpr {
            for &(product, ..) in row {
                for _ in 0..settings.negatives() {
                    let Some(rival) = negative() else { continue };
                    all_pairs.push(Pair {
                        user,
                        product,
                        rival,
                    });
                }
            }
            continue;
        }
        let count = f64::from(users[user as usize * row_len(width) + width + COUNT]);
        let expected = f64::from(settings.negatives()) * count * share;
        let negatives = if settings.negatives() == 0 {
            0
        } else {
            (expected + random.uniform_f64(0)) as usize
        };
        let steps = row.len().max(1);
        let mut sample = |product: u32, bin: u32, target: f32| {
            all_points.push(Point {
                user,
                product,
                target,
            });
            all_bins.push(bin);
        };
        for place in 0..steps {
            if let Some(&(product, bin, value)) = row.get(place) {
                let by_value = matches!(settings.loss, Loss::Squared | Loss::Poisson);
                sample(product, bin, if by_value { value } else { 1.0 });
            }
            for _ in place * negatives / steps..(place + 1) * negatives / steps {
                if let Some(product) = negative() {
                    sample(product, 0, 0.0);
                }
            }
        }
    }
    let mut batch = 0.0;
    let all_bins = in_four_streams(&all_bins);
    for (point, bin) in in_four_streams(&all_points).into_iter().zip(all_bins) {
        let tables = Tables {
            users,
            products,
            width,
        };
        batch += if settings.time {
            gradients[bin as usize * row_len(width) + width + COUNT] += 1.0;
            let bins = Bins {
                of: &[bin],
                rows: times,
                gradients,
            };
            points_in_bins(simd, kernel, &rule, offset, &[point], tables, bins)
        } else {
            points(simd, kernel, &rule, offset, whole, &[point], tables)
        };
    }
    for pair in in_four_streams(&all_pairs) {
        let tables = Tables {
            users,
            products,
            width,
        };
        batch += pairs(simd, &rule, &[pair], tables);
    }
    if let Some(whole) = whole {
        let without = |shares: &[f32]| -> Vec<u32> {
            (0..)
                .zip(shares)
                .filter(|(_, share)| **share == 0.0)
                .map(|(row, _)| row)
                .collect()
        };
        pull(
            simd,
            &rule,
            whole.products,
            &without(whole.user_shares),
            users,
        );
        pull(
            simd,
            &rule,
            whole.users,
            &without(whole.product_shares),
            products,
        );
    }
    losses + batch
}

#[test]
fn training_is_the_sequential_course_to_the_bit() {
    for (mut bed, all) in beds(&some_rows(6000), IoMode::Mmap) {
        for settings in all {
            for optimizer in [Optimizer::Adagrad, Optimizer::Sgd] {
                let (loss, time) = (settings.loss, settings.time);
                let settings = Settings {
                    optimizer,
                    rate: match optimizer {
                        Optimizer::Adagrad => 0.1,
                        // Slopes of these losses reach 1 / score.
                        Optimizer::Sgd if loss.covers_all_cells() => 1e-5,
                        Optimizer::Sgd => 1e-3,
                    },
                    decay: 0.9,
                    ..settings.clone()
                };
                let found = train(&mut bed, &settings).unwrap();
                let expected = sequential(&bed, &settings);
                let course = format!("{loss:?} {optimizer:?} {time}");
                assert!(found.users == expected.users, "{course}: users");
                assert!(found.products == expected.products, "{course}: products");
                assert!(found.times == expected.times, "{course}: times");
                assert_eq!(found.times.is_empty(), !time, "{course}");
                for (found, expected) in found.objectives.iter().zip(&expected.objectives) {
                    assert!(
                        (found - expected).abs() <= 1e-9 * expected.abs(),
                        "{course}: {found}, not {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn neither_budget_nor_order_nor_instructions_nor_io_change_a_bit() {
    let rows = some_rows(20_000);
    let others = beds(&rows, IoMode::Pread);
    for ((mut reference, all), (mut other, _)) in beds(&rows, IoMode::Mmap).into_iter().zip(others)
    {
        other.found.world.backwards = true;
        for settings in all {
            let (loss, time) = (settings.loss, settings.time);
            let before = reference.found.world.pieces;
            let expected = train(&mut reference, &settings).unwrap();
            let pieces = reference.found.world.pieces - before;
            for simd in Simd::available() {
                let room = &mut other.found.world.room;
                (room.simd, room.budget_bytes) = (simd, 50_000);
                // The smallest budget that does.
                let found = loop {
                    let before = other.found.world.pieces;
                    match train(&mut other, &settings) {
                        Ok(found) => {
                            let pieces_now = other.found.world.pieces - before;
                            assert!(pieces_now > pieces, "{loss:?}: {pieces_now} pieces");
                            break found;
                        }
                        Err(InlineError::Task(plan::Failure::Budget { enough, .. })) => {
                            other.found.world.room.budget_bytes = enough.0;
                        }
                        Err(error) => panic!("{error}"),
                    }
                };
                assert!(found == expected, "{loss:?} {time} {simd}");
            }
        }
    }
}

/// A program that ends at an epoch, and what it would go on from.
struct Interrupted {
    inner: Sgd,
    checkpoint: Option<Checkpoint>,
}

impl Interrupted {
    fn look(&mut self, turn: Turn) -> Turn {
        match &turn.checkpoint {
            Some(checkpoint) if checkpoint.epoch == 2 => {
                self.checkpoint = turn.checkpoint;
                Turn {
                    finished: true,
                    ..Turn::default()
                }
            }
            _ => turn,
        }
    }
}

impl Program for Interrupted {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let turn = self.inner.start()?;
        Ok(self.look(turn))
    }
    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let turn = self.inner.completed(step, reduced)?;
        Ok(self.look(turn))
    }
    fn encode(&self) -> Vec<u8> {
        self.inner.encode()
    }
    fn restore(&mut self, state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.inner.restore(state)
    }
}

#[test]
fn a_run_goes_on_from_a_checkpoint_as_if_nothing_had_been() {
    for (mut bed, all) in beds(&some_rows(6000), IoMode::Mmap) {
        for settings in all {
            goes_on(&mut bed, &settings);
        }
    }
}

fn goes_on(bed: &mut Bed, settings: &Settings) {
    let expected = train(bed, settings).unwrap();
    bed.found.world.objects.clear();
    let inner = Sgd::new(settings.clone(), bed.input.clone()).unwrap();
    let mut program = Interrupted {
        inner,
        checkpoint: None,
    };
    bed.found.world.run(&mut program, &exec::begin).unwrap();
    let checkpoint = program.checkpoint.unwrap();
    let kept: Vec<_> = checkpoint
        .objects
        .iter()
        .flat_map(|range| range.keys())
        .collect();
    bed.found.world.objects.retain(|key, _| kept.contains(key));
    assert_eq!(bed.found.world.objects.len(), kept.len());
    bed.found.world.news.clear();
    let mut program = Sgd::new(settings.clone(), bed.input.clone()).unwrap();
    program.restore(Some(&checkpoint.state)).unwrap();
    bed.found.world.run(&mut program, &exec::begin).unwrap();
    let found = result(bed, &program);
    assert!(found.users == expected.users && found.products == expected.products);
    assert!(found.times == expected.times);
    assert_eq!(found.objectives, expected.objectives[2..]);
}

#[test]
fn versions_that_nobody_reads_any_more_are_freed() {
    let rows = some_rows(3000);
    let mut matrix = bed(&rows, IoMode::Mmap);
    train(&mut matrix, &settings(Loss::Bpr)).unwrap();
    let side = matrix.input.side;
    let joined = SuperBlocks::new(&matrix.input.user, side);
    assert_eq!(joined.place(BlockId(0)), (0, 0));
    let blocks = matrix.input.user.blocks() + matrix.input.product.blocks();
    // The model, the last version of either table in training, and the noise.
    let left = |bed: &Bed| bed.found.world.objects.len() as u32;
    assert_eq!(left(&matrix), blocks + 3 * side);
    let mut tensor = bed_in_bins(&rows, IoMode::Mmap);
    let settings = Settings {
        time: true,
        ..settings(Loss::Squared)
    };
    train(&mut tensor, &settings).unwrap();
    // The model's bins, and of those in training the version that a next stratum would read and the one behind it.
    assert_eq!(left(&tensor), blocks + 2 * side + 1 + 2);
}

#[test]
fn what_a_loss_has_no_meaning_for_ends_the_run_by_name() {
    let mut rows = some_rows(3000);
    for row in &mut rows {
        row.value = 1.0;
    }
    (rows[7].user, rows[7].product, rows[7].value) = (99_999, 88_888, -3.0);
    let mut bed = bed(&rows, IoMode::Mmap);
    train(&mut bed, &settings(Loss::Logistic)).unwrap();
    let Err(InlineError::Program(error)) = train(&mut bed, &settings(Loss::Poisson)) else {
        panic!("it was trained");
    };
    assert!(
        error
            .sentence
            .contains("has the value -3, for which loss = \"poisson\" has no meaning"),
        "{error}"
    );
}

#[test]
fn a_rate_that_diverges_ends_the_run_in_a_sentence() {
    let mut bed = bed(&some_rows(3000), IoMode::Mmap);
    let settings = Settings {
        optimizer: Optimizer::Sgd,
        rate: 1e9,
        ..settings(Loss::Squared)
    };
    let Err(InlineError::Program(error)) = train(&mut bed, &settings) else {
        panic!("it was trained");
    };
    assert!(
        error.sentence.contains("lower `rate` (now 1000000000)"),
        "{error}"
    );
}
