//! Training end to end in one process: identity over everything that must not matter, the objective against its
//! definition over all cells, and what ends a run.

use kernels::Simd;
use kernels::random::Random;
use model::DigestFeed;
use model::als::{Als, Biases, Input, Preset, Scaling, Settings, Solver, TimeUse};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::partition::PartitionWriter;
use store::{Cache, IoMode, Sealed};
use tensor::{
    BlockId, Checkpoint, Decay, Grid, Mode, News, PartitionRef, Partitions, Program, ProgramError,
    Reduced, Small, StepId, Turn,
};
use tests::inline::{InlineError, World};

/// Interactions by rank of user and product.
struct Data {
    users: u32,
    products: u32,
    bins: u32,
    cells: Vec<(u32, u32, u32, f32)>,
}

impl Data {
    /// Popular products and busy users first; some users and products without interactions at the end.
    fn counts(users: u32, products: u32, bins: u32) -> Self {
        let random = Random::new(5, 5, 0, 0);
        let mut cells = Vec::new();
        for user in 0..users - 3 {
            for product in 0..products - 5 {
                for bin in 0..bins {
                    let word = random.word((user * products + product) * bins + bin);
                    let share = 2.0
                        / f64::from(bins)
                        / (1.0 + f64::from(user) / 20.0)
                        / (1.0 + f64::from(product) / 15.0);
                    if f64::from(word) < share * f64::from(u32::MAX) {
                        cells.push((user, product, bin, (1 + word % 4) as f32));
                    }
                }
            }
        }
        Data {
            users,
            products,
            bins,
            cells,
        }
    }

    fn grids(&self) -> (Grid, Grid) {
        let deal = |rows: u32| Grid::deal(u64::from(rows), self.cells.len() as u64).unwrap();
        (deal(self.users), deal(self.products))
    }

    /// The sealed partitions of one orientation.
    fn seal(
        &self,
        cache: &Cache,
        mode: Mode,
        has_time: bool,
        world: &mut Vec<Sealed>,
    ) -> Vec<PartitionRef> {
        let (users, products) = self.grids();
        let (rows, columns) = if mode == Mode::User {
            (&users, &products)
        } else {
            (&products, &users)
        };
        let mut cells: Vec<(u32, u32, u32, f32)> = self
            .cells
            .iter()
            .map(|&(user, product, bin, value)| {
                let (row, column) = if mode == Mode::User {
                    (user, product)
                } else {
                    (product, user)
                };
                (
                    rows.dealt_row(u64::from(row)),
                    columns.dealt_row(u64::from(column)),
                    bin,
                    value,
                )
            })
            .collect();
        cells.sort_unstable_by_key(|&(row, column, bin, _)| (row, column, bin));
        let mut refs = Vec::new();
        for block in rows.block_ids() {
            let has = Small {
                time: has_time,
                context: false,
            };
            let mut writer = PartitionWriter::create(cache, mode, block, has).unwrap();
            for row in rows.row_ids(block) {
                let from = cells.partition_point(|cell| cell.0 < row);
                for &(_, column, bin, value) in
                    cells[from..].iter().take_while(|cell| cell.0 == row)
                {
                    let small = Small {
                        time: bin,
                        context: 0,
                    };
                    writer.push(column, small, value).unwrap();
                }
                writer.end_row().unwrap();
            }
            let (sealed, reference) = writer.seal().unwrap();
            refs.push(reference);
            world.push(sealed);
        }
        refs
    }
}

/// What must not matter.
#[derive(Clone, Copy)]
struct Course {
    threads: usize,
    budget: u64,
    simd: Simd,
    io: IoMode,
    backwards: bool,
}

fn usual() -> Course {
    Course {
        threads: 2,
        budget: 1 << 30,
        simd: Simd::detect(),
        io: IoMode::Mmap,
        backwards: false,
    }
}

/// A world with the sealed partitions of some data.
struct Bed {
    world: World,
    input: Input,
    _directory: tempfile::TempDir,
}

fn bed(data: &Data, has_time: bool, course: Course) -> Bed {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open_unsynced(directory.path(), 1 << 30, course.io).unwrap();
    let mut files = Vec::new();
    let user_major = data.seal(&cache, Mode::User, has_time, &mut files);
    let product_major = data.seal(&cache, Mode::Product, has_time, &mut files);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(course.threads)
        .build()
        .unwrap();
    let room = exec::Room {
        budget_bytes: course.budget,
        pool: Arc::new(pool),
        simd: course.simd,
        cache: Arc::new(cache),
        desks: Arc::default(),
        buffers: Arc::default(),
    };
    let mut world = World::new(room);
    world.backwards = course.backwards;
    world.sealed = files
        .into_iter()
        .map(|file| (file.digest(), file))
        .collect();
    let (user, product) = data.grids();
    let train = Partitions {
        user_major,
        product_major,
        interactions: data.cells.len() as u64,
        netted: 0,
    };
    Bed {
        world,
        input: Input {
            user,
            product,
            small: Small {
                time: data.bins,
                context: 0,
            },
            train,
            attributes: BTreeMap::new(),
            edges: BTreeMap::new(),
            given: BTreeMap::new(),
            decay: None,
            folds: None,
        },
        _directory: directory,
    }
}

/// A finished training.
struct Trained {
    digest: blake3::Hash,
    /// Rows of each table by rank.
    tables: Vec<Vec<Vec<f32>>>,
    objectives: Vec<f64>,
    offset: f32,
    pieces: u64,
    cut_rows: u64,
}

fn train(settings: &Settings, data: &Data, course: Course) -> Result<Trained, InlineError> {
    let mut bed = bed(data, settings.time != TimeUse::Ignore, course);
    bed.input.decay = settings.half_life.map(|half_life| Decay {
        half_life,
        last_bin: data.bins - 1,
        keeps_bin: true,
    });
    let mut program = Als::new(settings.clone(), bed.input.clone()).unwrap();
    bed.world.run(&mut program, &exec::begin)?;
    Ok(trained(&bed.world, &program, data))
}

fn trained(world: &World, program: &Als, data: &Data) -> Trained {
    let mut hash = blake3::Hasher::new();
    let mut feed = DigestFeed::new(|bytes: &[u8]| {
        hash.update(bytes);
    });
    let mut tables = Vec::new();
    for table in program.tables() {
        feed.table(&table.name(), table.grid.rows_total(), table.rank);
        let width = table.width as usize;
        let mut blocks: Vec<Vec<f32>> = Vec::new();
        for key in table.keys().keys() {
            let bytes = world.bytes_of(key.into());
            let rows: Vec<f32> = bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect();
            feed.rows(&rows, table.rank, table.width);
            blocks.push(rows);
        }
        let by_rank = |rank: u64| {
            let id = if table.mode == Mode::Time {
                rank as u32
            } else {
                table.grid.dealt_row(rank)
            };
            let (block, local) = table.grid.split(id);
            blocks[block.0 as usize][local as usize * width..][..table.rank as usize].to_vec()
        };
        tables.push((0..table.grid.rows_total()).map(by_rank).collect());
    }
    drop(feed);
    assert_eq!(
        tables.len(),
        if data.bins > 0 && tables.len() == 3 {
            3
        } else {
            2
        }
    );
    let objectives = world
        .news
        .iter()
        .map(|News::Epoch { objective, .. }| objective.unwrap())
        .collect();
    Trained {
        digest: hash.finalize(),
        tables,
        objectives,
        offset: program.offset(),
        pieces: world.pieces,
        cut_rows: world.cut_rows,
    }
}

fn small(preset: Preset, time: TimeUse) -> Settings {
    let regularization = if preset == Preset::Explicit {
        0.1
    } else {
        0.02
    };
    Settings {
        rank: 6,
        epochs: 4,
        preset,
        time,
        regularization,
        nu: 0.5,
        ..Settings::default()
    }
}

const PRESETS: [Preset; 4] = [Preset::Explicit, Preset::Hu, Preset::Rendle, Preset::Full];
const SOLVERS: [Solver; 5] = [
    Solver::Auto,
    Solver::Cholesky,
    Solver::Dual,
    Solver::Cg,
    Solver::Subspace,
];

/// The objective by its definition over all cells. Rows without interactions score zero in all of theirs, and with biases,
/// where they do not, they take no part.
fn objective(settings: &Settings, data: &Data, trained: &Trained) -> f64 {
    let alpha0 = settings.alpha0();
    let ones = vec![vec![1.0; settings.columns() as usize]];
    let has_time = settings.time == TimeUse::Factor;
    let bins = if has_time { data.bins } else { 1 };
    let times = trained.tables.get(2).unwrap_or(&ones);
    let score = |user: u32, product: u32, bin: u32| -> f64 {
        let rows = trained.tables[0][user as usize]
            .iter()
            .zip(&trained.tables[1][product as usize]);
        rows.zip(&times[bin as usize])
            .map(|((&u, &v), &t)| f64::from(u) * f64::from(v) * f64::from(t))
            .sum()
    };
    let mut sum = 0.0;
    let mut counts = [
        vec![0; data.users as usize],
        vec![0; data.products as usize],
        vec![0; bins as usize],
    ];
    for &(user, product, bin, value) in &data.cells {
        let fade = settings.half_life.map_or(1.0, |half_life| {
            (-f64::from(data.bins - 1 - bin) / half_life).exp2()
        });
        let bin = if has_time { bin } else { 0 };
        [user, product, bin]
            .iter()
            .zip(&mut counts)
            .for_each(|(&row, counts)| counts[row as usize] += 1);
        let (x, y) = (score(user, product, bin), f64::from(value));
        sum += fade
            * match settings.preset {
                Preset::Explicit => (y - f64::from(trained.offset) - x).powi(2),
                Preset::Rendle => (1.0 - x).powi(2),
                // The cell was counted as a zero among all cells.
                Preset::Full => (y - x).powi(2) - x * x,
                Preset::Hu => {
                    let above = match settings.scaling {
                        Scaling::Linear => settings.alpha * y,
                        Scaling::Log => settings.alpha * (1.0 + y / settings.epsilon).ln(),
                        Scaling::Power => settings.alpha * y.powf(settings.power),
                    };
                    (alpha0 + above) * (1.0 - x).powi(2) - alpha0 * x * x
                }
            };
    }
    let known = |bin: &usize| counts[2][*bin] > 0;
    let first = (0..bins as usize).find(known).unwrap_or(0);
    let last = (0..bins as usize).rfind(known).unwrap_or(0);
    let counted = |mode: usize, row: u32| !settings.biases || counts[mode][row as usize] > 0;
    let chained = |bin: u32| (first..=last).contains(&(bin as usize));
    for user in (0..data.users).filter(|&user| alpha0 > 0.0 && counted(0, user)) {
        for product in (0..data.products).filter(|&product| counted(1, product)) {
            sum += (0..bins)
                .filter(|&bin| counted(2, bin) || (settings.time_smoothing > 0.0 && chained(bin)))
                .map(|bin| alpha0 * score(user, product, bin).powi(2))
                .sum::<f64>();
        }
    }
    let all = f64::from(data.users) * f64::from(data.products) * f64::from(bins);
    let modes = [Mode::User, Mode::Product, Mode::Time];
    for ((table, counts), mode) in trained.tables.iter().zip(&counts).zip(modes) {
        let cells = all / counts.len() as f64;
        let biases = Biases::new(settings.columns(), settings.bias_columns(), mode);
        for (row, &count) in table.iter().zip(counts) {
            let lambda =
                settings.regularization * (f64::from(count) + alpha0 * cells).powf(settings.nu);
            let solved = row.iter().enumerate().filter(|(k, _)| !biases.holds(*k));
            sum += lambda * solved.map(|(_, &x)| f64::from(x).powi(2)).sum::<f64>();
        }
    }
    // Bins before the first and behind the last one with interactions are no neighbours of anybody.
    for pair in times[first..=last].windows(2) {
        let squares = pair[0].iter().zip(&pair[1]);
        let distance = squares.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        sum += settings.time_smoothing * distance.sum::<f64>();
    }
    sum
}

#[test]
fn the_objective_is_the_sum_over_all_cells_and_falls() {
    let matrix = Data::counts(90, 150, 1);
    let tensor = Data::counts(60, 90, 4);
    let cases = PRESETS.into_iter().flat_map(|p| SOLVERS.map(|s| (p, s)));
    let cases = cases.flat_map(|(p, s)| [(p, s, false), (p, s, true)]);
    // With `full` there is one solver; what biases do to the others is in the tests of half-steps.
    for (preset, solver, biases) in cases.filter(|&(p, s, b)| {
        s == Solver::Cholesky || (p != Preset::Full && (!b || s == Solver::Cg))
    }) {
        for (time, data) in [(TimeUse::Ignore, &matrix), (TimeUse::Factor, &tensor)] {
            let settings = Settings {
                scaling: Scaling::Log,
                solver,
                biases,
                ..small(preset, time)
            };
            let trained = train(&settings, data, usual()).unwrap();
            let naive = objective(&settings, data, &trained);
            let last = *trained.objectives.last().unwrap();
            assert!(
                (last - naive).abs() <= 1e-6 * naive,
                "{preset:?} {solver:?} {biases} {time:?}: {last} is not {naive}"
            );
            assert_eq!(trained.objectives.len(), 4);
            for pair in trained.objectives.windows(2) {
                assert!(
                    pair[1] <= pair[0] * (1.0 + 1e-6),
                    "{preset:?} {solver:?} {time:?}: {:?}",
                    trained.objectives
                );
            }
            assert!(trained.objectives[3] < trained.objectives[0]);
            let columns = Biases::new(settings.columns(), settings.bias_columns(), Mode::Product);
            for row in trained.tables[1].iter().rev().take(5) {
                let held = |k: usize| f32::from(u8::from(columns.holds(k)));
                assert!(
                    (0..row.len()).all(|k| row[k].to_bits() == held(k).to_bits()),
                    "products without interactions are exactly zero"
                );
            }
        }
    }
}

#[test]
fn smooth_time_is_in_the_objective_which_still_falls() {
    // Bins 1 and 4 have interactions, those around and between them none.
    let mut data = Data::counts(60, 90, 2);
    data.bins = 7;
    for cell in &mut data.cells {
        cell.2 = if cell.2 == 0 { 1 } else { 4 };
    }
    let biased = [(Preset::Explicit, true), (Preset::Hu, true)];
    for (preset, biases) in PRESETS
        .map(|preset| (preset, false))
        .into_iter()
        .chain(biased)
    {
        for time_smoothing in [0.0, 0.1, 30.0, 1e9] {
            let settings = Settings {
                time_smoothing,
                biases,
                epochs: 6,
                ..small(preset, TimeUse::Factor)
            };
            let trained = train(&settings, &data, usual()).unwrap();
            let naive = objective(&settings, &data, &trained);
            let last = *trained.objectives.last().unwrap();
            assert!(
                (last - naive).abs() <= 1e-6 * naive,
                "{preset:?} {time_smoothing}: {last} is not {naive}"
            );
            for pair in trained.objectives.windows(2) {
                assert!(
                    pair[1] <= pair[0] * (1.0 + 1e-6),
                    "{preset:?} {time_smoothing}: {:?}",
                    trained.objectives
                );
            }
            let times = &trained.tables[2];
            let held = if biases { &[6, 7][..] } else { &[] };
            let is_zero = |bin: usize| {
                let mut solved = (0..times[bin].len()).filter(|column| !held.contains(column));
                solved.all(|column| times[bin][column].to_bits() == 0)
            };
            assert!(
                held.iter()
                    .all(|&column| times.iter().all(|t| t[column] == 1.0))
            );
            assert!(is_zero(0) && is_zero(5) && is_zero(6));
            assert_eq!(is_zero(2) && is_zero(3), time_smoothing == 0.0);
            if time_smoothing == 1e9 {
                let flat = times[1].iter().zip(&times[4]);
                // Biases near zero meet sums of some thousands, over the smoothing.
                let slack = if biases { 1e-5 } else { 0.0 };
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * a.abs() + slack;
                assert!(flat.clone().all(near));
            }
        }
    }
}

#[test]
fn weights_fade_by_the_bin_beside_a_value() {
    let mut data = Data::counts(60, 90, 5);
    data.cells.dedup_by_key(|cell| (cell.0, cell.1));
    for (preset, solver, center) in [
        (Preset::Explicit, Solver::Cholesky, true),
        (Preset::Rendle, Solver::Cg, false),
        (Preset::Rendle, Solver::Cholesky, false),
    ] {
        let settings = Settings {
            solver,
            center,
            half_life: Some(1.5),
            ..small(preset, TimeUse::Decay)
        };
        let trained = train(&settings, &data, usual()).unwrap();
        assert_eq!(trained.tables.len(), 2);
        let naive = objective(&settings, &data, &trained);
        let last = *trained.objectives.last().unwrap();
        assert!(
            (last - naive).abs() <= 1e-6 * naive,
            "{preset:?}: {last} is not {naive}"
        );
        if center {
            let fade = |bin: u32| (-f64::from(4 - bin) / 1.5).exp2();
            let weights: f64 = data.cells.iter().map(|cell| fade(cell.2)).sum();
            let values = data
                .cells
                .iter()
                .map(|cell| fade(cell.2) * f64::from(cell.3));
            let mean = values.sum::<f64>() / weights;
            assert!((f64::from(trained.offset) - mean).abs() < 1e-6);
        }
        let course = Course {
            threads: 1,
            budget: 2_000_000,
            simd: Simd::PORTABLE,
            io: IoMode::Pread,
            backwards: true,
        };
        assert_eq!(
            train(&settings, &data, course).unwrap().digest,
            trained.digest
        );
    }
}

#[test]
fn factors_of_parts_are_not_negative_and_the_objective_falls() {
    let matrix = collapsed(Data::counts(90, 150, 1));
    let tensor = Data::counts(60, 90, 4);
    for (preset, biases) in PRESETS.into_iter().flat_map(|p| [(p, false), (p, true)]) {
        for (time, data) in [(TimeUse::Ignore, &matrix), (TimeUse::Factor, &tensor)] {
            let settings = Settings {
                non_negative: true,
                biases,
                epochs: 6,
                ..small(preset, time)
            };
            let trained = train(&settings, data, usual()).unwrap();
            let naive = objective(&settings, data, &trained);
            let last = *trained.objectives.last().unwrap();
            assert!(
                (last - naive).abs() <= 1e-6 * naive,
                "{preset:?} {time:?}: {last} is not {naive}"
            );
            let falls = |pair: &[f64]| pair[1] <= pair[0] * (1.0 + 1e-6);
            assert!(
                trained.objectives.windows(2).all(falls),
                "{:?}",
                trained.objectives
            );
            let free = train(
                &Settings {
                    non_negative: false,
                    ..settings
                },
                data,
                usual(),
            );
            assert!(free.unwrap().objectives[5] <= last * (1.0 + 1e-2));
            let all = || trained.tables.iter().flatten().flatten();
            assert!(all().all(|&x| x >= 0.0));
            assert!(all().any(|&x| x > 0.0));
        }
    }
}

#[test]
fn nothing_that_must_not_matter_changes_the_digest() {
    for (preset, time, solver, non_negative, biases) in [
        (Preset::Hu, TimeUse::Ignore, Solver::Cholesky, false, false),
        (Preset::Hu, TimeUse::Ignore, Solver::Auto, false, true),
        (Preset::Rendle, TimeUse::Ignore, Solver::Dual, false, false),
        (Preset::Rendle, TimeUse::Factor, Solver::Cg, false, true),
        (
            Preset::Explicit,
            TimeUse::Factor,
            Solver::Subspace,
            false,
            false,
        ),
        (
            Preset::Rendle,
            TimeUse::Factor,
            Solver::Cholesky,
            false,
            true,
        ),
        (
            Preset::Explicit,
            TimeUse::Factor,
            Solver::Cholesky,
            false,
            true,
        ),
        (Preset::Full, TimeUse::Factor, Solver::Cholesky, true, false),
        (Preset::Full, TimeUse::Ignore, Solver::Cholesky, false, true),
        (
            Preset::Full,
            TimeUse::Ignore,
            Solver::Cholesky,
            false,
            false,
        ),
        (Preset::Full, TimeUse::Factor, Solver::Cholesky, false, true),
        (
            Preset::Full,
            TimeUse::Factor,
            Solver::Cholesky,
            false,
            false,
        ),
    ] {
        let smooth = time == TimeUse::Factor && solver == Solver::Cholesky && !non_negative;
        let data = Data::counts(400, 300, 3);
        let data = if time == TimeUse::Ignore {
            collapsed(data)
        } else {
            data
        };
        let small = small(preset, time);
        let settings = Settings {
            epochs: 2,
            // At smaller ranks it is Cholesky.
            rank: if solver == Solver::Auto {
                40
            } else {
                small.rank
            },
            solver,
            time_smoothing: if smooth { 5.0 } else { 0.0 },
            non_negative,
            biases,
            ..small
        };
        let expected = train(&settings, &data, usual()).unwrap();
        let tight = (0..).map(|step| 700_000 + 50_000 * step);
        let tight = tight
            .into_iter()
            .find(|&budget| train(&settings, &data, Course { budget, ..usual() }).is_ok());
        let budget = tight.unwrap();
        for (threads, simd, io) in [
            (1, Simd::PORTABLE, IoMode::Mmap),
            (4, Simd::detect(), IoMode::Pread),
        ] {
            for (budget, backwards) in [(budget.max(4_000_000), true), (1 << 30, false)] {
                let course = Course {
                    threads,
                    budget,
                    simd,
                    io,
                    backwards,
                };
                let other = train(&settings, &data, course).unwrap();
                assert_eq!(
                    other.digest, expected.digest,
                    "{preset:?} {solver:?} {threads} {simd} {io:?} {budget}"
                );
                assert_eq!(other.objectives, expected.objectives);
            }
        }
        let other = train(&settings, &data, Course { budget, ..usual() }).unwrap();
        assert_eq!(other.digest, expected.digest, "a budget of {budget}");
    }
}

/// The first bin of each pair only.
fn collapsed(data: Data) -> Data {
    let mut cells = data.cells;
    cells.dedup_by_key(|cell| (cell.0, cell.1));
    for cell in &mut cells {
        cell.2 = 0;
    }
    Data {
        bins: 1,
        cells,
        ..data
    }
}

#[test]
fn tight_budgets_cut_rows_and_change_no_bit() {
    // Rows of up to 40,000 interactions, several of them in one piece's least 16,384.
    let random = Random::new(11, 1, 0, 0);
    let (users, products) = (40_000, 70);
    let mut cells = Vec::new();
    for user in 0..users {
        for product in 0..products {
            let word = random.word(user * products + product);
            if product == 0 || word.is_multiple_of(40) {
                cells.push((user, product, word % 2, (1 + word % 3) as f32));
            }
        }
    }
    let data = Data {
        users,
        products,
        bins: 2,
        cells,
    };
    for (time, solver, budget) in [
        (TimeUse::Ignore, Solver::Cholesky, 2_400_000),
        (TimeUse::Factor, Solver::Cholesky, 2_400_000),
        // Three panels of 2 MiB more.
        (TimeUse::Ignore, Solver::Cg, 8_800_000),
    ] {
        let settings = Settings {
            rank: 16,
            epochs: 1,
            solver,
            ..small(Preset::Hu, time)
        };
        let generous = train(&settings, &data, usual()).unwrap();
        let tight = train(
            &settings,
            &data,
            Course {
                budget,
                threads: 2,
                ..usual()
            },
        )
        .unwrap();
        assert_eq!(generous.cut_rows, 0);
        assert!(tight.cut_rows > 0, "no row was cut");
        assert!(tight.pieces > generous.pieces);
        assert_eq!(tight.digest, generous.digest);
    }
}

#[test]
fn a_tensor_of_one_held_bin_is_the_matrix() {
    let data = collapsed(Data::counts(120, 200, 2));
    for preset in PRESETS {
        let matrix = train(&small(preset, TimeUse::Ignore), &data, usual()).unwrap();
        let settings = Settings {
            hold_time: true,
            ..small(preset, TimeUse::Factor)
        };
        let tensor = train(&settings, &data, usual()).unwrap();
        assert_eq!(matrix.tables[..], tensor.tables[..2]);
        assert_eq!(matrix.objectives, tensor.objectives);
        assert!(tensor.tables[2][0].iter().all(|&t| t == 1.0));
    }
}

#[test]
fn a_planted_matrix_is_found() {
    let (users, products, rank) = (120_u32, 80_u32, 3_u32);
    let draw = |purpose, row| {
        let mut row_values = vec![0.0; rank as usize];
        Random::new(1, purpose, 0, row).fill_normal(&mut row_values);
        row_values
    };
    let truth = |user, product| -> f32 {
        draw(1, user)
            .iter()
            .zip(draw(2, product))
            .map(|(a, b)| a * b)
            .sum()
    };
    let coin = Random::new(2, 3, 0, 0);
    let all: Vec<(u32, u32)> = (0..users)
        .flat_map(|user| (0..products).map(move |product| (user, product)))
        .collect();
    let (seen, held): (Vec<_>, Vec<_>) = all
        .iter()
        .partition(|(u, p)| coin.word(u * products + p).is_multiple_of(2));
    let cells = seen
        .iter()
        .map(|&(user, product)| (user, product, 0, truth(user, product)))
        .collect();
    let data = Data {
        users,
        products,
        bins: 0,
        cells,
    };
    let settings = Settings {
        rank,
        epochs: 40,
        preset: Preset::Explicit,
        center: false,
        regularization: 1e-5,
        ..Settings::default()
    };
    let trained = train(&settings, &data, usual()).unwrap();
    let error = |&(user, product): &(u32, u32)| {
        let rows = trained.tables[0][user as usize]
            .iter()
            .zip(&trained.tables[1][product as usize]);
        (rows.map(|(u, v)| u * v).sum::<f32>() - truth(user, product)).powi(2)
    };
    let rmse = (held.iter().map(error).sum::<f32>() / held.len() as f32).sqrt();
    assert!(rmse < 0.01, "held-out RMSE {rmse}");
}

/// Ends a run at the checkpoint of an epoch and keeps it.
struct Interrupted {
    inner: Als,
    epoch: u32,
    checkpoint: Option<Checkpoint>,
}

impl Interrupted {
    fn look(&mut self, turn: Turn) -> Turn {
        match &turn.checkpoint {
            Some(checkpoint) if checkpoint.epoch == self.epoch => {
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
fn a_checkpoint_and_its_objects_are_enough_to_go_on() {
    let data = Data::counts(100, 80, 3);
    for (preset, time, solver, non_negative, biases) in [
        (Preset::Hu, TimeUse::Factor, Solver::Cholesky, false, false),
        (
            Preset::Explicit,
            TimeUse::Factor,
            Solver::Cholesky,
            true,
            true,
        ),
        (
            Preset::Rendle,
            TimeUse::Ignore,
            Solver::Cholesky,
            false,
            false,
        ),
        (Preset::Hu, TimeUse::Factor, Solver::Cg, false, true),
        (Preset::Rendle, TimeUse::Ignore, Solver::Cg, false, true),
    ] {
        let settings = Settings {
            solver,
            non_negative,
            biases,
            ..small(preset, time)
        };
        let data = if time == TimeUse::Ignore {
            collapsed(Data::counts(100, 80, 3))
        } else {
            Data {
                cells: data.cells.clone(),
                ..data
            }
        };
        let expected = train(&settings, &data, usual()).unwrap();
        let mut bed = bed(&data, time == TimeUse::Factor, usual());
        let inner = Als::new(settings.clone(), bed.input.clone()).unwrap();
        let mut program = Interrupted {
            inner,
            epoch: 2,
            checkpoint: None,
        };
        bed.world.run(&mut program, &exec::begin).unwrap();
        let checkpoint = program.checkpoint.unwrap();
        let kept: Vec<_> = checkpoint
            .objects
            .iter()
            .flat_map(|range| range.keys())
            .collect();
        bed.world.objects.retain(|key, _| kept.contains(key));
        assert_eq!(
            bed.world.objects.len(),
            kept.len(),
            "every object of a checkpoint exists"
        );
        bed.world.news.clear();
        let mut program = Als::new(settings, bed.input.clone()).unwrap();
        program.restore(Some(&checkpoint.state)).unwrap();
        bed.world.run(&mut program, &exec::begin).unwrap();
        let resumed = trained(&bed.world, &program, &data);
        assert_eq!(resumed.digest, expected.digest);
        assert_eq!(resumed.objectives, expected.objectives[2..]);
    }
}

#[test]
fn nothing_is_left_behind_but_the_tables() {
    let data = Data::counts(70, 80, 3);
    for (time, solver) in [
        (TimeUse::Factor, Solver::Cholesky),
        (TimeUse::Ignore, Solver::Cg),
    ] {
        let settings = Settings {
            solver,
            ..small(Preset::Hu, time)
        };
        let has_time = time == TimeUse::Factor;
        let mut bed = bed(&data, has_time, usual());
        let mut program = Als::new(settings, bed.input.clone()).unwrap();
        bed.world.run(&mut program, &exec::begin).unwrap();
        let tables: usize = program
            .tables()
            .iter()
            .map(|table| table.grid.blocks() as usize)
            .sum();
        // The Grams of the last products and bins stand ready for an epoch that does not come.
        assert_eq!(bed.world.objects.len(), tables + 1 + usize::from(has_time));
    }
}

#[test]
fn training_stops_where_the_objective_settles() {
    let data = collapsed(Data::counts(100, 80, 2));
    let settings = Settings {
        epochs: 200,
        tolerance: 1e-3,
        ..small(Preset::Hu, TimeUse::Ignore)
    };
    let trained = train(&settings, &data, usual()).unwrap();
    let objectives = &trained.objectives;
    assert!(
        (3..200).contains(&objectives.len()),
        "{} epochs",
        objectives.len()
    );
    let gain = |pair: &[f64]| (pair[0] - pair[1]) / pair[0];
    assert!(gain(&objectives[objectives.len() - 2..]) < 1e-3);
    assert!(
        objectives[..objectives.len() - 1]
            .windows(2)
            .all(|pair| gain(pair) >= 1e-3)
    );
}

fn sentence(settings: &Settings, data: &Data, course: Course) -> String {
    train(settings, data, course)
        .err()
        .expect("the run ends")
        .to_string()
}

#[test]
fn what_cannot_go_on_says_so() {
    let data = collapsed(Data::counts(100, 80, 2));
    let hu = small(Preset::Hu, TimeUse::Ignore);
    let tight = sentence(
        &hu,
        &data,
        Course {
            budget: 10_000,
            ..usual()
        },
    );
    assert!(
        tight.contains("the budget leaves 9.8 KiB: give --memory"),
        "{tight}"
    );

    let mut negative = collapsed(Data::counts(100, 80, 2));
    negative.cells[7].3 = -2.0;
    let (user, product) = (negative.cells[7].0, negative.cells[7].1);
    let (users, products) = negative.grids();
    let ids = (
        users.dealt_row(u64::from(user)),
        products.dealt_row(u64::from(product)),
    );
    let refused = sentence(&hu, &negative, usual());
    assert!(
        refused.contains(&format!(
            "{{user:{}}} with {{product:{}}} has the value -2",
            ids.0, ids.1
        )),
        "{refused}"
    );

    let explicit = Settings {
        regularization: 0.0,
        rank: 30,
        ..small(Preset::Explicit, TimeUse::Ignore)
    };
    let singular = sentence(&explicit, &data, usual());
    assert!(
        singular.contains("the equations of {user:")
            && singular.contains("raise `regularization` (now 0)"),
        "{singular}"
    );

    let nothing = Data {
        users: 10,
        products: 10,
        bins: 0,
        cells: Vec::new(),
    };
    assert!(sentence(&hu, &nothing, usual()).contains("no interaction to train on"));

    let bed = bed(&nothing, false, usual());
    let timeless = Als::new(small(Preset::Hu, TimeUse::Factor), bed.input.clone())
        .err()
        .unwrap();
    assert_eq!(timeless.key, "time");
    assert_eq!(bed.input.user.row_ids(BlockId(0)), 0..1);
}
