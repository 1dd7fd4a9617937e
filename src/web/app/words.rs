//! Numbers in words, with their units.

use super::state::Run;
use crate::web::messages::{EngineKind, Plan, Progress, ScanInfo};

/// A duration as a person says it: `40 s`, `3 min`, `1 h 20 min`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 1.0 {
        return "less than 1 s".into();
    }
    if seconds < 90.0 {
        return format!("{seconds:.0} s");
    }
    let minutes = (seconds / 60.0).round();
    if minutes < 60.0 {
        return format!("{minutes:.0} min");
    }
    let (hours, minutes) = ((minutes / 60.0).floor(), minutes % 60.0);
    if minutes < 1.0 {
        format!("{hours:.0} h")
    } else {
        format!("{hours:.0} h {minutes:.0} min")
    }
}

/// Bytes as MB or GB (powers of ten, as file managers and browsers count).
#[must_use]
pub fn bytes(count: u64) -> String {
    let mega = count as f64 / 1e6;
    if mega < 1000.0 {
        format!("{:.0} MB", mega.max(1.0))
    } else {
        format!("{:.1} GB", mega / 1000.0)
    }
}

/// Lesion load: three significant figures where they mean something.
#[must_use]
pub fn millilitres(load: f64) -> String {
    if load < 10.0 {
        format!("{load:.2} mL")
    } else if load < 100.0 {
        format!("{load:.1} mL")
    } else {
        format!("{load:.0} mL")
    }
}

/// A threshold with as many digits as the sliders have; where that would be 0, that it is less.
#[must_use]
pub fn threshold(value: f32) -> String {
    if value <= 0.005 {
        "below 0.01".to_owned()
    } else {
        format!("{value:.2}")
    }
}

/// The engine's name.
#[must_use]
pub fn engine(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Cpu => "CPU",
        EngineKind::WebGpu => "WebGPU",
    }
}

/// What a run would cost: `About 3 min on CPU, 4 workers, 252 patches of 48³ voxels, 1.2 GB of memory`.
#[must_use]
pub fn plan(plan: &Plan) -> String {
    let time = plan.seconds.map_or_else(
        || "Time not known before the first run".to_owned(),
        |seconds| format!("About {}", duration(seconds)),
    );
    format!(
        "{time} on {}, {}, {} of {}³ voxels, {} of memory",
        engine(plan.engine),
        counted(plan.workers, "worker"),
        counted(plan.tiles, "patch"),
        plan.patch,
        bytes(plan.bytes),
    )
}

/// How far a run is: `Patch 12 of 252, about 2 min left`.
#[must_use]
pub fn progress(progress: &Progress) -> String {
    if progress.total == 0 {
        return String::new();
    }
    let mut words = format!("Patch {} of {}", progress.done, progress.total);
    if let Some(left) = progress.seconds_left {
        words.push_str(&format!(", about {} left", duration(left)));
    }
    words
}

/// The document's title.
#[must_use]
pub fn title(run: &Run) -> String {
    const NAME: &str = "Equipoise";
    match run {
        Run::Running {
            progress: Some(Progress { done, total, .. }),
            ..
        } if *total > 0 => format!("{} % · {NAME}", 100 * done / total),
        Run::Running { .. } => format!("… · {NAME}"),
        Run::Done(_) => format!("Done · {NAME}"),
        _ => format!("{NAME}: MS lesion segmentation"),
    }
}

/// A scan's grid: `182 × 218 × 182 voxels of 1 × 1 × 1 mm`.
#[must_use]
pub fn grid(info: &ScanInfo) -> String {
    let [x, y, z] = info.shape;
    let [dx, dy, dz] = info.spacing.map(millimetres);
    format!("{x} × {y} × {z} voxels of {dx} × {dy} × {dz} mm")
}

/// A length without trailing zeros, two decimals at most.
fn millimetres(length: f64) -> String {
    let text = format!("{length:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A number with its noun in the right form.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    match (count, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "patch") => format!("{count} patches"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_never_said_to_be_nothing() {
        for (value, said) in [
            (0.0, "below 0.01"),
            (0.0049, "below 0.01"),
            (0.0051, "0.01"),
            (0.5, "0.50"),
            (1.0, "1.00"),
        ] {
            assert_eq!(threshold(value), said);
        }
    }

    #[test]
    fn durations_are_said_in_the_unit_that_fits() {
        for (seconds, said) in [
            (0.2, "less than 1 s"),
            (-4.0, "less than 1 s"),
            (42.4, "42 s"),
            (89.9, "90 s"),
            (179.0, "3 min"),
            (3570.0, "1 h"),
            (4800.0, "1 h 20 min"),
        ] {
            assert_eq!(duration(seconds), said);
        }
    }

    #[test]
    fn loads_keep_three_figures() {
        assert_eq!(millilitres(0.0), "0.00 mL");
        assert_eq!(millilitres(3.456), "3.46 mL");
        assert_eq!(millilitres(34.56), "34.6 mL");
        assert_eq!(millilitres(345.6), "346 mL");
    }

    #[test]
    fn a_plan_is_one_sentence_with_units() {
        let mut known = Plan {
            engine: EngineKind::Cpu,
            why: String::new(),
            workers: 4,
            patch: 48,
            tiles: 252,
            seconds: Some(185.0),
            bytes: 1_230_000_000,
        };
        assert_eq!(
            plan(&known),
            "About 3 min on CPU, 4 workers, 252 patches of 48³ voxels, 1.2 GB of memory"
        );
        known.seconds = None;
        known.workers = 1;
        known.tiles = 1;
        known.engine = EngineKind::WebGpu;
        assert_eq!(
            plan(&known),
            "Time not known before the first run on WebGPU, 1 worker, 1 patch of 48³ voxels, 1.2 GB of memory"
        );
    }

    #[test]
    fn progress_says_nothing_before_the_total_is_known() {
        let mut now = Progress {
            stage: "Segmenting".into(),
            done: 0,
            total: 0,
            seconds_left: None,
        };
        assert_eq!(progress(&now), "");
        now.total = 252;
        now.done = 12;
        assert_eq!(progress(&now), "Patch 12 of 252");
        now.seconds_left = Some(120.0);
        assert_eq!(progress(&now), "Patch 12 of 252, about 2 min left");
    }

    #[test]
    fn the_title_counts_up() {
        let running = Run::Running {
            progress: Some(Progress {
                stage: "Segmenting".into(),
                done: 25,
                total: 100,
                seconds_left: None,
            }),
            cancelling: false,
        };
        assert_eq!(title(&running), "25 % · Equipoise");
        assert_eq!(title(&Run::Idle), "Equipoise: MS lesion segmentation");
    }

    #[test]
    fn a_grid_has_no_trailing_zeros() {
        let info = ScanInfo {
            name: String::new(),
            shape: [182, 218, 60],
            spacing: [1.0, 0.9375, 3.5],
            datatype: "int16".into(),
            orientation: "LAS".into(),
            notes: Vec::new(),
        };
        assert_eq!(grid(&info), "182 × 218 × 60 voxels of 1 × 0.94 × 3.5 mm");
    }
}
