//! The laws that rows are drawn from: products of popularity and of each factor, days of each factor, and what a row follows.

use super::ids::Scramble;
use super::{Settings, purpose};
use crate::sgd::noise::{Noise, table};
use kernels::Random;
use kernels::random::{cos_turns, exp, ln};
use rayon::prelude::*;

/// The head of Zipf's law is flattened by so many places.
const HEAD: f64 = 10.0;

/// Bytes of a slot of an alias table, and of a product's id.
const SLOT_BYTES: u64 = size_of::<Noise>() as u64;
const ID_BYTES: u64 = 4;
/// Bytes of weights in the course of making a table: the weight, what is left of it, and its place on a stack.
const BUILDING_BYTES: u64 = 24;

/// What a row follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An earlier row of the user.
    Repeat,
    /// Popularity alone.
    Popularity,
    /// An interest of the user by its place.
    Interest {
        /// Whether of the taste at last.
        late: bool,
        /// Which.
        slot: u32,
    },
}

/// All tables, shared by everyone who draws.
#[derive(Debug)]
pub struct World {
    settings: Settings,
    popularity: Vec<Noise>,
    /// Of each factor, over the products of its department.
    factors: Vec<Vec<Noise>>,
    /// Of each factor, at first and then at last.
    days: Vec<Vec<Noise>>,
    /// Where in 2^32 each source ends, and it.
    sources: Vec<(u64, Source)>,
    products: Vec<u32>,
    users: Scramble,
}

impl World {
    /// Makes the tables on the threads of the pool.
    pub fn new(settings: Settings) -> Self {
        let factors = (0..settings.rank).into_par_iter();
        let factors = factors.map(|factor| table(&affinities(&settings, factor)));
        let factors = factors.collect();
        let days = (0..2 * settings.rank).into_par_iter();
        let days = days.map(|law| {
            let (late, factor) = (law >= settings.rank, law % settings.rank);
            table(&seasons(&settings, factor, late))
        });
        let days = days.collect();
        let popularity: Vec<f64> = (0..settings.products)
            .map(|place| popularity(&settings, place))
            .collect();
        let products = Scramble::new(settings.seed, 1, settings.products);
        World {
            popularity: table(&popularity),
            factors,
            days,
            sources: sources(&settings),
            products: (0..settings.products)
                .map(|place| products.id(place))
                .collect(),
            users: Scramble::new(settings.seed, 0, settings.users),
            settings,
        }
    }

    /// Memory that the tables take, and beyond it what making them takes on so many threads.
    pub fn bytes(settings: &Settings, threads: u64) -> (u64, u64) {
        let products = u64::from(settings.products);
        let of_factor = products.div_ceil(u64::from(settings.departments));
        let rank = u64::from(settings.rank);
        let slots = products + rank * of_factor + 2 * rank * u64::from(settings.days);
        let kept = slots * SLOT_BYTES + products * ID_BYTES;
        let building = (threads.min(rank) * of_factor).max(products) * BUILDING_BYTES;
        (kept, building)
    }

    /// What it is made of.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The id of a user.
    #[inline]
    pub fn user_id(&self, user: u32) -> u32 {
        self.users.id(user)
    }

    /// The id of a product by its place in popularity.
    #[inline]
    pub fn product_id(&self, place: u32) -> u32 {
        self.products[place as usize]
    }

    /// The source that a word draws.
    #[inline]
    pub(crate) fn source(&self, word: u32) -> Source {
        let at = self
            .sources
            .iter()
            .position(|(end, _)| u64::from(word) < *end);
        self.sources[at.unwrap_or(self.sources.len() - 1)].1
    }

    /// The table of products of popularity, or of a factor.
    #[inline]
    pub(crate) fn products_of(&self, factor: Option<u32>) -> &[Noise] {
        factor.map_or(&self.popularity, |factor| &self.factors[factor as usize])
    }

    /// The table of days of a factor.
    #[inline]
    pub(crate) fn days_of(&self, factor: u32, late: bool) -> &[Noise] {
        &self.days[(factor + u32::from(late) * self.settings.rank) as usize]
    }

    /// Of a range of products by their places: how likely each is by popularity alone, and in each factor, product after product.
    pub fn product_truth(
        &self,
        places: std::ops::Range<u32>,
        truth: &Totals,
    ) -> (Vec<f64>, Vec<f32>) {
        let settings = &self.settings;
        let mut shares = Vec::with_capacity(places.len());
        let mut factors = Vec::with_capacity(places.len() * settings.rank as usize);
        for place in places {
            shares.push(popularity(settings, place) / truth.popularity);
            for factor in 0..settings.rank {
                let suits = settings.department(factor) == settings.department(place);
                let share = if suits {
                    affinity(settings, factor, place) / truth.factors[factor as usize]
                } else {
                    0.0
                };
                factors.push(share as f32);
            }
        }
        (shares, factors)
    }

    /// How likely each day is in each factor, day after day: of the taste at first, or at last.
    pub fn day_truth(&self, late: bool) -> Vec<f32> {
        let laws: Vec<Vec<f64>> = (0..self.settings.rank)
            .map(|factor| seasons(&self.settings, factor, late))
            .collect();
        let totals: Vec<f64> = laws
            .iter()
            .map(|law| law.iter().sum::<f64>().max(1e-300))
            .collect();
        let days = 0..self.settings.days as usize;
        days.flat_map(|day| {
            let of_day = laws.iter().zip(&totals);
            of_day
                .map(move |(law, total)| (law[day] / total) as f32)
                .collect::<Vec<_>>()
        })
        .collect()
    }

    /// The share of rows of taste that follow the one at last.
    pub fn late_share(&self) -> f64 {
        late_share(&self.settings)
    }
}

/// What weights of products come to.
#[derive(Clone, Debug)]
pub struct Totals {
    popularity: f64,
    factors: Vec<f64>,
}

impl Totals {
    /// Of all products, on the threads of the pool.
    pub fn of(settings: &Settings) -> Self {
        let factors = (0..settings.rank).into_par_iter();
        Totals {
            popularity: (0..settings.products)
                .map(|place| popularity(settings, place))
                .sum(),
            factors: factors
                .map(|factor| affinities(settings, factor).iter().sum())
                .collect(),
        }
    }
}

/// Zipf's law of a place, with its head flattened.
fn popularity(settings: &Settings, place: u32) -> f64 {
    exp(-settings.zipf * ln(f64::from(place) + HEAD))
}

/// How much a product of the factor's department counts in it: its popularity times a log-normal number.
pub(crate) fn affinity(settings: &Settings, factor: u32, place: u32) -> f64 {
    let random = Random::new(settings.seed, purpose::AFFINITY, factor, place);
    popularity(settings, place) * exp(settings.contrast * random.normal(0))
}

fn affinities(settings: &Settings, factor: u32) -> Vec<f64> {
    let department = settings.department(factor);
    (0..settings.members(department, settings.products))
        .map(|member| affinity(settings, factor, department + member * settings.departments))
        .collect()
}

/// The share of taste that is the one at last: 0 on the first day, `drift` on the last.
fn drifted(settings: &Settings, day: u32) -> f64 {
    settings.drift * f64::from(day) / f64::from((settings.days - 1).max(1))
}

fn late_share(settings: &Settings) -> f64 {
    let days = 0..settings.days;
    days.map(|day| drifted(settings, day)).sum::<f64>() / f64::from(settings.days)
}

/// The days of a factor: a season whose height moves through the cycle with the factor's number, times its share of the taste.
fn seasons(settings: &Settings, factor: u32, late: bool) -> Vec<f64> {
    let phase = f64::from(factor) / f64::from(settings.rank);
    (0..settings.days)
        .map(|day| {
            let turns = f64::from(day) / f64::from(settings.season_days) - phase;
            let season = exp(settings.season * (cos_turns(turns) - 1.0));
            let share = drifted(settings, day);
            season * if late { share } else { 1.0 - share }
        })
        .collect()
}

/// What rows follow, as ends in 2^32.
fn sources(settings: &Settings) -> Vec<(u64, Source)> {
    let first = (1.0 - settings.repeat) * (1.0 - settings.popularity);
    let weights: f64 = (1..=settings.interests)
        .map(|slot| 1.0 / f64::from(slot))
        .sum();
    let mut shares = vec![
        (settings.repeat, Source::Repeat),
        (
            (1.0 - settings.repeat) * settings.popularity,
            Source::Popularity,
        ),
    ];
    let at_last = late_share(settings);
    for (late, share) in [(false, 1.0 - at_last), (true, at_last)] {
        for slot in 0..settings.interests {
            let weight = 1.0 / f64::from(slot + 1) / weights;
            shares.push((first * share * weight, Source::Interest { late, slot }));
        }
    }
    let mut sum = 0.0;
    let drawn = shares.into_iter().filter(|(share, _)| *share > 0.0);
    let mut ends: Vec<(u64, Source)> = drawn
        .map(|(share, source)| {
            sum += share;
            ((sum * (1_u64 << 32) as f64) as u64, source)
        })
        .collect();
    if let Some((end, _)) = ends.last_mut() {
        *end = 1 << 32;
    }
    ends
}
