//! What `advise` compares: the models, each an ordinary job on the data and the split of the one that was given.
//!
//! **Invariant:** whatever a job may not say, no candidate says; candidates stand in the order of what they ask for, the least first.

use crate::failure::Failure;
use crate::job::check::{self, Needs};
use crate::job::keys::KEYS;
use crate::job::merge::{Faults, Merged};
use crate::job::settings::{ModelKind, Settings};
use model::advise::{self, Family};
use model::evaluate::{Metric, RankingTask};
use model::metrics::Measure;
use plan::Refusal;
use std::collections::BTreeMap;
use tensor::attributes::AttributeKind;
use tensor::{DataSet, Mode, TimeBin};

/// Where candidates keep their models, below the place of the model.
pub const PLACE: &str = "advise";
/// The verb, as the origin of settings.
const VERB: &str = "advise";

/// Keys of [model] that hold for every candidate.
const COMMON: [&str; 2] = ["model.rank", "model.seed"];
/// Those that a job of the kind `als` gives its other candidates of the kind, too.
const OF_ALS: [&str; 13] = [
    "model.preset",
    "model.alpha",
    "model.alpha0",
    "model.regularization",
    "model.nu",
    "model.epsilon",
    "model.power",
    "model.init",
    "model.solver",
    "model.cg_steps",
    "model.non_negative",
    "model.attribute_regularization",
    "model.epochs",
];
/// Of these the ones that mean something else in a tensor, where a user and a product have a cell a bin.
const OF_CELLS: [&str; 2] = ["model.alpha0", "model.regularization"];

/// A model to compare.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name in the table.
    pub name: String,
    /// What it is one of.
    pub family: Family,
    /// Of these the best on the validation part is compared; without one the first.
    pub variants: Vec<Variant>,
}

/// A job with the most epochs that it may train.
#[derive(Clone, Debug)]
pub struct Variant {
    /// What is set beyond the common keys.
    pub overrides: Vec<(&'static str, String)>,
    /// All settings.
    pub settings: Settings,
}

impl Variant {
    /// What is set, for people.
    pub fn said(&self) -> BTreeMap<String, String> {
        let kind = (
            "kind".to_owned(),
            self.settings.model.kind.name().to_owned(),
        );
        let others = self
            .overrides
            .iter()
            .map(|(path, text)| (path.trim_start_matches("model.").to_owned(), text.clone()));
        std::iter::once(kind).chain(others).collect()
    }
}

/// What is compared, and how.
#[derive(Clone, Debug)]
pub struct Advising {
    /// Seconds of training for each model.
    pub seconds: f64,
    /// What is compared, in both tasks.
    pub measure: Measure,
    /// The length of lists.
    pub k: u32,
    /// How verdicts are given.
    pub verdicts: advise::Settings,
    only: Vec<String>,
    needs: Needs,
    base: Settings,
    merged: Merged,
}

impl Advising {
    /// Of a job.
    ///
    /// # Errors
    /// Where it is one of values, or its metric is.
    pub fn of(merged: &Merged, needs: Needs, base: &Settings) -> Result<Self, Failure> {
        let config = |sentence: &str| Failure::new(Refusal::Config, sentence);
        if base.model.fits_values() {
            return Err(config(
                "`advise` compares lists of products, and the job's model fits values: take its preset or loss out of [model]",
            ));
        }
        if !base.split.has_test() {
            return Err(config(
                "nothing is held out for the test: give [split] `test_bins`, `test_fraction` or `test_files`",
            ));
        }
        let mut faults = Faults::default();
        let metric = check::stopping::metric(merged, "advise.metric", false, &mut faults);
        faults.into_result()?;
        let Metric::List {
            measure,
            k,
            task: RankingTask::NewProducts,
        } = metric
        else {
            return Err(config(
                "`advise.metric` names a task, and both are compared: write it as `ndcg@20`",
            ));
        };
        let real = |path: &str| merged.real(path).unwrap_or_default();
        let usual = advise::Settings::default();
        Ok(Advising {
            seconds: real("advise.seconds"),
            measure,
            k,
            verdicts: advise::Settings {
                worth: real("advise.worth"),
                ..usual
            },
            only: merged.texts("advise.models").to_vec(),
            needs,
            base: base.clone(),
            merged: merged.clone(),
        })
    }

    /// The name of the metric: `ndcg@20`.
    pub fn metric(&self) -> String {
        self.measure.at(self.k)
    }

    /// The job's own settings, at the place where candidates are kept.
    pub fn base(&self) -> Settings {
        let mut settings = self.base.clone();
        settings.output.model = settings.output.model.map(|model| model.join(PLACE));
        settings.evaluate.k = vec![self.k];
        settings
    }

    /// The models to compare on this data, of which so many bins are in training.
    ///
    /// # Errors
    /// Where `advise.models` names one that there is not.
    pub fn drafts(&self, data: &DataSet, bins: Option<u32>) -> Result<Vec<Draft>, Failure> {
        let drafts = self.all(data, bins);
        let known: Vec<&str> = drafts.iter().map(|draft| draft.name.as_str()).collect();
        for name in &self.only {
            if !known.contains(&name.as_str()) {
                let sentence = format!(
                    "`advise.models` names \"{name}\", which is none of the models for this data: {}",
                    known.join(", ")
                );
                return Err(Failure::new(Refusal::Config, sentence));
            }
        }
        let wanted = |draft: &Draft| self.only.is_empty() || self.only.contains(&draft.name);
        Ok(drafts.into_iter().filter(wanted).collect())
    }

    /// Whether the job says how its factors are held.
    fn is_held(&self) -> bool {
        self.base.model.kind == ModelKind::Als && self.base.model.regularization_given
    }

    /// A draft as jobs. Factorizations are held as the matrix was found to be best held, where that is known: in a tensor by as much
    /// the less as there are cells for a pair.
    ///
    /// # Errors
    /// Where one of them is no job that makes sense.
    pub fn candidate(&self, draft: &Draft, held: Option<f64>) -> Result<Candidate, Failure> {
        let varied = |overrides: &Vec<(&'static str, String)>| {
            let mut overrides = [&draft.overrides[..], &overrides[..]].concat();
            let own = overrides
                .iter()
                .any(|(path, _)| *path == "model.regularization");
            if let Some(held) = held.filter(|_| draft.kind == "als" && !own) {
                let held = held / f64::from(draft.cells);
                overrides.push(("model.regularization", held.to_string()));
            }
            self.variant(draft, overrides)
        };
        let variants = draft.variants.iter().map(varied);
        Ok(Candidate {
            name: draft.name.clone(),
            family: draft.family,
            variants: variants.collect::<Result<_, _>>()?,
        })
    }

    fn variant(
        &self,
        draft: &Draft,
        overrides: Vec<(&'static str, String)>,
    ) -> Result<Variant, Failure> {
        let mut merged = self.merged.clone();
        let of_als = self.base.model.kind == ModelKind::Als && draft.kind == "als";
        let in_cells = draft.family == Family::Tensor;
        for key in KEYS.iter().filter(|key| key.section() == "model") {
            let stays = COMMON.contains(&key.path)
                || (of_als
                    && OF_ALS.contains(&key.path)
                    && !(in_cells && OF_CELLS.contains(&key.path)));
            if !stays {
                merged.reset(key);
            }
        }
        merged.replace("model.kind", draft.kind, VERB);
        for (path, text) in &overrides {
            merged.replace(path, text, VERB);
        }
        if !(of_als && merged.is_given("model.epochs")) {
            merged.replace("model.epochs", &draft.epochs.to_string(), VERB);
        }
        if draft.stops && self.base.split.has_validation() {
            merged.replace("model.patience", "6", VERB);
            merged.replace("model.stop_metric", &self.metric(), VERB);
        }
        merged.replace("evaluate.k", &self.k.to_string(), VERB);
        let said = |failure: Failure| {
            let sentence = format!("the candidate \"{}\": {}", draft.name, failure.message());
            Failure::new(Refusal::Config, sentence)
        };
        let mut settings = check::settings(&merged, self.needs, Faults::default()).map_err(said)?;
        settings.output.model = settings.output.model.map(|model| model.join(PLACE));
        Ok(Variant {
            overrides,
            settings,
        })
    }

    fn all(&self, data: &DataSet, bins: Option<u32>) -> Vec<Draft> {
        let mut drafts = grouped(data);
        let matrix = Draft::new("matrix", Family::Matrix, "als", 10);
        drafts.push(if self.is_held() {
            matrix
        } else {
            matrix.best_of("model.regularization", &[0.003, 0.01, 0.03])
        });
        if let Some(bins) = bins {
            let half_lives = [8.0, 3.0].map(|share| (f64::from(bins) / share).max(1.0));
            drafts.push(
                Draft::new("matrix fading", Family::Fading, "als", 10)
                    .with("model.time", "decay")
                    .best_of("model.half_life", &half_lives),
            );
        }
        drafts.extend(informed(data));
        drafts.extend(tensors(data, bins));
        drafts.push(
            Draft::new("similar products", Family::Neighbours, "filter", 1)
                .with("model.filter_weight", "0"),
        );
        drafts.push(
            Draft::new("item kNN", Family::Neighbours, "filter", 1)
                .with("model.filter_weight", "0")
                .with("model.filter_shrinkage", "10")
                .best_of("model.filter_nearest", &[50.0, 200.0]),
        );
        drafts.extend(graphs(data));
        drafts
    }
}

/// What a candidate will be.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its name in the table.
    pub name: String,
    family: Family,
    kind: &'static str,
    epochs: u32,
    /// Whether the validation part says when it is enough.
    stops: bool,
    overrides: Vec<(&'static str, String)>,
    /// What is set for each variant; one that sets nothing at the least.
    variants: Vec<Vec<(&'static str, String)>>,
    /// Cells of a pair of a user and a product.
    cells: u32,
}

impl Draft {
    fn new(name: &str, family: Family, kind: &'static str, epochs: u32) -> Self {
        Draft {
            name: name.to_owned(),
            family,
            kind,
            epochs,
            stops: false,
            overrides: Vec::new(),
            variants: vec![Vec::new()],
            cells: 1,
        }
    }

    fn with(mut self, path: &'static str, text: &str) -> Self {
        self.overrides.push((path, text.to_owned()));
        self
    }

    /// Of some values of a key the best.
    fn best_of(mut self, path: &'static str, values: &[f64]) -> Self {
        let variants = values.iter().map(|value| vec![(path, value.to_string())]);
        self.variants = variants.collect();
        self
    }

    fn in_cells(mut self, cells: u32) -> Self {
        self.cells = cells.max(1);
        self
    }

    fn stopping(mut self) -> Self {
        self.stops = true;
        self
    }
}

/// Popularity within the groups that an attribute of users makes.
fn grouped(data: &DataSet) -> Vec<Draft> {
    let known = data.attributes.get(&Mode::User);
    let attributes = known.into_iter().flat_map(|known| &known.attributes);
    let grouping =
        attributes.filter(|attribute| {
            matches!(&attribute.kind, AttributeKind::Levels { levels, .. } if levels.len() > 1)
        });
    grouping
        .map(|attribute| {
            let name = format!("popularity by {}", attribute.name);
            Draft::new(&name, Family::Popularity, "popularity", 1)
                .with("model.user_label", &attribute.name)
        })
        .collect()
}

/// Matrices with what is known besides.
fn informed(data: &DataSet) -> Vec<Draft> {
    let mut drafts = Vec::new();
    if !data.attributes.is_empty() {
        let mut draft = Draft::new("matrix with attributes", Family::SideInformation, "als", 10)
            .with("model.attribute_regularization", "0.1");
        for mode in data.attributes.keys() {
            let path = match mode {
                Mode::User => "model.user_attribute_weight",
                _ => "model.product_attribute_weight",
            };
            draft = draft.with(path, "30");
        }
        drafts.push(draft);
    }
    if !data.edges.is_empty() {
        let paths = edge_weights(data);
        let mut draft = Draft::new("matrix with edges", Family::Graph, "als", 10);
        draft.variants = ["0.1", "0.3", "1"]
            .map(|weight| {
                paths
                    .iter()
                    .map(|path| (*path, weight.to_owned()))
                    .collect()
            })
            .to_vec();
        drafts.push(draft);
    }
    drafts
}

/// What says how much the edges of the data count.
fn edge_weights(data: &DataSet) -> Vec<&'static str> {
    data.edges.keys().copied().map(edge_weight).collect()
}

fn edge_weight(mode: Mode) -> &'static str {
    match mode {
        Mode::User => "model.user_edge_weight",
        _ => "model.product_edge_weight",
    }
}

/// Tensors with what small modes the data have.
fn tensors(data: &DataSet, bins: Option<u32>) -> Vec<Draft> {
    let mut drafts = Vec::new();
    if let (Some(time), Some(bins)) = (&data.time, bins) {
        let tensor = |name: &str| {
            let draft = Draft::new(name, Family::Tensor, "als", 10);
            draft.with("model.time", "factor").in_cells(time.bins)
        };
        drafts.push(tensor("tensor"));
        if let Some(period) = year(time.bin).filter(|period| bins >= *period) {
            drafts.push(
                tensor("tensor with seasons")
                    .with("model.forecast", "seasonal")
                    .with("model.period", &period.to_string()),
            );
        }
    }
    if data.context.is_some() {
        let contexts = data.small().context;
        drafts.push(
            Draft::new("tensor with contexts", Family::Tensor, "als", 10)
                .with("model.context", "factor")
                .in_cells(contexts),
        );
    }
    drafts
}

/// Bins of a year.
fn year(bin: TimeBin) -> Option<u32> {
    match bin {
        TimeBin::Day => Some(364),
        TimeBin::Week => Some(52),
        TimeBin::Month => Some(12),
        TimeBin::Quarter => Some(4),
        TimeBin::Hour | TimeBin::None => None,
    }
}

/// Models on the graph.
fn graphs(data: &DataSet) -> Vec<Draft> {
    let of = |name: &str, kind, epochs| Draft::new(name, Family::Graph, kind, epochs);
    let gcn = |layers: u32| {
        let name = if layers == 1 {
            "gcn 1 layer".to_owned()
        } else {
            format!("gcn {layers} layers")
        };
        of(&name, "gcn", 40)
            .with("model.layers", &layers.to_string())
            .stopping()
    };
    let spectral = |name: &str| {
        let draft = of(name, "spectral", 6);
        let weights = edge_weights(data).into_iter();
        weights.fold(draft, |draft, path| draft.with(path, "0"))
    };
    let mut drafts = vec![
        spectral("spectral"),
        spectral("spectral walks of 3").with("model.walk_length", "3"),
        of("filter", "filter", 4),
        of("line", "line", 40).stopping(),
        of("lightgcn", "lightgcn", 40).stopping(),
        gcn(1),
        gcn(2),
        gcn(3),
    ];
    if !data.attributes.is_empty() {
        let draft = of("gcn with attributes", "gcn", 40).with("model.features", "both");
        drafts.push(draft.stopping());
    }
    if data.edges.values().any(|edges| !edges.directed) {
        let draft = of("spectral with edges", "spectral", 20).with("model.walk_length", "2");
        let directed = data.edges.iter().filter(|(_, edges)| edges.directed);
        let paths = directed.map(|(mode, _)| edge_weight(*mode));
        drafts.push(paths.fold(draft, |draft, path| draft.with(path, "0")));
    }
    drafts.push(of("ucmf", "ucmf", 40).stopping());
    drafts
}
