//! Early stopping by a scripted sampler: training ends at the right epoch with the tables of the best one, keeps them as
//! long as they are the best and no longer, and goes on from any checkpoint as if nothing had been.

use model::als::{self, Als};
use model::evaluate::Metric;
use model::sgd::{self, Sgd};
use model::{Best, Sampler, Stopping, TableVersion, Training};
use std::collections::{BTreeMap, BTreeSet};
use tensor::{
    Checkpoint, KeyRange, News, ObjectKey, Program, ProgramError, Reduced, Step, StepId, Turn,
};
use tests::ingested::some_rows;
use tests::inline::World;
use tests::tiled::{Bed, bed};

/// Best at epoch 4, equal at 6, and never better by much.
const SCRIPT: [f64; 9] = [0.10, 0.30, 0.20, 0.31, 0.25, 0.31, 0.305, 0.311, 0.2];

/// Tells the epoch from the versions of tables, and measures what the script says.
struct Scripted(std::sync::atomic::AtomicUsize);

impl Sampler for Scripted {
    fn steps(&self, tables: &[TableVersion], _offset: f32, _first: StepId) -> Vec<Step> {
        let epoch = tables[0].version as usize;
        self.0.store(epoch, std::sync::atomic::Ordering::Relaxed);
        Vec::new()
    }

    fn metrics(&self, _reduced: Vec<Reduced>) -> Vec<(String, f64)> {
        let epoch = self.0.load(std::sync::atomic::Ordering::Relaxed);
        let name = Metric::usual(false).to_string();
        vec![("users".to_owned(), 3.0), (name, SCRIPT[epoch - 1])]
    }
}

fn scripted() -> Box<dyn Sampler> {
    Box::new(Scripted(std::sync::atomic::AtomicUsize::new(0)))
}

fn stopping(patience: u32, min_improvement: f64) -> Stopping {
    Stopping {
        metric: Metric::usual(false),
        patience,
        min_improvement,
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Als(als::Solver),
    Sgd,
}

const KINDS: [Kind; 3] = [
    Kind::Als(als::Solver::Cholesky),
    Kind::Als(als::Solver::Cg),
    Kind::Sgd,
];

fn program(bed: &Bed, kind: Kind, epochs: u32, stopping: Option<Stopping>) -> Box<dyn Training> {
    match kind {
        Kind::Als(solver) => {
            let settings = als::Settings {
                rank: 6,
                epochs,
                solver,
                ..als::Settings::default()
            };
            let input = als::Input {
                user: bed.input.user.clone(),
                product: bed.input.product.clone(),
                small: tensor::Small::default(),
                train: bed.input.train.clone(),
                attributes: BTreeMap::new(),
                edges: BTreeMap::new(),
                given: BTreeMap::new(),
                decay: None,
                folds: None,
            };
            let program = Als::new(settings, input).unwrap().with_sampler(scripted());
            match stopping {
                Some(stopping) => Box::new(program.with_stopping(stopping)),
                None => Box::new(program),
            }
        }
        Kind::Sgd => {
            let settings = sgd::Settings {
                rank: 6,
                epochs,
                ..sgd::Settings::default()
            };
            let program = Sgd::new(settings, bed.input.clone()).unwrap();
            let program = program.with_sampler(scripted());
            match stopping {
                Some(stopping) => Box::new(program.with_stopping(stopping)),
                None => Box::new(program),
            }
        }
    }
}

/// Keeps every checkpoint that passes by, and checks that what it names exists.
struct Watched {
    inner: Box<dyn Training>,
    checkpoints: Vec<Checkpoint>,
}

impl Program for Watched {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        self.inner.start()
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let turn = self.inner.completed(step, reduced)?;
        self.checkpoints.extend(turn.checkpoint.clone());
        Ok(turn)
    }

    fn encode(&self) -> Vec<u8> {
        self.inner.encode()
    }

    fn restore(&mut self, state: Option<&[u8]>) -> Result<(), ProgramError> {
        self.inner.restore(state)
    }
}

struct Course {
    epochs: u32,
    best: Option<Best>,
    tables: Vec<Vec<u8>>,
    checkpoints: Vec<Checkpoint>,
}

fn run(world: &mut World, inner: Box<dyn Training>) -> Course {
    let mut program = Watched {
        inner,
        checkpoints: Vec::new(),
    };
    world.news.clear();
    world.run(&mut program, &exec::begin).unwrap();
    let tables = program.inner.tables();
    let last = world.news.last().map(|news| {
        let News::Epoch { epoch, .. } = news;
        *epoch
    });
    Course {
        epochs: last.unwrap_or(0),
        best: program.inner.best(),
        tables: tables
            .iter()
            .map(|table| world.bytes_of(table.keys()))
            .collect(),
        checkpoints: program.checkpoints,
    }
}

fn named(ranges: &[KeyRange]) -> BTreeSet<ObjectKey> {
    ranges.iter().flat_map(|range| range.keys()).collect()
}

#[test]
fn training_ends_at_the_right_epoch_with_the_best_model() {
    let mut bed = bed(&some_rows(1500, 5), store::IoMode::Mmap);
    for kind in KINDS {
        // (patience, least improvement), the epochs that are run, the best of them.
        for (patience, share, epochs, best) in [
            (1, 0.0, 3, 2),
            (2, 0.0, 6, 4),
            (4, 0.0, 9, 8),
            (3, 0.05, 5, 2),
        ] {
            bed.found.world.objects.clear();
            let found = program(&bed, kind, 9, Some(stopping(patience, share)));
            let found = run(&mut bed.found.world, found);
            assert_eq!(found.epochs, epochs, "{kind:?} {patience} {share}");
            assert_eq!(found.best.unwrap().epoch, best, "{kind:?} {patience}");
            assert_eq!(found.best.unwrap().value, SCRIPT[best as usize - 1]);
            let last = found.checkpoints.last().unwrap();
            let there: BTreeSet<ObjectKey> = bed.found.world.objects.keys().copied().collect();
            assert!(named(&last.objects).is_subset(&there));

            bed.found.world.objects.clear();
            let plain = program(&bed, kind, best, None);
            let plain = run(&mut bed.found.world, plain);
            assert!(plain.best.is_none() && plain.epochs == best);
            assert!(found.tables == plain.tables, "{kind:?}: other tables");
        }
    }
}

#[test]
fn a_run_goes_on_from_any_checkpoint_with_its_best_epoch() {
    let mut bed = bed(&some_rows(1500, 5), store::IoMode::Mmap);
    for kind in KINDS {
        let stopping = stopping(4, 0.0);
        bed.found.world.objects.clear();
        let whole = program(&bed, kind, 9, Some(stopping));
        let whole = run(&mut bed.found.world, whole);
        let mut left = BTreeMap::new();
        for epoch in [1_usize, 2, 4, 7] {
            // The objects of the checkpoint exist at the end of its epoch, and nothing else is needed to go on.
            bed.found.world.objects.clear();
            let part = program(&bed, kind, epoch as u32, Some(stopping));
            run(&mut bed.found.world, part);
            let kept = named(&whole.checkpoints[epoch - 1].objects);
            bed.found.world.objects.retain(|key, _| kept.contains(key));
            assert_eq!(
                bed.found.world.objects.len(),
                kept.len(),
                "{kind:?} {epoch}"
            );
            let mut rest = program(&bed, kind, 9, Some(stopping));
            let state = &whole.checkpoints[epoch - 1].state;
            rest.restore(Some(state)).unwrap();
            let rest = run(&mut bed.found.world, rest);
            assert_eq!(rest.best, whole.best);
            assert!(rest.tables == whole.tables, "{kind:?} from {epoch}");
            left.insert(epoch, bed.found.world.objects.len());
        }
        // Tables that are the best no longer are gone, wherever the run went on.
        assert!(
            left.values().all(|count| *count == left[&1]),
            "{kind:?}: {left:?}"
        );
    }
}

#[test]
fn a_metric_that_is_not_measured_ends_the_run() {
    let mut bed = bed(&some_rows(1000, 5), store::IoMode::Mmap);
    let stopping = Stopping {
        metric: Metric::Rmse,
        ..stopping(1, 0.0)
    };
    let mut program = program(&bed, Kind::Sgd, 3, Some(stopping));
    let ended = bed.found.world.run(&mut *program, &exec::begin);
    let sentence = ended.err().unwrap().to_string();
    assert!(
        sentence.starts_with("`stop_metric` rmse cannot be measured"),
        "{sentence}"
    );
}
