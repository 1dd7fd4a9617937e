//! The rows of the table: what each says, what it shall reach, and why it does not where it does not.

use super::figures::{Row, Series, Target, digits};
use super::machine::Machine;

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// How many times faster, or longer.
    Times,
    /// A share of one, shown in per cent.
    Share,
    /// Millions of bytes.
    Megabytes,
    /// How long it takes.
    Seconds,
    /// A number as it is.
    Plain,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Times => format!("{}x", digits(value)),
            Self::Share => format!("{:.1} %", 100.0 * value),
            Self::Megabytes => format!("{} MB", digits(value)),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Plain => format!("{value:.4}"),
        }
    }
}

/// What a row shall reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    Least(f64),
    Most(f64),
    /// Reported, no more.
    None,
}

/// A row before it is measured.
pub(crate) struct Spec {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) goal: Goal,
    /// Said below the table while the goal is missed.
    pub(crate) missed: &'static str,
}

const fn spec(id: &'static str, title: &'static str, unit: Unit, goal: Goal) -> Spec {
    Spec {
        id,
        title,
        unit,
        goal,
        missed: "",
    }
}

impl Spec {
    const fn because(mut self, reason: &'static str) -> Self {
        self.missed = reason;
        self
    }
}

use Goal::{Least, Most};
use Unit::{Megabytes, Plain, Seconds, Share, Times};

/// Why a training step takes longer than it should beside a forward pass.
const TRAINING_COSTS: &str = "inference folds its normalisations into what loads them, training measures and \
                              differentiates them; and the thread that queues a step's many launches takes time from an \
                              adapter in software";

/// In the order of the table.
pub(crate) const SPECS: [Spec; 34] = [
    spec(
        "chromium-gpu-stock",
        "Chromium WebGPU, forward: ours / stock burn",
        Times,
        Least(8.0),
    ),
    spec(
        "chromium-gpu-browser",
        "Chromium WebGPU, `browser` preset at 64: ours / stock burn",
        Times,
        Least(8.0),
    ),
    spec(
        "chromium-gpu-blocks",
        "Chromium WebGPU, the paper's blocks: ours / stock burn",
        Times,
        Least(8.0),
    )
    .because(
        "the patch is 16^3, so that stock burn ends within minutes; rows of its lowest level (4 voxels) are shorter than \
         our tile (8 voxels)",
    ),
    spec(
        "chromium-gpu-ort",
        "Chromium WebGPU, forward: ours / onnxruntime-web",
        Times,
        Least(1.5),
    ),
    spec(
        "chromium-cpu-ort",
        "Chromium CPU, one thread: ours / onnxruntime-web",
        Times,
        Least(1.5),
    )
    .because(
        "in most cycles ours does a multiplication and an addition of four values, which is all that the 128-bit \
         vectors of WebAssembly allow; fused multiply-add (relaxed SIMD) is not in every browser yet",
    ),
    spec(
        "chromium-threads-ort",
        "Chromium CPU, all cores: ours / onnxruntime-web",
        Times,
        Least(1.2),
    ),
    spec(
        "chromium-cpu-stock",
        "Chromium CPU, one worker: ours / stock burn",
        Times,
        Goal::None,
    ),
    spec(
        "chromium-cpu-step",
        "Chromium CPU: training step / forward",
        Times,
        Most(3.5),
    )
    .because(TRAINING_COSTS),
    spec(
        "chromium-cpu-tune",
        "Chromium CPU: training step of the decoder / forward",
        Times,
        Goal::None,
    ),
    spec(
        "chromium-gpu-step",
        "Chromium WebGPU: training step / forward",
        Times,
        Most(3.5),
    )
    .because(TRAINING_COSTS),
    spec(
        "chromium-gpu-tune",
        "Chromium WebGPU: training step of the decoder / forward",
        Times,
        Goal::None,
    ),
    spec(
        "vulkan-forward-stock",
        "Vulkan on llvmpipe, forward: ours / stock burn",
        Times,
        Least(10.0),
    ),
    spec(
        "vulkan-step-stock",
        "Vulkan on llvmpipe, training step: ours / stock burn",
        Times,
        Least(10.0),
    ),
    spec(
        "vulkan-step-forward",
        "Vulkan on llvmpipe: training step / forward",
        Times,
        Most(3.5),
    )
    .because(TRAINING_COSTS),
    spec(
        "cpu-forward-torch",
        "Native CPU, forward: ours / PyTorch",
        Times,
        Least(1.0),
    ),
    spec(
        "cpu-step-torch",
        "Native CPU, training step: ours / PyTorch",
        Times,
        Least(1.0),
    ),
    spec(
        "cpu-step-forward",
        "Native CPU: training step / forward",
        Times,
        Most(3.5),
    )
    .because(TRAINING_COSTS),
    spec(
        "cpu-forward-stock",
        "Native CPU, forward: ours / stock burn",
        Times,
        Goal::None,
    ),
    spec(
        "cpu-step-stock",
        "Native CPU, training step: ours / stock burn",
        Times,
        Goal::None,
    ),
    spec(
        "head-linear",
        "Whole heads, time against volume: R squared of a line",
        Plain,
        Least(0.99),
    ),
    spec(
        "head-overhead",
        "Whole heads: time beyond the network's own",
        Share,
        Most(0.1),
    ),
    spec(
        "peak-cpu",
        "Native CPU: share of fp32 peak in the 3x3x3 layers",
        Share,
        Goal::None,
    ),
    spec(
        "peak-vulkan",
        "Vulkan on llvmpipe: share of fp32 peak in the 3x3x3 layers",
        Share,
        Goal::None,
    ),
    spec(
        "peak-chromium",
        "Chromium WebGPU: share of fp32 peak, whole network",
        Share,
        Goal::None,
    ),
    spec(
        "page-head-cpu",
        "Page, whole-head sample, CPU engine: ours / stock burn",
        Times,
        Least(1.0),
    ),
    spec(
        "page-head-gpu",
        "Page, whole-head sample: WebGPU, start to `Done`",
        Seconds,
        Most(1200.0),
    ),
    spec(
        "heap-desk",
        "Page, head of 256^3: wasm heap of the desk",
        Megabytes,
        Most(1000.0),
    ),
    spec(
        "heap-engine",
        "Page, head of 256^3: wasm heap of one CPU engine",
        Megabytes,
        Most(1000.0),
    ),
    spec(
        "heap-step",
        "Chromium CPU: wasm heap of an engine that trains the whole network",
        Megabytes,
        Goal::None,
    ),
    spec(
        "memory-gpu",
        "Peak memory on llvmpipe at patch 64, whole process",
        Megabytes,
        Most(600.0),
    ),
    spec(
        "memory-forward-torch",
        "Native CPU, forward: peak resident memory, PyTorch / ours",
        Times,
        Goal::None,
    ),
    spec(
        "memory-step-torch",
        "Native CPU, training step: peak resident memory, PyTorch / ours",
        Times,
        Goal::None,
    ),
    spec(
        "wire-page",
        "Over the wire: page, viewer, CPU engine, one network",
        Megabytes,
        Most(3.5),
    ),
    spec(
        "wire-gpu",
        "Over the wire: the GPU engine on top",
        Megabytes,
        Most(2.5),
    ),
];

/// The names of all rows, in order.
pub(crate) fn ids() -> Vec<&'static str> {
    SPECS.iter().map(|spec| spec.id).collect()
}

/// Why a row misses its target.
pub(crate) fn reason(id: &str) -> &'static str {
    SPECS
        .iter()
        .find(|spec| spec.id == id)
        .map_or("", |spec| spec.missed)
}

/// What a benchmark found, before it is a row.
pub(crate) struct Found {
    pub(crate) id: &'static str,
    pub(crate) value: f64,
    pub(crate) ours: Series,
    pub(crate) theirs: Option<Series>,
    pub(crate) notes: Vec<String>,
}

impl Found {
    /// How many times faster ours is, by the medians.
    pub(crate) fn faster(id: &'static str, ours: &Series, theirs: &Series, notes: &[String]) -> Self {
        Self {
            id,
            value: theirs.median() / ours.median(),
            ours: ours.clone(),
            theirs: Some(theirs.clone()),
            notes: notes.to_vec(),
        }
    }

    /// A figure that is compared with nothing; the value is the median.
    pub(crate) fn alone(id: &'static str, ours: Series) -> Self {
        Self {
            id,
            value: ours.median(),
            ours,
            theirs: None,
            notes: Vec::new(),
        }
    }

    /// The row; `None` if the catalogue has none of this name.
    pub(crate) fn row(self, machine: &Machine) -> Option<Row> {
        let spec = SPECS.iter().find(|spec| spec.id == self.id)?;
        let target = match spec.goal {
            Least(value) => Some((true, value, ">=")),
            Most(value) => Some((false, value, "<=")),
            Goal::None => None,
        };
        Some(Row {
            id: spec.id.to_owned(),
            title: spec.title.to_owned(),
            value: self.value,
            shown: spec.unit.show(self.value),
            target: target.map(|(least, value, sign)| Target {
                least,
                value,
                shown: format!("{sign} {}", goal(spec.unit, value)),
            }),
            ours: self.ours,
            theirs: self.theirs,
            notes: self.notes,
            machine: machine.clone(),
        })
    }
}

/// A target with its unit and no digits that nobody asked for.
fn goal(unit: Unit, value: f64) -> String {
    match unit {
        Times => format!("{value}x"),
        Share => format!("{} %", 100.0 * value),
        Megabytes => format!("{value} MB"),
        Seconds => format!("{value} s"),
        Plain => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let ids = ids();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    #[test]
    fn a_finding_becomes_a_row_with_its_target() {
        let series = |values: &[f64]| Series::new("x", "s", values.to_vec());
        let found = Found::faster(
            "chromium-gpu-ort",
            &series(&[2.0, 1.0, 9.0]),
            &series(&[5.0]),
            &[],
        );
        let row = found.row(&Machine::default());
        let row = row.as_ref();
        assert_eq!(row.map(|r| r.value), Some(2.5));
        assert_eq!(row.map(|r| r.shown.as_str()), Some("2.50x"));
        assert_eq!(row.and_then(Row::reached), Some(true));
        let target = row.and_then(|r| r.target.as_ref());
        assert_eq!(target.map(|t| t.shown.as_str()), Some(">= 1.5x"));
        assert!(
            Found::alone("no such row", series(&[1.0]))
                .row(&Machine::default())
                .is_none()
        );
    }
}
