//! Graph facts as a state machine: degrees and forests first, then what the degrees decide: which rows are sampled, and where
//! equal prints lie.
//!
//! **Invariant:** it writes nothing durable, and every name follows from the data set alone.

use super::links;
use super::ops::{
    DegreesOp, EqualTally, EqualsOp, FactsOp, ForestOp, MarksOp, NotesOp, SAMPLES_MAX, Tally,
    TreeTally, WalkTally, WalksOp,
};
use super::report::{Components, Facts, Neighbourhoods, Side, Square, TwoHops};
use super::spread::Spread;
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::decode;
use std::collections::BTreeMap;
use tensor::{
    BlockId, DepotId, Grid, KeyRange, Mode, ModeEdges, ObjectKey, PartialSpec, PartitionRef,
    Partitions, Program, ProgramError, Read, Reduced, Step, StepId, TableId, Task, TaskId, Turn,
};

/// Rows whose prints are compared together: 4 MiB.
const SHARE_ROWS: u64 = 1 << 18;
/// Edges that sampled rows of a side should have together at most.
const SAMPLED_EDGES: f64 = (1 << 20) as f64;
/// The number of the reduction that joins forests.
const FORESTS: u64 = 0x0f00;

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The users' grid.
    pub user: Grid,
    /// The products' grid.
    pub product: Grid,
    /// Any partitions of a data set.
    pub interactions: Partitions,
    /// Edges between rows of a mode.
    pub edges: BTreeMap<Mode, ModeEdges>,
}

/// What a step is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Degrees(Mode),
    Links(Mode),
    Groves,
    Walks(Mode),
    Equals(Mode),
    Trees,
    Silent,
}

/// The program.
#[derive(Debug)]
pub struct GraphFacts {
    pub(super) input: Input,
    pub(super) next: u64,
    waiting: BTreeMap<StepId, Part>,
    pub(super) heard: BTreeMap<Part, Vec<Vec<u8>>>,
    found: Option<Facts>,
}

/// Op, reads, writes and cost.
pub(super) type Draft = (FactsOp, Vec<Read>, Vec<ObjectKey>, u64);

/// What the degrees of a mode say.
#[derive(Debug, Default)]
pub(super) struct Known {
    interactions: u64,
    pub(super) spread: Spread,
    /// Of each block: row and place of its samples.
    samples: Vec<Vec<(u32, u32)>>,
    sampled: usize,
    ends: Vec<Vec<u32>>,
}

impl Known {
    pub(super) fn of(partials: &[Vec<u8>]) -> Result<Self, ProgramError> {
        let mut known = Known::default();
        let mut draws = Vec::new();
        for (partial, block) in partials.iter().zip(0_usize..) {
            let tally: Tally = decode(partial)?;
            known.interactions += tally.interactions;
            known.spread.absorb(&tally.degrees);
            known.ends.push(tally.ends);
            let rows = tally.samples.into_iter();
            draws.extend(rows.map(|(draw, row)| (draw, block, row)));
        }
        draws.sort_unstable();
        // As many as the mean degree lets be, whichever rows they are.
        let linked = (known.spread.nodes() - known.spread.isolated()).max(1);
        let mean = known.spread.moment(1) as f64 / linked as f64;
        draws.truncate(((SAMPLED_EDGES / mean.max(1.0)) as usize).clamp(4, SAMPLES_MAX));
        known.samples = vec![Vec::new(); partials.len()];
        known.sampled = draws.len();
        for ((_, block, row), place) in draws.into_iter().zip(0..) {
            known.samples[block].push((row, place));
        }
        Ok(known)
    }
}

fn other(mode: Mode) -> Mode {
    if mode == Mode::User {
        Mode::Product
    } else {
        Mode::User
    }
}

pub(super) fn table(first: u16, mode: Mode) -> TableId {
    TableId(first + u16::from(mode == Mode::Product))
}

fn degrees(mode: Mode) -> TableId {
    table(0, mode)
}
fn prints(mode: Mode) -> TableId {
    table(2, mode)
}
fn marks(mode: Mode) -> TableId {
    table(4, mode)
}
fn notes(mode: Mode) -> TableId {
    table(6, mode)
}

pub(super) fn block(table: TableId, block: u32) -> ObjectKey {
    let (block, version) = (BlockId(block), 0);
    ObjectKey::Block {
        table,
        block,
        version,
    }
}

pub(super) fn blocks(table: TableId, count: u32) -> KeyRange {
    KeyRange::Blocks {
        table,
        first: 0,
        count,
        version: 0,
    }
}

pub(super) fn sealed(partition: &PartitionRef) -> Read {
    Read::whole(partition.object.key(DepotId::DATA))
}

impl GraphFacts {
    /// A program that has not begun.
    pub fn new(input: Input) -> Self {
        GraphFacts {
            input,
            next: 0,
            waiting: BTreeMap::new(),
            heard: BTreeMap::new(),
            found: None,
        }
    }

    /// The facts, once the program has finished.
    pub fn found(&self) -> Option<&Facts> {
        self.found.as_ref()
    }

    pub(super) fn grid(&self, mode: Mode) -> &Grid {
        if mode == Mode::User {
            &self.input.user
        } else {
            &self.input.product
        }
    }

    pub(super) fn partitions(&self, mode: Mode) -> &[PartitionRef] {
        if mode == Mode::User {
            &self.input.interactions.user_major
        } else {
            &self.input.interactions.product_major
        }
    }

    /// The side that forests keep to: that of fewer rows.
    fn nodes(&self) -> Mode {
        let rows = |mode| self.grid(mode).rows_total();
        if rows(Mode::User) < rows(Mode::Product) {
            Mode::User
        } else {
            Mode::Product
        }
    }

    pub(super) fn push(
        &mut self,
        turn: &mut Turn,
        (name, part): (&str, Part),
        drafts: impl IntoIterator<Item = Draft>,
        frees: Vec<KeyRange>,
    ) {
        let id = StepId(self.next);
        let tasks = drafts.into_iter().zip(0..);
        let tasks = tasks.map(|((op, reads, writes, cost), index)| Task {
            id: TaskId { step: id, index },
            op: Op::Facts(op).encode(),
            reads,
            writes,
            after: Vec::new(),
            chain: None,
            cost: cost.max(1),
        });
        let step = Step {
            id,
            name: name.to_owned(),
            tasks: tasks.collect(),
            partial: if part == Part::Silent {
                PartialSpec::None
            } else {
                PartialSpec::Collect
            },
            frees,
        };
        self.submit(turn, step, part);
    }

    pub(super) fn submit(&mut self, turn: &mut Turn, step: Step, part: Part) {
        self.waiting.insert(step.id, part);
        self.next = step.id.0 + 1;
        turn.steps.push(step);
    }

    /// The op that counts the neighbours of a mode's rows.
    pub(super) fn counting(&self, mode: Mode) -> FactsOp {
        let grid = self.grid(mode).clone();
        FactsOp::Degrees(DegreesOp {
            mode,
            shares: grid.rows_total().div_ceil(SHARE_ROWS).max(1) as u32,
            grid,
        })
    }

    fn count_degrees(&mut self, turn: &mut Turn, mode: Mode) {
        let op = self.counting(mode);
        let of = |(partition, at): (&PartitionRef, u32)| {
            let writes = vec![block(degrees(mode), at), block(prints(mode), at)];
            let reads = vec![sealed(partition)];
            (op.clone(), reads, writes, partition.interactions / 32)
        };
        let drafts: Vec<Draft> = self.partitions(mode).iter().zip(0..).map(of).collect();
        let name = format!("{mode} degrees");
        self.push(turn, (&name, Part::Degrees(mode)), drafts, Vec::new());
    }

    fn grow_forests(&mut self, turn: &mut Turn) {
        let mode = self.nodes();
        let nodes = self.grid(mode).clone();
        let partitions = self.partitions(other(mode));
        let reduction = Reduction {
            id: FORESTS,
            leaves: partitions.len() as u32,
            rows: nodes.rows_total(),
            row_bytes: size_of::<super::ops::Branch>() as u32,
        };
        let op = ForestOp { nodes };
        let of = |(partition, at): (&PartitionRef, u32)| {
            let (reads, writes) = (vec![sealed(partition)], vec![reduction.leaf(at)]);
            let op = FactsOp::Forest(op.clone());
            (op, reads, writes, partition.interactions / 16)
        };
        let drafts: Vec<Draft> = partitions.iter().zip(0..).map(of).collect();
        self.push(turn, ("forests", Part::Silent), drafts, Vec::new());
        let join = Op::Facts(FactsOp::Join(op.clone()));
        for step in reduction.steps_of(&join, StepId(self.next), "join forests") {
            self.submit(turn, step, Part::Silent);
        }
        let root = KeyRange::One(reduction.root());
        let draft = (
            FactsOp::Trees(op),
            vec![Read::whole(root)],
            Vec::new(),
            reduction.rows / 64,
        );
        self.push(turn, ("components", Part::Trees), [draft], vec![root]);
    }

    fn known(&self, mode: Mode) -> Result<Known, ProgramError> {
        let none = Vec::new();
        Known::of(self.heard.get(&Part::Degrees(mode)).unwrap_or(&none))
    }

    /// Samples of a mode mark their neighbours, which are noted beside their degrees, for walks from the mode.
    fn walk(&mut self, turn: &mut Turn, mode: Mode, known: &Known) {
        let (from, to) = (self.grid(mode).clone(), self.grid(other(mode)).clone());
        let of_block = self.partitions(mode).iter().zip(&known.samples).zip(0..);
        let mut marked = Vec::new();
        let mut drafts: Vec<Draft> = Vec::new();
        for ((partition, rows), at) in of_block {
            if !rows.is_empty() {
                let op = FactsOp::Marks(MarksOp { rows: rows.clone() });
                marked.push(block(marks(mode), at));
                let writes = vec![block(marks(mode), at)];
                drafts.push((op, vec![sealed(partition)], writes, 256));
            }
        }
        if !drafts.is_empty() {
            let name = format!("{mode} samples");
            self.push(turn, (&name, Part::Silent), drafts, Vec::new());
        }
        let op = FactsOp::Notes(NotesOp { grid: to.clone() });
        let of = |at: u32| {
            let degrees = block(degrees(other(mode)), at);
            let keys = std::iter::once(degrees).chain(marked.iter().copied());
            let reads = keys.map(Read::whole).collect();
            let writes = vec![block(notes(other(mode)), at)];
            let cost = u64::from(to.rows[at as usize]) / 8;
            (op.clone(), reads, writes, cost)
        };
        let drafts: Vec<Draft> = (0..to.blocks()).map(of).collect();
        let frees = marked.iter().map(|&key| KeyRange::One(key));
        let frees = frees.chain([blocks(degrees(other(mode)), to.blocks())]);
        let frees = frees.collect();
        self.push(turn, ("notes", Part::Silent), drafts, frees);
        let read = blocks(notes(other(mode)), to.blocks());
        let of = |(partition, at): (&PartitionRef, usize)| {
            let op = WalksOp {
                rows: from.rows[at],
                nodes: from.rows_total(),
                others: to.clone(),
                samples: known.samples[at].clone(),
            };
            let reads = vec![sealed(partition), Read::rows(read)];
            let cost = partition.interactions / 8;
            (FactsOp::Walks(op), reads, Vec::new(), cost)
        };
        let drafts: Vec<Draft> = self.partitions(mode).iter().zip(0..).map(of).collect();
        let name = format!("{mode} walks");
        self.push(turn, (&name, Part::Walks(mode)), drafts, vec![read]);
    }

    fn compare(&mut self, turn: &mut Turn, mode: Mode, known: &Known) {
        let all = blocks(prints(mode), self.grid(mode).blocks());
        let shares = known.ends.first().map_or(0, Vec::len);
        let of = |share: usize| {
            let stretch = |ends: &Vec<u32>| {
                let start = share.checked_sub(1).map_or(0, |before| ends[before]);
                (start, ends[share])
            };
            let stretches: Vec<(u32, u32)> = known.ends.iter().map(stretch).collect();
            let rows = stretches.iter().map(|(start, end)| u64::from(end - start));
            let cost = rows.sum::<u64>() / 8;
            let op = FactsOp::Equals(EqualsOp { stretches });
            (op, vec![Read::rows(all)], Vec::new(), cost)
        };
        let drafts: Vec<Draft> = (0..shares).map(of).collect();
        let name = format!("{mode} neighbourhoods");
        self.push(turn, (&name, Part::Equals(mode)), drafts, vec![all]);
    }

    pub(super) fn tallies<T: serde::de::DeserializeOwned>(
        &self,
        part: Part,
    ) -> Result<Vec<T>, ProgramError> {
        let partials = self.heard.get(&part).into_iter().flatten();
        partials.map(|bytes| decode(bytes)).collect()
    }

    /// What is told of a side, and Σ over edges of the product of their degrees.
    fn side(&self, mode: Mode, known: &Known) -> Result<(Side, u128), ProgramError> {
        let walks: Vec<WalkTally> = self.tallies(Part::Walks(mode))?;
        let equals: Vec<EqualTally> = self.tallies(Part::Equals(mode))?;
        let spread = &known.spread;
        let (nodes, isolated) = (spread.nodes(), spread.isolated());
        let linked = (nodes - isolated).max(1);
        let rows = equals.iter().map(|tally| tally.rows).sum();
        let side = Side {
            nodes,
            isolated,
            degrees: spread.report(),
            same_neighbours: Neighbourhoods {
                groups: equals.iter().map(|tally| tally.groups).sum(),
                nodes: rows,
                share: rows as f64 / linked as f64,
                largest: equals.iter().map(|tally| tally.most).max().unwrap_or(0),
            },
            two_hops: two_hops(nodes, linked, known.sampled, &walks),
        };
        Ok((side, walks.iter().map(|tally| tally.products).sum()))
    }

    fn conclude(&self) -> Result<Facts, ProgramError> {
        let known = [self.known(Mode::User)?, self.known(Mode::Product)?];
        let (users, products_of_degrees) = self.side(Mode::User, &known[0])?;
        let (products, _) = self.side(Mode::Product, &known[1])?;
        let trees: Vec<TreeTally> = self.tallies(Part::Trees)?;
        let trees = trees.first().copied().unwrap_or_default();
        let [largest_users, largest_products] = if self.nodes() == Mode::User {
            [trees.nodes, trees.others]
        } else {
            [trees.others, trees.nodes]
        };
        let linked = (users.nodes - users.isolated) + (products.nodes - products.isolated);
        let edges = known[0].spread.moment(1) as u64;
        let (two, nodes) = (
            [users.two_hops, products.two_hops],
            users.nodes + products.nodes,
        );
        let entries = two[0].entries + two[1].entries;
        Ok(Facts {
            interactions: known[0].interactions,
            edges,
            density: edges as f64 / (users.nodes as f64 * products.nodes as f64).max(1.0),
            assortativity: correlation(
                edges.into(),
                &known.each_ref().map(|known| known.spread.clone()),
                products_of_degrees,
            ),
            components: Components {
                count: trees.trees,
                largest_users,
                largest_products,
                largest_share: (largest_users + largest_products) as f64 / linked.max(1) as f64,
            },
            square: Square {
                entries_most: two[0].entries_most + two[1].entries_most,
                entries,
                bytes: 8.0 * (entries + nodes as f64),
                multiplications: two[0].walks + two[1].walks,
                cost_over_two_products: entries / (4 * edges.max(1)) as f64,
            },
            users,
            products,
            linked: links::found(self)?,
        })
    }
}

/// Entries of A² by a ratio: what sampled rows reach over what they could, times what all could.
fn two_hops(nodes: u64, linked: u64, sampled: usize, tallies: &[WalkTally]) -> TwoHops {
    let walks = tallies.iter().map(|tally| tally.walks).sum();
    let entries_most: u64 = tallies.iter().map(|tally| tally.bound).sum();
    let mut reached = vec![0_u64; sampled];
    let mut bounds = vec![0_u64; sampled];
    for tally in tallies {
        for (sum, &rows) in reached.iter_mut().zip(&tally.reached) {
            *sum += u64::from(rows);
        }
        for &(place, bound) in &tally.bounds {
            bounds[place as usize] = bound;
        }
    }
    let (hit, could) = (reached.iter().sum::<u64>(), bounds.iter().sum::<u64>());
    let ratio = hit as f64 / could.max(1) as f64;
    let (sampled, linked) = (sampled as f64, linked as f64);
    let squares = reached.iter().zip(&bounds).map(|(&reached, &bound)| {
        let off = reached as f64 - ratio * bound as f64;
        off * off
    });
    // The variance of a ratio estimate, with what the sample leaves of all rows (Cochran, "Sampling techniques", 1977, 6.4).
    let variance = squares.sum::<f64>() / (sampled - 1.0).max(1.0);
    let left = (1.0 - sampled / linked).max(0.0);
    TwoHops {
        walks,
        mean: walks as f64 / nodes.max(1) as f64,
        max: tallies.iter().map(|tally| tally.most).max().unwrap_or(0),
        entries_most,
        entries: ratio * entries_most as f64,
        entries_error: linked * (left * variance / sampled.max(1.0)).sqrt(),
        sampled: sampled as u64,
    }
}

/// Pearson's r of the degrees at both ends of edges, from whole numbers: (n Σxy − Σx Σy) / √((n Σx² − (Σx)²)(n Σy² − (Σy)²)). None
/// where a side does not vary, or where edges times the largest degree leave 63 bits.
fn correlation(edges: u128, spreads: &[Spread; 2], products: u128) -> Option<f64> {
    // Over edges, a row of degree d stands d times.
    let [x, y] = spreads.each_ref().map(|spread| spread.moment(2));
    let off = |square: u128, cross: u128| {
        let all = i128::try_from(edges.checked_mul(square)?).ok()?;
        all.checked_sub(i128::try_from(cross).ok()?)
    };
    let variance = |spread: &Spread, sum: u128| off(spread.moment(3), sum.checked_mul(sum)?);
    let both = off(products, x.checked_mul(y)?)? as f64;
    let size =
        (variance(&spreads[0], x)? as f64).sqrt() * (variance(&spreads[1], y)? as f64).sqrt();
    (size > 0.0).then(|| both / size)
}

impl Program for GraphFacts {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        for mode in [Mode::User, Mode::Product] {
            self.count_degrees(&mut turn, mode);
        }
        self.grow_forests(&mut turn);
        links::look(self, &mut turn);
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        let part = self.waiting.remove(&step).unwrap_or(Part::Silent);
        if let Reduced::Collect(partials) = reduced {
            self.heard.insert(part, partials);
        }
        let counted = |mode| self.heard.contains_key(&Part::Degrees(mode));
        let both = counted(Mode::User) && counted(Mode::Product);
        if matches!(part, Part::Degrees(_)) && both {
            for mode in [Mode::User, Mode::Product] {
                let known = self.known(mode)?;
                self.walk(&mut turn, mode, &known);
                self.compare(&mut turn, mode, &known);
            }
        }
        if self.waiting.is_empty() {
            self.found = Some(self.conclude()?);
            turn.finished = true;
        }
        Ok(turn)
    }

    /// Facts are found again from the beginning.
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        *self = Self::new(self.input.clone());
        Ok(())
    }
}
