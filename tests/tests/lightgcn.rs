//! LightGCN end to end in one process: against the whole computation in f64 (its gradients against differences of its loss),
//! whatever must not matter, and a planted structure.

use kernels::Simd;
use model::Training;
use model::graph::Normalization;
use model::graph::learning::Learning;
use model::graph::learnt::MEANS;
use model::graph::lightgcn::{HeadName, LightGcn, Settings};
use model::graph::tiles::Caches;
use std::collections::BTreeSet;
use store::IoMode;
use tensor::{Grid, KeyRange, News, Program, TableId};
use tests::graph::{Graph, Moments, Nodes, numbers, small};
use tests::ingested::{DAY, Row, some_rows};
use tests::inline::InlineError;
use tests::linked::linked_bed;
use tests::tiled::{BY_RANGES, Bed, bed};

/// The tables of a model as bytes, and the objective of every epoch.
#[derive(Clone, Debug, PartialEq)]
struct Trained {
    users: Vec<u8>,
    products: Vec<u8>,
    objectives: Vec<f64>,
}

fn result(bed: &Bed, program: &LightGcn) -> Trained {
    let tables = program.tables();
    let bytes = |at: usize| bed.found.world.bytes_of(tables[at].keys());
    let news = bed.found.world.news.iter();
    let objectives = news.map(|News::Epoch { objective, .. }| objective.unwrap());
    Trained {
        users: bytes(0),
        products: bytes(1),
        objectives: objectives.collect(),
    }
}

fn train(bed: &mut Bed, settings: &Settings) -> Result<Trained, InlineError> {
    train_with(bed, settings, Caches::default())
}

fn train_with(bed: &mut Bed, settings: &Settings, caches: Caches) -> Result<Trained, InlineError> {
    let mut program = LightGcn::new(settings.clone(), bed.graph(caches)).unwrap();
    bed.found.world.news.clear();
    bed.found.world.objects.clear();
    bed.found.world.run(&mut program, &exec::begin)?;
    Ok(result(bed, &program))
}

/// The graph and the job, in f64 and without blocks.
struct Naive {
    settings: Settings,
    graph: Graph,
}

impl Naive {
    fn new(bed: &Bed, settings: &Settings) -> Self {
        Naive {
            settings: settings.clone(),
            graph: Graph::of(bed)
                .linked(bed, |mode| settings.edge_weight(mode))
                .looped(settings.self_loops && settings.layers > 0),
        }
    }

    fn start(&self) -> Nodes {
        let Settings {
            rank, init_scale, ..
        } = self.settings;
        self.graph
            .start(self.settings.learning.seed, rank as usize, init_scale)
    }

    /// The mean over layers, or what it is to gradients.
    fn smooth(&self, nodes: &Nodes, back: bool) -> Nodes {
        let (mut sum, mut last) = (nodes.clone(), nodes.clone());
        for _ in 0..self.settings.layers {
            last = self
                .graph
                .neighbours(self.settings.normalization, &last, back);
            for (sum, last) in sum.iter_mut().zip(&last) {
                sum.iter_mut().zip(last).for_each(|(sum, x)| *sum += x);
            }
        }
        let share = 1.0 / f64::from(self.settings.layers + 1);
        sum.iter_mut().flatten().for_each(|x| *x *= share);
        sum
    }

    /// The loss of embeddings and its gradient by them, of a batch counted from 0 over all epochs.
    fn head(&self, e: &Nodes, batch: u32) -> (f64, Nodes) {
        let (seed, count) = (self.settings.learning.seed, self.settings.batches());
        self.graph.head(
            (self.settings.head(), self.settings.learning.noise_power),
            (seed, count),
            e,
            batch,
        )
    }

    /// The gradient by parameters, with what regularizes them.
    fn gradient(&self, x: &Nodes, batch: u32) -> (f64, Nodes) {
        let (loss, by_e) = self.head(&self.smooth(x, false), batch);
        let mut g = self.smooth(&by_e, true);
        let lambda = self.settings.regularization / f64::from(self.settings.batches());
        for ((g, x), degree) in g.iter_mut().zip(x).zip(&self.graph.degrees) {
            g.iter_mut()
                .zip(x)
                .for_each(|(g, x)| *g += lambda * degree * x);
        }
        (loss, g)
    }

    /// What [`Naive::gradient`] is the gradient of.
    fn objective(&self, x: &Nodes) -> f64 {
        let lambda = self.settings.regularization / f64::from(self.settings.batches());
        let squares = x.iter().zip(&self.graph.degrees);
        let squares = squares.map(|(x, degree)| degree * x.iter().map(|x| x * x).sum::<f64>());
        self.head(&self.smooth(x, false), 0).0 + 0.5 * lambda * squares.sum::<f64>()
    }

    /// The embeddings and the losses of epochs.
    fn train(&self) -> (Nodes, Vec<f64>) {
        let mut x = self.start();
        let mut moments = Moments::default();
        let (count, mut losses) = (self.settings.batches(), Vec::new());
        for batch in 0..self.settings.epochs * count {
            let (loss, g) = self.gradient(&x, batch);
            if batch % count == 0 {
                losses.push(0.0);
            }
            *losses.last_mut().unwrap() += loss;
            let left = self.settings.learning.decay.powi((batch / count) as i32);
            let (rate, g) = (self.settings.rate() * left, g.into_iter().flatten());
            moments.step((rate, batch as i32 + 1), x.iter_mut().flatten(), g);
        }
        (self.smooth(&x, false), losses)
    }
}

fn heads() -> [Settings; 4] {
    let settings = Settings {
        rank: 5,
        init_scale: 1.0,
        regularization: 0.01,
        learning: Learning {
            rate: Some(0.01),
            loss: HeadName::Bpr,
            ..Learning::DEFAULT
        },
        ..Settings::default()
    };
    [
        settings.clone(),
        Settings {
            learning: Learning {
                loss: HeadName::AllPairs,
                alpha0: Some(0.2),
                ..settings.learning
            },
            ..settings.clone()
        },
        Settings {
            learning: Learning {
                loss: HeadName::Logistic,
                negatives: Some(2),
                noise_power: 0.75,
                decay: 0.5,
                ..settings.learning
            },
            ..settings.clone()
        },
        Settings {
            learning: Learning {
                loss: HeadName::Squared,
                negatives: Some(1),
                ..settings.learning
            },
            ..settings
        },
    ]
}

/// After the first step the mean of gradients is a tenth of the gradient.
#[test]
fn gradients_are_differences_of_the_loss() {
    let mut beds = [
        bed(&small(), IoMode::Mmap),
        linked_bed(&small(), true, IoMode::Mmap),
        linked_bed(&small(), false, IoMode::Mmap),
    ];
    for head in heads() {
        for (bed, layers, normalization, self_loops) in [
            (0, 0, Normalization::Symmetric, false),
            (0, 0, Normalization::Symmetric, true),
            (0, 1, Normalization::Symmetric, false),
            (0, 2, Normalization::RandomWalk, false),
            (0, 2, Normalization::None, true),
            (0, 3, Normalization::Symmetric, false),
            (0, 3, Normalization::Symmetric, true),
            (1, 0, Normalization::Symmetric, false),
            (1, 2, Normalization::Symmetric, false),
            (1, 2, Normalization::Symmetric, true),
            (1, 1, Normalization::None, false),
            (1, 2, Normalization::RandomWalk, true),
            (2, 1, Normalization::RandomWalk, false),
            (2, 2, Normalization::Symmetric, false),
        ] {
            let bed = &mut beds[bed];
            let settings = Settings {
                layers,
                normalization,
                self_loops,
                user_edge_weight: 1.5,
                product_edge_weight: 0.25,
                epochs: 1,
                learning: Learning {
                    batches: Some(1),
                    ..head.learning
                },
                ..head.clone()
            };
            let trained = train(bed, &settings).unwrap();
            let naive = Naive::new(bed, &settings);
            let mut x = naive.start();
            let means = |of: u16, grid: &Grid| {
                let keys = KeyRange::Blocks {
                    table: TableId(MEANS.0 + of),
                    first: 0,
                    count: grid.blocks(),
                    version: 1,
                };
                numbers(&bed.found.world.bytes_of(keys), 5)
            };
            let mut found = means(0, &bed.input.user);
            found.extend(means(1, &bed.input.product));
            let (loss, gradient) = naive.gradient(&x, 0);
            assert!((trained.objectives[0] - loss).abs() < 1e-5 * loss);
            for node in (0..x.len()).step_by(7) {
                for k in 0..5 {
                    if naive.graph.degrees[node] == 0.0 {
                        assert_eq!(found[node][k], 0.0);
                        continue;
                    }
                    let (h, at) = (1e-4, x[node][k]);
                    let mut off = |by: f64| {
                        x[node][k] = at + by;
                        let value = naive.objective(&x);
                        x[node][k] = at;
                        value
                    };
                    let difference = (off(h) - off(-h)) / (2.0 * h);
                    assert!(
                        (gradient[node][k] - difference).abs() < 1e-5 * (1.0 + difference.abs())
                    );
                    let engine = found[node][k] / 0.1;
                    assert!(
                        (engine - difference).abs() < 1e-4 * (1.0 + difference.abs()),
                        "{:?} {layers} {normalization:?} {self_loops} {node}: {engine} instead of {difference}",
                        settings.learning.loss
                    );
                }
            }
        }
    }
}

#[test]
fn training_is_that_of_the_whole_computation() {
    let mut beds = [
        bed(&small(), IoMode::Mmap),
        linked_bed(&small(), true, IoMode::Mmap),
    ];
    for head in heads() {
        for (bed, layers, batches) in [(0, 0, 3), (0, 1, 1), (0, 3, 3), (1, 2, 3), (1, 3, 2)] {
            let bed = &mut beds[bed];
            let settings = Settings {
                layers,
                self_loops: batches == 2,
                epochs: 3,
                learning: Learning {
                    batches: Some(batches),
                    ..head.learning
                },
                ..head.clone()
            };
            let trained = train(bed, &settings).unwrap();
            let (exact, losses) = Naive::new(bed, &settings).train();
            for (found, exact) in trained.objectives.iter().zip(losses) {
                assert!(
                    (found - exact).abs() < 1e-4 * exact,
                    "{found} instead of {exact}"
                );
            }
            let mut found = numbers(&trained.users, 5);
            found.extend(numbers(&trained.products, 5));
            let cells = found.iter().flatten().zip(exact.iter().flatten());
            let off = cells.map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            assert!(
                off < 2e-3,
                "{:?} {layers} {batches}: {off}",
                settings.learning.loss
            );
        }
    }
}

#[test]
fn neither_budget_nor_order_nor_instructions_nor_io_change_a_bit() {
    let rows = some_rows(20_000, 5);
    let mut reference = linked_bed(&rows, true, IoMode::Mmap);
    let mut other = linked_bed(&rows, true, IoMode::Pread);
    other.found.world.backwards = true;
    for head in heads() {
        let settings = Settings {
            rank: 20,
            epochs: 2,
            learning: Learning {
                batches: Some(2),
                ..head.learning
            },
            self_loops: head.learning.loss == HeadName::Bpr,
            ..head
        };
        let expected = train(&mut reference, &settings).unwrap();
        let whole = train_with(&mut reference, &settings, BY_RANGES).unwrap();
        assert!(whole == expected, "by ranges {:?}", settings.learning.loss);
        let paths = Simd::available().map(|simd| (simd, Caches::default()));
        for (simd, caches) in paths.chain([(Simd::detect(), BY_RANGES)]) {
            let room = &mut other.found.world.room;
            (room.simd, room.budget_bytes) = (simd, 50_000);
            // The smallest budget that does: passes gather the rows that they name.
            let found = loop {
                match train_with(&mut other, &settings, caches) {
                    Ok(found) => break found,
                    Err(InlineError::Task(plan::Failure::Budget { enough, .. })) => {
                        other.found.world.room.budget_bytes = enough.0;
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(
                found == expected,
                "{:?} {simd} {caches:?}",
                settings.learning.loss
            );
        }
    }
}

#[test]
fn a_run_goes_on_from_a_pause_and_frees_what_nobody_reads() {
    let mut bed = bed(&some_rows(6000, 5), IoMode::Mmap);
    for (head, layers) in heads().into_iter().zip([2, 0, 1, 0]) {
        let settings = Settings {
            rank: 6,
            layers,
            epochs: 4,
            learning: Learning {
                batches: Some(2),
                ..head.learning
            },
            ..head
        };
        let expected = train(&mut bed, &settings).unwrap();
        let blocks = bed.input.user.blocks() + bed.input.product.blocks();
        // Degrees, parameters, both means and, where they are others, embeddings; the roots of Grams.
        let tables = if layers == 0 { 4 } else { 5 };
        let roots = if settings.learning.loss == HeadName::AllPairs {
            2
        } else {
            0
        };
        assert_eq!(
            bed.found.world.objects.len() as u32,
            tables * blocks + roots
        );
        bed.found.world.objects.clear();
        bed.found.world.news.clear();
        let mut program = LightGcn::new(settings.clone(), bed.graph(Caches::default()))
            .unwrap()
            .with_pause(2);
        bed.found.world.run(&mut program, &exec::begin).unwrap();
        let state = program.encode();
        let mut program = LightGcn::new(settings, bed.graph(Caches::default())).unwrap();
        program.restore(Some(&state)).unwrap();
        bed.found.world.run(&mut program, &exec::begin).unwrap();
        assert_eq!(Training::epochs_done(&program), 4);
        assert!(result(&bed, &program) == expected);
    }
}

/// Edges that count nothing leave every bit as it is.
#[test]
fn edges_that_count_nothing_change_nothing() {
    let rows = small();
    let mut plain = bed(&rows, IoMode::Mmap);
    let mut linked = linked_bed(&rows, true, IoMode::Mmap);
    let settings = Settings {
        user_edge_weight: 0.0,
        product_edge_weight: 0.0,
        epochs: 2,
        ..heads()[0].clone()
    };
    let expected = train(&mut plain, &settings).unwrap();
    assert!(train(&mut linked, &settings).unwrap() == expected);
}

/// Users of four tastes buy of their taste's products alone, some of which are popular: scores tell tastes apart where counts do not.
#[test]
fn planted_tastes_are_found() {
    let mut rows = Vec::new();
    for user in 0..120_i64 {
        for k in 0..30_u64 {
            let word = (user as u64 * 31 + k).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
            let skewed = (word % 20) * ((word >> 8) % 20) / 20;
            rows.push(Row {
                user,
                product: skewed as i64 * 4 + user % 4,
                seconds: 20_000 * DAY + k as i64,
                value: 1.0,
            });
        }
    }
    let mut bed = bed(&rows, IoMode::Mmap);
    for head in heads() {
        let settings = Settings {
            rank: 8,
            epochs: 20,
            learning: Learning {
                batches: Some(5),
                rate: Some(0.02),
                ..head.learning
            },
            init_scale: 0.1,
            ..head
        };
        let trained = train(&mut bed, &settings).unwrap();
        let naive = Naive::new(&bed, &settings);
        let (users, products) = (numbers(&trained.users, 8), numbers(&trained.products, 8));
        // Who is connected has one taste: the least node that is reached.
        let first = users.len();
        let mut taste: Vec<usize> = (0..first + products.len()).collect();
        for _ in 0..taste.len() {
            for &(user, product) in &naive.graph.pairs {
                let least = taste[user].min(taste[first + product]);
                (taste[user], taste[first + product]) = (least, least);
            }
        }
        let had: BTreeSet<_> = naive.graph.pairs.iter().copied().collect();
        let scored = |user: usize, own: bool| -> Vec<f64> {
            let open = (0..products.len()).filter(|&product| {
                let unseen =
                    naive.graph.degrees[first + product] > 0.0 && !had.contains(&(user, product));
                unseen && (taste[user] == taste[first + product]) == own
            });
            let score = |product: usize| {
                users[user]
                    .iter()
                    .zip(&products[product])
                    .map(|(x, y)| x * y)
                    .sum()
            };
            open.map(score).collect()
        };
        let (mut above, mut all) = (0, 0);
        for user in 0..first {
            let others = scored(user, false);
            for own in scored(user, true) {
                above += others.iter().filter(|&&other| own > other).count();
                all += others.len();
            }
        }
        let share = f64::from(above as u32) / f64::from(all as u32);
        assert!(share > 0.95, "{:?}: {share}", settings.learning.loss);
    }
}
