//! The report on one page of paper. It is laid out on the page, and shown only where the page is printed.

use std::rc::Rc;

use yew::prelude::*;

use super::explore::{Palette, Pixels, Planes};
use super::words;
use crate::pipeline::report::{Input, Report};
use crate::web::studies::Seen;

/// Lesions that fit on the page.
const ROWS: usize = 14;

/// What a printed report is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Printable {
    /// Every number.
    pub(super) report: Rc<Report>,
    /// Three planes through the largest lesion.
    pub(super) seen: Rc<Seen>,
    /// Their pixels.
    pub(super) pixels: Rc<Pixels>,
    /// The rendering, as a `data:` URL; empty if the viewer has none.
    pub(super) rendering: AttrValue,
}

#[derive(Properties, PartialEq)]
pub(super) struct PrintProps {
    pub(super) printable: Printable,
}

/// See the module.
#[component]
pub(super) fn PrintSheet(props: &PrintProps) -> Html {
    let Printable {
        report,
        seen,
        pixels,
        rendering,
    } = &props.printable;
    let (cut, settings) = (&report.cut, &report.settings);
    let fact = |name: &'static str, value: String| html! { <div><dt>{ name }</dt><dd>{ value }</dd></div> };
    let grid = |input: &Input| {
        let [x, y, z] = input.shape;
        let [dx, dy, dz] = input.spacing_mm;
        format!(
            "{x} × {y} × {z} voxels of {dx:.2} × {dy:.2} × {dz:.2} mm, {}",
            input.orientation
        )
    };
    html! {
        <article class="sheet" aria-hidden="true">
            <h1>{ "Lesion segmentation by Equipoise" }</h1>
            <p class="research"><strong>{ &report.intended_use }</strong></p>
            <dl class="facts">
                { fact("Lesion load", words::millilitres(report.result.load_ml)) }
                { fact("Lesions", report.result.lesions.to_string()) }
                { fact("Threshold", format!("{:.2}", cut.threshold)) }
                { fact("Smallest lesion", format!("{} mm³, {} neighbours", cut.min_lesion_mm3, u8::from(cut.connectivity))) }
                if let Some(compared) = &report.comparison {
                    { fact("Against the reference", scores(&compared.comparison.evaluation)) }
                }
            </dl>
            <div class="views">
                <Planes seen={seen.clone()} pixels={pixels.clone()} palette={Palette::Codes} opacity={0.75} go={Callback::noop()} />
                if !rendering.is_empty() {
                    <figure><img src={rendering.clone()} alt="Rendering" /><figcaption>{ "Rendering" }</figcaption></figure>
                }
            </div>
            { table(report) }
            <dl class="small">
                { fact("FLAIR, SHA-256", format!("{} ({})", report.flair.sha256, grid(&report.flair))) }
                if let Some(t1) = &report.t1 { { fact("T1, SHA-256", format!("{} ({})", t1.sha256, grid(t1))) } }
                if let Some(compared) = &report.comparison {
                    { fact("Reference, SHA-256", compared.reference.sha256.clone()) }
                }
                { fact("Network", format!("{}, SHA-256 {}", report.model.name, report.model.sha256)) }
                { fact("Patches", format!("{} of {}³ voxels, overlap {:.0} %, window {}{}", report.result.patches, settings.patch,
                    100.0 * settings.overlap, settings.window, if settings.rotations { ", four orientations" } else { "" })) }
                { fact("Weighed by brightness in FLAIR", if settings.hyperintensity { "yes" } else { "no" }.to_owned()) }
                { fact("Software", format!("{} {}; {}", report.software.name, report.software.version, report.engine)) }
            </dl>
            <ul class="small">{ for report.notes.iter().map(|note| html! { <li>{ note }</li> }) }</ul>
        </article>
    }
}

fn scores(of: &crate::metrics::Evaluation) -> String {
    let three = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
    format!(
        "DSC {}, PPV {}, TPR {}, LTPR {}, LFPR {}",
        three(of.dsc),
        three(of.ppv),
        three(of.tpr),
        three(of.ltpr),
        three(of.lfpr)
    )
}

fn table(report: &Report) -> Html {
    let lesions = &report.result.table;
    let more = lesions.len().saturating_sub(ROWS);
    let verdicts = report
        .comparison
        .as_ref()
        .map(|compared| &compared.comparison.verdicts);
    let three = |place: [f64; 3]| {
        place
            .map(|mm| format!("{:.1}", (mm * 10.0).round() / 10.0 + 0.0))
            .join(" ")
    };
    html! {
        <>
            <table class="numbers">
                <thead><tr>
                    <th>{ "Lesion" }</th>
                    if verdicts.is_some() { <th>{ "Verdict" }</th> }
                    <th>{ "Volume, mm³" }</th>
                    <th>{ "Centre x y z, mm" }</th>
                    <th>{ "Extent, mm" }</th>
                    <th>{ "Mean probability" }</th>
                    <th>{ "Mean disagreement" }</th>
                </tr></thead>
                <tbody>{ for lesions.iter().take(ROWS).enumerate().map(|(at, lesion)| html! {
                    <tr>
                        <td>{ lesion.id }</td>
                        if let Some(verdicts) = verdicts { <td>{ verdicts.get(at).map_or("", |verdict| verdict.letters()) }</td> }
                        <td>{ format!("{:.1}", lesion.volume_mm3) }</td>
                        <td>{ three(lesion.centre_mm) }</td>
                        <td>{ three(lesion.extent_mm) }</td>
                        <td>{ format!("{:.2}", lesion.mean_probability) }</td>
                        <td>{ lesion.mean_disagreement.map_or("–".to_owned(), |mean| format!("{mean:.3}")) }</td>
                    </tr>
                }) }</tbody>
            </table>
            if more > 0 { <p class="small">{ format!("And {} smaller; the table as CSV holds all.", words::counted(more, "lesion")) }</p> }
        </>
    }
}
