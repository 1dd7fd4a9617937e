//! Painting lesions into an image with the contrast, edge and texture of real ones.
//!
//! Measured on the labelled patients (91 lesions of 10 voxels and more, 1 mm): the mean of a lesion over the median of
//! a ring 2-4 voxels outside it depends on its size ([`expected_ratio`]); going inwards the contrast is about 8 % of
//! the plateau in the first voxel outside, 52 % in the first voxel inside, 85 % half a voxel further and full
//! at two voxels. That is a cumulative normal of 0.5-0.6 voxel whose middle lies 0.4 voxel inside the drawn
//! outline, as raters draw it generously ([`Edge`]).

use super::field::{self, Region, Shape};
use super::random;
use rand::Rng;

/// Lesion size in mm³ and the usual ratio of lesion mean to ring median in FLAIR and in T1.
const RATIOS: [(f32, f32, f32); 4] = [
    (22.0, 1.26, 0.96),
    (100.0, 1.33, 0.86),
    (450.0, 1.38, 0.80),
    (2000.0, 1.38, 0.76),
];

/// The usual ratio of lesion mean to ring median at a lesion size: `[FLAIR, T1]`, linear in the logarithm of
/// the size between the measured classes.
#[must_use]
pub fn expected_ratio(mm3: f32) -> [f32; 2] {
    let at = mm3.max(1.0).ln();
    let mut low = RATIOS[0];
    for high in RATIOS {
        if mm3 <= high.0 {
            let span = high.0.ln() - low.0.ln();
            let t = if span > 0.0 { (at - low.0.ln()) / span } else { 1.0 };
            return [low.1 + t * (high.1 - low.1), low.2 + t * (high.2 - low.2)];
        }
        low = high;
    }
    [low.1, low.2]
}

/// A lesion larger than this is never missed for its contrast; its edge and texture vary more.
const VISIBLE_MM3: f32 = 300.0;

/// The profile of a lesion's edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// How far inside the outline the contrast reaches one half, in voxels.
    pub inset: f32,
    /// Standard deviation of the cumulative normal, in voxels.
    pub softness: f32,
}

impl Edge {
    /// Share of the full contrast at a distance in voxels from the outline (positive inside).
    #[must_use]
    pub fn at(&self, inside: f32) -> f32 {
        // A logistic of slope 1.702 differs from the cumulative normal by less than 0.01.
        1.0 / (1.0 + (-1.702 * (inside - self.inset) / self.softness).exp())
    }
}

/// How one lesion looks in one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Lesion mean over ring median that is to be reached.
    pub ratio: f32,
    /// Relative change of the contrast from the rim to 4 voxels inside.
    pub core: f32,
    /// Standard deviation of the texture, relative to the ring.
    pub texture: f32,
    /// Standard deviation in voxels of the blur that makes the texture.
    pub grain: f32,
    /// Share of the underlying tissue's own variation that still shows.
    pub keep: f32,
}

/// How one lesion looks in FLAIR and T1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Appearance {
    /// The edge, the same in both images.
    pub edge: Edge,
    /// FLAIR and T1.
    pub looks: [Look; 2],
}

impl Appearance {
    /// Draws the look of a lesion of a given size. `contrast` multiplies the usual distance of the ratio from
    /// 1 in each image; it belongs to the case (scanner, protocol, stage of the disease).
    pub fn draw(rng: &mut impl Rng, mm3: f32, contrast: [f32; 2]) -> Self {
        let [flair, t1] = expected_ratio(mm3);
        let flair_noise = random::normal(rng, 0.0, 1.0);
        let t1_noise = -0.3 * flair_noise + 0.95 * random::normal(rng, 0.0, 1.0);
        let flair = 1.0 + contrast[0] * (flair - 1.0) + 0.07 * flair_noise;
        let t1 = 1.0 + contrast[1] * (t1 - 1.0) + 0.08 * t1_noise;
        // Raters draw a large lesion because they see it.
        let least = if mm3 > VISIBLE_MM3 { 1.15 } else { 1.08 };
        let patchy = mm3 > VISIBLE_MM3 && random::chance(rng, 0.4);
        let look = |rng: &mut _, ratio: f32, core: f32, most: f32| Look {
            ratio,
            core,
            texture: random::between(rng, 0.02, if patchy { 1.5 * most } else { most }),
            grain: if patchy {
                random::between(rng, 1.6, 4.0)
            } else {
                random::between(rng, 0.7, 1.6)
            },
            keep: random::between(rng, 0.3, 0.9),
        };
        let blurred = mm3 > VISIBLE_MM3 && random::chance(rng, 0.3);
        // In the middle of an old, large lesion little tissue is left: in T1 it nears fluid, and in FLAIR it is less bright.
        let (flair_core, t1_core) = if mm3 > VISIBLE_MM3 {
            (random::between(rng, -0.6, 0.2), random::between(rng, 0.0, 2.5))
        } else {
            (random::between(rng, -0.3, 0.2), random::between(rng, 0.0, 0.9))
        };
        Self {
            edge: Edge {
                inset: random::normal(rng, 0.4, 0.12).clamp(0.0, 0.7),
                softness: if blurred {
                    random::between(rng, 0.8, 1.4)
                } else {
                    random::between(rng, 0.4, 0.8)
                },
            },
            looks: [
                look(rng, flair.max(least), flair_core, 0.10),
                look(rng, t1.clamp(0.3, 1.05), t1_core, 0.06),
            ],
        }
    }
}

/// Mean of a lesion over the median of the ring 2-4 voxels outside it, the README's measure; `None` where
/// there is no ring. Ring voxels that `excluded` marks (other lesions, background) do not count.
#[must_use]
pub fn ring_ratio(
    image: &[f32],
    shape: Shape,
    lesion: &[usize],
    excluded: impl Fn(usize) -> bool,
) -> Option<f32> {
    let near = Neighbourhood::of(lesion, shape, 6)?;
    let mut ring = Vec::new();
    near.region.for_each(shape, |i, local| {
        let d = near.outside[local];
        if (2.0..=4.0).contains(&d) && !excluded(i) {
            ring.push(image[i]);
        }
    });
    let median = field::median(&mut ring)?;
    let mean = lesion.iter().map(|&i| f64::from(image[i])).sum::<f64>() / lesion.len() as f64;
    (median > 0.0).then(|| mean as f32 / median)
}

/// The distances around a lesion.
struct Neighbourhood {
    region: Region,
    /// Distance to the lesion; 0 inside.
    outside: Vec<f32>,
    /// Distance to the outside; 0 there.
    inside: Vec<f32>,
}

impl Neighbourhood {
    fn of(lesion: &[usize], shape: Shape, margin: usize) -> Option<Self> {
        let region = Region::around(lesion.iter().copied(), shape, margin)?;
        let local_shape = region.shape();
        let mut mask = vec![false; field::len(local_shape)];
        for &i in lesion {
            let v = field::voxel(shape, i);
            mask[field::index(local_shape, [0, 1, 2].map(|a| v[a] - region.start[a]))] = true;
        }
        let outside = field::distance(&mask, local_shape);
        mask.iter_mut().for_each(|m| *m = !*m);
        let inside = field::distance(&mask, local_shape);
        Some(Self {
            region,
            outside,
            inside,
        })
    }
}

/// What painting has to know about an image's surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// Shape of the images.
    pub shape: Shape,
    /// Tissue of each voxel (see [`Tissue`](super::anatomy::Tissue)): 0 outside the brain, 1 CSF, 2 grey, 3 white.
    pub tissue: &'a [u8],
    /// Voxels of all lesions, this one included or not: they are left out of the ring.
    pub lesions: &'a [bool],
    /// The usual intensity of white matter in FLAIR and T1, which bounds a ring's median from below where
    /// the ring lies mostly in CSF.
    pub white: [f32; 2],
}

/// Paints one lesion into FLAIR and T1 so that each reaches its look's ratio in the mean.
///
/// The new value is `(1 - s) v + s (T (1 + core) + keep (v - ring) + texture)` with the edge profile `s`; the plateau `T`
/// solves the condition on the mean, which is linear in it. Voxels outside the brain are left alone.
pub fn paint(
    rng: &mut impl Rng,
    images: [&mut [f32]; 2],
    ground: &Ground<'_>,
    lesion: &[usize],
    appearance: &Appearance,
) {
    let shape = ground.shape;
    let Some(near) = Neighbourhood::of(lesion, shape, 6) else {
        return;
    };
    let local_shape = near.region.shape();
    let share: Vec<f32> = near
        .inside
        .iter()
        .zip(&near.outside)
        .map(|(&i, &o)| {
            let s = appearance.edge.at(if o > 0.0 { 0.5 - o } else { i - 0.5 });
            if s < 0.01 { 0.0 } else { s }
        })
        .collect();
    for ((image, look), white) in images.into_iter().zip(appearance.looks).zip(ground.white) {
        let mut ring = Vec::new();
        near.region.for_each(shape, |i, local| {
            let d = near.outside[local];
            if (2.0..=4.0).contains(&d) && ground.tissue[i] > 1 && !ground.lesions[i] {
                ring.push(image[i]);
            }
        });
        let ring = field::median(&mut ring).unwrap_or(white).max(0.7 * white);
        let grain = field::texture(rng, local_shape, look.grain);
        let core = |local: usize| 1.0 + look.core * ((near.inside[local] - 0.5) / 4.0).clamp(0.0, 1.0);
        let keep = |value: f32| look.keep * (value - ring).clamp(-0.25 * ring, 0.25 * ring);
        // Sum over the lesion of everything but the contrast C = T - ring, and of C's factor.
        let (mut rest, mut factor) = (0.0_f64, 0.0_f64);
        near.region.for_each(shape, |i, local| {
            if near.outside[local] == 0.0 {
                let s = share[local];
                rest += f64::from(
                    (1.0 - s) * image[i] + s * (ring + keep(image[i]) + look.texture * ring * grain[local]),
                );
                factor += f64::from(s * core(local));
            }
        });
        let wanted = f64::from(look.ratio * ring) * lesion.len() as f64;
        let contrast = ((wanted - rest) / factor.max(1e-6)) as f32;
        // A lesion of a few voxels would need a glaring centre to reach its mean through a soft edge.
        let contrast = contrast.clamp(-0.9 * ring, 1.1 * ring);
        near.region.for_each(shape, |i, local| {
            let s = share[local];
            if s > 0.0 && ground.tissue[i] > 0 {
                let v = image[i];
                let inner = ring + contrast * core(local) + keep(v) + look.texture * ring * grain[local];
                image[i] = (1.0 - s) * v + s * inner.max(0.02 * ring);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    const SHAPE: Shape = [40, 40, 40];

    fn ball(radius: f32) -> Vec<usize> {
        (0..field::len(SHAPE))
            .filter(|&i| {
                let v = field::voxel(SHAPE, i);
                v.iter().map(|&c| (c as f32 - 19.5).powi(2)).sum::<f32>().sqrt() <= radius
            })
            .collect()
    }

    fn plain(rng: &mut StdRng) -> [Vec<f32>; 2] {
        [100.0, 300.0].map(|white: f32| {
            let mut v = field::texture(rng, SHAPE, 0.8);
            v.iter_mut().for_each(|v| *v = white * (1.0 + 0.06 * *v));
            v
        })
    }

    fn painted(seed: u64, radius: f32, contrast: [f32; 2]) -> ([Vec<f32>; 2], Vec<usize>, Appearance) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut images = plain(&mut rng);
        let lesion = ball(radius);
        let appearance = Appearance::draw(&mut rng, lesion.len() as f32, contrast);
        let ground = Ground {
            shape: SHAPE,
            tissue: &vec![3; field::len(SHAPE)],
            lesions: &vec![false; field::len(SHAPE)],
            white: [100.0, 300.0],
        };
        let [flair, t1] = &mut images;
        paint(&mut rng, [flair, t1], &ground, &lesion, &appearance);
        (images, lesion, appearance)
    }

    #[test]
    fn the_table_is_met_at_its_classes_and_bounded_beyond() {
        for (mm3, flair, t1) in RATIOS {
            assert_eq!(expected_ratio(mm3), [flair, t1]);
        }
        assert_eq!(expected_ratio(3.0), [1.26, 0.96]);
        assert_eq!(expected_ratio(1e6), [1.38, 0.76]);
        let [flair, t1] = expected_ratio(47.0);
        assert!(flair > 1.28 && flair < 1.31 && t1 > 0.89 && t1 < 0.93);
    }

    #[test]
    fn the_edge_has_the_measured_profile() {
        let edge = Edge {
            inset: 0.4,
            softness: 0.55,
        };
        for (inside, low, high) in [
            (-0.5, 0.03, 0.10),
            (0.5, 0.47, 0.60),
            (0.91, 0.75, 0.92),
            (1.5, 0.93, 1.0),
        ] {
            let s = edge.at(inside);
            assert!(s >= low && s <= high, "{inside}: {s}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_painted_lesion_reaches_its_ratio(seed in any::<u64>(), radius in 1.6_f32..7.0) {
            let (images, lesion, appearance) = painted(seed, radius, [1.0, 1.0]);
            // Against the ring as it was: a soft edge brightens it.
            let before = plain(&mut StdRng::seed_from_u64(seed));
            for ((mut image, before), look) in images.into_iter().zip(before).zip(appearance.looks) {
                let inside: Vec<f32> = lesion.iter().map(|&i| image[i]).collect();
                image.clone_from(&before);
                for (&i, v) in lesion.iter().zip(inside) {
                    image[i] = v;
                }
                let found = ring_ratio(&image, SHAPE, &lesion, |_| false);
                let found = found.unwrap_or(f32::NAN);
                prop_assert!((found - look.ratio).abs() < 0.04, "{} for {}", found, look.ratio);
            }
        }
    }

    #[test]
    fn the_mean_over_many_lesions_is_the_table_s() {
        for radius in [1.7_f32, 2.9, 4.8, 7.5] {
            let (mut sum, mut mm3) = ([0.0_f32; 2], 0.0);
            let n = 30;
            for seed in 0..n {
                let (images, lesion, _) = painted(seed, radius, [1.0, 1.0]);
                mm3 = lesion.len() as f32;
                for (s, image) in sum.iter_mut().zip(&images) {
                    *s += ring_ratio(image, SHAPE, &lesion, |_| false).unwrap_or(f32::NAN) / n as f32;
                }
            }
            let expected = expected_ratio(mm3);
            for (found, expected) in sum.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 0.05,
                    "{mm3} mm³: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_painted_outside_the_brain_or_far_away() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut tissue = vec![3; field::len(SHAPE)];
        for (i, t) in tissue.iter_mut().enumerate() {
            if field::voxel(SHAPE, i)[0] > 21 {
                *t = 0;
            }
        }
        let lesion = ball(4.0);
        let (mut flair, mut t1) = (vec![1.0; tissue.len()], vec![1.0; tissue.len()]);
        let appearance = Appearance::draw(&mut rng, 268.0, [1.0, 1.0]);
        let ground = Ground {
            shape: SHAPE,
            tissue: &tissue,
            lesions: &vec![false; tissue.len()],
            white: [1.0, 1.0],
        };
        paint(&mut rng, [&mut flair, &mut t1], &ground, &lesion, &appearance);
        for (i, v) in flair.iter().enumerate() {
            let p = field::voxel(SHAPE, i);
            let r = p.iter().map(|&c| (c as f32 - 19.5).powi(2)).sum::<f32>().sqrt();
            assert!((tissue[i] == 3 && r < 8.0) || *v == 1.0, "{p:?} {v}");
        }
        assert!(flair.iter().any(|v| *v > 1.2));
    }
}
