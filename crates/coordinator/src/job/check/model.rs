//! `[model]`: which keys an algorithm takes, and what they may say together.
//!
//! **Invariant:** what one algorithm does not know is refused, never ignored.

use super::{has_bins, location, locations, names_input, word};
use crate::job::merge::{Faults, Merged};
use crate::job::settings::{Model, ModelKind, ModelTime, Preset, Solver};
use model::forecast::Forecast;
use model::graph::gcn::{self, Features, Readout, SelfWeights, Weights};
use model::graph::lightgcn::{self, HeadName};
use model::graph::spectral::RANK_MAX;
use model::graph::{Activation, Edges, Normalization};
use model::sgd::{Loss, Optimizer};

/// Settings of solving, and those of descent.
const OF_ALS: &[&str] = &[
    "model.preset",
    "model.nu",
    "model.alpha",
    "model.epsilon",
    "model.power",
    "model.center",
    "model.hold_time",
    "model.hold_context",
    "model.time_smoothing",
    "model.solver",
    "model.cg_steps",
    "model.user_attribute_weight",
    "model.product_attribute_weight",
    "model.attribute_regularization",
    "model.linear_attributes",
    "model.non_negative",
    "model.half_life",
    "model.initial_contexts",
];
const OF_SGD: &[&str] = &["model.optimizer"];
/// Settings of whatever takes steps along gradients.
const OF_STEPS: &[&str] = &[
    "model.loss",
    "model.rate",
    "model.decay",
    "model.negatives",
    "model.noise_power",
];
const OF_SPECTRAL: &[&str] = &["model.walk_length"];
const OF_ITERATION: &[&str] = &["model.oversampling"];
const OF_FILTER: &[&str] = &[
    "model.filter_weight",
    "model.filter_linear",
    "model.filter_nearest",
    "model.filter_shrinkage",
    "model.distill",
];
const OF_LAYERS: &[&str] = &["model.layers", "model.self_loops"];
const OF_BATCHES: &[&str] = &["model.batches"];
const OF_LABELLED: &[&str] = &["model.user_label"];
const OF_UCMF: &[&str] = &[
    "model.temperature",
    "model.product_label",
    "model.user_label_check",
    "model.product_label_check",
    "model.cotraining",
];
const OF_GCN: &[&str] = &[
    "model.activation",
    "model.dropout",
    "model.readout",
    "model.self_weights",
    "model.weights",
    "model.features",
    "model.initial_weights",
];
/// Settings of whatever goes along edges between users and between products.
const OF_LINKED: &[&str] = &["model.user_edge_weight", "model.product_edge_weight"];
const OF_NORMALIZED: &[&str] = &["model.normalization"];
/// Settings of whatever takes products with the graph.
const OF_GRAPHS: &[&str] = &["model.edges"];
/// Settings of models whose factors start from something, and of those that hold them.
const OF_TRAINED: &[&str] = &["model.init"];
const OF_HELD: &[&str] = &["model.regularization"];
const OF_GIVEN: &[&str] = &["model.initial_users", "model.initial_products"];
const OF_WHOLE: &[&str] = &["model.alpha0"];

/// What a job of LightGCN leaves open.
const DEFAULTS: lightgcn::Settings = lightgcn::Settings::DEFAULT;

/// Refuses the keys of another algorithm, and what this one cannot do with time.
fn kind(merged: &Merged, faults: &mut Faults) -> ModelKind {
    let kind = word(
        merged,
        "model.kind",
        &[
            ("als", ModelKind::Als),
            ("sgd", ModelKind::Sgd),
            ("line", ModelKind::Line),
            ("spectral", ModelKind::Spectral),
            ("filter", ModelKind::Filter),
            ("lightgcn", ModelKind::LightGcn),
            ("gcn", ModelKind::Gcn),
            ("ucmf", ModelKind::Ucmf),
            ("popularity", ModelKind::Popularity),
        ],
    );
    let of = |keys, of| -> (&[&str], &str) { (keys, of) };
    let (als, descent, spectral, gcn) = (
        of(OF_ALS, "of \"als\""),
        of(OF_SGD, "of descent (\"sgd\", \"line\")"),
        of(OF_SPECTRAL, "of \"spectral\""),
        of(OF_GCN, "of \"gcn\""),
    );
    let layers = of(OF_LAYERS, "of \"lightgcn\" and \"gcn\"");
    let batches = of(OF_BATCHES, "of \"lightgcn\", \"gcn\" and \"ucmf\"");
    let unit = of(OF_UCMF, "of \"ucmf\"");
    let labelled = of(OF_LABELLED, "of \"ucmf\" and \"popularity\"");
    let steps = of(
        OF_STEPS,
        "of descent (\"sgd\", \"line\"), \"lightgcn\", \"gcn\" and \"ucmf\"",
    );
    let graphs = of(
        OF_GRAPHS,
        "of \"spectral\", \"filter\", \"lightgcn\" and \"gcn\"",
    );
    let normalized = of(OF_NORMALIZED, "of \"spectral\", \"lightgcn\" and \"gcn\"");
    let iterated = of(OF_ITERATION, "of \"spectral\" and \"filter\"");
    let filter = of(OF_FILTER, "of \"filter\"");
    let linked = of(
        OF_LINKED,
        "of \"als\", \"spectral\", \"lightgcn\" and \"gcn\"",
    );
    let whole = of(OF_WHOLE, "of \"als\", \"lightgcn\", \"gcn\" and \"ucmf\"");
    let trained = of(
        OF_TRAINED,
        "of \"als\", descent, \"lightgcn\", \"gcn\" and \"ucmf\"",
    );
    let held = of(OF_HELD, "of \"als\", descent, \"lightgcn\" and \"gcn\"");
    let given = of(OF_GIVEN, "of \"als\", descent, \"lightgcn\" and \"gcn\"");
    let others: &[(&[&str], &str)] = match kind {
        ModelKind::Als => &[
            descent, steps, spectral, iterated, normalized, graphs, filter, layers, batches, gcn,
            unit, labelled,
        ],
        ModelKind::Sgd | ModelKind::Line => &[
            als, whole, spectral, iterated, normalized, graphs, filter, layers, batches, gcn, unit,
            labelled, linked,
        ],
        ModelKind::Spectral => &[
            als, whole, descent, steps, held, trained, given, filter, layers, batches, gcn, unit,
            labelled,
        ],
        ModelKind::Filter => &[
            als, whole, descent, steps, held, trained, given, spectral, normalized, layers,
            batches, gcn, unit, labelled, linked,
        ],
        ModelKind::LightGcn => &[
            als, descent, spectral, iterated, filter, gcn, unit, labelled,
        ],
        ModelKind::Gcn => &[als, descent, spectral, iterated, filter, unit, labelled],
        ModelKind::Popularity => &[
            als, whole, descent, steps, held, trained, given, spectral, iterated, normalized,
            graphs, filter, layers, batches, gcn, unit, linked,
        ],
        ModelKind::Ucmf => &[
            als, descent, held, given, spectral, iterated, normalized, graphs, filter, layers, gcn,
            linked,
        ],
    };
    let fixed = [
        ("model.loss", "of \"sgd\""),
        ("model.biases", "of \"als\" and \"sgd\""),
    ];
    let fixed = match kind {
        ModelKind::Line => &fixed[..],
        ModelKind::Spectral
        | ModelKind::Filter
        | ModelKind::LightGcn
        | ModelKind::Gcn
        | ModelKind::Ucmf
        | ModelKind::Popularity => &fixed[1..],
        ModelKind::Als | ModelKind::Sgd => &[],
    };
    let others = others
        .iter()
        .flat_map(|(paths, of)| paths.iter().map(|path| (*path, *of)));
    for (path, of) in others.chain(fixed.iter().copied()) {
        if merged.is_given(path) {
            let sentence = format!(
                "`{path}` is a key {of}: the kind is \"{}\", remove the key",
                kind.name()
            );
            faults.push(merged.origin(path), sentence);
        }
    }
    let time = merged.text("model.time").unwrap_or_default();
    let descends = kind == ModelKind::Sgd && time == "factor";
    if kind != ModelKind::Als && time != "ignore" && !descends {
        let sentence = format!(
            "`model.time` = \"{time}\" is not known with the kind \"{}\": use \"ignore\", or \"als\"",
            kind.name()
        );
        faults.push(merged.origin("model.time"), sentence);
    }
    if descends && !descends_on_values(merged) {
        let sentence = "`model.time` = \"factor\" is known with the loss \"squared\" without `negatives` alone, where the kind is \"sgd\": \
                        fit values, use \"ignore\", or \"als\"";
        faults.push(merged.origin("model.time"), sentence);
    }
    if kind != ModelKind::Als && merged.text("model.context") == Some("factor") {
        let sentence = format!(
            "`model.context` = \"factor\" is not known with the kind \"{}\": use \"ignore\", or \"als\"",
            kind.name()
        );
        faults.push(merged.origin("model.context"), sentence);
    }
    kind
}

/// Whether descent would fit values.
fn descends_on_values(merged: &Merged) -> bool {
    merged.text("model.loss") == Some("squared")
        && merged.count("model.negatives").unwrap_or(0) == 0
}

/// The loss of descent.
fn loss(merged: &Merged, kind: ModelKind) -> Loss {
    match kind {
        ModelKind::Line => Loss::Line,
        ModelKind::LightGcn | ModelKind::Gcn | ModelKind::Ucmf => Loss::Bpr,
        _ => word(
            merged,
            "model.loss",
            &[
                ("logistic", Loss::Logistic),
                ("squared", Loss::Squared),
                ("bernoulli-poisson", Loss::BernoulliPoisson),
                ("poisson", Loss::Poisson),
                ("bpr", Loss::Bpr),
            ],
        ),
    }
}

/// The loss of a graph's embeddings, of which descent knows one and does not know the other.
fn head(merged: &Merged, kind: ModelKind, faults: &mut Faults) -> HeadName {
    let name = merged.text("model.loss").unwrap_or_default();
    let given = merged.is_given("model.loss");
    let head = match name {
        "bpr" => HeadName::Bpr,
        "logistic" if given => HeadName::Logistic,
        "squared" => HeadName::Squared,
        _ => HeadName::AllPairs,
    };
    let graph = matches!(kind, ModelKind::LightGcn | ModelKind::Gcn | ModelKind::Ucmf);
    let known = match name {
        "bpr" | "logistic" | "squared" => true,
        "all-pairs" => graph,
        _ => !graph,
    };
    if given && !known {
        let known = if graph {
            "\"all-pairs\", \"bpr\", \"logistic\" or \"squared\""
        } else {
            "one of descent"
        };
        let sentence = format!(
            "`model.loss` = \"{name}\" is not known with the kind \"{}\": use {known}",
            kind.name()
        );
        faults.push(merged.origin("model.loss"), sentence);
    }
    if graph && merged.is_given("model.alpha0") && head != HeadName::AllPairs {
        let sentence = "`model.alpha0` is for the loss \"all-pairs\": choose it, or remove the key";
        faults.push(merged.origin("model.alpha0"), sentence);
    }
    for path in ["model.negatives", "model.noise_power"] {
        if graph && merged.is_given(path) && !head.draws() {
            let sentence = format!(
                "`{path}` is for the losses \"logistic\" and \"squared\": choose one, or remove the key"
            );
            faults.push(merged.origin(path), sentence);
        }
    }
    head
}

/// Whether contexts are factored, with what belongs to that.
fn factors_context(merged: &Merged, faults: &mut Faults) -> bool {
    let choices = [("ignore", false), ("factor", true)];
    let factored = word(merged, "model.context", &choices);
    let has = merged.text("input.context").is_some()
        || merged.text("input.context_cycle") != Some("none");
    if factored && names_input(merged) && !has {
        let sentence = "`model.context` = \"factor\" needs contexts: name their column with `input.context`, or take a \
                        `context_cycle`";
        faults.push(merged.origin("model.context"), sentence);
    }
    for path in ["model.hold_context", "output.recommend.context"] {
        let wants = if path == "model.hold_context" {
            merged.flag(path)
        } else {
            merged.is_given(path)
        };
        if wants && !factored {
            let sentence = format!(
                "`{path}` is for contexts with factors: set `model.context` = \"factor\", or remove the key"
            );
            faults.push(merged.origin(path), sentence);
        }
    }
    factored
}

/// The forecast of factors of time; the period that it needs and nothing else may have.
fn forecast(merged: &Merged, time: ModelTime, faults: &mut Faults) -> Forecast {
    let period = merged.count("model.period").map(|period| period as u32);
    let seasonal = Forecast::Seasonal {
        period: period.unwrap_or(1),
    };
    let forecast = word(
        merged,
        "model.forecast",
        &[
            ("last", Forecast::Last),
            ("drift", Forecast::Drift),
            ("seasonal", seasonal),
        ],
    );
    if forecast != Forecast::Last && time != ModelTime::Factor {
        let sentence = "`model.forecast` is of factors of time, and a matrix has none: set `model.time` = \"factor\", or \
                        remove the key";
        faults.push(merged.origin("model.forecast"), sentence);
    }
    if forecast == seasonal && period.is_none() {
        let sentence = "`model.forecast` = \"seasonal\" needs to know after how many bins the seasons come again: give \
                        `model.period`";
        faults.push(merged.origin("model.forecast"), sentence);
    }
    for (path, fits, of) in [
        (
            "model.period",
            forecast == seasonal,
            "the forecast \"seasonal\"",
        ),
        (
            "output.recommend.bins_ahead",
            forecast != Forecast::Last,
            "the forecasts \"drift\" and \"seasonal\"",
        ),
    ] {
        if merged.is_given(path) && !fits {
            let sentence = format!("`{path}` is for {of}: set `model.forecast`, or remove the key");
            faults.push(merged.origin(path), sentence);
        }
    }
    forecast
}

/// What a graph convolution begins with, and whether it trains at all.
fn starts(merged: &Merged, kind: ModelKind, faults: &mut Faults) {
    let of_attributes = merged.text("model.features") == Some("attributes");
    let embeds =
        kind == ModelKind::Gcn && of_attributes && merged.text("model.initial_weights").is_some();
    if merged.count("model.epochs") == Some(0) && !embeds {
        let sentence = "`model.epochs` is 0: give 1 or more; 0 is for the kind \"gcn\" with `initial_weights` and `features` = \"attributes\"";
        faults.push(merged.origin("model.epochs"), sentence);
    }
    for path in OF_GIVEN {
        if kind == ModelKind::Gcn && of_attributes && merged.is_given(path) {
            let sentence = format!(
                "`{path}` gives rows that are learnt, which `features` = \"attributes\" has none of: use \"both\" or \"embeddings\", or \
                 remove the key"
            );
            faults.push(merged.origin(path), sentence);
        }
    }
}

pub(super) fn model(merged: &Merged, faults: &mut Faults) -> Model {
    let kind = kind(merged, faults);
    let time = word(
        merged,
        "model.time",
        &[
            ("ignore", ModelTime::Ignore),
            ("factor", ModelTime::Factor),
            ("decay", ModelTime::Decay),
        ],
    );
    let preset = word(
        merged,
        "model.preset",
        &[
            ("hu", Preset::Hu),
            ("explicit", Preset::Explicit),
            ("rendle", Preset::Rendle),
            ("full", Preset::Full),
        ],
    );
    let name = merged.text("model.preset").unwrap_or_default();
    let mut only_for = |path: &str, fits: bool, of: &str| {
        if kind == ModelKind::Als && merged.is_given(path) && !fits {
            let sentence =
                format!("`{path}` is for {of}: the preset is \"{name}\", remove the key");
            faults.push(merged.origin(path), sentence);
        }
    };
    only_for("model.alpha", preset == Preset::Hu, "the preset \"hu\"");
    only_for(
        "model.center",
        preset == Preset::Explicit,
        "the preset \"explicit\"",
    );
    only_for("model.epsilon", preset == Preset::Hu, "the preset \"hu\"");
    only_for("model.power", preset == Preset::Hu, "the preset \"hu\"");
    only_for(
        "model.alpha0",
        matches!(preset, Preset::Hu | Preset::Rendle),
        "the presets \"hu\" and \"rendle\"",
    );
    if merged.is_given("model.power") && merged.is_given("model.epsilon") {
        let sentence =
            "`model.power` and `model.epsilon` scale weights in two ways: keep one of the keys";
        faults.push(merged.origin("model.power"), sentence);
    }
    if merged.is_given("model.alpha") && merged.real("model.alpha") == Some(0.0) {
        faults.push(
            merged.origin("model.alpha"),
            "`model.alpha` = 0 gives every interaction the weight 0",
        );
    }
    if preset == Preset::Explicit && names_input(merged) && merged.text("input.value").is_none() {
        let sentence =
            "`model.preset` = \"explicit\" fits values: name their column with `input.value`";
        faults.push(merged.origin("model.preset"), sentence);
    }
    let by_steps = matches!(
        kind,
        ModelKind::Sgd | ModelKind::LightGcn | ModelKind::Gcn | ModelKind::Ucmf
    );
    let fits_values = by_steps && descends_on_values(merged);
    if fits_values && names_input(merged) && merged.text("input.value").is_none() {
        let sentence = "`model.loss` = \"squared\" fits values: name their column with `input.value`, or draw `negatives`";
        faults.push(merged.origin("model.loss"), sentence);
    }
    if time != ModelTime::Ignore && names_input(merged) && !has_bins(merged) {
        let sentence = format!(
            "`model.time` = \"{}\" needs bins of time: name a column with `input.time` and a `time_bin`",
            merged.text("model.time").unwrap_or_default()
        );
        faults.push(merged.origin("model.time"), sentence);
    }
    let fits_all = match kind {
        ModelKind::Als => matches!(preset, Preset::Explicit | Preset::Full),
        ModelKind::Sgd | ModelKind::LightGcn | ModelKind::Gcn | ModelKind::Ucmf => fits_values,
        ModelKind::Line | ModelKind::Spectral | ModelKind::Filter | ModelKind::Popularity => false,
    };
    if fits_all && merged.text("input.negative") == Some("net") {
        let sentence = "`input.negative` = \"net\" is for models that weigh by values: this one fits values below 0 as they \
                        are, remove the key";
        faults.push(merged.origin("input.negative"), sentence);
    }
    let half_life = merged.real("model.half_life");
    if time == ModelTime::Decay && half_life.is_none() {
        let sentence = "`model.time` = \"decay\" needs a `half_life`: the age, in bins, at which an interaction counts half";
        faults.push(merged.origin("model.time"), sentence);
    }
    if time != ModelTime::Decay && half_life.is_some() {
        let sentence =
            "`model.half_life` is for `model.time` = \"decay\": set it, or remove the key";
        faults.push(merged.origin("model.half_life"), sentence);
    }
    if merged.flag("model.hold_time") && time != ModelTime::Factor {
        let sentence = "`model.hold_time` needs factors of time: set `model.time` = \"factor\"";
        faults.push(merged.origin("model.hold_time"), sentence);
    }
    let smoothing = merged.real("model.time_smoothing").unwrap_or_default();
    if smoothing > 0.0 && (time != ModelTime::Factor || merged.flag("model.hold_time")) {
        let sentence = "`model.time_smoothing` needs factors of time that are trained: set `model.time` = \"factor\" \
                        without `hold_time`, or remove the key";
        faults.push(merged.origin("model.time_smoothing"), sentence);
    }
    let solver = word(
        merged,
        "model.solver",
        &[
            ("cholesky", Solver::Cholesky),
            ("auto", Solver::Auto),
            ("dual", Solver::Dual),
            ("cg", Solver::Cg),
            ("subspace", Solver::Subspace),
        ],
    );
    if preset == Preset::Full && solver != Solver::Cholesky && kind == ModelKind::Als {
        let sentence = "`model.solver` must be \"cholesky\" with the preset \"full\": there the interactions of a row add no \
                        matrix of their own that another solver could spare; remove the key";
        faults.push(merged.origin("model.solver"), sentence);
    }
    for (path, mode, fits) in [
        (
            "model.initial_time",
            "time",
            time == ModelTime::Factor && !merged.flag("model.hold_time"),
        ),
        (
            "model.initial_contexts",
            "context",
            merged.text("model.context") == Some("factor") && !merged.flag("model.hold_context"),
        ),
    ] {
        let known = kind == ModelKind::Als || path == "model.initial_time";
        if known && merged.is_given(path) && !fits {
            let sentence = format!(
                "`{path}` is for factors that are trained: set `model.{mode}` = \"factor\" without `hold_{mode}`, or remove the key"
            );
            faults.push(merged.origin(path), sentence);
        }
    }
    let non_negative = merged.flag("model.non_negative");
    if smoothing > 0.0 && non_negative {
        let sentence = "`model.time_smoothing` solves all bins together, which `non_negative` factors cannot be: remove one of \
                        the keys";
        faults.push(merged.origin("model.time_smoothing"), sentence);
    }
    if non_negative && solver != Solver::Cholesky && kind == ModelKind::Als {
        let sentence = "`model.solver` must be \"cholesky\" with `non_negative`, which descends on the exact equations of a \
                        row: remove one of the keys";
        faults.push(merged.origin("model.solver"), sentence);
    }
    if non_negative && merged.flag("model.center") {
        let sentence = "`model.center` puts values below their mean out of reach of `non_negative` factors: remove one of \
                        the keys";
        faults.push(merged.origin("model.center"), sentence);
    }
    let takes_steps = matches!(solver, Solver::Auto | Solver::Cg);
    if merged.is_given("model.cg_steps") && !takes_steps {
        let sentence = "`model.cg_steps` is for the solvers \"cg\" and \"auto\": choose one, or remove the key";
        faults.push(merged.origin("model.cg_steps"), sentence);
    }
    if kind == ModelKind::Als {
        super::attributes::uses(merged, faults);
    }
    super::edges::uses(merged, faults);
    let labels = super::labels::labels(merged, kind, faults);
    let label_checks = super::labels::checks(merged, kind, &labels, faults);
    let oversampling = merged.count("model.oversampling").unwrap_or(0);
    let distill = merged.count("model.distill").unwrap_or_default();
    let rank = merged.count("model.rank").unwrap_or_default().max(distill);
    let room = u64::from(RANK_MAX).saturating_sub(rank);
    let iterates = matches!(kind, ModelKind::Spectral | ModelKind::Filter);
    if iterates && oversampling > room {
        let sentence = format!(
            "`model.oversampling` is {oversampling}: with the rank {rank} give at most {room}"
        );
        faults.push(merged.origin("model.oversampling"), sentence);
    }
    let linear = merged.flag("model.filter_linear");
    if kind == ModelKind::Filter && !linear && merged.real("model.filter_weight") == Some(0.0) {
        let sentence = "`model.filter_weight` is 0 and `model.filter_linear` is off: nothing is left to score by, change one of them";
        faults.push(merged.origin("model.filter_weight"), sentence);
    }
    if kind == ModelKind::Filter && !linear && distill > 0 {
        let sentence = "`model.distill` makes plain factors of the filter, which `filter_linear` = false has anyway: remove one of the keys";
        faults.push(merged.origin("model.distill"), sentence);
    }
    if kind == ModelKind::Filter {
        nearest(merged, linear, distill > 0, faults);
    }
    let layered = matches!(kind, ModelKind::LightGcn | ModelKind::Gcn);
    let head = head(merged, kind, faults);
    if kind == ModelKind::Gcn && merged.count("model.layers") == Some(0) {
        let sentence = "`model.layers` is 0: a graph convolution has 1 to 4, use \"lightgcn\" or \"als\" for factors without layers";
        faults.push(merged.origin("model.layers"), sentence);
    }
    let one = merged.count("model.layers").unwrap_or(1) == 1;
    let drops = merged.real("model.dropout").unwrap_or_default() > 0.0;
    if kind == ModelKind::Gcn && drops && one {
        let sentence = "`model.dropout` is between layers, and there is one: give `layers` 2 or more, or remove the key";
        faults.push(merged.origin("model.dropout"), sentence);
    }
    starts(merged, kind, faults);
    let real = |path: &str| merged.real(path).unwrap_or_default();
    Model {
        forecast: forecast(merged, time, faults),
        kind,
        time,
        preset,
        rank: merged.count("model.rank").unwrap_or_default() as u32,
        epochs: merged.count("model.epochs").unwrap_or_default() as u32,
        regularization: merged.real("model.regularization").unwrap_or(match kind {
            ModelKind::Als if preset == Preset::Full => 1e-6,
            ModelKind::Als => 0.003,
            ModelKind::Sgd | ModelKind::Line => 0.03,
            ModelKind::Spectral | ModelKind::Filter | ModelKind::Ucmf | ModelKind::Popularity => {
                0.0
            }
            ModelKind::LightGcn => DEFAULTS.regularization,
            ModelKind::Gcn => gcn::Settings::DEFAULT.regularization,
        }),
        regularization_given: merged.real("model.regularization").is_some(),
        nu: real("model.nu"),
        alpha: real("model.alpha"),
        alpha0: merged.real("model.alpha0"),
        epsilon: merged.real("model.epsilon"),
        power: merged.real("model.power"),
        init: real("model.init"),
        seed: merged.count("model.seed").unwrap_or_default(),
        tolerance: real("model.tolerance"),
        stopping: None,
        center: merged.flag("model.center"),
        hold_time: merged.flag("model.hold_time"),
        factors_context: factors_context(merged, faults),
        hold_context: merged.flag("model.hold_context"),
        time_smoothing: smoothing,
        solver,
        cg_steps: merged.count("model.cg_steps").unwrap_or_default() as u32,
        user_attribute_weight: real("model.user_attribute_weight"),
        product_attribute_weight: real("model.product_attribute_weight"),
        attribute_regularization: real("model.attribute_regularization"),
        linear_attributes: merged.flag("model.linear_attributes"),
        half_life,
        non_negative,
        loss: loss(merged, kind),
        head,
        layers: merged.count("model.layers").map_or_else(
            || {
                if kind == ModelKind::Gcn {
                    gcn::Settings::DEFAULT.layers
                } else {
                    DEFAULTS.layers
                }
            },
            |layers| layers as u32,
        ),
        batches: merged.count("model.batches").map(|count| count as u32),
        negatives: merged.count("model.negatives").map(|count| count as u32),
        noise_power: merged.real("model.noise_power"),
        optimizer: word(
            merged,
            "model.optimizer",
            &[("adagrad", Optimizer::Adagrad), ("sgd", Optimizer::Sgd)],
        ),
        rate: merged.real("model.rate"),
        decay: real("model.decay"),
        biases: merged.flag("model.biases"),
        normalization: if layered && !merged.is_given("model.normalization") {
            Normalization::Symmetric
        } else {
            word(
                merged,
                "model.normalization",
                &[
                    ("symmetric", Normalization::Symmetric),
                    ("none", Normalization::None),
                    ("random-walk", Normalization::RandomWalk),
                ],
            )
        },
        self_loops: merged.flag("model.self_loops"),
        edges: word(
            merged,
            "model.edges",
            &[("binary", Edges::Binary), ("values", Edges::Values)],
        ),
        user_edge_weight: merged.real("model.user_edge_weight"),
        product_edge_weight: merged.real("model.product_edge_weight"),
        walk_length: merged.count("model.walk_length").unwrap_or_default() as u32,
        filter_weight: real("model.filter_weight"),
        filter_linear: linear,
        filter_nearest: merged.count("model.filter_nearest").unwrap_or_default() as u32,
        filter_shrinkage: real("model.filter_shrinkage"),
        distill: distill as u32,
        oversampling: merged.count("model.oversampling").map(|count| count as u32),
        activation: word(
            merged,
            "model.activation",
            &[
                ("identity", Activation::Identity),
                ("relu", Activation::Relu),
                ("tanh", Activation::Tanh),
            ],
        ),
        dropout: real("model.dropout"),
        readout: word(
            merged,
            "model.readout",
            &[("last", Readout::Last), ("mean", Readout::Mean)],
        ),
        self_weights: word(
            merged,
            "model.self_weights",
            &[("tied", SelfWeights::Tied), ("free", SelfWeights::Free)],
        ),
        weights: word(
            merged,
            "model.weights",
            &[("separate", Weights::Separate), ("shared", Weights::Shared)],
        ),
        features: word(
            merged,
            "model.features",
            &[
                ("embeddings", Features::Embeddings),
                ("attributes", Features::Attributes),
                ("both", Features::Both),
            ],
        ),
        temperature: real("model.temperature"),
        labels,
        label_checks,
        cotraining: real("model.cotraining"),
        initial_users: locations(merged, "model.initial_users", faults),
        initial_products: locations(merged, "model.initial_products", faults),
        initial_time: locations(merged, "model.initial_time", faults),
        initial_contexts: locations(merged, "model.initial_contexts", faults),
        initial_weights: merged
            .text("model.initial_weights")
            .map(|text| location(merged, "model.initial_weights", text, faults)),
    }
}

/// What a filter says of the nearest products.
fn nearest(merged: &Merged, linear: bool, distilled: bool, faults: &mut Faults) {
    let (nearest, shrinkage) = ("model.filter_nearest", "model.filter_shrinkage");
    if merged.count(nearest).unwrap_or_default() == 0 {
        if merged.real(shrinkage).unwrap_or_default() > 0.0 {
            let sentence = "`model.filter_shrinkage` is of the nearest products: set `model.filter_nearest`, 100 for a start, or remove the key";
            faults.push(merged.origin(shrinkage), sentence);
        }
        return;
    }
    let why = if !linear {
        "keeps the nearest products of the linear part, and `filter_linear` is off"
    } else if distilled {
        "keeps the nearest products of the linear part, and `distill` makes plain factors of the whole filter"
    } else if merged.text("model.edges") == Some("values") {
        "counts users who have both of two products, and `edges` is \"values\""
    } else {
        return;
    };
    let sentence = format!("`model.filter_nearest` {why}: remove one of the keys");
    faults.push(merged.origin(nearest), sentence);
}
