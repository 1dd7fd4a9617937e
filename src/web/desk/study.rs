//! "Explore" on the desk: runs a family of networks one after the other, and draws what is asked for.

use std::rc::Rc;

use super::case::Drawn;
use super::run::Computed;
use super::{Desk, breathe};
use crate::pipeline::pictures::{self, Picture};
use crate::pipeline::{Cut, fusion};
use crate::tiling::Plan as Tiles;
use crate::web::channel::{self, Parcel};
use crate::web::messages::{FromDesk, SegmentSettings};
use crate::web::studies::{FamilyLook, FusionLook, Kin, Look, Seen, Told, What};

impl Desk {
    /// Runs the members whose maps are missing, on the preparation that they share.
    pub(super) fn family(self: &Rc<Self>, asked: SegmentSettings, kin: Vec<Kin>, case: Option<u32>) {
        self.start(case, |desk| async move {
            let settings = desk.settings_of(&asked, case).await?;
            let missing = desk.case.borrow_mut().family.gather(&kin, &settings);
            for (at, member) in missing.iter().enumerate() {
                let asked = SegmentSettings {
                    model: member.path.clone(),
                    ..asked.clone()
                };
                let which = (missing.len() > 1).then(|| format!("network {} of {}", at + 1, missing.len()));
                let Computed {
                    setup, segmentation, ..
                } = desk.compute(&asked, case, which).await?;
                let mut open = desk.case.borrow_mut();
                let map = setup
                    .prepared
                    .restore(segmentation.probability)
                    .map_err(|e| e.to_string())?;
                open.family.add(member.clone(), setup.settings, Rc::new(map));
            }
            {
                let mut open = desk.case.borrow_mut();
                open.family.gather(&kin, &settings);
                open.rank_family().map_err(|e| e.to_string())?;
            }
            desk.say(case, FromDesk::Family(desk.case.borrow().family.curves()));
            Ok(())
        });
    }

    /// Tells the members' curves again, after the reference has changed.
    pub(super) fn rank_family(&self, case: Option<u32>) {
        let mut open = self.case.borrow_mut();
        if open.family.is_empty() {
            return;
        }
        match open.rank_family() {
            Ok(()) => self.say(case, FromDesk::Family(open.family.curves())),
            Err(problem) => self.fail(case, &problem),
        }
    }

    /// Counts lesions over the thresholds, one at a time between other work, and tells the curves when done.
    pub(super) async fn count_family(self: &Rc<Self>, cut: Cut, case: Option<u32>) {
        let mut counted = false;
        loop {
            // Whatever waits comes first; the next look goes on counting.
            if self.inbox.borrow().is_waiting() || self.case.borrow().family.is_empty() {
                return;
            }
            if !self.case.borrow_mut().family.count_on(&cut) {
                break;
            }
            counted = true;
            breathe().await;
        }
        if counted {
            self.say(case, FromDesk::Family(self.case.borrow().family.curves()));
        }
    }

    /// Draws what is asked for.
    pub(super) async fn look(self: &Rc<Self>, look: Look, case: Option<u32>) {
        let drawn = match &look.what {
            What::Fusion(how) => self.look_at_fusion(*how, look.place),
            What::Family(how) => self.look_at_family(how, look.place),
            What::Result => self
                .case
                .borrow_mut()
                .look_at_result(look.place)
                .map_err(|e| e.to_string()),
        };
        match drawn {
            Ok(Some(drawn)) => self.show(look.clone(), drawn, case),
            Ok(None) => return self.say(case, FromDesk::Unseen),
            Err(problem) => return self.fail(case, &problem),
        }
        if let What::Family(FamilyLook { cut, .. }) = look.what {
            breathe().await;
            self.count_family(cut, case).await;
        }
    }

    fn look_at_fusion(&self, how: FusionLook, place: Option<[f64; 3]>) -> Result<Option<Drawn>, String> {
        let mut open = self.case.borrow_mut();
        let prepared = open.prepared().map_err(|e| e.to_string())?;
        let head = &prepared.head;
        let plan = Tiles::new(head.grid().shape, how.patch, how.overlap)
            .and_then(|tiles| tiles.within(head.foreground()))
            .map_err(|e| e.to_string())?;
        let orientations = if how.rotations { 4 } else { 1 };
        let study = open.fusion.as_ref();
        let fresh = study.filter(|study| *study.plan() == plan && study.orientations() == orientations);
        let place = pictures::at_voxel(head.grid(), place.or_else(|| open.sight()));
        let drawn = fusion::draw(head, &plan, orientations, fresh, (how.window, how.layer), place);
        let told = Told::Fusion {
            tiles: plan.len() * orientations,
            windows: fresh.map(|study| study.numbers().to_vec()).unwrap_or_default(),
            stale: study.is_some() && fresh.is_none(),
        };
        Ok(Some(Drawn {
            pictures: drawn,
            place,
            told,
        }))
    }

    fn look_at_family(&self, how: &FamilyLook, place: Option<[f64; 3]>) -> Result<Option<Drawn>, String> {
        self.case
            .borrow_mut()
            .look_at_family(how, place)
            .map_err(|e| e.to_string())
    }

    /// Tells and draws the result for a printed report.
    pub(super) fn print(&self, case: Option<u32>) {
        let mut open = self.case.borrow_mut();
        let printed = open
            .report()
            .and_then(|report| Ok((report, open.look_at_result(None)?)));
        match printed {
            Ok((report, Some(drawn))) => {
                let look = Look {
                    place: None,
                    what: What::Result,
                };
                let (seen, pictures) = described(look, drawn);
                let message = FromDesk::Printable {
                    report: Box::new(report),
                    seen: Box::new(seen),
                };
                self.send_pictures(message, &pictures, case);
            }
            Ok((_, None)) => {}
            Err(problem) => self.fail(case, &problem),
        }
    }

    fn show(&self, look: Look, drawn: Drawn, case: Option<u32>) {
        let (seen, pictures) = described(look, drawn);
        self.send_pictures(FromDesk::Seen(Box::new(seen)), &pictures, case);
    }

    fn send_pictures(&self, message: FromDesk, pictures: &[Picture; 3], case: Option<u32>) {
        let mut parcel = Parcel::new(message).for_case(case);
        for picture in pictures {
            parcel = parcel
                .with_buffer(channel::bytes_out(&picture.grey))
                .with_buffer(channel::floats_out(&picture.over));
        }
        self.post(&parcel);
    }
}

/// What was drawn, without the pixels, and those.
fn described(mut look: Look, drawn: Drawn) -> (Seen, [Picture; 3]) {
    let Drawn {
        pictures: drawn,
        place,
        told,
    } = drawn;
    look.place = Some(place);
    let finite = |map: &[f32]| map.iter().copied().filter(|v| v.is_finite()).fold(0.0, f32::max);
    let value = drawn.first().and_then(|picture| {
        let [column, row] = picture.about.pixel(place).map(|p| p.round().max(0.0) as usize);
        let value = picture.over.get(row * picture.about.size[0] + column)?;
        value.is_finite().then_some(*value)
    });
    let seen = Seen {
        look,
        value,
        highest: drawn
            .iter()
            .map(|picture| finite(&picture.over))
            .fold(0.0, f32::max),
        told,
        pictures: drawn.iter().map(|picture| picture.about.clone()).collect(),
    };
    (seen, drawn)
}
