//! Scratch that begins at a cache line: a vector load that straddles two lines costs two, and panels are loaded in
//! every step of the inner loops.

use bytemuck::{Pod, Zeroable};
use std::ops::{Deref, DerefMut};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Floats, a multiple of 16 of them, from a cache line on.
#[derive(Clone, Default)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// At least `floats` zeros.
    pub fn zeroed(floats: usize) -> Self {
        Lines(vec![Line::zeroed(); floats.div_ceil(16)])
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}
