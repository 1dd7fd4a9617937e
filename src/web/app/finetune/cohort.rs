//! Stage 1: which scans belong together, and whether they are fit for training.

use web_sys::{Element, File, HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use super::picture::Picture;
use super::state::{Action, Row, Stage, Standing, State};
use super::{Pictures, Purpose, StageProps};
use crate::pipeline::cohort::Role;
use crate::web::app::controls::target;
use crate::web::app::words;
use crate::web::messages::finetune::CaseInfo;

/// See the module.
#[component]
pub(super) fn CohortStage(props: &StageProps) -> Html {
    let StageProps { state, act, .. } = props;
    let rows = state.cohort.rows();
    let fit = state.cohort.fit().len();
    let locked = state.is_running();
    html! {
        <>
            <section class="card add" aria-labelledby="cohort-title">
                <h3 id="cohort-title">{ "Cases" }</h3>
                if rows.is_empty() {
                    <p class="big">{ "Drop scans and their lesion masks here, or a folder of them" }</p>
                    <p class="hint">
                        { "A case is a FLAIR and its lesion mask, with a T1 if there is one (.nii or .nii.gz). They are paired \
                           by their names, BIDS or others, and you can correct that. A case can also come from Segment." }
                    </p>
                }
                <div class="row">
                    { files_button("Add files", false, locked, props) }
                    { files_button("Add a folder", true, locked, props) }
                    if !rows.is_empty() {
                        <button type="button" disabled={locked} onclick={act.reform(|_| Action::AddCase)}>
                            { "Pair by hand" }
                        </button>
                    }
                </div>
            </section>
            if !rows.is_empty() {
                <ul class="cases" aria-label="Cases">
                    { for rows.iter().map(|row| html! { <li key={row.id}>{ case(row, state, &props.pixels, act, locked) }</li> }) }
                </ul>
            }
            { left(state, act) }
            if !rows.is_empty() {
                <div class="row onward">
                    <p class="status" role="status">{ summary(state) }</p>
                    <button
                        type="button"
                        class="primary"
                        disabled={fit == 0}
                        onclick={act.reform(|_| Action::GoTo(Stage::Plan))}
                    >{ "Plan the training" }</button>
                </div>
            }
        </>
    }
}

/// How many cases are fit, in a sentence.
fn summary(state: &State) -> String {
    let rows = state.cohort.rows();
    let fit = state.cohort.fit().len();
    let mut said = format!(
        "{fit} of {} ready for training.",
        words::counted(rows.len(), "case")
    );
    if state.cohort.is_checking() {
        said.push_str(" Checking…");
    } else if fit == 1 {
        said.push_str(" With a second case, one can be held out to see whether training helped.");
    }
    said
}

/// A button that opens the browser's dialogue for files, or for a folder.
pub(super) fn files_button(label: &'static str, folder: bool, disabled: bool, props: &StageProps) -> Html {
    html! { <FilesButton {label} {folder} {disabled} purpose={Purpose::Cohort} choose={props.choose.clone()} /> }
}

#[derive(Properties, PartialEq)]
pub(super) struct FilesButtonProps {
    pub(super) label: &'static str,
    pub(super) folder: bool,
    pub(super) disabled: bool,
    pub(super) purpose: Purpose,
    pub(super) choose: Callback<(Purpose, Vec<File>)>,
}

/// A file input that looks like a button.
#[component]
pub(super) fn FilesButton(props: &FilesButtonProps) -> Html {
    let node = use_node_ref();
    {
        let node = node.clone();
        // An attribute that yew does not know of.
        use_effect_with(props.folder, move |folder| {
            if let (true, Some(input)) = (*folder, node.cast::<Element>()) {
                drop(input.set_attribute("webkitdirectory", ""));
            }
        });
    }
    let (choose, purpose) = (props.choose.clone(), props.purpose);
    let onchange = Callback::from(move |event: Event| {
        let Some(input) = target::<HtmlInputElement>(&event) else {
            return;
        };
        let files = input.files();
        let files: Vec<File> = files
            .map(|list| (0..list.length()).filter_map(|i| list.get(i)).collect())
            .unwrap_or_default();
        // Choosing the same files again must be heard too.
        input.set_value("");
        choose.emit((purpose, files));
    });
    html! {
        <label class={classes!("files", props.disabled.then_some("disabled"))}>
            <input ref={node} type="file" multiple=true disabled={props.disabled} {onchange} />
            <span>{ props.label }</span>
        </label>
    }
}

fn case(row: &Row, state: &State, pictures: &Pictures, act: &Callback<Action>, locked: bool) -> Html {
    let id = row.id;
    let class = match &row.standing {
        Standing::Incomplete => "incomplete",
        Standing::Checking => "checking",
        Standing::Fit(_) => "fit",
        Standing::Unfit(_) => "unfit",
    };
    let title = format!("case-{id}-title");
    html! {
        <article class={classes!("card", "case", class)} aria-labelledby={title.clone()}>
            <header>
                <h4 id={title.clone()}>{ &row.name }</h4>
                <button
                    type="button"
                    class="icon remove"
                    aria-label="Remove"
                    aria-describedby={title}
                    title="Remove"
                    disabled={locked}
                    onclick={act.reform(move |_| Action::RemoveCase(id))}
                />
            </header>
            { thumbnails(row, pictures) }
            { finding(row) }
            if row.flair.is_some() || row.mask.is_some() || row.info().is_none() {
                <details open={row.info().is_none()}>
                    <summary>{ "Files" }</summary>
                    <div class="places">
                        { place(row, Role::Flair, "FLAIR", state, act, locked) }
                        { place(row, Role::T1, "T1", state, act, locked) }
                        { place(row, Role::Mask, "Lesion mask", state, act, locked) }
                    </div>
                </details>
            } else {
                <p class="hint">{ "Its scans come from this browser’s own storage." }</p>
            }
        </article>
    }
}

fn thumbnails(row: &Row, pictures: &Pictures) -> Html {
    let Some(pixels) = pictures.cases.get(&row.id).filter(|_| row.info().is_some()) else {
        return Html::default();
    };
    html! {
        <div class="thumbnails">
            { for pixels.iter().zip(["axial", "coronal", "sagittal"]).map(|(pixels, plane)| html! {
                <Picture
                    pixels={pixels.clone()}
                    about={format!("{}: {plane} slice with most lesion, the mask outlined", row.name)}
                />
            }) }
        </div>
    }
}

/// What the desk found.
fn finding(row: &Row) -> Html {
    match &row.standing {
        Standing::Incomplete => {
            let missing = match (row.flair.is_some(), row.mask.is_some()) {
                (false, false) => "A FLAIR and a lesion mask are missing.",
                (false, true) => "A FLAIR is missing.",
                _ => "A lesion mask is missing: choose it below, or remove the case.",
            };
            html! { <p class="hint">{ missing }</p> }
        }
        Standing::Checking => html! { <p class="hint">{ "Checking…" }</p> },
        Standing::Unfit(problem) => html! { <p class="problem" role="alert">{ problem }</p> },
        Standing::Fit(info) => figures(info, &row.notes),
    }
}

fn figures(info: &CaseInfo, notes: &[String]) -> Html {
    html! {
        <>
            <dl class="figures">
                <div><dt>{ "Lesion load" }</dt><dd>{ words::millilitres(info.load_ml) }</dd></div>
                <div><dt>{ "Lesions" }</dt><dd>{ info.lesions }</dd></div>
            </dl>
            <p class="hint">
                { words::grid(&info.flair) }
                { if info.t1 { ", with T1" } else { ", no T1" } }
            </p>
            if !notes.is_empty() || !info.warnings.is_empty() {
                <ul class="notes">
                    { for notes.iter().chain(&info.warnings).map(|note| html! { <li>{ note }</li> }) }
                </ul>
            }
        </>
    }
}

fn place(
    row: &Row,
    role: Role,
    label: &'static str,
    state: &State,
    act: &Callback<Action>,
    disabled: bool,
) -> Html {
    let case = row.id;
    let now = row.file(role);
    let onchange = act.reform(move |event: Event| {
        let chosen = target::<HtmlSelectElement>(&event).and_then(|select| select.value().parse().ok());
        Action::Assign(case, role, chosen)
    });
    let id = format!("case-{case}-{}", label.to_lowercase().replace(' ', "-"));
    html! {
        <div class="field">
            <label for={id.clone()}>{ label }</label>
            <select {id} {onchange} {disabled}>
                <option value="" selected={now.is_none()}>{ "none" }</option>
                { for state.cohort.files().iter().filter(|file| is_nifti(&file.name)).map(|file| html! {
                    <option value={file.id.to_string()} selected={now == Some(file.id)}>{ &file.name }</option>
                }) }
            </select>
        </div>
    }
}

fn is_nifti(name: &str) -> bool {
    let name = name.to_lowercase();
    name.ends_with(".nii") || name.ends_with(".nii.gz")
}

/// Files that belong to no case.
fn left(state: &State, act: &Callback<Action>) -> Html {
    let left: Vec<_> = state.cohort.left().collect();
    if left.is_empty() {
        return Html::default();
    }
    html! {
        <section class="card left" aria-labelledby="left-title">
            <h3 id="left-title">{ format!("Files that are not used ({})", left.len()) }</h3>
            <ul>
                { for left.into_iter().map(|(file, why)| {
                    let id = file.id;
                    html! {
                        <li key={id}>
                            <span class="name">{ &file.name }</span>
                            <span class="hint">{ why }</span>
                            <button
                                type="button"
                                class="icon remove"
                                aria-label={format!("Remove {}", file.name)}
                                title="Remove"
                                onclick={act.reform(move |_| Action::RemoveFile(id))}
                            />
                        </li>
                    }
                }) }
            </ul>
        </section>
    }
}
