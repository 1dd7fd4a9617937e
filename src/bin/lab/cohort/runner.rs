//! A network over prepared scans; what it found is kept, so that a command that is run again only runs what is new.

use super::score::Pass;
use crate::card::Card;
use crate::native::{DeviceChoice, Native, at, read, write};
use crate::segment;
use equipoise::pipeline::report::sha256;
use equipoise::pipeline::{Prepared, Settings, keep_deep};
use equipoise::tiling::Window;
use equipoise::volume::intensity::weigh;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

type Problem = Box<dyn std::error::Error>;

/// A network on a device.
pub(super) struct Runner {
    pub(super) card: Card,
    engine: Native,
    /// Where passes are kept.
    folder: PathBuf,
}

/// What one run found, on the head's grid.
struct Found {
    about: About,
    /// The probability, then that of each of `about.others`.
    volumes: Vec<Vec<f32>>,
}

/// The first line of a kept pass; the volumes follow as 32-bit numbers, the lowest byte first.
#[derive(Serialize, Deserialize)]
struct About {
    others: Vec<Window>,
    patches: usize,
    seconds: f64,
}

impl Runner {
    /// The network in a folder. Passes are kept in the folder `passes` of `out`: they are those of the same weights, device, settings and
    /// prepared scan. Whoever changes how a network is run must delete them.
    pub(super) fn open(model: &Path, device: DeviceChoice, out: &Path) -> Result<Self, Problem> {
        let (card, engine) = segment::model(model, device, false)?;
        let folder = out.join("passes");
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        Ok(Self { card, engine, folder })
    }

    /// Runs the network over a scan, unless that was done. What is kept is the vote itself; it is weighed by brightness on its way out.
    pub(super) fn pass(&self, prepared: &Prepared, settings: &Settings) -> Result<Pass, Problem> {
        let vote = Settings {
            hyperintensity: false,
            ..settings.clone()
        };
        let path = self.folder.join(self.key(prepared, &vote)?);
        let voxels = prepared.head.grid().len();
        let kept = path.exists().then(|| read(&path)).transpose()?;
        let found = match kept.and_then(|bytes| Found::from_bytes(&bytes, voxels)) {
            Some(found) => found,
            None => {
                let found = self.run(prepared, &vote)?;
                write(&path, &found.to_bytes()?)?;
                found
            }
        };
        let depth = prepared.head.depth();
        let mut volumes = found.volumes.into_iter().map(|mut volume| {
            // A pass that was kept before the surface was left out has votes there.
            keep_deep(&mut volume, &depth);
            if settings.hyperintensity {
                weigh(prepared.head.flair(), &mut volume, None);
            }
            volume
        });
        let first = volumes.next().ok_or("a pass without a probability")?;
        Ok(Pass {
            probability: prepared.restore(first)?,
            others: found
                .about
                .others
                .into_iter()
                .zip(volumes)
                .map(|(window, volume)| Ok((window, prepared.restore(volume)?)))
                .collect::<Result<_, Problem>>()?,
            patches: found.about.patches,
            seconds: found.about.seconds,
            settings: settings.clone(),
        })
    }

    fn run(&self, prepared: &Prepared, settings: &Settings) -> Result<Found, Problem> {
        let start = Instant::now();
        let run = equipoise::pipeline::segment(&prepared.head, &self.engine, settings, segment::tell);
        let found = pollster::block_on(run)?;
        let seconds = start.elapsed().as_secs_f64();
        eprintln!();
        let (others, rest): (Vec<_>, Vec<_>) = found
            .windows
            .into_iter()
            .filter(|(window, _)| *window != settings.window)
            .map(|(window, fused)| (window, fused.probability))
            .unzip();
        Ok(Found {
            about: About {
                others,
                patches: found.patches,
                seconds,
            },
            volumes: std::iter::once(found.probability).chain(rest).collect(),
        })
    }

    /// The name of a pass: a hash of all that it depends on.
    fn key(&self, prepared: &Prepared, settings: &Settings) -> Result<String, Problem> {
        let head = &prepared.head;
        let t1 = head.t1().unwrap_or_default();
        let mut bytes: Vec<u8> = head
            .flair()
            .iter()
            .chain(t1)
            .flat_map(|v| v.to_le_bytes())
            .collect();
        bytes.extend(head.foreground().iter().map(|inside| u8::from(*inside)));
        bytes.extend(serde_json::to_vec(&(
            &self.card.weights.sha256,
            self.engine.describe(),
            settings,
            head.grid().shape,
        ))?);
        Ok(sha256(&bytes))
    }
}

impl Found {
    fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec(&self.about)?;
        bytes.push(b'\n');
        bytes.extend(self.volumes.iter().flatten().flat_map(|v| v.to_le_bytes()));
        Ok(bytes)
    }

    /// `None` if the bytes are not a whole pass over so many voxels.
    fn from_bytes(bytes: &[u8], voxels: usize) -> Option<Self> {
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let about: About = serde_json::from_slice(&bytes[..end]).ok()?;
        let numbers = &bytes[end + 1..];
        if voxels == 0 || numbers.len() != 4 * voxels * (1 + about.others.len()) {
            return None;
        }
        let volume = |bytes: &[u8]| {
            let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            bytes.chunks_exact(4).map(number).collect()
        };
        Some(Self {
            about,
            volumes: numbers.chunks_exact(4 * voxels).map(volume).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_pass_comes_back_whole_or_not_at_all() {
        let found = Found {
            about: About {
                others: vec![Window::Uniform],
                patches: 3,
                seconds: 1.5,
            },
            volumes: vec![vec![0.25, 0.5, f32::MIN_POSITIVE], vec![1.0, 0.0, 0.125]],
        };
        let bytes = found.to_bytes().unwrap();
        let back = Found::from_bytes(&bytes, 3).unwrap();
        assert_eq!(back.volumes, found.volumes);
        assert_eq!(
            (back.about.others, back.about.patches),
            (vec![Window::Uniform], 3)
        );
        assert!(Found::from_bytes(&bytes, 4).is_none());
        assert!(Found::from_bytes(&bytes[..bytes.len() - 1], 3).is_none());
        assert!(Found::from_bytes(b"", 3).is_none());
    }
}
