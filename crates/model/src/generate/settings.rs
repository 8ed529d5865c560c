//! What a world is made of, checked together.

use serde::Serialize;

/// What to generate. Shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Users, those without a purchase included.
    pub users: u32,
    /// Products.
    pub products: u32,
    /// Days.
    pub days: u32,
    /// Rows: exactly so many.
    pub interactions: u64,
    /// Planted factors.
    pub rank: u32,
    /// Departments of products, each with factors of its own, and segments of users, each at home in a department.
    pub departments: u32,
    /// Factors that a user is interested in, with weights 1, 1/2, 1/3, ...
    pub interests: u32,
    /// How likely each interest but the first is in the user's own department, beyond chance.
    pub loyalty: f64,
    /// How far apart a factor's products are: the spread of the logarithm of their weights.
    pub contrast: f64,
    /// The share of rows that follow popularity alone.
    pub popularity: f64,
    /// The exponent of Zipf's law of products.
    pub zipf: f64,
    /// The spread of the logarithm of users' rows.
    pub activity: f64,
    /// How sharp the season of a factor is: 0 none, 3 nearly all within a third of the cycle.
    pub season: f64,
    /// The length of the cycle in days.
    pub season_days: u32,
    /// The share of taste that is another one on the last day.
    pub drift: f64,
    /// The share of rows that repeat an earlier row of the user.
    pub repeat: f64,
    /// How much attributes tell: the share of categories that are true, the correlation of numbers with the truth.
    pub attributes: f64,
    /// Edges from a user to others, on average.
    pub friends: u32,
    /// The share of edges that lead to users of the same first interest, beyond chance.
    pub homophily: f64,
    /// Users to whom many lead who have no other edge.
    pub influencers: u32,
    /// How many to each.
    pub followers: u32,
    /// Rows are of 1 up to so many pieces.
    pub quantity: u32,
    /// Of all random numbers.
    pub seed: u64,
}

/// Two settings that cannot hold together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Unfit {
    /// The key of `[generate]` to change.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub sentence: String,
}

impl Settings {
    /// Checks what concerns several settings.
    ///
    /// # Errors
    /// Naming the key and what it contradicts.
    pub fn check(&self) -> Result<(), Unfit> {
        let unfit = |key, sentence| Err(Unfit { key, sentence });
        if self.departments > self.rank {
            let sentence = format!(
                "{} departments need a factor each, and `rank` is {}: give fewer departments or a higher rank",
                self.departments, self.rank
            );
            return unfit("departments", sentence);
        }
        if self.departments > self.products {
            let sentence = format!(
                "{} departments need a product each, and there are {}: give fewer departments or more products",
                self.departments, self.products
            );
            return unfit("departments", sentence);
        }
        let reserved = u64::from(self.influencers) * (1 + u64::from(self.followers));
        if reserved >= u64::from(self.users) && reserved > 0 {
            let sentence = format!(
                "{} influencers with {} followers each leave nobody of {} users: give fewer of them or more users",
                self.influencers, self.followers, self.users
            );
            return unfit("influencers", sentence);
        }
        Ok(())
    }

    /// Users who are neither influencers nor their followers begin here.
    pub(crate) fn ordinary_from(&self) -> u32 {
        self.influencers * (1 + self.followers)
    }

    /// The department of a factor, and of a product by its place in popularity.
    pub(crate) fn department(&self, index: u32) -> u32 {
        index % self.departments
    }

    /// How many of `of` are of a department.
    pub(crate) fn members(&self, department: u32, of: u32) -> u32 {
        (of + self.departments - 1 - department) / self.departments
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn small() -> Settings {
        Settings {
            users: 60,
            products: 40,
            days: 28,
            interactions: 5000,
            rank: 6,
            departments: 3,
            interests: 3,
            loyalty: 0.7,
            contrast: 1.5,
            popularity: 0.2,
            zipf: 0.8,
            activity: 0.5,
            season: 1.5,
            season_days: 14,
            drift: 0.6,
            repeat: 0.2,
            attributes: 0.8,
            friends: 4,
            homophily: 0.8,
            influencers: 2,
            followers: 5,
            quantity: 3,
            seed: 11,
        }
    }

    #[test]
    fn contradictions_name_their_key() {
        let check = |settings: Settings| settings.check().unwrap_err().key;
        assert_eq!(small().check(), Ok(()));
        let many = Settings {
            departments: 7,
            ..small()
        };
        assert_eq!(check(many), "departments");
        let few = Settings {
            products: 2,
            ..small()
        };
        assert_eq!(check(few), "departments");
        let followed = Settings {
            followers: 29,
            ..small()
        };
        assert_eq!(check(followed), "influencers");
    }

    #[test]
    fn members_are_counted() {
        let settings = small();
        for of in 1..20 {
            let counted: Vec<u32> = (0..3)
                .map(|department| (0..of).filter(|i| i % 3 == department).count() as u32)
                .collect();
            let told: Vec<u32> = (0..3).map(|d| settings.members(d, of)).collect();
            assert_eq!(told, counted);
        }
    }
}
