//! Evaluation and recommending as whole programs on small synthetic data, against naive evaluations in memory; the
//! results are the same for any budget that suffices, any number of threads and both ways of reading.

use model::evaluate::{
    Evaluate, Evaluation, Factors, Goal, Input, Metric, OwnWeight, RankingTask, SampledEvaluation,
    Settings, Slice, Sliced, ValidationErrors, id_hash,
};
use model::forecast::{Forecast, Moment};
use model::metrics::Measure;
use model::recommend::{self, Recommend};
use model::{Holds, Sampler, TableVersion};
use plan::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::dictionary::{DictionaryWriter, IdRef};
use store::partition::PartitionWriter;
use store::{AlignedBuf, Cache, IoMode, Sealed};
use tensor::{
    Axis, BlockId, Grid, IdKind, KeyRange, Mode, ObjectKey, Partitions, Program, ProgramError,
    Recommended, Reduced, SealedRef, SplitPart, StepId, TableId, Turn,
};
use tests::inline::{InlineError, World};

const WIDTH: usize = 16;
const KS: [u32; 2] = [3, 10];

/// (user row, product row) -> value.
type Cells = BTreeMap<(u32, u32), f32>;

/// Small data with users and products of every kind: without training, without relevant products, in empty blocks.
struct Small {
    users: Grid,
    products: Grid,
    train: Cells,
    validation: Cells,
    test: Cells,
    recent: Cells,
    faded: Cells,
    factors: BTreeMap<Mode, Vec<f32>>,
}

/// Deterministic numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        model::bootstrap::mix(self.0) % limit
    }
}

fn rows_of(grid: &Grid) -> Vec<u32> {
    grid.block_ids()
        .flat_map(|block| grid.row_ids(block))
        .collect()
}

impl Small {
    fn new() -> Self {
        let users = Grid {
            stride_log2: 6,
            rows: vec![50, 0, 37, 20],
        };
        let products = Grid {
            stride_log2: 6,
            rows: vec![30, 0, 33, 17],
        };
        let (all_users, all_products) = (rows_of(&users), rows_of(&products));
        let mut numbers = Numbers(7);
        let (mut train, mut validation, mut test) = (Cells::new(), Cells::new(), Cells::new());
        let mut recent = Cells::new();
        for (place, &user) in all_users.iter().enumerate() {
            // Every ninth user has no training, every seventh nothing held out; the last five products are cold.
            let cells = |count: u64, products: usize, numbers: &mut Numbers, into: &mut Cells| {
                for _ in 0..count {
                    let skewed = numbers
                        .below(products as u64)
                        .min(numbers.below(products as u64));
                    into.insert(
                        (user, all_products[skewed as usize]),
                        1.0 + numbers.below(4) as f32,
                    );
                }
            };
            if !place.is_multiple_of(9) {
                cells(
                    3 + numbers.below(12),
                    all_products.len() - 5,
                    &mut numbers,
                    &mut train,
                );
            }
            if !place.is_multiple_of(7) {
                cells(
                    numbers.below(5),
                    all_products.len(),
                    &mut numbers,
                    &mut validation,
                );
                cells(
                    1 + numbers.below(6),
                    all_products.len(),
                    &mut numbers,
                    &mut test,
                );
            }
        }
        for (cell, value) in &train {
            if numbers.below(3) == 0 {
                recent.insert(*cell, *value);
            }
        }
        let faded = train.keys().zip(1..);
        let faded = faded.map(|(cell, place)| (*cell, 0.5_f32.powi(place * 7 % 5)));
        let faded = faded.collect();
        // Quarters: sums are exact, so that scores tie and the order of adding shows nothing.
        let mut table = |rows: usize| {
            (0..rows * WIDTH)
                .map(|_| numbers.below(5) as f32 / 4.0 - 0.5)
                .collect()
        };
        let factors = [
            (Mode::User, all_users.len()),
            (Mode::Product, all_products.len()),
            (Mode::Time, 3),
        ];
        let factors = factors.map(|(mode, rows)| (mode, table(rows))).into();
        Small {
            users,
            products,
            train,
            validation,
            test,
            recent,
            faded,
            factors,
        }
    }

    fn grid(&self, mode: Mode) -> &Grid {
        if mode == Mode::User {
            &self.users
        } else {
            &self.products
        }
    }

    fn factor_row(&self, mode: Mode, row: u32) -> &[f32] {
        let place = rows_of(self.grid(mode))
            .iter()
            .position(|&r| r == row)
            .unwrap();
        &self.factors[&mode][place * WIDTH..(place + 1) * WIDTH]
    }

    fn score(&self, user: u32, product: u32, moment: Option<Moment>) -> f32 {
        let table = &self.factors[&Mode::Time];
        let time = moment.map(|moment| moment.row(table, WIDTH).unwrap());
        let time = |k: usize| time.as_ref().map_or(1.0, |row| row[k]);
        let (u, v) = (
            self.factor_row(Mode::User, user),
            self.factor_row(Mode::Product, product),
        );
        (0..WIDTH).map(|k| u[k] * time(k) * v[k]).sum()
    }
}

/// The bed: a world that holds the data, and the input that names them.
struct Bed {
    world: World,
    input: Input,
    held_out: Vec<Partitions>,
    _directory: tempfile::TempDir,
}

fn seal_partitions(
    cache: &Cache,
    small: &Small,
    cells: &Cells,
    sealed: &mut Vec<Sealed>,
) -> Partitions {
    let mut orient = |mode: Mode| {
        let grid = small.grid(mode);
        let block = |block: BlockId| {
            let mut writer =
                PartitionWriter::create(cache, mode, block, tensor::Small::default()).unwrap();
            for row in grid.row_ids(block) {
                let mut columns: Vec<(u32, f32)> = cells
                    .iter()
                    .map(|(&(user, product), &value)| {
                        if mode == Mode::User {
                            (user, product, value)
                        } else {
                            (product, user, value)
                        }
                    })
                    .filter(|cell| cell.0 == row)
                    .map(|(_, column, value)| (column, value))
                    .collect();
                columns.sort_by_key(|cell| cell.0);
                for &(column, value) in &columns {
                    writer
                        .push(column, tensor::Small::default(), value)
                        .unwrap();
                }
                writer.end_row().unwrap();
            }
            let (file, reference) = writer.seal().unwrap();
            sealed.push(file);
            reference
        };
        grid.block_ids().map(block).collect::<Vec<_>>()
    };
    let (user_major, product_major) = (orient(Mode::User), orient(Mode::Product));
    Partitions {
        user_major,
        product_major,
        interactions: cells.len() as u64,
        netted: 0,
    }
}

/// Original ids: numbers of users, names of products.
fn name_of(mode: Mode, row: u32) -> (i64, String) {
    (
        i64::from(row) * 31 - 900,
        format!("{mode} {}", row * 7 % 101),
    )
}

fn seal_dictionaries(
    cache: &Cache,
    grid: &Grid,
    mode: Mode,
    sealed: &mut Vec<Sealed>,
) -> Vec<SealedRef> {
    let kind = if mode == Mode::User {
        IdKind::Int64
    } else {
        IdKind::Utf8
    };
    let block = |block: BlockId| {
        let mut writer = DictionaryWriter::create(cache, kind).unwrap();
        for row in grid.row_ids(block) {
            let (number, name) = name_of(mode, row);
            let id = if mode == Mode::User {
                IdRef::Int64(number)
            } else {
                IdRef::Utf8(&name)
            };
            writer.push(id).unwrap();
        }
        let file = writer.seal().unwrap();
        sealed.push(file.clone());
        file.reference()
    };
    grid.block_ids().map(block).collect()
}

fn tie_of(product: u32) -> u64 {
    id_hash(name_of(Mode::Product, product).1.as_bytes())
}

impl Bed {
    fn new(small: &Small, budget_bytes: u64, threads: usize, mode: IoMode) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Arc::new(Cache::open_unsynced(directory.path(), 1 << 28, mode).unwrap());
        let pool = Arc::new(rayon_pool(threads));
        let room = exec::Room {
            budget_bytes,
            pool,
            simd: model::Simd::detect(),
            cache: cache.clone(),
            desks: Arc::default(),
            buffers: Arc::default(),
        };
        let mut world = World::new(room);
        let mut sealed = Vec::new();
        let mut part = |cells: &Cells| seal_partitions(&cache, small, cells, &mut sealed);
        let (train, validation) = (part(&small.train), part(&small.validation));
        let (test, recent) = (part(&small.test), part(&small.recent));
        let faded = part(&small.faded);
        let axis = |mode: Mode, kind: IdKind, sealed: &mut Vec<Sealed>| Axis {
            column: mode.name().to_owned(),
            id_kind: kind,
            grid: small.grid(mode).clone(),
            dictionary: seal_dictionaries(&cache, small.grid(mode), mode, sealed),
        };
        let user = axis(Mode::User, IdKind::Int64, &mut sealed);
        let product = axis(Mode::Product, IdKind::Utf8, &mut sealed);
        world
            .sealed
            .extend(sealed.into_iter().map(|file| (file.digest(), file)));
        let factors = Factors {
            users: put_table(&mut world, small, Mode::User),
            products: put_table(&mut world, small, Mode::Product),
            time: None,
            context: None,
            width: WIDTH as u32,
            filter: None,
            offset: 0.0,
        };
        let held_out = vec![validation.clone(), test.clone()];
        let input = Input {
            user,
            product,
            factors,
            train,
            validation: Some(validation),
            test: Some(test),
            recent: Some(recent),
            faded: Some(faded),
            part: SplitPart::Test,
            own: OwnWeight::Values,
        };
        Bed {
            world,
            input,
            held_out,
            _directory: directory,
        }
    }

    fn with_time(mut self, small: &Small, moment: Moment) -> Self {
        let key = ObjectKey::Block {
            table: TableId(2),
            block: BlockId(0),
            version: 1,
        };
        self.world
            .objects
            .insert(key, held(&small.factors[&Mode::Time]));
        self.input.factors.time = Some((key, moment));
        self
    }

    fn evaluate(&mut self, settings: Settings) -> Result<Evaluation, InlineError> {
        let mut program = Evaluate::new(settings, self.input.clone()).unwrap();
        self.world.run(&mut program, &exec::begin)?;
        Ok(program
            .found()
            .expect("a finished evaluation has a result")
            .clone())
    }
}

fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

fn held(rows: &[f32]) -> exec::Held {
    let buffer = Arc::new(AlignedBuf::copy_of(
        &rows
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect::<Vec<u8>>(),
    ));
    exec::Held::Memory {
        buffer,
        row_bytes: (WIDTH * 4) as u32,
    }
}

fn put_table(world: &mut World, small: &Small, mode: Mode) -> KeyRange {
    let (grid, table) = (small.grid(mode), TableId(u16::from(mode == Mode::Product)));
    for block in grid.block_ids() {
        let rows: Vec<f32> = grid
            .row_ids(block)
            .flat_map(|row| small.factor_row(mode, row).to_vec())
            .collect();
        world.objects.insert(
            ObjectKey::Block {
                table,
                block,
                version: 5,
            },
            held(&rows),
        );
    }
    KeyRange::Blocks {
        table,
        first: 0,
        count: grid.blocks(),
        version: 5,
    }
}

/// The naive evaluation: sorts all candidates for every user.
struct Naive<'a> {
    small: &'a Small,
    time: Option<Moment>,
}

impl Naive<'_> {
    fn users_with(cells: &Cells, product: u32) -> u32 {
        cells.keys().filter(|cell| cell.1 == product).count() as u32
    }

    fn of(cells: &Cells, user: u32) -> BTreeSet<u32> {
        cells
            .keys()
            .filter(|cell| cell.0 == user)
            .map(|cell| cell.1)
            .collect()
    }

    fn list(&self, ranker: &str, user: u32, masked: &BTreeSet<u32>) -> Vec<u32> {
        let candidates = rows_of(&self.small.products).into_iter();
        let mut keyed: Vec<([f64; 2], u64, u32)> = candidates
            .filter(|&product| {
                Self::users_with(&self.small.train, product) > 0 && !masked.contains(&product)
            })
            .map(|product| {
                let popularity = f64::from(Self::users_with(&self.small.train, product));
                let recent = f64::from(Self::users_with(&self.small.recent, product));
                let own = match ranker {
                    "own_recent" => &self.small.faded,
                    _ => &self.small.train,
                };
                let own = own
                    .get(&(user, product))
                    .map_or(0.0, |&value| f64::from(value));
                let key = match ranker {
                    "model" => [f64::from(self.small.score(user, product, self.time)), 0.0],
                    "popularity" => [popularity, 0.0],
                    "popularity_recent" => [recent, popularity],
                    _ => [own, popularity],
                };
                (key, tie_of(product), product)
            })
            .collect();
        keyed.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1)));
        keyed.into_iter().map(|(_, _, product)| product).collect()
    }

    /// Recall, precision and coverage of a ranker, and the users counted; of a slice or of all.
    fn figures(
        &self,
        task: RankingTask,
        (ranker, k): (&str, usize),
        slice: Option<&Slice>,
    ) -> (f64, f64, f64, u64) {
        let (mut recall, mut precision, mut users, mut covered) = (0.0, 0.0, 0, BTreeSet::new());
        for user in rows_of(&self.small.users) {
            let train = Self::of(&self.small.train, user);
            let mut masked = train.clone();
            masked.extend(Self::of(&self.small.validation, user));
            let mut relevant = Self::of(&self.small.test, user);
            if task == RankingTask::NewProducts {
                relevant.retain(|product| !masked.contains(product));
            } else {
                masked.clear();
            }
            match slice.map(|slice| (slice.of, &slice.range)) {
                Some((Sliced::Users, range)) if !range.contains(&(train.len() as u32)) => continue,
                Some((Sliced::Products, range)) => relevant.retain(|&product| {
                    range.contains(&Self::users_with(&self.small.train, product))
                }),
                _ => {}
            }
            if train.is_empty() || relevant.is_empty() {
                continue;
            }
            let list: Vec<u32> = self
                .list(ranker, user, &masked)
                .into_iter()
                .take(k)
                .collect();
            let hits = list
                .iter()
                .filter(|product| relevant.contains(product))
                .count() as f64;
            recall += hits / relevant.len() as f64;
            precision += hits / k as f64;
            users += 1;
            covered.extend(list);
        }
        let candidates: BTreeSet<u32> = self.small.train.keys().map(|cell| cell.1).collect();
        (
            recall / users as f64,
            precision / users as f64,
            covered.len() as f64 / candidates.len() as f64,
            users,
        )
    }
}

fn settings() -> Settings {
    Settings {
        ks: KS.to_vec(),
        replicates: 40,
        ..Settings::default()
    }
}

const RANKERS: [&str; 5] = [
    "model",
    "popularity",
    "popularity_recent",
    "own_count",
    "own_recent",
];

fn check_against_naive(found: &Evaluation, naive: &Naive<'_>) {
    for task in [RankingTask::NewProducts, RankingTask::AllProducts] {
        for ranker in RANKERS {
            for k in KS {
                let list = (ranker, k as usize);
                let (recall, precision, coverage, users) = naive.figures(task, list, None);
                let figures = &found.tasks[task.name()][ranker];
                let close = |name: &str, expected: f64| {
                    let figure = figures[&format!("{name}@{k}")];
                    assert!(
                        (figure - expected).abs() < 1e-12,
                        "{task:?} {ranker} {name}@{k}: {figure} {expected}"
                    );
                };
                close("recall", recall);
                close("precision", precision);
                close("coverage", coverage);
                assert_eq!(found.users[task.name()].counted, users);
            }
        }
    }
}

#[test]
fn lists_are_those_of_a_naive_evaluation() {
    let small = Small::new();
    let mut bed = Bed::new(&small, 64 << 20, 2, IoMode::Mmap);
    let found = bed.evaluate(settings()).unwrap();
    check_against_naive(
        &found,
        &Naive {
            small: &small,
            time: None,
        },
    );
    let users = found.users["all_products"];
    assert!(
        users.counted > 50 && users.without_training > 0 && users.without_relevant > 0,
        "{users:?}"
    );
    let own = &found.tasks["all_products"]["own_count"];
    let new = &found.tasks["new_products"];
    assert_eq!(
        new["own_count"], new["popularity"],
        "own products are masked in the task of new products"
    );
    assert_ne!(own, &found.tasks["all_products"]["popularity"]);
}

#[test]
fn slices_are_those_of_a_naive_evaluation() {
    let small = Small::new();
    let slice = |name: &str, of, range| Slice {
        name: name.to_owned(),
        of,
        range,
    };
    let slices = vec![
        slice("light", Sliced::Users, 0..8),
        slice("heavy", Sliced::Users, 8..u32::MAX),
        slice("unseen", Sliced::Products, 0..1),
        slice("rare", Sliced::Products, 0..12),
        slice("top", Sliced::Products, 12..u32::MAX),
    ];
    let settings = Settings {
        slices: slices.clone(),
        kept: Some((Measure::Recall, 10)),
        ..settings()
    };
    let found = Bed::new(&small, 64 << 20, 2, IoMode::Mmap)
        .evaluate(settings.clone())
        .unwrap();
    let naive = Naive {
        small: &small,
        time: None,
    };
    // What is not sliced is as ever.
    check_against_naive(&found, &naive);
    for task in [RankingTask::NewProducts, RankingTask::AllProducts] {
        for slice in &slices {
            let told = &found.slices[task.name()][&slice.name];
            for (ranker, k) in RANKERS
                .into_iter()
                .flat_map(|ranker| KS.map(|k| (ranker, k)))
            {
                let list = (ranker, k as usize);
                let (recall, precision, _, users) = naive.figures(task, list, Some(slice));
                let figures = &told.rankers[ranker];
                assert_eq!(told.users, users, "{task:?} {}", slice.name);
                assert!(users > 0);
                for (name, expected) in [("recall", recall), ("precision", precision)] {
                    let figure = figures[&format!("{name}@{k}")];
                    let of = &slice.name;
                    assert!(
                        (figure - expected).abs() < 1e-12,
                        "{task:?} {of} {ranker} {name}"
                    );
                }
            }
        }
        for ranker in RANKERS {
            let samples = found.samples[task.name()][ranker].clone();
            assert_eq!(samples.len(), 40);
            let told = found.intervals[task.name()][ranker]["recall@10"];
            assert_eq!(model::bootstrap::interval(samples, 0.95), Some(told));
        }
    }
    // Pieces, threads and ways of reading change nothing.
    let pieces = Bed::new(&small, 850 << 10, 1, IoMode::Pread).evaluate(settings);
    assert!(pieces.unwrap() == found);
}

#[test]
fn a_tensor_scores_at_the_moment_that_it_is_given() {
    let small = Small::new();
    let history = Moment::last_of(0..2, Forecast::Drift);
    for moment in [history, history.at(4)] {
        let mut bed = Bed::new(&small, 64 << 20, 2, IoMode::Mmap).with_time(&small, moment);
        let found = bed.evaluate(settings()).unwrap();
        let time = Some(moment);
        check_against_naive(
            &found,
            &Naive {
                small: &small,
                time,
            },
        );
    }
}

#[test]
fn intervals_hold_the_figure_and_are_paired() {
    let small = Small::new();
    let found = Bed::new(&small, 64 << 20, 1, IoMode::Mmap)
        .evaluate(Settings {
            replicates: 300,
            ..settings()
        })
        .unwrap();
    let figure = found.tasks["all_products"]["own_count"]["recall@10"];
    let interval = found.intervals["all_products"]["own_count"]["recall@10"];
    assert!(
        interval.0 < figure && figure < interval.1,
        "{interval:?} {figure}"
    );
    let paired = found.differences["all_products"]["own_count"]["recall@10"];
    let model = found.tasks["all_products"]["model"]["recall@10"];
    assert!((paired.difference - (model - figure)).abs() < 1e-12);
    let bounds = paired.interval.unwrap();
    assert!(bounds.0 < paired.difference && paired.difference < bounds.1);
    assert!(!found.differences["all_products"].contains_key("model"));
}

#[test]
fn budgets_threads_and_ways_of_reading_change_no_figure() {
    let small = Small::new();
    let expected = Bed::new(&small, 64 << 20, 1, IoMode::Mmap)
        .evaluate(settings())
        .unwrap();
    for (threads, mode) in [(1, IoMode::Pread), (3, IoMode::Mmap)] {
        let mut bed = Bed::new(&small, 64 << 10, threads, mode);
        bed.world.backwards = threads == 3;
        let found = loop {
            bed.world.pieces = 0;
            match bed.evaluate(settings()) {
                Ok(found) => break found,
                Err(InlineError::Task(Failure::Budget { needed, left, .. })) => {
                    assert!(needed > left);
                    bed.world.room.budget_bytes += 4 << 10;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let (budget, pieces) = (bed.world.room.budget_bytes, bed.world.pieces);
        assert!(budget > 64 << 10, "a small budget is refused");
        assert!(
            pieces > 100,
            "the tightest budget is met in pieces: {pieces}"
        );
        assert_eq!(
            found, expected,
            "{budget} bytes, {threads} threads, {mode:?}"
        );
    }
}

#[test]
fn values_are_predicted_as_by_a_naive_loop() {
    let small = Small::new();
    let mut bed = Bed::new(&small, 64 << 20, 2, IoMode::Mmap);
    bed.input.factors.offset = 2.5;
    let explicit = Settings {
        goal: Goal::Ratings,
        ..settings()
    };
    let found = bed.evaluate(explicit.clone()).unwrap();
    let ratings = found.ratings.unwrap();

    let mean = small.train.values().map(|&v| f64::from(v)).sum::<f64>() / small.train.len() as f64;
    let shrunk = |rest: Vec<f64>| rest.iter().sum::<f64>() / (rest.len() as f64 + 5.0);
    let of_product = |product: u32| {
        let cells = small.train.iter().filter(|(cell, _)| cell.1 == product);
        f64::from(shrunk(cells.map(|(_, &value)| f64::from(value) - mean).collect()) as f32)
    };
    let of_user = |user: u32| {
        let cells = small.train.iter().filter(|(cell, _)| cell.0 == user);
        shrunk(
            cells
                .map(|(cell, &value)| f64::from(value) - mean - of_product(cell.1))
                .collect(),
        )
    };
    let (mut squares, mut bias_squares, mut count, mut left_out) = (0.0, 0.0, 0.0, 0);
    for (&(user, product), &value) in &small.test {
        let known = !Naive::of(&small.train, user).is_empty()
            && Naive::users_with(&small.train, product) > 0;
        if !known {
            left_out += 1;
            continue;
        }
        let predicted = f64::from(small.score(user, product, None) + 2.5).clamp(1.0, 4.0);
        let bias_only = (mean + of_user(user) + of_product(product)).clamp(1.0, 4.0);
        squares += (predicted - f64::from(value)).powi(2);
        bias_squares += (bias_only - f64::from(value)).powi(2);
        count += 1.0;
    }
    assert_eq!(
        (ratings.interactions, ratings.interactions_left_out),
        (count as u64, left_out)
    );
    assert!(left_out > 0);
    assert!(
        (ratings.rmse - f64::sqrt(squares / count)).abs() < 1e-6,
        "{ratings:?}"
    );
    assert!(
        (ratings.bias_only.rmse - f64::sqrt(bias_squares / count)).abs() < 1e-9,
        "{ratings:?}"
    );

    let mut tight = Bed::new(&small, 6 << 10, 1, IoMode::Pread);
    tight.input.factors.offset = 2.5;
    assert_eq!(tight.evaluate(explicit).unwrap(), found);
    assert!(tight.world.pieces > bed.world.pieces);
}

#[test]
fn the_errors_of_an_epoch_are_those_of_the_evaluation() {
    let small = Small::new();
    let mut bed = Bed::new(&small, 64 << 20, 2, IoMode::Mmap);
    bed.input.part = SplitPart::Validation;
    bed.input.factors.offset = 2.5;
    let explicit = Settings {
        goal: Goal::Ratings,
        ..settings()
    };
    let expected = bed.evaluate(explicit).unwrap().ratings.unwrap().unclipped;
    let sampler = ValidationErrors::new(bed.input.clone(), None).unwrap();
    let table = |id: u16, mode: Mode| TableVersion {
        id: TableId(id),
        mode,
        holds: Holds::Factors,
        rank: WIDTH as u32,
        width: WIDTH as u32,
        grid: small.grid(mode).clone(),
        version: 5,
    };
    let mut program = Sampled {
        sampler,
        tables: vec![table(0, Mode::User), table(1, Mode::Product)],
        offset: 2.5,
        reduced: BTreeMap::new(),
    };
    bed.world.run(&mut program, &exec::begin).unwrap();
    let reduced = program.reduced.into_values().collect();
    let found = program.sampler.metrics(reduced);
    assert_eq!(Metric::Rmse.find(&found), Some(expected.rmse));
    assert_eq!(Metric::Mae.find(&found), Some(expected.mae));
}

/// Runs the steps of a sampler as a program.
struct Sampled<S: Sampler> {
    sampler: S,
    tables: Vec<TableVersion>,
    offset: f32,
    reduced: BTreeMap<StepId, Reduced>,
}

impl<S: Sampler> Program for Sampled<S> {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        Ok(Turn {
            steps: self.sampler.steps(&self.tables, self.offset, StepId(40)),
            ..Turn::default()
        })
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        self.reduced.insert(step, reduced);
        Ok(Turn {
            finished: self.reduced.len() == 2,
            ..Turn::default()
        })
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        Ok(())
    }
}

#[test]
fn a_sample_of_all_users_gives_the_figures_of_the_validation_part() {
    let small = Small::new();
    let mut bed = Bed::new(&small, 64 << 20, 2, IoMode::Mmap);
    bed.input.part = SplitPart::Validation;
    let whole = bed.evaluate(settings()).unwrap();
    let table = |id: u16, mode: Mode| TableVersion {
        id: TableId(id),
        mode,
        holds: Holds::Factors,
        rank: WIDTH as u32,
        width: WIDTH as u32,
        grid: small.grid(mode).clone(),
        version: 5,
    };
    let mut metrics = |users: u64| {
        let sampler = SampledEvaluation::new(settings(), bed.input.clone(), None, users).unwrap();
        let tables = vec![table(0, Mode::User), table(1, Mode::Product)];
        let mut program = Sampled {
            sampler,
            tables,
            offset: 0.0,
            reduced: BTreeMap::new(),
        };
        bed.world.run(&mut program, &exec::begin).unwrap();
        let reduced = program.reduced.into_values().collect();
        program
            .sampler
            .metrics(reduced)
            .into_iter()
            .collect::<BTreeMap<_, _>>()
    };
    let all = metrics(10_000);
    for (task, rankers) in &whole.tasks {
        for (figure, value) in rankers["model"]
            .iter()
            .filter(|(figure, _)| !figure.starts_with("coverage"))
        {
            assert_eq!(all[&format!("{task} {figure}")], *value);
        }
        assert_eq!(
            all[&format!("{task} users")],
            whole.users[task].counted as f64
        );
    }
    let some = metrics(50)["all_products users"];
    assert!(some > 0.0 && some < all["all_products users"], "{some}");
}

fn recommended(
    bed: &mut Bed,
    settings: recommend::Settings,
) -> Result<(Vec<Recommended>, Recommend), InlineError> {
    let (user, product) = (bed.input.user.clone(), bed.input.product.clone());
    let (factors, train) = (bed.input.factors.clone(), bed.input.train.clone());
    let input = recommend::Input {
        user,
        product,
        factors,
        train,
        held_out: bed.held_out.clone(),
        alike: None,
    };
    let mut program = Recommend::new(settings, input).unwrap();
    bed.world.delivered.clear();
    bed.world.run(&mut program, &exec::begin)?;
    let rows = bed
        .world
        .delivered
        .iter()
        .flat_map(|(_, bytes)| Recommended::rows(bytes))
        .collect();
    Ok((rows, program))
}

#[test]
fn recommendations_are_the_best_of_a_full_sort_without_what_was_seen() {
    let small = Small::new();
    let naive = Naive {
        small: &small,
        time: None,
    };
    for (exclude_train, exclude_held_out) in [(true, true), (true, false), (false, false)] {
        let settings = recommend::Settings {
            k: 6,
            exclude_train,
            exclude_held_out,
            users: None,
            ..recommend::Settings::default()
        };
        let mut bed = Bed::new(&small, 64 << 20, 2, IoMode::Mmap);
        let (found, program) = recommended(&mut bed, settings.clone()).unwrap();
        let mut expected = Vec::new();
        for user in rows_of(&small.users) {
            let train = Naive::of(&small.train, user);
            if train.is_empty() {
                continue;
            }
            let mut masked = if exclude_train {
                train
            } else {
                BTreeSet::new()
            };
            if exclude_held_out {
                masked.extend(Naive::of(&small.validation, user));
                masked.extend(Naive::of(&small.test, user));
            }
            for (rank, product) in (1..).zip(naive.list("model", user, &masked).into_iter().take(6))
            {
                expected.push(Recommended {
                    user,
                    rank,
                    product,
                    score: small.score(user, product, None),
                });
            }
        }
        assert_eq!(found, expected);
        assert_eq!(program.served().rows, expected.len() as u64);
        assert!(program.served().without_training > 0);

        let mut bed = Bed::new(&small, 64 << 10, 1, IoMode::Pread);
        let tight = loop {
            match recommended(&mut bed, settings.clone()) {
                Ok((rows, _)) => break rows,
                Err(InlineError::Task(Failure::Budget { .. })) => {
                    bed.world.room.budget_bytes += 4 << 10;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let budget = bed.world.room.budget_bytes;
        assert_eq!(tight, expected, "in the tightest budget, {budget} bytes");
    }
}

#[test]
fn chosen_users_only_are_served() {
    let small = Small::new();
    let mut bed = Bed::new(&small, 64 << 20, 1, IoMode::Mmap);
    let all = recommended(&mut bed, recommend::Settings::default())
        .unwrap()
        .0;
    let chosen: Vec<u32> = vec![130, 3, 1];
    let users = Some(chosen.clone());
    let settings = recommend::Settings {
        users,
        ..recommend::Settings::default()
    };
    let (found, program) = recommended(&mut bed, settings).unwrap();
    let expected: Vec<Recommended> = all
        .into_iter()
        .filter(|row| chosen.contains(&row.user))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(program.served().users, 3);
    let settings = recommend::Settings {
        users: Some(vec![64]),
        ..recommend::Settings::default()
    };
    let input = recommend::Input {
        user: bed.input.user.clone(),
        product: bed.input.product.clone(),
        factors: bed.input.factors.clone(),
        train: bed.input.train.clone(),
        held_out: Vec::new(),
        alike: None,
    };
    assert_eq!(
        Recommend::new(settings, input).unwrap_err().to_string(),
        "user row 64 is not in the data set"
    );
}
