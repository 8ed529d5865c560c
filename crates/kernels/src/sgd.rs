//! Stochastic gradient descent over the samples of a tile, one after the other.
//!
//! In a tensor a sample also has a bin, whose row stays as it is while its gradients are added up ([`points_in_bins`]).
//!
//! A row of a table in training is its factors and a tail of 16 floats ([`BIAS`], [`SQUARES`], [`BIAS_SQUARES`],
//! [`COUNT`]). A sample moves both of its rows by their gradients at the same moment. AdaGrad (Duchi, Hazan, Singer, 2011)
//! keeps one sum of squares a row, the mean over its columns, as PyTorch-BigGraph does: per column it would double
//! what product blocks carry from worker to worker.
#![allow(unsafe_code)]

use crate::LANES;
use crate::losses::{BernoulliPoisson, Logistic, Loss, Poisson, Shape, Squared};
use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// Floats of a row beyond its factors.
pub const TAIL: usize = LANES;
/// Place in the tail: the bias.
pub const BIAS: usize = 0;
/// Place in the tail: the sum of squares of the factors' gradients.
pub const SQUARES: usize = 1;
/// Place in the tail: that of the bias.
pub const BIAS_SQUARES: usize = 2;
/// Place in the tail: the interactions of the row, which no kernel looks at.
pub const COUNT: usize = 3;

/// Samples ahead of which a product's row is asked for.
const AHEAD: usize = 6;
/// Rows of a column sum that are added in f32.
const SUM_ROWS: usize = 256;

/// How rows move along their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Columns in use: the squares of a row are averaged over them.
    pub rank: u32,
    /// The length of a step.
    pub rate: f32,
    /// Whether it is divided by the root of the sum of squares.
    pub adagrad: bool,
    /// λ: every sample adds λ row to the gradient of its rows.
    pub regularization: f32,
    /// Whether biases move; otherwise they count as they are.
    pub biases: bool,
    /// Whether factors are cut at 0.
    pub nonnegative: bool,
}

/// A cell and its target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The place of the user's row.
    pub user: u32,
    /// The place of the product's row.
    pub product: u32,
    /// y.
    pub target: f32,
}

/// A product that a user had, and one that he had not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The place of the user's row.
    pub user: u32,
    /// The place of the row of the product that he had.
    pub product: u32,
    /// The place of the row of the other, never the same.
    pub rival: u32,
}

/// The two blocks that a tile moves: whole rows of `width` factors and a tail.
#[derive(Debug)]
pub struct Tables<'a> {
    /// Users.
    pub users: &'a mut [f32],
    /// Products.
    pub products: &'a mut [f32],
    /// Floats of the factors of a row.
    pub width: usize,
}

/// The linear part Σ x over all cells of a tile, divided over its samples: a user's gradient gets `products` times the
/// user's share with every sample, a product's likewise, and rows without a sample get it from [`pull`].
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// The column sums of the users.
    pub users: &'a [f32],
    /// The column sums of the products.
    pub products: &'a [f32],
    /// One over the number of a user's samples in the tile.
    pub user_shares: &'a [f32],
    /// One over the number of a product's samples in the tile.
    pub product_shares: &'a [f32],
}

/// What samples in bins need of these; rows are those of a table in training.
#[derive(Debug)]
pub struct Bins<'a> {
    /// The bin of each point.
    pub of: &'a [u32],
    /// The rows of bins.
    pub rows: &'a [f32],
    /// The sums of their gradients s u ∘ v, of which the tails stay.
    pub gradients: &'a mut [f32],
}

/// Floats of a row in training.
pub const fn row_len(width: usize) -> usize {
    width + TAIL
}

/// Descends on points in order; the sum of their losses, each before its step, in f64. The score of a cell is
/// u · v + both biases + `offset`.
///
/// # Panics
/// Where a row is not there, or lengths do not fit the width.
pub fn points(
    simd: Simd,
    loss: Loss,
    rule: &Rule,
    offset: f32,
    whole: Option<Whole<'_>>,
    points: &[Point],
    tables: Tables<'_>,
) -> f64 {
    check(&tables);
    if let Some(whole) = &whole {
        let sums = [whole.users, whole.products];
        assert!(
            sums.iter().all(|sums| sums.len() == tables.width),
            "a column sum a factor"
        );
    }
    let job = PointJob {
        rule: *rule,
        offset,
        whole,
        points,
        tables,
    };
    descend(simd, loss, job, NoBins)
}

/// Descends on points in order, each in a bin: the score is Σ u v t + both biases + `offset`, t being the row of its bin.
/// Bins stay as they are; the gradients of all samples are added to theirs in order.
///
/// # Panics
/// As [`points`]; where not every point has a bin that is there.
pub fn points_in_bins(
    simd: Simd,
    loss: Loss,
    rule: &Rule,
    offset: f32,
    points: &[Point],
    tables: Tables<'_>,
    bins: Bins<'_>,
) -> f64 {
    check(&tables);
    assert_eq!(bins.of.len(), points.len(), "a bin a point");
    let job = PointJob {
        rule: *rule,
        offset,
        whole: None,
        points,
        tables,
    };
    descend(simd, loss, job, bins)
}

fn descend<T: Third>(simd: Simd, loss: Loss, job: PointJob<'_>, third: T) -> f64 {
    match loss {
        Loss::Squared => simd.run(Points(job, Squared, third)),
        Loss::Logistic => simd.run(Points(job, Logistic, third)),
        Loss::BernoulliPoisson => simd.run(Points(job, BernoulliPoisson, third)),
        Loss::Poisson => simd.run(Points(job, Poisson, third)),
    }
}

/// Descends on pairs in order: BPR (Rendle et al., 2009), the logistic loss of the distance of two scores. The sum of
/// the losses as in [`points`].
///
/// # Panics
/// Where a row is not there, a product is its own rival, or lengths do not fit the width.
pub fn pairs(simd: Simd, rule: &Rule, pairs: &[Pair], tables: Tables<'_>) -> f64 {
    check(&tables);
    simd.run(Pairs {
        rule: *rule,
        samples: pairs,
        tables,
    })
}

/// Moves rows of one table by the linear part alone: their gradient is `whole` + λ row.
///
/// # Panics
/// Where a row is not there, or lengths do not fit.
pub fn pull(simd: Simd, rule: &Rule, whole: &[f32], rows: &[u32], table: &mut [f32]) {
    assert!(whole.len().is_multiple_of(LANES), "whole vectors");
    simd.run(Pull {
        rule: *rule,
        whole,
        rows,
        table,
    });
}

/// The sum of the factors of all rows, column by column: f32 over 256 rows, these in f64, in order.
///
/// # Panics
/// Where the table does not hold whole rows, or `sums` has another length than a row has factors.
pub fn column_sums(simd: Simd, table: &[f32], sums: &mut [f64]) {
    assert!(sums.len().is_multiple_of(LANES), "whole vectors");
    assert!(
        table.len().is_multiple_of(row_len(sums.len())),
        "whole rows"
    );
    simd.run(ColumnSums { table, sums });
}

fn check(tables: &Tables<'_>) {
    let whole = |table: &[f32]| table.len().is_multiple_of(row_len(tables.width));
    assert!(tables.width.is_multiple_of(LANES), "whole vectors");
    assert!(whole(tables.users) && whole(tables.products), "whole rows");
}

/// The factors and the tail of a row.
#[inline(always)]
fn row(table: &mut [f32], width: usize, place: u32) -> (&mut [f32], &mut [f32]) {
    let start = place as usize * row_len(width);
    table[start..start + row_len(width)].split_at_mut(width)
}

#[inline(always)]
fn load<V: Vector>(row: &[f32], at: usize) -> V {
    let row = &row[at..at + LANES];
    // SAFETY: the slice holds 16 floats.
    unsafe { V::load(row.as_ptr()) }
}

#[inline(always)]
fn store<V: Vector>(row: &mut [f32], at: usize, vector: V) {
    let row = &mut row[at..at + LANES];
    // SAFETY: the slice holds 16 floats.
    unsafe { vector.store(row.as_mut_ptr()) };
}

#[inline(always)]
fn prefetch<V: Vector>(table: &[f32], width: usize, place: u32) {
    let start = table.as_ptr().wrapping_add(place as usize * row_len(width));
    for at in (0..row_len(width)).step_by(LANES) {
        V::prefetch(start.wrapping_add(at));
    }
}

impl Rule {
    /// The length of the step of a row (or bias) whose gradient has this mean square, which `sum` takes in.
    #[inline(always)]
    fn pace(&self, sum: &mut f32, square: f32) -> f32 {
        if !self.adagrad {
            return self.rate;
        }
        *sum += square;
        // A gradient of zeros only leaves a sum of 0.
        self.rate / (*sum + 1e-20).sqrt()
    }

    #[inline(always)]
    fn pace_row(&self, tail: &mut [f32], squares: f32) -> f32 {
        // The inverse is taken once for all samples: a division each was a tenth of their time.
        self.pace(&mut tail[SQUARES], squares * (1.0 / self.rank as f32))
    }

    #[inline(always)]
    fn move_bias(&self, tail: &mut [f32], slope: f32) {
        if self.biases {
            let gradient = tail[BIAS].mul_add(self.regularization, slope);
            let pace = self.pace(&mut tail[BIAS_SQUARES], gradient * gradient);
            tail[BIAS] = (-pace).mul_add(gradient, tail[BIAS]);
        }
    }

    #[inline(always)]
    fn floor<V: Vector>(&self) -> V {
        V::splat(if self.nonnegative {
            0.0
        } else {
            f32::NEG_INFINITY
        })
    }
}

struct PointJob<'a> {
    rule: Rule,
    offset: f32,
    whole: Option<Whole<'a>>,
    points: &'a [Point],
    tables: Tables<'a>,
}

/// A factor of the score beside the user's and the product's.
trait Third {
    /// Whether there is one.
    const IS: bool;

    /// The factors of the third row of a sample, and the sum of its gradients.
    fn row(&mut self, sample: usize, width: usize) -> (&[f32], &mut [f32]);
}

/// A matrix: all ones.
struct NoBins;

impl Third for NoBins {
    const IS: bool = false;

    #[inline(always)]
    fn row(&mut self, _sample: usize, _width: usize) -> (&[f32], &mut [f32]) {
        (&[], &mut [])
    }
}

impl Third for Bins<'_> {
    const IS: bool = true;

    #[inline(always)]
    fn row(&mut self, sample: usize, width: usize) -> (&[f32], &mut [f32]) {
        let start = self.of[sample] as usize * row_len(width);
        let factors = start..start + width;
        (&self.rows[factors.clone()], &mut self.gradients[factors])
    }
}

/// A vector of one side times that of the third.
#[inline(always)]
fn times<V: Vector, T: Third>(vector: V, third: &[f32], at: usize) -> V {
    if T::IS {
        vector.mul(load(third, at))
    } else {
        vector
    }
}

struct Points<'a, L, T>(PointJob<'a>, L, T);

impl<L: Shape, T: Third> Kernel for Points<'_, L, T> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        match self.0.tables.width / LANES {
            1 => self.each::<V, 1>(),
            2 => self.each::<V, 2>(),
            4 => self.each::<V, 4>(),
            _ => self.each::<V, 0>(),
        }
    }
}

impl<L: Shape, T: Third> Points<'_, L, T> {
    /// Rows of C vectors; of any number where C is 0. A known number keeps the rows of a point in registers.
    #[inline(always)]
    fn each<V: Vector, const C: usize>(self) -> f64 {
        let Points(job, loss, mut third) = self;
        let Tables {
            users,
            products,
            width,
        } = job.tables;
        let width = if C == 0 { width } else { C * LANES };
        let mut losses = 0.0;
        for (sample, point) in job.points.iter().enumerate() {
            if let Some(ahead) = job.points.get(sample + AHEAD) {
                prefetch::<V>(products, width, ahead.product);
            }
            let (user, user_tail) = row(users, width, point.user);
            let (product, product_tail) = row(products, width, point.product);
            let (bin, bin_gradient) = third.row(sample, width);
            let mut dots = [V::splat(0.0); 4];
            let mut user_in_bin = V::splat(0.0);
            for at in (0..width).step_by(LANES) {
                let (user, product) = (load::<V>(user, at), load::<V>(product, at));
                let for_user = times::<V, T>(product, bin, at);
                dots[0] = user.fma(for_user, dots[0]);
                dots[1] = user.fma(user, dots[1]);
                dots[2] = product.fma(product, dots[2]);
                if T::IS {
                    let for_product = times::<V, T>(user, bin, at);
                    dots[3] = for_user.fma(for_user, dots[3]);
                    user_in_bin = for_product.fma(for_product, user_in_bin);
                }
            }
            let sums = V::sums(dots);
            let own = [sums[1].first(), sums[2].first()];
            let dots = Dots {
                cross: sums[0].first(),
                own,
                others: if T::IS {
                    [sums[3].first(), user_in_bin.sum()]
                } else {
                    [own[1], own[0]]
                },
            };
            let score = dots.cross + (user_tail[BIAS] + product_tail[BIAS] + job.offset);
            let (value, slope) = loss.at(score, point.target);
            losses += f64::from(value);
            let mut sides = Sides {
                user,
                user_tail,
                product,
                product_tail,
            };
            match &job.whole {
                None => sides.step::<V, T>(&job.rule, slope, &dots, bin, bin_gradient),
                Some(whole) => {
                    let user_share = whole.user_shares[point.user as usize];
                    let product_share = whole.product_shares[point.product as usize];
                    let shares = [V::splat(user_share), V::splat(product_share)];
                    sides.step_whole::<V>(&job.rule, slope, whole, shares);
                }
            }
            job.rule.move_bias(sides.user_tail, slope);
            job.rule.move_bias(sides.product_tail, slope);
        }
        losses
    }
}

/// The two rows of a point.
struct Sides<'a> {
    user: &'a mut [f32],
    user_tail: &'a mut [f32],
    product: &'a mut [f32],
    product_tail: &'a mut [f32],
}

/// What the squares of gradients follow from.
struct Dots {
    /// The user with what stands for the product in his gradient.
    cross: f32,
    /// Of the user and of the product with itself.
    own: [f32; 2],
    /// Of what each of them is moved by with itself: the other, times its bin where there is one.
    others: [f32; 2],
}

/// Rounding may leave less than nothing of a sum that is 0.
#[inline(always)]
fn at_least_zero(sum: f32) -> f32 {
    if sum > 0.0 { sum } else { 0.0 }
}

impl Sides<'_> {
    /// Moves both by s · the other + λ itself. Their squares follow from u · v, |u|² and |v|², `dots`, which are at hand
    /// together: |s v + λ u|² = s² |v|² + 2 s λ u · v + λ² |u|². To sum them once the slope is known made a sample wait
    /// a third longer. In a bin the other is v ∘ t or u ∘ t, and the gradient of t is s u ∘ v.
    #[inline(always)]
    fn step<V: Vector, T: Third>(
        &mut self,
        rule: &Rule,
        slope: f32,
        dots: &Dots,
        bin: &[f32],
        bin_gradient: &mut [f32],
    ) {
        let lambda = rule.regularization;
        let (steep, shrink) = (slope * slope, lambda * lambda);
        let both = 2.0 * slope * lambda * dots.cross;
        let user_squares = steep.mul_add(dots.others[0], shrink.mul_add(dots.own[0], both));
        let product_squares = steep.mul_add(dots.others[1], shrink.mul_add(dots.own[1], both));
        let user_pace = rule.pace_row(self.user_tail, at_least_zero(user_squares));
        let product_pace = rule.pace_row(self.product_tail, at_least_zero(product_squares));
        // u − p (s v + λ u) = (1 − p λ) u − p s v.
        let user_kept = V::splat((-user_pace).mul_add(lambda, 1.0));
        let product_kept = V::splat((-product_pace).mul_add(lambda, 1.0));
        let user_push = V::splat(user_pace * slope);
        let product_push = V::splat(product_pace * slope);
        let floor = rule.floor::<V>();
        for at in (0..self.user.len()).step_by(LANES) {
            let (user, product) = (load::<V>(self.user, at), load::<V>(self.product, at));
            let other = times::<V, T>(product, bin, at);
            let moved = other.fnma(user_push, user.mul(user_kept)).max(floor);
            store(self.user, at, moved);
            let other = times::<V, T>(user, bin, at);
            let moved = other
                .fnma(product_push, product.mul(product_kept))
                .max(floor);
            store(self.product, at, moved);
            if T::IS {
                let sum = load::<V>(bin_gradient, at);
                let more = user.mul(product).fma(V::splat(slope), sum);
                store(bin_gradient, at, more);
            }
        }
    }

    /// Moves both by s · the other + λ itself + a share of column sums.
    #[inline(always)]
    fn step_whole<V: Vector>(
        &mut self,
        rule: &Rule,
        slope: f32,
        whole: &Whole<'_>,
        shares: [V; 2],
    ) {
        let (slope, lambda) = (V::splat(slope), V::splat(rule.regularization));
        let width = self.user.len();
        let mut squares = [V::splat(0.0); 2];
        if rule.adagrad {
            for at in (0..width).step_by(LANES) {
                let [user, product] = self.gradients(at, slope, lambda, whole, shares);
                squares[0] = user.fma(user, squares[0]);
                squares[1] = product.fma(product, squares[1]);
            }
        }
        let user_pace = V::splat(rule.pace_row(self.user_tail, squares[0].sum()));
        let product_pace = V::splat(rule.pace_row(self.product_tail, squares[1].sum()));
        let floor = rule.floor::<V>();
        for at in (0..width).step_by(LANES) {
            let (user, product) = (load::<V>(self.user, at), load::<V>(self.product, at));
            let gradients = self.gradients(at, slope, lambda, whole, shares);
            store(self.user, at, gradients[0].fnma(user_pace, user).max(floor));
            let moved = gradients[1].fnma(product_pace, product).max(floor);
            store(self.product, at, moved);
        }
    }

    /// Those of [`Sides::step_whole`] at some columns.
    #[inline(always)]
    fn gradients<V: Vector>(
        &self,
        at: usize,
        slope: V,
        lambda: V,
        whole: &Whole<'_>,
        shares: [V; 2],
    ) -> [V; 2] {
        let (user, product) = (load::<V>(self.user, at), load::<V>(self.product, at));
        let user_more = load::<V>(whole.products, at).mul(shares[0]);
        let product_more = load::<V>(whole.users, at).mul(shares[1]);
        [
            slope.fma(product, lambda.fma(user, user_more)),
            slope.fma(user, lambda.fma(product, product_more)),
        ]
    }
}

/// The gradients of a user, a product and its rival: s (v − w) + λ u, s u + λ v, λ w − s u.
#[inline(always)]
fn pair_gradients<V: Vector>(slope: V, lambda: V, [user, product, rival]: [V; 3]) -> [V; 3] {
    [
        slope.fma(product.sub(rival), lambda.mul(user)),
        slope.fma(user, lambda.mul(product)),
        slope.fnma(user, lambda.mul(rival)),
    ]
}

struct Pairs<'a> {
    rule: Rule,
    samples: &'a [Pair],
    tables: Tables<'a>,
}

impl Kernel for Pairs<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let Tables {
            users,
            products,
            width,
        } = self.tables;
        let rule = &self.rule;
        let (lambda, floor) = (V::splat(rule.regularization), rule.floor::<V>());
        let mut losses = 0.0;
        for (at, pair) in self.samples.iter().enumerate() {
            if let Some(ahead) = self.samples.get(at + AHEAD) {
                prefetch::<V>(products, width, ahead.product);
                prefetch::<V>(products, width, ahead.rival);
            }
            let (user, user_tail) = row(users, width, pair.user);
            let places = [pair.product, pair.rival].map(|place| place as usize * row_len(width));
            let [product, rival] = products
                .get_disjoint_mut(places.map(|start| start..start + row_len(width)))
                .expect("a product and another one, both in the block");
            let (product, product_tail) = product.split_at_mut(width);
            let (rival, rival_tail) = rival.split_at_mut(width);
            let mut sum = V::splat(0.0);
            for at in (0..width).step_by(LANES) {
                let distance = load::<V>(product, at).sub(load(rival, at));
                sum = load::<V>(user, at).fma(distance, sum);
            }
            let distance = sum.sum() + (product_tail[BIAS] - rival_tail[BIAS]);
            let (value, slope) = Logistic.at(distance, 1.0);
            losses += f64::from(value);
            let push = V::splat(slope);
            let mut squares = [V::splat(0.0); 3];
            if rule.adagrad {
                for at in (0..width).step_by(LANES) {
                    let rows = [load(user, at), load(product, at), load(rival, at)];
                    let [u, p, r] = pair_gradients::<V>(push, lambda, rows);
                    squares[0] = u.fma(u, squares[0]);
                    squares[1] = p.fma(p, squares[1]);
                    squares[2] = r.fma(r, squares[2]);
                }
            }
            let user_pace = V::splat(rule.pace_row(user_tail, squares[0].sum()));
            let product_pace = V::splat(rule.pace_row(product_tail, squares[1].sum()));
            let rival_pace = V::splat(rule.pace_row(rival_tail, squares[2].sum()));
            for at in (0..width).step_by(LANES) {
                let rows = [load(user, at), load(product, at), load(rival, at)];
                let [u, p, r] = pair_gradients::<V>(push, lambda, rows);
                store(user, at, u.fnma(user_pace, rows[0]).max(floor));
                store(product, at, p.fnma(product_pace, rows[1]).max(floor));
                store(rival, at, r.fnma(rival_pace, rows[2]).max(floor));
            }
            rule.move_bias(product_tail, slope);
            rule.move_bias(rival_tail, -slope);
        }
        losses
    }
}

struct Pull<'a> {
    rule: Rule,
    whole: &'a [f32],
    rows: &'a [u32],
    table: &'a mut [f32],
}

impl Kernel for Pull<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (width, rule) = (self.whole.len(), &self.rule);
        let (lambda, floor) = (V::splat(rule.regularization), rule.floor::<V>());
        for &place in self.rows {
            let (factors, tail) = row(self.table, width, place);
            let mut squares = V::splat(0.0);
            if rule.adagrad {
                for at in (0..width).step_by(LANES) {
                    let gradient = lambda.fma(load(factors, at), load::<V>(self.whole, at));
                    squares = gradient.fma(gradient, squares);
                }
            }
            let pace = V::splat(rule.pace_row(tail, squares.sum()));
            for at in (0..width).step_by(LANES) {
                let before = load::<V>(factors, at);
                let gradient = lambda.fma(before, load::<V>(self.whole, at));
                store(factors, at, gradient.fnma(pace, before).max(floor));
            }
        }
    }
}

struct ColumnSums<'a> {
    table: &'a [f32],
    sums: &'a mut [f64],
}

impl Kernel for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        self.sums.fill(0.0);
        let len = row_len(self.sums.len());
        for rows in self.table.chunks(SUM_ROWS * len) {
            for at in (0..self.sums.len()).step_by(LANES) {
                let mut sum = V::splat(0.0);
                for row in rows.chunks_exact(len) {
                    sum = sum.add(load(row, at));
                }
                for (total, part) in self.sums[at..at + LANES].iter_mut().zip(sum.lanes()) {
                    *total += f64::from(part);
                }
            }
        }
    }
}
