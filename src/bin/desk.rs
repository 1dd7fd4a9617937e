//! The desk's program; see [`equipoise::web::desk`].

fn main() {
    if let Err(problem) = equipoise::web::desk::serve() {
        web_sys::console::error_1(&problem.to_string().into());
    }
}
