//! Cutting one patch out of the channels.

use super::{TilingError, clip};

/// Cuts the patch of `side^3` voxels that starts at `origin` out of every channel.
///
/// `channels` are volumes of `shape` voxels, x fastest. The patch is `channels * side^3` values, channel slowest, x
/// fastest; what lies outside the volume is zero (the tissue's median, once intensities are normalised).
///
/// # Errors
/// [`TilingError::Length`] if a channel has another number of voxels than `shape`.
pub fn extract(
    channels: &[&[f32]],
    shape: [usize; 3],
    origin: [isize; 3],
    side: usize,
) -> Result<Vec<f32>, TilingError> {
    let [nx, ny, nz] = shape;
    let (x0, px, x_count) = clip(origin[0], side, nx);
    let (y0, py, y_count) = clip(origin[1], side, ny);
    let (z0, pz, z_count) = clip(origin[2], side, nz);
    let mut patch = vec![0.0; channels.len() * side * side * side];
    for (c, channel) in channels.iter().enumerate() {
        TilingError::check_length("A channel", nx * ny * nz, channel.len())?;
        if x_count == 0 {
            continue;
        }
        for z in 0..z_count {
            for y in 0..y_count {
                let from = x0 + nx * (y0 + y + ny * (z0 + z));
                let to = px + side * (py + y + side * (pz + z + side * c));
                patch[to..to + x_count].copy_from_slice(&channel[from..from + x_count]);
            }
        }
    }
    Ok(patch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_patch_holds_the_volume_and_zero_outside(
            shape in prop::array::uniform3(1_usize..9),
            origin in prop::array::uniform3(-9_isize..12),
            side in 1_usize..7,
        ) {
            let [nx, ny, nz] = shape;
            let value = |c: usize, [x, y, z]: [usize; 3]| (1 + x + 10 * y + 100 * z + 1000 * c) as f32;
            let volumes: Vec<Vec<f32>> = (0..2)
                .map(|c| (0..nx * ny * nz).map(|i| value(c, [i % nx, i / nx % ny, i / nx / ny])).collect())
                .collect();
            let patch = extract(&[&volumes[0], &volumes[1]], shape, origin, side).unwrap();
            prop_assert_eq!(patch.len(), 2 * side * side * side);
            for (i, &got) in patch.iter().enumerate() {
                let c = i / (side * side * side);
                let at = [i % side, i / side % side, i / side / side % side];
                let voxel = [0, 1, 2].map(|a| at[a] as isize + origin[a]);
                let inside = (0..3).all(|a| (0..shape[a] as isize).contains(&voxel[a]));
                let expected = if inside { value(c, voxel.map(|v| v as usize)) } else { 0.0 };
                prop_assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn a_channel_of_another_size_is_refused() {
        let problem = extract(&[&[0.0; 8], &[0.0; 7]], [2; 3], [0; 3], 2).unwrap_err();
        assert_eq!(
            problem,
            TilingError::Length {
                what: "A channel",
                expected: 8,
                got: 7
            }
        );
    }
}
