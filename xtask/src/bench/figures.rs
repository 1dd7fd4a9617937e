//! `docs/performance.json`: every figure with the values it was made of and the machine it was measured on.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::machine::Machine;

/// What was measured, several times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// Whose it is: the program, its version, its device.
    pub(crate) name: String,
    /// Unit of the values.
    pub(crate) unit: String,
    /// Every value, in the order it was measured.
    pub(crate) values: Vec<f64>,
}

impl Series {
    pub(crate) fn new(name: impl Into<String>, unit: &str, values: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit: unit.to_owned(),
            values,
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The middle value; the mean of the middle two of an even number.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        match (sorted.get(low), sorted.get(high)) {
            (Some(low), Some(high)) => (low + high) / 2.0,
            _ => f64::NAN,
        }
    }

    /// Smallest and largest value.
    pub(crate) fn range(&self) -> (f64, f64) {
        let sorted = self.sorted();
        let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        (end(sorted.first()), end(sorted.last()))
    }

    /// The median, and how far the values spread: `0.284 s (0.27 to 0.33, n = 7)`.
    pub(crate) fn words(&self) -> String {
        let median = digits(self.median());
        let (low, high) = self.range();
        let unit = &self.unit;
        match self.values.len() {
            1 => format!("{median} {unit} (n = 1)"),
            n => format!("{median} {unit} ({} to {}, n = {n})", digits(low), digits(high)),
        }
    }
}

/// Three significant digits.
pub(crate) fn digits(value: f64) -> String {
    let places = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.places$}")
}

/// What a row shall reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Whether the value shall be at least this; else at most.
    pub(crate) least: bool,
    /// In the row's unit.
    pub(crate) value: f64,
    /// In words.
    pub(crate) shown: String,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its name; a row measured again replaces the one of the same name.
    pub(crate) id: String,
    /// What it says, for people.
    pub(crate) title: String,
    /// The figure.
    pub(crate) value: f64,
    /// The figure with its unit.
    pub(crate) shown: String,
    pub(crate) target: Option<Target>,
    /// What the figure is made of.
    pub(crate) ours: Series,
    pub(crate) theirs: Option<Series>,
    /// What a reader should know about the measurement, one sentence each.
    pub(crate) notes: Vec<String>,
    pub(crate) machine: Machine,
}

impl Row {
    /// Whether the target is reached; `None` without one.
    pub(crate) fn reached(&self) -> Option<bool> {
        let target = self.target.as_ref()?;
        Some(if target.least {
            self.value >= target.value
        } else {
            self.value <= target.value
        })
    }
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) rows: Vec<Row>,
}

impl Figures {
    /// Reads the file; none, or one of another form, counts as empty.
    pub(crate) fn read(file: &Path) -> Self {
        fs::read(file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("could not write {}", file.display()))
    }

    /// Takes up rows measured again, in the order of `ids`; rows that have no place in it are dropped.
    pub(crate) fn merge(&mut self, fresh: Vec<Row>, ids: &[&str]) {
        for row in fresh {
            self.rows.retain(|old| old.id != row.id);
            self.rows.push(row);
        }
        let place = |row: &Row| ids.iter().position(|id| *id == row.id);
        self.rows.retain(|row| place(row).is_some());
        self.rows.sort_by_key(place);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn row(id: &str, value: f64, target: Option<(bool, f64)>) -> Row {
        Row {
            id: id.to_owned(),
            title: format!("title of {id}"),
            value,
            shown: format!("{value}x"),
            target: target.map(|(least, value)| Target {
                least,
                value,
                shown: format!("{value}"),
            }),
            ours: Series::new("ours", "s", vec![0.3, 0.1, 0.2]),
            theirs: None,
            notes: Vec::new(),
            machine: Machine::default(),
        }
    }

    #[test]
    fn a_series_is_told_by_its_median_and_its_range() {
        let odd = Series::new("", "s", vec![0.3, 0.1, 0.2]);
        assert_eq!(odd.words(), "0.200 s (0.100 to 0.300, n = 3)");
        let even = Series::new("", "s", vec![10.0, 40.0, 20.0, 100.0]);
        assert_eq!(even.median(), 30.0);
        assert_eq!(even.words(), "30.0 s (10.0 to 100, n = 4)");
        assert_eq!(Series::new("", "MB", vec![512.0]).words(), "512 MB (n = 1)");
        assert!(Series::new("", "s", Vec::new()).median().is_nan());
    }

    #[test]
    fn a_row_measured_again_replaces_the_old_one_and_keeps_its_place() {
        let mut figures = Figures {
            rows: vec![row("a", 1.0, None), row("b", 2.0, None), row("gone", 3.0, None)],
        };
        figures.merge(vec![row("c", 5.0, None), row("a", 4.0, None)], &["a", "b", "c"]);
        let found: Vec<_> = figures.rows.iter().map(|r| (r.id.as_str(), r.value)).collect();
        assert_eq!(found, [("a", 4.0), ("b", 2.0), ("c", 5.0)]);
    }

    #[test]
    fn figures_survive_their_file_and_a_foreign_file_is_no_figures() -> Result<()> {
        let file = std::env::temp_dir().join(format!("equipoise-figures-{}.json", std::process::id()));
        let figures = Figures {
            rows: vec![row("a", 1.5, Some((true, 1.0)))],
        };
        figures.write(&file)?;
        assert_eq!(Figures::read(&file), figures);
        fs::write(&file, "{\"native\": []}")?;
        assert_eq!(Figures::read(&file), Figures::default());
        fs::remove_file(&file)?;
        assert_eq!(Figures::read(&file), Figures::default());
        Ok(())
    }

    #[test]
    fn a_target_is_reached_from_its_own_side() {
        assert_eq!(row("a", 8.0, Some((true, 8.0))).reached(), Some(true));
        assert_eq!(row("a", 7.9, Some((true, 8.0))).reached(), Some(false));
        assert_eq!(row("a", 7.9, Some((false, 8.0))).reached(), Some(true));
        assert_eq!(row("a", 7.9, None).reached(), None);
        assert_eq!(row("a", f64::NAN, Some((true, 8.0))).reached(), Some(false));
    }
}
