//! What the build and the tests need of the machine, found or installed.
//!
//! Nothing is installed that is already there, and whatever is installed is named first. On a machine without
//! `apt-get`, or without the right to use it, the error says what to install by hand.

use std::fs;
use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::paths::Paths;
use crate::shell::{on_path, probe, run, say};

/// Oldest Node.js that every npm package of `www/package.json` accepts; Debian 12 has 18.
const NODE_MAJOR: u32 = 18;

/// Installs Debian packages.
///
/// # Errors
/// If there is no `apt-get`, no right to use it, or it fails; each with the command to run by hand.
pub(crate) fn apt_install(what: &str, packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let by_hand = format!("apt-get update && apt-get install -y --no-install-recommends {list}");
    let Some(apt) = on_path("apt-get") else {
        bail!(
            "{what} is missing, and this system has no apt-get to install it with. \
             Install it with your system's own tools (Debian calls it {list}), then run the command again."
        );
    };
    let root = probe("id", &["-u"]).as_deref() == Some("0");
    let sudo = on_path("sudo").filter(|sudo| stdin().is_terminal() || probe(sudo, &["-n", "true"]).is_some());
    let apt_get = |args: &[&str]| {
        let mut command = match (&sudo, root) {
            (Some(sudo), false) => {
                let mut command = Command::new(sudo);
                command.arg("DEBIAN_FRONTEND=noninteractive").arg(&apt);
                command
            }
            _ => Command::new(&apt),
        };
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .arg("-q")
            .args(args);
        command
    };
    if !root && sudo.is_none() {
        bail!(
            "{what} is missing, and installing it needs root. Run this, then the command again:\n  sudo sh -c '{by_hand}'"
        );
    }
    say(&format!("installing {what} (Debian packages {list})"));
    let install: Vec<&str> = ["install", "-y", "--no-install-recommends"]
        .into_iter()
        .chain(packages.iter().copied())
        .collect();
    // The package lists of a fresh machine are empty or old; those of a used one are mostly good enough.
    if run(&mut apt_get(&install)).is_ok() {
        return Ok(());
    }
    run(&mut apt_get(&["update"]))
        .with_context(|| format!("could not install {what}; by hand: {by_hand}"))?;
    run(&mut apt_get(&install)).with_context(|| format!("could not install {what}; by hand: {by_hand}"))
}

/// Node.js and npm.
pub(crate) fn node() -> Result<PathBuf> {
    if let Some(node) = node_if_good()? {
        return Ok(node);
    }
    apt_install("Node.js with npm", &["nodejs", "npm"])?;
    node_if_good()?.context("Node.js was installed but `node` and `npm` are still not on PATH")
}

fn node_if_good() -> Result<Option<PathBuf>> {
    let (Some(node), Some(_)) = (on_path("node"), on_path("npm")) else {
        return Ok(None);
    };
    let version = probe(&node, &["--version"]).unwrap_or_default();
    let major: u32 = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    if major < NODE_MAJOR {
        bail!(
            "{} is Node.js {version}, but {NODE_MAJOR} or newer is needed; update it.",
            node.display()
        );
    }
    Ok(Some(node))
}

/// The npm packages of `www/package-lock.json`, in the cache: the folder that holds `node_modules`.
pub(crate) fn node_packages(paths: &Paths) -> Result<PathBuf> {
    npm_packages(&paths.root.join("www"), &paths.node())
}

/// The npm packages that the lock file in `from` names, in a folder of `cache`: the one that holds `node_modules`.
pub(crate) fn npm_packages(from: &Path, cache: &Path) -> Result<PathBuf> {
    node()?;
    let lock = from.join("package-lock.json");
    let lock = fs::read(&lock).with_context(|| format!("could not read {}", lock.display()))?;
    let folder = cache.join(short_hash(&[&lock]));
    let done = folder.join("installed");
    if done.is_file() {
        return Ok(folder);
    }
    say(&format!(
        "installing the npm packages of {} into the cache",
        from.join("package.json").display()
    ));
    fs::create_dir_all(&folder)?;
    for name in ["package.json", "package-lock.json"] {
        let file = from.join(name);
        fs::copy(&file, folder.join(name)).with_context(|| format!("could not copy {}", file.display()))?;
    }
    // No package here needs its install script: esbuild's binary is a package of its own.
    let mut npm = Command::new("npm");
    npm.args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ])
    .current_dir(&folder);
    run(&mut npm)?;
    fs::write(done, "")?;
    Ok(folder)
}

/// Python with the oracles of the tests (`tests/requirements.txt`), in a virtual environment in the cache.
pub(crate) fn python(paths: &Paths) -> Result<PathBuf> {
    let list = paths.root.join("tests/requirements.txt");
    let wanted = fs::read(&list).with_context(|| format!("could not read {}", list.display()))?;
    let folder = paths.venv();
    let python = folder.join("bin/python");
    let done = folder.join("installed");
    let hash = short_hash(&[&wanted]);
    if fs::read_to_string(&done).is_ok_and(|have| have == hash) && probe(&python, &["--version"]).is_some() {
        return Ok(python);
    }
    if probe("python3", &["-c", "import venv, ensurepip"]).is_none() {
        apt_install("Python 3 with venv", &["python3", "python3-venv"])?;
    }
    say("installing the Python oracles of tests/requirements.txt into the cache");
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "-r",
    ];
    run(Command::new(&python).args(pip).arg(&list))?;
    fs::write(done, hash)?;
    Ok(python)
}

/// A Chromium that `playwright-core` can drive.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("EQUIPOISE_CHROMIUM") {
        return Ok(PathBuf::from(named));
    }
    let known = ["chromium", "chromium-browser", "google-chrome"];
    let find = || known.iter().find_map(|name| on_path(name));
    if let Some(browser) = find() {
        return Ok(browser);
    }
    apt_install("a browser for the tests", &["chromium", "fonts-dejavu-core"])?;
    find().context("Chromium was installed but is not on PATH; set EQUIPOISE_CHROMIUM to its full name")
}

/// A Vulkan driver, so that the GPU kernels can be tested natively (Mesa's software one where there is no GPU).
pub(crate) fn vulkan() -> Result<()> {
    let drivers = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let has_driver = drivers
        .iter()
        .any(|dir| fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()));
    let loader = probe("/sbin/ldconfig", &["-p"]).is_some_and(|libs| libs.contains("libvulkan.so.1"));
    if !cfg!(target_os = "linux") || (has_driver && loader) {
        return Ok(());
    }
    apt_install(
        "a Vulkan driver for the GPU tests",
        &["mesa-vulkan-drivers", "libvulkan1"],
    )
}

/// The first 16 hexadecimal digits of the SHA-256 of all the parts, each with its length.
pub(crate) fn short_hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
