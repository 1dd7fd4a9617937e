//! Things a person must be able to read until they say they have.

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Something changed by itself.
    Warning,
    /// Something did not work.
    Error,
}

/// A sentence that stays until it is dismissed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Number to dismiss it by.
    pub id: u32,
    /// How much it matters.
    pub kind: NoticeKind,
    /// The sentence.
    pub text: String,
}

/// The notices that were not dismissed yet, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Notices {
    list: Vec<Notice>,
    last: u32,
}

/// So many are readable at once; the oldest give way.
const MOST: usize = 4;

impl Notices {
    /// Adds a sentence; one that is already there moves to the end instead of standing there twice.
    pub(super) fn add(&mut self, kind: NoticeKind, text: impl Into<String>) {
        let text = text.into();
        self.list.retain(|notice| notice.text != text);
        self.last += 1;
        self.list.push(Notice {
            id: self.last,
            kind,
            text,
        });
        if self.list.len() > MOST {
            self.list.remove(0);
        }
    }

    pub(super) fn dismiss(&mut self, id: u32) {
        self.list.retain(|notice| notice.id != id);
    }

    /// Removes what was said about the run that is now over.
    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Notice> {
        self.list.iter()
    }
}
