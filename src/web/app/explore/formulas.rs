//! The formulas, typeset by the browser (MathML).

use yew::prelude::*;

/// See the module.
#[component]
pub(super) fn Formulas() -> Html {
    // Each equation of a line is a `<math>` of its own, so that a narrow page can break the line between them.
    let beta2 = || html! { <msup><mi>{ "β" }</mi><mn>{ "2" }</mn></msup> };
    let one_plus = || html! { <mrow><mn>{ "1" }</mn><mo>{ "+" }</mo>{ beta2() }</mrow> };
    let f_beta = || html! { <msub><mi>{ "F" }</mi><mi>{ "β" }</mi></msub> };
    let p = || html! { <msub><mi>{ "p" }</mi><mi>{ "i" }</mi></msub> };
    let g = || html! { <msub><mi>{ "g" }</mi><mi>{ "i" }</mi></msub> };
    let eq = || html! { <mo>{ "=" }</mo> };
    let plus = || html! { <mo>{ "+" }</mo> };
    let minus = || html! { <mo>{ "−" }</mo> };
    let word = |word: &'static str| html! { <mtext>{ word }</mtext> };
    let one_minus = |what: Html| html! { <mrow><mo>{ "(" }</mo><mn>{ "1" }</mn><mo>{ "−" }</mo>{ what }<mo>{ ")" }</mo></mrow> };
    let log = |what: Html| html! { <mrow><mi>{ "log" }</mi><mspace width="0.2em" />{ what }</mrow> };
    let sum = || html! { <munder><mo>{ "∑" }</mo><mi>{ "i" }</mi></munder> };
    let mean = || html! { <><mfrac><mn>{ "1" }</mn><mi>{ "n" }</mi></mfrac>{ sum() }</> };
    let true_p = || html! { <msub><mi>{ "q" }</mi><mi>{ "i" }</mi></msub> };
    html! {
        <section class="card formulas" aria-labelledby="formulas-title">
            <h3 id="formulas-title">{ "In formulas" }</h3>
            <dl>
                <div><dt>{ "Score" }</dt><dd>
                    <math>
                        { f_beta() }{ eq() }
                        <mfrac>
                            <mrow><mo>{ "(" }</mo>{ one_plus() }<mo>{ ")" }</mo><mi>{ "P" }</mi><mi>{ "R" }</mi></mrow>
                            <mrow>{ beta2() }<mi>{ "P" }</mi>{ plus() }<mi>{ "R" }</mi></mrow>
                        </mfrac>
                        { eq() }
                        <mfrac>
                            { word("TP") }
                            <mrow>{ word("TP") }{ plus() }<mi>{ "a" }</mi>{ word("FP") }{ plus() }{ one_minus(html! { <mi>{ "a" }</mi> }) }{ word("FN") }</mrow>
                        </mfrac>
                        </math><math>
                        <mi>{ "a" }</mi>{ eq() }<mfrac><mn>{ "1" }</mn>{ one_plus() }</mfrac>
                    </math>
                </dd></div>
                <div><dt>{ "Soft counts" }</dt><dd>
                    <math>
                        { word("TP") }{ eq() }{ sum() }{ p() }{ g() }</math><math>
                        { word("FP") }{ eq() }{ sum() }{ p() }{ one_minus(g()) }</math><math>
                        { word("FN") }{ eq() }{ sum() }{ one_minus(p()) }{ g() }
                    </math>
                </dd></div>
                <div><dt>{ "Loss and its gradient" }</dt><dd>
                    <math>
                        <mi>{ "L" }</mi>{ eq() }<mn>{ "1" }</mn>{ minus() }{ f_beta() }</math><math>
                        <mfrac><mrow><mo>{ "∂" }</mo><mi>{ "L" }</mi></mrow><mrow><mo>{ "∂" }</mo>{ p() }</mrow></mfrac>
                        { eq() }
                        <mfrac>
                            <mrow><mi>{ "a" }</mi>{ word("TP") }{ minus() }{ g() }<mi>{ "D" }</mi></mrow>
                            <msup><mi>{ "D" }</mi><mn>{ "2" }</mn></msup>
                        </mfrac>
                        </math><math>
                        <mi>{ "D" }</mi>{ eq() }{ word("TP") }{ plus() }<mi>{ "a" }</mi>{ word("FP") }{ plus() }{ one_minus(html! { <mi>{ "a" }</mi> }) }{ word("FN") }
                    </math>
                </dd></div>
                <div><dt>{ "Cross-entropy" }</dt><dd>
                    <math>
                        { minus() }{ mean() }{ log(true_p()) }</math><math>
                        { true_p() }{ eq() }{ g() }{ p() }{ plus() }{ one_minus(g()) }{ one_minus(p()) }
                    </math>
                </dd></div>
                <div><dt>{ "Focal (α = 0.25, γ = 2)" }</dt><dd>
                    <math>
                        { minus() }{ mean() }<msub><mi>{ "α" }</mi><mi>{ "i" }</mi></msub>
                        <msup>{ one_minus(true_p()) }<mi>{ "γ" }</mi></msup>{ log(true_p()) }</math><math>
                        <msub><mi>{ "α" }</mi><mi>{ "i" }</mi></msub>{ eq() }<mi>{ "α" }</mi>{ g() }{ plus() }{ one_minus(html! { <mi>{ "α" }</mi> }) }{ one_minus(g()) }
                    </math>
                </dd></div>
            </dl>
            <p class="hint">
                { "P precision, R recall, p probability of lesion, g truth (1 lesion, 0 not), q probability given to the truth. \
                   Through the network’s last sigmoid every gradient is multiplied by p (1 − p). F" }<sub>{ "β" }</sub>
                { " after Hashemi et al., IEEE Access 7 (2019); focal loss after Lin et al., ICCV 2017." }
            </p>
        </section>
    }
}
