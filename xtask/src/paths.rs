//! Where things are: the checkout, and the caches outside it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout and the cache folder.
pub(crate) struct Paths {
    /// Top level of the checkout.
    pub(crate) root: PathBuf,
    /// `$XDG_CACHE_HOME/equipoise`, or `~/.cache/equipoise`. Nothing in it is needed, all of it saves time.
    pub(crate) cache: PathBuf,
}

impl Paths {
    pub(crate) fn find() -> Result<Self> {
        // Cargo says where it found this package; the place it was compiled at may be another checkout's.
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&package)
            .parent()
            .context("xtask has no folder above it")?
            .to_path_buf();
        let base = match env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
                .join(".cache"),
        };
        Ok(Self {
            root,
            cache: base.join("equipoise"),
        })
    }

    /// Cargo's target folder for what runs on this machine.
    pub(crate) fn native(&self) -> PathBuf {
        self.cache.join("native")
    }

    /// Cargo's target folder for what runs in a browser.
    pub(crate) fn wasm(&self) -> PathBuf {
        self.cache.join("wasm")
    }

    /// npm packages, one folder per lock file.
    pub(crate) fn node(&self) -> PathBuf {
        self.cache.join("node")
    }

    /// Python's virtual environment with the oracles of the tests.
    pub(crate) fn venv(&self) -> PathBuf {
        self.cache.join("venv")
    }

    /// Results of build steps, each named after a hash of all that went into it.
    pub(crate) fn steps(&self) -> PathBuf {
        self.cache.join("steps")
    }

    /// What the last test run said, one file per step, and the screenshots it took.
    pub(crate) fn logs(&self) -> PathBuf {
        self.cache.join("logs")
    }

    /// The page as it is served.
    pub(crate) fn dist(&self) -> PathBuf {
        self.root.join("dist")
    }
}
