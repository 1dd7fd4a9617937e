//! Running other programs, so that a person sees what runs and a failure says what failed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail};

/// Says what is being done.
pub(crate) fn say(sentence: &str) {
    println!("dev: {sentence}");
}

/// The command as a person would type it, without its environment.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{word}'")
    }
}

/// Runs a command with its output on the terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    println!("  $ {line}");
    let status = command
        .status()
        .with_context(|| format!("could not start `{line}`"))?;
    require(status, &line)
}

/// Runs a command and returns what it printed; its errors go to the terminal.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let done = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start `{line}`"))?;
    require(done.status, &line)?;
    String::from_utf8(done.stdout).with_context(|| format!("`{line}` printed something that is not UTF-8"))
}

/// What a command prints if it can be run and succeeds; nothing of it reaches the terminal.
pub(crate) fn probe(program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
    let done = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    if !done.status.success() {
        return None;
    }
    Some(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn require(status: ExitStatus, line: &str) -> Result<()> {
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Where a line came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Runs a command, writes all it prints to `log`, and gives every line to `each` as it comes.
///
/// Returns whether the command succeeded; an error means that it could not be run, or did not end within `limit` and
/// was killed.
pub(crate) fn stream(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    mut each: impl FnMut(Stream, &str),
) -> Result<ExitStatus> {
    let line = shown(command);
    let mut log_file = File::create(log).with_context(|| format!("could not write {}", log.display()))?;
    writeln!(log_file, "$ {line}")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{line}`"))?;
    let (sender, lines) = mpsc::channel();
    let mut readers = Vec::new();
    if let Some(out) = child.stdout.take() {
        readers.push(thread::spawn(forward(out, Stream::Out, sender.clone())));
    }
    if let Some(err) = child.stderr.take() {
        readers.push(thread::spawn(forward(err, Stream::Err, sender.clone())));
    }
    drop(sender);
    let start = Instant::now();
    loop {
        match lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
            Ok((from, text)) => {
                writeln!(log_file, "{text}")?;
                each(from, &text);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // Its readers end with its pipes, which its own children may hold for longer.
                child.kill()?;
                child.wait()?;
                bail!("`{line}` did not end within {} minutes", limit.as_secs() / 60);
            }
        }
    }
    for reader in readers {
        // A reader ends with its pipe; all it read has arrived.
        let _ = reader.join();
    }
    child
        .wait()
        .with_context(|| format!("`{line}` could not be waited for"))
}

fn forward(
    pipe: impl Read + Send + 'static,
    from: Stream,
    sender: mpsc::Sender<(Stream, String)>,
) -> impl FnOnce() + Send {
    move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\n', '\r'])
                .to_owned();
            if sender.send((from, text)).is_err() {
                return;
            }
            bytes.clear();
        }
    }
}

/// The first file of that name on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_killed_and_what_it_said_is_kept() -> Result<()> {
        let log = env::temp_dir().join(format!("equipoise-hang-{}.log", std::process::id()));
        let mut heard = Vec::new();
        let start = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "echo before; exec sleep 60"]);
        let done = stream(&mut command, &log, Duration::from_millis(500), |_, line| {
            heard.push(line.to_owned());
        });
        assert!(done.is_err_and(|e| e.to_string().contains("did not end")));
        assert_eq!(heard, ["before"]);
        assert!(start.elapsed() < Duration::from_secs(30));
        std::fs::remove_file(log)?;
        Ok(())
    }
}
