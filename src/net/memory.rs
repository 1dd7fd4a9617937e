//! How much memory a pass takes at its peak, said before it is run.
//!
//! A pass is walked through in the order of `DenseNet::forward`: what each step allocates is
//! added to a ledger, what it releases is taken off, and the largest sum is the answer. Weights are not counted.
//! `tests/net_memory.rs` compares the answers with what is really allocated on the CPU.

use super::config::{ConfigError, NetConfig};
use super::part::Part;

/// Bytes of a value.
const VALUE: u64 = 4;

/// Values that a 3x3x3 convolution makes of a tile of so many voxels (`kernels/winograd.rs`, which the page lacks).
const POINTS: u64 = 6;
const TILE: u64 = 4;

/// What is allocated, and the most that ever was.
#[derive(Default)]
struct Ledger {
    live: u64,
    peak: u64,
    /// The most that was allocated in one piece.
    largest: u64,
    /// The most that a convolution makes of its input, in a border of zeros. The CPU keeps it, a GPU's pool too.
    points: u64,
    /// The same with the sums at Winograd's points, of which a GPU makes the output.
    with_sums: u64,
    /// The most of that in one piece.
    piece: u64,
}

impl Ledger {
    fn hold(&mut self, values: u64) -> u64 {
        self.live += values;
        self.peak = self.peak.max(self.live);
        self.largest = self.largest.max(values);
        values
    }

    fn free(&mut self, values: u64) {
        self.live = self.live.saturating_sub(values);
    }

    /// Something that lives for one step.
    fn brief(&mut self, values: u64) {
        let held = self.hold(values);
        self.free(held);
    }

    /// What a 3x3x3 convolution makes of its input, and the sums of which a GPU makes its output: six values for each tile of
    /// four voxels (`kernels/winograd.rs`).
    fn transformed(&mut self, input: u64, output: u64, side: u64) {
        let points = POINTS * side.div_ceil(TILE);
        // Rows are padded to whole runs of 8, and by 4, on a GPU; the CPU takes less.
        let pitch = side.div_ceil(8) * 8 + 4;
        let border = input * points * (side + 2) * pitch;
        let sums = output.next_multiple_of(4) * points * side.pow(2);
        self.points = self.points.max(border);
        self.with_sums = self.with_sums.max(border + sums);
        self.piece = self.piece.max(border).max(sums);
    }

    fn bytes(&self) -> u64 {
        (self.peak + self.points) * VALUE
    }
}

/// The network's sizes as the ledger needs them.
struct Sizes {
    batch: u64,
    side: u64,
    input: u64,
    stem: u64,
    new: u64,
    inner: u64,
    layers: u64,
    compact: bool,
    /// Channels before each block down, and before the centre.
    before: Vec<u64>,
}

impl Sizes {
    fn new(config: &NetConfig, side: usize, batch: usize) -> Result<Self, ConfigError> {
        config.validate()?;
        config.check_side(side)?;
        let new = config.layers * config.growth;
        let mut before = vec![config.stem];
        for _ in 0..config.blocks {
            let channels = before.last().copied().unwrap_or_default();
            before.push(config.compressed(channels + new));
        }
        let inner = if config.bottleneck { 4 * config.growth } else { 0 };
        Ok(Self {
            batch: batch as u64,
            side: side as u64,
            input: config.in_channels as u64,
            stem: config.stem as u64,
            new: new as u64,
            inner: inner as u64,
            layers: config.layers as u64,
            compact: config.compact,
            before: before.into_iter().map(|c| c as u64).collect(),
        })
    }

    fn levels(&self) -> usize {
        self.before.len() - 1
    }

    /// Side of a level's maps.
    fn at(&self, level: usize) -> u64 {
        (if self.compact { self.side / 2 } else { self.side }) >> level
    }

    /// Values of so many maps of a level.
    fn maps(&self, channels: u64, level: usize) -> u64 {
        self.batch * channels * self.at(level).pow(3)
    }

    /// Values of so many maps of the patch's own size.
    fn full(&self, channels: u64) -> u64 {
        self.batch * channels * self.side.pow(3)
    }
}

/// Bytes that inference of `batch` patches takes at its peak, the patches included.
///
/// # Errors
/// [`ConfigError`] if the configuration or the side is out of range.
pub fn inference(config: &NetConfig, side: usize, batch: usize) -> Result<u64, ConfigError> {
    Ok(pass(&Sizes::new(config, side, batch)?).bytes())
}

/// Most patches that a GPU takes in one pass: `most`, or as many as take no more than `bytes` at their peak and `binding`
/// bytes in any one buffer; at least 1.
///
/// # Errors
/// [`ConfigError`] if the configuration or the side is out of range.
pub fn batch(
    config: &NetConfig,
    side: usize,
    most: usize,
    bytes: u64,
    binding: u64,
) -> Result<usize, ConfigError> {
    for batch in (2..=most).rev() {
        let l = pass(&Sizes::new(config, side, batch)?);
        // The CPU transforms one sample at a time, a GPU all.
        let [points, piece] = [l.with_sums, l.piece].map(|one| one * batch as u64);
        if (l.peak + points) * VALUE <= bytes && l.largest.max(piece) * VALUE <= binding {
            return Ok(batch);
        }
    }
    Ok(1)
}

/// What inference allocates.
fn pass(s: &Sizes) -> Ledger {
    let mut l = Ledger::default();
    let mut x = l.hold(s.full(s.input));
    if s.compact {
        let cubes = l.hold(s.full(s.input));
        l.free(x);
        x = l.hold(s.maps(s.stem, 0));
        l.free(cubes);
        l.brief(x);
    }
    for i in 0..3 {
        let input = if i == 0 && !s.compact { s.input } else { s.stem };
        l.transformed(input, s.stem, s.at(0));
        let y = l.hold(s.maps(s.stem, 0));
        l.free(x);
        x = y;
    }
    // One buffer a level: raised maps, input, new maps of both blocks; of the centre, input and new maps.
    let centre = s.levels();
    let buffer = |level: usize| {
        let blocks = if level < centre { 3 } else { 1 };
        s.maps(s.before[level] + blocks * s.new, level)
    };
    l.hold(buffer(0));
    // Normalised before it is put into its place.
    l.brief(x);
    l.free(x);
    for level in 0..centre {
        block(&mut l, s, level);
        let conv = l.hold(s.maps(s.before[level + 1], level));
        l.hold(buffer(level + 1));
        // Pooled before it is put into its place.
        l.brief(s.maps(s.before[level + 1], level + 1));
        l.free(conv);
    }
    block(&mut l, s, centre);
    for level in (0..centre).rev() {
        // A transition up writes where the raised maps belong.
        l.free(buffer(level + 1));
        block(&mut l, s, level);
    }
    head(&mut l, s, buffer(0));
    l
}

/// The layers of a block: one bottleneck at a time.
fn block(l: &mut Ledger, s: &Sizes, level: usize) {
    l.transformed(s.inner, s.new / s.layers, s.at(level));
    l.brief(s.maps(s.inner, level));
}

/// The head: maps of the doubling, made of the last level's buffer; then the logit.
fn head(l: &mut Ledger, s: &Sizes, buffer: u64) {
    if !s.compact {
        l.brief(2 * s.full(1));
        return;
    }
    let doubled = s.full(s.stem);
    l.hold(doubled);
    l.free(buffer);
    l.brief(s.full(1));
}

/// Bytes that a training step of `batch` patches takes at its peak, the patches included, with the bottlenecks' maps
/// kept for the backward pass or made again. Weights, their gradients and the optimiser's moments are not counted.
///
/// # Errors
/// [`ConfigError`] if the configuration or the side is out of range.
pub fn training(config: &NetConfig, side: usize, batch: usize, keep: bool) -> Result<u64, ConfigError> {
    step(&Sizes::new(config, side, batch)?, Part::Everything, keep)
}

/// Bytes that a step of fine-tuning on one patch takes if only a part of the network learns; as [`training`] otherwise.
///
/// # Errors
/// [`ConfigError`] if the configuration or the side is out of range.
pub fn tuning(config: &NetConfig, side: usize, part: Part, keep: bool) -> Result<u64, ConfigError> {
    step(&Sizes::new(config, side, 1)?, part, keep)
}

fn step(s: &Sizes, part: Part, keep: bool) -> Result<u64, ConfigError> {
    let mut l = Ledger::default();
    // What learns keeps its maps for the backward pass; what does not, only until they are read.
    let way_down = part == Part::Everything;
    let way_up = part != Part::Head;
    let patch = l.hold(s.full(s.input));
    let mut x = patch;
    if s.compact {
        // Cubes, kept for the weights' gradient; what the ReLU keeps.
        let cubes = l.hold(s.full(s.input));
        x = l.hold(s.maps(s.stem, 0));
        l.brief(x);
        if !way_down {
            l.free(cubes + patch);
        }
    }
    for i in 0..3 {
        let input = if i == 0 && !s.compact { s.input } else { s.stem };
        l.transformed(input, s.stem, s.at(0));
        // Before and after each normalisation.
        let maps = s.maps(s.stem, 0);
        l.hold(2 * maps);
        if !way_down {
            l.free(maps + x);
        }
        x = maps;
    }
    let block = |l: &mut Ledger, level: usize, input: u64, learns: bool| {
        let all = s.maps(input + s.new, level);
        let bottlenecks = if keep { s.layers } else { 1 } * s.maps(s.inner, level);
        l.transformed(s.inner, s.new / s.layers, s.at(level));
        if learns {
            let mask = s.maps(s.new, level);
            // Drawn per layer and put together on the host.
            l.brief(2 * mask);
            l.hold(mask);
        }
        l.hold(all);
        if learns && keep {
            l.hold(bottlenecks);
        } else {
            l.brief(bottlenecks);
        }
        all
    };
    for level in 0..s.levels() {
        block(&mut l, level, s.before[level], way_down);
        if !way_down {
            // The block's input is in its own buffer.
            l.free(x);
        }
        // Normalised maps, compressed maps, pooled maps.
        let normalised = l.hold(s.maps(s.before[level] + s.new, level));
        let compressed = l.hold(s.maps(s.before[level + 1], level));
        x = l.hold(s.maps(s.before[level + 1], level + 1));
        if !way_down {
            l.free(normalised + compressed);
        }
    }
    let centre = s.levels();
    let mut below = block(&mut l, centre, s.before[centre], way_down);
    if !way_down {
        l.free(x);
    }
    for level in (0..centre).rev() {
        // What is raised, and what the ReLU keeps of it; then side by side with the skip connection.
        let new = l.hold(s.maps(s.new, level + 1));
        let raised = l.hold(s.maps(s.new, level));
        let skip = s.maps(s.before[level] + s.new, level);
        let side_by_side = l.hold(s.maps(2 * s.new + s.before[level], level));
        if !way_down {
            l.free(skip);
        }
        let all = block(&mut l, level, 2 * s.new + s.before[level], way_up);
        l.free(side_by_side);
        if !way_up {
            l.free(new + raised + below);
        }
        below = all;
    }
    // The head keeps the doubled maps; the loss a few maps of the patch's size.
    let doubled = if s.compact { s.full(s.stem) } else { 0 };
    l.hold(doubled + 6 * s.full(1));
    // Backward, at its widest where it begins: gradients of the doubled maps, then those of all maps of the topmost block.
    let all = s.maps(3 * s.new + s.before[0], 0);
    l.brief(doubled);
    if way_up {
        l.free(doubled);
        l.brief(2 * all + 2 * s.maps(s.inner, 0));
        // Gradients of 3x3x3 weights transform both input and gradient, those of the maps the gradient.
        let growth = s.new / s.layers;
        l.transformed(s.inner + growth, 0, s.at(0));
        l.transformed(growth, s.inner, s.at(0));
    }
    Ok(l.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "net")]
    #[test]
    fn tiles_are_those_of_the_kernels() {
        use crate::net::kernels::winograd;
        assert_eq!([winograd::POINTS as u64, winograd::TILE as u64], [POINTS, TILE]);
    }

    #[test]
    fn keeping_costs_more_and_everything_grows_with_the_patch() {
        let config = NetConfig::preset("browser", 2).unwrap();
        let mut before = 0;
        for side in [32, 64, 96] {
            let forward = inference(&config, side, 1).unwrap();
            let again = training(&config, side, 1, false).unwrap();
            let kept = training(&config, side, 1, true).unwrap();
            assert!(
                before < forward && forward < again && again < kept,
                "{side}: {forward} {again} {kept}"
            );
            before = forward;
        }
        assert!(inference(&config, 33, 1).is_err());
    }

    #[test]
    fn a_batch_is_as_large_as_its_memory() {
        let config = NetConfig::preset("browser", 2).unwrap();
        let (mb, none) = (1_000_000, u64::MAX);
        let alone = inference(&config, 64, 1).unwrap();
        let of = |most, bytes, binding| batch(&config, 64, most, bytes, binding).unwrap();
        assert_eq!(of(8, none, none), 8);
        assert_eq!(of(3, none, none), 3);
        assert_eq!(of(0, none, none), 1);
        assert_eq!(of(8, alone, none), 1);
        assert_eq!(of(8, 0, 0), 1, "one patch is always tried");
        // A batch shares nothing but time.
        assert_eq!(of(16, 512 * mb, none) as u64, 512 * mb / alone);
        assert!(of(16, none, 128 << 20) < 16);
        assert!(batch(&config, 33, 4, none, none).is_err());
    }
}
