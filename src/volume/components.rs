//! Connected components of a binary volume: the lesions of a mask.
//!
//! Two passes over *runs* (stretches of foreground along x) instead of voxels: a mask of lesions is nearly
//! empty, so the cost is one look at each voxel plus very little. Runs of neighbouring rows are joined in a
//! union-find forest whose root is always the earliest run, which gives component ids in scan order.

use serde::{Deserialize, Serialize};

/// Which of the 26 surrounding voxels count as neighbours.
///
/// ISBI 2015 counts lesions with [`Eighteen`](Self::Eighteen) (Carass et al. 2017), Anima's MSSEG 2016 tool with
/// [`Six`](Self::Six). Serialised as the number 6, 18 or 26.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Connectivity {
    /// Shared faces.
    Six,
    /// Shared faces or edges.
    #[default]
    Eighteen,
    /// Shared faces, edges or corners.
    TwentySix,
}

impl Connectivity {
    /// How far apart along x the ends of two runs may lie, in voxels, and still touch, when their rows differ by
    /// one step along `axes` of the axes y and z; `None` if such rows do not touch at all.
    fn reach(self, axes: usize) -> Option<usize> {
        let steps = match self {
            Self::Six => 1,
            Self::Eighteen => 2,
            Self::TwentySix => 3,
        };
        // `steps` axes may differ in all; x may be one of them only if y and z left a step over.
        (axes <= steps).then_some(usize::from(axes < steps))
    }
}

/// A number of neighbours that no 3-D connectivity has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connectivity is {0}, but must be 6 (faces), 18 (faces and edges) or 26 (faces, edges and corners)")]
pub struct UnknownConnectivity(pub u8);

impl TryFrom<u8> for Connectivity {
    type Error = UnknownConnectivity;

    fn try_from(neighbours: u8) -> Result<Self, UnknownConnectivity> {
        match neighbours {
            6 => Ok(Self::Six),
            18 => Ok(Self::Eighteen),
            26 => Ok(Self::TwentySix),
            other => Err(UnknownConnectivity(other)),
        }
    }
}

impl From<Connectivity> for u8 {
    fn from(connectivity: Connectivity) -> Self {
        match connectivity {
            Connectivity::Six => 6,
            Connectivity::Eighteen => 18,
            Connectivity::TwentySix => 26,
        }
    }
}

/// The components of a mask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// One value per voxel, x fastest: 0 is background, components are 1, 2, ... in the order in which a scan
    /// meets their first voxel.
    pub labels: Vec<u32>,
    /// Number of voxels of each component: component `i` has `sizes[i - 1]`.
    pub sizes: Vec<usize>,
}

impl Labels {
    /// Number of components.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sizes.len()
    }
}

/// A stretch of foreground within one row, as the half-open range `start..end` of x.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
}

/// Labels the connected components of `mask`, whose voxels are stored x fastest in `shape` (x, y, z).
///
/// # Panics
/// If `mask` does not have `shape[0] * shape[1] * shape[2]` voxels.
#[must_use]
pub fn label(mask: &[bool], shape: [usize; 3], connectivity: Connectivity) -> Labels {
    let [nx, ny, nz] = shape;
    assert_eq!(
        mask.len(),
        nx * ny * nz,
        "a mask of shape {shape:?} has another number of voxels"
    );
    if mask.is_empty() {
        return Labels::default();
    }

    let (runs, first_run) = find_runs(mask, nx);
    let row = |y: usize, z: usize| {
        let row = y + ny * z;
        first_run[row]..first_run[row + 1]
    };
    let mut forest = Forest::new(runs.len());
    for z in 0..nz {
        for y in 0..ny {
            let here = row(y, z);
            if here.is_empty() {
                continue;
            }
            let mut join = |there, axes| {
                if let Some(reach) = connectivity.reach(axes) {
                    join_rows(&runs, here.clone(), there, reach, &mut forest);
                }
            };
            if y > 0 {
                join(row(y - 1, z), 1);
            }
            if z > 0 {
                join(row(y, z - 1), 1);
                if y > 0 {
                    join(row(y - 1, z - 1), 2);
                }
                if y + 1 < ny {
                    join(row(y + 1, z - 1), 2);
                }
            }
        }
    }
    paint(mask.len(), nx, &runs, &first_run, &mut forest)
}

/// `mask` without the components of fewer than `min_voxels` voxels.
///
/// # Panics
/// If `mask` does not have `shape[0] * shape[1] * shape[2]` voxels.
#[must_use]
pub fn remove_small(
    mask: &[bool],
    shape: [usize; 3],
    connectivity: Connectivity,
    min_voxels: usize,
) -> Vec<bool> {
    if min_voxels <= 1 {
        return mask.to_vec();
    }
    let Labels { labels, sizes } = label(mask, shape, connectivity);
    labels
        .into_iter()
        .map(|id| id != 0 && sizes[id as usize - 1] >= min_voxels)
        .collect()
}

/// The fewest voxels of `voxel_mm3` cubic millimetres each that are not smaller than `mm3` cubic millimetres
/// together: what to ask of [`remove_small`].
///
/// Headers hold affines in f32, so three voxels of "1 mm3" may come out as 2.9999998 mm3; they count as 3 mm3.
#[must_use]
pub fn voxels_of(mm3: f64, voxel_mm3: f64) -> usize {
    (mm3 / voxel_mm3 * (1.0 - HEADER_ROUNDING)).ceil() as usize
}

/// The fewest voxels that are *larger* than `mm3` cubic millimetres together, with the same allowance.
#[must_use]
pub fn voxels_above(mm3: f64, voxel_mm3: f64) -> usize {
    (mm3 / voxel_mm3 * (1.0 + HEADER_ROUNDING)).floor() as usize + 1
}

/// Relative error of a voxel's volume that an affine in f32 explains.
const HEADER_ROUNDING: f64 = 1e-6;

/// All runs in scan order, and for each row the index of its first run (with one entry more at the end).
fn find_runs(mask: &[bool], nx: usize) -> (Vec<Run>, Vec<usize>) {
    let mut runs = Vec::new();
    let mut first_run = Vec::with_capacity(mask.len() / nx + 1);
    first_run.push(0);
    for row in mask.chunks_exact(nx) {
        let mut end = 0;
        while let Some(skip) = row[end..].iter().position(|&inside| inside) {
            let start = end + skip;
            end = row[start..]
                .iter()
                .position(|&inside| !inside)
                .map_or(nx, |length| start + length);
            runs.push(Run { start, end });
        }
        first_run.push(runs.len());
    }
    (runs, first_run)
}

/// Joins the touching runs of two rows. Both are sorted along x, so one walk over the two finds all pairs.
fn join_rows(
    runs: &[Run],
    mut here: std::ops::Range<usize>,
    mut there: std::ops::Range<usize>,
    reach: usize,
    forest: &mut Forest,
) {
    while !here.is_empty() && !there.is_empty() {
        let (a, b) = (runs[here.start], runs[there.start]);
        if a.start < b.end + reach && b.start < a.end + reach {
            forest.join(here.start, there.start);
        }
        if a.end < b.end {
            here.start += 1;
        } else {
            there.start += 1;
        }
    }
}

/// Second pass: gives each tree its id, counts its voxels and writes the ids out.
fn paint(voxels: usize, nx: usize, runs: &[Run], first_run: &[usize], forest: &mut Forest) -> Labels {
    let mut labels = vec![0; voxels];
    let mut sizes = Vec::new();
    let mut ids = vec![0_u32; runs.len()];
    for (row, bounds) in first_run.windows(2).enumerate() {
        for run in bounds[0]..bounds[1] {
            let root = forest.root(run);
            if root == run {
                sizes.push(0);
                // More than 2^32 components need more voxels than any volume this program can hold.
                ids[run] = sizes.len() as u32;
            }
            let id = ids[root];
            let Run { start, end } = runs[run];
            sizes[id as usize - 1] += end - start;
            labels[row * nx + start..row * nx + end].fill(id);
        }
    }
    Labels { labels, sizes }
}

/// Union-find over runs; every root is the smallest index of its tree.
struct Forest {
    parent: Vec<usize>,
}

impl Forest {
    fn new(len: usize) -> Self {
        Self {
            parent: (0..len).collect(),
        }
    }

    fn root(&mut self, mut node: usize) -> usize {
        while self.parent[node] != node {
            // Path halving: each step points the node at its grandparent.
            self.parent[node] = self.parent[self.parent[node]];
            node = self.parent[node];
        }
        node
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Connectivity; 3] = [Connectivity::Six, Connectivity::Eighteen, Connectivity::TwentySix];

    /// Flood fill, voxel by voxel, over every neighbour within the allowed number of differing axes.
    fn flood(mask: &[bool], shape: [usize; 3], connectivity: Connectivity) -> Labels {
        let steps = match connectivity {
            Connectivity::Six => 1,
            Connectivity::Eighteen => 2,
            Connectivity::TwentySix => 3,
        };
        let index = |p: [usize; 3]| p[0] + shape[0] * (p[1] + shape[1] * p[2]);
        let mut found = Labels {
            labels: vec![0; mask.len()],
            sizes: Vec::new(),
        };
        for seed in 0..mask.len() {
            if !mask[seed] || found.labels[seed] != 0 {
                continue;
            }
            let id = found.sizes.len() as u32 + 1;
            let mut size = 0;
            let mut stack = vec![seed];
            found.labels[seed] = id;
            while let Some(at) = stack.pop() {
                size += 1;
                let p = [at % shape[0], at / shape[0] % shape[1], at / shape[0] / shape[1]];
                for code in 0..27_usize {
                    let d = [code % 3, code / 3 % 3, code / 9];
                    let q = [0, 1, 2].map(|axis| (p[axis] + d[axis]).wrapping_sub(1));
                    let inside = (0..3).all(|axis| q[axis] < shape[axis]);
                    if inside && d.iter().filter(|&&step| step != 1).count() <= steps {
                        let to = index(q);
                        if mask[to] && found.labels[to] == 0 {
                            found.labels[to] = id;
                            stack.push(to);
                        }
                    }
                }
            }
            found.sizes.push(size);
        }
        found
    }

    fn masks() -> impl Strategy<Value = (Vec<bool>, [usize; 3])> {
        ([1_usize..9, 1_usize..9, 1_usize..9], 0.02..0.98_f64).prop_flat_map(|(shape, density)| {
            let voxel = proptest::bool::weighted(density);
            (
                proptest::collection::vec(voxel, shape.iter().product::<usize>()),
                Just(shape),
            )
        })
    }

    proptest! {
        #[test]
        fn equals_a_flood_fill_with_the_same_ids((mask, shape) in masks()) {
            for connectivity in ALL {
                prop_assert_eq!(label(&mask, shape, connectivity), flood(&mask, shape, connectivity));
            }
        }

        #[test]
        fn more_neighbours_never_make_more_components((mask, shape) in masks()) {
            let [six, eighteen, twenty_six] = ALL.map(|connectivity| label(&mask, shape, connectivity).count());
            prop_assert!(six >= eighteen && eighteen >= twenty_six);
        }

        #[test]
        fn removal_keeps_exactly_the_large_components((mask, shape) in masks(), min_voxels in 0_usize..12) {
            for connectivity in ALL {
                let kept = remove_small(&mask, shape, connectivity, min_voxels);
                let before = label(&mask, shape, connectivity);
                for (at, &inside) in kept.iter().enumerate() {
                    let id = before.labels[at] as usize;
                    prop_assert_eq!(inside, id > 0 && before.sizes[id - 1] >= min_voxels);
                }
            }
        }
    }

    #[test]
    fn faces_edges_and_corners_are_told_apart() {
        // Two voxels of a 2x2x2 cube that share a face, an edge, a corner.
        for (other, expected) in [
            (1, [1, 1, 1]),
            (3, [2, 1, 1]),
            (5, [2, 1, 1]),
            (6, [2, 1, 1]),
            (7, [2, 2, 1]),
        ] {
            let mut mask = [false; 8];
            mask[0] = true;
            mask[other] = true;
            assert_eq!(
                ALL.map(|connectivity| label(&mask, [2, 2, 2], connectivity).count()),
                expected
            );
        }
        // The one edge that a scan meets backwards: (0, 1, 0) and (0, 0, 1).
        let mask: Vec<bool> = (0..8).map(|at| at == 2 || at == 4).collect();
        assert_eq!(
            ALL.map(|connectivity| label(&mask, [2, 2, 2], connectivity).count()),
            [2, 1, 1]
        );
    }

    #[test]
    fn empty_and_full_volumes() {
        for connectivity in ALL {
            assert_eq!(label(&[], [0, 3, 2], connectivity), Labels::default());
            assert_eq!(label(&[false; 24], [4, 3, 2], connectivity).count(), 0);
            assert_eq!(label(&[true; 24], [4, 3, 2], connectivity).sizes, [24]);
        }
    }

    #[test]
    #[should_panic(expected = "[4, 3, 2]")]
    fn a_mask_of_another_size_is_refused() {
        let _ = label(&[true; 23], [4, 3, 2], Connectivity::Six);
    }

    #[test]
    fn sizes_in_cubic_millimetres_forgive_the_headers_rounding() {
        for voxel in [1.0, 1.0 + 1e-7, 1.0 - 1e-7] {
            assert_eq!(
                (voxels_of(3.0, voxel), voxels_above(3.0, voxel)),
                (3, 4),
                "{voxel}"
            );
        }
        assert_eq!((voxels_of(3.0, 0.8), voxels_above(3.0, 0.8)), (4, 4));
        assert_eq!((voxels_of(0.0, 1.0), voxels_above(0.0, 1.0)), (0, 1));
        assert_eq!((voxels_of(3.0, 10.0), voxels_above(3.0, 10.0)), (1, 1));
    }

    #[test]
    fn connectivity_is_a_number_in_json() {
        assert_eq!(serde_json::to_string(&Connectivity::Eighteen).unwrap(), "18");
        assert_eq!(
            serde_json::from_str::<Connectivity>("26").unwrap(),
            Connectivity::TwentySix
        );
        let message = serde_json::from_str::<Connectivity>("8").unwrap_err().to_string();
        assert!(message.contains("is 8"), "{message}");
    }

    /// A whole-head volume with lesion-like blobs must label in well under a frame or two of the page.
    /// Timed by hand: `cargo test --release --lib components -- --ignored --nocapture`.
    #[test]
    #[ignore = "a timing, not a check"]
    fn timing() {
        let shape = [182, 218, 182];
        let mut mask = vec![false; shape.iter().product()];
        let mut state = 1_u64;
        let mut next = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        for _ in 0..400 {
            let (x0, y0, z0, r) = (next(170), next(206), next(170), 2 + next(10));
            for z in z0..z0 + r {
                for y in y0..y0 + r {
                    for x in x0..x0 + r {
                        mask[x + shape[0] * (y + shape[1] * z)] = true;
                    }
                }
            }
        }
        let foreground = mask.iter().filter(|&&inside| inside).count();
        for connectivity in ALL {
            let started = std::time::Instant::now();
            let found = label(&mask, shape, connectivity);
            eprintln!(
                "{connectivity:?}: {} components of {foreground} voxels, {:?}",
                found.count(),
                started.elapsed()
            );
        }
    }
}
