//! Peak of the processor: independent chains of multiply-adds in registers, on every thread.

use std::hint::black_box;
use std::time::Instant;

/// Multiply-adds of one call a lane: long enough that starting threads does not show.
const LOOPS: usize = 6_000_000;
/// Independent chains: more than latency times throughput of any processor at hand (4 cycles, 2 a cycle).
const CHAINS: usize = 12;

/// GFLOPS (a multiply-add counts two) of so many threads together.
pub(super) fn measure(threads: usize) -> f64 {
    let start = Instant::now();
    let lanes: usize = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(chains)).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default())
            .sum()
    });
    2.0 * (lanes * CHAINS * LOOPS) as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// Runs the chains at the best level of this processor; answers with the lanes of its vectors.
fn chains() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F.
            unsafe { x86::avx512() };
            return 16;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA.
            unsafe { x86::avx2() };
            return 8;
        }
    }
    let (m, s) = (black_box(0.999_f32), black_box(0.001_f32));
    let mut sums = [[1.0_f32; 4]; CHAINS];
    for _ in 0..LOOPS {
        for sum in sums.iter_mut().flatten() {
            *sum = *sum * m + s;
        }
    }
    black_box(sums);
    4
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{CHAINS, LOOPS, black_box};
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_set1_ps};

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512() {
        let (m, s) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        let mut sums = [m; CHAINS];
        for _ in 0..LOOPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, m, s);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2() {
        let (m, s) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        let mut sums = [m; CHAINS];
        for _ in 0..LOOPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, m, s);
            }
        }
        black_box(sums);
    }
}
