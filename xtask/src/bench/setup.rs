//! What the benchmarks need: `lab`, Python with PyTorch and ONNX, onnxruntime-web, models. All in the cache.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::paths::Paths;
use crate::shell::{probe, run, say};
use crate::system::{self, short_hash};
use crate::toolchain;

/// The shipped model, below the checkout.
const SHIPPED: &str = "www/models/browser-b1.5";
/// The CPU build of PyTorch is a tenth of the one that PyPI has for Linux.
const TORCH_CPU: &str = "https://download.pytorch.org/whl/cpu";

/// Where things are.
pub(crate) struct Tools<'a> {
    pub(crate) paths: &'a Paths,
    /// Everything of the benchmarks in the cache.
    pub(crate) folder: PathBuf,
    /// Measure with the programs built last.
    pub(crate) keep_programs: bool,
}

impl<'a> Tools<'a> {
    pub(crate) fn new(paths: &'a Paths, keep_programs: bool) -> Result<Self> {
        let folder = paths.cache.join("bench");
        fs::create_dir_all(&folder)?;
        Ok(Self {
            paths,
            folder,
            keep_programs,
        })
    }

    /// A file of `tests/bench`.
    pub(crate) fn script(&self, name: &str) -> PathBuf {
        self.paths.root.join("tests/bench").join(name)
    }

    /// The folder of the shipped model.
    pub(crate) fn shipped(&self) -> PathBuf {
        self.paths.root.join(SHIPPED)
    }

    /// Builds `lab`, and puts it where no other build replaces it.
    pub(crate) fn build_lab(&self) -> Result<()> {
        if self.keep_programs && self.lab_file().is_file() {
            return Ok(());
        }
        system::vulkan()?;
        let mut cargo = toolchain::native(self.paths, "build");
        cargo.args(["--package", "equipoise", "--bin", "lab", "--locked"]);
        run(&mut cargo)?;
        fs::copy(self.paths.native().join("debug/lab"), self.lab_file()).context("cargo built no lab")?;
        Ok(())
    }

    fn lab_file(&self) -> PathBuf {
        self.folder.join("lab")
    }

    /// `lab`, in the checkout.
    pub(crate) fn lab(&self) -> Result<Command> {
        let mut lab = Command::new(self.lab_file());
        // burn materialises an optimiser on its default device.
        lab.current_dir(&self.paths.root).env("BURN_DEVICE", "flex");
        Ok(lab)
    }

    /// A model with random weights of `PRESET@SIDE`, made once.
    pub(crate) fn preset(&self, net: &str) -> Result<PathBuf> {
        let folder = self.folder.join(net.replace('@', "-"));
        if !folder.join("card.json").is_file() {
            run(self
                .lab()?
                .args(["bench", "network", "--net", net, "--out"])
                .arg(&folder))?;
        }
        Ok(folder)
    }

    /// Python with `tests/bench/requirements.txt`.
    pub(crate) fn python(&self) -> Result<PathBuf> {
        let list = self.script("requirements.txt");
        let wanted = fs::read(&list).with_context(|| format!("could not read {}", list.display()))?;
        let folder = self.folder.join("venv");
        let python = folder.join("bin/python");
        let done = folder.join("installed");
        let hash = short_hash(&[&wanted]);
        if fs::read_to_string(&done).is_ok_and(|have| have == hash) {
            return Ok(python);
        }
        if probe("python3", &["-c", "import venv, ensurepip"]).is_none() {
            system::apt_install("Python 3 with venv", &["python3", "python3-venv"])?;
        }
        say("installing PyTorch and ONNX (tests/bench/requirements.txt) into the cache; some GB, once");
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let pip = |more: &[&str]| {
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(more)
                .arg("-r")
                .arg(&list);
            pip
        };
        // Not every network lets PyTorch's own index through.
        let small = [
            "--retries",
            "0",
            "--timeout",
            "15",
            "--extra-index-url",
            TORCH_CPU,
        ];
        if run(&mut pip(&small)).is_err() {
            run(&mut pip(&[]))?;
        }
        fs::write(done, hash)?;
        Ok(python)
    }

    /// The folder with `node_modules` of `tests/bench/npm`.
    pub(crate) fn node_packages(&self) -> Result<PathBuf> {
        system::npm_packages(&self.script("npm"), &self.folder.join("npm"))
    }

    /// What a script of `tests/bench` that drives Chromium makes of a task: JSON in, JSON out.
    pub(crate) fn node(&self, script: &str, task: &Value) -> Result<Value> {
        let mut node = Command::new(system::node()?);
        node.current_dir(&self.paths.root)
            .arg(self.script(script))
            .env("EQUIPOISE_NODE_PACKAGES", system::node_packages(self.paths)?)
            .env("EQUIPOISE_CHROMIUM", system::chromium()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = node.spawn().context("could not start node")?;
        if let Some(mut to) = child.stdin.take() {
            to.write_all(task.to_string().as_bytes())?;
        }
        let done = child.wait_with_output()?;
        if !done.status.success() {
            bail!("{script} failed ({})", done.status);
        }
        serde_json::from_slice(&done.stdout).with_context(|| format!("{script} printed no JSON"))
    }

    /// The network of a model as ONNX, `options` being those of `export_onnx.py`.
    pub(crate) fn onnx(&self, model: &Path, to: &Path, options: &[&str]) -> Result<()> {
        let mut python = Command::new(self.python()?);
        python
            .arg(self.script("export_onnx.py"))
            .arg(model)
            .arg(to)
            .args(options);
        run(&mut python)
    }
}
