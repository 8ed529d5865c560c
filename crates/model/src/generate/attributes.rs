//! What tables of attributes tell: a category that is the truth or not, a number that goes along with it, and one that means
//! nothing.

use super::users::home;
use super::world::{World, affinity};
use super::{Settings, purpose};
use kernels::Random;
use kernels::random::exp;

/// Values of the category that means nothing.
const NOISE_LEVELS: u32 = 12;

/// Of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserAttributes {
    /// The segment that is told.
    pub segment: u32,
    /// In years.
    pub age: u32,
    /// Means nothing.
    pub region: u32,
}

/// Of a product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProductAttributes {
    /// The department that is told.
    pub department: u32,
    /// Positive.
    pub price: f32,
    /// Means nothing.
    pub brand: u32,
}

impl World {
    /// The attributes of a user.
    pub fn user_attributes(&self, user: u32) -> UserAttributes {
        let settings = self.settings();
        let home = home(settings, user);
        let random = Random::new(settings.seed, purpose::ATTRIBUTES, 0, user);
        let number = correlated(settings, random, home);
        UserAttributes {
            segment: told(settings, random, settings.department(home)),
            age: (45.0 + 14.0 * number).clamp(18.0, 95.0) as u32,
            region: level(random.word(3), NOISE_LEVELS),
        }
    }

    /// The attributes of a product by its place in popularity.
    pub fn product_attributes(&self, place: u32) -> ProductAttributes {
        let settings = self.settings();
        let random = Random::new(settings.seed, purpose::ATTRIBUTES, 1, place);
        let number = correlated(settings, random, self.home_of_product(place));
        ProductAttributes {
            department: told(settings, random, settings.department(place)),
            price: (exp(1.5 + 0.6 * number) * 100.0).round() as f32 / 100.0,
            brand: level(random.word(3), NOISE_LEVELS * 4),
        }
    }

    /// The factor of its department that a product counts most in.
    pub fn home_of_product(&self, place: u32) -> u32 {
        let settings = self.settings();
        let department = settings.department(place);
        let factors = (department..settings.rank).step_by(settings.departments as usize);
        let weight = |factor: u32| affinity(settings, factor, place);
        factors
            .reduce(|best, factor| {
                if weight(factor) > weight(best) {
                    factor
                } else {
                    best
                }
            })
            .unwrap_or(department)
    }
}

fn level(word: u32, levels: u32) -> u32 {
    ((u64::from(word) * u64::from(levels)) >> 32) as u32
}

/// The true category with probability `attributes`, else any.
fn told(settings: &Settings, random: Random, truth: u32) -> u32 {
    if f64::from(random.uniform(0)) < settings.attributes {
        truth
    } else {
        level(random.word(1), settings.departments)
    }
}

/// Of mean 0 and variance 1, its correlation with the number of a factor is `attributes`.
fn correlated(settings: &Settings, random: Random, factor: u32) -> f64 {
    let truth = if settings.rank == 1 {
        0.0
    } else {
        let rank = f64::from(settings.rank);
        (2.0 * f64::from(factor) + 1.0 - rank) * (3.0 / (rank * rank - 1.0)).sqrt()
    };
    let known = settings.attributes;
    known * truth + (1.0 - known * known).sqrt() * random.normal(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::settings::tests::small;

    #[test]
    fn attributes_tell_as_much_as_asked_for() {
        for (attributes, right) in [(0.0, 1.0 / 3.0), (0.6, 0.6 + 0.4 / 3.0), (1.0, 1.0)] {
            let settings = Settings {
                users: 9000,
                products: 9000,
                attributes,
                ..small()
            };
            let world = World::new(settings);
            let users: Vec<_> = (0..9000).map(|user| world.user_attributes(user)).collect();
            let products: Vec<_> = (0..9000)
                .map(|place| world.product_attributes(place))
                .collect();
            let users_right = users
                .iter()
                .zip(0..)
                .filter(|(known, user)| known.segment == user % 6 % 3);
            let products_right = products
                .iter()
                .zip(0..)
                .filter(|(known, place)| known.department == place % 3);
            for count in [users_right.count(), products_right.count()] {
                assert!((count as f64 / 9000.0 - right).abs() < 0.03, "{count}");
            }
            assert!(
                users
                    .iter()
                    .all(|known| (18..=95).contains(&known.age) && known.region < 12)
            );
            assert!(
                products
                    .iter()
                    .all(|known| known.price > 0.0 && known.brand < 48)
            );
            let homes: Vec<f64> = (0..9000).map(|user| f64::from(user % 6)).collect();
            let ages: Vec<f64> = users.iter().map(|known| f64::from(known.age)).collect();
            assert!((correlation(&homes, &ages) - attributes).abs() < 0.05);
        }
    }

    fn correlation(x: &[f64], y: &[f64]) -> f64 {
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let (mx, my) = (mean(x), mean(y));
        let product = |a: &[f64], ma: f64, b: &[f64], mb: f64| -> f64 {
            a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum()
        };
        product(x, mx, y, my) / (product(x, mx, x, mx) * product(y, my, y, my)).sqrt()
    }
}
