//! The cards of the family: what each network scored, in sentences.

use crate::Outcome;
use crate::card::Card;
use crate::cohort::Evidence;
use crate::cohort::score::Scored;
use crate::native::{at, read, write};
use serde::Deserialize;
use std::path::Path;

/// A network that ships.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    /// Its run.
    pub(super) run: String,
    /// What sets it apart from its family, in a sentence.
    summary: String,
    /// The page uses it unless told otherwise.
    #[serde(default)]
    pub(super) recommended: bool,
}

/// Copies a run's network into the folder `to`, with a card of what `evidence` says of it and of networks that are no `members`.
pub(super) fn ship(
    member: &Member,
    from: &Path,
    to: &Path,
    evidence: &Evidence<'_>,
    members: &[&str],
    failures: &[String],
) -> Outcome {
    let path = from.join("card.json");
    let mut card = Card::read(&path)?;
    member.summary.clone_into(&mut card.summary);
    card.default = member.recommended;
    card.held_out = evidence
        .distinct()
        .iter()
        .filter(|s| {
            let own = s.model == Path::new(&member.run);
            own || !members.iter().any(|m| s.model == Path::new(m))
        })
        .filter_map(|s| sentence(s))
        .map(|text| serde_json::json!({ "text": text }))
        .collect();
    card.known_failures = failures.to_vec();
    std::fs::create_dir_all(to).map_err(at(to))?;
    for file in ["weights.safetensors", "log.csv", "curve.svg"] {
        write(&to.join(file), &read(&from.join(file))?)?;
    }
    write(
        &to.join("card.json"),
        serde_json::to_string_pretty(&card)?.as_bytes(),
    )?;
    write(&to.join("CARD.md"), card.markdown().as_bytes())?;
    Ok(())
}

/// What a card says of a case; nothing of groups that are not meant for cards.
fn sentence(s: &Scored<'_>) -> Option<String> {
    let words = s.group.card.as_ref()?;
    let e = &s.evaluation;
    let known = |name: &str, value: Option<f64>| value.map(|v| format!("{name} {v:.3}"));
    let figures = [
        known("DSC", e.dsc),
        known("PPV", e.ppv),
        known("TPR", e.tpr),
        known("area under the precision-recall curve", e.apr),
        known("LTPR", e.ltpr),
        known("LFPR", e.lfpr),
    ];
    let rotations = if s.rotations { ", four rotations" } else { "" };
    Some(format!(
        "{} ({words}; {}{rotations}; rater {}, {:.1} mL; n = 1): at threshold 0.5 {}.",
        s.case,
        s.channels,
        s.rater,
        e.reference_ml,
        figures.into_iter().flatten().collect::<Vec<_>>().join(", ")
    ))
}
