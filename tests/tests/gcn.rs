//! Graph convolution end to end in one process: against the whole computation in f64 (its gradients against differences of its loss),
//! and whatever must not matter.

use kernels::Simd;
use model::Training;
use model::graph::gcn::schedule::{MEANS, WEIGHT_MEANS};
use model::graph::gcn::{Gcn, SelfWeights, Settings, Weights};
use model::graph::lightgcn::HeadName;
use model::graph::tiles::Caches;
use model::graph::{Activation, Normalization};
use store::IoMode;
use tensor::{Grid, KeyRange, News, Program, TableId};
use tests::graph::{Graph, Moments, Nodes, numbers, small};
use tests::ingested::some_rows;
use tests::inline::InlineError;
use tests::tiled::{BY_RANGES, Bed, bed};

/// The tables of a model as bytes, and the objective of every epoch.
#[derive(Clone, Debug, PartialEq)]
struct Trained {
    tables: Vec<Vec<u8>>,
    objectives: Vec<f64>,
}

fn result(bed: &Bed, program: &Gcn) -> Trained {
    let world = &bed.found.world;
    let tables = program.tables();
    let tables = tables.iter().map(|table| world.bytes_of(table.keys()));
    let objectives = world.news.iter();
    let objectives = objectives.map(|News::Epoch { objective, .. }| objective.unwrap());
    Trained {
        tables: tables.collect(),
        objectives: objectives.collect(),
    }
}

fn train(bed: &mut Bed, settings: &Settings) -> Result<Trained, InlineError> {
    train_with(bed, settings, Caches::default())
}

fn train_with(bed: &mut Bed, settings: &Settings, caches: Caches) -> Result<Trained, InlineError> {
    let mut program = Gcn::new(settings.clone(), bed.graph(caches)).unwrap();
    bed.found.world.news.clear();
    bed.found.world.objects.clear();
    bed.found.world.run(&mut program, &exec::begin)?;
    Ok(result(bed, &program))
}

/// A table of the run, of users and then of products.
fn both(bed: &Bed, table: TableId, grids: [&Grid; 2], version: u64, columns: usize) -> [Nodes; 2] {
    [0, 1].map(|of| {
        let keys = KeyRange::Blocks {
            table: TableId(table.0 + of),
            first: 0,
            count: grids[usize::from(of)].blocks(),
            version,
        };
        numbers(&bed.found.world.bytes_of(keys), columns)
    })
}

/// Lines of the matrices of layers, one layer and one matrix after the other.
type Lines = Vec<Vec<f64>>;

/// Everything that is learnt: rows of nodes, and the matrices of users and of products.
#[derive(Clone)]
struct Learnt {
    rows: Nodes,
    weights: [Lines; 2],
}

impl Learnt {
    fn each(&mut self) -> [&mut Vec<Vec<f64>>; 3] {
        let [users, products] = &mut self.weights;
        [&mut self.rows, users, products]
    }
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
            graph: Graph::of(bed),
        }
    }

    fn rank(&self) -> usize {
        self.settings.rank as usize
    }

    fn start(&self) -> Learnt {
        let (settings, rank) = (&self.settings, self.rank());
        let lines = settings.layers as usize * settings.parts() as usize * rank;
        let unit = |line: usize| {
            (0..rank)
                .map(|k| if k == line % rank { 0.5 } else { 0.0 })
                .collect()
        };
        let weights: Lines = (0..lines).map(unit).collect();
        Learnt {
            rows: self.graph.start(settings.seed, rank, settings.init_scale),
            weights: [weights.clone(), weights],
        }
    }

    /// The side of a node whose matrices it goes through.
    fn side(&self, node: usize) -> usize {
        let product = node >= self.graph.users.len();
        usize::from(product && self.settings.weights == Weights::Separate)
    }

    /// The first line of a matrix.
    fn first(&self, layer: usize, part: usize) -> usize {
        (layer * self.settings.parts() as usize + part) * self.rank()
    }

    fn activation(&self, layer: usize) -> Activation {
        self.settings.activation(layer as u32)
    }

    /// Neighbours' sums of each layer, and the layers.
    fn forward(&self, of: &Learnt) -> (Vec<Nodes>, Vec<Nodes>) {
        let (mut all, mut layers) = (Vec::new(), vec![of.rows.clone()]);
        let parts = self.settings.parts() as usize;
        for layer in 0..self.settings.layers as usize {
            let own = &layers[layer];
            let sums = self.graph.neighbours(self.settings.normalization, own);
            let row = |node: usize| -> Vec<f64> {
                let weights = &of.weights[self.side(node)];
                let (own, sums) = (&own[node], &sums[node]);
                let cell = |k: usize| {
                    let times = |x: &[f64], part: usize| -> f64 {
                        let first = self.first(layer, part);
                        (0..self.rank()).map(|i| x[i] * weights[first + i][k]).sum()
                    };
                    let sum = times(sums, 0) + times(own, parts - 1);
                    match self.activation(layer) {
                        Activation::Identity => sum,
                        Activation::Relu => sum.max(0.0),
                        Activation::Tanh => sum.tanh(),
                    }
                };
                (0..self.rank()).map(cell).collect()
            };
            layers.push((0..own.len()).map(row).collect());
            all.push(sums);
        }
        (all, layers)
    }

    fn head(&self, e: &Nodes, batch: u32) -> (f64, Nodes) {
        let of = (self.settings.seed, self.settings.batches());
        self.graph.head(self.settings.head(), of, e, batch)
    }

    /// λ d of each node.
    fn held(&self) -> impl Iterator<Item = f64> {
        let lambda = self.settings.regularization / f64::from(self.settings.batches());
        self.graph.degrees.iter().map(move |degree| lambda * degree)
    }

    /// The gradient of a batch by all that is learnt.
    fn gradient(&self, of: &Learnt, batch: u32) -> (f64, Learnt) {
        let (sums, layers) = self.forward(of);
        let (loss, mut by) = self.head(&layers[layers.len() - 1], batch);
        let mut found = of.clone();
        for table in found.each() {
            table.iter_mut().flatten().for_each(|x| *x = 0.0);
        }
        let (rank, parts) = (self.rank(), self.settings.parts() as usize);
        for layer in (0..self.settings.layers as usize).rev() {
            let (mut to_sums, mut to_own) = (
                vec![vec![0.0; rank]; by.len()],
                vec![vec![0.0; rank]; by.len()],
            );
            for node in 0..by.len() {
                let weights = &of.weights[self.side(node)];
                let slopes = &mut found.weights[self.side(node)];
                for k in 0..rank {
                    let value = layers[layer + 1][node][k];
                    let slope = by[node][k]
                        * match self.activation(layer) {
                            Activation::Identity => 1.0,
                            Activation::Relu => f64::from(u8::from(value > 0.0)),
                            Activation::Tanh => 1.0 - value * value,
                        };
                    for i in 0..rank {
                        let (of_sums, of_own) =
                            (self.first(layer, 0) + i, self.first(layer, parts - 1) + i);
                        to_sums[node][i] += slope * weights[of_sums][k];
                        to_own[node][i] += slope * weights[of_own][k];
                        slopes[of_sums][k] += slope * sums[layer][node][i];
                        slopes[of_own][k] += slope * layers[layer][node][i];
                    }
                }
            }
            // Â is symmetric.
            by = self.graph.neighbours(self.settings.normalization, &to_sums);
            by.iter_mut()
                .flatten()
                .zip(to_own.iter().flatten())
                .for_each(|(x, y)| *x += y);
        }
        for ((g, x), held) in by.iter_mut().zip(&of.rows).zip(self.held()) {
            g.iter_mut().zip(x).for_each(|(g, x)| *g += held * x);
        }
        found.rows = by;
        (loss, found)
    }

    /// What [`Naive::gradient`] is the gradient of.
    fn objective(&self, of: &Learnt) -> f64 {
        let (_, layers) = self.forward(of);
        let squares = of.rows.iter().zip(self.held());
        let squares = squares.map(|(x, held)| held * x.iter().map(|x| x * x).sum::<f64>());
        self.head(&layers[layers.len() - 1], 0).0 + 0.5 * squares.sum::<f64>()
    }

    /// The embeddings, the losses of epochs and the means of gradients.
    fn train(&self) -> (Nodes, Vec<f64>, [Moments; 3]) {
        let mut of = self.start();
        let mut moments = [(); 3].map(|()| Moments::default());
        let (count, mut losses) = (self.settings.batches(), Vec::new());
        let rates = [
            self.settings.rate(),
            self.settings.weight_rate(),
            self.settings.weight_rate(),
        ];
        for batch in 0..self.settings.epochs * count {
            let (loss, mut g) = self.gradient(&of, batch);
            if batch % count == 0 {
                losses.push(0.0);
            }
            *losses.last_mut().unwrap() += loss;
            let tables = of.each().into_iter().zip(g.each());
            for (((x, g), moments), rate) in tables.zip(&mut moments).zip(rates) {
                let (x, g) = (x.iter_mut().flatten(), g.iter().flatten().copied());
                moments.step((rate, batch as i32 + 1), x, g);
            }
        }
        let (_, mut layers) = self.forward(&of);
        (layers.pop().unwrap(), losses, moments)
    }
}

/// Every head, depth, activation and kind of matrices, some of them together.
fn cover() -> Vec<Settings> {
    use Activation::{Identity, Relu, Tanh};
    use HeadName::{AllPairs, Bpr};
    use SelfWeights::{Free, Tied};
    [
        (AllPairs, 1, Identity, Tied, Weights::Separate),
        (AllPairs, 2, Relu, Free, Weights::Separate),
        (AllPairs, 3, Tanh, Tied, Weights::Shared),
        (AllPairs, 2, Identity, Free, Weights::Shared),
        (Bpr, 1, Tanh, Free, Weights::Separate),
        (Bpr, 2, Tanh, Tied, Weights::Separate),
        (Bpr, 3, Relu, Free, Weights::Shared),
    ]
    .into_iter()
    .map(
        |(loss, layers, activation, self_weights, weights)| Settings {
            rank: 5,
            layers,
            activation,
            self_weights,
            weights,
            init_scale: 1.0,
            regularization: 0.01,
            rate: Some(0.05),
            loss,
            alpha0: (loss == AllPairs).then_some(0.2),
            ..Settings::default()
        },
    )
    .collect()
}

fn grids(bed: &Bed) -> [Grid; 2] {
    [bed.input.user.clone(), bed.input.product.clone()]
}

/// The means of gradients after so many steps: of rows, and of the matrices of users and of products.
fn means(bed: &Bed, settings: &Settings, step: u64) -> [Nodes; 3] {
    let [users, products] = &grids(bed);
    let layers = Grid {
        stride_log2: 31,
        rows: vec![0; settings.layers as usize],
    };
    let rank = settings.rank as usize;
    let [mut rows, of_products] = both(bed, MEANS, [users, products], step, rank);
    rows.extend(of_products);
    if settings.weights == Weights::Shared {
        let keys = KeyRange::Blocks {
            table: WEIGHT_MEANS,
            first: 0,
            count: settings.layers,
            version: step,
        };
        let shared = numbers(&bed.found.world.bytes_of(keys), rank);
        return [rows, shared, Vec::new()];
    }
    let [users, products] = both(bed, WEIGHT_MEANS, [&layers, &layers], step, rank);
    [rows, users, products]
}

/// After the first step the mean of gradients is a tenth of the gradient.
#[test]
fn gradients_are_differences_of_the_loss() {
    let mut bed = bed(&small(), IoMode::Mmap);
    for (at, cover) in cover().into_iter().enumerate() {
        let settings = Settings {
            normalization: [Normalization::Symmetric, Normalization::RandomWalk][at % 2],
            epochs: 1,
            batches: Some(1),
            ..cover
        };
        let trained = train(&mut bed, &settings).unwrap();
        let naive = Naive::new(&bed, &settings);
        let mut of = naive.start();
        let (loss, mut gradient) = naive.gradient(&of, 0);
        assert!((trained.objectives[0] - loss).abs() < 1e-5 * loss);
        let engine = means(&bed, &settings, 1);
        let (mut looked, mut bent) = (0, 0);
        for (table, found) in engine.iter().enumerate() {
            let every = if table == 0 { 7 } else { 1 };
            for line in (0..found.len()).step_by(every) {
                for (k, &mean) in found[line].iter().enumerate() {
                    if table == 0 && naive.graph.degrees[line] == 0.0 {
                        assert_eq!(mean, 0.0);
                        continue;
                    }
                    let (h, before) = (1e-5, of.each()[table][line][k]);
                    let mut off = |by: f64| {
                        of.each()[table][line][k] = before + by;
                        let value = naive.objective(&of);
                        of.each()[table][line][k] = before;
                        value
                    };
                    let (middle, sides) = (off(0.0), [off(-h), off(h)]);
                    let [left, right] = [(middle - sides[0]) / h, (sides[1] - middle) / h];
                    let difference = f64::midpoint(left, right);
                    // A number of the layers between is so near to 0 that ReLU bends there.
                    if (left - right).abs() > 1e-2 * (1.0 + difference.abs()) {
                        bent += 1;
                        continue;
                    }
                    let exact = gradient.each()[table][line][k];
                    let size = 1.0 + difference.abs();
                    assert!(
                        (exact - difference).abs() < 1e-4 * size,
                        "{at}: {exact} {difference}"
                    );
                    let engine = mean / 0.1;
                    assert!(
                        (engine - difference).abs() < 1e-3 * size,
                        "{at}, table {table}, line {line}: {engine} instead of {difference}"
                    );
                    looked += 1;
                }
            }
        }
        assert!(looked > 200 && bent <= looked / 50, "{bent} of {looked}");
    }
}

#[test]
fn training_is_that_of_the_whole_computation() {
    let mut bed = bed(&small(), IoMode::Mmap);
    for settings in cover() {
        let settings = Settings {
            epochs: 2,
            batches: Some(3),
            ..settings
        };
        let trained = train(&mut bed, &settings).unwrap();
        let (exact, losses, moments) = Naive::new(&bed, &settings).train();
        for (found, exact) in trained.objectives.iter().zip(losses) {
            assert!(
                (found - exact).abs() < 1e-3 * exact,
                "{found} instead of {exact}"
            );
        }
        let mut found = numbers(&trained.tables[0], 5);
        found.extend(numbers(&trained.tables[1], 5));
        let cells = found.iter().flatten().zip(exact.iter().flatten());
        let off = cells.map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert!(off < 5e-3, "{settings:?}: {off}");
        // By now no matrix is symmetric.
        for (found, exact) in means(&bed, &settings, 6).iter().zip(&moments) {
            let size = exact.means().map(f64::abs).fold(0.0, f64::max);
            for (x, y) in found.iter().flatten().zip(exact.means()) {
                assert!(
                    (x - y).abs() < 1e-2 * size,
                    "{settings:?}: {x} instead of {y}"
                );
            }
        }
    }
}

#[test]
fn neither_budget_nor_order_nor_instructions_nor_io_change_a_bit() {
    let rows = some_rows(20_000, 5);
    let mut reference = bed(&rows, IoMode::Mmap);
    let mut other = bed(&rows, IoMode::Pread);
    other.found.world.backwards = true;
    for settings in cover().into_iter().skip(1).step_by(2) {
        let settings = Settings {
            rank: 20,
            epochs: 2,
            batches: Some(2),
            ..settings
        };
        let expected = train(&mut reference, &settings).unwrap();
        let whole = train_with(&mut reference, &settings, BY_RANGES).unwrap();
        assert!(whole == expected, "by ranges {settings:?}");
        for simd in Simd::available() {
            let room = &mut other.found.world.room;
            (room.simd, room.budget_bytes) = (simd, 50_000);
            // The smallest budget that does: passes gather the rows that they name.
            let found = loop {
                match train(&mut other, &settings) {
                    Ok(found) => break found,
                    Err(InlineError::Task(plan::Failure::Budget { enough, .. })) => {
                        other.found.world.room.budget_bytes = enough.0;
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(found == expected, "{simd} {settings:?}");
        }
    }
}

#[test]
fn a_run_goes_on_from_a_pause_and_frees_what_nobody_reads() {
    let mut bed = bed(&some_rows(6000, 5), IoMode::Mmap);
    for settings in cover().into_iter().skip(2).step_by(2) {
        let settings = Settings {
            rank: 6,
            epochs: 4,
            batches: Some(2),
            ..settings
        };
        let expected = train(&mut bed, &settings).unwrap();
        let blocks = bed.input.user.blocks() + bed.input.product.blocks();
        // Degrees, parameters, both means; a layer each and its sums over neighbours; the roots of Grams; matrices with theirs.
        let tables = 4 + 2 * settings.layers;
        let roots = if settings.loss == HeadName::AllPairs {
            2
        } else {
            0
        };
        let owners = if settings.weights == Weights::Shared {
            1
        } else {
            2
        };
        let matrices = 3 * owners * settings.layers;
        assert_eq!(
            bed.found.world.objects.len() as u32,
            tables * blocks + roots + matrices
        );
        bed.found.world.objects.clear();
        bed.found.world.news.clear();
        let mut program = Gcn::new(settings.clone(), bed.graph(Caches::default()))
            .unwrap()
            .with_pause(2);
        bed.found.world.run(&mut program, &exec::begin).unwrap();
        let state = program.encode();
        let mut program = Gcn::new(settings, bed.graph(Caches::default())).unwrap();
        program.restore(Some(&state)).unwrap();
        bed.found.world.run(&mut program, &exec::begin).unwrap();
        assert_eq!(Training::epochs_done(&program), 4);
        assert!(result(&bed, &program) == expected);
    }
}
