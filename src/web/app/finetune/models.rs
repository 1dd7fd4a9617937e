//! The networks that this browser keeps.

use yew::prelude::*;

use super::cohort::FilesButton;
use super::state::Action;
use super::{Purpose, StageProps};
use crate::web::messages::finetune::KEPT;

/// See the module.
#[component]
pub(super) fn KeptModels(props: &StageProps) -> Html {
    let StageProps {
        act, models, choose, ..
    } = props;
    let kept: Vec<_> = models
        .iter()
        .filter_map(|model| Some((model.path.strip_prefix(KEPT)?, model)))
        .collect();
    let sure = use_state_eq(|| false);
    let forget = {
        let (sure, act) = (sure.clone(), act.clone());
        Callback::from(move |_: MouseEvent| {
            if *sure {
                act.emit(Action::ForgetEverything);
            }
            sure.set(!*sure);
        })
    };
    html! {
        <section class="card kept" aria-labelledby="kept-title">
            <h3 id="kept-title">{ "Networks kept in this browser" }</h3>
            if kept.is_empty() {
                <p class="hint">{ "None yet. A network that you keep can be used in Segment and saved as files." }</p>
            } else {
                <ul>
                    { for kept.into_iter().map(|(key, model)| {
                        let (save, remove) = (key.to_owned(), key.to_owned());
                        html! {
                            <li key={key.to_owned()}>
                                <span class="name">{ &model.title }</span>
                                <span class="hint">{ &model.summary }</span>
                                <button type="button" onclick={act.reform(move |_| Action::Export(save.clone()))}>
                                    { "Save files" }
                                </button>
                                <button
                                    type="button"
                                    class="icon remove"
                                    aria-label={format!("Delete {}", model.title)}
                                    title="Delete"
                                    onclick={act.reform(move |_| Action::RemoveModel(remove.clone()))}
                                />
                            </li>
                        }
                    }) }
                </ul>
            }
            <div class="row">
                <FilesButton
                    label="Load a network’s files"
                    folder=false
                    disabled=false
                    purpose={Purpose::Import}
                    choose={choose.clone()}
                />
                <button type="button" class={classes!(sure.then_some("sure"))} onclick={forget}>
                    { if *sure { "Yes, delete everything" } else { "Forget everything" } }
                </button>
            </div>
            <p class="hint">
                { "“Forget everything” deletes kept networks, runs, checkpoints and scans from this browser’s storage." }
            </p>
        </section>
    }
}
