//! The data movement of the transition up: a 3x3x3 transposed convolution of stride 2.
//!
//! A transposed convolution is a matrix product followed by adding each of the 27 products to its place; the
//! alignment is Keras' 'same': output `2 i + t` receives tap `t` of input `i`, and the last voxel of the full
//! `2 n + 1` is dropped on every axis (method.md 2.1).

use super::points::Extent;

/// `columns` is `[cout, 27, voxels of the small grid]`; the answer is `[cout, 2 z, 2 y, 2 x]`.
pub(crate) fn fold(columns: &[f32], cout: usize, small: Extent, out: &mut [f32]) {
    let [d, h, w] = small;
    let voxels = d * h * w;
    assert_eq!(
        columns.len(),
        cout * 27 * voxels,
        "up2: {} columns for {cout} channels",
        columns.len()
    );
    assert_eq!(
        out.len(),
        cout * 8 * voxels,
        "up2: output of {} values",
        out.len()
    );
    super::for_each_chunk(out, 8 * voxels, |o, out| {
        out.fill(0.0);
        for_each_row(small, |tap, input, output, last| {
            let from = &columns[(o * 27 + tap) * voxels + input..][..w];
            for (x, v) in from[..w - last].iter().enumerate() {
                out[output + 2 * x] += v;
            }
        });
    });
}

/// The adjoint of [`fold`]: `out` is `[cout, 2 z, 2 y, 2 x]`, the answer `[cout, 27, voxels of the small grid]`.
pub(crate) fn unfold(out: &[f32], cout: usize, small: Extent, columns: &mut [f32]) {
    let [d, h, w] = small;
    let voxels = d * h * w;
    assert_eq!(
        columns.len(),
        cout * 27 * voxels,
        "up2: {} columns for {cout} channels",
        columns.len()
    );
    assert_eq!(
        out.len(),
        cout * 8 * voxels,
        "up2: output of {} values",
        out.len()
    );
    super::for_each_chunk(columns, 27 * voxels, |o, columns| {
        columns.fill(0.0);
        let out = &out[o * 8 * voxels..][..8 * voxels];
        for_each_row(small, |tap, input, output, last| {
            let to = &mut columns[tap * voxels + input..][..w];
            for (x, v) in to[..w - last].iter_mut().enumerate() {
                *v = out[output + 2 * x];
            }
        });
    });
}

/// Visits every row of every tap: `(tap, start of the input row, start of the output row, voxels dropped at its end)`.
fn for_each_row(small: Extent, mut visit: impl FnMut(usize, usize, usize, usize)) {
    let [d, h, w] = small;
    for tap in 0..27 {
        let [tz, ty, tx] = [tap / 9, tap / 3 % 3, tap % 3];
        for z in 0..d {
            let oz = 2 * z + tz;
            for y in 0..h {
                let oy = 2 * y + ty;
                if oz < 2 * d && oy < 2 * h {
                    visit(
                        tap,
                        (z * h + y) * w,
                        (oz * 2 * h + oy) * 2 * w + tx,
                        usize::from(tx == 2),
                    );
                }
            }
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tap_lands_where_keras_puts_it() {
        let small = [2, 3, 4];
        let voxels = 24;
        for tap in 0..27 {
            for v in 0..voxels {
                let mut columns = vec![0.0; 27 * voxels];
                columns[tap * voxels + v] = 1.0;
                let mut out = vec![f32::NAN; 8 * voxels];
                fold(&columns, 1, small, &mut out);
                let [z, y, x] = [v / 12, v / 4 % 3, v % 4];
                let at = [2 * z + tap / 9, 2 * y + tap / 3 % 3, 2 * x + tap % 3];
                let inside = at[0] < 4 && at[1] < 6 && at[2] < 8;
                assert_eq!(out.iter().sum::<f32>(), f32::from(u8::from(inside)));
                if inside {
                    assert_eq!(out[(at[0] * 6 + at[1]) * 8 + at[2]], 1.0);
                }
            }
        }
    }

    #[test]
    fn unfold_is_the_adjoint() {
        let small = [2, 3, 4];
        let columns: Vec<f32> = (0..2 * 27 * 24).map(|i| ((i * 37 % 101) as f32) - 50.0).collect();
        let image: Vec<f32> = (0..2 * 8 * 24).map(|i| ((i * 53 % 97) as f32) - 48.0).collect();
        let (mut folded, mut unfolded) = (vec![0.0; image.len()], vec![0.0; columns.len()]);
        fold(&columns, 2, small, &mut folded);
        unfold(&image, 2, small, &mut unfolded);
        // Small integers: both inner products are exact.
        let dot = |a: &[f32], b: &[f32]| {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum::<f64>()
        };
        assert_eq!(dot(&folded, &image), dot(&columns, &unfolded));
    }
}
