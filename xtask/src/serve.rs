//! A static file server for `dist/`, for a person at work and for the browser tests.
//!
//! It does what a static host does and no more, so that what works here works there: no special headers, no
//! rewriting. Browsers are told to keep nothing, since the files change under them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Result, anyhow};
use tiny_http::{Header, Request, Response, Server};

/// A server that answers until the program ends.
pub(crate) struct Serving {
    /// Address of the page, for example `http://127.0.0.1:8080/`.
    pub(crate) url: String,
    workers: Vec<thread::JoinHandle<()>>,
}

impl Serving {
    /// Waits for ever (until the program is stopped).
    pub(crate) fn wait(self) {
        for worker in self.workers {
            // A worker ends only when the server does.
            let _ = worker.join();
        }
    }
}

/// Serves `folder` below `sub_path` on 127.0.0.1; port 0 takes any free one.
///
/// # Errors
/// If the port is taken.
pub(crate) fn start(folder: &Path, port: u16, sub_path: &str) -> Result<Serving> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let server = Server::http(address)
        .map_err(|error| anyhow!("could not listen on {address}: {error}. Choose another with --port N."))?;
    let port = server
        .server_addr()
        .to_ip()
        .map_or(port, |address| address.port());
    let prefix = match sub_path.trim_matches('/') {
        "" => "/".to_owned(),
        inner => format!("/{inner}/"),
    };
    let url = format!("http://127.0.0.1:{port}{prefix}");
    let server = Arc::new(server);
    let workers = (0..4)
        .map(|_| {
            let (server, folder, prefix) = (Arc::clone(&server), folder.to_path_buf(), prefix.clone());
            thread::spawn(move || {
                for request in server.incoming_requests() {
                    answer(request, &folder, &prefix);
                }
            })
        })
        .collect();
    Ok(Serving { url, workers })
}

fn answer(request: Request, folder: &Path, prefix: &str) {
    let file = file_for(request.url(), folder, prefix);
    // A browser that went away in the middle of an answer is no error of ours.
    let _ = match file.and_then(|file| fs::read(&file).ok().map(|bytes| (file, bytes))) {
        Some((file, bytes)) => {
            let headers = [
                ("Content-Type", content_type(&file)),
                ("Cache-Control", "no-store"),
            ];
            let response = headers
                .iter()
                .fold(
                    Response::from_data(bytes),
                    |response, (name, value)| match Header::from_bytes(*name, *value) {
                        Ok(header) => response.with_header(header),
                        Err(()) => response,
                    },
                );
            request.respond(response)
        }
        None => request.respond(Response::from_string("not found").with_status_code(404)),
    };
}

/// The file that a request means; `None` if it is none of this folder's.
fn file_for(url: &str, folder: &Path, prefix: &str) -> Option<PathBuf> {
    let path = url.split(['?', '#']).next()?;
    let inner = percent_decoded(path.strip_prefix(prefix)?)?;
    let inner = if inner.is_empty() {
        "index.html".to_owned()
    } else {
        inner
    };
    let relative = Path::new(&inner);
    let stays_inside = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let file = folder.join(relative);
    (stays_inside && file.is_file()).then_some(file)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn content_type(file: &Path) -> &'static str {
    match file
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
    {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        // Not `Content-Encoding: gzip`: the page must get `.nii.gz` as it is.
        "gz" => "application/gzip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_stay_inside_the_folder_and_the_sub_path() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = |url| file_for(url, folder, "/a/b/");
        assert_eq!(found("/a/b/Cargo.toml?x=1"), Some(folder.join("Cargo.toml")));
        assert_eq!(found("/a/b/src/%6dain.rs"), Some(folder.join("src/main.rs")));
        for outside in [
            "/Cargo.toml",
            "/a/b/../Cargo.toml",
            "/a/b/%2e%2e/Cargo.toml",
            "/a/b//etc/passwd",
            "/a/b/src",
        ] {
            assert_eq!(found(outside), None, "{outside}");
        }
    }

    #[test]
    fn scripts_and_wasm_have_the_types_that_browsers_insist_on() {
        assert_eq!(content_type(Path::new("a.wasm")), "application/wasm");
        assert_eq!(content_type(Path::new("a.js")), "text/javascript; charset=utf-8");
        assert_eq!(content_type(Path::new("a.nii.gz")), "application/gzip");
    }
}
