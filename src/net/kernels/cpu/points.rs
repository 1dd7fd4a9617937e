//! Channels at the points of [`winograd`](crate::net::kernels::winograd), as the 3x3x3 convolutions read them.
//!
//! A channel is one line for each point, as [`grid`](super::grid) has it, of the planes of its tiles one after the other. Along z no
//! border is needed: a tile holds what it reads of its neighbours.

use super::grid::{Extent, Grid};
use super::norm::Maps;
use super::shared::scratch;
use crate::net::kernels::winograd::{POINTS, TILE};

/// How the channels of one extent lie in their lines.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    extent: Extent,
    /// The planes of the tiles.
    pub(super) grid: Grid,
    /// The distance of neighbouring channels.
    pub(super) channel: usize,
}

/// What is brought to the points.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    /// What a convolution reads: `B^T` of a tile and its two neighbours.
    Input,
    /// The gradient of what it wrote: `A` of a tile.
    Gradient,
}

impl Lines {
    pub(super) fn new(extent: Extent) -> Self {
        let [d, h, w] = extent;
        let grid = Grid::new([d.div_ceil(TILE), h, w], 0);
        Self {
            extent,
            grid,
            channel: POINTS * grid.line,
        }
    }

    /// Voxels of a channel.
    pub(super) fn volume(&self) -> usize {
        self.extent.iter().product()
    }

    /// Offset of each tap along y and x, y slowest, from the position it is summed for.
    pub(super) fn taps(&self) -> [isize; 9] {
        std::array::from_fn(|i| {
            let [y, x] = [i / 3, i % 3].map(|k| k as isize - 1);
            y * self.grid.pitch as isize + x
        })
    }

    /// Brings channels of a sample to the points, each normalised first if asked.
    pub(super) fn fill(
        &self,
        source: Maps<'_>,
        sample: usize,
        folded: Option<&[f32]>,
        side: Side,
        lines: &mut [f32],
    ) {
        let [d, h, w] = self.extent;
        let voxels = h * w;
        // Planes that a tile reads, of them before its own, and such that the next tile reads too.
        let (reads, before, shared) = match side {
            Side::Input => (POINTS, 1, POINTS - TILE),
            Side::Gradient => (TILE, 0, 0),
        };
        super::for_each_chunk(lines, self.channel, |c, to| {
            let line = self.grid.line;
            to.chunks_exact_mut(line).for_each(|line| self.grid.border(line));
            let folded = folded.map(|f| (f[c], f[source.count + c]));
            let source = source.line(sample, c);
            scratch(reads * voxels, |planes| {
                for tile in 0..d.div_ceil(TILE) {
                    let mut known = 0;
                    if tile > 0 {
                        planes.copy_within(TILE * voxels.., 0);
                        known = shared;
                    }
                    for (k, plane) in planes.chunks_exact_mut(voxels).enumerate().skip(known) {
                        match (tile * TILE + k).checked_sub(before).filter(|z| *z < d) {
                            Some(z) => super::norm::load(&source[z * voxels..][..voxels], folded, plane),
                            None => plane.fill(0.0),
                        }
                    }
                    for y in 0..h {
                        let start = self.grid.row(tile, y);
                        let mut points = to[start..].chunks_mut(line).map(|line| &mut line[..w]);
                        let points = std::array::from_fn(|_| points.next().unwrap_or_default());
                        let row = |z: usize| &planes[z * voxels + y * w..][..w];
                        match side {
                            Side::Input => input(std::array::from_fn(row), points),
                            Side::Gradient => gradient(std::array::from_fn(row), points),
                        }
                    }
                }
            });
        });
    }

    /// The voxels at `count` positions from `from` after the first on, as runs within a row of one of a tile's planes: `(plane, place among
    /// the positions, voxel, length)`.
    pub(super) fn runs(
        &self,
        from: usize,
        count: usize,
    ) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let [d, h, w] = self.extent;
        let rows = self.grid.runs(from, count);
        rows.flat_map(move |(place, [tile, y, x], run)| {
            let planes = TILE.min(d - tile * TILE);
            (0..planes).map(move |k| (k, place, ((tile * TILE + k) * h + y) * w + x, run))
        })
    }
}

/// `B^T` of a row of tiles: the voxels before them, their four and those behind them, `[voxel][x]`.
#[inline(always)]
fn input(rows: [&[f32]; POINTS], [p0, p1, p2, p3, p4, p5]: [&mut [f32]; POINTS]) {
    let n = p0.len();
    let [x0, x1, x2, x3, x4, x5] = rows.map(|row| &row[..n]);
    let [p1, p2, p3, p4, p5] = [p1, p2, p3, p4, p5].map(|p| &mut p[..n]);
    for i in 0..n {
        let [x0, x1, x2, x3, x4, x5] = [x0[i], x1[i], x2[i], x3[i], x4[i], x5[i]];
        p0[i] = 4.0 * x0 - 5.0 * x2 + x4;
        let (even, odd) = (x4 - 4.0 * x2, x3 - 4.0 * x1);
        (p1[i], p2[i]) = (even + odd, even - odd);
        let (even, odd) = (x4 - x2, 2.0 * (x3 - x1));
        (p3[i], p4[i]) = (even + odd, even - odd);
        p5[i] = 4.0 * x1 - 5.0 * x3 + x5;
    }
}

/// `A` of a row of tiles' four voxels, `[voxel][x]`.
#[inline(always)]
fn gradient(rows: [&[f32]; TILE], [p0, p1, p2, p3, p4, p5]: [&mut [f32]; POINTS]) {
    let n = p0.len();
    let [g0, g1, g2, g3] = rows.map(|row| &row[..n]);
    let [p1, p2, p3, p4, p5] = [p1, p2, p3, p4, p5].map(|p| &mut p[..n]);
    for i in 0..n {
        let [g0, g1, g2, g3] = [g0[i], g1[i], g2[i], g3[i]];
        p0[i] = g0;
        let (even, odd) = (g0 + g2, g1 + g3);
        (p1[i], p2[i]) = (even + odd, even - odd);
        let (even, odd) = (g0 + 4.0 * g2, 2.0 * g1 + 8.0 * g3);
        (p3[i], p4[i]) = (even + odd, even - odd);
        p5[i] = g3;
    }
}

/// `A^T` of sums at the points, `[point][position]`, to the four voxels of each position, `[voxel][position]`.
#[inline(always)]
pub(super) fn output(sums: [&[f32]; POINTS], [y0, y1, y2, y3]: [&mut [f32]; TILE]) {
    let n = y0.len();
    let [m0, m1, m2, m3, m4, m5] = sums.map(|m| &m[..n]);
    let [y1, y2, y3] = [y1, y2, y3].map(|y| &mut y[..n]);
    for i in 0..n {
        let (even, odd) = (m1[i] + m2[i], m1[i] - m2[i]);
        let (even2, odd2) = (m3[i] + m4[i], m3[i] - m4[i]);
        y0[i] = m0[i] + even + even2;
        y1[i] = odd + 2.0 * odd2;
        y2[i] = even + 4.0 * even2;
        y3[i] = odd + 8.0 * odd2 + m5[i];
    }
}
