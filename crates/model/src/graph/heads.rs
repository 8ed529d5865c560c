//! The steps of a head: from the embeddings that a model has made to the gradients by them, whatever made them.

use super::ops::{Batch, GraphOp, Head, HeadOp, Loss, Power, RivalsOp};
use super::steps::{Draft, Input, Stage, StageRole, rows, sealed};
use crate::op::Op;
use crate::reduce::tree_sum;
use crate::training::{TableVersion, decode};
use tensor::{BlockId, KeyRange, ObjectKey, ProgramError, Read};

/// What a head reads, and where its gradients go. Pairs are of users, then of products.
pub struct HeadSteps<'a> {
    /// The data.
    pub input: &'a Input,
    /// Columns of the embeddings.
    pub columns: u32,
    /// What is minimised.
    pub head: Head,
    /// Over which interactions.
    pub batch: Batch,
    /// The step, by which rivals change.
    pub step: u32,
    /// The embeddings.
    pub embeddings: [TableVersion; 2],
    /// The roots of their Grams, which are there for all pairs.
    pub grams: [ObjectKey; 2],
    /// Degrees.
    pub degrees: [TableVersion; 2],
    /// With rivals: products less theirs, and the gradients by that.
    pub differences: [TableVersion; 2],
    /// The gradients.
    pub gradients: [TableVersion; 2],
    /// What of degrees these are multiplied by.
    pub powers: [Power; 2],
}

impl HeadSteps<'_> {
    /// Adds the steps to a stage. The one that tells losses has the role, and frees what nobody reads behind it.
    pub fn push<R: StageRole>(&self, stage: &mut Stage<R>, role: R, mut frees: Vec<KeyRange>) {
        let rivals = matches!(self.head, Head::Bpr).then(|| self.rivals());
        let [users, mut products] = self.embeddings.each_ref();
        let [differences, of_differences] = &self.differences;
        if let Some(op) = rivals {
            let other = |block| op.rivals_of(block);
            self.opposed(
                stage,
                GraphOp::Rivals(op),
                other,
                (products, differences),
                Vec::new(),
            );
            frees.push(differences.keys());
            products = differences;
        }
        let undone = rivals.is_some();
        let of_products = if undone {
            (of_differences, Power(0))
        } else {
            (&self.gradients[1], self.powers[1])
        };
        let of_users = (&self.gradients[0], self.powers[0]);
        let drafts = self.gradients(0, (users, products), of_users);
        let drafts = drafts.chain(self.gradients(1, (products, users), of_products));
        stage.push("gradients", role, drafts, frees);
        if let Some(op) = rivals {
            let (other, to) = (|block| op.against(block), &self.gradients[1]);
            let frees = vec![of_differences.keys()];
            self.opposed(stage, GraphOp::Undo(op), other, (of_differences, to), frees);
        }
    }

    /// The tasks of the users or the products: gradients by their rows.
    fn gradients(
        &self,
        side: usize,
        (own, others): (&TableVersion, &TableVersion),
        (to, power): (&TableVersion, Power),
    ) -> impl Iterator<Item = Draft> {
        let op = Op::Graph(GraphOp::Head(HeadOp {
            mode: own.mode,
            rows: own.grid.clone(),
            others: others.grid.clone(),
            columns: self.columns,
            head: self.head,
            batch: self.batch,
            power,
        }))
        .encode();
        let all_pairs = matches!(self.head, Head::AllPairs { .. });
        let gram = all_pairs.then(|| Read::whole(self.grams[1 - side]));
        let degrees = &self.degrees[side];
        let partitions = self.input.partitions(own.mode).iter().zip(0..);
        partitions.map(move |(partition, block)| {
            let mut reads = vec![
                sealed(partition),
                Read::rows(others.keys()),
                Read::whole(degrees.block(block)),
                Read::whole(own.block(block)),
            ];
            reads.extend(gram);
            let taken = partition.interactions / u64::from(self.batch.count);
            let cost = partition.interactions / 64 + taken / 4 + rows(own, block);
            (op.clone(), reads, vec![to.block(block)], cost)
        })
    }

    /// The rivals of the step.
    fn rivals(&self) -> RivalsOp {
        RivalsOp {
            blocks: self.input.product.blocks(),
            columns: self.columns,
            seed: self.batch.seed,
            step: self.step,
            power: self.powers[1],
        }
    }

    /// A step over two blocks each: one of products, another as far on as rivals are or back.
    fn opposed<R: StageRole>(
        &self,
        stage: &mut Stage<R>,
        op: GraphOp,
        other: impl Fn(BlockId) -> BlockId,
        (from, to): (&TableVersion, &TableVersion),
        frees: Vec<KeyRange>,
    ) {
        let (op, degrees) = (Op::Graph(op).encode(), &self.degrees[1]);
        let drafts = (0..self.input.product.blocks()).map(|block| {
            let other = other(BlockId(block)).0;
            let reads = [
                from.block(block),
                from.block(other),
                degrees.block(block),
                degrees.block(other),
            ];
            let reads = reads.map(Read::whole).to_vec();
            (op.clone(), reads, vec![to.block(block)], rows(from, block))
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
