//! Three short steps for a teacher.

use yew::prelude::*;

use super::{Compared, DrawingProps, Point};

struct Step {
    title: &'static str,
    /// Where the sliders go.
    at: Point,
}

/// The steps in their order.
fn steps() -> [Step; 3] {
    let normal = Point::default();
    [
        Step {
            title: "Dice is the middle",
            at: Point { beta: 1.0, ..normal },
        },
        Step {
            title: "Beta buys recall",
            at: Point { beta: 3.0, ..normal },
        },
        Step {
            title: "Lesions are rare",
            at: Point {
                ratio: 10_000.0,
                ..normal
            },
        },
    ]
}

/// See the module.
#[component]
pub(super) fn Steps(props: &DrawingProps) -> Html {
    let open = props.point.step;
    html! {
        <section class="card steps" aria-labelledby="steps-title">
            <h3 id="steps-title">{ "Three steps" }</h3>
            <div class="row">
                { for (1..).zip(steps()).map(|(number, Step { title, at })| {
                    let go = props.moved.reform(move |_: MouseEvent| Point { step: Some(number), ..at });
                    let pressed = (open == Some(number)).to_string();
                    html! { <button type="button" aria-pressed={pressed} onclick={go}>{ format!("{number}. {title}") }</button> }
                }) }
            </div>
            <p aria-live="polite">{ words(open) }</p>
        </section>
    }
}

/// What a step says, with the numbers that the drawings show.
fn words(step: Option<usize>) -> String {
    let normal = Point::default();
    let f = |beta| normal.counts().f_beta(beta).unwrap_or_default();
    match step {
        None => "Each step sets the sliders and says what to look at. The link in the address bar shows another person the same."
            .to_owned(),
        Some(1) => format!(
            "At β = 1 a false and a missed voxel weigh 0.5 each, and the iso-lines mirror about the diagonal. This mask finds \
             60 of 100 lesion voxels and marks 20 wrongly: {:.3}. Exchange the two errors (20 missed and 40 false): how \
             does the score change, and why so little?",
            f(1.0)
        ),
        Some(2) => format!(
            "At β = 3 a missed voxel weighs nine (β²) times a false one, 0.9 against 0.1, and the iso-lines turn upright: \
             recall decides. The same mask now scores {:.3} instead of {:.3}. A network trained so marks more. Where on the \
             square would it rather be?",
            f(3.0),
            f(1.0)
        ),
        Some(_) => {
            let missed = |ratio| {
                normal
                    .pull(Compared::CrossEntropy, ratio)
                    .map_or(f64::NAN, |pull| pull.missed)
            };
            format!(
                "One lesion voxel in ten thousand. Cross-entropy is a mean over all voxels: its pull at a missed voxel is \
                 {:.0} times weaker than at 1 : 1. 1 − Fβ pulls as it did, for background that is left alone does not \
                 enter it. Move the lesion fraction \
                 and watch the lines.",
                missed(1.0) / missed(10_000.0)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_say_what_the_drawings_show() {
        assert!(words(Some(1)).contains("0.667"), "{}", words(Some(1)));
        assert!(words(Some(2)).contains("0.612"), "{}", words(Some(2)));
        assert!(
            words(Some(3)).contains("5000 times") || words(Some(3)).contains("5001 times"),
            "{}",
            words(Some(3))
        );
    }
}
