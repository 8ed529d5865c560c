//! Descent on a tile: which samples, in which order. The loop over them is the kernel's.
//!
//! Users come in order, each with his interactions in the order of products; between two of them, his share of the
//! negatives, which are k · n_i · P_n(block) for every user of the tile, whatever he has in it. Each 4,096 samples are then
//! visited as four streams in turn: a sample must wait for the one before it where they share a user, and neighbours do.
//! Numbers are keyed by (seed, tile, epoch, user, draw), rows are never cut and samples counted from the tile's first, so
//! pieces change no bit.

use super::noise::{Noise, draw};
use super::ops::TileOp;
use super::settings::Loss;
use kernels::losses;
use kernels::random::Random;
use kernels::sgd::{
    Bins, COUNT, Pair, Point, Rule, Tables, Whole, column_sums, pairs, points, points_in_bins,
    pull, row_len,
};
use kernels::{Simd, width_of};
use tensor::csr::{CsrRef, Values};

/// The purpose of the random numbers of a tile; its number is added.
const PURPOSE: u32 = 0x1_0000;
/// Samples handed to the kernel together.
const BATCH: usize = 4096;
/// Streams that they are visited in: two gain a third of the time of a sample, four half of it, more nothing.
const STREAMS: usize = 4;
/// How often a negative that the user had is drawn again before it is left out.
const DRAWS_MAX: u32 = 8;

/// The blocks and the noise of a tile.
#[derive(Debug)]
pub struct Blocks<'a> {
    /// Rows of users.
    pub users: &'a mut [f32],
    /// Rows of products.
    pub products: &'a mut [f32],
    /// The products' noise; empty where no negatives are drawn.
    pub noise: &'a [Noise],
    /// The rows of bins; empty in a matrix.
    pub bins: &'a [f32],
    /// The sums of their gradients, and of the samples that they are of.
    pub bin_gradients: &'a mut [f32],
}

impl Blocks<'_> {
    fn tables(&mut self, width: usize) -> Tables<'_> {
        Tables {
            users: self.users,
            products: self.products,
            width,
        }
    }
}

/// A tile in progress.
#[derive(Debug)]
pub struct Descent {
    op: TileOp,
    simd: Simd,
    rule: Rule,
    next_row: u32,
    points: Vec<Point>,
    pairs: Vec<Pair>,
    /// The bin of each point, in a tensor.
    bins: Vec<u32>,
    /// The samples of a batch in the order in which they are visited.
    points_in_turn: Vec<Point>,
    pairs_in_turn: Vec<Pair>,
    bins_in_turn: Vec<u32>,
    cells: Option<Cells>,
    losses: f64,
}

/// What a loss over all cells needs to know of the tile.
#[derive(Debug, Default)]
struct Cells {
    users: Vec<f32>,
    products: Vec<f32>,
    /// Samples, and then one over them, where there are any.
    user_shares: Vec<f32>,
    product_shares: Vec<f32>,
}

impl TileOp {
    /// Floats of the factors of a row.
    pub fn width(&self) -> usize {
        width_of(self.rank as usize)
    }

    /// Bytes of a row of either block.
    pub fn row_bytes(&self) -> usize {
        row_len(self.width()) * size_of::<f32>()
    }

    fn kernel_loss(&self) -> losses::Loss {
        match self.loss {
            Loss::Squared => losses::Loss::Squared,
            Loss::Logistic | Loss::Line | Loss::Bpr => losses::Loss::Logistic,
            Loss::BernoulliPoisson => losses::Loss::BernoulliPoisson,
            Loss::Poisson => losses::Loss::Poisson,
        }
    }
}

impl Descent {
    /// Nothing done yet.
    pub fn new(op: &TileOp, simd: Simd) -> Self {
        let rule = Rule {
            rank: op.rank,
            rate: op.rate,
            adagrad: op.adagrad,
            regularization: op.regularization,
            biases: op.biases,
            nonnegative: op.loss.covers_all_cells(),
        };
        Descent {
            op: op.clone(),
            simd,
            rule,
            next_row: 0,
            points: Vec::with_capacity(BATCH),
            pairs: Vec::new(),
            bins: Vec::new(),
            points_in_turn: Vec::new(),
            pairs_in_turn: Vec::new(),
            bins_in_turn: Vec::new(),
            cells: None,
            losses: 0.0,
        }
    }

    /// Bytes that it holds between pieces.
    pub fn bytes(op: &TileOp) -> u64 {
        let shares = if op.loss.covers_all_cells() {
            8 * (u64::from(op.users) + u64::from(op.products))
        } else {
            0
        };
        let gradients = u64::from(op.bins) * op.row_bytes() as u64;
        (2 * BATCH * (size_of::<Point>() + size_of::<Pair>() + 4)) as u64 + shares + gradients
    }

    /// Whether all pieces are to be counted with [`Descent::count`] before the first [`Descent::piece`].
    pub fn counts_first(&self) -> bool {
        self.op.loss.covers_all_cells()
    }

    /// Counts the samples of a piece of whole rows, the first of them `first_row`.
    pub fn count(&mut self, csr: &CsrRef<'_>, first_row: u32) {
        let op = &self.op;
        let cells = self.cells.get_or_insert_with(|| Cells {
            user_shares: vec![0.0; op.users as usize],
            product_shares: vec![0.0; op.products as usize],
            ..Cells::default()
        });
        for row in 0..csr.rows() {
            let positions = csr.row(row);
            cells.user_shares[first_row as usize + row] += positions.len() as f32;
            for &product in &csr.columns()[positions] {
                cells.product_shares[product as usize] += 1.0;
            }
        }
    }

    /// Descends on a piece of whole rows, the first of them `first_row`.
    ///
    /// # Panics
    /// Where pieces do not follow each other, rows are cut, or a product is beyond the block.
    pub fn piece(&mut self, csr: &CsrRef<'_>, first_row: u32, blocks: &mut Blocks<'_>) {
        assert!(self.next_row <= first_row, "pieces follow each other");
        self.start(blocks);
        self.rows_without(first_row, blocks);
        for row in 0..csr.rows() {
            let positions = csr.row(row);
            assert_eq!(positions.len() as u64, csr.row_count(row), "whole rows");
            let products = &csr.columns()[positions.clone()];
            let bins = csr.small().time.filter(|_| self.op.bins > 0);
            let bins = bins.map_or(&[][..], |bins| &bins[positions.clone()]);
            let values = match csr.values() {
                Values::All(value) => Values::All(value),
                Values::Each(values) => Values::Each(&values[positions]),
            };
            self.user(first_row + row as u32, products, bins, values, blocks);
        }
        self.next_row = first_row + csr.rows() as u32;
    }

    /// The rows after the last piece, and the sum of the losses of all samples.
    pub fn finish(mut self, blocks: &mut Blocks<'_>) -> f64 {
        self.start(blocks);
        self.rows_without(self.op.users, blocks);
        self.flush(blocks);
        if let Some(cells) = &self.cells {
            let without = |shares: &[f32]| -> Vec<u32> {
                let rows = (0..).zip(shares).filter(|(_, share)| **share == 0.0);
                rows.map(|(row, _)| row).collect()
            };
            let (users, products) = (without(&cells.user_shares), without(&cells.product_shares));
            pull(self.simd, &self.rule, &cells.products, &users, blocks.users);
            pull(
                self.simd,
                &self.rule,
                &cells.users,
                &products,
                blocks.products,
            );
        }
        self.losses
    }

    /// Takes the column sums, where all cells count: Σ x over the tile is the product of them.
    fn start(&mut self, blocks: &Blocks<'_>) {
        if !self.op.loss.covers_all_cells() {
            return;
        }
        let (users, products) = (self.op.users as usize, self.op.products as usize);
        let cells = self.cells.get_or_insert_with(|| Cells {
            user_shares: vec![0.0; users],
            product_shares: vec![0.0; products],
            ..Cells::default()
        });
        if !cells.users.is_empty() {
            return;
        }
        let mut sums = [vec![0.0; self.op.width()], vec![0.0; self.op.width()]];
        column_sums(self.simd, blocks.users, &mut sums[0]);
        column_sums(self.simd, blocks.products, &mut sums[1]);
        let [users, products] = sums;
        self.losses += users.iter().zip(&products).map(|(a, b)| a * b).sum::<f64>();
        let single = |sums: Vec<f64>| sums.into_iter().map(|sum| sum as f32).collect();
        (cells.users, cells.products) = (single(users), single(products));
        for share in cells
            .user_shares
            .iter_mut()
            .chain(&mut cells.product_shares)
        {
            if *share > 0.0 {
                *share = 1.0 / *share;
            }
        }
    }

    /// Users up to a row, who have nothing in the tile.
    fn rows_without(&mut self, end: u32, blocks: &mut Blocks<'_>) {
        let draws = self.op.negatives > 0 && self.op.loss != Loss::Bpr;
        if draws {
            for row in self.next_row..end {
                self.user(row, &[], &[], Values::All(0.0), blocks);
            }
        }
        self.next_row = end;
    }

    fn user(
        &mut self,
        row: u32,
        products: &[u32],
        bins: &[u32],
        values: Values<'_>,
        blocks: &mut Blocks<'_>,
    ) {
        let mut draws = Draws {
            random: Random::new(self.op.seed, PURPOSE + self.op.tile, self.op.epoch, row),
            had: if self.op.loss.spares_positives() {
                products
            } else {
                &[]
            },
            // The first block of words is for rounding.
            next: 2,
        };
        if self.op.loss == Loss::Bpr {
            for &product in products {
                for _ in 0..self.op.negatives {
                    if let Some(rival) = draws.negative(blocks.noise) {
                        self.pairs.push(Pair {
                            user: row,
                            product,
                            rival,
                        });
                    }
                }
                self.flush_full(blocks);
            }
            return;
        }
        let values = match self.op.loss {
            Loss::Squared | Loss::Poisson => values,
            _ => Values::All(1.0),
        };
        let point = |(place, &product): (usize, &u32)| Point {
            user: row,
            product,
            target: values.at(place),
        };
        let negatives = self.negatives_of(row, &draws, blocks);
        let mut positives = products.iter().enumerate().map(point);
        if negatives == 0 {
            // At once as far as the batch has room: one by one took as long as half of descending.
            let mut bins = bins.iter().copied();
            while positives.len() > 0 {
                let room = BATCH - self.points.len();
                self.points.extend(positives.by_ref().take(room));
                self.bins.extend(bins.by_ref().take(room));
                self.flush_full(blocks);
            }
            return;
        }
        let steps = products.len().max(1) as u64;
        let mut drawn = 0;
        for place in 0..steps {
            self.points.extend(positives.next());
            while drawn < (place + 1) * negatives / steps {
                if let Some(product) = draws.negative(blocks.noise) {
                    self.points.push(Point {
                        user: row,
                        product,
                        target: 0.0,
                    });
                }
                drawn += 1;
                self.flush_full(blocks);
            }
            self.flush_full(blocks);
        }
    }

    /// k · n_i · P_n(block), its fraction rounded up as often as it says.
    fn negatives_of(&self, row: u32, draws: &Draws<'_>, blocks: &Blocks<'_>) -> u64 {
        if self.op.negatives == 0 || self.op.share <= 0.0 {
            return 0;
        }
        let width = self.op.width();
        let count = blocks.users[row as usize * row_len(width) + width + COUNT];
        let expected = f64::from(self.op.negatives) * f64::from(count) * self.op.share;
        (expected + draws.random.uniform_f64(0)) as u64
    }

    fn flush_full(&mut self, blocks: &mut Blocks<'_>) {
        if self.points.len() >= BATCH || self.pairs.len() >= BATCH {
            self.flush(blocks);
        }
    }

    fn flush(&mut self, blocks: &mut Blocks<'_>) {
        let width = self.op.width();
        let whole = self.cells.as_ref().map(|cells| Whole {
            users: &cells.users,
            products: &cells.products,
            user_shares: &cells.user_shares,
            product_shares: &cells.product_shares,
        });
        in_streams(&self.points, &mut self.points_in_turn);
        in_streams(&self.pairs, &mut self.pairs_in_turn);
        if self.op.bins > 0 {
            self.losses += self.flush_bins(blocks);
            return;
        }
        self.losses += points(
            self.simd,
            self.op.kernel_loss(),
            &self.rule,
            self.op.offset,
            whole,
            &self.points_in_turn,
            blocks.tables(width),
        );
        let samples = &self.pairs_in_turn;
        self.losses += pairs(self.simd, &self.rule, samples, blocks.tables(width));
        self.points.clear();
        self.pairs.clear();
    }

    /// The losses of points in bins; there are no pairs.
    fn flush_bins(&mut self, blocks: &mut Blocks<'_>) -> f64 {
        let width = self.op.width();
        in_streams(&self.bins, &mut self.bins_in_turn);
        for &bin in &self.bins {
            blocks.bin_gradients[bin as usize * row_len(width) + width + COUNT] += 1.0;
        }
        let tables = Tables {
            users: blocks.users,
            products: blocks.products,
            width,
        };
        let bins = Bins {
            of: &self.bins_in_turn,
            rows: blocks.bins,
            gradients: blocks.bin_gradients,
        };
        let losses = points_in_bins(
            self.simd,
            self.op.kernel_loss(),
            &self.rule,
            self.op.offset,
            &self.points_in_turn,
            tables,
            bins,
        );
        self.points.clear();
        self.bins.clear();
        losses
    }
}

/// The first of each stream, then the second of each, and so on.
fn in_streams<T: Copy>(samples: &[T], in_turn: &mut Vec<T>) {
    in_turn.clear();
    let length = samples.len().div_ceil(STREAMS).max(1);
    let streams: Vec<&[T]> = samples.chunks(length).collect();
    for place in 0..length {
        for stream in &streams {
            // Only the last can be shorter.
            if let Some(&sample) = stream.get(place) {
                in_turn.push(sample);
            }
        }
    }
}

/// The negatives of one user, one after the other.
struct Draws<'a> {
    random: Random,
    had: &'a [u32],
    next: u32,
}

impl Draws<'_> {
    /// A product of the block; `None` where those that came were all the user's own.
    fn negative(&mut self, noise: &[Noise]) -> Option<u32> {
        for _ in 0..DRAWS_MAX {
            let product = draw(noise, self.random.word_64(self.next));
            self.next += 1;
            if self.had.binary_search(&product).is_err() {
                return Some(product);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_take_turns_and_leave_nobody_out() {
        let mut in_turn = vec![7];
        in_streams(&[0, 1, 2, 3, 4], &mut in_turn);
        assert_eq!(in_turn, [0, 2, 4, 1, 3]);
        in_streams(&[], &mut in_turn);
        assert_eq!(in_turn, []);
        let mut all = Vec::new();
        in_streams(&(0..BATCH).collect::<Vec<_>>(), &mut all);
        assert_eq!(all[..STREAMS], [0, 1024, 2048, 3072]);
        all.sort_unstable();
        assert!(all.into_iter().eq(0..BATCH));
    }
}
