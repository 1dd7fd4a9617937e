//! The figures as a table in `docs/performance.md`, between two comments.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::figures::{Figures, Row};
use super::rows;

const START: &str = "<!-- figures: written by `./dev bench`, do not edit -->";
const END: &str = "<!-- end of figures -->";

/// Puts the table into the document.
pub(crate) fn insert(document: &Path, figures: &Figures) -> Result<()> {
    let text =
        fs::read_to_string(document).with_context(|| format!("could not read {}", document.display()))?;
    let text = replaced(&text, &markdown(figures))
        .with_context(|| format!("{} has no place for the figures", document.display()))?;
    fs::write(document, text)?;
    Ok(())
}

/// The document with the text between the two comments replaced.
fn replaced(document: &str, table: &str) -> Result<String> {
    let Some((before, rest)) = document.split_once(START) else {
        bail!("the line `{START}` is missing");
    };
    let Some((_, after)) = rest.split_once(END) else {
        bail!("the line `{END}` is missing");
    };
    Ok(format!("{before}{START}\n\n{table}\n{END}{after}"))
}

fn markdown(figures: &Figures) -> String {
    let mut text = String::from("| | ours | theirs | figure | target | |\n|---|---|---|---|---|---|\n");
    for row in &figures.rows {
        text += &line(row);
    }
    let missed: Vec<&Row> = figures
        .rows
        .iter()
        .filter(|r| r.reached() == Some(false))
        .collect();
    if !missed.is_empty() {
        text += "\nTargets missed, with the likely reason (concluded, not profiled):\n\n";
        for row in missed {
            let reason = match rows::reason(&row.id) {
                "" => "no reason known yet",
                reason => reason,
            };
            text += &format!("- {}: {reason}.\n", row.title);
        }
    }
    let notes = notes(figures);
    if !notes.is_empty() {
        text += "\nNotes:\n\n";
        for (note, titles) in notes {
            text += &format!("- {note} ({})\n", titles.join("; "));
        }
    }
    text += "\nMeasured on:\n\n";
    for (machine, [low, high], count) in machines(figures) {
        let rows = if count == 1 { "row" } else { "rows" };
        text += &format!("- {machine}; load {low:.1} to {high:.1} ({count} {rows})\n");
    }
    text
}

fn line(row: &Row) -> String {
    let theirs = row.theirs.as_ref().map_or(String::new(), |theirs| {
        format!("{}: {}", theirs.name, theirs.words())
    });
    let target = row.target.as_ref().map_or("", |target| &target.shown);
    let verdict = match row.reached() {
        Some(true) => "reached",
        Some(false) => "**missed**",
        None => "",
    };
    format!(
        "| {} | {} | {theirs} | {} | {target} | {verdict} |\n",
        row.title,
        row.ours.words(),
        row.shown
    )
}

/// Each note once, with the titles of its rows.
fn notes(figures: &Figures) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in &figures.rows {
        for note in &row.notes {
            match found.iter_mut().find(|(known, _)| known == note) {
                Some((_, titles)) => titles.push(&row.title),
                None => found.push((note, vec![&row.title])),
            }
        }
    }
    found
}

/// Each machine with the least and the greatest load, and its number of rows.
fn machines(figures: &Figures) -> Vec<(String, [f64; 2], usize)> {
    let mut found: Vec<(String, [f64; 2], usize)> = Vec::new();
    for row in &figures.rows {
        let (words, load) = (row.machine.words(), row.machine.load);
        let (least, greatest) = (load[0].min(load[1]), load[0].max(load[1]));
        match found.iter_mut().find(|(known, ..)| *known == words) {
            Some((_, range, count)) => {
                *range = [range[0].min(least), range[1].max(greatest)];
                *count += 1;
            }
            None => found.push((words, [least, greatest], 1)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::figures::Series;
    use super::super::figures::tests::row;
    use super::*;

    #[test]
    fn only_what_lies_between_the_comments_is_replaced() -> Result<()> {
        let document = format!("# A\n\n{START}\nold\n{END}\n\n## B\n");
        let once = replaced(&document, "| new |\n")?;
        assert_eq!(once, format!("# A\n\n{START}\n\n| new |\n\n{END}\n\n## B\n"));
        assert_eq!(replaced(&once, "| new |\n")?, once);
        assert!(replaced("# A\n", "x").is_err());
        assert!(replaced(START, "x").is_err());
        Ok(())
    }

    #[test]
    fn a_missed_row_stays_and_says_why() {
        let mut theirs = row("b", 1.0, Some((true, 2.0)));
        theirs.theirs = Some(Series::new("PyTorch", "s", vec![0.2]));
        theirs.machine.load = [0.5, 3.0];
        theirs.notes = vec!["Said once.".to_owned()];
        let figures = Figures {
            rows: vec![
                row("a", 9.0, Some((true, 2.0))),
                theirs.clone(),
                row("c", 1.0, None),
            ],
        };
        let text = markdown(&figures);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2],
            "| title of a | 0.200 s (0.100 to 0.300, n = 3) |  | 9x | 2 | reached |"
        );
        assert!(lines[3].contains("PyTorch: 0.200 s (n = 1)") && lines[3].ends_with("| **missed** |"));
        assert!(lines[4].ends_with("| 1x |  |  |"));
        assert!(text.contains("- title of b: no reason known yet."));
        assert!(text.contains("load 0.0 to 3.0 (3 rows)"));
        let twice = Figures {
            rows: vec![theirs.clone(), theirs],
        };
        assert!(markdown(&twice).contains("- Said once. (title of b; title of b)"));
    }
}
