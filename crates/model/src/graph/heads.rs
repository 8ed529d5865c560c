//! The steps of a head: from the embeddings that a model has made to the gradients by them, whatever made them.

use super::ops::{Batch, GraphOp, Head, HeadOp, Loss, Power, RivalsOp, ScoreLoss, Target, Versus};
use super::steps::{Draft, Input, Stage, StageRole, rows, sealed};
use crate::op::Op;
use crate::reduce::tree_sum;
use crate::training::{TableVersion, decode};
use tensor::{BlockId, KeyRange, Mode, ObjectKey, ProgramError, Read, TableId};

/// What takes the place of products where they have rivals: the table of products, behind that of users of every model.
const OPPOSED: TableId = TableId(14);
/// Gradients by that.
const OF_OPPOSED: TableId = TableId(16);
/// Gradients before the last pass.
const PARTS: TableId = TableId(40);

/// What a head reads, and where its gradients go. Pairs are of users, then of products.
pub struct HeadSteps<'a> {
    /// The data.
    pub input: &'a Input,
    /// Columns of the embeddings.
    pub columns: u32,
    /// What is minimised.
    pub head: Head,
    /// The power of a product's degree by which rivals are drawn.
    pub noise: f64,
    /// Over which interactions.
    pub batch: Batch,
    /// The step, counted from 1, by which rivals change.
    pub step: u32,
    /// The embeddings.
    pub embeddings: [TableVersion; 2],
    /// The roots of their Grams, which are there for all pairs.
    pub grams: [ObjectKey; 2],
    /// Degrees.
    pub degrees: [TableVersion; 2],
    /// The gradients.
    pub gradients: [TableVersion; 2],
    /// What of degrees these are multiplied by.
    pub powers: [Power; 2],
}

/// A pass over the interactions.
struct Pass {
    loss: ScoreLoss,
    target: Target,
    versus: Option<Versus>,
}

impl Head {
    /// One of its passes.
    fn pass(self, at: u32) -> Pass {
        let of = |loss, target, versus| Pass {
            loss,
            target,
            versus,
        };
        let one = Target::Number(1.0);
        let (loss, target) = match self {
            Head::AllPairs { .. } => (ScoreLoss::Squared, one),
            Head::Bpr => return of(ScoreLoss::Logistic, one, Some(Versus::Difference)),
            Head::Logistic { .. } => (ScoreLoss::Logistic, one),
            Head::Squared { .. } => (ScoreLoss::Squared, Target::Value),
        };
        if at == 0 {
            of(loss, target, None)
        } else {
            of(loss, Target::Number(0.0), Some(Versus::Rival))
        }
    }
}

impl HeadSteps<'_> {
    /// Adds the steps to a stage. Those that tell losses have a role each, by the place of their pass; the last frees what nobody reads
    /// behind it.
    pub fn push<R: StageRole>(
        &self,
        stage: &mut Stage<R>,
        role: impl Fn(u32) -> R,
        mut frees: Vec<KeyRange>,
    ) {
        let passes = self.head.passes();
        for at in 0..passes {
            let last = at + 1 == passes;
            let of_pass = if last {
                std::mem::take(&mut frees)
            } else {
                Vec::new()
            };
            self.pass(stage, (at, last), role(at), of_pass);
        }
    }

    /// A pass: what it makes is added to what the one before has made.
    fn pass<R: StageRole>(
        &self,
        stage: &mut Stage<R>,
        (at, last): (u32, bool),
        role: R,
        mut frees: Vec<KeyRange>,
    ) {
        let pass = self.head.pass(at);
        let so_far = (at > 0).then(|| [0, 1].map(|side| self.part(side, at - 1)));
        let [of_users, of_products] = [0, 1].map(|side| {
            if last {
                (self.gradients[side].clone(), self.powers[side])
            } else {
                (self.part(side, at), Power(0))
            }
        });
        let [users, products] = &self.embeddings;
        let users_so_far = so_far.as_ref().map(|[users, _]| users);
        let Some(versus) = pass.versus else {
            let drafts = self.gradients(&pass, (users, products), users_so_far, &of_users);
            let drafts = drafts.chain(self.gradients(&pass, (products, users), None, &of_products));
            return stage.push("gradients", role, drafts, frees);
        };
        let dealing = self.dealing(at);
        let table = |table| {
            self.input
                .table(table, Mode::Product, self.columns, dealing)
        };
        let [opposed, by_opposed] = [OPPOSED, OF_OPPOSED].map(table);
        let op = RivalsOp {
            versus,
            noise: self.noise,
            blocks: self.input.product.blocks(),
            columns: self.columns,
            seed: self.batch.seed,
            dealing: dealing as u32,
            power: of_products.1,
        };
        let rivals_of = |block| op.rivals_of(block);
        let tables = ((products, products), &opposed);
        self.opposed(stage, GraphOp::Rivals(op), rivals_of, tables, Vec::new());
        frees.push(opposed.keys());
        frees.extend(users_so_far.map(TableVersion::keys));
        let plain = (by_opposed.clone(), Power(0));
        let drafts = self.gradients(&pass, (users, &opposed), users_so_far, &of_users);
        let drafts = drafts.chain(self.gradients(&pass, (&opposed, users), None, &plain));
        stage.push("gradients", role, drafts, frees);
        let so_far = match (versus, &so_far) {
            (Versus::Rival, Some([_, products])) => products,
            _ => &by_opposed,
        };
        let mut frees = vec![by_opposed.keys()];
        frees.extend((so_far != &by_opposed).then(|| so_far.keys()));
        let tables = ((so_far, &by_opposed), &of_products.0);
        self.opposed(
            stage,
            GraphOp::Undo(op),
            |block| op.against(block),
            tables,
            frees,
        );
    }

    /// The number of a dealing of rivals, over all steps; a pass has one, but for a first one that has none.
    fn dealing(&self, pass: u32) -> u64 {
        let (rivals, passes) = (u64::from(self.head.rivals()), u64::from(self.head.passes()));
        u64::from(self.step) * rivals + u64::from(pass) + 1 - passes
    }

    /// What a pass before the last has made of a side.
    fn part(&self, side: usize, pass: u32) -> TableVersion {
        let number = u64::from(self.step) * u64::from(self.head.passes()) + u64::from(pass);
        let mode = self.embeddings[side].mode;
        self.input.table(PARTS, mode, self.columns, number)
    }

    /// The tasks of a pass for the users or the products: gradients by their rows.
    fn gradients(
        &self,
        pass: &Pass,
        (own, others): (&TableVersion, &TableVersion),
        so_far: Option<&TableVersion>,
        (to, power): &(TableVersion, Power),
    ) -> impl Iterator<Item = Draft> {
        let side = usize::from(own.mode == Mode::Product);
        let alpha0 = match self.head {
            Head::AllPairs { alpha0 } => Some(alpha0),
            _ => None,
        };
        let op = Op::Graph(GraphOp::Head(HeadOp {
            mode: own.mode,
            rows: own.grid.clone(),
            others: others.grid.clone(),
            columns: self.columns,
            loss: pass.loss,
            target: pass.target,
            alpha0,
            onto: so_far.is_some(),
            batch: self.batch,
            power: *power,
        }))
        .encode();
        let gram = alpha0.map(|_| self.grams[1 - side]);
        let (own, others, to) = (own.clone(), others.keys(), to.clone());
        let (so_far, degrees) = (so_far.cloned(), &self.degrees[side]);
        let partitions = self.input.partitions(own.mode).iter().zip(0..);
        partitions.map(move |(partition, block)| {
            let mut reads = vec![
                sealed(partition),
                Read::rows(others),
                Read::whole(degrees.block(block)),
                Read::whole(own.block(block)),
            ];
            reads.extend(gram.map(Read::whole));
            reads.extend(so_far.iter().map(|so_far| Read::whole(so_far.block(block))));
            let taken = partition.interactions / u64::from(self.batch.count);
            let cost = partition.interactions / 64 + taken / 4 + rows(&own, block);
            (op.clone(), reads, vec![to.block(block)], cost)
        })
    }

    /// A step over two blocks each: one of products, another as far on as rivals are or back.
    fn opposed<R: StageRole>(
        &self,
        stage: &mut Stage<R>,
        op: GraphOp,
        other_of: impl Fn(BlockId) -> BlockId,
        ((own, others), to): ((&TableVersion, &TableVersion), &TableVersion),
        frees: Vec<KeyRange>,
    ) {
        let (op, degrees) = (Op::Graph(op).encode(), &self.degrees[1]);
        let drafts = (0..self.input.product.blocks()).map(|block| {
            let other = other_of(BlockId(block)).0;
            let reads = [
                own.block(block),
                others.block(other),
                degrees.block(block),
                degrees.block(other),
            ];
            let reads = reads.map(Read::whole).to_vec();
            (op.clone(), reads, vec![to.block(block)], rows(to, block))
        });
        stage.push("rivals", R::SILENT, drafts, frees);
    }
}

/// The loss of a batch: the tasks of users tell theirs, those of products nothing.
///
/// # Errors
/// Where a partial is of another release.
pub fn batch_loss(partials: &[Vec<u8>]) -> Result<f64, ProgramError> {
    let told = partials.iter().filter(|partial| !partial.is_empty());
    let losses = told.map(|partial| decode(partial).map(|Loss(loss)| loss));
    let losses: Vec<f64> = losses.collect::<Result<_, _>>()?;
    Ok(tree_sum(&losses))
}
