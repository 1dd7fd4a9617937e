//! The table of lesions under the viewer.

use std::cmp::Ordering;

use yew::prelude::*;

use super::page::PanelProps;
use super::state::{Action, Outcome};
use super::words;
use crate::pipeline::{Lesion, Verdict};

/// Rows shown before somebody asks for more: a low threshold makes thousands.
const FIRST_ROWS: usize = 100;

/// What the table is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Id,
    Verdict,
    Volume,
    Mean,
    Max,
    Disagreement,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Order {
    column: Column,
    descending: bool,
}

/// A lesion of the mask, or one of the reference that the mask misses.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row<'a> {
    lesion: &'a Lesion,
    verdict: Option<Verdict>,
}

impl Row<'_> {
    /// Its number; those of the reference are told apart by a letter.
    fn name(&self) -> String {
        let id = self.lesion.id;
        match self.verdict {
            Some(Verdict::FalseNegative) => format!("R{id}"),
            _ => id.to_string(),
        }
    }
}

/// All rows in an order.
fn rows(outcome: &Outcome, order: Order) -> Vec<Row<'_>> {
    let Some(mask) = &outcome.mask else {
        return Vec::new();
    };
    let verdicts = outcome.verdicts();
    let of_mask = mask.lesions.iter().enumerate().map(|(at, lesion)| Row {
        lesion,
        verdict: verdicts.get(at).copied(),
    });
    let compared = !verdicts.is_empty() || mask.lesions.is_empty();
    let missed = outcome.comparison.iter().filter(|_| compared);
    let missed = missed
        .flat_map(|comparison| &comparison.missed)
        .map(|lesion| Row {
            lesion,
            verdict: Some(Verdict::FalseNegative),
        });
    let mut rows: Vec<Row> = of_mask.chain(missed).collect();
    let by = |a: &Row, b: &Row| match order.column {
        Column::Id => Ordering::Equal,
        Column::Verdict => a.verdict.cmp(&b.verdict),
        Column::Volume => a.lesion.volume_mm3.total_cmp(&b.lesion.volume_mm3),
        Column::Mean => a.lesion.mean_probability.total_cmp(&b.lesion.mean_probability),
        Column::Disagreement => {
            let of = |row: &Row| row.lesion.mean_disagreement.unwrap_or(-1.0);
            of(a).total_cmp(&of(b))
        }
        Column::Max => a.lesion.max_probability.total_cmp(&b.lesion.max_probability),
    };
    if order.column == Column::Id && order.descending {
        rows.reverse();
    } else if order.descending {
        rows.sort_by(|a, b| by(b, a));
    } else {
        rows.sort_by(by);
    }
    rows
}

/// See the module; shown once there is a result.
#[component]
pub(super) fn LesionTable(props: &PanelProps) -> Html {
    let PanelProps { state, act } = props;
    let order = use_state_eq(|| Order {
        column: Column::Id,
        descending: false,
    });
    let all = use_state_eq(|| false);
    let Some(outcome) = state.outcome().filter(|outcome| outcome.mask.is_some()) else {
        return Html::default();
    };
    let rows = rows(outcome, *order);
    let compared = outcome.comparison.is_some();
    let shown = if *all {
        rows.len()
    } else {
        rows.len().min(FIRST_ROWS)
    };
    let heading = |column: Column, words: &'static str| {
        let now = *order == Order { column, ..*order };
        let sorted = now.then_some(if order.descending {
            "descending"
        } else {
            "ascending"
        });
        let arrow = match sorted {
            Some("descending") => " ↓",
            Some(_) => " ↑",
            None => "",
        };
        let onclick = {
            let order = order.clone();
            move |_: MouseEvent| {
                order.set(Order {
                    column,
                    // Large numbers are what one looks for first.
                    descending: if now {
                        !order.descending
                    } else {
                        matches!(
                            column,
                            Column::Volume | Column::Mean | Column::Max | Column::Disagreement
                        )
                    },
                });
            }
        };
        html! {
            <th scope="col" aria-sort={sorted}>
                <button type="button" {onclick}>{ words }<span aria-hidden="true">{ arrow }</span></button>
            </th>
        }
    };
    let count = outcome.mask.as_ref().map_or(0, |mask| mask.lesions.len());
    let missed = rows.len() - count;
    html! {
        <details class="lesions" open=true>
            <summary>
                { format!("Lesion table: {}", words::counted(count, "lesion")) }
                if missed > 0 { { format!(", {missed} missed") } }
            </summary>
            <div class="scroll" role="region" aria-label="Lesion table" tabindex="0">
                <table class="numbers">
                    <thead><tr>
                        { heading(Column::Id, "Lesion") }
                        if compared { { heading(Column::Verdict, "Verdict") } }
                        { heading(Column::Volume, "Volume, mm³") }
                        <th scope="col">{ "Centre x y z, mm" }</th>
                        <th scope="col">{ "Centre, voxel" }</th>
                        <th scope="col">{ "Extent, mm" }</th>
                        { heading(Column::Mean, "Mean probability") }
                        { heading(Column::Max, "Largest") }
                        { heading(Column::Disagreement, "Disagreement") }
                    </tr></thead>
                    <tbody>{ for rows[..shown].iter().map(|row| line(row, compared, act)) }</tbody>
                </table>
                if shown < rows.len() {
                    <button type="button" onclick={move |_| all.set(true)}>{ format!("Show all {}", rows.len()) }</button>
                }
            </div>
        </details>
    }
}

fn line(row: &Row, compared: bool, act: &Callback<Action>) -> Html {
    let lesion = row.lesion;
    let place = lesion.centre_mm;
    let go = act.reform(move |_: MouseEvent| Action::GoTo(place));
    let verdict = row.verdict.map(|verdict| {
        let class = match verdict {
            Verdict::TruePositive => "verdict tp",
            Verdict::FalsePositive => "verdict fp",
            Verdict::FalseNegative => "verdict fn",
        };
        html! { <span {class}>{ verdict.letters() }</span> }
    });
    let name = row.name();
    html! {
        <tr key={name.clone()} onclick={go}>
            <th scope="row"><button type="button" aria-label={format!("Go to lesion {name}")}>{ name }</button></th>
            if compared { <td>{ verdict.unwrap_or_default() }</td> }
            <td>{ format!("{:.1}", lesion.volume_mm3) }</td>
            <td>{ three(place, 1) }</td>
            <td>{ three(lesion.centre_voxel, 0) }</td>
            <td>{ three(lesion.extent_mm, 1) }</td>
            <td>{ format!("{:.2}", lesion.mean_probability) }</td>
            <td>{ format!("{:.2}", lesion.max_probability) }</td>
            <td>{ lesion.mean_disagreement.map_or("–".to_owned(), |mean| format!("{mean:.3}")) }</td>
        </tr>
    }
}

/// Three numbers with a true minus and no negative zero.
fn three(values: [f64; 3], decimals: usize) -> String {
    let unit = if decimals == 0 { 1.0 } else { 10.0 };
    values
        .map(|value| format!("{:.decimals$}", (value * unit).round() / unit + 0.0).replace('-', "−"))
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_a_true_minus_and_no_negative_zero() {
        assert_eq!(three([-20.06, -0.01, 7.0], 1), "−20.1 0.0 7.0");
        assert_eq!(three([1.4, 2.5, 3.0], 0), "1 3 3");
    }
}
