//! The two Rust toolchains: one for this machine, one that can build for a browser.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use crate::shell::{on_path, run, say};
use crate::system::apt_install;

const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's Rust for browsers and web engines; `rust-web-src` is the standard library's source.
const DEBIAN_PACKAGES: [&str; 6] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "rust-web-clippy",
    "rustfmt-web",
];
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LINKER: &str = "/usr/bin/rust-lld";
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/Cargo.lock";

/// The cargo that runs this program.
pub(crate) fn native(paths: &Paths, subcommand: &str) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .arg(subcommand)
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", paths.native());
    command
}

/// Clippy and rustfmt of the native toolchain, installed if missing.
pub(crate) fn native_tools(paths: &Paths) -> Result<()> {
    let works = |tool: &str| {
        let mut command = native(paths, tool);
        command
            .arg("--version")
            .output()
            .is_ok_and(|done| done.status.success())
    };
    if works("clippy") && works("fmt") {
        return Ok(());
    }
    if env::var_os("CARGO").is_some_and(|cargo| Path::new(&cargo) == Path::new(DEBIAN_CARGO)) {
        apt_install("clippy and rustfmt", &DEBIAN_PACKAGES)?;
    } else if let Some(rustup) = on_path("rustup") {
        say("installing clippy and rustfmt (rustup component add)");
        run(Command::new(rustup).args(["component", "add", "clippy", "rustfmt"]))?;
    }
    if works("clippy") && works("fmt") {
        return Ok(());
    }
    bail!("`cargo clippy` or `cargo fmt` is missing; install both for the toolchain in use")
}

/// A toolchain that builds for `wasm32-unknown-unknown`.
pub(crate) struct Wasm {
    cargo: OsString,
    /// Debian's compiler ships the standard library as source: it is built with the project (45 s, once).
    build_std: bool,
}

impl Wasm {
    /// The target of the toolchain in use, else `rustup target add`, else Debian's packages.
    ///
    /// # Errors
    /// If none of the three can be had; the error says what to do.
    pub(crate) fn find(paths: &Paths) -> Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let debian = Path::new(&cargo) == Path::new(DEBIAN_CARGO);
        let shipped = Self {
            cargo,
            build_std: false,
        };
        if !debian && has_target(paths) {
            return Ok(shipped);
        }
        let mut refused = "there is no rustup".to_owned();
        if let (false, Some(rustup)) = (debian, on_path("rustup")) {
            say(&format!(
                "the {TARGET} target is not installed; trying `rustup target add {TARGET}`"
            ));
            let done = Command::new(rustup).args(["target", "add", TARGET]).output();
            if has_target(paths) {
                return Ok(shipped);
            }
            let words = done.map(|done| String::from_utf8_lossy(&done.stderr).trim().to_owned());
            let last = words
                .unwrap_or_default()
                .lines()
                .last()
                .unwrap_or_default()
                .to_owned();
            refused = format!("`rustup target add {TARGET}` failed ({last})");
            say(&format!(
                "{refused}; using Debian's Rust, which builds the standard library from source"
            ));
        }
        install_debian().with_context(|| {
            format!("no Rust for {TARGET}: {refused}, and Debian's rustc-web could not be installed either")
        })?;
        if !debian_is_complete() {
            bail!(
                "no Rust for {TARGET}: {refused}, and Debian's packages did not bring {DEBIAN_STD}. \
                 Install a Rust with that target (https://rustup.rs), then run the command again."
            );
        }
        Ok(Self {
            cargo: DEBIAN_CARGO.into(),
            build_std: true,
        })
    }

    /// A cargo command for the browser's target.
    pub(crate) fn command(&self, paths: &Paths, subcommand: &str) -> Command {
        let mut command = Command::new(&self.cargo);
        command
            .arg(subcommand)
            .args(["--target", TARGET])
            .current_dir(&paths.root);
        command.env("CARGO_TARGET_DIR", paths.wasm());
        if self.build_std {
            command.args(["-Z", "build-std=std,panic_abort"]);
            // `-Z` is for nightly compilers; this is how Debian's own browser packages are built.
            command
                .env("RUSTC_BOOTSTRAP", "1")
                .env("PATH", path_with_first("/usr/bin"));
            // Set by the cargo that runs this program, for its own toolchain.
            for name in ["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC", "CARGO", "LD_LIBRARY_PATH"] {
                command.env_remove(name);
            }
        }
        command
    }
}

fn debian_is_complete() -> bool {
    let needed = [DEBIAN_CARGO, DEBIAN_STD, DEBIAN_LINKER, "/usr/bin/cargo-clippy"];
    needed.iter().all(|file| Path::new(file).is_file())
}

fn install_debian() -> Result<()> {
    if debian_is_complete() {
        return Ok(());
    }
    apt_install("a Rust that can build for the browser", &DEBIAN_PACKAGES)?;
    // The linker is a link to LLVM's (`lld-22`, say) that no package of Rust asks for; its package has its name.
    match fs::read_link(DEBIAN_LINKER) {
        Ok(linker) if !Path::new(DEBIAN_LINKER).is_file() => {
            let name = linker.file_name().unwrap_or_default().to_string_lossy();
            apt_install("the linker for WebAssembly", &[name.as_ref()])
        }
        _ => Ok(()),
    }
}

fn has_target(paths: &Paths) -> bool {
    // The cargo that runs this program tells by RUSTC or PATH which compiler is its own.
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let Ok(done) = Command::new(rustc)
        .args(["--print", "sysroot"])
        .current_dir(&paths.root)
        .output()
    else {
        return false;
    };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&done.stdout).trim());
    sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
}

fn path_with_first(dir: &str) -> OsString {
    let rest = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(PathBuf::from(dir)).chain(env::split_paths(&rest));
    env::join_paths(dirs).unwrap_or_else(|_| OsStr::new(dir).to_owned())
}
