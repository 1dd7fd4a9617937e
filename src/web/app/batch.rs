//! Many scans in one queue, with one table.

use web_sys::{File, HtmlInputElement};
use yew::prelude::*;

use super::controls::{check, target};
use super::page::PanelProps;
use super::state::{Action, BatchAction, Fate, Item};
use super::words;

#[derive(Properties, PartialEq)]
pub(super) struct BatchProps {
    pub(super) panel: PanelProps,
    /// Files were chosen for the batch.
    pub(super) choose: Callback<Vec<File>>,
}

/// See the module.
#[component]
pub(super) fn BatchPanel(props: &BatchProps) -> Html {
    let PanelProps { state, act } = &props.panel;
    let batch = &state.batch;
    let onchange = {
        let choose = props.choose.clone();
        Callback::from(move |event: Event| {
            let Some(input) = target::<HtmlInputElement>(&event) else {
                return;
            };
            if let Some(files) = input.files() {
                choose.emit((0..files.length()).filter_map(|at| files.get(at)).collect());
            }
            input.set_value("");
        })
    };
    let send = |action: BatchAction| act.reform(move |_: MouseEvent| Action::Batch(action.clone()));
    let check = |label: &'static str, on: bool, action: fn(bool) -> BatchAction| {
        check(label, on, false, act.reform(move |on| Action::Batch(action(on))))
    };
    let running = batch.is_running();
    let finished = batch.finished();
    html! {
        <section class="card" aria-labelledby="batch-title">
            <details open={!batch.items.is_empty()}>
                <summary><h2 id="batch-title">{ "Several scans" }</h2></summary>
                <div class="scan empty">
                    <div class="pick">
                        <label for="batch-files">{ "Scans for a batch" }</label>
                        <span class="hint">{ "Choose or drop many; a T1 is paired by its name" }</span>
                        <input type="file" id="batch-files" multiple=true accept=".nii,.gz,.nii.gz" {onchange} />
                    </div>
                </div>
                if !batch.items.is_empty() {
                    <p aria-live="polite">{ format!("{finished} of {} done", words::counted(batch.items.len(), "scan")) }</p>
                    <div class="scroll batch" role="region" aria-label="Batch" tabindex="0">
                        <table class="numbers">
                            <thead><tr><th scope="col">{ "Scan" }</th><th scope="col">{ "Load, mL" }</th><th scope="col">{ "Lesions" }</th></tr></thead>
                            <tbody>{ for batch.items.iter().map(line) }</tbody>
                        </table>
                    </div>
                    { for batch.left.iter().map(|left| html! { <p class="hint">{ "Left out: " }{ left }</p> }) }
                    { check("Save every result (zip) as it comes", batch.keep, BatchAction::Keep) }
                    { check("File names in the table (they may identify people)", batch.with_names, BatchAction::WithNames) }
                    <div class="row actions">
                        if running {
                            <button type="button" onclick={send(BatchAction::Stop)}>{ "Stop the batch" }</button>
                        } else {
                            <button
                                type="button"
                                class="primary"
                                disabled={finished == batch.items.len() || state.settings.model.is_empty()}
                                onclick={send(BatchAction::Start)}
                            >{ "Segment all" }</button>
                        }
                        <button type="button" disabled={finished == 0} onclick={send(BatchAction::Save)}>{ "Save table (CSV)" }</button>
                        <button type="button" disabled={running} onclick={send(BatchAction::Clear)}>{ "Clear" }</button>
                    </div>
                }
            </details>
        </section>
    }
}

fn line(item: &Item) -> Html {
    let name =
        html! { <th scope="row" class="name" title={item.flair.name.clone()}>{ &item.flair.name }</th> };
    match &item.fate {
        Fate::Waiting => html! { <tr>{ name }<td colspan="2">{ "waits" }</td></tr> },
        Fate::Working => html! { <tr>{ name }<td colspan="2">{ "at work" }</td></tr> },
        Fate::Done { load_ml, lesions } => {
            html! { <tr>{ name }<td>{ format!("{load_ml:.2}") }</td><td>{ *lesions }</td></tr> }
        }
        Fate::Failed(why) => html! { <tr>{ name }<td colspan="2" class="problem">{ why }</td></tr> },
    }
}
