//! A few vector operations under one name on every processor.
//!
//! The kernels are written once against [`Lanes`] and compiled per instruction set; [`Level`] picks one at run time.

use std::sync::OnceLock;

/// A vector of `N` float32 values.
///
/// # Safety
/// Every method may use instructions of the level the type belongs to, so it must be called only from code that
/// runs at that level; pointers must be valid for `N` values (no alignment needed).
pub(super) trait Lanes: Copy {
    /// Values in one vector.
    const N: usize;
    /// All values zero.
    unsafe fn zero() -> Self;
    /// All values `v`.
    unsafe fn splat(v: f32) -> Self;
    /// `N` values from memory.
    unsafe fn load(from: *const f32) -> Self;
    /// `N` values to memory.
    unsafe fn store(self, to: *mut f32);
    /// `self + a * b`, fused where the processor can.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// Sum of all values.
    unsafe fn sum(self) -> f32;
}

/// Instruction sets the kernels are compiled for, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Whatever the target guarantees (SSE2, NEON, wasm SIMD128 if enabled).
    Base,
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The best level of this processor.
pub(super) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Level::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Level::Avx2;
            }
        }
        Level::Base
    })
}

/// Work that is compiled for every level.
pub(super) trait Work<T> {
    /// Does part `index` of it, in `room`.
    ///
    /// # Safety
    /// Must run at the level of `S`, and is to be `#[inline(always)]`; what else it asks, its implementation says.
    unsafe fn run<S: Lanes>(&self, index: usize, room: &mut [T]);
}

/// Does a part of some work at a level.
///
/// # Safety
/// `level` must be one of this processor's; the rest is the work's own contract.
pub(super) unsafe fn at_level<T>(level: Level, work: &impl Work<T>, index: usize, room: &mut [T]) {
    // SAFETY: the caller's contract.
    unsafe {
        match level {
            Level::Base => work.run::<F4>(index, room),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::at_avx2(work, index, room),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::at_avx512(work, index, room),
        }
    }
}

/// Every level this processor can run, for tests that compare them.
#[cfg(test)]
pub(super) fn levels() -> Vec<Level> {
    #[cfg(target_arch = "x86_64")]
    let all = vec![Level::Base, Level::Avx2, Level::Avx512];
    #[cfg(not(target_arch = "x86_64"))]
    let all = vec![Level::Base];
    all.into_iter().filter(|l| *l <= level()).collect()
}

/// Four values: an SSE, NEON or wasm SIMD128 register after the compiler has seen it.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[derive(Clone, Copy)]
pub(super) struct F4([f32; 4]);

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
impl Lanes for F4 {
    const N: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Self([v; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for four readable values.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for four writable values.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self.0[0] + self.0[2]) + (self.0[1] + self.0[3])
    }
}

/// Four values in a wasm SIMD128 register.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[derive(Clone, Copy)]
pub(super) struct F4(std::arch::wasm32::v128);

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
impl Lanes for F4 {
    const N: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self(std::arch::wasm32::f32x4_splat(0.0))
    }
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Self(std::arch::wasm32::f32x4_splat(v))
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for four readable values.
        Self(unsafe { std::arch::wasm32::v128_load(from.cast()) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for four writable values.
        unsafe { std::arch::wasm32::v128_store(to.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        use std::arch::wasm32::{f32x4_add, f32x4_mul};
        Self(f32x4_add(self.0, f32x4_mul(a.0, b.0)))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        use std::arch::wasm32::f32x4_extract_lane as lane;
        (lane::<0>(self.0) + lane::<2>(self.0)) + (lane::<1>(self.0) + lane::<3>(self.0))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Lanes, Work};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn at_avx2<T>(work: &impl Work<T>, index: usize, room: &mut [T]) {
        // SAFETY: this function's own features are those of `F8`; the rest is the caller's contract.
        unsafe { work.run::<F8>(index, room) }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn at_avx512<T>(work: &impl Work<T>, index: usize, room: &mut [T]) {
        // SAFETY: this function's own features are those of `F16`; the rest is the caller's contract.
        unsafe { work.run::<F16>(index, room) }
    }

    /// Eight values in an AVX register.
    #[derive(Clone, Copy)]
    pub(super) struct F8(__m256);

    // SAFETY of every block below: the trait's contract (right level, valid pointers).
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for F8 {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Self {
            Self(unsafe { _mm256_setzero_ps() })
        }
        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(v) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            let mut v = [0.0f32; 8];
            unsafe { self.store(v.as_mut_ptr()) };
            ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
        }
    }

    /// Sixteen values in an AVX-512 register.
    #[derive(Clone, Copy)]
    pub(super) struct F16(__m512);

    // SAFETY of every block below: the trait's contract (right level, valid pointers).
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for F16 {
        const N: usize = 16;
        #[inline(always)]
        unsafe fn zero() -> Self {
            Self(unsafe { _mm512_setzero_ps() })
        }
        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(v) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
    }
}
