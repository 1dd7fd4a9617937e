//! Winograd's minimal filtering along z, by which the 3x3x3 convolutions need half of the multiplications.
//!
//! Four voxels of a column, convolved with three taps, are twelve products directly. With the six values that they depend
//! on as a polynomial's coefficients and its values at 0, 1, -1, 2, -2 and infinity in between, they are six: F(4, 3) of
//! Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, section 4.3. A column is cut into *tiles*
//! of [`TILE`] voxels; a tile has [`POINTS`] values, one at each point, and what is summed over input channels, y and x is
//! summed at each point alone:
//!
//! ```text
//! output = A^T [ sum over channels and (y, x) taps of (G weights) * (B^T input) ]
//! ```
//!
//! The gradient with respect to the input is the same with mirrored weights. That with respect to the weights is the
//! transposed map, `G^T [ sum over tiles of (B^T input) * (A gradient) ]`: again six products for twelve.
//!
//! Along z all of it is sums of whole planes, so that vectors along x stay whole. The other axes stay direct: points along
//! two axes would take three times the memory of the input for a third of the products.

/// Voxels of a row that are computed together.
pub(crate) const TILE: usize = 4;

/// Points at which a tile is evaluated.
pub(crate) const POINTS: usize = 6;

/// From three taps to their values at the points, `[point][tap]`.
pub(crate) const G: [[f32; 3]; POINTS] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// From a tile and the voxel before and after it to values at the points, `[point][voxel]`.
#[cfg(test)]
pub(crate) const B_T: [[f32; POINTS]; POINTS] = [
    [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
    [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
    [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
    [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
    [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
    [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
];

/// From sums at the points to the voxels of a tile, `[voxel][point]`.
#[cfg(test)]
pub(crate) const A_T: [[f32; POINTS]; TILE] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
    [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
    [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
];

/// Three taps at the points.
pub(crate) fn taps(w: [f32; 3]) -> [f32; POINTS] {
    G.map(|g| g[0] * w[0] + g[1] * w[1] + g[2] * w[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrices_make_a_convolution_of_every_unit_tap_and_voxel() {
        for tap in 0..3 {
            let mut w = [0.0; 3];
            w[tap] = 1.0;
            let w = taps(w);
            let pairs = (0..POINTS).flat_map(|voxel| (0..TILE).map(move |out| (voxel, out)));
            for (voxel, out) in pairs {
                let sum: f32 = (0..POINTS).map(|p| A_T[out][p] * w[p] * B_T[p][voxel]).sum();
                let want = if voxel == out + tap { 1.0 } else { 0.0 };
                assert!(
                    (sum - want).abs() < 1e-6,
                    "tap {tap}, voxel {voxel}, output {out}: {sum}"
                );
            }
        }
    }
}
