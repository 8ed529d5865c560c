//! The ops of graph models as values. What each reads and writes, in order, is its contract with the program that names
//! the keys and with the runner that brings the bytes.

use super::dropout::Dropout;
use super::gcn::Reading;
use crate::als::Columns;
use serde::{Deserialize, Serialize};
use tensor::{Grid, Mode};

/// An op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GraphOp {
    /// Counts the degrees of a block.
    Degrees(DegreesOp),
    /// Makes the random rows that training starts from.
    Start(StartOp),
    /// Multiplies a block of the adjacency with a table.
    Product(ProductOp),
    /// Arranges the interactions of a block by ranges of columns.
    Arrange(ArrangeOp),
    /// Multiplies blocks of the adjacency that were so arranged with a table.
    Ranges(RangesOp),
    /// Multiplies the rows of a block with a small matrix.
    Turn(TurnOp),
    /// What is left of singular triplets.
    Residuals(ResidualsOp),
    /// What two tables have in common.
    Cross(CrossOp),
    /// The eigenbasis of that, where it is symmetric.
    Pairs(PairsOp),
    /// Multiplies the rows of a block with that.
    Times(TimesOp),
    /// Products less their rivals.
    Rivals(RivalsOp),
    /// The gradients of products out of those of differences.
    Undo(RivalsOp),
    /// The loss of interactions and its gradients.
    Head(HeadOp),
    /// Moves parameters along their gradients.
    Adam(AdamOp),
    /// A layer with weights.
    Dense(DenseOp),
    /// Its gradients.
    DenseBack(DenseBackOp),
    /// The mean of layers.
    Mean(MeanOp),
    /// Makes a small matrix that training starts from.
    FirstMatrix(FirstMatrixOp),
    /// Moves a small matrix along its gradients.
    Matrix(MatrixOp),
    /// The features of nodes, out of their attributes.
    Features(FeaturesOp),
    /// Their gradients.
    FeaturesBack(FeaturesBackOp),
    /// Rows of one length.
    Unit(UnitOp),
    /// Their gradients.
    UnitBack(UnitBackOp),
    /// Labels of rows, and their gradients.
    Labels(LabelsOp),
    /// Rows that name their level.
    Groups(GroupsOp),
}

/// What an interaction weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edges {
    /// One.
    Binary,
    /// Its value.
    Values,
}

/// A power of a degree, in halves: −1 stands for 1/√d. A row without a degree becomes zeros, unless the power is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power(pub i8);

/// How the rows that a task makes are scaled: as the table that the formulas speak of, and once more as they are stored, for
/// those that read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scales {
    /// Before their Gram is taken.
    pub made: Power,
    /// After it.
    pub stored: Power,
}

/// Reads the block's partition and, where they count, that of its rows' own edges. Writes its degrees, an f64 a row, with loops 1 more
/// where there is any. Returns [`Counts`] of the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DegreesOp {
    /// What is added up.
    pub edges: Edges,
    /// What the values of edges between rows of the mode are multiplied by, where these count.
    pub own: Option<f64>,
    /// Whether every row that has a degree has an edge to itself, too.
    pub loops: bool,
}

/// Reads the block's degrees and, where rows are given, these. Writes its rows, normal numbers times `by` or, of rows whose first float is
/// a number, what is given, times the power of their degrees, zeros where there is no degree; and, where the task names a second write, the leaf of their Gram. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartOp {
    /// The mode.
    pub mode: Mode,
    /// Its grid; the block is that of the write.
    pub grid: Grid,
    /// Columns.
    pub columns: u32,
    /// The seed of the run.
    pub seed: u64,
    /// The standard deviation.
    pub by: f32,
    /// What of degrees they are multiplied by.
    pub power: Power,
    /// How many of the columns, the last, begin as zeros.
    pub zeros: u32,
    /// Whether rows are given.
    pub given: bool,
}

/// Rows that are added to a product, and by what the sum is multiplied then.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Onto {
    /// What the product counts beside what it is added to.
    pub share: f32,
    /// A power of degrees.
    pub power: Power,
    /// And a number.
    pub by: f32,
}

/// Reads the block's partition, the other table (rows), the block's degrees and, where it is `onto` something, a block of rows
/// that is added once sums are scaled as made; with loops also the block of its rows in a table like the other one, which is added to
/// sums. Writes the block of the product and, where the task names a second write, the leaf of its Gram. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProductOp {
    /// The grid of the rows; the block is that of the write.
    pub rows: Grid,
    /// The grid of the other table.
    pub others: Grid,
    /// Columns of both tables.
    pub columns: u32,
    /// What interactions weigh.
    pub edges: Edges,
    /// What becomes of the sums.
    pub scales: Scales,
    /// To what they are added.
    pub onto: Option<Onto>,
    /// Whether rows have edges to themselves.
    pub loops: bool,
}

/// Reads the block's partition. Writes its [`crate::graph::tiles`], one row of words. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArrangeOp {
    /// The grid of the other table.
    pub others: Grid,
    /// Rows of it that make a range.
    pub range_rows: u32,
    /// What interactions weigh.
    pub edges: Edges,
}

/// Reads the tiles of consecutive blocks, the other table (rows), the blocks' degrees and, where it is `onto` something, the blocks
/// that are added, with loops also those of its rows in a table like the other one. Writes for each the block of the product and, where the task names twice as many writes, the leaf of its Gram
/// after it. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RangesOp {
    /// The grid of the rows; the first block is that of the first write.
    pub rows: Grid,
    /// The grid of the other table.
    pub others: Grid,
    /// Rows of it that make a range.
    pub range_rows: u32,
    /// Columns of both tables.
    pub columns: u32,
    /// Interactions of the blocks.
    pub interactions: u64,
    /// What becomes of the sums.
    pub scales: Scales,
    /// What they are added to.
    pub onto: Option<Onto>,
    /// Whether rows have edges to themselves.
    pub loops: bool,
}

/// What of an eigenbasis ([`crate::als::basis`]) of a Gram rows are multiplied with: its vectors W as columns, each times a function
/// of its value λ = σ². σ' is σ, or σ + σ³ where walks of length 3 count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Factor {
    /// W λ^-½: rows become orthonormal columns.
    Whiten,
    /// W √σ' / σ over the first columns, times a weight: left factors from the product with what the basis belongs to.
    Left {
        /// How many columns.
        rank: u32,
        /// Whether walks of length 3 count.
        cubes: bool,
        /// By which all scores are multiplied.
        weight: f64,
    },
    /// W √σ' over the first columns: right factors.
    Right {
        /// How many columns.
        rank: u32,
        /// Whether walks of length 3 count.
        cubes: bool,
    },
    /// W √|μ| over the first columns of a basis of eigenvalues μ ([`PairsOp`]).
    Pair {
        /// How many columns.
        rank: u32,
        /// Whether they have the signs of μ.
        signed: bool,
    },
}

impl Factor {
    /// Columns of the rows that come out of rows with so many.
    pub fn columns(self, columns: u32) -> u32 {
        match self {
            Factor::Whiten => columns,
            Factor::Left { rank, .. } | Factor::Right { rank, .. } | Factor::Pair { rank, .. } => {
                rank
            }
        }
    }
}

/// Reads a block of a table, an eigenbasis and the block's degrees. Writes the block's rows times the factor and, where the task
/// names a second write, the leaf of their Gram. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnOp {
    /// Columns of the rows that are read.
    pub columns: u32,
    /// The small matrix.
    pub factor: Factor,
    /// What becomes of the products.
    pub scales: Scales,
}

/// Reads the eigenbasis of YᵀY, Y = B V with orthonormal V, and the root of the Gram of Z = Bᵀ Y; of pairs that of QᵀY, Y = T Q with
/// orthonormal Q, and the root of the Gram of Y. Returns [`Residuals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidualsOp {
    /// Columns of V.
    pub columns: u32,
    /// Triplets.
    pub rank: u32,
    /// Whether they are pairs of an eigenvalue and its vector.
    pub pairs: bool,
}

/// Reads a block of a table L and that of another, X. Writes the leaf of Lᵀ X, a line a column of L, an f64 an entry ([`super::cross`]).
/// Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossOp {
    /// Columns of L.
    pub left: u32,
    /// Columns of X.
    pub right: u32,
}

/// Reads the root of QᵀT Q, Q orthonormal and T symmetric. Writes its eigenbasis ([`crate::als::basis`]), the value of the largest size
/// first. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairsOp {
    /// Columns of Q.
    pub columns: u32,
}

/// Reads a block of a table and the root of such a sum. Writes the block's rows times it. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimesOp {
    /// Columns of the table, and lines of the sum.
    pub left: u32,
    /// Columns of what is written.
    pub right: u32,
}

/// What a head minimises ([`super::head`]).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// ½ (1 − x)² over interactions and ½ α0 x² over all pairs.
    AllPairs {
        /// α0.
        alpha0: f64,
    },
    /// −ln σ(x), x the score less that of a rival.
    Bpr,
    /// −ln σ(x) over interactions, and −ln σ(−x) over so many rivals of each.
    Logistic {
        /// Rivals.
        negatives: u32,
    },
    /// ½ (y − x)² over interactions of the value y, and ½ x² over so many rivals of each.
    Squared {
        /// Rivals.
        negatives: u32,
    },
}

impl Head {
    /// How often a batch deals rivals.
    pub fn rivals(self) -> u32 {
        match self {
            Head::AllPairs { .. } => 0,
            Head::Bpr => 1,
            Head::Logistic { negatives } | Head::Squared { negatives } => negatives,
        }
    }

    /// Passes over the interactions of a batch, each of which tells losses.
    pub fn passes(self) -> u32 {
        match self {
            Head::AllPairs { .. } | Head::Bpr => 1,
            Head::Logistic { negatives } | Head::Squared { negatives } => 1 + negatives,
        }
    }
}

/// A loss of the score of one interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScoreLoss {
    /// ½ (x − y)².
    Squared,
    /// log(1 + eˣ) − x y.
    Logistic,
}

/// The y of a [`ScoreLoss`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// A number.
    Number(f32),
    /// The value of the interaction.
    Value,
}

/// What takes the place of products where they have rivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versus {
    /// The product less its rival.
    Difference,
    /// The rival.
    Rival,
}

/// A part of the interactions, by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The seed of the run.
    pub seed: u64,
    /// The epoch, in which every interaction is of one batch.
    pub epoch: u32,
    /// Batches of an epoch.
    pub count: u32,
    /// Which of them.
    pub number: u32,
}

/// Reads a block of products, that of its rivals, and the degrees of both. Writes what takes the place of each row. Returns nothing.
///
/// Undone ([`GraphOp::Undo`]): reads what the gradients of a block are so far (of differences: those of its own), the gradients of what
/// took the place of the block whose rivals are in it, and the degrees of both. Writes the gradients of the block's products. Returns
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RivalsOp {
    /// What takes the place of a product.
    pub versus: Versus,
    /// The power of a product's degree by which it is dealt; 0: each about once.
    pub noise: f64,
    /// Blocks of products.
    pub blocks: u32,
    /// Columns.
    pub columns: u32,
    /// The seed of the run.
    pub seed: u64,
    /// The number of the dealing, by which rivals change.
    pub dealing: u32,
    /// What of degrees gradients are multiplied by.
    pub power: Power,
}

/// A pass of a head. Reads the block's partition, the other table (rows), the block's degrees and its rows; for all pairs also the root
/// of the other table's Gram, and onto another pass its gradients of the block. Writes the gradients of the block's rows; with rivals,
/// products are what takes their place. Returns the loss, an f64, where rows are users, else nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadOp {
    /// The mode of the rows.
    pub mode: Mode,
    /// Their grid; the block is that of the write.
    pub rows: Grid,
    /// The grid of the other table.
    pub others: Grid,
    /// Columns of both tables.
    pub columns: u32,
    /// What each interaction adds.
    pub loss: ScoreLoss,
    /// With what its score is compared.
    pub target: Target,
    /// What ½ x² of all pairs counts, where they do.
    pub alpha0: Option<f64>,
    /// Whether gradients are added to those of another pass.
    pub onto: bool,
    /// Over which interactions.
    pub batch: Batch,
    /// What of degrees gradients are multiplied by.
    pub power: Power,
}

/// Reads the block's parameters, the sums that make their gradients, its degrees and, after the first step, the means of gradients and of
/// their squares. Writes parameters and both means and, where the task names a fourth write, the leaf of the parameters' Gram.
/// Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamOp {
    /// Columns.
    pub columns: u32,
    /// What of degrees parameters are multiplied by as they are kept.
    pub power: Power,
    /// And gradients, as they come.
    pub of_gradients: Power,
    /// What gradients are multiplied by besides.
    pub share: f32,
    /// The length of a step.
    pub rate: f32,
    /// λ: what of a row, times its degree, is added to its gradient.
    pub regularization: f64,
    /// Steps, with this one.
    pub step: u32,
}

/// What the sums of a layer go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Nothing.
    Identity,
    /// max(x, 0).
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

/// Reads a block of sums over neighbours, the block's rows in the layer below, the matrices of the layer and the block's degrees. Writes
/// the block's rows in the layer ([`super::dense`]) and, where the task names a second write, the leaf of their Gram. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenseOp {
    /// Columns of both layers.
    pub columns: u32,
    /// What sums go through.
    pub activation: Activation,
    /// What of degrees the rows below are multiplied by as they are kept.
    pub power: Power,
    /// And those that are written.
    pub stored: Power,
    /// What of degrees an edge of a row to itself counts, where there are such, which sums do not know of yet.
    pub loops: Option<Power>,
    /// What of the layer is dropped.
    pub dropout: Option<Dropout>,
}

/// Reads a block's degrees and its rows in all layers. Writes their mean and, where the task names a second write, the leaf of its Gram.
/// Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeanOp {
    /// Columns of all layers.
    pub columns: u32,
    /// Layers, with the first.
    pub layers: u32,
    /// What of degrees the rows of all but the last are multiplied by as they are kept.
    pub power: Power,
}

/// Reads a block of gradients by a layer, what the layer was made of as [`DenseOp`] read it, unless the layer is linear the block of
/// the layer and, where a mean of layers is scored, the gradients by that. Writes the gradients by sums over neighbours, times the power of degrees, those by own rows, and the leaf of those by the
/// matrices, an f64 an entry. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenseBackOp {
    /// Columns of both layers.
    pub columns: u32,
    /// What sums went through.
    pub activation: Activation,
    /// Matrices of the layer.
    pub parts: u32,
    /// What of degrees the rows of layers are multiplied by as they are kept.
    pub power: Power,
    /// And gradients by sums.
    pub of_sums: Power,
    /// What gradients by the layer are multiplied by.
    pub share: f32,
    /// What of the gradients by a mean of layers goes to own rows.
    pub of_mean: Option<f32>,
    /// What of degrees an edge of a row to itself counts, along which it gets gradients by sums.
    pub loops: Option<Power>,
    /// What of the layer was dropped.
    pub dropout: Option<Dropout>,
}

impl DenseBackOp {
    /// Whether gradients depend on where the layer's rows are.
    pub fn bends(&self) -> bool {
        self.activation != Activation::Identity
    }
}

/// What a small matrix holds before training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum FirstNumbers {
    /// This on the diagonals of squares.
    Unit(f32),
    /// Those of an earlier model's.
    Given,
    /// Normal numbers.
    Normal {
        /// The seed of the run.
        seed: u64,
        /// Which matrix.
        stream: u32,
        /// The standard deviation.
        by: f32,
    },
}

/// Reads, where it is given, a matrix. Writes a matrix. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstMatrixOp {
    /// Lines.
    pub lines: u32,
    /// Columns.
    pub columns: u32,
    /// What it holds.
    pub first: FirstNumbers,
}

/// Reads a matrix, the roots of some gradients by it and, after the first step, the means of gradients and of their squares. Writes matrix
/// and both means. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatrixOp {
    /// Columns.
    pub columns: u32,
    /// Gradients.
    pub sums: u32,
    /// The length of a step.
    pub rate: f32,
    /// Steps, with this one.
    pub step: u32,
}

/// Reads the block's degrees, the words of its attributes and the matrix of these where there are attributes, and the block's learnt rows
/// where there are some. Writes the block's features: the sum of both, times the power of degrees. Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeaturesOp {
    /// Columns of the features.
    pub columns: u32,
    /// The columns of each attribute; none: there are no words.
    pub attributes: Vec<Columns>,
    /// How words are read.
    pub words: Vec<Reading>,
    /// Whether rows are learnt.
    pub learns_rows: bool,
    /// What of degrees features are multiplied by as they are kept.
    pub power: Power,
}

/// Reads the words of a block's attributes. Writes a row a node: 1 in the column of its level, and a number in the one behind all
/// levels. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupsOp {
    /// Words of a row.
    pub attributes: u32,
    /// Which of them is the level.
    pub place: u32,
    /// Levels; a word that is none of them names nothing.
    pub levels: u32,
    /// The last column.
    pub last: f32,
}

/// Reads a block of gradients by features, and the words of its attributes. Writes the leaf of the gradients by their matrix, an f64 an entry.
/// Returns nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeaturesBackOp {
    /// Columns of the features.
    pub columns: u32,
    /// The columns of each attribute.
    pub attributes: Vec<Columns>,
    /// How words are read.
    pub words: Vec<Reading>,
}

/// Reads a block of learnt rows. Writes what is scored of them ([`super::ucmf::unit`]) and, where the task names a second write, the leaf of
/// its Gram. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitOp {
    /// Columns, of which the last is that of biases.
    pub columns: u32,
    /// The length of rows.
    pub by: f32,
    /// Whether these rows have the biases; others have ones.
    pub biased: bool,
}

/// Reads a block of learnt rows and one of gradients by what is scored of them. Writes those by the learnt rows. Returns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitBackOp {
    /// As of [`UnitOp`].
    pub columns: u32,
    /// As there.
    pub by: f32,
    /// As there.
    pub biased: bool,
}

/// Reads a block of what is scored, its gradients, degrees and words of attributes, and a classifier. Writes the gradients with those by
/// the labels added, and the leaf of those by the classifier, an f64 an entry. Returns [`LabelSums`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelsOp {
    /// Columns of rows, with that of biases; lines of the classifier.
    pub columns: u32,
    /// Classes; a word beyond them is no label.
    pub classes: u32,
    /// Attributes of a row.
    pub attributes: u32,
    /// Which of them is the label.
    pub place: u32,
    /// What rows are multiplied by to have the length 1.
    pub by: f32,
    /// What a label weighs beside an interaction.
    pub weight: f32,
    /// What rows without a label are compared with.
    pub check: Option<LabelCheck>,
}

/// Labels that a classifier is not taught, but compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCheck {
    /// Which of the attributes they are.
    pub place: u32,
    /// The class of each of its levels; one beyond the classes is no label.
    pub classes: Vec<u32>,
}

/// What is counted before training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Interactions.
    pub interactions: u64,
}

/// Singular triplets, the largest first; or pairs of an eigenvalue and its vector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Residuals {
    /// σ, or |μ|.
    pub values: Vec<f64>,
    /// |Bᵀ u − σ v|², or |T q − μ q|².
    pub squares: Vec<f64>,
}

/// What became of labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelSums {
    /// The sum of their losses, weighted.
    pub loss: f64,
    /// Rows whose label is the likeliest.
    pub right: u64,
    /// All rows with a label.
    pub all: u64,
    /// The same of labels that are only compared with.
    pub checked_right: u64,
    /// All of these.
    pub checked: u64,
}

/// A sum of losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Loss(pub f64);

impl Loss {
    /// As it travels in a partial.
    ///
    /// # Panics
    /// Never: it is a plain value.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a plain value")
    }
}

impl LabelSums {
    /// As they travel in a partial.
    ///
    /// # Panics
    /// Never: they are plain values.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a plain value")
    }
}

impl Counts {
    /// As they travel in a partial.
    ///
    /// # Panics
    /// Never: they are plain values.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a plain value")
    }
}

impl Residuals {
    /// As they travel in a partial.
    ///
    /// # Panics
    /// Never: they are plain values.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a plain value")
    }
}
