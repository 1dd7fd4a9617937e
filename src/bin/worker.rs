//! An engine's program; see [`equipoise::web::engine`].

fn main() {
    if let Err(problem) = equipoise::web::engine::serve() {
        web_sys::console::error_1(&problem.to_string().into());
    }
}
