//! Segments as a state machine: points and their sample, every count of segments on its own until its centres rest, silhouettes, and for the
//! count that is chosen what its segments are.
//!
//! **Invariant:** it writes nothing durable, and every name follows from data, model and settings alone.

use super::found::{Found, LEVELS_MAX, Segment, Tried, compared};
use super::ops::{
    AssignOp, ContingencyOp, LabelOp, PointsOp, ProbeOp, Probed, ProfileOp, ProfileTally, SampleOp,
    SeedOp, SegmentsOp, Shape, SilhouettesOp, UpdateOp,
};
use super::{CENTRES, LABELS, POINTS, SAMPLE, SILHOUETTES};
use crate::evaluate::steps::{block_of, blocks_of, per_block, sealed};
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::decode;
use std::collections::BTreeMap;
use tensor::{
    Attribute, AttributeKind, Attributes, BlockId, Grid, KeyRange, ObjectKey, PartialSpec,
    PartitionRef, Program, ProgramError, Read, Reduced, Step, StepId, Task, TaskId, Turn,
};

/// Centres rest where an iteration takes no more than this part off the squared distances.
const RESTS: f64 = 1e-6;
/// The first number of reductions.
const REDUCTIONS: u64 = 0x0f10_0000;
/// Replicates of the bootstrap of probes.
const REPLICATES: u32 = 500;

/// Settings of segments.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many segments: the best of these.
    pub k: Vec<u32>,
    /// Rows of the sample.
    pub sample: u32,
    /// Whether lengths of rows do not count.
    pub directions: bool,
    /// The most iterations.
    pub iterations: u32,
    /// The fewest buyers in a segment of a product that is told to be its own.
    pub count_min: u32,
    /// Products that are told of each segment.
    pub top: u32,
    /// Of starts and sample.
    pub seed: u64,
}

/// What segments are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The rows.
    pub grid: Grid,
    /// Their factors.
    pub table: KeyRange,
    /// Columns that are compared, and f32 per row.
    pub columns: u32,
    /// As said.
    pub width: u32,
    /// Training interactions, by the rows.
    pub partitions: Vec<PartitionRef>,
    /// What is known of the rows.
    pub attributes: Option<Attributes>,
    /// Whether the rows are the products themselves.
    pub of_products: bool,
    /// The grid of products.
    pub products: Grid,
    /// Training interactions, by products.
    pub product_partitions: Vec<PartitionRef>,
    /// What is known of products.
    pub product_attributes: Option<Attributes>,
}

/// What a step is of; the number is the place of a count of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Points,
    Silent,
    Probe,
    Moved(usize),
    Silhouettes(usize),
    Contingency,
    Profile,
}

/// The way of one count of segments.
#[derive(Clone, Debug, Default)]
struct Course {
    version: u32,
    last: Option<f64>,
    /// Squared distances and points of each centre, once they rest.
    rests: Option<(f64, Vec<f64>)>,
    /// Sums of silhouettes and rows, a centre each.
    silhouettes: Option<Vec<f64>>,
}

impl Course {
    /// Σ of silhouettes and of rows.
    fn silhouette(&self) -> (f64, f64) {
        let sums = self.silhouettes.as_deref().unwrap_or_default();
        let (values, rows) = sums.split_at(sums.len() / 2);
        (values.iter().sum(), rows.iter().sum())
    }
}

/// The program. It delivers [`SILHOUETTES`] of the chosen count and then all blocks of [`LABELS`].
#[derive(Debug)]
pub struct Segments {
    settings: Settings,
    input: Input,
    next: u64,
    waiting: BTreeMap<StepId, Role>,
    points: u64,
    courses: Vec<Course>,
    found: Found,
}

fn words(attributes: Option<&Attributes>) -> u32 {
    attributes.map_or(0, |of| of.attributes.len() as u32)
}

impl Segments {
    /// A program that has not begun.
    pub fn new(settings: Settings, input: Input) -> Self {
        Segments {
            courses: vec![Course::default(); settings.k.len()],
            settings,
            input,
            next: 0,
            waiting: BTreeMap::new(),
            points: 0,
            found: Found::default(),
        }
    }

    /// What was found, once the program has finished.
    pub fn found(&self) -> &Found {
        &self.found
    }

    fn shape(&self, place: usize) -> Shape {
        Shape {
            width: self.input.width,
            k: self.settings.k.get(place).copied().unwrap_or(0),
            attributes: words(self.input.attributes.as_ref()),
        }
    }

    fn submit(&mut self, turn: &mut Turn, mut step: Step, role: Role) {
        step.id = StepId(self.next);
        for task in &mut step.tasks {
            task.id.step = step.id;
        }
        self.next += 1;
        self.waiting.insert(step.id, role);
        turn.steps.push(step);
    }

    /// A step of one task.
    fn alone(
        &mut self,
        turn: &mut Turn,
        (name, role): (&str, Role),
        op: SegmentsOp,
        (reads, writes): (Vec<Read>, Vec<ObjectKey>),
    ) {
        let partial = if role == Role::Silent {
            PartialSpec::None
        } else if role == Role::Probe {
            PartialSpec::Collect
        } else {
            PartialSpec::Sum
        };
        let id = StepId(0);
        let task = Task {
            id: TaskId { step: id, index: 0 },
            op: Op::Segments(op).encode(),
            reads,
            writes,
            after: Vec::new(),
            chain: None,
            cost: u64::from(self.settings.sample) * u64::from(self.input.width),
        };
        let step = Step {
            id,
            name: name.to_owned(),
            tasks: vec![task],
            partial,
            frees: Vec::new(),
        };
        self.submit(turn, step, role);
    }

    fn all(&self, table: tensor::TableId) -> KeyRange {
        blocks_of(table, &self.input.grid, 0)
    }

    fn sample(&self) -> Vec<Read> {
        let keys = self.all(SAMPLE).keys();
        keys.map(Read::whole).collect()
    }

    fn centres(&self, place: usize) -> ObjectKey {
        ObjectKey::Block {
            table: CENTRES,
            block: BlockId(place as u32),
            version: self.courses[place].version.into(),
        }
    }

    /// What a task of a block's rows costs.
    fn cost(&self, block: u32) -> u64 {
        u64::from(self.input.grid.rows[block as usize]) * u64::from(self.input.width) / 16
    }

    fn make_points(&mut self, turn: &mut Turn) {
        let op = Op::Segments(SegmentsOp::Points(PointsOp {
            columns: self.input.columns,
            width: self.input.width,
            directions: self.settings.directions,
        }));
        let (input, points) = (&self.input, self.all(POINTS));
        let of = |block: u32| {
            let partition = sealed(input.partitions[block as usize].object);
            let reads = vec![Read::whole(block_of(input.table, block)), partition];
            (reads, vec![block_of(points, block)], self.cost(block))
        };
        let blocks = input.grid.blocks();
        let step = per_block(StepId(0), "points", op, blocks, PartialSpec::Sum, of);
        self.submit(turn, step, Role::Points);
    }

    /// The sample, and what is made of it alone.
    fn take_sample(&mut self, turn: &mut Turn) {
        let share = f64::from(self.settings.sample) / self.points.max(1) as f64;
        let below = (share < 1.0).then(|| (share * 2.0_f64.powi(64)) as u64);
        let attributes = words(self.input.attributes.as_ref());
        let (points, sample) = (self.all(POINTS), self.all(SAMPLE));
        let tasks = self.input.grid.block_ids().map(|block| {
            let op = SampleOp {
                width: self.input.width,
                first: self.input.grid.row_ids(block).start,
                attributes,
                below,
                seed: self.settings.seed,
            };
            let known = self.input.attributes.iter();
            let known = known.map(|of| sealed(of.blocks[block.0 as usize]));
            let points = Read::whole(block_of(points, block.0));
            Task {
                id: TaskId {
                    step: StepId(0),
                    index: block.0,
                },
                op: Op::Segments(SegmentsOp::Sample(op)).encode(),
                reads: std::iter::once(points).chain(known).collect(),
                writes: vec![block_of(sample, block.0)],
                after: Vec::new(),
                chain: None,
                cost: self.cost(block.0).max(1),
            }
        });
        let step = Step {
            id: StepId(0),
            name: "sample".to_owned(),
            tasks: tasks.collect(),
            partial: PartialSpec::None,
            frees: Vec::new(),
        };
        self.submit(turn, step, Role::Silent);
        let told = self.told();
        if !told.is_empty() {
            let op = ProbeOp {
                shape: self.shape(0),
                columns: self.input.columns,
                told,
                replicates: REPLICATES,
                seed: self.settings.seed,
            };
            let io = (self.sample(), Vec::new());
            self.alone(turn, ("probe", Role::Probe), SegmentsOp::Probe(op), io);
        }
        for place in 0..self.courses.len() {
            let op = SegmentsOp::Seed(SeedOp {
                shape: self.shape(place),
                seed: self.settings.seed,
            });
            let io = (self.sample(), vec![self.centres(place)]);
            self.alone(turn, ("starts", Role::Silent), op, io);
            self.iterate(turn, place);
        }
    }

    /// Attributes that probes tell: the place of each and its levels, 0 of numbers.
    fn told(&self) -> Vec<(u32, u32)> {
        let of = |(attribute, place): (&Attribute, u32)| match attribute.kind {
            AttributeKind::Number { .. } => Some((place, 0)),
            AttributeKind::Levels { .. } => {
                let levels = attribute.columns();
                (levels <= LEVELS_MAX).then_some((place, levels as u32))
            }
        };
        let known = self.input.attributes.iter();
        let known = known.flat_map(|known| known.attributes.iter().zip(0..));
        known.filter_map(of).collect()
    }

    /// Points to their centres, and those to the means of these.
    fn iterate(&mut self, turn: &mut Turn, place: usize) {
        let (shape, centres) = (self.shape(place), self.centres(place));
        let reduction = Reduction {
            id: REDUCTIONS
                + place as u64 * u64::from(self.settings.iterations + 1)
                + u64::from(self.courses[place].version),
            leaves: self.input.grid.blocks(),
            rows: shape.sums() as u64,
            row_bytes: 8,
        };
        let name = format!("k-means of {}", shape.k);
        let op = Op::Segments(SegmentsOp::Assign(AssignOp { shape }));
        let points = self.all(POINTS);
        let of = |block: u32| {
            let reads = [block_of(points, block), centres].map(Read::whole);
            let writes = vec![reduction.leaf(block)];
            (
                reads.to_vec(),
                writes,
                self.cost(block) * u64::from(shape.k) / 4,
            )
        };
        let blocks = self.input.grid.blocks();
        let step = per_block(StepId(0), &name, op, blocks, PartialSpec::None, of);
        self.submit(turn, step, Role::Silent);
        for step in reduction.steps(StepId(self.next), &name) {
            self.submit(turn, step, Role::Silent);
        }
        self.courses[place].version += 1;
        let moved = self.centres(place);
        let mut reads = vec![Read::whole(reduction.root())];
        reads.extend(self.sample());
        let op = SegmentsOp::Update(UpdateOp { shape });
        self.alone(turn, (&name, Role::Moved(place)), op, (reads, vec![moved]));
        let step = turn.steps.last_mut().expect("a step was submitted");
        step.frees = vec![KeyRange::One(reduction.root())];
    }

    /// Goes on, or says that centres rest: at those whose distances are known.
    fn moved(&mut self, turn: &mut Turn, place: usize, sums: &[f64]) {
        let course = &mut self.courses[place];
        let (now, last) = (sums[0], course.last.replace(sums[0]));
        let rests = last.is_some_and(|last| last - now <= RESTS * last);
        if !rests && course.version < self.settings.iterations {
            return self.iterate(turn, place);
        }
        course.version -= 1;
        course.rests = Some((now, sums[1..].to_vec()));
        let op = SegmentsOp::Silhouettes(SilhouettesOp {
            shape: self.shape(place),
        });
        let mut reads = vec![Read::whole(self.centres(place))];
        reads.extend(self.sample());
        let writes = vec![silhouettes(place)];
        let role = Role::Silhouettes(place);
        self.alone(turn, ("silhouettes", role), op, (reads, writes));
    }

    /// The count with the highest mean silhouette, the first of equal ones.
    fn choose(&mut self) {
        let mean = |course: &Course| {
            let (sum, rows) = course.silhouette();
            sum / rows.max(1.0)
        };
        let mut chosen = 0;
        for (place, course) in self.courses.iter().enumerate() {
            if mean(course) > mean(&self.courses[chosen]) {
                chosen = place;
            }
        }
        self.found.chosen = chosen;
        self.found.points = self.points;
        self.found.sample = self.courses[chosen].silhouette().1 as u64;
        let courses = self.courses.iter().zip(&self.settings.k);
        let tried = courses.map(|(course, &k)| {
            let (inertia, counts) = course.rests.clone().unwrap_or_default();
            Tried {
                k,
                segments: counts.iter().filter(|&&count| count > 0.0).count() as u32,
                silhouette: mean(course),
                inertia: inertia / self.points.max(1) as f64,
                iterations: course.version + 1,
            }
        });
        self.found.tried = tried.collect();
    }

    /// What the segments of the chosen count are.
    fn describe(&mut self, turn: &mut Turn) {
        self.choose();
        let place = self.found.chosen;
        let course = &self.courses[place];
        let (_, counts) = course.rests.clone().unwrap_or_default();
        let mut order: Vec<usize> = (0..counts.len()).filter(|&at| counts[at] > 0.0).collect();
        order.sort_by(|&x, &y| counts[y].total_cmp(&counts[x]).then(x.cmp(&y)));
        let mut segments = vec![super::NO_SEGMENT; counts.len()];
        let sums = course.silhouettes.clone().unwrap_or_default();
        for (segment, &centre) in order.iter().enumerate() {
            segments[centre] = segment as u32;
            let sampled = sums.get(counts.len() + centre).copied().unwrap_or(0.0);
            self.found.segments.push(Segment {
                rows: counts[centre] as u64,
                silhouette: (sampled > 0.0).then(|| sums[centre] / sampled),
                ..Segment::default()
            });
        }
        let (points, labels, centres) = (self.all(POINTS), self.all(LABELS), self.centres(place));
        let op = Op::Segments(SegmentsOp::Label(LabelOp {
            shape: self.shape(place),
            segments,
        }));
        let of = |block: u32| {
            let reads = [block_of(points, block), centres].map(Read::whole);
            (
                reads.to_vec(),
                vec![block_of(labels, block)],
                self.cost(block),
            )
        };
        let blocks = self.input.grid.blocks();
        let mut step = per_block(StepId(0), "segments", op, blocks, PartialSpec::None, of);
        step.frees = vec![points, self.all(SAMPLE)];
        self.submit(turn, step, Role::Silent);
        self.compare(turn);
        self.profile(turn);
    }

    fn compare(&mut self, turn: &mut Turn) {
        let compared = compared(self.input.attributes.as_ref());
        let (labels, blocks) = (self.all(LABELS), self.input.grid.blocks());
        let step = self.input.attributes.as_ref().map(|known| {
            let op = Op::Segments(SegmentsOp::Contingency(ContingencyOp {
                segments: self.found.segments.len() as u32,
                attributes: known.attributes.len() as u32,
                compared: compared.clone(),
            }));
            let of = |block: u32| {
                let words = sealed(known.blocks[block as usize]);
                let reads = vec![Read::whole(block_of(labels, block)), words];
                (reads, Vec::new(), self.cost(block))
            };
            per_block(StepId(0), "comparison", op, blocks, PartialSpec::Sum, of)
        });
        if let Some(step) = step.filter(|_| !compared.is_empty()) {
            self.submit(turn, step, Role::Contingency);
        }
    }

    fn profile(&mut self, turn: &mut Turn) {
        let input = &self.input;
        let known = input.product_attributes.as_ref();
        let op = |block: BlockId| ProfileOp {
            users: (!input.of_products).then(|| input.grid.clone()),
            first: input.products.row_ids(block).start,
            sizes: self.found.segments.iter().map(|of| of.rows).collect(),
            count_min: self.settings.count_min,
            top: self.settings.top,
            attributes: words(known),
            compared: compared(known),
        };
        let tasks = input.products.block_ids().map(|block| {
            let partition = &input.product_partitions[block.0 as usize];
            let mut reads = vec![sealed(partition.object)];
            reads.extend(known.map(|known| sealed(known.blocks[block.0 as usize])));
            if input.of_products {
                reads.push(Read::whole(block_of(self.all(LABELS), block.0)));
            } else {
                reads.extend(self.all(LABELS).keys().map(Read::whole));
            }
            Task {
                id: TaskId {
                    step: StepId(0),
                    index: block.0,
                },
                op: Op::Segments(SegmentsOp::Profile(op(block))).encode(),
                reads,
                writes: Vec::new(),
                after: Vec::new(),
                chain: None,
                cost: (partition.interactions / 8).max(1),
            }
        });
        let step = Step {
            id: StepId(0),
            name: "profiles".to_owned(),
            tasks: tasks.collect(),
            partial: PartialSpec::Collect,
            frees: Vec::new(),
        };
        self.submit(turn, step, Role::Profile);
    }
}

fn silhouettes(place: usize) -> ObjectKey {
    ObjectKey::Block {
        table: SILHOUETTES,
        block: BlockId(place as u32),
        version: 0,
    }
}

impl Program for Segments {
    fn start(&mut self) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        self.make_points(&mut turn);
        Ok(turn)
    }

    fn completed(&mut self, step: StepId, reduced: Reduced) -> Result<Turn, ProgramError> {
        let mut turn = Turn::default();
        let role = self.waiting.remove(&step);
        match (role, reduced) {
            (Some(Role::Points), Reduced::Sum(sums)) => {
                self.points = sums.first().copied().unwrap_or(0.0) as u64;
                self.take_sample(&mut turn);
            }
            (Some(Role::Silent), _) => {}
            (Some(Role::Probe), Reduced::Collect(told)) => {
                let probed: Vec<Probed> = decode(told.first().map_or(&[], Vec::as_slice))?;
                let places = self.told().into_iter().map(|(place, _)| place);
                self.found.probed = places.zip(probed).collect();
            }
            (Some(Role::Moved(place)), Reduced::Sum(sums)) => {
                self.moved(&mut turn, place, &sums);
            }
            (Some(Role::Silhouettes(place)), Reduced::Sum(sums)) => {
                self.courses[place].silhouettes = Some(sums);
                if self.courses.iter().all(|of| of.silhouettes.is_some()) {
                    self.describe(&mut turn);
                }
            }
            (Some(Role::Contingency), Reduced::Sum(sums)) => {
                self.found.compare(self.input.attributes.as_ref(), &sums);
            }
            (Some(Role::Profile), Reduced::Collect(partials)) => {
                let tallies = partials.iter().map(|bytes| decode(bytes));
                let tallies: Vec<ProfileTally> = tallies.collect::<Result<_, _>>()?;
                let known = self.input.product_attributes.as_ref();
                self.found.profile(&tallies, &self.settings, known);
            }
            (role, _) => return crate::training::misreduced(role),
        }
        if self.waiting.is_empty() {
            turn.deliver.push(silhouettes(self.found.chosen));
            turn.deliver.extend(self.all(LABELS).keys());
            turn.finished = true;
        }
        Ok(turn)
    }

    /// Nothing of it is durable, so a restored program begins anew; what was delivered before comes again with the same bytes, or not at all.
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _state: Option<&[u8]>) -> Result<(), ProgramError> {
        *self = Segments::new(self.settings.clone(), self.input.clone());
        Ok(())
    }
}
