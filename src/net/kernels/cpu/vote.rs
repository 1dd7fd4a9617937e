//! The votes of overlapping patches.

use crate::net::kernels::vote::{Ballot, PLACE};

/// See [`Kernels::vote`](crate::net::kernels::Kernels::vote). `sums` is zero, and twice as long as the box if the spread is
/// asked for.
pub(crate) fn vote(p: &[f32], side: usize, places: &[f32], window: &[f32], ballot: Ballot, sums: &mut [f32]) {
    let [nx, ny, nz] = ballot.shape;
    let (votes, spread) = sums.split_at_mut(nx * ny * nz);
    let mut total = vec![0.0_f32; votes.len()];
    let (of_x, of_row) = window.split_at(side);
    let patches = p.chunks_exact(side * side * side);
    for (p, place) in patches.zip(places.chunks_exact(PLACE)) {
        let [ox, oy, oz] = [0, 1, 2].map(|a| place[a] as usize);
        let at = |a: usize, i: usize| if place[3 + a] > 0.0 { side - 1 - i } else { i };
        for z in 0..side {
            for y in 0..side {
                let to = ox + nx * (oy + y + ny * (oz + z));
                let from = side * (at(1, y) + side * at(2, z));
                for (x, w) in of_x.iter().enumerate() {
                    let w = (of_row[y + side * z] * w).max(ballot.floor);
                    let (p, v) = (p[from + at(0, x)], to + x);
                    let before = if total[v] > 0.0 { votes[v] / total[v] } else { p };
                    votes[v] += w * p;
                    total[v] += w;
                    if ballot.spread {
                        spread[v] += (w * (p - before) * (p - votes[v] / total[v])).max(0.0);
                    }
                }
            }
        }
    }
}
