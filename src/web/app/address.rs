//! The page's state in its address: `#view/topic?key=value&...`.
//!
//! A link shows another person the same view with the same settings, and a sample if one is open. It never holds a
//! file's name or anything of its contents: all that can be written is in [`Link`] and [`Point`].
//!
//! Keys with their default are left out, unknown keys are ignored, and a value outside its range counts as absent,
//! since anybody can type an address.

use std::fmt::{Display, Write};

use super::explore::{Point, layer_key, layer_of};
use super::state::{Link, Sample, With};
use crate::pipeline::fusion::Layer;
use crate::tiling::Window;
use crate::volume::components::Connectivity;
use crate::web::messages::EngineKind;

/// The views that the header leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum View {
    /// Scans in, masks out.
    #[default]
    Segment,
    /// A network adapted to one's own cases.
    Finetune,
    /// What the method does, to be tried out.
    Explore,
    /// What this is.
    About,
}

impl View {
    /// In the order of the header.
    pub const ALL: [Self; 4] = [Self::Segment, Self::Finetune, Self::Explore, Self::About];

    /// Its name in the header.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Segment => "Segment",
            Self::Finetune => "Fine-tune",
            Self::Explore => "Explore",
            Self::About => "About",
        }
    }

    /// Its name in the address.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Finetune => "finetune",
            Self::Explore => "explore",
            Self::About => "about",
        }
    }
}

/// The parts of [`View::Explore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Topic {
    /// The loss on paper.
    #[default]
    Paper,
    /// A family of networks on a scan.
    Scan,
    /// How patches are fused.
    Fusion,
}

impl Topic {
    /// In the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Paper, Self::Scan, Self::Fusion];

    /// Its name on the page.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Paper => "Loss on paper",
            Self::Scan => "Beta on a scan",
            Self::Fusion => "Fusion",
        }
    }

    /// Its name in the address.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "explore",
            Self::Scan => "explore/scan",
            Self::Fusion => "explore/fusion",
        }
    }
}

/// What of a study goes into the address.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct StudyLink {
    /// Scan and settings.
    pub link: Link,
    /// The member on show, by its place.
    pub member: Option<usize>,
    /// What it is compared with.
    pub with: Option<With>,
    /// The layer on show.
    pub layer: Option<Layer>,
    /// The window that is drawn.
    pub drawn: Option<Window>,
}

/// What an address asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Address {
    /// [`View::Segment`] with these settings.
    Segment(Link),
    /// [`View::Finetune`]. Cohorts and runs are a person's own and never in an address.
    Finetune,
    /// [`View::Explore`] at this point.
    Explore(Point),
    /// [`View::Explore`] with a scan.
    Study(Topic, StudyLink),
    /// [`View::About`].
    About,
}

impl Address {
    /// Reads the address's hash, with or without its `#`. `None` if it names no view (an anchor within the page, say).
    #[must_use]
    pub fn read(hash: &str) -> Option<Self> {
        let hash = hash.strip_prefix('#').unwrap_or(hash);
        let (name, query) = hash.split_once('?').unwrap_or((hash, ""));
        let fields = Fields(query);
        match name {
            "" | "segment" => Some(Self::Segment(fields.link())),
            "finetune" => Some(Self::Finetune),
            "explore" | "explore/paper" => Some(Self::Explore(fields.point())),
            "explore/scan" => Some(Self::Study(Topic::Scan, fields.study())),
            "explore/fusion" => Some(Self::Study(Topic::Fusion, fields.study())),
            "about" => Some(Self::About),
            _ => None,
        }
    }

    /// Its view.
    #[must_use]
    pub fn view(&self) -> View {
        match self {
            Self::Segment(_) => View::Segment,
            Self::Finetune => View::Finetune,
            Self::Explore(_) | Self::Study(..) => View::Explore,
            Self::About => View::About,
        }
    }

    /// The hash, with its `#`.
    #[must_use]
    pub fn hash(&self) -> String {
        let name = match self {
            Self::Study(topic, _) => topic.name(),
            _ => self.view().name(),
        };
        let mut to = Writer(format!("#{name}"), '?');
        match self {
            Self::Study(_, study) => to.study(study),
            Self::Segment(link) => to.link(link),
            Self::Explore(point) => to.point(point),
            Self::Finetune | Self::About => {}
        }
        to.0
    }
}

/// The part of an address after its `?`.
struct Fields<'a>(&'a str);

impl Fields<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.0
            .split('&')
            .filter_map(|field| field.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// A number within a range, which refuses what is no number too.
    fn number(&self, key: &str, low: f64, high: f64) -> Option<f64> {
        let value = self.text(key)?.parse().ok()?;
        (low..=high).contains(&value).then_some(value)
    }

    /// One of a few words.
    fn word(&self, key: &str, known: &[&str]) -> Option<String> {
        let value = self.text(key)?;
        known.contains(&value).then(|| value.to_owned())
    }

    fn link(&self) -> Link {
        let sane = |name: &&str| {
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        Link {
            sample: match self.text("sample") {
                Some("small") => Some(Sample::Small),
                Some("head") => Some(Sample::Head),
                _ => None,
            },
            result: self.text("result") == Some("1"),
            network: self.text("network").filter(sane).map(str::to_owned),
            overlap: self
                .word("overlap", &["0", "0.5", "0.75"])
                .and_then(|word| word.parse().ok()),
            window: self.word("window", &["bspline", "gaussian", "uniform"]),
            patch: self
                .word("patch", &["32", "48", "64", "80", "96"])
                .and_then(|word| word.parse().ok()),
            rotations: self.text("rotations") == Some("1"),
            any_brightness: self.text("any-brightness") == Some("1"),
            threshold: self.number("threshold", 0.01, 0.99).map(|value| value as f32),
            min_lesion_mm3: self.number("smallest", 0.0, 1e5),
            connectivity: match self.text("connectivity") {
                Some("6") => Some(Connectivity::Six),
                Some("18") => Some(Connectivity::Eighteen),
                Some("26") => Some(Connectivity::TwentySix),
                _ => None,
            },
            engine: match self.text("engine") {
                Some("cpu") => Some(EngineKind::Cpu),
                Some("webgpu") => Some(EngineKind::WebGpu),
                _ => None,
            },
        }
    }

    fn study(&self) -> StudyLink {
        let whole = |text: &str| text.parse::<usize>().ok().filter(|at| *at < 100);
        StudyLink {
            link: self.link(),
            member: self.text("member").and_then(whole),
            with: match self.text("with") {
                Some("reference") => Some(With::Reference),
                other => other.and_then(whole).map(With::Member),
            },
            layer: self.text("layer").and_then(layer_of),
            drawn: self.text("drawn").and_then(|name| name.parse().ok()),
        }
    }

    fn point(&self) -> Point {
        let normal = Point::default();
        let number = |key, (low, high), normal| self.number(key, low, high).unwrap_or(normal);
        Point {
            beta: number("beta", Point::BETA, normal.beta),
            ratio: number("ratio", Point::RATIO, normal.ratio),
            tp: number("tp", Point::TP, normal.tp),
            fp: number("fp", Point::COUNT, normal.fp),
            fn_: number("fn", Point::COUNT, normal.fn_),
            wrong: number("wrong", Point::WRONG, normal.wrong),
            step: self.number("step", 1.0, 3.0).map(|step| step as usize),
        }
    }
}

/// A hash that grows, and what goes before the next field.
struct Writer(String, char);

impl Writer {
    fn field(&mut self, key: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{}{key}={value}", self.1);
        self.1 = '&';
    }

    fn some(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.field(key, value);
        }
    }

    fn link(&mut self, link: &Link) {
        self.some(
            "sample",
            link.sample.map(|sample| match sample {
                Sample::Small => "small",
                Sample::Head => "head",
            }),
        );
        self.some("result", link.result.then_some(1));
        self.some("network", link.network.as_ref());
        self.some("overlap", link.overlap);
        self.some("window", link.window.as_ref());
        self.some("patch", link.patch);
        self.some("rotations", link.rotations.then_some(1));
        self.some("any-brightness", link.any_brightness.then_some(1));
        self.some("threshold", link.threshold);
        self.some("smallest", link.min_lesion_mm3);
        self.some("connectivity", link.connectivity.map(u8::from));
        self.some(
            "engine",
            link.engine.map(|engine| match engine {
                EngineKind::Cpu => "cpu",
                EngineKind::WebGpu => "webgpu",
            }),
        );
    }

    fn study(&mut self, study: &StudyLink) {
        self.link(&study.link);
        self.some("member", study.member);
        self.some(
            "with",
            study.with.map(|with| match with {
                With::Reference => "reference".to_owned(),
                With::Member(at) => at.to_string(),
            }),
        );
        self.some("layer", study.layer.map(layer_key));
        self.some("drawn", study.drawn);
    }

    fn point(&mut self, point: &Point) {
        let normal = Point::default();
        for (key, value, normal) in [
            ("beta", point.beta, normal.beta),
            ("ratio", point.ratio, normal.ratio),
            ("tp", point.tp, normal.tp),
            ("fp", point.fp, normal.fp),
            ("fn", point.fn_, normal.fn_),
            ("wrong", point.wrong, normal.wrong),
        ] {
            self.some(key, (value != normal).then_some(value));
        }
        self.some("step", point.step);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn views_have_names() {
        for (hash, view) in [
            ("", View::Segment),
            ("#", View::Segment),
            ("#segment", View::Segment),
            ("#explore", View::Explore),
            ("#explore/paper?beta=2", View::Explore),
            ("#about", View::About),
        ] {
            assert_eq!(
                Address::read(hash).map(|address| address.view()),
                Some(view),
                "{hash}"
            );
        }
        // Anchors, such as that of the skip link, are no views.
        assert_eq!(Address::read("#controls"), None);
        assert_eq!(Address::Segment(Link::default()).hash(), "#segment");
        assert_eq!(Address::Explore(Point::default()).hash(), "#explore");
    }

    #[test]
    fn what_anybody_types_is_harmless() {
        let Some(Address::Segment(link)) = Address::read(
            "#segment?sample=../../x&overlap=0.9&window=<b>&patch=4096&threshold=NaN&smallest=-3&network=../../etc&a&=&&result=yes",
        ) else {
            panic!("not the view")
        };
        assert_eq!(link, Link::default());
        let Some(Address::Explore(point)) = Address::read("#explore?beta=1e9&tp=-1&ratio=inf&step=7&wrong=0")
        else {
            panic!("not the view")
        };
        assert_eq!(point, Point::default());
    }

    prop_compose! {
        fn links()(
            sample in prop::option::of(prop::sample::select(vec![Sample::Small, Sample::Head])),
            result: bool,
            network in prop::option::of("[a-z0-9.-]{1,12}"),
            overlap in prop::option::of(prop::sample::select(vec![0.0, 0.5, 0.75])),
            window in prop::option::of(prop::sample::select(vec!["bspline".to_owned(), "gaussian".to_owned(), "uniform".to_owned()])),
            patch in prop::option::of(prop::sample::select(vec![32_usize, 48, 96])),
            rotations: bool,
            any_brightness: bool,
            threshold in prop::option::of(0.01_f32..0.99),
            min_lesion_mm3 in prop::option::of(0.0..100.0),
            connectivity in prop::option::of(prop::sample::select(vec![Connectivity::Six, Connectivity::Eighteen, Connectivity::TwentySix])),
            engine in prop::option::of(prop::sample::select(vec![EngineKind::Cpu, EngineKind::WebGpu])),
        ) -> Link {
            Link { sample, result, network, overlap, window, patch, rotations, any_brightness, threshold, min_lesion_mm3, connectivity, engine }
        }
    }

    prop_compose! {
        fn studies()(
            link in links(),
            member in prop::option::of(0_usize..100),
            with in prop::option::of(prop::sample::select(vec![With::Reference, With::Member(0), With::Member(3)])),
            layer in prop::option::of(prop::sample::select(vec![Layer::Votes, Layer::Weights, Layer::Probability, Layer::Disagreement])),
            drawn in prop::option::of(prop::sample::select(&Window::ALL[..])),
        ) -> StudyLink {
            StudyLink { link, member, with, layer, drawn }
        }
    }

    prop_compose! {
        fn points()(
            beta in Point::BETA.0..Point::BETA.1,
            ratio in Point::RATIO.0..Point::RATIO.1,
            tp in 1.0..500.0, fp in 0.0..500.0, fn_ in 0.0..500.0,
            wrong in Point::WRONG.0..Point::WRONG.1,
            step in prop::option::of(1_usize..=3),
        ) -> Point {
            Point { beta, ratio, tp, fp, fn_, wrong, step }
        }
    }

    proptest! {
        #[test]
        fn a_link_leads_back_to_what_it_was_made_of(link in links(), point in points(), study in studies()) {
            let scan = Address::Study(Topic::Scan, study.clone());
            for address in [Address::Segment(link), Address::Explore(point), scan, Address::Study(Topic::Fusion, study)] {
                prop_assert_eq!(Address::read(&address.hash()), Some(address));
            }
        }

        #[test]
        fn no_text_is_too_odd(text in ".*") {
            if let Some(address) = Address::read(&text) {
                prop_assert_eq!(Address::read(&address.hash()), Some(address));
            }
        }
    }
}
