//! Graph convolution end to end in one process: against the whole computation in f64 (its gradients against differences of its loss),
//! and whatever must not matter.

use kernels::{Random, Simd};
use model::Training;
use model::als::Columns;
use model::graph::gcn::schedule::{MAP_MEANS, WEIGHT_MEANS};
use model::graph::gcn::{self, Features, Gcn, Readout, SelfWeights, Settings, Weights};
use model::graph::learning::Learning;
use model::graph::learnt::MEANS;
use model::graph::lightgcn::HeadName;
use model::graph::tiles::Caches;
use model::graph::{Activation, Normalization};
use store::IoMode;
use tensor::attributes::MISSING;
use tensor::{KeyRange, Mode, News, Program, TableId};
use tests::graph::{Graph, Moments, Nodes, describe, numbers, small};
use tests::ingested::{Row, some_rows};
use tests::inline::InlineError;
use tests::jobs::{Data, Inputs, Job};
use tests::linked::linked_bed;
use tests::process::json_of;
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

fn input(bed: &Bed, caches: Caches) -> gcn::Input {
    gcn::Input {
        graph: bed.graph(caches),
        attributes: bed.found.data.attributes.clone(),
        matrices: None,
    }
}

fn train_with(bed: &mut Bed, settings: &Settings, caches: Caches) -> Result<Trained, InlineError> {
    let mut program = Gcn::new(settings.clone(), input(bed, caches)).unwrap();
    bed.found.world.news.clear();
    bed.found.world.objects.clear();
    bed.found.world.run(&mut program, &exec::begin)?;
    Ok(result(bed, &program))
}

fn described(rows: &[Row]) -> Bed {
    let mut bed = bed(rows, IoMode::Mmap);
    describe(&mut bed);
    bed
}

/// The same with edges between users and between products, one way or both.
fn described_and_linked(rows: &[Row], directed: bool, mode: IoMode) -> Bed {
    let mut bed = linked_bed(rows, directed, mode);
    describe(&mut bed);
    bed
}

/// The columns of the attributes of each node of a mode; none where nothing was said of any.
fn known(bed: &Bed, mode: Mode) -> Nodes {
    let (data, sealed) = (&bed.found.data, &bed.found.world.sealed);
    let grid = if mode == Mode::User {
        &data.user.grid
    } else {
        &data.product.grid
    };
    let Some(known) = data.attributes.get(&mode) else {
        return vec![Vec::new(); grid.rows_total() as usize];
    };
    let attributes = Columns::of(known);
    let starts = Columns::starts(&attributes);
    let mut rows = Vec::new();
    for block in &known.blocks {
        let file = &sealed[&block.digest];
        let section = file.section(0..file.len()).unwrap();
        for words in section.typed::<u32>().chunks_exact(attributes.len()) {
            let mut row = vec![0.0; known.columns() as usize];
            for (attribute, &word) in words
                .iter()
                .enumerate()
                .filter(|(_, word)| **word != MISSING)
            {
                match attributes[attribute] {
                    Columns::Number => row[starts[attribute]] = f64::from(f32::from_bits(word)),
                    Columns::Levels(_) => row[starts[attribute] + word as usize] = 1.0,
                }
            }
            rows.push(row);
        }
    }
    rows
}

/// Lines of the matrices of layers, one layer and one matrix after the other.
type Lines = Vec<Vec<f64>>;

/// A line of a matrix before training.
fn normal(seed: u64, stream: u32, line: usize, rank: usize, deviation: f64) -> Vec<f64> {
    let mut row = vec![0.0; rank];
    Random::new(seed, 0x320, stream, line as u32).fill_normal(&mut row);
    row.iter().map(|&x| deviation * f64::from(x)).collect()
}

/// Everything that is learnt: rows of nodes, then of users and of products the matrices of layers and those of attributes.
#[derive(Clone)]
struct Learnt {
    rows: Nodes,
    weights: [Lines; 2],
    maps: [Lines; 2],
}

impl Learnt {
    fn each(&mut self) -> [&mut Vec<Vec<f64>>; 5] {
        let ([users, products], [of_users, of_products]) = (&mut self.weights, &mut self.maps);
        [&mut self.rows, users, products, of_users, of_products]
    }
}

/// The graph and the job, in f64 and without blocks.
struct Naive {
    settings: Settings,
    graph: Graph,
    /// The columns of the attributes of each node.
    known: Nodes,
}

impl Naive {
    fn new(bed: &Bed, settings: &Settings) -> Self {
        Naive {
            settings: settings.clone(),
            graph: Graph::of(bed)
                .linked(bed, |mode| settings.edge_weight(mode))
                .looped(settings.self_loops),
            known: [Mode::User, Mode::Product]
                .map(|mode| known(bed, mode))
                .concat(),
        }
    }

    fn rank(&self) -> usize {
        self.settings.rank as usize
    }

    fn start(&self) -> Learnt {
        let (settings, rank) = (&self.settings, self.rank());
        let lines = settings.parts() as usize * rank;
        let line = |side: u32, layer: u32, line: usize| match settings.activation {
            Activation::Relu => {
                let deviation = 0.5 / (rank as f64).sqrt();
                normal(
                    settings.learning.seed,
                    2 + 2 * layer + side,
                    line,
                    rank,
                    deviation,
                )
            }
            _ => (0..rank)
                .map(|k| if k == line % rank { 0.5 } else { 0.0 })
                .collect(),
        };
        let matrices = |side: u32| -> Lines {
            let layers = 0..settings.layers;
            let lines = layers.flat_map(|layer| (0..lines).map(move |at| (layer, at)));
            lines.map(|(layer, at)| line(side, layer, at)).collect()
        };
        let mut rows = self
            .graph
            .start(settings.learning.seed, rank, settings.init_scale);
        if !settings.learns_rows() {
            rows.iter_mut().flatten().for_each(|x| *x = 0.0);
        }
        let columns = |side: usize| {
            let columns = self.known[side * self.graph.users.len()].len();
            if settings.reads_attributes() {
                columns
            } else {
                0
            }
        };
        let map = |side: usize, line: usize| {
            let deviation = settings.init_scale / rank as f64;
            normal(
                settings.learning.seed,
                u32::from(side == 0),
                line,
                rank,
                deviation,
            )
        };
        Learnt {
            rows,
            weights: [matrices(1), matrices(0)],
            maps: [0, 1].map(|side| (0..columns(side)).map(|line| map(side, line)).collect()),
        }
    }

    /// The side of a node whose matrices it goes through.
    fn side(&self, node: usize) -> usize {
        let product = node >= self.graph.users.len();
        usize::from(product && self.settings.weights == Weights::Separate)
    }

    /// What the first layer reads.
    fn features(&self, of: &Learnt) -> Nodes {
        let mut features = of.rows.clone();
        for (node, row) in features.iter_mut().enumerate() {
            let map = &of.maps[usize::from(node >= self.graph.users.len())];
            for (line, x) in map.iter().zip(&self.known[node]) {
                row.iter_mut().zip(line).for_each(|(sum, b)| *sum += x * b);
            }
        }
        features
    }

    /// The first line of a matrix.
    fn first(&self, layer: usize, part: usize) -> usize {
        (layer * self.settings.parts() as usize + part) * self.rank()
    }

    fn activation(&self, layer: usize) -> Activation {
        self.settings.activation(layer as u32)
    }

    /// By what the numbers of a layer are multiplied in a step of training: nothing or the inverse of what is kept.
    fn mask(&self, layer: usize, step: u32) -> Nodes {
        let users = self.graph.users.iter().map(|&id| (1, id));
        let ids = users.chain(self.graph.products.iter().map(|&id| (0, id)));
        let share = self.settings.dropout;
        let between = layer + 1 < self.settings.layers as usize;
        let row = |(mode, id)| -> Vec<f64> {
            let random = Random::new(
                self.settings.learning.seed,
                0x330 + 2 * layer as u32 + mode,
                step,
                id,
            );
            let stays = |k: u32| f64::from(random.word(k)) >= share * 4_294_967_296.0;
            let by = |k| f64::from(u8::from(stays(k))) / (1.0 - share);
            let columns = 0..self.settings.rank;
            columns.map(|k| if between { by(k) } else { 1.0 }).collect()
        };
        ids.map(row).collect()
    }

    /// Neighbours' sums of each layer, and the layers, of which a step of training drops something.
    fn forward(&self, of: &Learnt, step: Option<u32>) -> (Vec<Nodes>, Vec<Nodes>) {
        let (mut all, mut layers) = (Vec::new(), vec![self.features(of)]);
        let parts = self.settings.parts() as usize;
        for layer in 0..self.settings.layers as usize {
            let own = &layers[layer];
            let sums = self
                .graph
                .neighbours(self.settings.normalization, own, false);
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
            let mut made: Nodes = (0..own.len()).map(row).collect();
            if let Some(step) = step {
                let mask = self.mask(layer, step).into_iter().flatten();
                let cells = made.iter_mut().flatten().zip(mask);
                cells.for_each(|(x, by)| *x *= by);
            }
            layers.push(made);
            all.push(sums);
        }
        (all, layers)
    }

    /// What is scored.
    fn scored(&self, layers: &[Nodes]) -> Nodes {
        let mut mean = layers[layers.len() - 1].clone();
        if let Some(share) = self.share() {
            for below in &layers[..layers.len() - 1] {
                let cells = mean.iter_mut().flatten().zip(below.iter().flatten());
                cells.for_each(|(x, y)| *x += y);
            }
            mean.iter_mut().flatten().for_each(|x| *x *= share);
        }
        mean
    }

    /// What a layer counts in a mean.
    fn share(&self) -> Option<f64> {
        let share = 1.0 / f64::from(self.settings.layers + 1);
        (self.settings.readout == Readout::Mean).then_some(share)
    }

    fn head(&self, e: &Nodes, batch: u32) -> (f64, Nodes) {
        let of = (self.settings.learning.seed, self.settings.batches());
        let head = (self.settings.head(), self.settings.learning.noise_power);
        self.graph.head(head, of, e, batch)
    }

    /// λ d of each node.
    fn held(&self) -> impl Iterator<Item = f64> {
        let lambda = self.settings.regularization / f64::from(self.settings.batches());
        self.graph.degrees.iter().map(move |degree| lambda * degree)
    }

    /// The gradient of a batch by all that is learnt.
    fn gradient(&self, of: &Learnt, batch: u32) -> (f64, Learnt) {
        let (sums, layers) = self.forward(of, Some(batch));
        let (loss, by_scored) = self.head(&self.scored(&layers), batch);
        let mut by = by_scored.clone();
        if let Some(share) = self.share() {
            by.iter_mut().flatten().for_each(|g| *g *= share);
        }
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
            let mask = self.mask(layer, batch);
            for node in 0..by.len() {
                let weights = &of.weights[self.side(node)];
                let slopes = &mut found.weights[self.side(node)];
                for k in 0..rank {
                    let through = mask[node][k];
                    let value = layers[layer + 1][node][k] / through.max(1.0);
                    let slope = by[node][k]
                        * through
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
            let normalization = self.settings.normalization;
            by = self.graph.neighbours(normalization, &to_sums, true);
            by.iter_mut()
                .flatten()
                .zip(to_own.iter().flatten())
                .for_each(|(x, y)| *x += y);
            if let Some(share) = self.share() {
                let cells = by.iter_mut().flatten().zip(by_scored.iter().flatten());
                cells.for_each(|(x, g)| *x += share * g);
            }
        }
        for (node, g) in by.iter().enumerate() {
            let map = &mut found.maps[usize::from(node >= self.graph.users.len())];
            for (line, x) in map.iter_mut().zip(&self.known[node]) {
                line.iter_mut().zip(g).for_each(|(sum, g)| *sum += x * g);
            }
        }
        for ((g, x), held) in by.iter_mut().zip(&of.rows).zip(self.held()) {
            g.iter_mut().zip(x).for_each(|(g, x)| *g += held * x);
        }
        found.rows = by;
        (loss, found)
    }

    /// What [`Naive::gradient`] is the gradient of.
    fn objective(&self, of: &Learnt) -> f64 {
        let (_, layers) = self.forward(of, Some(0));
        let squares = of.rows.iter().zip(self.held());
        let squares = squares.map(|(x, held)| held * x.iter().map(|x| x * x).sum::<f64>());
        self.head(&self.scored(&layers), 0).0 + 0.5 * squares.sum::<f64>()
    }

    /// The embeddings, the losses of epochs and the means of gradients.
    fn train(&self) -> (Nodes, Vec<f64>, [Moments; 5]) {
        let mut of = self.start();
        let mut moments = [(); 5].map(|()| Moments::default());
        let (count, mut losses) = (self.settings.batches(), Vec::new());
        let (rate, of_weights) = (self.settings.rate(), self.settings.weight_rate());
        // Rows that are not learnt stay.
        let of_rows = if self.settings.learns_rows() {
            rate
        } else {
            0.0
        };
        let of_maps = self.settings.map_rate();
        let rates = [of_rows, of_weights, of_weights, of_maps, of_maps];
        for batch in 0..self.settings.epochs * count {
            let (loss, mut g) = self.gradient(&of, batch);
            if batch % count == 0 {
                losses.push(0.0);
            }
            *losses.last_mut().unwrap() += loss;
            let tables = of.each().into_iter().zip(g.each());
            let left = self.settings.learning.decay.powi((batch / count) as i32);
            for (((x, g), moments), rate) in tables.zip(&mut moments).zip(rates) {
                let (x, g) = (x.iter_mut().flatten(), g.iter().flatten().copied());
                moments.step((rate * left, batch as i32 + 1), x, g);
            }
        }
        let (_, layers) = self.forward(&of, None);
        (self.scored(&layers), losses, moments)
    }
}

/// Every head, depth, activation and kind of matrices, some of them together, with and without loops and dropout.
fn cover() -> Vec<Settings> {
    use Activation::{Identity, Relu, Tanh};
    use Features::{Attributes, Both, Embeddings};
    use HeadName::{AllPairs, Bpr, Logistic, Squared};
    use SelfWeights::{Free, Tied};
    use Weights::{Separate, Shared};
    [
        (AllPairs, 1, Identity, Tied, Separate, Embeddings),
        (AllPairs, 2, Relu, Free, Separate, Both),
        (AllPairs, 3, Tanh, Tied, Shared, Embeddings),
        (AllPairs, 2, Identity, Free, Shared, Attributes),
        (Bpr, 1, Tanh, Free, Separate, Both),
        (Bpr, 2, Tanh, Tied, Separate, Attributes),
        (Bpr, 3, Relu, Free, Shared, Embeddings),
        (Logistic, 1, Identity, Tied, Separate, Embeddings),
        (Squared, 1, Tanh, Free, Separate, Embeddings),
        (Logistic, 2, Tanh, Free, Separate, Both),
        (Squared, 2, Identity, Tied, Shared, Both),
        (Squared, 3, Tanh, Tied, Separate, Embeddings),
        (Logistic, 3, Relu, Free, Separate, Embeddings),
    ]
    .into_iter()
    .enumerate()
    .map(
        |(at, (loss, layers, activation, self_weights, weights, features))| Settings {
            features,
            readout: [Readout::Mean, Readout::Last][at / 2 % 2],
            self_loops: [0, 3, 6, 10].contains(&at),
            dropout: match at {
                2 | 3 => 0.3,
                5 | 10 | 12 => 0.5,
                _ => 0.0,
            },
            rank: 5,
            layers,
            activation,
            self_weights,
            weights,
            init_scale: 1.0,
            regularization: 0.01,
            learning: Learning {
                rate: Some(0.05),
                loss,
                alpha0: (loss == AllPairs).then_some(0.2),
                negatives: loss.draws().then_some(layers),
                noise_power: if loss == Logistic { 0.75 } else { 0.0 },
                decay: if at % 2 == 0 { 0.5 } else { 1.0 },
                ..Learning::DEFAULT
            },
            ..Settings::default()
        },
    )
    .collect()
}

/// The means of gradients after so many steps, in the order of [`Learnt::each`].
fn means(bed: &Bed, settings: &Settings, step: u64) -> [Nodes; 5] {
    let table = |id: TableId, of: u16, count: u32| {
        let keys = KeyRange::Blocks {
            table: TableId(id.0 + of),
            first: 0,
            count,
            version: step,
        };
        numbers(&bed.found.world.bytes_of(keys), settings.rank as usize)
    };
    let (users, products) = (bed.input.user.blocks(), bed.input.product.blocks());
    let rows = if settings.learns_rows() {
        [table(MEANS, 0, users), table(MEANS, 1, products)].concat()
    } else {
        Vec::new()
    };
    let of_products = match settings.weights {
        Weights::Separate => table(WEIGHT_MEANS, 1, settings.layers),
        Weights::Shared => Vec::new(),
    };
    let weights = table(WEIGHT_MEANS, 0, settings.layers);
    let [maps, maps_of_products] = if settings.reads_attributes() {
        [0, 1].map(|of| table(MAP_MEANS, of, 1))
    } else {
        [Vec::new(), Vec::new()]
    };
    [rows, weights, of_products, maps, maps_of_products]
}

/// After the first step the mean of gradients is a tenth of the gradient.
#[test]
fn gradients_are_differences_of_the_loss() {
    let mut beds = [
        described(&small()),
        described(&small()),
        described_and_linked(&small(), true, IoMode::Mmap),
        described_and_linked(&small(), false, IoMode::Mmap),
    ];
    let divided = [
        Normalization::Symmetric,
        Normalization::RandomWalk,
        Normalization::Symmetric,
        Normalization::None,
    ];
    for (at, cover) in cover().into_iter().enumerate() {
        let bed = &mut beds[at % 4];
        let settings = Settings {
            normalization: if at == 6 {
                Normalization::RandomWalk
            } else {
                divided[at % 4]
            },
            init_scale: if at % 4 == 3 { 0.1 } else { 1.0 },
            user_edge_weight: 1.5,
            product_edge_weight: 0.25,
            epochs: 1,
            learning: Learning {
                batches: Some(1),
                ..cover.learning
            },
            ..cover
        };
        let trained = train(bed, &settings).unwrap();
        let naive = Naive::new(bed, &settings);
        let mut of = naive.start();
        let (loss, mut gradient) = naive.gradient(&of, 0);
        assert!((trained.objectives[0] - loss).abs() < 1e-5 * loss);
        let engine = means(bed, &settings, 1);
        let (mut looked, mut bent) = (0, 0);
        for (table, found) in engine.iter().enumerate() {
            let every = if table == 0 { 7 } else { 1 };
            for line in (0..found.len()).step_by(every) {
                for (k, &mean) in found[line].iter().enumerate() {
                    let alone = table == 0 && naive.graph.degrees[line] == 0.0;
                    if alone && !settings.reads_attributes() {
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
        assert!(looked > 100 && bent <= looked / 50, "{bent} of {looked}");
    }
}

#[test]
fn training_is_that_of_the_whole_computation() {
    let mut bed = described(&small());
    for settings in cover() {
        let settings = Settings {
            epochs: 2,
            learning: Learning {
                batches: Some(3),
                ..settings.learning
            },
            ..settings
        };
        let trained = train(&mut bed, &settings).unwrap();
        let (exact, losses, moments) = Naive::new(&bed, &settings).train();
        for (found, exact) in trained.objectives.iter().zip(losses) {
            assert!(
                (found - exact).abs() < 1e-3 * exact,
                "{settings:?}: {found} instead of {exact}"
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
    let mut reference = described_and_linked(&rows, true, IoMode::Mmap);
    let mut other = described_and_linked(&rows, true, IoMode::Pread);
    other.found.world.backwards = true;
    for settings in cover().into_iter().skip(1).step_by(2) {
        let settings = Settings {
            rank: 20,
            epochs: 2,
            learning: Learning {
                batches: Some(2),
                ..settings.learning
            },
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
    let mut bed = described_and_linked(&some_rows(6000, 5), true, IoMode::Mmap);
    for settings in cover().into_iter().skip(2).step_by(2) {
        let settings = Settings {
            rank: 6,
            epochs: 4,
            learning: Learning {
                batches: Some(2),
                ..settings.learning
            },
            ..settings
        };
        let expected = train(&mut bed, &settings).unwrap();
        let blocks = bed.input.user.blocks() + bed.input.product.blocks();
        // Degrees, learnt rows with both means, the first layer where it is another; a layer each and its sums over neighbours, and their
        // mean; the roots of Grams; matrices with theirs.
        let learnt = if settings.learns_rows() { 3 } else { 0 };
        let features = u32::from(settings.reads_attributes());
        let tables = features + 2 * settings.layers;
        let tables = tables + u32::from(settings.readout == Readout::Mean);
        // With dropout nobody reads the layers of what is scored again, but that.
        let drops = settings.dropout > 0.0;
        let tables = 1 + learnt + if drops { 1 } else { tables };
        let roots = if settings.learning.loss == HeadName::AllPairs && !drops {
            2
        } else {
            0
        };
        let owners = if settings.weights == Weights::Shared {
            1
        } else {
            2
        };
        let matrices = 3 * owners * settings.layers + 6 * features;
        assert_eq!(
            bed.found.world.objects.len() as u32,
            tables * blocks + roots + matrices
        );
        bed.found.world.objects.clear();
        bed.found.world.news.clear();
        let mut program = Gcn::new(settings.clone(), input(&bed, Caches::default()))
            .unwrap()
            .with_pause(2);
        bed.found.world.run(&mut program, &exec::begin).unwrap();
        let state = program.encode();
        let mut program = Gcn::new(settings, input(&bed, Caches::default())).unwrap();
        program.restore(Some(&state)).unwrap();
        bed.found.world.run(&mut program, &exec::begin).unwrap();
        assert_eq!(Training::epochs_done(&program), 4);
        assert!(result(&bed, &program) == expected);
    }
}

/// Masks are drawn by whoever has the block, and loops follow degrees that each worker counts.
#[test]
fn with_dropout_and_loops_one_digest_whatever_computes_it() {
    let inputs = Inputs::of(&[Data::Bundled]);
    let run = |dropout: &str, arguments: &[&str]| {
        let model = format!(
            "kind = \"gcn\"\nrank = 16\nlayers = 3\nself_loops = true\n{dropout}\nepochs = 2\nbatches = 2\nrate = 0.01"
        );
        let job = Job::of(&inputs, Data::Bundled, &model, "validation_bins = 4");
        json_of(&mut job.command("run", arguments))
    };
    let one = run("dropout = 0.4", &["--workers", "1", "--threads", "2"]);
    let tight = ["--workers", "2", "--threads", "1", "--memory", "256MiB"];
    let flags = ["--io", "pread", "--simd", "portable"];
    let two = run("dropout = 0.4", &[&tight[..], &flags].concat());
    assert!(one["digest"].is_string());
    assert_eq!(one["digest"], two["digest"]);
    assert_eq!(one["evaluation"], two["evaluation"]);
    let all = run("", &["--workers", "1", "--threads", "2"]);
    assert_ne!(one["digest"], all["digest"]);
}
