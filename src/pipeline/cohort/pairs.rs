//! Which files make a case.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Role;
use super::names::{Kind, Name};

/// The files of one case, as indices into the list that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paired {
    /// What to call it, without folders; no two cases of a cohort have the same.
    pub name: String,
    /// The FLAIR.
    pub flair: usize,
    /// The T1, if there is one.
    pub t1: Option<usize>,
    /// The lesion mask; `None` if no name fits, so that a person can choose it.
    pub mask: Option<usize>,
    /// What a person should look at, one sentence each.
    pub notes: Vec<String>,
}

/// A file that is part of no case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its index.
    pub file: usize,
    /// Why, in a sentence.
    pub why: String,
}

/// Files sorted into cases. Every file is in one case, once, or left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairing {
    /// The cases in the order of their names.
    pub cases: Vec<Paired>,
    /// The other files, in the order they were given.
    pub left: Vec<Left>,
}

/// Pairs files by their names, which may hold folders. The order in which they are given changes nothing.
///
/// A T1 and a mask belong to the FLAIR that has the same words left when everything is taken away that says what kind of image
/// it is: in BIDS the same `sub` and `ses`, then as many further entities (`acq`, `run`, ...) as possible. Names of which one
/// says more than the other are paired if only one FLAIR fits; a single FLAIR and a single mask are paired whatever they are called.
#[must_use]
pub fn pair(names: &[String]) -> Pairing {
    let read: Vec<Name> = names.iter().map(|name| Name::read(name)).collect();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| natural(&names[a]).cmp(&natural(&names[b])).then(a.cmp(&b)));
    let of = |role| -> Vec<usize> {
        order
            .iter()
            .copied()
            .filter(|&file| read[file].kind == Kind::Image(role))
            .collect()
    };
    let flairs = of(Role::Flair);
    let mut pairing = Pairing {
        cases: name_cases(&flairs, &read, names),
        left: Vec::new(),
    };
    let mut why: BTreeMap<usize, String> = BTreeMap::new();
    for (role, what) in [(Role::T1, "T1"), (Role::Mask, "mask")] {
        let mut free = of(role);
        // The best fits of all are taken first, so that a mask of run 1 is not given to run 2.
        let mut fits: Vec<(Fit, usize, usize)> = Vec::new();
        for (rank, &file) in free.iter().enumerate() {
            for (case, &flair) in flairs.iter().enumerate() {
                fits.extend(fit(&read[flair], &read[file]).map(|fit| (fit, case, rank)));
            }
        }
        fits.sort_by_key(|&(fit, case, rank)| (Reverse(fit), case, rank));
        let mut rivals: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut given = BTreeSet::new();
        for &(fit, case, rank) in &fits {
            let slot = slot(&mut pairing.cases[case], role);
            let file = free[rank];
            if given.contains(&file) {
                continue;
            }
            if slot.is_some() {
                rivals.entry(file).or_default().push(case);
                continue;
            }
            // One name says more than the other: only if nothing else fits as well.
            let unsure = fit.sure < 2;
            let others = fits
                .iter()
                .filter(|(other, c, r)| other.sure == fit.sure && (*c == case) != (*r == rank))
                .count();
            if unsure && others > 0 {
                continue;
            }
            *slot = Some(file);
            given.insert(file);
        }
        free.retain(|file| !given.contains(file));
        let open: Vec<usize> = (0..flairs.len())
            .filter(|&case| slot(&mut pairing.cases[case], role).is_none())
            .collect();
        if let ([case], [file], Role::Mask) = (&open[..], &free[..], role)
            && !rivals.contains_key(file)
        {
            *slot(&mut pairing.cases[*case], role) = Some(*file);
            pairing.cases[*case]
                .notes
                .push("The mask's name does not match; it was taken because nothing else is left. Check that it belongs here.".to_owned());
            free.clear();
        }
        for file in free {
            let sentence = match rivals.get(&file).map(Vec::as_slice) {
                Some([case, ..]) => {
                    let case = &mut pairing.cases[*case];
                    let note = format!("More than one {what} fits by name; the first was taken.");
                    if !case.notes.contains(&note) {
                        case.notes.push(note);
                    }
                    format!("Another {what} was taken for {}.", case.name)
                }
                _ => format!("It looks like a {what}, but no FLAIR has a name that fits."),
            };
            why.insert(file, sentence);
        }
    }
    for case in &mut pairing.cases {
        if case.mask.is_none() {
            case.notes
                .push("No mask fits by name; choose it by hand.".to_owned());
        }
    }
    for (file, name) in read.iter().enumerate() {
        if let Kind::Other(reason) = name.kind {
            why.insert(file, reason.to_owned());
        }
    }
    pairing.left = why.into_iter().map(|(file, why)| Left { file, why }).collect();
    pairing
}

/// The place of a role in a case that is not its FLAIR.
fn slot(case: &mut Paired, role: Role) -> &mut Option<usize> {
    match role {
        Role::T1 => &mut case.t1,
        Role::Mask | Role::Flair => &mut case.mask,
    }
}

/// How well two names fit; greater is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// 2: the same words; 1: the words of one are among the other's.
    sure: u8,
    /// Details that both state and agree on.
    agree: usize,
    /// Details that only one of them states.
    silent: Reverse<usize>,
}

/// How well a file fits a FLAIR; `None` if they are of different cases.
fn fit(flair: &Name, file: &Name) -> Option<Fit> {
    let words = |name: &Name| name.whose.iter().cloned().collect::<BTreeSet<_>>();
    let (a, b) = (words(flair), words(file));
    let sure = if a == b {
        2
    } else if !a.is_empty() && !b.is_empty() && (a.is_subset(&b) || b.is_subset(&a)) {
        1
    } else {
        return None;
    };
    // Acquisition and run tell images of one visit apart; the other entities (space, desc, ...) tell versions of one.
    for key in ["run", "acq"] {
        let (a, b) = (flair.details.get(key), file.details.get(key));
        // A T1 is another acquisition than the FLAIR by nature.
        let differ = matches!((a, b), (Some(a), Some(b)) if a != b);
        if differ && (key == "run" || file.kind == Kind::Image(Role::Mask)) {
            return None;
        }
    }
    let agree = flair
        .details
        .iter()
        .filter(|(key, value)| file.details.get(*key) == Some(value))
        .count();
    let stated = flair.details.len() + file.details.len();
    Some(Fit {
        sure,
        agree,
        silent: Reverse(stated - 2 * agree),
    })
}

/// One case for each FLAIR, with a name of its own.
fn name_cases(flairs: &[usize], read: &[Name], names: &[String]) -> Vec<Paired> {
    let short = |file: usize| {
        let name = &read[file];
        if name.whose.is_empty() {
            "case".to_owned()
        } else {
            name.whose.join("_")
        }
    };
    let long = |file: usize| {
        let details = read[file].details.iter().map(|(k, v)| format!("_{k}-{v}"));
        short(file) + &details.collect::<String>()
    };
    let count = |name: &str, of: &dyn Fn(usize) -> String| flairs.iter().filter(|&&f| of(f) == name).count();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    flairs
        .iter()
        .map(|&flair| {
            let mut name = short(flair);
            if count(&name, &short) > 1 {
                name = long(flair);
            }
            let base = name.clone();
            let mut number = 2;
            while !taken.insert(name.clone()) {
                name = format!("{base} ({number})");
                number += 1;
            }
            let notes = if count(&long(flair), &long) > 1 {
                vec![format!(
                    "Another FLAIR has the same name in another folder; this is {}.",
                    names[flair]
                )]
            } else {
                Vec::new()
            };
            Paired {
                name,
                flair,
                t1: None,
                mask: None,
                notes,
            }
        })
        .collect()
}

/// A name's parts, numbers as numbers: `sub-10` comes after `sub-9`.
fn natural(name: &str) -> Vec<(u128, String)> {
    let mut parts: Vec<(u128, String)> = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(text);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        // A number first, so that words compare before it: the word is held by the entry before.
        parts.push((0, word.to_lowercase()));
        parts.push((number.parse().unwrap_or(u128::MAX), String::new()));
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests;
