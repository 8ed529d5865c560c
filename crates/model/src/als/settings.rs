//! The settings of alternating least squares: text, checked together, then passed by value.

use kernels::LANES;
use serde::{Deserialize, Serialize};
use tensor::{Mode, Small};

/// The largest default of λ where a small mode is trained, which may have few rows: on the bundled purchases with their seven
/// weekdays 0.0004 leaves little more than popularity (recall@20 .023), 0.0001 and a tenth of it do not (.028, .027); with
/// months 0.001 leaves nothing, 0.00025 NDCG@20 .039, 0.0001 and a third of it .042.
const SMALL_REGULARIZATION_MAX: f64 = 1e-4;

/// The largest rank.
pub const RANK_MAX: u32 = 512;

/// Which of the formula's weights are used (DESIGN 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Ratings: only what was observed counts, each with weight 1, and the value is the target. Targets
    /// are taken relative to their mean unless `center = false`.
    Explicit,
    /// Hu, Koren, Volinsky (2008): an interaction counts as 1 with confidence `alpha0` + w, w growing with its value.
    Hu,
    /// Rendle et al. (2022), "iALS++": an interaction counts as 1 with weight 1; every cell, observed or
    /// not, as 0 with weight `alpha0`.
    Rendle,
    /// The CP decomposition (Kolda, Bader 2009): every cell counts with weight 1, those that were not observed as 0.
    Full,
}

/// How the weight above the unobserved one grows with the value, for `hu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// w = α y.
    Linear,
    /// w = α log(1 + y / ε).
    Log,
    /// w = α y^p.
    Power,
}

/// What becomes of the time mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUse {
    /// Bins are collapsed: users × products.
    Ignore,
    /// A third table, of bins: users × products × time.
    Factor,
    /// Users × products, and interactions count less the older they are.
    Decay,
}

/// What becomes of the context mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContextUse {
    /// Contexts are collapsed.
    #[default]
    Ignore,
    /// A table of contexts.
    Factor,
}

/// How rows are solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// By whatever is cheapest for a row of its count.
    Auto,
    /// Exactly, by Cholesky on the normal equations.
    Cholesky,
    /// Exactly, rows with fewer interactions than columns by Cholesky on the dual system.
    Dual,
    /// By some steps of conjugate gradients from the last factors.
    Cg,
    /// By a sweep of block coordinate descent from the last factors, 16 columns at a time.
    Subspace,
}

/// All settings. Absent keys take their defaults; [`Settings::check`] refuses what cannot be honoured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Columns of factors of every table.
    pub rank: u32,
    /// Passes over all modes.
    pub epochs: u32,
    /// Weights and targets.
    pub preset: Preset,
    /// The weight of a value above the unobserved weight, for `hu`.
    pub alpha: f64,
    /// How it grows with the value, for `hu`.
    pub scaling: Scaling,
    /// The unit of values in the logarithm, for `scaling = "log"`.
    pub epsilon: f64,
    /// The power of values in weights, for `scaling = "power"`.
    pub power: f64,
    /// The weight of unobserved cells. Absent: 0 for `explicit`, 1 for `hu` and `full`, 0.1 for `rendle`.
    pub alpha0: Option<f64>,
    /// λ.
    pub regularization: f64,
    /// ν: a row with n interactions is held by λ (n + α0 · cells of the row)^ν.
    pub nu: f64,
    /// Whether `explicit` targets are taken relative to the mean of the training values.
    pub center: bool,
    /// Ignore time or factor it.
    pub time: TimeUse,
    /// Keep the table of bins at ones.
    pub hold_time: bool,
    /// Ignore contexts or factor them.
    pub context: ContextUse,
    /// Keep the table of contexts at ones.
    pub hold_context: bool,
    /// The seed of the first product factors.
    pub seed: u64,
    /// Their standard deviation times the square root of the rank.
    pub init_scale: f64,
    /// Stop when an epoch lowers the objective by less than this share; 0: never.
    pub tolerance: f64,
    /// How rows are solved.
    pub solver: Solver,
    /// Steps of conjugate gradients.
    pub cg_steps: u32,
    /// λ1 of the users' attributes; 0: they are not used.
    pub user_attribute_weight: f64,
    /// λ1 of the products'.
    pub product_attribute_weight: f64,
    /// How strongly users are held to the mean of those they have edges to; 0: edges are not used.
    pub user_edge_weight: f64,
    /// The same of products.
    pub product_edge_weight: f64,
    /// λ2: the maps of an attribute are held by λ2 times the count of rows that have it.
    pub attribute_regularization: f64,
    /// Whether all factors are kept at 0 or more.
    pub non_negative: bool,
    /// The age, in bins, at which an interaction counts half, for `time = "decay"`.
    pub half_life: Option<f64>,
    /// λ_τ: Σ |t_k − t_{k−1}|² over neighbouring bins counts so often.
    pub time_smoothing: f64,
    /// Whether the rows of every mode have biases beside their factors.
    pub biases: bool,
    /// Whether the biases of rows of which attributes are known have linear terms of these.
    pub linear_attributes: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            rank: 64,
            epochs: 10,
            preset: Preset::Hu,
            alpha: 0.5,
            scaling: Scaling::Linear,
            epsilon: 1.0,
            power: 1.0,
            alpha0: None,
            regularization: 0.003,
            nu: 1.0,
            // Measured on MovieLens-100k, rank 64, λ 0.1: RMSE .917 against .929 with the mean taken off.
            center: false,
            time: TimeUse::Ignore,
            hold_time: false,
            context: ContextUse::Ignore,
            hold_context: false,
            seed: 1,
            init_scale: 0.1,
            tolerance: 0.0,
            solver: Solver::Cholesky,
            cg_steps: 3,
            user_attribute_weight: 0.0,
            product_attribute_weight: 0.0,
            user_edge_weight: 0.0,
            product_edge_weight: 0.0,
            attribute_regularization: 0.01,
            non_negative: false,
            half_life: None,
            time_smoothing: 0.0,
            biases: false,
            linear_attributes: false,
        }
    }
}

/// A setting that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {problem}")]
pub struct SettingsError {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl Settings {
    /// Checks all settings together.
    ///
    /// # Errors
    /// The first that cannot be honoured.
    pub fn check(&self) -> Result<(), SettingsError> {
        let refuse = |key, problem: String| Err(SettingsError { key, problem });
        if !(1..=RANK_MAX).contains(&self.rank) {
            return refuse("rank", format!("is {}: give 1 to {RANK_MAX}", self.rank));
        }
        if self.columns() > RANK_MAX {
            let (most, biases) = (RANK_MAX - self.bias_columns(), self.bias_columns());
            let problem = format!(
                "is {}: give at most {most} with `biases`, which take {biases} columns",
                self.rank
            );
            return refuse("rank", problem);
        }
        if self.epochs == 0 {
            return refuse("epochs", "is 0: give 1 or more".to_owned());
        }
        if self.cg_steps == 0 {
            return refuse("cg_steps", "is 0: give 1 or more".to_owned());
        }
        let positive = [
            ("alpha", self.alpha),
            ("epsilon", self.epsilon),
            ("power", self.power),
            ("init_scale", self.init_scale),
            ("attribute_regularization", self.attribute_regularization),
        ];
        if let Some((key, value)) = positive
            .into_iter()
            .find(|&(_, value)| !(value > 0.0 && value < 1e30))
        {
            return refuse(key, format!("is {value}: give a number above 0"));
        }
        let shares = [
            ("regularization", self.regularization),
            ("alpha0", self.alpha0()),
            ("tolerance", self.tolerance),
            ("user_attribute_weight", self.user_attribute_weight),
            ("product_attribute_weight", self.product_attribute_weight),
            ("user_edge_weight", self.user_edge_weight),
            ("product_edge_weight", self.product_edge_weight),
            ("time_smoothing", self.time_smoothing),
        ];
        if let Some((key, value)) = shares
            .into_iter()
            .find(|&(_, value)| !(0.0..1e30).contains(&value))
        {
            return refuse(key, format!("is {value}: give 0 or more"));
        }
        if !(0.0..=2.0).contains(&self.nu) {
            return refuse("nu", format!("is {}: give 0 (plain) to 2", self.nu));
        }
        if self.preset == Preset::Explicit && self.alpha0() != 0.0 {
            let problem =
                "must be 0 with preset = \"explicit\", where unobserved cells do not count"
                    .to_owned();
            return refuse("alpha0", problem);
        }
        if self.preset == Preset::Full && self.alpha0() != 1.0 {
            let problem = "must be 1 with preset = \"full\", where every cell counts alike";
            return refuse("alpha0", problem.to_owned());
        }
        if self.preset == Preset::Full && self.solver != Solver::Cholesky {
            let problem = "must be \"cholesky\" with preset = \"full\": the interactions of a row add no matrix of their own";
            return refuse("solver", problem.to_owned());
        }
        if self.preset != Preset::Explicit && self.alpha0() == 0.0 {
            let problem = "must be above 0 unless preset = \"explicit\": with targets of 1 alone every cell would be 1";
            return refuse("alpha0", problem.to_owned());
        }
        if self.non_negative && self.solver != Solver::Cholesky {
            let problem = "must be \"cholesky\" with non_negative = true, which descends on the exact equations of a row";
            return refuse("solver", problem.to_owned());
        }
        if self.non_negative && self.center {
            let problem = "must be false with non_negative = true: values below their mean would be out of reach";
            return refuse("center", problem.to_owned());
        }
        if let Some(half_life) = self.half_life
            && !(half_life > 0.0 && half_life < 1e30)
        {
            return refuse(
                "half_life",
                format!("is {half_life}: give a number above 0"),
            );
        }
        if self.half_life.is_some() != (self.time == TimeUse::Decay) {
            let problem = "and time = \"decay\" need one another: give both or neither";
            return refuse("half_life", problem.to_owned());
        }
        if self.hold_time && self.time != TimeUse::Factor {
            return refuse("hold_time", "needs time = \"factor\"".to_owned());
        }
        if self.linear_attributes && !self.biases {
            let problem = "needs biases = true: it is in biases that attributes have their terms";
            return refuse("linear_attributes", problem.to_owned());
        }
        if self.linear_attributes && self.regularization == 0.0 {
            let problem =
                "needs `regularization` above 0: it is what holds a bias to the terms of its row";
            return refuse("linear_attributes", problem.to_owned());
        }
        if self.hold_context && self.context != ContextUse::Factor {
            return refuse("hold_context", "needs context = \"factor\"".to_owned());
        }
        for (key, weight) in [
            ("user_edge_weight", self.user_edge_weight),
            ("product_edge_weight", self.product_edge_weight),
        ] {
            let attributes = self.user_attribute_weight + self.product_attribute_weight;
            let alone = self.preset != Preset::Full
                && self.solver == Solver::Cholesky
                && !(self.biases || self.non_negative || attributes > 0.0);
            if weight > 0.0 && !alone {
                let problem = "needs the solver \"cholesky\" and another preset than \"full\", and goes neither with biases nor with \
                               weights of attributes nor with non_negative";
                return refuse(key, problem.to_owned());
            }
        }
        if self.time_smoothing > 0.0 && self.non_negative {
            let problem =
                "and non_negative exclude one another: bins together are solved, not descended";
            return refuse("time_smoothing", problem.to_owned());
        }
        if self.time_smoothing > 0.0 && (self.time != TimeUse::Factor || self.hold_time) {
            let problem = "needs time = \"factor\", and hold_time = false: else no bins are solved";
            return refuse("time_smoothing", problem.to_owned());
        }
        Ok(())
    }

    /// λ1 of the attributes of a mode.
    pub fn attribute_weight(&self, mode: Mode) -> f64 {
        match mode {
            Mode::User => self.user_attribute_weight,
            Mode::Product => self.product_attribute_weight,
            Mode::Time | Mode::Context => 0.0,
        }
    }

    /// How strongly rows of a mode are held to the mean of their neighbours.
    pub fn edge_weight(&self, mode: Mode) -> f64 {
        match mode {
            Mode::User => self.user_edge_weight,
            Mode::Product => self.product_edge_weight,
            Mode::Time | Mode::Context => 0.0,
        }
    }

    /// The weight of unobserved cells.
    pub fn alpha0(&self) -> f64 {
        self.alpha0.unwrap_or(match self.preset {
            Preset::Explicit => 0.0,
            Preset::Hu | Preset::Full => 1.0,
            Preset::Rendle => 0.1,
        })
    }

    /// The small modes that have factors.
    pub fn factors(&self) -> Small<bool> {
        Small {
            time: self.time == TimeUse::Factor,
            context: self.context == ContextUse::Factor,
        }
    }

    /// Those of them that are trained, and not held at ones.
    pub fn trains(&self) -> Small<bool> {
        let held = Small {
            time: self.hold_time,
            context: self.hold_context,
        };
        self.factors()
            .zip(held)
            .map(|(factored, held)| factored && !held)
    }

    /// The defaults of a tensor whose small modes have so many rows. A pair of user and product has a cell in each, so a pair
    /// that never met counts as often as in the matrix only where each cell has α0 / rows; and the rows of several tables
    /// shrink each other, so that the λ of a matrix makes all factors zero: λ / rows, where it `divides` and they are trained,
    /// and no more than what leaves factors alive where there are few rows.
    #[must_use]
    pub fn over_cells(mut self, rows: Small<u32>, divides: bool) -> Self {
        if !matches!(self.preset, Preset::Hu | Preset::Rendle) {
            return self;
        }
        let product = |of: Small<bool>| {
            let each = rows.zip(of).map(
                |(rows, counts)| {
                    if counts { f64::from(rows.max(1)) } else { 1.0 }
                },
            );
            each.time * each.context
        };
        let (factored, trained) = (self.factors(), self.trains());
        if factored.count() > 0 {
            self.alpha0 = Some(self.alpha0.unwrap_or(self.alpha0() / product(factored)));
        }
        if divides {
            self.regularization /= product(trained);
            if trained.count() > 0 {
                self.regularization = self.regularization.min(SMALL_REGULARIZATION_MAX);
            }
        }
        self
    }

    /// Whether weights fade beside values, and not the values themselves: where a value is a target, or not looked at.
    pub fn fades_weights(&self) -> bool {
        matches!(self.preset, Preset::Explicit | Preset::Rendle)
    }

    /// Whether some row may start from its last factors.
    pub fn starts_warm(&self) -> bool {
        self.solver_of_rows().starts_warm() || self.non_negative
    }

    /// Columns of biases: one a mode.
    pub fn bias_columns(&self) -> u32 {
        if self.biases {
            2 + self.factors().count() as u32
        } else {
            0
        }
    }

    /// Columns of every row: the factors, then the biases.
    pub fn columns(&self) -> u32 {
        self.rank + self.bias_columns()
    }

    /// The solver, as it is at the rank.
    pub fn solver_of_rows(&self) -> Solver {
        self.solver
            .at(self.columns().next_multiple_of(LANES as u32) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_honoured() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn a_tensor_shares_its_defaults_out_over_cells() {
        let bins = Small {
            time: 4,
            context: 8,
        };
        let tensor = |preset, alpha0| Settings {
            time: TimeUse::Factor,
            preset,
            alpha0,
            regularization: 0.5,
            ..Settings::default()
        };
        let of = |settings: Settings| (settings.alpha0(), settings.regularization);
        assert_eq!(
            of(tensor(Preset::Hu, None).over_cells(bins, true)),
            (0.25, 1e-4)
        );
        let many = Small {
            time: 1 << 14,
            ..bins
        };
        let (alpha0, regularization) = of(tensor(Preset::Hu, None).over_cells(many, true));
        assert_eq!((alpha0, regularization), (1.0 / 16_384.0, 0.5 / 16_384.0));
        assert_eq!(
            of(tensor(Preset::Hu, Some(3.0)).over_cells(bins, false)),
            (3.0, 0.5)
        );
        assert_eq!(
            of(tensor(Preset::Explicit, None).over_cells(bins, true)),
            (0.0, 0.5)
        );
        assert_eq!(of(Settings::default().over_cells(bins, true)), (1.0, 0.003));
        let four = Settings {
            context: ContextUse::Factor,
            ..tensor(Preset::Hu, None)
        };
        let held = Settings {
            hold_context: true,
            ..four.clone()
        };
        assert_eq!(of(four.over_cells(bins, true)), (1.0 / 32.0, 1e-4));
        assert_eq!(of(held.over_cells(bins, true)), (1.0 / 32.0, 1e-4));
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        type Spoil = fn(&mut Settings);
        let cases: [(&str, Spoil); 23] = [
            ("rank", |s| s.rank = 513),
            ("epochs", |s| s.epochs = 0),
            ("cg_steps", |s| s.cg_steps = 0),
            ("alpha", |s| s.alpha = f64::NAN),
            ("regularization", |s| s.regularization = -1.0),
            ("nu", |s| s.nu = 3.0),
            ("alpha0", |s| {
                (s.preset, s.alpha0) = (Preset::Explicit, Some(1.0));
            }),
            ("alpha0", |s| s.alpha0 = Some(0.0)),
            ("alpha0", |s| {
                (s.preset, s.alpha0) = (Preset::Full, Some(0.5));
            }),
            ("solver", |s| {
                (s.preset, s.solver) = (Preset::Full, Solver::Auto);
            }),
            ("hold_time", |s| s.hold_time = true),
            ("hold_context", |s| s.hold_context = true),
            ("linear_attributes", |s| s.linear_attributes = true),
            ("linear_attributes", |s| {
                (s.biases, s.linear_attributes, s.regularization) = (true, true, 0.0);
            }),
            ("solver", |s| {
                (s.non_negative, s.solver) = (true, Solver::Cg);
            }),
            ("half_life", |s| s.time = TimeUse::Decay),
            ("half_life", |s| s.half_life = Some(4.0)),
            ("half_life", |s| {
                (s.time, s.half_life) = (TimeUse::Decay, Some(0.0));
            }),
            ("center", |s| (s.non_negative, s.center) = (true, true)),
            ("tolerance", |s| s.tolerance = f64::INFINITY),
            ("time_smoothing", |s| s.time_smoothing = 1.0),
            ("time_smoothing", |s| {
                (s.time, s.non_negative, s.time_smoothing) = (TimeUse::Factor, true, 1.0);
            }),
            ("time_smoothing", |s| {
                (s.time, s.time_smoothing) = (TimeUse::Factor, f64::NAN);
            }),
        ];
        for (key, spoil) in cases {
            let mut settings = Settings::default();
            spoil(&mut settings);
            assert_eq!(settings.check().unwrap_err().key, key);
        }
    }
}
