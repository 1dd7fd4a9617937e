//! Which of the dropped files is the FLAIR and which the T1, by their names.

use crate::web::messages::Slot;

/// Says for each dropped file (one or two) which input it is for; `None` if there are none or more.
///
/// A single file whose name says nothing is taken as the FLAIR, which the page cannot do without.
#[must_use]
pub fn assign(names: &[&str]) -> Option<Vec<Slot>> {
    match names {
        [name] if score(name) < 0 => Some(vec![Slot::T1]),
        [_] => Some(vec![Slot::Flair]),
        [first, second] if score(first) < score(second) => Some(vec![Slot::T1, Slot::Flair]),
        [_, _] => Some(vec![Slot::Flair, Slot::T1]),
        _ => None,
    }
}

/// Above zero: the name speaks of a FLAIR; below: of a T1.
///
/// A contrast named after `space`, `to`, `in` or `reg` is the grid that the scan was brought to, not the scan.
fn score(name: &str) -> i32 {
    let name = name.to_lowercase();
    let mut score = 0;
    let mut previous = "";
    for word in name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        if !matches!(previous, "space" | "to" | "in" | "reg" | "on") {
            let word = word.split_once('2').map_or(word, |(moved, to)| match to {
                // `t1w2flair`: a T1 moved to the FLAIR.
                "flair" | "t1" | "t1w" => moved,
                _ => word,
            });
            if word.contains("flair") || word == "darkfluid" {
                score += 1;
            } else if word.starts_with("t1")
                || ["mprage", "mp2rage", "spgr", "bravo", "tfl3d"].contains(&word)
            {
                score -= 1;
            }
        }
        previous = word;
    }
    score
}

#[cfg(test)]
mod tests {
    use super::*;
    use Slot::{Flair, T1};

    #[test]
    fn names_of_common_data_sets_are_understood() {
        for name in [
            "sub-01_ses-2_FLAIR.nii.gz",
            "sub-01_space-T1w_FLAIR.nii.gz",
            "flair_to_t1.nii",
            "T2FLAIR.nii.gz",
            "patient7.nii",
            "t2_tirm_tra_dark-fluid.nii.gz",
            "FLAIR2T1.nii.gz",
        ] {
            assert_eq!(assign(&[name]), Some(vec![Flair]), "{name}");
        }
        for name in [
            "sub-01_T1w.nii.gz",
            "t1_mprage_sag.nii",
            "MPRAGE.nii.gz",
            "sub-01_space-FLAIR_T1w.nii.gz",
            "T1_to_FLAIR.nii.gz",
            "t1w2flair.nii.gz",
        ] {
            assert_eq!(assign(&[name]), Some(vec![T1]), "{name}");
        }
    }

    #[test]
    fn two_files_always_fill_both_inputs() {
        assert_eq!(assign(&["a_T1w.nii", "a_FLAIR.nii"]), Some(vec![T1, Flair]));
        assert_eq!(assign(&["a_FLAIR.nii", "a_T1w.nii"]), Some(vec![Flair, T1]));
        assert_eq!(assign(&["T1_in_FLAIR.nii", "FLAIR.nii"]), Some(vec![T1, Flair]));
        // Nothing to go by: the order they came in.
        assert_eq!(assign(&["one.nii", "two.nii"]), Some(vec![Flair, T1]));
        assert_eq!(assign(&["one.nii", "two_t1.nii"]), Some(vec![Flair, T1]));
    }

    #[test]
    fn none_or_three_files_are_not_guessed() {
        assert_eq!(assign(&[]), None);
        assert_eq!(assign(&["a", "b", "c"]), None);
    }
}
