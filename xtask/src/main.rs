//! The project's own tools: build, serve and test. `./dev` finds a Rust toolchain and hands over to this.

mod bench;
mod build;
mod bundle;
mod cargo_output;
mod licences;
mod offline;
mod paths;
mod programs;
mod serve;
mod shell;
mod sizes;
mod system;
mod test;
mod test_output;
mod toolchain;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;

const HELP: &str = "\
./dev serve   build the page and serve it at http://127.0.0.1:8080/
    --port N          another port
    --sub-path /x/    below a path, as some hosts do
    --fast            leave out wasm-opt (sooner done, slower page)
./dev build   build the page into dist/
    --fast            leave out wasm-opt
    --page            page and desk alone; the engines stay as they were built last
    --accept-sizes    make today's sizes the gates of xtask/size-gates.json
./dev test    run every check and test
    --quick           only those that need neither the network code nor a browser
    WORD...           only steps of that name (`./dev test help` lists them); other words choose tests by name
./dev bench   measure speed and memory, ours and others'; writes docs/performance.{json,md,svg}
    WORD...           only rows of that group (`./dev bench help` lists them)
    --keep-programs   measure with the programs built last
    --table           measure nothing, write table and picture anew
./dev help    this text

What is missing on the machine is installed, each thing named before. Caches lie in
${XDG_CACHE_HOME:-~/.cache}/equipoise and may be deleted at any time.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dev: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    let mut words = arguments.iter().map(String::as_str);
    let paths = Paths::find()?;
    match words.next().unwrap_or("help") {
        "build" => {
            let mut options = build::Options::default();
            for word in words {
                match word {
                    "--fast" => options.fast = true,
                    "--page" => options.page = true,
                    "--accept-sizes" => options.accept_sizes = true,
                    _ => bail!("`./dev build` does not know `{word}`; see `./dev help`"),
                }
            }
            build::command(&paths, options)?;
        }
        "serve" => serve_command(&paths, words)?,
        "bench" => bench::command(&paths, words)?,
        "test" => return test::command(&paths, words),
        "help" | "--help" | "-h" => print!("{HELP}"),
        other => bail!("there is no `./dev {other}`; see `./dev help`"),
    }
    Ok(ExitCode::SUCCESS)
}

fn serve_command<'a>(paths: &Paths, mut words: impl Iterator<Item = &'a str>) -> Result<()> {
    let (mut port, mut sub_path, mut options) = (8080, "/", build::Options::default());
    while let Some(word) = words.next() {
        match word {
            "--port" => {
                let number = words.next().context("--port needs a number")?;
                port = number
                    .parse()
                    .with_context(|| format!("`{number}` is no port number"))?;
            }
            "--sub-path" => sub_path = words.next().context("--sub-path needs a path")?,
            "--fast" => options.fast = true,
            _ => bail!("`./dev serve` does not know `{word}`; see `./dev help`"),
        }
    }
    // The port first: better to hear that it is taken before a build than after.
    let serving = serve::start(&paths.dist(), port, sub_path)?;
    let report = build::dist(paths, options)?;
    for sentence in report.over_gates {
        shell::say(&sentence);
    }
    shell::say(&format!(
        "the page is at {} (Ctrl-C ends the server)",
        serving.url
    ));
    serving.wait();
    Ok(())
}
