//! Lesions are brighter than brain in FLAIR.

/// How far a voxel of a lesion can be believed by its brightness, in `[0, 1]`.
///
/// `flair` is an intensity as the network sees it ([`normalise`](super::normalise)): 0 is the median of the brain's tissue, -5 the darkest of the
/// foreground, so a unit is about a fifth of the median. What is no brighter than the median weighs nothing, what is a unit
/// brighter weighs all, and in between the weight rises in a straight line.
///
/// Lesions of multiple sclerosis are hyperintense in FLAIR by definition, and raters trace what is bright. A network trained with
/// beta above 1 is paid for recall and marks some of the tissue around a lesion as well, and fluid beside it
/// (`docs/accuracy.md` has what the weight is worth on patients the network has not seen). A cavity in a lesion is dark and loses
/// its mark; `pipeline::Settings::hyperintensity` turns the weight off, and `learn::trainer::TrainConfig::weighed` trains through it.
#[must_use]
pub fn hyperintensity(flair: f32) -> f32 {
    flair.clamp(0.0, 1.0)
}

/// Weighs fused probabilities, and the variance of their votes, by the brightness of their voxels.
///
/// All slices have one value a voxel in the same order. A probability never rises; the variance of votes that are all scaled by
/// the same weight is scaled by its square.
pub fn weigh(flair: &[f32], probability: &mut [f32], variance: Option<&mut [f32]>) {
    for (value, &flair) in probability.iter_mut().zip(flair) {
        *value *= hyperintensity(flair);
    }
    for (value, &flair) in variance.into_iter().flatten().zip(flair) {
        *value *= hyperintensity(flair).powi(2);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dark_voxels_lose_their_mark_and_bright_ones_keep_it() {
        let flair = [-5.0, -0.1, 0.0, 0.25, 1.0, 5.0];
        let (mut probability, mut variance) = ([0.8; 6], [0.16; 6]);
        weigh(&flair, &mut probability, Some(&mut variance));
        assert_eq!(probability, [0.0, 0.0, 0.0, 0.2, 0.8, 0.8]);
        assert_eq!(variance, [0.0, 0.0, 0.0, 0.01, 0.16, 0.16]);
    }

    proptest! {
        #[test]
        fn a_probability_never_rises_and_brighter_never_counts_less(
            darker in -5.0_f32..5.0,
            by in 0.0_f32..5.0,
            p in 0.0_f32..=1.0,
        ) {
            let mut pair = [p, p];
            weigh(&[darker, darker + by], &mut pair, None);
            prop_assert!(0.0 <= pair[0] && pair[0] <= pair[1] && pair[1] <= p);
        }
    }
}
