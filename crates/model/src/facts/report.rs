//! What is told of a graph, for people and programs. `docs/graphs.md` explains the figures.

use serde::Serialize;

/// Facts about a graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// Interactions: a pair counts once for each bin and context.
    pub interactions: u64,
    /// Distinct pairs.
    pub edges: u64,
    /// Edges over pairs that could be.
    pub density: f64,
    /// The users' side.
    pub users: Side,
    /// The products' side.
    pub products: Side,
    /// Connected components that have an edge.
    pub components: Components,
    /// Pearson's correlation, over edges, of the degrees of their ends; `null` where those of a side are all equal.
    pub assortativity: Option<f64>,
    /// A², the graph of walks of length two.
    pub square: Square,
    /// The graph with edges between users and between products, where the data set has some; all else is of interactions alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked: Option<Linked>,
}

/// The graph of interactions and of edges between rows of a mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Linked {
    /// Edges between users, where there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Links>,
    /// Edges between products, where there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub products: Option<Links>,
    /// Users that neither kind joins with anybody else.
    pub isolated_users: u64,
    /// Such products.
    pub isolated_products: u64,
    /// Connected components of more than one node.
    pub components: Components,
}

/// Edges between rows of a mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Links {
    /// Who takes from whom: distinct pairs, twice where an edge goes both ways.
    pub edges: u64,
    /// Whether edges go one way.
    pub directed: bool,
    /// Rows that take from nobody.
    pub isolated: u64,
    /// From how many rows each takes.
    pub degrees: Degrees,
}

/// One side.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Side {
    /// All rows.
    pub nodes: u64,
    /// Those without an edge.
    pub isolated: u64,
    /// Edges of a row, isolated ones included.
    pub degrees: Degrees,
    /// Rows with the same neighbours as another.
    pub same_neighbours: Neighbourhoods,
    /// Walks of length two from them.
    pub two_hops: TwoHops,
}

/// How degrees are spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Degrees {
    /// The least.
    pub min: u32,
    /// The least degree that half of the rows do not exceed.
    pub median: u32,
    /// Their mean.
    pub mean: f64,
    /// The least degree that 90 % of the rows do not exceed.
    pub p90: u32,
    /// ... 99 % ...
    pub p99: u32,
    /// The largest.
    pub max: u32,
    /// 0: all are equal; near 1: few rows have nearly all edges.
    pub gini: f64,
    /// Rows by powers of two; isolated ones are in none.
    pub histogram: Vec<Bin>,
}

/// Rows with `from` to 2 `from` − 1 edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// The least of the bin.
    pub from: u64,
    /// Rows.
    pub nodes: u64,
}

/// Rows with the same neighbours, isolated ones left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Neighbourhoods {
    /// Neighbourhoods that several rows have.
    pub groups: u64,
    /// Those rows.
    pub nodes: u64,
    /// Their share of the rows with edges.
    pub share: f64,
    /// The most of one neighbourhood.
    pub largest: u64,
}

/// Walks of length two: to a neighbour and on to one of its neighbours, back where they began included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TwoHops {
    /// All of them.
    pub walks: u64,
    /// Of a row.
    pub mean: f64,
    /// The most of one row.
    pub max: u64,
    /// The most rows that they can reach, over all rows: entries of this side's block of A².
    pub entries_most: u64,
    /// Those that they do reach, from a sample of rows.
    pub entries: f64,
    /// One standard error of it; 0 where the sample is all rows.
    pub entries_error: f64,
    /// Rows of the sample.
    pub sampled: u64,
}

/// Connected components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Components {
    /// How many have an edge.
    pub count: u64,
    /// Users of the largest.
    pub largest_users: u64,
    /// Its products.
    pub largest_products: u64,
    /// Its share of all nodes with edges.
    pub largest_share: f64,
}

/// What A² would cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Square {
    /// The most entries that it can have.
    pub entries_most: u64,
    /// Entries, estimated.
    pub entries: f64,
    /// Bytes to store them: a column and a value of 4 each, and a row pointer of 8 a node.
    pub bytes: f64,
    /// Multiplications that make it: every walk of length two is one.
    pub multiplications: u64,
    /// What a product with it gathers, over what two products with A do.
    pub cost_over_two_products: f64,
}
