//! The precision-recall curve over all thresholds of a probability map.

use serde::{Deserialize, Serialize};

use super::error::check_probabilities;
use super::{Confusion, MetricsError};

/// Precision and recall at one threshold: a voxel is lesion where its probability is at or above it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrPoint {
    /// Probability at and above which a voxel is lesion.
    pub threshold: f32,
    /// Positive predictive value there.
    pub precision: f64,
    /// True positive rate there.
    pub recall: f64,
}

/// The threshold at which F_beta is largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestThreshold {
    /// The beta in question.
    pub beta: f64,
    /// Probability at and above which a voxel is lesion; of several equally good ones the highest.
    pub threshold: f32,
    /// F_beta there.
    pub f_beta: f64,
}

/// All voxels of a probability map, ordered so that every threshold can be looked at exactly once.
///
/// Almost all voxels of a head have probability 0. They are one tie, at the last threshold, and need no sorting.
#[derive(Clone, Debug)]
pub struct PrCurve {
    /// The voxels above 0 in descending order: the probability's bits, then one bit for "lesion in the
    /// reference". Non-negative floats are ordered as their bits are, and those up to 1 leave two bits free.
    keys: Vec<u32>,
    reference_voxels: u64,
    voxels: u64,
}

impl PrCurve {
    /// Orders the voxels of a probability map by their probability.
    ///
    /// # Errors
    /// [`MetricsError::Length`] if the two inputs differ in length, [`MetricsError::NotAProbability`] if a value
    /// is not a number within 0 and 1.
    pub fn new(reference: &[bool], probability: &[f32]) -> Result<Self, MetricsError> {
        MetricsError::check_length("probability map", reference.len(), probability.len())?;
        check_probabilities(probability)?;
        let mut keys: Vec<u32> = probability
            .iter()
            .zip(reference)
            .filter(|&(&p, _)| p > 0.0)
            .map(|(&p, &lesion)| (p.min(1.0).to_bits() << 1) | u32::from(lesion))
            .collect();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Self {
            keys,
            reference_voxels: reference.iter().map(|&lesion| u64::from(lesion)).sum(),
            voxels: reference.len() as u64,
        })
    }

    /// The confusion of every distinct threshold, from the highest probability down to the lowest.
    fn cuts(&self) -> impl Iterator<Item = (f32, Confusion)> {
        let ties = self.keys.chunk_by(|a, b| a >> 1 == b >> 1);
        let above_zero = ties.scan((0_u64, 0_u64), |(marked, hits), tie| {
            *marked += tie.len() as u64;
            *hits += tie.iter().map(|key| u64::from(key & 1)).sum::<u64>();
            Some((f32::from_bits(tie[0] >> 1), *marked, *hits))
        });
        let at_zero =
            (self.voxels > self.keys.len() as u64).then_some((0.0, self.voxels, self.reference_voxels));
        above_zero.chain(at_zero).map(|(threshold, marked, hits)| {
            let confusion = Confusion {
                true_positives: hits,
                false_positives: marked - hits,
                false_negatives: self.reference_voxels - hits,
                true_negatives: self.voxels + hits - marked - self.reference_voxels,
            };
            (threshold, confusion)
        })
    }

    /// The curve's points; empty if the reference has no lesion, because recall then has no value.
    fn all_points(&self) -> impl Iterator<Item = PrPoint> {
        self.cuts().filter_map(|(threshold, confusion)| {
            Some(PrPoint {
                threshold,
                precision: confusion.ppv()?,
                recall: confusion.tpr()?,
            })
        })
    }

    /// Area under the precision-recall curve (APR) as average precision: the sum over all distinct thresholds,
    /// descending, of (recall gained) times (precision there).
    ///
    /// This is scikit-learn's `average_precision_score`: a sum of rectangles without interpolation, which unlike
    /// the trapezoidal rule is not optimistic. A constant map scores the prevalence. `None` if the reference has
    /// no lesion.
    #[must_use]
    pub fn average_precision(&self) -> Option<f64> {
        if self.reference_voxels == 0 {
            return None;
        }
        let mut recall = 0.0;
        let mut area = 0.0;
        for point in self.all_points() {
            area += (point.recall - recall) * point.precision;
            recall = point.recall;
        }
        Some(area)
    }

    /// The threshold, among the probabilities that occur, at which F_beta is largest. `None` if no voxel is
    /// lesion in the reference, when every threshold is equally bad.
    #[must_use]
    pub fn best_threshold(&self, beta: f64) -> Option<BestThreshold> {
        if self.reference_voxels == 0 {
            return None;
        }
        let mut best: Option<BestThreshold> = None;
        for (threshold, confusion) in self.cuts() {
            let f_beta = confusion.f_beta(beta)?;
            if best.is_none_or(|best| f_beta > best.f_beta) {
                best = Some(BestThreshold {
                    beta,
                    threshold,
                    f_beta,
                });
            }
        }
        best
    }

    /// At most `max` points of the curve, for drawing it, by descending threshold and spread evenly along the
    /// curve's length; its two ends are always among them if `max` is at least 2. All points if there are no more
    /// than `max`; none if the reference has no lesion.
    #[must_use]
    pub fn points(&self, max: usize) -> Vec<PrPoint> {
        if max == 0 {
            return Vec::new();
        }
        let (mut count, mut length) = (0_usize, 0.0);
        let mut last = None;
        for point in self.all_points() {
            count += 1;
            length += last.map_or(0.0, |last| distance(last, point));
            last = Some(point);
        }
        if count <= max {
            return self.all_points().collect();
        }

        let mut kept: Vec<PrPoint> = Vec::with_capacity(max);
        let mut travelled = 0.0;
        let mut previous = None;
        for (index, point) in self.all_points().enumerate() {
            travelled += previous.map_or(0.0, |previous| distance(previous, point));
            previous = Some(point);
            let due = length * kept.len() as f64 / (max - 1).max(1) as f64;
            // The last place is kept free for the last point.
            if index + 1 == count || (travelled >= due && kept.len() + 1 < max) {
                kept.push(point);
            }
        }
        kept
    }
}

/// City-block distance in the unit square of recall and precision.
fn distance(a: PrPoint, b: PrPoint) -> f64 {
    (a.recall - b.recall).abs() + (a.precision - b.precision).abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// References and probabilities with many ties, zeros and ones among them.
    fn cases() -> impl Strategy<Value = (Vec<bool>, Vec<f32>)> {
        proptest::collection::vec((any::<bool>(), 0_u8..12), 1..60).prop_map(|voxels| {
            voxels
                .into_iter()
                .map(|(lesion, p)| (lesion, f32::from(p.saturating_sub(2)) / 9.0))
                .unzip()
        })
    }

    fn mask(probability: &[f32], threshold: f32) -> Vec<bool> {
        probability.iter().map(|&p| p >= threshold).collect()
    }

    proptest! {
        #[test]
        fn every_cut_is_the_confusion_of_its_mask((reference, probability) in cases()) {
            let curve = PrCurve::new(&reference, &probability).unwrap();
            let mut distinct = probability.clone();
            distinct.sort_by(|a, b| b.total_cmp(a));
            distinct.dedup();
            let cuts: Vec<_> = curve.cuts().collect();
            prop_assert_eq!(cuts.iter().map(|cut| cut.0).collect::<Vec<_>>(), distinct);
            for (threshold, confusion) in cuts {
                prop_assert_eq!(confusion, Confusion::new(&reference, &mask(&probability, threshold)).unwrap());
            }
        }

        #[test]
        fn recall_never_falls_as_the_threshold_falls((reference, probability) in cases()) {
            let points = PrCurve::new(&reference, &probability).unwrap().points(1000);
            prop_assert!(points.windows(2).all(|w| w[0].threshold > w[1].threshold && w[0].recall <= w[1].recall));
        }

        #[test]
        fn no_threshold_beats_the_best((reference, probability) in cases(), beta in 0.2..4.0_f64) {
            let curve = PrCurve::new(&reference, &probability).unwrap();
            match curve.best_threshold(beta) {
                None => prop_assert!(!reference.contains(&true)),
                Some(best) => {
                    let at = |threshold| {
                        Confusion::new(&reference, &mask(&probability, threshold)).unwrap().f_beta(beta)
                    };
                    prop_assert_eq!(at(best.threshold), Some(best.f_beta));
                    for step in 0..=20_u8 {
                        let threshold = f32::from(step) / 20.0;
                        let f_beta = at(threshold).unwrap_or(0.0);
                        prop_assert!(f_beta <= best.f_beta);
                        prop_assert!(f_beta < best.f_beta || threshold <= best.threshold
                            || mask(&probability, threshold) == mask(&probability, best.threshold));
                    }
                }
            }
        }

        #[test]
        fn reduced_points_are_points_of_the_curve((reference, probability) in cases(), max in 2_usize..8) {
            let curve = PrCurve::new(&reference, &probability).unwrap();
            let (all, some) = (curve.points(usize::MAX), curve.points(max));
            prop_assert!(some.len() <= max);
            prop_assert_eq!(some.first(), all.first());
            prop_assert_eq!(some.last(), all.last());
            prop_assert!(some.iter().all(|point| all.contains(point)));
        }
    }

    #[test]
    fn a_hand_made_area() {
        // Ranked: hit, miss, hit, then a tie of one hit and one miss at 0.
        let reference = [true, false, true, true, false];
        let probability = [0.9, 0.8, 0.7, 0.0, 0.0];
        let area = PrCurve::new(&reference, &probability)
            .unwrap()
            .average_precision()
            .unwrap();
        assert!(
            (area - (1.0 + 2.0 / 3.0 + 3.0 / 5.0) / 3.0).abs() < 1e-15,
            "{area}"
        );
    }

    #[test]
    fn limits() {
        let reference = [true, true, false, false, false];
        let perfect = PrCurve::new(&reference, &[0.9, 0.8, 0.7, 0.2, 0.0]).unwrap();
        assert_eq!(perfect.average_precision(), Some(1.0));
        assert_eq!(
            perfect.best_threshold(1.0),
            Some(BestThreshold {
                beta: 1.0,
                threshold: 0.8,
                f_beta: 1.0
            })
        );
        let constant = PrCurve::new(&reference, &[0.3; 5]).unwrap();
        assert_eq!(constant.average_precision(), Some(0.4));
        let healthy = PrCurve::new(&[false; 3], &[0.3, 0.2, 0.0]).unwrap();
        assert_eq!(
            (healthy.average_precision(), healthy.best_threshold(1.0)),
            (None, None)
        );
        assert_eq!(healthy.points(10), []);
    }

    #[test]
    fn rounding_outside_the_unit_interval_counts_as_its_ends() {
        let curve = PrCurve::new(&[true, true, false, false], &[1.000_001, 1.0, -1e-6, 0.0]).unwrap();
        let thresholds: Vec<f32> = curve.points(9).iter().map(|point| point.threshold).collect();
        assert_eq!(thresholds, [1.0, 0.0]);
    }

    /// `cargo test --lib curve -- --ignored --nocapture`
    #[test]
    #[ignore = "a timing, not a check"]
    fn timing() {
        let n = 182 * 218 * 182;
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u32 << 24) as f32
        };
        let probability: Vec<f32> = (0..n)
            .map(|at| if at % 4 == 0 { next().powi(8) } else { 0.0 })
            .collect();
        let reference: Vec<bool> = probability.iter().map(|&p| p > 0.5 * next() + 0.2).collect();
        let started = std::time::Instant::now();
        let curve = PrCurve::new(&reference, &probability).unwrap();
        let sorted = started.elapsed();
        let (area, best) = (curve.average_precision(), curve.best_threshold(1.5));
        eprintln!(
            "{n} voxels: sorted in {sorted:?}, with scores {:?}; {area:?}, {best:?}",
            started.elapsed()
        );
    }
}
