//! The cases: which files belong together, and what the desk found in them.

use super::Effect;
use crate::pipeline::cohort::{self, Role};
use crate::web::app::state::FileCard;
use crate::web::messages::finetune::{CaseInfo, ToTuner};

/// What is known of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// A FLAIR or a mask is missing.
    Incomplete,
    /// The desk reads it.
    Checking,
    /// It is fit for training.
    Fit(Box<CaseInfo>),
    /// It is not; the sentence says why.
    Unfit(String),
}

/// A case.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Numbers of its files.
    pub flair: Option<u32>,
    /// See above.
    pub t1: Option<u32>,
    /// See above.
    pub mask: Option<u32>,
    /// What was decided when files were paired, one sentence each.
    pub notes: Vec<String>,
    /// What is known of it.
    pub standing: Standing,
    /// Counts the times it was sent to the desk.
    pub revision: u32,
}

impl Row {
    /// The file in a place.
    #[must_use]
    pub fn file(&self, role: Role) -> Option<u32> {
        match role {
            Role::Flair => self.flair,
            Role::T1 => self.t1,
            Role::Mask => self.mask,
        }
    }

    fn place(&mut self, role: Role) -> &mut Option<u32> {
        match role {
            Role::Flair => &mut self.flair,
            Role::T1 => &mut self.t1,
            Role::Mask => &mut self.mask,
        }
    }

    fn files(&self) -> impl Iterator<Item = u32> {
        [self.flair, self.t1, self.mask].into_iter().flatten()
    }

    /// What the desk found, if it is fit.
    #[must_use]
    pub fn info(&self) -> Option<&CaseInfo> {
        match &self.standing {
            Standing::Fit(info) => Some(info),
            _ => None,
        }
    }

    /// Sends the case to the desk if it is complete.
    fn check(&mut self) -> Vec<Effect> {
        self.revision += 1;
        let (Some(flair), Some(mask)) = (self.flair, self.mask) else {
            self.standing = Standing::Incomplete;
            return vec![Effect::Send(ToTuner::Drop { case: self.id }, Vec::new())];
        };
        self.standing = Standing::Checking;
        let message = ToTuner::Check {
            case: self.id,
            revision: self.revision,
            name: self.name.clone(),
            t1: self.t1.is_some(),
        };
        let files = [Some(flair), self.t1, Some(mask)].into_iter().flatten().collect();
        vec![Effect::Send(message, files)]
    }
}

/// All files, and the cases they make.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Cohort {
    files: Vec<FileCard>,
    rows: Vec<Row>,
    /// Files of no case, and why.
    left: Vec<(u32, String)>,
    last: u32,
}

/// Why a file belongs to no case that the person took it out of.
const TAKEN_OUT: &str = "You took it out of its case.";

impl Cohort {
    /// All files.
    #[must_use]
    pub fn files(&self) -> &[FileCard] {
        &self.files
    }

    /// All cases.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A case by its number.
    #[must_use]
    pub fn row(&self, case: u32) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == case)
    }

    /// Files that belong to no case, and why.
    pub fn left(&self) -> impl Iterator<Item = (&FileCard, &str)> {
        self.left
            .iter()
            .filter_map(|(id, why)| Some((self.file(*id)?, why.as_str())))
    }

    /// A file by its number.
    #[must_use]
    pub fn file(&self, id: u32) -> Option<&FileCard> {
        self.files.iter().find(|file| file.id == id)
    }

    /// The cases that can be trained on.
    #[must_use]
    pub fn fit(&self) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.info().is_some()).collect()
    }

    /// True while the desk reads a case.
    #[must_use]
    pub fn is_checking(&self) -> bool {
        self.rows.iter().any(|row| row.standing == Standing::Checking)
    }

    /// Takes files in and pairs them with those that have no case yet.
    pub(super) fn add(&mut self, files: Vec<FileCard>) -> Vec<Effect> {
        // The same file again is no news.
        let fresh: Vec<FileCard> = files
            .into_iter()
            .filter(|new| self.files.iter().all(|old| old.name != new.name))
            .collect();
        let mut pool: Vec<u32> = self.left.drain(..).map(|(id, _)| id).collect();
        let complete = |row: &Row| row.flair.is_some() && row.mask.is_some();
        for row in self.rows.iter().filter(|row| !complete(row)) {
            pool.extend(row.files());
        }
        self.rows.retain(complete);
        pool.extend(fresh.iter().map(|file| file.id));
        self.files.extend(fresh);
        let names: Vec<String> = pool
            .iter()
            .filter_map(|id| self.file(*id).map(|file| file.name.clone()))
            .collect();
        let pairing = cohort::pair(&names);
        self.left = pairing
            .left
            .into_iter()
            .filter_map(|left| Some((*pool.get(left.file)?, left.why)))
            .collect();
        let mut effects = Vec::new();
        for paired in pairing.cases {
            let at = |index: Option<usize>| index.and_then(|index| pool.get(index).copied());
            let mut row = self.blank(paired.name);
            row.flair = at(Some(paired.flair));
            row.t1 = at(paired.t1);
            row.mask = at(paired.mask);
            row.notes = paired.notes;
            effects.extend(row.check());
            self.rows.push(row);
        }
        effects
    }

    /// Takes a complete case in.
    pub(super) fn take(
        &mut self,
        name: String,
        flair: FileCard,
        t1: Option<FileCard>,
        mask: FileCard,
    ) -> Vec<Effect> {
        let mut row = self.blank(name);
        row.flair = Some(flair.id);
        row.t1 = t1.as_ref().map(|file| file.id);
        row.mask = Some(mask.id);
        self.files
            .extend([Some(flair), t1, Some(mask)].into_iter().flatten());
        let effects = row.check();
        self.rows.push(row);
        effects
    }

    /// Adds a case without files.
    pub(super) fn add_case(&mut self) {
        let name = format!("case {}", self.rows.len() + 1);
        let row = self.blank(name);
        self.rows.push(row);
    }

    /// Puts a file into a place of a case, out of wherever it was.
    pub(super) fn assign(&mut self, case: u32, role: Role, file: Option<u32>) -> Vec<Effect> {
        let mut changed = vec![case];
        if let Some(file) = file {
            self.left.retain(|(id, _)| *id != file);
            for row in &mut self.rows {
                for role in [Role::Flair, Role::T1, Role::Mask] {
                    if row.file(role) == Some(file) {
                        *row.place(role) = None;
                        changed.push(row.id);
                    }
                }
            }
        }
        let mut before = None;
        if let Some(row) = self.rows.iter_mut().find(|row| row.id == case) {
            before = std::mem::replace(row.place(role), file);
            row.notes.clear();
        }
        if let Some(before) = before.filter(|before| Some(*before) != file) {
            self.left.push((before, TAKEN_OUT.into()));
        }
        changed.sort_unstable();
        changed.dedup();
        self.rows
            .iter_mut()
            .filter(|row| changed.contains(&row.id))
            .flat_map(Row::check)
            .collect()
    }

    /// Removes a case and its files.
    pub(super) fn remove(&mut self, case: u32) -> Vec<Effect> {
        let Some(at) = self.rows.iter().position(|row| row.id == case) else {
            return Vec::new();
        };
        let gone: Vec<u32> = self.rows.remove(at).files().collect();
        self.files.retain(|file| !gone.contains(&file.id));
        vec![Effect::Send(ToTuner::Drop { case }, Vec::new())]
    }

    /// Removes a file that belongs to no case.
    pub(super) fn remove_file(&mut self, file: u32) {
        self.left.retain(|(id, _)| *id != file);
        self.files.retain(|known| known.id != file);
    }

    /// Takes over what the desk says of a case, unless it was sent again meanwhile. True if it was news.
    pub(super) fn learn(&mut self, case: u32, revision: u32, standing: Standing) -> bool {
        let row = self
            .rows
            .iter_mut()
            .find(|row| row.id == case && row.revision == revision);
        match row {
            Some(row) => {
                row.standing = standing;
                true
            }
            None => false,
        }
    }

    /// Takes a case in that the desk has read from storage: the page has no files of it.
    pub(super) fn restore(&mut self, case: u32, name: String, info: CaseInfo) {
        self.rows.retain(|row| row.id != case);
        self.last = self.last.max(case);
        self.rows.push(Row {
            id: case,
            name,
            flair: None,
            t1: None,
            mask: None,
            notes: Vec::new(),
            standing: Standing::Fit(Box::new(info)),
            revision: 0,
        });
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) -> Vec<Effect> {
        let gone = std::mem::take(&mut self.rows);
        self.files.clear();
        self.left.clear();
        gone.into_iter()
            .map(|row| Effect::Send(ToTuner::Drop { case: row.id }, Vec::new()))
            .collect()
    }

    /// Sends all complete cases to a new desk; those of which there are no files are gone with the old one.
    pub(super) fn check_again(&mut self) -> Vec<Effect> {
        self.rows
            .retain(|row| row.flair.is_some() || row.mask.is_some() || row.info().is_none());
        self.rows
            .iter_mut()
            .filter(|row| row.flair.is_some() && row.mask.is_some())
            .flat_map(Row::check)
            .collect()
    }

    fn blank(&mut self, name: String) -> Row {
        self.last += 1;
        Row {
            id: self.last,
            name,
            flair: None,
            t1: None,
            mask: None,
            notes: Vec::new(),
            standing: Standing::Incomplete,
            revision: 0,
        }
    }
}
