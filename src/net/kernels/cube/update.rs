//! Steps of the optimiser on CubeCL devices.

use super::launch::{alike, buffer, empty, grid};
use crate::net::kernels::update::{AdamStep, BETA_1, BETA_2, EPSILON};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Numbers of a gradient that every unit may square and add up itself; longer ones are summed by a launch before.
const FEW: usize = 256;
/// Numbers that one unit of that launch sums up, at the least.
const CHUNK: usize = 64;
/// Numbers that one unit updates, so that the norm is put together once for them.
const SPAN: usize = 8;

/// Sums of squares, of every `parts`-th number each.
#[cube(launch_unchecked)]
fn squares_kernel(grad: &[f32], part: &mut [f32], parts: usize, n: usize) {
    if ABSOLUTE_POS >= parts {
        terminate!();
    }
    let mut sum = 0.0f32;
    for i in 0..(n - ABSOLUTE_POS).div_ceil(parts) {
        let g = grad[ABSOLUTE_POS + i * parts];
        sum += g * g;
    }
    part[ABSOLUTE_POS] = sum;
}

#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Rule {
    /// Largest norm.
    clip: f32,
    rate: f32,
    /// Share of a weight that its decay leaves.
    left: f32,
    /// What the means are divided by.
    first: f32,
    second: f32,
    /// Decays of the means.
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    /// Share of the old average that is kept, and the rest.
    keep: f32,
    rest: f32,
}

/// `part` holds sums of squares of the gradient, or is the gradient where it is short.
#[allow(clippy::needless_range_loop)]
#[cube(launch_unchecked)]
fn adamw_kernel(
    w: &[f32],
    grad: &[f32],
    state: &[f32],
    part: &[f32],
    next: &mut [f32],
    next_state: &mut [f32],
    n: usize,
    parts: usize,
    rule: Rule,
    #[comptime] span: usize,
    #[comptime] summed: bool,
) {
    let stride = n.div_ceil(span);
    if ABSOLUTE_POS >= stride {
        terminate!();
    }
    let mut sum = 0.0f32;
    for i in 0..parts {
        let value = part[i];
        sum += if summed { value } else { value * value };
    }
    let share = rule.clip / max(sum.sqrt(), rule.clip);
    // Neighbouring units take neighbouring numbers.
    for i in 0..span {
        let at = ABSOLUTE_POS + i * stride;
        if at < n {
            let g = grad[at] * share;
            let first = state[at] * rule.beta_1 + g * (1.0f32 - rule.beta_1);
            let second = state[n + at] * rule.beta_2 + g * g * (1.0f32 - rule.beta_2);
            let way = (first / rule.first) / ((second / rule.second).sqrt() + rule.epsilon);
            let now = w[at] * rule.left - way * rule.rate;
            next[at] = now;
            next_state[at] = first;
            next_state[n + at] = second;
            next_state[2 * n + at] = state[2 * n + at] * rule.keep + now * rule.rest;
        }
    }
}

/// See [`Kernels::adamw`](crate::net::kernels::Kernels::adamw).
pub(super) fn adamw(
    w: &CubeTensor,
    grad: &CubeTensor,
    state: &CubeTensor,
    step: AdamStep,
) -> (CubeTensor, CubeTensor) {
    let n = w.meta.shape().num_elements();
    let (part, parts) = if n <= FEW {
        (grad.clone(), n)
    } else {
        squares(grad, n)
    };
    let next = alike(w);
    let next_state = empty(state, [3, n]);
    let [first, second] = step.corrections();
    let client = w.client.clone();
    let (count, dim) = grid(&client, n.div_ceil(SPAN));
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        adamw_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(w),
            buffer(grad),
            buffer(state),
            buffer(&part),
            buffer(&next),
            buffer(&next_state),
            n,
            parts,
            RuleLaunch::new(
                step.clip as f32,
                step.rate as f32,
                step.left() as f32,
                first,
                second,
                BETA_1,
                BETA_2,
                EPSILON,
                step.keep as f32,
                (1.0 - step.keep) as f32,
            ),
            SPAN,
            n > FEW,
        );
    }
    (next, next_state)
}

/// Sums of squares, and how many.
fn squares(grad: &CubeTensor, n: usize) -> (CubeTensor, usize) {
    let parts = n.div_ceil(CHUNK).min(FEW);
    let part = empty(grad, [parts]);
    let client = grad.client.clone();
    let (count, dim) = grid(&client, parts);
    // Safety: as above.
    unsafe {
        squares_kernel::launch_unchecked(&client, count, dim, buffer(grad), buffer(&part), parts, n);
    }
    (part, parts)
}
