//! Carrying out what the state machine asks for.

use std::rc::Rc;

use js_sys::{Array, ArrayBuffer, Promise};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use yew::prelude::*;

use super::{Msg, Page};
use crate::pipeline::report::Report;
use crate::web::app::address::Address;
use crate::web::app::desk::Event as DeskEvent;
use crate::web::app::explore::Pixels;
use crate::web::app::files;
use crate::web::app::finetune::Handed;
use crate::web::app::print::Printable;
use crate::web::app::state::{Action, BatchAction, Effect, Window};
use crate::web::app::viewer::Viewer;
use crate::web::channel::{self, Parcel, words};
use crate::web::messages::{Slot, ToDesk};
use crate::web::studies::Seen;

impl Page {
    pub(super) fn perform(&mut self, ctx: &Context<Self>, effect: Effect, buffers: &[ArrayBuffer]) {
        match effect {
            Effect::Send { case, message, file } => {
                let mut parcel = Parcel::new(message).for_case(Some(case));
                if let Some(file) = file.and_then(|id| self.files.get(&id)) {
                    parcel = parcel.with_file(file.clone());
                }
                if let Some(Err(error)) = self.desk.as_ref().map(|desk| desk.send(parcel)) {
                    ctx.link().send_message(Msg::Desk(DeskEvent::Garbled(error)));
                }
            }
            Effect::RestartDesk => self.start_desk(ctx),
            Effect::KeepFiles(ids) => self.files.retain(|id, _| ids.contains(id)),
            Effect::FetchSample(sample) => {
                let done = ctx.link().callback(move |files| Msg::Fetched(sample, files));
                spawn_local(async move { done.emit(files::sample(sample).await) });
            }
            Effect::FetchReference(sample) => {
                let done = ctx.link().callback(Msg::FetchedReference);
                spawn_local(async move { done.emit(files::sample_reference(sample).await) });
            }
            Effect::ShowPictures => self.pixels = Pixels::of(buffers).map(Rc::new),
            Effect::Print(report, seen) => self.print(ctx, report, seen, buffers),
            Effect::CollectLine => {
                let bytes = buffers.first().map(channel::bytes_in).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let line = Action::Batch(BatchAction::Line(text));
                ctx.link().send_message(Msg::Act(line));
            }
            Effect::DownloadText(name, text) => {
                if let Err(problem) = files::download(&name, &channel::bytes_out(text.as_bytes())) {
                    ctx.link().send_message(Msg::Act(Action::ChannelFailed(problem)));
                }
            }
            Effect::Download(name) => {
                let saved = buffers
                    .first()
                    .ok_or_else(|| "it came without its bytes".to_owned())
                    .and_then(|bytes| files::download(&name, bytes));
                if let Err(problem) = saved {
                    ctx.link().send_message(Msg::Act(Action::ChannelFailed(problem)));
                }
            }
            Effect::SendDrawn { case } => {
                let Some(voxels) = buffers.first() else { return };
                let parcel = Parcel::new(ToDesk::Correct)
                    .for_case(Some(case))
                    .with_buffer(voxels.clone());
                if let Some(Err(error)) = self.desk.as_ref().map(|desk| desk.send(parcel)) {
                    ctx.link().send_message(Msg::Desk(DeskEvent::Garbled(error)));
                }
            }
            Effect::HandToTraining(name) => {
                let handed = buffers
                    .first()
                    .ok_or_else(|| "it came without its bytes".to_owned())
                    .and_then(|bytes| self.hand_to_training(&name, bytes));
                if let Err(problem) = handed {
                    ctx.link().send_message(Msg::Act(Action::ChannelFailed(problem)));
                }
            }
            drawing => self.draw(ctx, drawing, buffers),
        }
    }

    /// Hands the open case with its mask to fine-tuning.
    fn hand_to_training(&mut self, name: &str, bytes: &ArrayBuffer) -> Result<(), String> {
        let file = |slot| {
            let card = self.state.input(slot).file();
            card.and_then(|card| self.files.get(&card.id)).cloned()
        };
        let flair = file(Slot::Flair).ok_or("the FLAIR is not open any more")?;
        let mask = files::file(name, bytes)?;
        self.handed = Some(Handed {
            number: self.handed.as_ref().map_or(0, |handed| handed.number) + 1,
            flair,
            t1: file(Slot::T1),
            mask,
        });
        self.finetune = true;
        if let Some(window) = web_sys::window() {
            // The view follows the address; a failure leaves it where it is.
            drop(window.location().set_hash(&Address::Finetune.hash()));
        }
        Ok(())
    }

    /// Lays a report out, with a rendering of the viewer's, and prints it.
    fn print(&self, ctx: &Context<Self>, report: Rc<Report>, seen: Rc<Seen>, buffers: &[ArrayBuffer]) {
        let Some(pixels) = Pixels::of(buffers).map(Rc::new) else {
            return;
        };
        let rendering = self.viewer.as_ref().map(Viewer::rendering);
        let done = ctx.link().callback(Msg::Print);
        spawn_local(async move {
            // A report without a rendering is better than none.
            let rendering = match rendering {
                Some(task) => JsFuture::from(task).await.ok().and_then(|url| url.as_string()),
                None => None,
            };
            done.emit(Printable {
                report,
                seen,
                pixels,
                rendering: rendering.unwrap_or_default().into(),
            });
        });
    }

    /// Carries out what concerns the viewer.
    fn draw(&mut self, ctx: &Context<Self>, effect: Effect, buffers: &[ArrayBuffer]) {
        let Some(viewer) = &self.viewer else {
            return;
        };
        let look = &self.state.look;
        match (effect, buffers.first()) {
            (Effect::ShowScan(id), _) => {
                if let Some(file) = self.files.get(&id) {
                    report_window(
                        ctx,
                        viewer.show_scan(file, self.state.laid().map(|rows| rows.as_flattened().into())),
                    );
                }
            }
            (Effect::ShowProbability, Some(bytes)) => report_failure(ctx, viewer.show_probability(bytes)),
            (Effect::ShowMask, Some(bytes)) => report_failure(ctx, viewer.show_mask(bytes)),
            (Effect::ShowComparison, Some(bytes)) => report_failure(ctx, viewer.show_comparison(bytes)),
            (Effect::GoTo([x, y, z]), _) => drop(viewer.go_to(x, y, z)),
            (Effect::Restyle, _) => {
                drop(viewer.style(look.display, look.opacity, self.state.cut.threshold));
            }
            (Effect::Rewindow, _) => {
                if let Some(Window { low, high }) = look.window {
                    drop(viewer.window(low, high));
                }
            }
            (Effect::StartDrawing, _) => report_failure(ctx, viewer.start_drawing()),
            (Effect::DrawWith, _) => drop(self.state.correcting.map(|pen| viewer.draw_with(pen))),
            (Effect::UndoStroke, _) => drop(viewer.undo_stroke()),
            (Effect::EndDrawing(keep), _) => {
                let (task, link) = (viewer.end_drawing(), ctx.link().clone());
                spawn_local(async move {
                    match JsFuture::from(task).await.map(JsCast::dyn_into::<ArrayBuffer>) {
                        Ok(Ok(voxels)) if keep => link.send_message(Msg::Corrected(voxels)),
                        Ok(_) => {}
                        Err(error) => link.send_message(Msg::Act(Action::ViewerFailed(words(&error)))),
                    }
                });
            }
            (Effect::Rearrange, _) => drop(viewer.layout(look.layout, look.radiological)),
            (Effect::ClearOverlay, _) => drop(viewer.clear_overlay()),
            (Effect::ClearViewer, _) => {
                drop(viewer.clear());
                self.crosshair = None;
            }
            _ => {}
        }
    }
}

/// Tells the state machine when the viewer fails.
pub(super) fn report_failure(ctx: &Context<Page>, task: Promise) {
    let act = ctx.link().callback(Msg::Act);
    spawn_local(async move {
        if let Err(error) = JsFuture::from(task).await {
            act.emit(Action::ViewerFailed(words(&error)));
        }
    });
}

/// Tells the state machine which window the viewer chose for a scan.
fn report_window(ctx: &Context<Page>, task: Promise) {
    let act = ctx.link().callback(Msg::Act);
    spawn_local(async move {
        act.emit(match JsFuture::from(task).await {
            Ok(window) => {
                let window = Array::from(&window);
                let [low, high] = [0, 1].map(|i| window.get(i).as_f64().unwrap_or(f64::NAN));
                Action::ViewerShows(Window { low, high })
            }
            Err(error) => Action::ViewerFailed(words(&error)),
        });
    });
}
