//! A reason of a recommendation as it travels from the task that finds it to the file that holds it.

/// What one past product of the user contributes to the score of a recommended one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Explained {
    /// The user's row id.
    pub user: u32,
    /// The rank of the recommendation, from 1.
    pub rank: u32,
    /// The recommended product's row id.
    pub product: u32,
    /// The past product's row id.
    pub because: u32,
    /// The place of the reason among those of the recommendation, from 1.
    pub place: u32,
    /// The score of the recommendation.
    pub score: f32,
    /// What the past product contributes to it.
    pub contribution: f64,
    /// What all past products contribute together.
    pub purchases: f64,
    /// What the score has from elsewhere: the score less that.
    pub rest: f64,
}

impl Explained {
    /// Bytes of a row of an object.
    pub const ROW_BYTES: usize = 48;

    /// As a row, little-endian.
    pub fn to_row(self) -> [u8; Self::ROW_BYTES] {
        let mut row = [0; Self::ROW_BYTES];
        let words = [
            self.user,
            self.rank,
            self.product,
            self.because,
            self.place,
            self.score.to_bits(),
        ];
        for (place, word) in row.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let numbers = [self.contribution, self.purchases, self.rest];
        for (place, number) in row[24..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        row
    }

    /// From a row.
    pub fn from_row(row: [u8; Self::ROW_BYTES]) -> Self {
        let (words, numbers) = row.split_at(24);
        let word = |place: usize| words.as_chunks().0[place];
        let number = |place: usize| f64::from_le_bytes(numbers.as_chunks().0[place]);
        Explained {
            user: u32::from_le_bytes(word(0)),
            rank: u32::from_le_bytes(word(1)),
            product: u32::from_le_bytes(word(2)),
            because: u32::from_le_bytes(word(3)),
            place: u32::from_le_bytes(word(4)),
            score: f32::from_le_bytes(word(5)),
            contribution: number(0),
            purchases: number(1),
            rest: number(2),
        }
    }

    /// All rows of an object; a last one that is cut is left out.
    pub fn rows(object: &[u8]) -> impl Iterator<Item = Self> + '_ {
        object.as_chunks().0.iter().map(|row| Self::from_row(*row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_both_ways() {
        let rows = [1_u32, 2, 3].map(|user| Explained {
            user,
            rank: 7,
            product: u32::MAX,
            because: 11 + user,
            place: 2,
            score: -0.5,
            contribution: 1e-300,
            purchases: -2.25,
            rest: f64::from(user),
        });
        let object: Vec<u8> = rows.iter().flat_map(|row| row.to_row()).collect();
        assert_eq!(Explained::rows(&object).collect::<Vec<_>>(), rows);
        assert_eq!(Explained::rows(&object[..100]).count(), 2);
    }
}
