//! 2x2x2 maximum pooling and its gradient.

use super::{Extent, for_each_chunk};

/// Offsets of a cube's voxels from its first, z slowest, in maps of this extent.
fn cube([_, h, w]: Extent) -> [usize; 8] {
    std::array::from_fn(|k| (k / 4) * h * w + k / 2 % 2 * w + k % 2)
}

/// Where the first voxel of each cube lies in a channel of extent `large`, in the order of the small maps.
fn cubes([d, h, w]: Extent) -> impl Iterator<Item = usize> {
    let [d, h, w, row, plane] = [d / 2, h / 2, w / 2, 2 * w, 2 * h * w];
    (0..d * h * w).map(move |i| {
        let (z, y, x) = (i / (h * w), i / w % h, i % w);
        z * plane + y * row + 2 * x
    })
}

/// Maxima over 2x2x2 cubes: `x` is `[lines, large]`, `y` an eighth of it; sides are even.
pub(crate) fn max_pool2(x: &[f32], large: Extent, y: &mut [f32]) {
    let voxels: usize = large.iter().product();
    let cube = cube(large);
    for_each_chunk(y, voxels / 8, |line, y| {
        let x = &x[line * voxels..][..voxels];
        for (y, first) in y.iter_mut().zip(cubes(large)) {
            *y = cube
                .iter()
                .map(|k| x[first + k])
                .fold(x[first], |a, b| if b > a { b } else { a });
        }
    });
}

/// Gradient of [`max_pool2`]: each goes to the first of the largest voxels of its cube; `dx` must be zero.
pub(crate) fn max_pool2_dx(x: &[f32], dy: &[f32], large: Extent, dx: &mut [f32]) {
    let voxels: usize = large.iter().product();
    let cube = cube(large);
    for_each_chunk(dx, voxels, |line, dx| {
        let x = &x[line * voxels..][..voxels];
        let dy = &dy[line * voxels / 8..][..voxels / 8];
        for (g, first) in dy.iter().zip(cubes(large)) {
            let best = cube.iter().fold(
                first,
                |best, k| {
                    if x[first + k] > x[best] { first + k } else { best }
                },
            );
            dx[best] = *g;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_goes_to_the_maximum_alone() {
        let large = [2, 4, 2];
        let x: Vec<f32> = (0..16).map(|i| ((i * 7) % 16) as f32).collect();
        let mut y = [0.0; 2];
        max_pool2(&x, large, &mut y);
        // Cube 0 holds voxels 0-3 and 8-11, cube 1 voxels 4-7 and 12-15.
        assert_eq!(y, [15.0, 12.0]);
        let mut dx = [0.0; 16];
        max_pool2_dx(&x, &[3.0, 5.0], large, &mut dx);
        let mut expected = [0.0; 16];
        expected[x.iter().position(|v| *v == 15.0).unwrap()] = 3.0;
        expected[x.iter().position(|v| *v == 12.0).unwrap()] = 5.0;
        assert_eq!(dx, expected);
        let mut ties = [0.0; 16];
        max_pool2_dx(&[1.0; 16], &[3.0, 5.0], large, &mut ties);
        assert_eq!((ties[0], ties[4], ties.iter().sum::<f32>()), (3.0, 5.0, 8.0));
    }
}
