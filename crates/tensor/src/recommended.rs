//! A recommendation as it travels from the task that makes it to the file that holds it.

/// One recommendation. Objects of recommendations hold them in the order of users, then ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recommended {
    /// The user's row id.
    pub user: u32,
    /// From 1.
    pub rank: u32,
    /// The product's row id.
    pub product: u32,
    /// The score.
    pub score: f32,
}

impl Recommended {
    /// Bytes of a row of an object.
    pub const ROW_BYTES: usize = 16;

    /// As a row, little-endian.
    pub fn to_row(self) -> [u8; Self::ROW_BYTES] {
        let mut row = [0; Self::ROW_BYTES];
        let words = [self.user, self.rank, self.product, self.score.to_bits()];
        for (place, word) in row.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        row
    }

    /// From a row.
    pub fn from_row(row: [u8; Self::ROW_BYTES]) -> Self {
        let word = |place: usize| {
            u32::from_le_bytes([row[place], row[place + 1], row[place + 2], row[place + 3]])
        };
        Recommended {
            user: word(0),
            rank: word(4),
            product: word(8),
            score: f32::from_bits(word(12)),
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
        let rows = [1_u32, 2, 3].map(|user| Recommended {
            user,
            rank: 7,
            product: u32::MAX,
            score: -0.5,
        });
        let object: Vec<u8> = rows.iter().flat_map(|row| row.to_row()).collect();
        assert_eq!(Recommended::rows(&object).collect::<Vec<_>>(), rows);
        assert_eq!(Recommended::rows(&object[..40]).count(), 2);
    }
}
