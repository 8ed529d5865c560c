//! The spectral model end to end in one process: against singular values of the dense matrix in f64, and whatever must
//! not matter.

use kernels::Simd;
use model::graph::Edges;
use model::graph::spectral::{Normalization, Settings, Spectral};
use model::graph::tiles::Caches;
use store::IoMode;
use tensor::{Checkpoint, Mode, News, Program, ProgramError, Reduced, StepId, Turn};
use tests::dense::{Dense, matrix, table};
use tests::graph::Graph;
use tests::ingested::{Row, some_rows};
use tests::inline::InlineError;
use tests::linked::linked_bed;
use tests::tiled::{BY_RANGES, Bed, bed};

const NORMALIZATIONS: [Normalization; 3] = [
    Normalization::None,
    Normalization::Symmetric,
    Normalization::RandomWalk,
];

/// The tables of a model as bytes, and what each epoch told.
#[derive(Clone, Debug, PartialEq)]
struct Trained {
    users: Vec<u8>,
    products: Vec<u8>,
    objectives: Vec<f64>,
    residuals: Vec<f64>,
}

fn result(bed: &Bed, program: &Spectral) -> Trained {
    let tables = program.tables();
    let bytes = |at: usize| bed.found.world.bytes_of(tables[at].keys());
    let (mut objectives, mut residuals) = (Vec::new(), Vec::new());
    for News::Epoch {
        objective, metrics, ..
    } in &bed.found.world.news
    {
        objectives.push(objective.unwrap());
        residuals.push(metrics[0].1);
        assert_eq!(metrics[0].0, "residual");
    }
    Trained {
        users: bytes(0),
        products: bytes(1),
        objectives,
        residuals,
    }
}

fn train(bed: &mut Bed, settings: &Settings) -> Result<Trained, InlineError> {
    let caches = Caches::default();
    train_with(bed, settings, caches)
}

fn train_with(bed: &mut Bed, settings: &Settings, caches: Caches) -> Result<Trained, InlineError> {
    let mut program = Spectral::new(settings.clone(), bed.graph(caches)).unwrap();
    bed.found.world.news.clear();
    bed.found.world.objects.clear();
    bed.found.world.run(&mut program, &exec::begin)?;
    Ok(result(bed, &program))
}

/// B of R, and what brings B back to R.
fn normalized(
    r: &Dense,
    normalization: Normalization,
) -> (Dense, impl Fn(&Dense) -> Dense + use<>) {
    let sums = |of: &Dense| -> Vec<f64> {
        of.cells
            .chunks(of.columns)
            .map(|row| row.iter().sum())
            .collect()
    };
    let (users, products) = (sums(r), sums(&r.transposed()));
    let by = move |i: usize, j: usize| match normalization {
        Normalization::None => 1.0,
        Normalization::Symmetric => (users[i] * products[j]).sqrt(),
        Normalization::RandomWalk => users[i],
    };
    let divided = |x: f64, by: f64| if by > 0.0 { x / by } else { 0.0 };
    let b = Dense::from(r.rows(), r.columns, |i, j| divided(r.at(i, j), by(i, j)));
    let back = move |b: &Dense| Dense::from(b.rows(), b.columns, |i, j| b.at(i, j) * by(i, j));
    (b, back)
}

/// L Mᵀ of a model.
fn scores(trained: &Trained, width: usize) -> Dense {
    table(&trained.users, width).times(&table(&trained.products, width).transposed())
}

fn small() -> Vec<Row> {
    let mut rows = some_rows(900, 3);
    for row in &mut rows {
        (row.user, row.product) = (row.user % 50, row.product % 30);
    }
    rows
}

#[test]
fn factors_are_the_best_approximation_of_the_graph() {
    let mut bed = bed(&small(), IoMode::Mmap);
    for edges in [Edges::Binary, Edges::Values] {
        let r = matrix(&bed.found, &bed.input.train, edges);
        for normalization in NORMALIZATIONS {
            for walk_length in [1, 3] {
                let settings = Settings {
                    rank: 4,
                    epochs: 12,
                    normalization,
                    edges,
                    walk_length,
                    ..Settings::default()
                };
                let trained = train(&mut bed, &settings).unwrap();
                let (b, back) = normalized(&r, normalization);
                let cubes = |x: f64| if walk_length == 3 { x + x * x * x } else { x };
                let (values, best) = b.best(4, cubes);
                let best = back(&best);
                let off = scores(&trained, 16).minus(&best).size() / best.size();
                assert!(
                    off < 2e-4,
                    "{edges:?} {normalization:?} {walk_length}: {off}"
                );
                let explained: f64 = values[..4].iter().map(|value| value * value).sum();
                let last = trained.objectives[11];
                assert!(
                    (last + explained).abs() < 1e-5 * explained,
                    "{last} {explained}"
                );
                let residuals = &trained.residuals;
                assert!(
                    residuals[11] < 2e-3 && residuals[0] > residuals[11],
                    "{residuals:?}"
                );
            }
        }
    }
}

/// T of a bed with edges, over users and then products, of walks up to a length on what is divided.
fn walks(bed: &Bed, settings: &Settings) -> (Dense, Graph) {
    let graph = Graph::of(bed).linked(bed, |mode| settings.edge_weight(mode));
    let nodes = graph.degrees.len();
    let one = |node: usize| (0..nodes).map(move |other| f64::from(u8::from(other == node)));
    let unit: Vec<Vec<f64>> = (0..nodes).map(|node| one(node).collect()).collect();
    let a = graph.neighbours(settings.normalization, &unit, false);
    let a = Dense::from(nodes, nodes, |i, j| a[i][j]);
    let mut sum = a.clone();
    for _ in 1..settings.walk_length {
        let next = a.times(&sum);
        sum = Dense::from(nodes, nodes, |i, j| a.at(i, j) + next.at(i, j));
    }
    (sum, graph)
}

/// L Mᵀ over users and products is the best approximation of A with edges, of A + A² and of A + A² + A³, between users and products
/// and in size; two steps reach products by friends now; and ranges, files and threads change nothing.
#[test]
fn with_edges_factors_are_the_best_approximation_of_the_whole_graph() {
    let rows = small();
    let mut bed = linked_bed(&rows, false, IoMode::Mmap);
    let mut scored = Vec::new();
    for normalization in [Normalization::None, Normalization::Symmetric] {
        for walk_length in [1, 2, 3] {
            let settings = Settings {
                rank: 5,
                epochs: 40,
                normalization,
                user_edge_weight: 0.5,
                product_edge_weight: 0.25,
                walk_length,
                ..Settings::default()
            };
            let trained = train(&mut bed, &settings).unwrap();
            let (t, graph) = walks(&bed, &settings);
            assert!(!graph.links.is_empty());
            let (values, best) = t.best(5, |x| x);
            let users = graph.users.len();
            let root = |node: usize| match normalization {
                Normalization::None => 1.0,
                _ => graph.degrees[node].sqrt(),
            };
            let best = Dense::from(users, graph.products.len(), |i, j| {
                root(i) * root(users + j) * best.at(i, users + j)
            });
            let found = scores(&trained, 16);
            let off = found.minus(&best).size() / best.size();
            let told = format!("{normalization:?} {walk_length}: {off} {:?}", &values[..7]);
            assert!(off < 1e-3, "{told}");
            let explained: f64 = values[..5].iter().map(|value| value * value).sum();
            let last = *trained.objectives.last().unwrap();
            assert!((last + explained).abs() < 1e-4 * explained, "{last} {told}");
            let residuals = &trained.residuals;
            assert!(
                residuals[39] < 1e-2 && residuals[0] > residuals[39],
                "{residuals:?}"
            );
            scored.push(trained.clone());

            if walk_length != 2 {
                continue;
            }
            let mut others = linked_bed(&rows, false, IoMode::Pread);
            assert_eq!(train(&mut others, &settings).unwrap(), trained);
            assert_eq!(train_with(&mut bed, &settings, BY_RANGES).unwrap(), trained);
        }
    }
    assert_ne!(scored[0].users, scored[1].users);
    let without = Settings {
        rank: 5,
        epochs: 40,
        user_edge_weight: 0.0,
        product_edge_weight: 0.0,
        ..Settings::default()
    };
    let plain = train(&mut bed, &without).unwrap();
    assert_ne!(plain.users, scored[0].users);
    let mut unlinked = tests::tiled::bed(&rows, IoMode::Mmap);
    assert_eq!(train(&mut unlinked, &without).unwrap(), plain);
}

/// Edges that lead one way have no eigenvectors, and a walk from users to products knows no others.
#[test]
fn edges_that_the_graph_cannot_have_are_refused_by_their_key() {
    let refused = |directed: bool, settings: Settings| {
        let bed = linked_bed(&small(), directed, IoMode::Mmap);
        let input = bed.graph(Caches::default());
        Spectral::new(settings, input)
            .err()
            .map(|error| error.to_string())
    };
    let told = refused(true, Settings::default()).unwrap();
    assert!(
        told.contains("user_edge_weight") && told.contains("one way"),
        "{told}"
    );
    let walk = Settings {
        normalization: Normalization::RandomWalk,
        ..Settings::default()
    };
    let told = refused(false, walk.clone()).unwrap();
    assert!(
        told.contains("normalization") && told.contains("symmetric"),
        "{told}"
    );
    let without = Settings {
        user_edge_weight: 0.0,
        product_edge_weight: 0.0,
        ..walk
    };
    assert_eq!(refused(true, without), None);
}

/// Values of rank 3 in all cells: nothing is left of them, and a larger rank finds nothing more.
#[test]
fn a_planted_matrix_is_recovered() {
    let part = |i: i64, k: i64| ((i * 7 + k * 13 + i * k) % 11 + 1) as f64 / 8.0;
    let mut rows = Vec::new();
    for (user, product) in (0..40).flat_map(|user| (0..25).map(move |product| (user, product))) {
        rows.push(Row {
            user,
            product,
            seconds: 86_400,
            value: (0..3).map(|k| part(user, k) * part(product, k + 5)).sum(),
        });
    }
    let mut bed = bed(&rows, IoMode::Mmap);
    // Nothing is held out.
    bed.input.train = bed.found.data.parts[0].1.clone();
    let r = matrix(&bed.found, &bed.input.train, Edges::Values);
    for rank in [3, 6] {
        let settings = Settings {
            rank,
            epochs: 3,
            edges: Edges::Values,
            ..Settings::default()
        };
        let trained = train(&mut bed, &settings).unwrap();
        let off = scores(&trained, 16).minus(&r).size() / r.size();
        assert!(off < 1e-5, "{rank}: {off}");
    }
}

#[test]
fn neither_budget_nor_order_nor_instructions_nor_io_change_a_bit() {
    let rows = some_rows(20_000, 5);
    let mut reference = bed(&rows, IoMode::Mmap);
    let mut other = bed(&rows, IoMode::Pread);
    other.found.world.backwards = true;
    for (normalization, edges) in [
        (Normalization::None, Edges::Binary),
        (Normalization::Symmetric, Edges::Values),
    ] {
        let settings = Settings {
            rank: 20,
            epochs: 2,
            normalization,
            edges,
            ..Settings::default()
        };
        let expected = train(&mut reference, &settings).unwrap();
        let ways = [Caches::default(), BY_RANGES];
        let ways = ways.into_iter().flat_map(|caches| {
            let paths = Simd::available();
            paths.into_iter().map(move |simd| (caches, simd))
        });
        let whole = train_with(&mut reference, &settings, BY_RANGES).unwrap();
        assert!(whole == expected, "by ranges {normalization:?}");
        for (caches, simd) in ways {
            let room = &mut other.found.world.room;
            (room.simd, room.budget_bytes) = (simd, 50_000);
            // The smallest budget that does: products gather the rows that they name, with too few interactions for a second piece.
            let found = loop {
                match train_with(&mut other, &settings, caches) {
                    Ok(found) => break found,
                    Err(InlineError::Task(plan::Failure::Budget { enough, .. })) => {
                        other.found.world.room.budget_bytes = enough.0;
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(found == expected, "{normalization:?} {caches:?} {simd}");
        }
    }
}

/// A program that ends at an epoch, and what it would go on from.
struct Interrupted {
    inner: Spectral,
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
fn a_run_goes_on_from_a_checkpoint_and_frees_what_nobody_reads() {
    let mut bed = bed(&some_rows(6000, 5), IoMode::Mmap);
    let settings = Settings {
        rank: 6,
        epochs: 4,
        normalization: Normalization::Symmetric,
        ..Settings::default()
    };
    let expected = train(&mut bed, &settings).unwrap();
    let blocks = |mode| match mode {
        Mode::User => bed.input.user.blocks(),
        _ => bed.input.product.blocks(),
    };
    // The model, degrees, and the sums with their Gram that a next epoch would begin with.
    let (users, products) = (blocks(Mode::User), blocks(Mode::Product));
    assert_eq!(
        bed.found.world.objects.len() as u32,
        2 * (users + products) + products + 1
    );
    bed.found.world.objects.clear();
    let inner = Spectral::new(settings.clone(), bed.graph(Caches::default())).unwrap();
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
    let mut program = Spectral::new(settings, bed.graph(Caches::default())).unwrap();
    program.restore(Some(&checkpoint.state)).unwrap();
    bed.found.world.run(&mut program, &exec::begin).unwrap();
    let found = result(&bed, &program);
    assert!(found.users == expected.users && found.products == expected.products);
    assert_eq!(found.objectives, expected.objectives[2..]);
}
