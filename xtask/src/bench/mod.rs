//! `./dev bench`: how fast the network is and what it takes, ours and others' in turn on the same machine.
//!
//! Every group measures some rows; rows that are measured again replace those of `docs/performance.json`, from which
//! the table of `docs/performance.md` and the picture `docs/performance.svg` are made.

mod browser;
mod figures;
mod machine;
mod native;
mod page;
mod partner;
mod rows;
mod setup;
mod table;

use anyhow::{Result, bail};

use crate::paths::Paths;
use crate::shell::{self, say};
use browser::Site;
use figures::Figures;
use machine::Machine;
use rows::Found;
use setup::Tools;

/// Rows that are measured together.
struct Group {
    name: &'static str,
    what: &'static str,
    measure: fn(&Tools) -> Result<Vec<Found>>,
}

const GROUPS: [Group; 13] = [
    Group {
        name: "chromium-gpu",
        what: "WebGPU in Chromium: ours, onnxruntime-web, stock burn (10 minutes on an adapter in software)",
        measure: |tools| browser::gpu(&Site::new(tools)?),
    },
    Group {
        name: "chromium-presets",
        what: "the larger networks on WebGPU in Chromium: ours, stock burn (10 minutes in software)",
        measure: |tools| browser::presets(&Site::new(tools)?),
    },
    Group {
        name: "chromium-cpu",
        what: "the CPU in Chromium: ours, onnxruntime-web, stock burn",
        measure: |tools| browser::cpu(&Site::new(tools)?),
    },
    Group {
        name: "chromium-steps",
        what: "training steps in Chromium on the CPU and on WebGPU",
        measure: |tools| browser::steps(&Site::of_tutors(tools)?),
    },
    Group {
        name: "vulkan",
        what: "native GPU: ours, stock burn; forward pass and training step (10 minutes in software)",
        measure: native::vulkan,
    },
    Group {
        name: "cpu",
        what: "native CPU: ours, PyTorch, stock burn; forward pass, training step, memory",
        measure: native::cpu,
    },
    Group {
        name: "heads",
        what: "whole heads of three sizes, from file to file",
        measure: native::heads,
    },
    Group {
        name: "peak",
        what: "share of the fp32 peak that the 3x3x3 layers reach",
        measure: native::peak,
    },
    Group {
        name: "gpu-memory",
        what: "memory of a forward pass at patch 64",
        measure: native::gpu_memory,
    },
    Group {
        name: "page-head-cpu",
        what: "the whole-head sample on the built page's CPU engine: ours, stock burn",
        measure: page::head_cpu,
    },
    Group {
        name: "page-head-gpu",
        what: "the whole-head sample on the built page through WebGPU (10 minutes in software)",
        measure: page::head_gpu,
    },
    Group {
        name: "page-memory",
        what: "memory of the built page with a head of 256^3 voxels",
        measure: page::memory,
    },
    Group {
        name: "wire",
        what: "bytes that a visitor downloads",
        measure: page::wire,
    },
];

/// Measures the groups named in `words` (all of them without any) and writes figures, table and picture.
pub(crate) fn command<'a>(paths: &Paths, words: impl Iterator<Item = &'a str>) -> Result<()> {
    let (mut chosen, mut keep_programs, mut render_only) = (Vec::new(), false, false);
    for word in words {
        match word {
            "help" => {
                for group in &GROUPS {
                    println!("{:<18}{}", group.name, group.what);
                }
                return Ok(());
            }
            "--keep-programs" => keep_programs = true,
            "--table" => render_only = true,
            _ => match GROUPS.iter().find(|group| group.name == word) {
                Some(group) => chosen.push(group),
                None => bail!("`./dev bench` does not know `{word}`; see `./dev bench help`"),
            },
        }
    }
    if chosen.is_empty() && !render_only {
        chosen.extend(&GROUPS);
    }
    let tools = Tools::new(paths, keep_programs)?;
    tools.build_lab()?;
    let file = paths.root.join("docs/performance.json");
    let mut failed = Vec::new();
    for group in chosen {
        say(&format!("measuring {}: {}", group.name, group.what));
        let machine = Machine::now();
        match (group.measure)(&tools) {
            Ok(found) => {
                let machine = machine.finished();
                let fresh: Vec<_> = found
                    .into_iter()
                    .filter_map(|found| found.row(&machine))
                    .collect();
                for row in &fresh {
                    println!("  {}: {}", row.title, row.shown);
                }
                // Read anew and written at once: minutes of measuring are not lost to what comes later.
                let mut figures = Figures::read(&file);
                figures.merge(fresh, &rows::ids());
                figures.write(&file)?;
            }
            Err(error) => failed.push(format!("{}: {error:#}", group.name)),
        }
    }
    render(&tools)?;
    if !failed.is_empty() {
        bail!("not measured:\n  {}", failed.join("\n  "));
    }
    Ok(())
}

/// Table and picture of the figures as they are.
fn render(tools: &Tools) -> Result<()> {
    let docs = tools.paths.root.join("docs");
    table::insert(
        &docs.join("performance.md"),
        &Figures::read(&docs.join("performance.json")),
    )?;
    shell::run(tools.lab()?.args(["bench", "plot"]))?;
    say("wrote docs/performance.json, docs/performance.md and docs/performance.svg");
    Ok(())
}
