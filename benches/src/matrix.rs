//! The matrix that all speed figures of factorization speak of: Zipf products, log-normal users, the same bits for
//! the same sizes on every machine that rounds `exp`, `ln`, `cos` and `powf` alike.

use std::io::{self, Write};

/// Interactions by row, columns rising within a row.
pub struct Matrix {
    /// Columns.
    pub columns: usize,
    /// Row i owns the positions `offsets[i] .. offsets[i + 1]`.
    pub offsets: Vec<usize>,
    /// Column ids.
    pub ids: Vec<u32>,
    /// Values 1 to 4.
    pub values: Vec<f32>,
}

impl Matrix {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Users by rows: log-normal counts (σ = 1) around the mean, products by Zipf's law of exponent 0.8 with its
    /// head flattened by ten, repeated draws of a product merged (so some 3 % fewer interactions than asked for).
    pub fn generate(users: usize, products: usize, interactions: usize) -> Self {
        let mut state = 7;
        let mut cumulative = Vec::with_capacity(products);
        let mut total = 0.0;
        for product in 0..products {
            total += 1.0 / ((product + 10) as f64).powf(0.8);
            cumulative.push(total);
        }
        let location = (interactions as f64 / users as f64).ln() - 0.5;
        let (mut offsets, mut ids, mut values) = (vec![0], Vec::new(), Vec::new());
        let mut row = Vec::new();
        for _ in 0..users {
            let radius = (-2.0 * uniform(&mut state).max(1e-12).ln()).sqrt();
            let normal = radius * (std::f64::consts::TAU * uniform(&mut state)).cos();
            let count = ((location + normal).exp() as usize).clamp(1, products / 4);
            row.clear();
            row.extend((0..count).map(|_| {
                let place = uniform(&mut state) * total;
                cumulative
                    .partition_point(|&sum| sum < place)
                    .min(products - 1) as u32
            }));
            row.sort_unstable();
            row.dedup();
            for &id in &row {
                ids.push(id);
                values.push(1.0 + (next(&mut state) % 4) as f32);
            }
            offsets.push(ids.len());
        }
        Matrix {
            columns: products,
            offsets,
            ids,
            values,
        }
    }

    /// The same interactions with rows and columns renumbered as the engine lays them out: by falling count, dealt in
    /// snake order over so many blocks, block after block. What is read together then lies apart, as it does there.
    #[must_use]
    pub fn dealt(&self, blocks: usize) -> Self {
        let mut popularity = vec![0; self.columns];
        for &id in &self.ids {
            popularity[id as usize] += 1;
        }
        let counts: Vec<usize> = self
            .offsets
            .windows(2)
            .map(|ends| ends[1] - ends[0])
            .collect();
        let (columns, rows) = (deal(&popularity, blocks), deal(&counts, blocks));
        let mut number = vec![0; self.columns];
        for (new, &old) in columns.iter().enumerate() {
            number[old] = new as u32;
        }
        let (mut offsets, mut ids, mut values) = (vec![0], Vec::new(), Vec::new());
        let mut row: Vec<(u32, f32)> = Vec::new();
        for old in rows {
            let range = self.offsets[old]..self.offsets[old + 1];
            let renumbered = self.ids[range.clone()]
                .iter()
                .map(|&id| number[id as usize]);
            row.clear();
            row.extend(renumbered.zip(self.values[range].iter().copied()));
            row.sort_unstable_by_key(|&(id, _)| id);
            ids.extend(row.iter().map(|&(id, _)| id));
            values.extend(row.iter().map(|&(_, value)| value));
            offsets.push(ids.len());
        }
        Matrix {
            columns: self.columns,
            offsets,
            ids,
            values,
        }
    }

    /// The other orientation.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let mut offsets = vec![0; self.columns + 1];
        for &id in &self.ids {
            offsets[id as usize + 1] += 1;
        }
        for column in 0..self.columns {
            offsets[column + 1] += offsets[column];
        }
        let mut place = offsets.clone();
        let (mut ids, mut values) = (vec![0; self.ids.len()], vec![0.0; self.ids.len()]);
        for row in 0..self.rows() {
            for position in self.offsets[row]..self.offsets[row + 1] {
                let at = &mut place[self.ids[position] as usize];
                ids[*at] = row as u32;
                values[*at] = self.values[position];
                *at += 1;
            }
        }
        Matrix {
            columns: self.rows(),
            offsets,
            ids,
            values,
        }
    }

    /// Rows, columns, interactions and offsets as u64, ids as u32, values as f32, little-endian: what the peers read.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        for number in [self.rows(), self.columns, self.ids.len()]
            .iter()
            .chain(&self.offsets)
        {
            to.write_all(&(*number as u64).to_le_bytes())?;
        }
        for id in &self.ids {
            to.write_all(&id.to_le_bytes())?;
        }
        for value in &self.values {
            to.write_all(&value.to_le_bytes())?;
        }
        Ok(())
    }
}

/// The old numbers in their new order: by falling count, dealt in snake order over blocks.
fn deal(counts: &[usize], blocks: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&old| std::cmp::Reverse(counts[old]));
    let mut dealt = vec![Vec::new(); blocks];
    for (place, old) in order.into_iter().enumerate() {
        let (round, seat) = (place / blocks, place % blocks);
        let block = if round % 2 == 0 {
            seat
        } else {
            blocks - 1 - seat
        };
        dealt[block].push(old);
    }
    dealt.concat()
}

/// `SplitMix64`.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Uniform on [0, 1).
pub fn uniform(state: &mut u64) -> f64 {
    (next(state) >> 11) as f64 / (1_u64 << 53) as f64
}
