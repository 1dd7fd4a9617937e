//! The rules of the house (`ARCHITECTURE.md`), checked on the source.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room, rooms it may use, crates it may not know.
type Rule = (&'static str, &'static [&'static str], &'static [&'static str]);

const BROWSER: [&str; 5] = ["web_sys", "js_sys", "wasm_bindgen", "yew", "gloo_timers"];
const NO_BROWSER_NO_BURN: [&str; 6] = ["web_sys", "js_sys", "wasm_bindgen", "yew", "gloo_timers", "burn"];

const RULES: [Rule; 8] = [
    ("volume", &[], &NO_BROWSER_NO_BURN),
    ("tiling", &["volume"], &NO_BROWSER_NO_BURN),
    ("net", &["volume", "tiling"], &BROWSER),
    ("loss", &["net"], &BROWSER),
    ("metrics", &["volume"], &NO_BROWSER_NO_BURN),
    ("learn", &["volume", "tiling", "net", "loss", "metrics"], &BROWSER),
    (
        "pipeline",
        &["volume", "tiling", "net", "loss", "metrics", "learn"],
        &NO_BROWSER_NO_BURN,
    ),
    (
        "web",
        &["volume", "tiling", "net", "loss", "metrics", "learn", "pipeline"],
        &["nalgebra"],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// Rust files of a room but for those that hold nothing but tests, whether it is a folder or one file.
fn files(room: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join("src").join(room)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                found.push(path);
            }
        }
    }
    found.extend(Some(root().join("src").join(format!("{room}.rs"))).filter(|file| file.is_file()));
    found
}

/// The code of a file without comments, and without the unit tests that close it.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    code.lines()
        .map(|line| line.split("//").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Names that follow `crate::`, those in braces among them.
fn modules_used(code: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let first_name = |text: &str| {
        text.trim_start()
            .split(|c| !is_name(c))
            .next()
            .unwrap_or("")
            .to_owned()
    };
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let after = &code[at + "crate::".len()..];
        let Some(group) = after.strip_prefix('{') else {
            used.insert(first_name(after));
            continue;
        };
        let mut depth = 0;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => used.extend([first_name(&std::mem::take(&mut item))]),
                _ => item.push(c),
            }
        }
        used.insert(first_name(&item));
    }
    used
}

/// Whether a crate is named as the start of a path.
fn knows(code: &str, name: &str) -> bool {
    let starts = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let ends = |at: usize| {
        let after = &code[at + name.len()..];
        after.starts_with("::") || after.starts_with(';')
    };
    code.match_indices(name).any(|(at, _)| starts(at) && ends(at))
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let rooms: BTreeSet<&str> = RULES.iter().map(|(room, _, _)| *room).collect();
    let mut wrong = Vec::new();
    for (room, below, _) in RULES {
        assert!(!files(room).is_empty(), "the room {room} has no files");
        for file in files(room) {
            for used in modules_used(&code(&file)) {
                let is_room = rooms.contains(used.as_str()) && used != room;
                if is_room && !below.contains(&used.as_str()) {
                    wrong.push(format!("{} uses crate::{used}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_room_knows_no_crate_that_is_not_its_business() {
    let mut wrong = Vec::new();
    for (room, _, unknown) in RULES {
        for file in files(room) {
            let code = code(&file);
            for name in unknown.iter().filter(|name| knows(&code, name)) {
                wrong.push(format!("{} knows {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn page_and_desk_do_not_link_burn() {
    for features in ["page", "web"] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(root())
            .args(["tree", "--locked", "--package", "equipoise", "--edges", "normal"]);
        cargo.args([
            "--prefix",
            "none",
            "--no-default-features",
            "--features",
            features,
        ]);
        let done = cargo
            .args(["--target", "wasm32-unknown-unknown"])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let tree = String::from_utf8(done.stdout).unwrap();
        assert!(
            tree.contains("wasm-bindgen "),
            "the tree of `{features}` is not what it should be:\n{tree}"
        );
        let burn: Vec<&str> = tree
            .lines()
            .filter(|line| {
                ["burn", "cubecl", "wgpu"]
                    .iter()
                    .any(|name| line.starts_with(name))
            })
            .collect();
        assert!(burn.is_empty(), "`{features}` links {burn:?}");
    }
}

#[test]
fn no_file_of_the_project_is_a_maze() {
    // The house's own measure is 400 lines; at 600 the second idea has certainly moved in.
    let mut long = Vec::new();
    for (room, _, _) in RULES {
        for file in files(room) {
            let lines = code(&file).lines().count();
            if lines > 600 {
                long.push(format!("{}: {lines} lines before its tests", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn the_checks_can_fail() {
    let code = "use crate::{tiling::{Plan, window}, web};\nfn f() { crate::net::run(); web_sys::window(); }";
    let used = modules_used(code);
    assert!(
        ["tiling", "web", "net"].iter().all(|room| used.contains(*room)),
        "{used:?}"
    );
    assert!(knows(code, "web_sys") && !knows(code, "js_sys") && !knows(code, "sys"));
}
