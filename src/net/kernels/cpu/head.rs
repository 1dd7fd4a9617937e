//! What the head does with maps of twice the side.

use super::grid::Extent;

/// The weighted sum of maps of twice the side, given as eight channels each, `x [sample, 8 map, voxels]` (which of the eight: z, y, x
/// parity, z slowest): `out` is `[sample, 2 z, 2 y, 2 x]`. Through the logistic function if `probabilities`.
pub(crate) fn doubled_sum(x: &[f32], weights: &[f32], small: Extent, probabilities: bool, out: &mut [f32]) {
    let [d, h, w] = small;
    let (voxels, maps) = (d * h * w, weights.len());
    assert_eq!(
        x.len(),
        out.len() * maps,
        "head: {} values for {maps} maps",
        x.len()
    );
    // A plane of each sample at a time.
    super::for_each_chunk(out, 4 * h * w, |plane, out| {
        let (sample, z) = (plane / (2 * d), plane % (2 * d));
        for (y, row) in out.chunks_exact_mut((2 * w).max(1)).enumerate() {
            let first = sample * maps * 8 + (z % 2 * 2 + y % 2) * 2;
            let voxel = (z / 2 * h + y / 2) * w;
            row.fill(0.0);
            for (map, weight) in weights.iter().enumerate() {
                let even = &x[(first + map * 8) * voxels + voxel..][..w];
                let odd = &x[(first + map * 8 + 1) * voxels + voxel..][..w];
                for (pair, (even, odd)) in row.chunks_exact_mut(2).zip(even.iter().zip(odd)) {
                    pair[0] += even * weight;
                    pair[1] += odd * weight;
                }
            }
            if probabilities {
                for value in row {
                    *value = (1.0 + (-*value).exp()).recip();
                }
            }
        }
    });
}
