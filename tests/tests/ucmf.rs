//! Unitized factorization end to end in one process: against the whole computation in f64 (its gradients against differences of its
//! loss), and whatever must not matter.

use kernels::Simd;
use model::Training;
use model::graph::learning::Learning;
use model::graph::learnt::MEANS;
use model::graph::lightgcn::HeadName;
use model::graph::tiles::Caches;
use model::graph::ucmf::schedule::CLASS_MEANS;
use model::graph::ucmf::{Input, Settings, Ucmf};
use std::collections::BTreeMap;
use store::IoMode;
use tensor::attributes::AttributeKind;
use tensor::{KeyRange, Mode, News, Program, TableId};
use tests::graph::{Graph, Moments, Nodes, describe, numbers, small};
use tests::ingested::{Row, some_rows};
use tests::inline::InlineError;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, examples, json_of};
use tests::tiled::{Bed, bed};

const BOTH: [Mode; 2] = [Mode::User, Mode::Product];

/// The tables of a model as bytes, and the objective and the measures of every epoch.
#[derive(Clone, Debug, PartialEq)]
struct Trained {
    tables: Vec<Vec<u8>>,
    objectives: Vec<f64>,
    measures: Vec<Vec<(String, f64)>>,
}

fn result(bed: &Bed, program: &Ucmf) -> Trained {
    let world = &bed.found.world;
    let tables = program.tables();
    let tables = tables.iter().map(|table| world.bytes_of(table.keys()));
    let epochs = world.news.iter().map(
        |News::Epoch {
             objective, metrics, ..
         }| (objective.unwrap(), metrics.clone()),
    );
    let (objectives, measures) = epochs.unzip();
    Trained {
        tables: tables.collect(),
        objectives,
        measures,
    }
}

fn input(bed: &Bed) -> Input {
    Input {
        graph: bed.graph(Caches::default()),
        attributes: bed.found.data.attributes.clone(),
    }
}

fn train(bed: &mut Bed, settings: &Settings) -> Result<Trained, InlineError> {
    let mut program = Ucmf::new(settings.clone(), input(bed)).unwrap();
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

/// The attribute that is a label: its place and how many levels it has.
fn town(bed: &Bed, mode: Mode) -> (usize, usize) {
    let (place, levels) = levels(bed, mode, "town");
    (place, levels.len())
}

fn levels<'a>(bed: &'a Bed, mode: Mode, name: &str) -> (usize, &'a [String]) {
    let attributes = &bed.found.data.attributes[&mode].attributes;
    let mut names = attributes.iter().map(|attribute| &attribute.name);
    let place = names.position(|known| known == name).unwrap();
    let AttributeKind::Levels { levels, .. } = &attributes[place].kind else {
        panic!("{name} has levels");
    };
    (place, levels)
}

/// The words of an attribute, a row of the mode each.
fn words(bed: &Bed, mode: Mode, place: usize) -> Vec<usize> {
    let known = &bed.found.data.attributes[&mode];
    let of_block = |digest| {
        let file = &bed.found.world.sealed[digest];
        let section = file.section(0..file.len()).unwrap();
        let words = section.typed::<u32>();
        let rows = words.chunks_exact(known.attributes.len());
        rows.map(|words| words[place] as usize).collect::<Vec<_>>()
    };
    let blocks = known.blocks.iter();
    blocks.flat_map(|block| of_block(&block.digest)).collect()
}

/// The graph and the job, in f64 and without blocks.
struct Naive {
    settings: Settings,
    graph: Graph,
    /// Classes of each mode, and of each node its label.
    classes: [usize; 2],
    labels: Vec<Option<usize>>,
    /// What a label weighs.
    weights: [f64; 2],
}

/// Learnt rows, then the classifiers.
#[derive(Clone)]
struct Learnt([Nodes; 3]);

impl Naive {
    fn new(bed: &Bed, settings: &Settings) -> Self {
        let graph = Graph::of(bed);
        let (mut labels, mut classes, mut weights) = (Vec::new(), [0; 2], [0.0; 2]);
        for (at, mode) in BOTH.into_iter().enumerate() {
            let known = &bed.found.data.attributes[&mode];
            let (place, count) = town(bed, mode);
            let counted = settings.labels.contains_key(&mode);
            let words = words(bed, mode, place).into_iter();
            labels.extend(words.map(|word| (counted && word < count).then_some(word)));
            if counted {
                classes[at] = count;
            }
            let all = known.described as f64 * f64::from(settings.batches());
            weights[at] = settings.cotraining * graph.pairs.len() as f64 / all;
        }
        Naive {
            settings: settings.clone(),
            graph,
            classes,
            labels,
            weights,
        }
    }

    fn rank(&self) -> usize {
        self.settings.rank as usize
    }

    fn side(&self, node: usize) -> usize {
        usize::from(node >= self.graph.users.len())
    }

    fn start(&self) -> Learnt {
        let rank = self.rank();
        let mut rows =
            self.graph
                .start(self.settings.learning.seed, rank, self.settings.init_scale);
        for row in &mut rows {
            row.push(0.0);
        }
        let [users, products] = self
            .classes
            .map(|classes| vec![vec![0.0; classes]; if classes > 0 { rank + 1 } else { 0 }]);
        Learnt([rows, users, products])
    }

    /// Unit rows, and what is scored.
    fn forward(&self, rows: &Nodes) -> (Nodes, Nodes) {
        let by = 1.0 / self.settings.temperature.sqrt();
        let row = |(node, x): (usize, &Vec<f64>)| {
            let (x, bias) = (&x[..self.rank()], x[self.rank()]);
            let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            let unit: Vec<f64> = x
                .iter()
                .map(|x| if length > 0.0 { x / length } else { 0.0 })
                .collect();
            let last = match self.side(node) {
                1 => bias,
                _ if length > 0.0 => 1.0,
                _ => 0.0,
            };
            let scored = unit.iter().map(|x| by * x).chain([last]).collect();
            (unit, scored)
        };
        rows.iter().enumerate().map(row).unzip()
    }

    /// The probabilities of a labelled node's classes.
    fn probabilities(unit: &[f64], matrix: &Nodes) -> Vec<f64> {
        let columns = unit.iter().chain([&1.0]);
        let logit =
            |class: usize| -> f64 { columns.clone().zip(matrix).map(|(x, w)| x * w[class]).sum() };
        let exps: Vec<f64> = (0..matrix[0].len()).map(|c| logit(c).exp()).collect();
        let sum: f64 = exps.iter().sum();
        exps.iter().map(|e| e / sum).collect()
    }

    /// Nodes that count for a classifier, with their labels.
    fn labelled(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let labels = self.labels.iter().enumerate();
        labels.filter_map(|(node, label)| {
            let label = (*label)?;
            (self.graph.degrees[node] > 0.0).then_some((node, label))
        })
    }

    fn head(&self, scored: &Nodes, batch: u32) -> (f64, Nodes) {
        let of = (self.settings.learning.seed, self.settings.batches());
        let head = (self.settings.head(), self.settings.learning.noise_power);
        self.graph.head(head, of, scored, batch)
    }

    /// The loss of a batch, of which the classifiers see no weight.
    fn objective(&self, of: &Learnt, batch: u32) -> f64 {
        let (units, scored) = self.forward(&of.0[0]);
        let labels = self.labelled().map(|(node, label)| {
            let side = self.side(node);
            let p = Self::probabilities(&units[node], &of.0[1 + side]);
            -self.weights[side] * p[label].ln()
        });
        self.head(&scored, batch).0 + labels.sum::<f64>()
    }

    /// The loss and the gradients; those by classifiers without the weight.
    fn gradient(&self, of: &Learnt, batch: u32) -> (f64, Learnt) {
        let (rank, by) = (self.rank(), 1.0 / self.settings.temperature.sqrt());
        let (units, scored) = self.forward(&of.0[0]);
        let (mut loss, by_scored) = self.head(&scored, batch);
        let mut found = of.clone();
        for table in &mut found.0 {
            table.iter_mut().flatten().for_each(|x| *x = 0.0);
        }
        // By unit rows.
        let mut slopes: Nodes = by_scored
            .iter()
            .map(|g| g[..rank].iter().map(|g| by * g).collect())
            .collect();
        for (node, label) in self.labelled() {
            let side = self.side(node);
            let matrix = &of.0[1 + side];
            let mut d = Self::probabilities(&units[node], matrix);
            loss -= self.weights[side] * d[label].ln();
            d[label] -= 1.0;
            let unit = units[node].iter().copied().chain([1.0]);
            for (k, x) in unit.enumerate() {
                for (class, d) in d.iter().enumerate() {
                    found.0[1 + side][k][class] += x * d;
                    if k < rank {
                        slopes[node][k] += self.weights[side] * d * matrix[k][class];
                    }
                }
            }
        }
        for (node, slope) in slopes.iter().enumerate() {
            let x = &of.0[0][node][..rank];
            let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            let along: f64 = units[node].iter().zip(slope).map(|(x, g)| x * g).sum();
            for k in 0..rank {
                if length > 0.0 {
                    found.0[0][node][k] = (slope[k] - along * units[node][k]) / length;
                }
            }
            if self.side(node) == 1 {
                found.0[0][node][rank] = by_scored[node][rank];
            }
        }
        (loss, found)
    }

    /// What is scored in the end, the losses of epochs and the means of gradients.
    fn train(&self) -> (Nodes, Vec<f64>, [Moments; 3]) {
        let mut of = self.start();
        let mut moments = [(); 3].map(|()| Moments::default());
        let (count, mut losses) = (self.settings.batches(), Vec::new());
        for batch in 0..self.settings.epochs * count {
            let (loss, g) = self.gradient(&of, batch);
            if batch % count == 0 {
                losses.push(0.0);
            }
            *losses.last_mut().unwrap() += loss;
            let left = self.settings.learning.decay.powi((batch / count) as i32);
            let rate = self.settings.rate() * left;
            for ((x, g), moments) in of.0.iter_mut().zip(&g.0).zip(&mut moments) {
                let (x, g) = (x.iter_mut().flatten(), g.iter().flatten().copied());
                moments.step((rate, batch as i32 + 1), x, g);
            }
        }
        (self.forward(&of.0[0]).1, losses, moments)
    }
}

/// Every head, with and without labels of either mode.
fn cover() -> Vec<Settings> {
    use HeadName::{AllPairs, Bpr, Logistic};
    [
        (AllPairs, 1.0, &BOTH[..], 1.0),
        (AllPairs, 0.5, &[], 0.0),
        (AllPairs, 0.25, &BOTH[1..], 0.0),
        (Bpr, 0.2, &BOTH[..1], 0.3),
        (Bpr, 0.5, &BOTH[1..], 2.0),
        (Logistic, 0.5, &BOTH[1..], 0.5),
    ]
    .into_iter()
    .map(|(loss, temperature, labelled, cotraining)| Settings {
        rank: 5,
        init_scale: 1.0,
        learning: Learning {
            rate: Some(0.05),
            loss,
            alpha0: (loss == AllPairs).then_some(0.2),
            decay: temperature,
            ..Learning::DEFAULT
        },
        temperature,
        cotraining,
        labels: labelled
            .iter()
            .map(|&mode| (mode, "town".to_owned()))
            .collect(),
        checks: labelled
            .iter()
            .map(|&mode| (mode, "other_town".to_owned()))
            .collect(),
        ..Settings::default()
    })
    .collect()
}

/// The means of gradients after so many steps: by learnt rows, and by classifiers.
fn means(bed: &Bed, settings: &Settings, step: u64) -> [Nodes; 3] {
    let table = |id: TableId, of: u16, count: u32, columns: usize| {
        let keys = KeyRange::Blocks {
            table: TableId(id.0 + of),
            first: 0,
            count,
            version: step,
        };
        numbers(&bed.found.world.bytes_of(keys), columns)
    };
    let columns = settings.columns() as usize;
    let (users, products) = (bed.input.user.blocks(), bed.input.product.blocks());
    let rows = [
        table(MEANS, 0, users, columns),
        table(MEANS, 1, products, columns),
    ];
    let classifier = |of: usize| {
        if settings.labels.contains_key(&BOTH[of]) {
            table(CLASS_MEANS, of as u16, 1, town(bed, BOTH[of]).1)
        } else {
            Vec::new()
        }
    };
    [rows.concat(), classifier(0), classifier(1)]
}

/// After the first step the mean of gradients is a tenth of the gradient.
#[test]
fn gradients_are_differences_of_the_loss() {
    let mut bed = described(&small());
    for cover in cover() {
        let settings = Settings {
            epochs: 1,
            learning: Learning {
                batches: Some(1),
                ..cover.learning
            },
            ..cover
        };
        let trained = train(&mut bed, &settings).unwrap();
        let naive = Naive::new(&bed, &settings);
        let mut of = naive.start();
        let (loss, gradient) = naive.gradient(&of, 0);
        assert!((trained.objectives[0] - loss).abs() < 1e-5 * loss);
        let mut looked = 0;
        for (table, found) in means(&bed, &settings, 1).iter().enumerate() {
            // What a classifier's own loss weighs in the objective.
            let weight = if table == 0 {
                1.0
            } else {
                naive.weights[table - 1]
            };
            let every = if table == 0 { 7 } else { 1 };
            for line in (0..found.len()).step_by(every) {
                for (k, &mean) in found[line].iter().enumerate() {
                    if table == 0 && naive.graph.degrees[line] == 0.0 {
                        assert_eq!(mean, 0.0);
                        continue;
                    }
                    let (h, before) = (1e-6, of.0[table][line][k]);
                    let [left, right] = [-h, h].map(|by| {
                        of.0[table][line][k] = before + by;
                        naive.objective(&of, 0)
                    });
                    of.0[table][line][k] = before;
                    let (difference, exact) =
                        ((right - left) / (2.0 * h), gradient.0[table][line][k]);
                    let size = 1.0 + exact.abs();
                    assert!(
                        (weight * exact - difference).abs() < 1e-4 * size,
                        "{exact} {difference}"
                    );
                    assert!(
                        (mean / 0.1 - exact).abs() < 1e-3 * size,
                        "table {table}, line {line}: {} instead of {exact}",
                        mean / 0.1
                    );
                    looked += 1;
                }
            }
        }
        assert!(looked > 100, "{looked}");
    }
}

/// Classifiers begin with zeros, and say the first class of all.
#[test]
fn labels_that_are_not_taught_are_compared_by_name() {
    let mut bed = described(&small());
    let first = cover().swap_remove(0);
    let settings = Settings {
        epochs: 1,
        learning: Learning {
            batches: Some(1),
            ..first.learning
        },
        ..first
    };
    let trained = train(&mut bed, &settings).unwrap();
    let graph = Graph::of(&bed);
    let mut expected = Vec::new();
    for (mode, first) in [(Mode::User, 0), (Mode::Product, graph.users.len())] {
        let (place, names) = levels(&bed, mode, "other_town");
        let (_, classes) = levels(&bed, mode, "town");
        let rows = words(&bed, mode, place).into_iter().zip(first..);
        let known = rows.filter(|&(word, node)| word < names.len() && graph.degrees[node] > 0.0);
        let known: Vec<bool> = known.map(|(word, _)| names[word] == classes[0]).collect();
        let right = known.iter().filter(|right| **right).count();
        expected.push(right as f64 / known.len() as f64);
    }
    assert!(expected[0] > 0.0 && expected[0] < 1.0, "{expected:?}");
    let measured: BTreeMap<String, f64> = trained.measures[0].iter().cloned().collect();
    assert_eq!(measured["user_label_check_accuracy"], expected[0]);
    assert_eq!(measured["product_label_check_accuracy"], expected[1]);
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
        let mut found = numbers(&trained.tables[0], 6);
        found.extend(numbers(&trained.tables[1], 6));
        let cells = found.iter().flatten().zip(exact.iter().flatten());
        let off = cells.map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert!(off < 1e-2, "{settings:?}: {off}");
        for (found, exact) in means(&bed, &settings, 6).iter().zip(&moments) {
            let size = exact.means().map(f64::abs).fold(0.0, f64::max);
            for (x, y) in found.iter().flatten().zip(exact.means()) {
                assert!(
                    (x - y).abs() < 2e-2 * size,
                    "{settings:?}: {x} instead of {y}"
                );
            }
        }
    }
}

#[test]
fn labels_are_learnt_and_bring_rows_of_a_class_together() {
    let mut bed = described(&small());
    let train = |bed: &mut Bed, cotraining| {
        let settings = Settings {
            epochs: 40,
            cotraining,
            ..cover().swap_remove(0)
        };
        let trained = train(bed, &settings).unwrap();
        let last: BTreeMap<String, f64> = trained.measures[39].iter().cloned().collect();
        last["user_label_accuracy"]
    };
    // Towns have nothing to do with purchases: only rows that give way to them tell them.
    let (blind, seen) = (train(&mut bed, 0.0), train(&mut bed, 3.0));
    assert!(seen > 0.99 && blind < seen, "{blind} {seen}");
}

#[test]
fn neither_budget_nor_order_nor_instructions_nor_io_change_a_bit() {
    let rows = some_rows(20_000, 5);
    let mut reference = described(&rows);
    let mut other = bed(&rows, IoMode::Pread);
    describe(&mut other);
    other.found.world.backwards = true;
    for settings in cover().into_iter().step_by(3) {
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
    let mut bed = described(&some_rows(6000, 5));
    for settings in cover().into_iter().step_by(2) {
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
        // Degrees, learnt rows with both means, and what is scored; the roots of Grams; classifiers with their means.
        let roots = match settings.learning.loss {
            HeadName::AllPairs => 2,
            _ => 0,
        };
        let classifiers = 3 * settings.labels.len() as u32;
        assert_eq!(
            bed.found.world.objects.len() as u32,
            5 * blocks + roots + classifiers
        );
        bed.found.world.objects.clear();
        bed.found.world.news.clear();
        let mut program = Ucmf::new(settings.clone(), input(&bed))
            .unwrap()
            .with_pause(2);
        bed.found.world.run(&mut program, &exec::begin).unwrap();
        let state = program.encode();
        let mut program = Ucmf::new(settings, input(&bed)).unwrap();
        program.restore(Some(&state)).unwrap();
        bed.found.world.run(&mut program, &exec::begin).unwrap();
        assert_eq!(Training::epochs_done(&program), 4);
        assert!(result(&bed, &program) == expected);
    }
}

#[test]
fn labels_that_are_none_are_refused() {
    let bed = described(&some_rows(500, 3));
    let problem = |name: &str, mut input: Input| {
        let settings = Settings {
            labels: [(Mode::User, name.to_owned())].into(),
            ..Settings::default()
        };
        if name.is_empty() {
            input.attributes.clear();
        }
        let error = Ucmf::new(settings, input).err().unwrap();
        assert_eq!(error.key, "user_label");
        error.problem
    };
    for (name, start) in [
        ("", "is an attribute of users, and the data set has none"),
        (
            "city",
            "is \"city\", which the data set does not know of users: give one of age, town, other_town",
        ),
        (
            "age",
            "is \"age\", which holds numbers: list it in `input.user_attributes.categorical`",
        ),
    ] {
        let found = problem(name, input(&bed));
        assert!(found.starts_with(start), "{found}");
    }
}

#[test]
fn one_digest_whatever_computes_it() {
    let inputs = Inputs::of(&[Data::Bundled]);
    for name in ["households.parquet", "products.parquet"] {
        std::fs::copy(examples().join(name), inputs.folder().join(name)).unwrap();
    }
    let run = |arguments: &[&str]| {
        let model = "kind = \"ucmf\"\nrank = 15\nepochs = 2\nbatches = 2\nuser_label = \"income\"\nproduct_label = \"department\"";
        let job = Job::of(&inputs, Data::Bundled, model, "validation_bins = 4");
        let path = job.folder().join("job.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let tables = format!(
            "[input.user_attributes]\nfiles = \"{0}/households.parquet\"\n[input.product_attributes]\n\
             files = \"{0}/products.parquet\"\ncolumns = [\"brand\", \"department\"]\n[split]",
            inputs.folder().display()
        );
        std::fs::write(&path, text.replace("[split]", &tables)).unwrap();
        json_of(&mut job.command("run", arguments))
    };
    let one = run(&["--workers", "1", "--threads", "2", "--memory", "4GiB"]);
    let caches = tempfile::tempdir().unwrap();
    let daemons = ["a", "b"].map(|name| {
        let hidden = [inputs.folder()];
        let arguments = ["--memory", "512MiB", "--threads", "1"];
        Daemon::start_blind(&caches.path().join(name), &hidden, &arguments)
    });
    let two = run(&["--workers", "2", "--memory", "512MiB", "--io", "pread"]);
    let apart = run(&["--workers", &addresses(&daemons), "--memory", "512MiB"]);
    let last = &one["epochs"][1]["metrics"];
    for mode in ["user", "product"] {
        let share = last[format!("{mode}_label_accuracy")].as_f64().unwrap();
        assert!(share > 0.0 && share <= 1.0, "{last}");
    }
    for other in [&two, &apart] {
        assert_eq!(one["digest"], other["digest"]);
        assert_eq!(last, &other["epochs"][1]["metrics"]);
        assert!(one["digest"].is_string());
    }
}
