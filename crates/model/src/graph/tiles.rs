//! A block's interactions by ranges of columns: what of a product X is read once for many rows.
//!
//! A block of few rows names each row of X about once, and so reads all of X from memory. Blocks that are multiplied together, range by
//! range, find the rows of X in the third-level cache: 20 M interactions with rows of 64 floats out of 51 MB take half of the time. For
//! that, a range's ids have to lie together, in 16 bits from the range's base: walked along row by row instead, each row's next ids are
//! another cache line from memory, and all is lost again.
//!
//! Within a row the order stays that of its interactions, so the bits are those of [`super::product`].

use super::ops::Edges;
use super::product::weights_of;
use bytemuck::{cast_slice, cast_slice_mut};
use kernels::{LINE, Lines, Rows, Simd, Weights, spmm};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use tensor::{CsrRef, Grid};

/// Ids that 16 bits tell apart.
const IDS: u64 = 1 << 16;

/// Interactions of the rows that a thread takes at a time, at least.
const SHARE: u64 = 1 << 14;

/// What a third-level cache is taken to hold. It decides about speed alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// Bytes of X that lie in it anyway.
    pub table_bytes: u64,
    /// Bytes of X that are read together.
    pub range_bytes: u64,
    /// Bytes of sums that are made together.
    pub sums_bytes: u64,
    /// How often the blocks of a task name each row of X at least, for ranges to pay.
    pub uses: u64,
}

impl Default for Caches {
    fn default() -> Self {
        Caches {
            table_bytes: 16 << 20,
            range_bytes: 4 << 20,
            sums_bytes: 4 << 20,
            uses: 4,
        }
    }
}

/// Tasks that a product is left in at least, for as many workers.
const LEAST_TASKS: u32 = 4;

impl Caches {
    /// How many blocks are multiplied together by ranges; none where X lies in a cache anyway, or is so long that its rows are named a
    /// few times only.
    pub fn together(
        self,
        rows: &Grid,
        others: &Grid,
        interactions: u64,
        width: usize,
    ) -> Option<u32> {
        let bytes = |rows: u64| rows * 4 * width as u64;
        let blocks = rows.blocks();
        if bytes(others.rows_total()) <= self.table_bytes || blocks == 0 {
            return None;
        }
        let block = bytes(rows.rows_total().div_ceil(u64::from(blocks)));
        let most = u64::from(blocks.div_ceil(LEAST_TASKS));
        let together = (self.sums_bytes / block.max(1)).clamp(1, most);
        let uses = interactions / u64::from(blocks) * together;
        (uses >= self.uses * others.rows_total()).then_some(together as u32)
    }

    /// Rows of X that are read together.
    pub fn range_rows(self, width: usize) -> u32 {
        (self.range_bytes / (4 * width as u64)).clamp(1, IDS) as u32
    }
}

/// Ids of consecutive rows of X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub base: u32,
    /// One more than the last.
    pub end: u64,
}

/// The ranges that a table is read in: some whole blocks, or a part of one.
///
/// # Panics
/// Where a range is to have more rows than 16 bits tell apart.
pub fn spans(grid: &Grid, range_rows: u32) -> Vec<Span> {
    let most = u64::from(range_rows);
    assert!((1..=IDS).contains(&most), "ranges of {most} rows");
    let mut spans: Vec<Span> = Vec::new();
    let mut room = 0;
    for (block, &rows) in grid.rows.iter().enumerate() {
        let start = (block as u64) << grid.stride_log2;
        let (mut next, end) = (start, start + u64::from(rows));
        if let Some(last) = spans.last_mut()
            && end - next <= room
            && end - u64::from(last.base) <= IDS
        {
            room -= end - next;
            last.end = end;
            continue;
        }
        while next < end {
            let taken = (end - next).min(most);
            spans.push(Span {
                base: next as u32,
                end: next + taken,
            });
            // The last part of a block that was cut stays alone.
            room = if next == start { most - taken } else { 0 };
            next += taken;
        }
    }
    spans
}

impl Span {
    /// The blocks that it touches, and of each the rows by their place in it.
    pub fn blocks(self, grid: &Grid) -> impl Iterator<Item = (usize, Range<u64>)> {
        let (stride, base) = (1 << grid.stride_log2, u64::from(self.base));
        let rows = &grid.rows;
        (base / stride..self.end.div_ceil(stride)).map(move |block| {
            let start = block * stride;
            let end = start + u64::from(rows[block as usize]);
            (
                block as usize,
                base.max(start) - start..self.end.min(end) - start,
            )
        })
    }
}

/// The place of a line of a row in a range. A row of more than [`LINE`] interactions is cut at each line's end, and the lines' sums
/// are added in f64.
struct Segment {
    row: u32,
    count: u32,
    closes: bool,
}

/// A block's interactions by ranges, as words of 32 bits: numbers of shares of its rows and of ranges; what interactions
/// without values weigh; the first row of each share, and
/// the rows; where each cell begins (a share's range, all ranges of a share one after the other), and the end. A cell: numbers of
/// segments, interactions and closes; the bounds of segments; their rows within the share; the closes, as segments after which a line
/// ends; ids, two a word; values, where interactions weigh them.
#[derive(Clone, Copy)]
pub struct Tiles<'a> {
    words: &'a [u32],
}

/// A cell, open.
struct Cell<'a> {
    bounds: &'a [u32],
    rows: &'a [u32],
    closes: &'a [u32],
    ids: &'a [u16],
    weights: Weights<'a>,
}

/// Interactions of one value have no values of their own.
fn has_values(edges: Edges, csr: CsrRef<'_>) -> bool {
    matches!(weights_of(edges, csr.values()), Weights::Each(_))
}

/// The first row of each share, and the number of rows.
fn cuts(csr: CsrRef<'_>) -> Vec<u32> {
    let (mut cuts, mut count) = (vec![0], 0);
    for row in 0..csr.rows() {
        if count >= SHARE {
            cuts.push(row as u32);
            count = 0;
        }
        count += csr.row_count(row);
    }
    cuts.push(csr.rows() as u32);
    cuts
}

/// Words of a cell.
fn cell_words([segments, interactions, closes]: [u32; 3], values: bool) -> usize {
    let ids = interactions.div_ceil(2);
    let values = if values { interactions } else { 0 };
    4 + 2 * segments as usize + closes as usize + ids as usize + values as usize
}

/// Walks a row through the ranges: `each` gets the range, the positions and whether a line ends.
fn walk_row(
    csr: CsrRef<'_>,
    row: usize,
    spans: &[Span],
    mut each: impl FnMut(usize, Range<usize>, bool),
) {
    let (positions, ids) = (csr.row(row), csr.columns());
    let is_long = positions.len() > LINE;
    let (mut next, mut span) = (positions.start, 0);
    while next < positions.end {
        let id = u64::from(ids[next]);
        span += spans[span..].partition_point(|span| span.end <= id);
        let limit = spans.get(span).map_or(0, |span| span.end);
        assert!(id < limit, "a row of the other table");
        let line = positions.start + (next - positions.start + LINE) / LINE * LINE;
        let most = positions.end.min(line);
        let mut end = next + 1;
        while end < most && u64::from(ids[end]) < limit {
            end += 1;
        }
        each(span, next..end, is_long && end == most);
        next = end;
    }
}

/// The sizes of a block's cells.
pub struct Sizes {
    cuts: Vec<u32>,
    cells: Vec<[u32; 3]>,
    values: bool,
}

impl Sizes {
    /// Counts.
    ///
    /// # Panics
    /// Where the interactions are not all of the block, or one names a row that no range has.
    pub fn count(edges: Edges, csr: CsrRef<'_>, spans: &[Span]) -> Self {
        let cuts = cuts(csr);
        let cells = cuts.par_windows(2).flat_map_iter(|ends| {
            let mut cells = vec![[0; 3]; spans.len()];
            for row in ends[0]..ends[1] {
                walk_row(csr, row as usize, spans, |span, positions, closes| {
                    cells[span][0] += 1;
                    cells[span][1] += positions.len() as u32;
                    cells[span][2] += u32::from(closes);
                });
            }
            cells
        });
        Sizes {
            cells: cells.collect(),
            values: has_values(edges, csr),
            cuts,
        }
    }

    fn head(&self) -> usize {
        // Three numbers, the cuts, the cells' places and their end.
        3 + self.cuts.len() + self.cells.len() + 1
    }

    /// Words that the tiles take.
    pub fn words(&self) -> usize {
        let cells = self.cells.iter().map(|&cell| cell_words(cell, self.values));
        self.head() + cells.sum::<usize>()
    }

    /// Words that the tiles of so many interactions take at most.
    pub fn words_at_most(interactions: u64, rows: u64, spans: u64, values: bool) -> u64 {
        let segments = interactions.min(rows * spans + interactions / LINE as u64);
        let shares = interactions / SHARE + 2;
        let ids = interactions.div_ceil(2) + spans * shares;
        let values = if values { interactions } else { 0 };
        4 + shares * (1 + 5 * spans) + 3 * segments + ids + values
    }

    /// Bytes that whole lines take while ranges are added, at most.
    pub fn long_bytes(interactions: u64, width: usize) -> u64 {
        interactions / LINE as u64 * 8 * width as u64
    }

    /// Writes the tiles.
    ///
    /// # Panics
    /// Where the interactions are not those that were counted, or `words` is not as long as they need.
    pub fn fill(&self, edges: Edges, csr: CsrRef<'_>, spans: &[Span], words: &mut [u32]) {
        assert_eq!(words.len(), self.words(), "as many words as were counted");
        let (head, mut rest) = words.split_at_mut(self.head());
        head[0] = self.cuts.len() as u32 - 1;
        head[1] = spans.len() as u32;
        head[2] = match weights_of(edges, csr.values()) {
            Weights::All(one) => one.to_bits(),
            Weights::Each(_) => 0,
        };
        head[3..3 + self.cuts.len()].copy_from_slice(&self.cuts);
        let places = &mut head[3 + self.cuts.len()..];
        let mut place = self.head();
        let mut shares = Vec::new();
        for (share, cells) in self.cells.chunks(spans.len().max(1)).enumerate() {
            let mut writers = Vec::new();
            for (span, &cell) in cells.iter().enumerate() {
                places[share * spans.len() + span] = place as u32;
                let len = cell_words(cell, self.values);
                place += len;
                let (words, after) = rest.split_at_mut(len);
                rest = after;
                writers.push(Writer::new(words, cell));
            }
            shares.push((share, writers));
        }
        places[self.cells.len()] = place as u32;
        let weights = weights_of(edges, csr.values());
        shares.into_par_iter().for_each(|(share, mut writers)| {
            let first = self.cuts[share];
            for row in first..self.cuts[share + 1] {
                walk_row(csr, row as usize, spans, |span, positions, closes| {
                    let segment = Segment {
                        row: row - first,
                        count: positions.len() as u32,
                        closes,
                    };
                    let values = match weights {
                        Weights::Each(values) => &values[positions.clone()],
                        Weights::All(_) => &[],
                    };
                    let ids = &csr.columns()[positions];
                    writers[span].push(&segment, spans[span].base, ids, values);
                });
            }
        });
    }
}

/// A cell in the making.
struct Writer<'a> {
    bounds: &'a mut [u32],
    rows: &'a mut [u32],
    closes: &'a mut [u32],
    ids: &'a mut [u16],
    values: &'a mut [f32],
    next: [usize; 3],
}

impl<'a> Writer<'a> {
    fn new(words: &'a mut [u32], sizes: [u32; 3]) -> Self {
        let [segments, interactions, closes] = sizes.map(|size| size as usize);
        let (head, words) = words.split_at_mut(3);
        head.copy_from_slice(&sizes);
        let (bounds, words) = words.split_at_mut(segments + 1);
        let (rows, words) = words.split_at_mut(segments);
        let (closes, words) = words.split_at_mut(closes);
        let (ids, values) = words.split_at_mut(interactions.div_ceil(2));
        bounds[0] = 0;
        Writer {
            bounds,
            rows,
            closes,
            ids: cast_slice_mut(ids),
            values: cast_slice_mut(values),
            next: [0; 3],
        }
    }

    fn push(&mut self, segment: &Segment, base: u32, ids: &[u32], values: &[f32]) {
        let [at, from, close] = self.next;
        let end = from + ids.len();
        self.rows[at] = segment.row;
        self.bounds[at + 1] = self.bounds[at] + segment.count;
        for (to, id) in self.ids[from..end].iter_mut().zip(ids) {
            *to = (id - base) as u16;
        }
        if !values.is_empty() {
            self.values[from..end].copy_from_slice(values);
        }
        if segment.closes {
            self.closes[close] = at as u32;
        }
        self.next = [at + 1, end, close + usize::from(segment.closes)];
    }
}

impl<'a> Tiles<'a> {
    /// Tiles out of their words, if they are of so many rows and ranges.
    pub fn new(words: &'a [u32], rows: usize, spans: usize) -> Option<Self> {
        let tiles = Tiles { words };
        let shares = *words.first()? as usize;
        let sound = *words.get(1)? as usize == spans
            && words.len() > 4 + shares + shares * spans
            && words[3 + shares] as usize == rows
            && words[tiles.head() - 1] as usize == words.len();
        sound.then_some(tiles)
    }

    /// Shares of its rows.
    pub fn shares(&self) -> usize {
        self.words[0] as usize
    }

    fn head(&self) -> usize {
        4 + self.shares() + self.shares() * self.words[1] as usize + 1
    }

    fn rows(&self, share: usize) -> Range<usize> {
        self.words[3 + share] as usize..self.words[4 + share] as usize
    }

    fn cell(&self, share: usize, span: usize) -> Cell<'a> {
        let number = share * self.words[1] as usize + span;
        let places = &self.words[4 + self.shares()..];
        let words = &self.words[places[number] as usize..places[number + 1] as usize];
        let (head, words) = words.split_at(3);
        let [segments, interactions, closes] = [0, 1, 2].map(|at| head[at] as usize);
        let (bounds, words) = words.split_at(segments + 1);
        let (rows, words) = words.split_at(segments);
        let (closes, words) = words.split_at(closes);
        let (ids, values) = words.split_at(interactions.div_ceil(2));
        Cell {
            bounds,
            rows,
            closes,
            ids: &cast_slice(ids)[..interactions],
            weights: if values.is_empty() {
                Weights::All(f32::from_bits(self.words[2]))
            } else {
                Weights::Each(cast_slice(values))
            },
        }
    }
}

/// What a share of rows keeps from one range to the next, beside its sums: the whole lines of rows that have more than one.
pub type Long = BTreeMap<u32, Vec<f64>>;

/// Adds to the rows of blocks, zeros at first, what they have in a range, which come in order. `long` has an entry for each share of
/// each block, empty at first.
///
/// # Panics
/// Where there is not a sum for each row, or an interaction names a row that `others` lacks.
pub fn add_range<'a>(
    simd: Simd,
    others: Rows<'_>,
    (number, base): (usize, u32),
    blocks: impl Iterator<Item = (Tiles<'a>, &'a mut [f32])>,
    long: &mut [Long],
) {
    let width = others.width();
    let mut shares = Vec::new();
    let mut kept = long.iter_mut();
    for (tiles, mut out) in blocks {
        for share in 0..tiles.shares() {
            let (some, rest) = out.split_at_mut(tiles.rows(share).len() * width);
            out = rest;
            let long = kept.next().expect("an entry for each share");
            shares.push((tiles.cell(share, number), some, long));
        }
        assert!(out.is_empty(), "a sum for each row");
    }
    shares.into_par_iter().for_each(|(cell, out, long)| {
        cell.add(simd, others, base, out, long);
    });
}

/// Rows of more than one line are rounded when they are whole.
pub fn close<'a>(
    width: usize,
    blocks: impl Iterator<Item = (Tiles<'a>, &'a mut [f32])>,
    long: Vec<Long>,
) {
    let mut kept = long.into_iter();
    for (tiles, out) in blocks {
        for share in 0..tiles.shares() {
            let first = tiles.rows(share).start;
            for (row, sum) in kept.next().expect("an entry for each share") {
                let out = &mut out[(first + row as usize) * width..][..width];
                for (x, sum) in out.iter_mut().zip(sum) {
                    *x = sum as f32;
                }
            }
        }
    }
}

impl Cell<'_> {
    fn add(&self, simd: Simd, others: Rows<'_>, base: u32, out: &mut [f32], long: &mut Long) {
        let width = others.width();
        let mut first = 0;
        let mut add = |until: usize, out: &mut [f32]| {
            let lines = Lines {
                bounds: &self.bounds[first..=until],
                rows: Some(&self.rows[first..until]),
            };
            spmm(simd, others, (base, self.ids), self.weights, lines, out);
            first = until;
        };
        for &close in self.closes {
            add(close as usize + 1, out);
            let row = self.rows[close as usize];
            let line = &mut out[row as usize * width..][..width];
            let sum = long.entry(row).or_insert_with(|| vec![0.0; width]);
            for (sum, x) in sum.iter_mut().zip(line) {
                *sum += f64::from(*x);
                *x = 0.0;
            }
        }
        add(self.rows.len(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::product::Product;
    use tensor::Small;
    use tensor::csr::Values;

    #[test]
    fn ranges_have_so_many_bytes_and_no_more_ids_than_16_bits() {
        let grid = Grid {
            stride_log2: 20,
            rows: vec![3_000, 0, 1_100, 9_000],
        };
        let block = |number: u32| number << 20;
        let span = |base: u32, end: u32| Span {
            base,
            end: end.into(),
        };
        assert_eq!(Caches::default().range_rows(256), 4_096);
        // The next block's ids are too far off for 16 bits.
        let expected = [
            span(block(0), 3_000),
            span(block(2), block(2) + 1_100),
            span(block(3), block(3) + 4_096),
            span(block(3) + 4_096, block(3) + 8_192),
            span(block(3) + 8_192, block(3) + 9_000),
        ];
        assert_eq!(spans(&grid, 4_096), expected);
        let near = Grid {
            stride_log2: 13,
            rows: vec![3_000, 1_000, 4_000],
        };
        let far = 2 * 8_192 + 4_000;
        assert_eq!(
            spans(&near, 4_096),
            [span(0, 8_192 + 1_000), span(2 * 8_192, far)]
        );
        let touched: Vec<_> = spans(&near, 4_096)[0].blocks(&near).collect();
        assert_eq!(touched, [(0, 0..3_000), (1, 0..1_000)]);
        let touched: Vec<_> = expected[3].blocks(&grid).collect();
        assert_eq!(touched, [(3, 4_096..8_192)]);
        assert_eq!(spans(&near, 1 << 16), [span(0, far)]);
    }

    #[test]
    fn by_ranges_rows_have_the_bits_of_rows_alone() {
        let (width, columns) = (16_usize, 500_u32);
        let table: Vec<f32> = (0..columns * width as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5)
            .collect();
        let table = [&table[..]];
        let others = Rows::contiguous(&table, width);
        // Short rows, none, rows of two and of many lines, with columns that repeat.
        let lengths = [3, 0, 1_024, 1_025, 40, 30_000, 2_048, 1, 7];
        let (mut offsets, mut ids) = (vec![0], Vec::new());
        for length in lengths {
            ids.extend((0..length).map(|i| i * columns / length.max(1)));
            offsets.push(ids.len() as u64);
        }
        let values: Vec<f32> = ids.iter().map(|id| 1.0 + (id % 7) as f32).collect();
        let spans = [(0, 1), (1, 60), (60, 61), (61, 300), (300, 500)]
            .map(|(base, end)| Span { base, end });
        for (edges, values) in [
            (Edges::Binary, Values::Each(&values)),
            (Edges::Values, Values::Each(&values)),
            (Edges::Values, Values::All(2.5)),
        ] {
            let csr = CsrRef::new(&offsets, 0, &ids, Small::default(), values, None).unwrap();
            let size = lengths.len() * width;
            let (mut alone, mut together) = (vec![0.0; size], vec![0.0; size]);
            let simd = Simd::detect();
            Product::new(simd, edges, width).piece(csr, 0, others, &mut alone);
            let sizes = Sizes::count(edges, csr, &spans);
            let mut words = vec![0; sizes.words()];
            sizes.fill(edges, csr, &spans, &mut words);
            let most = Sizes::words_at_most(ids.len() as u64, lengths.len() as u64, 5, true);
            assert!(words.len() as u64 <= most);
            let tiles = Tiles::new(&words, lengths.len(), spans.len()).unwrap();
            assert!(tiles.shares() > 1);
            let mut long = vec![Long::new(); tiles.shares()];
            for (number, span) in spans.iter().enumerate() {
                let blocks = std::iter::once((tiles, &mut together[..]));
                add_range(simd, others, (number, span.base), blocks, &mut long);
            }
            close(width, std::iter::once((tiles, &mut together[..])), long);
            let bits = |rows: &[f32]| rows.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&alone), bits(&together));
        }
        assert!(Tiles::new(&[1, 5, 0, 0, 9], 9, 5).is_none());
    }
}
