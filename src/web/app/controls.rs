//! Form controls with their labels.

use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use crate::web::messages::{EngineChoice, EngineKind};

/// A select with a label above it. `choices` are values with their words.
pub(super) fn select(
    label: &'static str,
    value: &str,
    choices: Vec<(String, String)>,
    disabled: bool,
    changed: Callback<String>,
) -> Html {
    html! { <Select {label} value={value.to_owned()} {choices} {disabled} {changed} /> }
}

/// A check box with its words behind it.
pub(super) fn check(label: &'static str, checked: bool, disabled: bool, changed: Callback<bool>) -> Html {
    let onchange = Callback::from(move |event: Event| {
        if let Some(input) = target::<HtmlInputElement>(&event) {
            changed.emit(input.checked());
        }
    });
    html! {
        <label class="check">
            <input type="checkbox" {checked} {disabled} {onchange} />
            <span>{ label }</span>
        </label>
    }
}

#[derive(Properties, PartialEq)]
struct SelectProps {
    label: &'static str,
    value: String,
    choices: Vec<(String, String)>,
    disabled: bool,
    changed: Callback<String>,
}

#[component]
fn Select(props: &SelectProps) -> Html {
    let node = use_node_ref();
    {
        let node = node.clone();
        // Once a person has used a select, its options' `selected` attributes count no more; its value does.
        use_effect_with((props.value.clone(), props.choices.clone()), move |(value, _)| {
            if let Some(select) = node.cast::<HtmlSelectElement>() {
                select.set_value(value);
            }
        });
    }
    let changed = props.changed.clone();
    let onchange = Callback::from(move |event: Event| {
        if let Some(select) = target::<HtmlSelectElement>(&event) {
            changed.emit(select.value());
        }
    });
    let id = id(props.label);
    html! {
        <div class="field">
            <label for={id.clone()}>{ props.label }</label>
            <select ref={node} {id} {onchange} disabled={props.disabled}>
                { for props.choices.iter().map(|(key, words)| html! {
                    <option value={key.clone()} selected={*key == props.value}>{ words }</option>
                }) }
            </select>
        </div>
    }
}

/// A control's id, made from its label: labels are unique on the page.
fn id(label: &str) -> String {
    label.to_lowercase().replace(' ', "-")
}

/// Choices for [`select`].
pub(super) fn owned(choices: &[(&str, &str)]) -> Vec<(String, String)> {
    choices
        .iter()
        .map(|&(key, words)| (key.to_owned(), words.to_owned()))
        .collect()
}

/// Patch sides for [`select`], in voxels, after a choice of their own: key `auto`, no side.
pub(super) fn sides(automatic: &str, sides: &[usize]) -> Vec<(String, String)> {
    std::iter::once(("auto".to_owned(), automatic.to_owned()))
        .chain(
            sides
                .iter()
                .map(|side| (side.to_string(), format!("{side}³ voxels"))),
        )
        .collect()
}

/// The key of a side, as [`sides`] has it.
pub(super) fn side_key(side: Option<usize>) -> String {
    side.map_or_else(|| "auto".to_owned(), |side| side.to_string())
}

/// Which engine computes.
pub(super) fn engine(
    label: &'static str,
    value: EngineChoice,
    disabled: bool,
    changed: &Callback<EngineChoice>,
) -> Html {
    let key = match value {
        EngineChoice::Auto => "auto",
        EngineChoice::Use(EngineKind::WebGpu) => "gpu",
        EngineChoice::Use(EngineKind::Cpu) => "cpu",
    };
    let choices = owned(&[("auto", "Automatic"), ("gpu", "WebGPU"), ("cpu", "CPU")]);
    let changed = changed.reform(|key: String| match key.as_str() {
        "gpu" => EngineChoice::Use(EngineKind::WebGpu),
        "cpu" => EngineChoice::Use(EngineKind::Cpu),
        _ => EngineChoice::Auto,
    });
    select(label, key, choices, disabled, changed)
}

/// A slider with its label and value in words.
#[derive(Properties, PartialEq)]
pub(super) struct SliderProps {
    pub(super) label: AttrValue,
    pub(super) value: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) step: f64,
    /// The value in words, with its unit.
    pub(super) said: AttrValue,
    pub(super) moved: Callback<f64>,
    #[prop_or_default]
    pub(super) disabled: bool,
}

/// See [`SliderProps`].
#[component]
pub(super) fn Slider(props: &SliderProps) -> Html {
    let moved = props.moved.clone();
    let oninput = Callback::from(move |event: InputEvent| {
        if let Some(value) = number(&event) {
            moved.emit(value);
        }
    });
    let id = id(&props.label);
    html! {
        <div class="field slider">
            <label for={id.clone()}>{ &props.label }</label>
            <span class="said" aria-hidden="true">{ &props.said }</span>
            <input
                type="range"
                {id}
                aria-valuetext={&props.said}
                min={props.min.to_string()}
                max={props.max.to_string()}
                step={props.step.to_string()}
                value={props.value.to_string()}
                disabled={props.disabled}
                {oninput}
            />
        </div>
    }
}

/// A number that a person types, taken over when it is complete.
#[derive(Properties, PartialEq)]
pub(super) struct NumberProps {
    pub(super) label: AttrValue,
    pub(super) unit: AttrValue,
    pub(super) value: f64,
    #[prop_or_default]
    pub(super) min: Option<f64>,
    #[prop_or_default]
    pub(super) step: Option<f64>,
    #[prop_or_default]
    pub(super) disabled: bool,
    pub(super) changed: Callback<f64>,
}

/// See [`NumberProps`].
#[component]
pub(super) fn Number(props: &NumberProps) -> Html {
    let changed = props.changed.clone();
    let onchange = Callback::from(move |event: Event| {
        if let Some(value) = number(&event) {
            changed.emit(value);
        }
    });
    let node = use_node_ref();
    {
        let node = node.clone();
        // Not an attribute: drawn anew in the middle of a person's typing, it would undo that.
        use_effect_with(props.value, move |value| {
            if let Some(input) = node.cast::<HtmlInputElement>() {
                input.set_value(&value.to_string());
            }
        });
    }
    let id = id(&props.label);
    html! {
        <div class="field number">
            <label for={id.clone()}>{ &props.label }</label>
            <span class="with-unit">
                <input
                    ref={node}
                    type="number"
                    {id}
                    min={props.min.map(|min| min.to_string())}
                    step={props.step.map_or_else(|| "any".to_owned(), |step| step.to_string())}
                    disabled={props.disabled}
                    {onchange}
                />
                { &props.unit }
            </span>
        </div>
    }
}

/// One of a few, all in sight. `choices` are values with their words.
pub(super) fn segmented<T: Copy + PartialEq + 'static>(
    label: &'static str,
    name: &'static str,
    value: T,
    choices: &[(T, &'static str)],
    changed: &Callback<T>,
) -> Html {
    html! {
        <div class="segmented" role="radiogroup" aria-label={label}>
            { for choices.iter().map(|&(choice, words)| {
                let changed = changed.clone();
                html! {
                    <label>
                        <input
                            type="radio"
                            {name}
                            checked={choice == value}
                            onchange={Callback::from(move |_: Event| changed.emit(choice))}
                        />
                        <span>{ words }</span>
                    </label>
                }
            }) }
        </div>
    }
}

/// The element an event came from.
pub(super) fn target<T: JsCast>(event: &Event) -> Option<T> {
    event.target().and_then(|target| target.dyn_into().ok())
}

/// The number in the input that an event came from, if there is one.
fn number(event: &Event) -> Option<f64> {
    let value = target::<HtmlInputElement>(event)?.value_as_number();
    value.is_finite().then_some(value)
}
