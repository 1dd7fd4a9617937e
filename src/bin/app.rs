//! The page's program.

fn main() {
    equipoise::web::app::start();
}
