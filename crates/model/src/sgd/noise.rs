//! From what negatives are drawn: the products of a block in proportion to a power of their counts, in constant time
//! by an alias table (Walker, 1977; Vose, 1991). A product without interactions is never drawn.

use bytemuck::{Pod, Zeroable};

/// A slot of an alias table: the slot's own product below the limit, the other from it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Noise {
    /// Of 2^32.
    pub limit: u32,
    /// The other product.
    pub other: u32,
}

/// The weight of a product: its count to a power, 0 where it has none.
pub fn weight(count: f64, power: f64) -> f64 {
    if count <= 0.0 {
        return 0.0;
    }
    let logarithm = kernels::random::ln(count);
    f64::from(kernels::losses::exp((power * logarithm) as f32))
}

/// The table of weights; all zeros where no weight is above 0.
pub fn table(weights: &[f64]) -> Vec<Noise> {
    let total: f64 = weights.iter().sum();
    let mut slots: Vec<Noise> = (0..weights.len() as u32)
        .map(|other| Noise { limit: 0, other })
        .collect();
    if total <= 0.0 {
        return slots;
    }
    let mut left: Vec<f64> = weights
        .iter()
        .map(|weight| weight * weights.len() as f64 / total)
        .collect();
    let (mut small, mut large): (Vec<u32>, Vec<u32>) =
        (0..slots.len() as u32).partition(|&at| left[at as usize] < 1.0);
    while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
        small.pop();
        slots[poor as usize] = Noise {
            limit: (left[poor as usize] * (1_u64 << 32) as f64) as u32,
            other: rich,
        };
        left[rich as usize] -= 1.0 - left[poor as usize];
        if left[rich as usize] < 1.0 {
            large.pop();
            small.push(rich);
        }
    }
    // What rounding left over is whole, but for products that must not be drawn.
    let heaviest = (0..slots.len() as u32)
        .reduce(|best, at| {
            if weights[at as usize] > weights[best as usize] {
                at
            } else {
                best
            }
        })
        .unwrap_or(0);
    for at in small.into_iter().chain(large) {
        slots[at as usize] = if weights[at as usize] > 0.0 {
            Noise {
                limit: u32::MAX,
                other: at,
            }
        } else {
            Noise {
                limit: 0,
                other: heaviest,
            }
        };
    }
    slots
}

/// The product that 64 random bits draw.
pub fn draw(slots: &[Noise], word: u64) -> u32 {
    let slot = (((word & 0xFFFF_FFFF) * slots.len() as u64) >> 32) as u32;
    let noise = slots[slot as usize];
    if ((word >> 32) as u32) < noise.limit {
        slot
    } else {
        noise.other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Random;

    #[test]
    fn weights_are_powers() {
        for count in [1.0_f64, 2.0, 7.0, 1000.0, 123_456_789.0] {
            let exact = count.powf(0.75);
            assert!((weight(count, 0.75) - exact).abs() < 1e-5 * exact);
            assert_eq!(weight(count, 0.0), 1.0);
        }
        assert_eq!(weight(0.0, 0.0), 0.0);
    }

    #[test]
    fn draws_follow_the_weights_and_spare_products_without() {
        let weights: Vec<f64> = (0..50)
            .map(|i| {
                if i % 7 == 3 {
                    0.0
                } else {
                    f64::from(1 + i * i)
                }
            })
            .collect();
        let (slots, total) = (table(&weights), weights.iter().sum::<f64>());
        let mut counts = vec![0_u32; weights.len()];
        let draws = 400_000;
        for at in 0..draws {
            counts[draw(&slots, Random::new(3, 1, 0, at).word_64(0)) as usize] += 1;
        }
        for (weight, count) in weights.iter().zip(counts) {
            let expected = weight / total * f64::from(draws);
            let spread = 5.0 * expected.sqrt() + 1e-9;
            assert!(
                (f64::from(count) - expected).abs() <= spread,
                "{count}, not {expected}"
            );
        }
    }

    #[test]
    fn tables_of_nothing_and_of_one_are_legal() {
        assert_eq!(table(&[]), []);
        assert_eq!(table(&[0.0, 0.0]).len(), 2);
        let one = table(&[0.0, 2.0, 0.0]);
        for word in [0, u64::MAX, 0x8000_0000, u64::MAX << 32] {
            assert_eq!(draw(&one, word), 1);
        }
    }
}
