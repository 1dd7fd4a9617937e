//! Many scans, one after the other, with the settings of the page.
//!
//! A batch does what a person would do: it opens a scan, segments it, and asks for its numbers; a person who opens another
//! scan meanwhile ends it.

use super::{Effect, FileCard, Input, Run, State};
use crate::pipeline::cohort::{pair, role};
use crate::pipeline::names::Output;
use crate::web::messages::{Slot, ToDesk};

/// What became of a scan.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Its turn has not come.
    Waiting,
    /// It is being read, segmented or counted.
    Working,
    /// It is done.
    Done {
        /// Lesion load in millilitres.
        load_ml: f64,
        /// Number of lesions.
        lesions: usize,
    },
    /// It could not be done; the sentence says why.
    Failed(String),
}

/// A scan of the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The FLAIR.
    pub flair: FileCard,
    /// Its T1, if one was found by its name.
    pub t1: Option<FileCard>,
    /// What became of it.
    pub fate: Fate,
    /// Its line of the table, without the first columns.
    line: String,
}

/// What a batch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Segmenting,
    Counting,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Batch {
    /// The scans in their order.
    pub items: Vec<Item>,
    /// Files that are part of no scan, and why.
    pub left: Vec<String>,
    /// Put file names into the saved table.
    pub with_names: bool,
    /// Save every result as it comes.
    pub keep: bool,
    /// The scan at work.
    now: Option<(usize, Phase)>,
    /// The heading of the lines.
    heading: String,
}

/// What a person does with a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchAction {
    /// Take these files instead.
    Take(Vec<FileCard>),
    /// Start, or go on.
    Start,
    /// Stop after what is done.
    Stop,
    /// Forget the list.
    Clear,
    /// Put file names into the saved table.
    WithNames(bool),
    /// Save every result as it comes.
    Keep(bool),
    /// The numbers of the scan at work.
    Line(String),
    /// Save the table.
    Save,
}

impl Batch {
    /// True while it works.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.now.is_some()
    }

    /// Scans done or failed.
    #[must_use]
    pub fn finished(&self) -> usize {
        let over = |item: &&Item| matches!(item.fate, Fate::Done { .. } | Fate::Failed(_));
        self.items.iter().filter(over).count()
    }

    /// Numbers of the files that it still needs.
    pub(super) fn files(&self) -> impl Iterator<Item = u32> {
        let of = |item: &Item| [Some(item.flair.id), item.t1.as_ref().map(|t1| t1.id)];
        self.items.iter().flat_map(of).flatten()
    }

    fn take(&mut self, files: &[FileCard]) {
        let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
        let pairing = pair(&names);
        let item = |flair: usize, t1: Option<usize>| Item {
            flair: files[flair].clone(),
            t1: t1.map(|t1| files[t1].clone()),
            fate: Fate::Waiting,
            line: String::new(),
        };
        self.items = pairing
            .cases
            .iter()
            .map(|case| item(case.flair, case.t1))
            .collect();
        self.left.clear();
        for left in &pairing.left {
            // A name that says nothing is taken for a FLAIR's, as where a single file is opened.
            if role(&names[left.file]).is_none() {
                self.items.push(item(left.file, None));
            } else {
                self.left.push(format!("{}: {}", names[left.file], left.why));
            }
        }
    }

    /// The table of all scans that are done or have failed.
    #[must_use]
    pub fn csv(&self) -> String {
        let name = if self.with_names { "name," } else { "" };
        let mut text = format!("scan,{name}error,{}\r\n", self.heading);
        let empty = ",".repeat(self.heading.matches(',').count());
        for (at, item) in self.items.iter().enumerate() {
            let (error, line) = match &item.fate {
                Fate::Done { .. } => (String::new(), &item.line),
                Fate::Failed(why) => (quoted(why), &empty),
                Fate::Waiting | Fate::Working => continue,
            };
            let name = if self.with_names {
                format!("{},", quoted(&item.flair.name))
            } else {
                String::new()
            };
            text.push_str(&format!("{},{name}{error},{line}\r\n", at + 1));
        }
        text
    }
}

/// A field in quotes (RFC 4180).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

impl State {
    pub(super) fn batch(&mut self, action: BatchAction) -> Vec<Effect> {
        match action {
            BatchAction::Take(files) => {
                self.batch.now = None;
                self.batch.take(&files);
                return vec![self.keep_files()];
            }
            BatchAction::Start => {
                for item in &mut self.batch.items {
                    if item.fate == Fate::Working {
                        item.fate = Fate::Waiting;
                    }
                }
                return self.next_of_batch();
            }
            BatchAction::Stop => {
                self.end_batch();
                return self.cancel();
            }
            BatchAction::Clear => {
                self.batch.items.clear();
                self.batch.left.clear();
                self.batch.now = None;
                return vec![self.keep_files()];
            }
            BatchAction::WithNames(with_names) => self.batch.with_names = with_names,
            BatchAction::Keep(keep) => self.batch.keep = keep,
            BatchAction::Line(text) => return self.counted(&text),
            BatchAction::Save => {
                return vec![Effect::DownloadText(
                    "lesions_batch.csv".to_owned(),
                    self.batch.csv(),
                )];
            }
        }
        Vec::new()
    }

    /// The person does something else.
    pub(super) fn end_batch(&mut self) {
        if let Some((at, _)) = self.batch.now.take() {
            self.batch.items[at].fate = Fate::Waiting;
        }
    }

    fn next_of_batch(&mut self) -> Vec<Effect> {
        self.batch.now = None;
        let waits = |item: &Item| item.fate == Fate::Waiting;
        let Some(at) = self.batch.items.iter().position(waits) else {
            return Vec::new();
        };
        let item = &mut self.batch.items[at];
        item.fate = Fate::Working;
        let mut files = vec![(Slot::Flair, item.flair.clone())];
        files.extend(item.t1.clone().map(|t1| (Slot::T1, t1)));
        self.batch.now = Some((at, Phase::Opening));
        // The T1 of the scan before must not stay.
        let mut effects = self.remove(Slot::T1);
        effects.extend(self.pick(files));
        effects
    }

    fn fail_in_batch(&mut self, at: usize, why: String) -> Vec<Effect> {
        self.batch.items[at].fate = Fate::Failed(why);
        self.next_of_batch()
    }

    /// Takes the batch further when what it waits for has come.
    pub(super) fn advance_batch(&mut self) -> Vec<Effect> {
        let Some((at, phase)) = self.batch.now else {
            return Vec::new();
        };
        match phase {
            Phase::Opening => {
                let refused = [&self.flair, &self.t1].into_iter().find_map(|input| match input {
                    Input::Refused { problem, .. } => Some(problem.clone()),
                    _ => None,
                });
                if let Some(problem) = refused {
                    return self.fail_in_batch(at, problem);
                }
                if !self.can_segment() {
                    return Vec::new();
                }
                self.batch.now = Some((at, Phase::Segmenting));
                self.segment()
            }
            Phase::Segmenting => match &self.run {
                Run::Done(outcome) if outcome.is_settled() => {
                    self.batch.now = Some((at, Phase::Counting));
                    let mut effects = vec![self.send(ToDesk::Save(Output::Summary))];
                    if self.batch.keep {
                        effects.push(self.send(ToDesk::Save(Output::Archive)));
                    }
                    effects
                }
                Run::Failed => {
                    let why = self.notices.iter().last().map(|notice| notice.text.clone());
                    self.fail_in_batch(at, why.unwrap_or_default())
                }
                Run::Cancelled | Run::Idle => {
                    self.end_batch();
                    Vec::new()
                }
                Run::Done(_) | Run::Running { .. } => Vec::new(),
            },
            Phase::Counting => Vec::new(),
        }
    }

    /// A file that the batch asked for, and nobody else.
    pub(super) fn is_for_batch(&self, name: &str) -> bool {
        matches!(self.batch.now, Some((_, Phase::Counting))) && name.ends_with("_summary.csv")
    }

    fn counted(&mut self, text: &str) -> Vec<Effect> {
        let (Some((at, Phase::Counting)), Some(outcome)) = (self.batch.now, self.outcome()) else {
            return Vec::new();
        };
        let (load_ml, lesions) = outcome
            .mask
            .as_ref()
            .map_or((0.0, 0), |mask| (mask.load_ml, mask.lesions.len()));
        let mut lines = text.lines();
        self.batch.heading = lines.next().unwrap_or_default().to_owned();
        self.batch.items[at].line = lines.next().unwrap_or_default().to_owned();
        self.batch.items[at].fate = Fate::Done { load_ml, lesions };
        self.next_of_batch()
    }
}
