//! A network over one scan, and its probability beside what is right.

use super::alignment::{Alignment, Move};
use super::list::{Case, Group};
use super::threshold;
use crate::native::{at, read};
use crate::segment;
use equipoise::metrics::{self, BestThreshold, BySize, Evaluation, evaluate};
use equipoise::pipeline::{Prepared, Settings, prepare};
use equipoise::tiling::Window;
use equipoise::volume::nifti::{self, Limits, Scan};
use equipoise::volume::resample::{Interpolation, resample};
use equipoise::volume::{Grid, Volume};
use serde::Serialize;
use std::path::{Path, PathBuf};

type Problem = Box<dyn std::error::Error>;

/// What one case's file holds.
#[derive(Serialize)]
pub(crate) struct Scored<'a> {
    #[serde(skip)]
    pub(crate) group: &'a Group,
    pub(crate) heading: &'a str,
    pub(crate) model: &'a Path,
    pub(crate) case: &'a str,
    pub(crate) rater: &'a str,
    pub(crate) channels: &'static str,
    /// One of those of which the others choose a case's threshold.
    pub(crate) pool: bool,
    /// Run in four orientations.
    pub(crate) rotations: bool,
    /// Not weighed by brightness.
    pub(crate) any_brightness: bool,
    pub(crate) evaluation: Evaluation,
    /// Lesions by their size, cut at the evaluation's threshold.
    pub(crate) sizes: BySize,
    /// The reference laid on the scan, if it is on another grid.
    pub(crate) alignment: Option<Alignment>,
    /// DSC at each of [`threshold::grid`].
    pub(super) dsc_at: Vec<threshold::DscAt>,
}

impl Scored<'_> {
    /// What makes it the same result as another.
    pub(super) fn key(&self) -> (&Path, &str, &str, &str, [bool; 2]) {
        let how = [self.rotations, self.any_brightness];
        (self.model, self.case, self.channels, self.rater, how)
    }

    /// DSC at the evaluation's threshold; 1 if there is nothing to find and nothing was found.
    pub(crate) fn dsc(&self) -> f64 {
        self.evaluation.dsc.unwrap_or(1.0)
    }

    /// Its picture in a folder.
    pub(crate) fn picture(&self, folder: &Path) -> PathBuf {
        let name = format!("{} {} {}", self.model.display(), self.case, self.channels);
        let word = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        };
        let rotations = if self.rotations { "-rotations" } else { "" };
        let bright = if self.any_brightness {
            "-any-brightness"
        } else {
            ""
        };
        let name: String = name.chars().map(word).collect();
        folder
            .join("pictures")
            .join(format!("{name}{rotations}{bright}.png"))
    }

    /// Its line in a legend.
    pub(crate) fn label(&self) -> String {
        let model = self.model.display();
        let way = way(self.rotations, self.any_brightness);
        format!("{model}: {}, {}{way} ({})", self.case, self.channels, self.rater)
    }
}

/// How a case was segmented where that is not the usual way, to follow what it is said of.
pub(super) fn way(rotations: bool, any_brightness: bool) -> String {
    let rotations = if rotations { ", four rotations" } else { "" };
    let bright = if any_brightness {
        ", not weighed by brightness"
    } else {
        ""
    };
    format!("{rotations}{bright}")
}

/// The best DSC over all thresholds, with hindsight; none without reference lesions.
pub(super) fn best_dsc(evaluation: &Evaluation) -> Option<&BestThreshold> {
    let mut best = evaluation.best_thresholds.iter();
    best.find(|best| (best.beta - 1.0).abs() < 1e-9)
}

/// One case with everything that was read for it.
pub(super) struct Subject<'a> {
    pub(super) case: &'a Case,
    flair: Scan,
    t1: Option<Scan>,
    /// References, by rater.
    pub(super) raters: Vec<(&'a str, Truth)>,
}

impl<'a> Subject<'a> {
    pub(super) fn read(data: &Path, case: &'a Case) -> Result<Self, Problem> {
        let scan = |path: &Path| segment::scan(&data.join(path)).map(|(scan, _)| scan);
        let truth = |path: &Path| Truth::read(&data.join(path));
        Ok(Self {
            case,
            flair: scan(&case.flair)?,
            t1: case.t1.as_deref().map(scan).transpose()?,
            raters: case
                .references
                .iter()
                .map(|reference| Ok((reference.rater.as_str(), truth(&reference.mask)?)))
                .collect::<Result<_, Problem>>()?,
        })
    }

    pub(super) fn channels(&self) -> &'static str {
        if self.t1.is_some() { "FLAIR + T1" } else { "FLAIR" }
    }

    pub(super) fn prepare(&self) -> Result<Prepared, Problem> {
        Ok(prepare(&self.flair, self.t1.as_ref())?)
    }

    /// The same without T1, if there is one.
    pub(super) fn prepare_flair(&self) -> Result<Option<Prepared>, Problem> {
        let flair = || Ok(prepare(&self.flair, None)?);
        self.t1.is_some().then(flair).transpose()
    }

    /// A result of this case's channels beside what one rater marked.
    pub(super) fn score(
        &self,
        group: &'a Group,
        rater: usize,
        probability: &Volume,
    ) -> Result<Scored<'a>, Problem> {
        let (name, truth) = &self.raters[rater];
        let placed = truth.place(probability)?;
        let evaluation = truth.evaluate(&placed)?;
        let (shape, voxel) = (truth.grid.shape, truth.grid.voxel_volume());
        let settings = &evaluation.settings;
        let cut: Vec<bool> = placed
            .iter()
            .map(|&p| p > 0.0 && p >= settings.threshold)
            .collect();
        // Another rater tells where a rater's mask lies; the only one has to do it alone.
        let (by, other) = &self.raters[(rater + 1) % self.raters.len()];
        let alignment = Move::find(&self.flair.volume, &other.grid, &other.lesion)
            .map(|found| found.score(by, &truth.grid, &truth.lesion, probability, settings.threshold))
            .transpose()?;
        Ok(Scored {
            group,
            rotations: group.rotations,
            any_brightness: group.any_brightness,
            heading: &group.heading,
            model: &group.model,
            case: &self.case.name,
            rater: name,
            channels: self.channels(),
            pool: group.pool && rater == 0,
            sizes: BySize::new(&truth.lesion, &cut, shape, voxel, settings.connectivity)?,
            alignment,
            dsc_at: threshold::dsc_at(&truth.lesion, &placed)?,
            evaluation,
        })
    }
}

/// What one rater marked.
pub(super) struct Truth {
    lesion: Vec<bool>,
    grid: Grid,
}

impl Truth {
    fn read(path: &Path) -> Result<Self, Problem> {
        let Volume { grid, data } = nifti::read(&read(path)?, &Limits::default())
            .map_err(at(path))?
            .volume;
        let lesion = data.iter().map(|v| *v > 0.0).collect();
        Ok(Self { lesion, grid })
    }

    /// 1 where there is lesion.
    pub(super) fn volume(&self) -> Volume {
        Volume {
            grid: self.grid.clone(),
            data: self.lesion.iter().map(|l| f32::from(u8::from(*l))).collect(),
        }
    }

    /// A probability on this reference's grid.
    pub(super) fn place(&self, probability: &Volume) -> Result<Vec<f32>, Problem> {
        Ok(resample(probability, &self.grid, Interpolation::Linear, 0.0)?.data)
    }

    /// Scores a probability on this reference's grid.
    pub(super) fn evaluate(&self, placed: &[f32]) -> Result<Evaluation, Problem> {
        let settings = metrics::Settings::default();
        let voxel = self.grid.voxel_volume();
        Ok(evaluate(&self.lesion, placed, self.grid.shape, voxel, &settings)?)
    }
}

/// One run of a network over one scan.
pub(super) struct Pass {
    /// Lesion probability on the FLAIR's grid.
    pub(super) probability: Volume,
    /// The same votes fused by other windows, if the settings asked for them.
    pub(super) others: Vec<(Window, Volume)>,
    /// Patches predicted, rotations counted.
    pub(super) patches: usize,
    /// Time from prepared scan to fused probability.
    pub(super) seconds: f64,
    pub(super) settings: Settings,
}
