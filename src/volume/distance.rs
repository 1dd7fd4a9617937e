//! Euclidean distances in voxels, and what follows from them: growing and shrinking a mask by a ball.

/// The squared distance of every voxel's centre to that of the nearest voxel that is true, in voxels; infinite if
/// none is. `shape` is x, y, z with x fastest.
///
/// Exact, in linear time: the lower envelope of parabolas along one axis after the other (Felzenszwalb and
/// Huttenlocher, Theory of Computing 8, 2012).
#[must_use]
pub fn squared_distance(mask: &[bool], shape: [usize; 3]) -> Vec<f32> {
    let mut squares: Vec<f32> = mask
        .iter()
        .map(|&m| if m { 0.0 } else { f32::INFINITY })
        .collect();
    let longest = shape.into_iter().max().unwrap_or(0);
    let mut envelope = Envelope::new(longest);
    let mut line = Vec::with_capacity(longest);
    let mut stride = 1;
    for len in shape {
        for start in (0..squares.len()).filter(|i| (i / stride).is_multiple_of(len)) {
            let voxels = (start..).step_by(stride).take(len);
            line.clear();
            line.extend(voxels.clone().map(|i| squares[i]));
            envelope.fill(&line);
            for (position, i) in voxels.enumerate() {
                squares[i] = envelope.at(position);
            }
        }
        stride *= len;
    }
    squares
}

/// All voxels within `radius` voxels of the mask.
#[must_use]
pub fn dilate(mask: &[bool], shape: [usize; 3], radius: f32) -> Vec<bool> {
    squared_distance(mask, shape)
        .into_iter()
        .map(|d| d <= radius * radius)
        .collect()
}

/// The mask's voxels that are farther than `radius` voxels from every voxel that is not in it. The volume's border
/// takes nothing away.
#[must_use]
pub fn erode(mask: &[bool], shape: [usize; 3], radius: f32) -> Vec<bool> {
    let outside: Vec<bool> = mask.iter().map(|m| !m).collect();
    squared_distance(&outside, shape)
        .into_iter()
        .map(|d| d > radius * radius)
        .collect()
}

/// The lowest of the parabolas `(x - p)^2 + height` over a line of voxels.
struct Envelope {
    /// Where the parabolas that are lowest somewhere stand, and how high.
    parabolas: Vec<(f32, f32)>,
    /// From where on each of them is the lowest.
    from: Vec<f32>,
    /// The one that was lowest at the position asked for last.
    current: usize,
}

impl Envelope {
    fn new(longest: usize) -> Self {
        Self {
            parabolas: Vec::with_capacity(longest),
            from: Vec::with_capacity(longest),
            current: 0,
        }
    }

    fn fill(&mut self, heights: &[f32]) {
        self.parabolas.clear();
        self.from.clear();
        self.current = 0;
        for (position, &height) in heights.iter().enumerate().filter(|(_, h)| h.is_finite()) {
            let at = position as f32;
            let mut start = f32::NEG_INFINITY;
            while let (Some(&(p, h)), Some(&from)) = (self.parabolas.last(), self.from.last()) {
                start = ((height + at * at) - (h + p * p)) / (2.0 * (at - p));
                if start > from {
                    break;
                }
                self.parabolas.pop();
                self.from.pop();
                start = f32::NEG_INFINITY;
            }
            self.parabolas.push((at, height));
            self.from.push(start);
        }
    }

    /// The envelope's height; positions must be asked for from left to right.
    fn at(&mut self, position: usize) -> f32 {
        let x = position as f32;
        while self.from.get(self.current + 1).is_some_and(|&from| from < x) {
            self.current += 1;
        }
        self.parabolas
            .get(self.current)
            .map_or(f32::INFINITY, |&(p, h)| (x - p) * (x - p) + h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nearest(mask: &[bool], [nx, ny, _]: [usize; 3], voxel: usize) -> f32 {
        let place = |i: usize| [i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f32);
        let here = place(voxel);
        let distance = |i: usize| (0..3).map(|a| (place(i)[a] - here[a]).powi(2)).sum();
        (0..mask.len())
            .filter(|&i| mask[i])
            .map(distance)
            .fold(f32::INFINITY, f32::min)
    }

    proptest! {
        #[test]
        fn distances_are_those_of_a_search(
            shape in prop::array::uniform3(1usize..9),
            seed in prop::collection::vec(0u8..40, 512),
            rarity in 1u8..40,
        ) {
            let n = shape.iter().product();
            let mask: Vec<bool> = seed.iter().cycle().take(n).map(|&s| s % rarity == 0 && s < 20).collect();
            let squares = squared_distance(&mask, shape);
            for (i, &square) in squares.iter().enumerate() {
                prop_assert_eq!(square, nearest(&mask, shape, i));
            }
        }
    }

    #[test]
    fn an_empty_mask_is_infinitely_far() {
        assert_eq!(squared_distance(&[false; 8], [2, 2, 2]), [f32::INFINITY; 8]);
        assert!(squared_distance(&[], [0, 3, 2]).is_empty());
    }

    #[test]
    fn balls_grow_and_shrink() {
        let shape = [15, 15, 15];
        let mut point = vec![false; 15 * 15 * 15];
        point[7 + 15 * (7 + 15 * 7)] = true;
        // Lattice points within 3 of the origin: 123.
        let ball = dilate(&point, shape, 3.0);
        assert_eq!(ball.iter().filter(|v| **v).count(), 123);
        assert_eq!(erode(&ball, shape, 3.0), point);
        assert!(
            erode(&vec![true; 15 * 15 * 15], shape, 5.0).iter().all(|v| *v),
            "the border takes nothing away"
        );
    }
}
