//! The rows of a part of the users, drawn one by one and put in order of days.

use super::users::Interests;
use super::world::{Source, World};
use super::{Activity, purpose};
use crate::sgd::noise::{Noise, draw};
use kernels::Random;

/// The day of a row follows no factor.
const NO_LAW: u32 = u32::MAX;

/// Rows as columns. Reused from part to part.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Ids of users.
    pub users: Vec<u32>,
    /// Ids of products.
    pub products: Vec<u32>,
    /// Days from the first.
    pub days: Vec<u16>,
    /// How many a row is of.
    pub quantities: Vec<u8>,
}

/// Buffers for drawing and putting in order.
#[derive(Debug, Default)]
pub struct Order {
    drawn: Rows,
    /// Place in popularity and law of days of each row of a user.
    of_user: Vec<(u32, u32)>,
    /// Where the rows of a day begin.
    starts: Vec<u32>,
}

impl Rows {
    /// Bytes that a row takes while it is drawn, in order and before.
    pub const BYTES: u64 = 2 * (4 + 4 + 2 + 1);

    fn resize(&mut self, rows: usize) {
        self.users.resize(rows, 0);
        self.products.resize(rows, 0);
        self.days.resize(rows, 0);
        self.quantities.resize(rows, 0);
    }

    /// Draws the rows of a part, by day and then by user.
    ///
    /// # Panics
    /// Where a part has more rows than a file may have.
    pub fn fill(&mut self, world: &World, activity: &Activity, part: u32, order: &mut Order) {
        let rows = usize::try_from(activity.rows_of(part)).expect("rows of one file");
        let drawn = &mut order.drawn;
        drawn.resize(rows);
        let mut at = 0;
        for (user, count) in activity.counts(part) {
            draw_user(world, user, count as u32, drawn, at, &mut order.of_user);
            at += count as usize;
        }
        self.by_day(world, drawn, &mut order.starts);
    }

    /// A counting sort, which keeps the order of users within a day.
    fn by_day(&mut self, world: &World, drawn: &Rows, starts: &mut Vec<u32>) {
        starts.clear();
        starts.resize(world.settings().days as usize + 1, 0);
        for day in &drawn.days {
            starts[*day as usize + 1] += 1;
        }
        for day in 1..starts.len() {
            starts[day] += starts[day - 1];
        }
        self.resize(drawn.days.len());
        for (row, day) in drawn.days.iter().enumerate() {
            let place = &mut starts[*day as usize];
            let to = *place as usize;
            *place += 1;
            self.users[to] = drawn.users[row];
            self.products[to] = drawn.products[row];
            self.days[to] = *day;
            self.quantities[to] = drawn.quantities[row];
        }
    }
}

/// Draws the rows of a user to places from `at` on.
fn draw_user(
    world: &World,
    user: u32,
    count: u32,
    to: &mut Rows,
    at: usize,
    of_user: &mut Vec<(u32, u32)>,
) {
    if count == 0 {
        return;
    }
    let settings = world.settings();
    let interests = Interests::of(settings, user);
    let id = world.user_id(user);
    let random = Random::new(settings.seed, purpose::PURCHASE, 0, user);
    of_user.clear();
    for row in 0..count {
        let words = random.block(row);
        let (place, law) = product(world, &interests, words, of_user);
        of_user.push((place, law));
        let day = if law == NO_LAW {
            ((u64::from(words[2]) * u64::from(settings.days)) >> 32) as u32
        } else {
            let late = law >= settings.rank;
            let days = world.days_of(law % settings.rank, late);
            draw(days, one_word(words[2], days))
        };
        let place_of_row = at + row as usize;
        to.users[place_of_row] = id;
        to.products[place_of_row] = world.product_id(place);
        to.days[place_of_row] = day as u16;
    }
    let quantities = &mut to.quantities[at..at + count as usize];
    if settings.quantity == 1 {
        quantities.fill(1);
        return;
    }
    let random = Random::new(settings.seed, purpose::QUANTITY, 0, user);
    for (block, quantities) in quantities.chunks_mut(4).enumerate() {
        for (quantity, word) in quantities.iter_mut().zip(random.block(block as u32)) {
            *quantity = 1 + ((u64::from(word) * u64::from(settings.quantity)) >> 32) as u8;
        }
    }
}

/// The product of a row by its place in popularity, and the law of its day.
fn product(
    world: &World,
    interests: &Interests,
    words: [u32; 4],
    earlier: &[(u32, u32)],
) -> (u32, u32) {
    let settings = world.settings();
    let word = u64::from(words[1]) | u64::from(words[3]) << 32;
    let mut source = world.source(words[0]);
    if source == Source::Repeat {
        if let Some(last) = earlier.len().checked_sub(1) {
            let which = (u64::from(words[1]) * earlier.len() as u64) >> 32;
            return earlier[(which as usize).min(last)];
        }
        // There is nothing to repeat yet: the source of a row that repeats nothing.
        let shares = 1.0 - settings.repeat;
        let rest = f64::from(words[0]) / settings.repeat.max(f64::MIN_POSITIVE);
        source = if shares > 0.0 {
            let at = settings.repeat * (1_u64 << 32) as f64 + rest * shares;
            world.source(at.min(f64::from(u32::MAX)) as u32)
        } else {
            Source::Popularity
        };
    }
    match source {
        Source::Interest { late, slot } => {
            let of = if late {
                &interests.late
            } else {
                &interests.early
            };
            let factor = of[slot as usize];
            let member = draw(world.products_of(Some(factor)), word);
            let place = settings.department(factor) + member * settings.departments;
            (place, factor + u32::from(late) * settings.rank)
        }
        Source::Popularity | Source::Repeat => (draw(world.products_of(None), word), NO_LAW),
    }
}

/// A short table needs but one word: what is left of it after the slot is fine enough to be the coin.
fn one_word(word: u32, slots: &[Noise]) -> u64 {
    let coin = (u64::from(word) * slots.len() as u64) as u32;
    u64::from(word) | u64::from(coin) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Settings;
    use crate::generate::settings::tests::small;
    use crate::generate::world::Totals;

    fn all(settings: &Settings, part_rows: u64) -> Rows {
        let world = World::new(settings.clone());
        let activity = Activity::new(settings, part_rows);
        let (mut rows, mut order, mut sum) = (Rows::default(), Order::default(), Rows::default());
        for part in 0..activity.parts() {
            rows.fill(&world, &activity, part, &mut order);
            assert!(rows.days.is_sorted());
            sum.users.extend(&rows.users);
            sum.products.extend(&rows.products);
            sum.days.extend(&rows.days);
            sum.quantities.extend(&rows.quantities);
        }
        sum
    }

    /// Rows as a set: parts change their order, not them.
    fn sorted(rows: &Rows) -> Vec<(u32, u32, u16, u8)> {
        let beside = rows.days.iter().zip(&rows.quantities);
        let ids = rows.users.iter().zip(&rows.products);
        let mut all: Vec<_> = ids
            .zip(beside)
            .map(|((u, p), (d, q))| (*u, *p, *d, *q))
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn parts_and_threads_change_no_row() {
        let settings = small();
        let whole = all(&settings, 1 << 20);
        assert_eq!(whole.users.len(), 5000);
        assert!(
            whole
                .quantities
                .iter()
                .all(|quantity| (1..=3).contains(quantity))
        );
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        for part_rows in [1, 300, 2000] {
            let cut = pool.install(|| all(&settings, part_rows));
            assert_eq!(sorted(&cut), sorted(&whole));
        }
        let other = Settings {
            seed: 12,
            ..settings
        };
        assert_ne!(sorted(&all(&other, 1 << 20)), sorted(&whole));
    }

    /// The formula of the module, cell by cell in f64, against what is drawn: chi-square over users, products and weeks.
    fn fits(settings: &Settings) {
        let world = World::new(settings.clone());
        let activity = Activity::new(settings, 1 << 40);
        let rows = all(settings, 1 << 40);
        let (shares, factors) = world.product_truth(0..settings.products, &Totals::of(settings));
        let (early, late) = (world.day_truth(false), world.day_truth(true));
        let rank = settings.rank as usize;
        let weeks = settings.days as usize / 7;
        let weeks_of = |laws: &[f32], factor: usize, week: usize| -> f64 {
            let days = week * 7..week * 7 + 7;
            days.map(|day| f64::from(laws[day * rank + factor])).sum()
        };
        let place_of: std::collections::BTreeMap<u32, usize> = (0..settings.products)
            .map(|place| (world.product_id(place), place as usize))
            .collect();
        let weights: Vec<f64> = (0..settings.interests)
            .map(|i| 1.0 / f64::from(i + 1))
            .collect();
        let total: f64 = weights.iter().sum();
        let (mut statistic, mut cells) = (0.0, 0);
        for (user, count) in activity.counts(0) {
            let interests = Interests::of(settings, user);
            let mut expected = vec![0.0; settings.products as usize * weeks];
            let phases = [
                (&interests.early, &early, 1.0 - world.late_share()),
                (&interests.late, &late, world.late_share()),
            ];
            for place in 0..settings.products as usize {
                for week in 0..weeks {
                    let mut share = settings.popularity * shares[place] / weeks as f64;
                    for (of, laws, phase) in &phases {
                        for (factor, weight) in of.iter().zip(&weights) {
                            let factor = *factor as usize;
                            share += (1.0 - settings.popularity) * phase * weight / total
                                * f64::from(factors[place * rank + factor])
                                * weeks_of(laws, factor, week);
                        }
                    }
                    expected[place * weeks + week] = share * count as f64;
                }
            }
            let sum: f64 = expected.iter().sum();
            assert!((sum / count as f64 - 1.0).abs() < 1e-5, "{sum} of {count}");
            let mut seen = vec![0.0; expected.len()];
            let id = world.user_id(user);
            for row in (0..rows.users.len()).filter(|row| rows.users[*row] == id) {
                seen[place_of[&rows.products[row]] * weeks + rows.days[row] as usize / 7] += 1.0;
            }
            for (seen, expected) in seen.iter().zip(&expected) {
                if *expected >= 5.0 {
                    statistic += (seen - expected).powi(2) / expected;
                    cells += 1;
                }
            }
        }
        // Mean 1 a cell with variance 2; repeats make rows alike, and the figure larger.
        let mean = statistic / f64::from(cells);
        let spread = (2.0 / f64::from(cells)).sqrt();
        assert!(
            cells > 300 && (mean - 1.0).abs() < 5.0 * spread,
            "{mean} over {cells} cells"
        );
    }

    #[test]
    fn rows_follow_the_formula() {
        let plain = Settings {
            users: 12,
            products: 18,
            interactions: 60_000,
            contrast: 0.8,
            season: 0.0,
            drift: 0.0,
            repeat: 0.0,
            ..small()
        };
        fits(&plain);
        fits(&Settings {
            season: 1.5,
            ..plain.clone()
        });
        fits(&Settings {
            drift: 1.0,
            season: 0.7,
            ..plain.clone()
        });
        fits(&Settings {
            popularity: 1.0,
            ..plain.clone()
        });
        fits(&Settings {
            popularity: 0.0,
            interests: 1,
            departments: 1,
            ..plain
        });
    }

    #[test]
    fn repeats_concentrate_a_user_on_few_products() {
        let distinct = |repeat: f64| {
            let settings = Settings {
                users: 20,
                products: 5000,
                interactions: 4000,
                contrast: 0.0,
                zipf: 0.0,
                repeat,
                ..small()
            };
            let rows = sorted(&all(&settings, 1 << 20));
            let mut pairs: Vec<(u32, u32)> = rows.iter().map(|row| (row.0, row.1)).collect();
            pairs.dedup();
            pairs.len()
        };
        // Of 4,000 rows a tenth, or nearly all, name something new.
        assert!((300..500).contains(&distinct(0.9)), "{}", distinct(0.9));
        assert!(distinct(0.0) > 3400, "{}", distinct(0.0));
        assert_eq!(distinct(1.0), 20);
    }
}
