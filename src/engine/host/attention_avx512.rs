//! Attention in AVX-512: sixteen slots at a time.

use super::attention::Layout;
use super::cache::SharedLayer;
use crate::kernels::lanes::{exp, max_body, sum_body};
use std::arch::x86_64::*;

/// Floats of a vector, and slots of a block.
const LANES: usize = 16;

/// As [`super::attention::attend_group`].
///
/// # Safety
/// The processor must have AVX-512 F and DQ.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,fma")]
pub unsafe fn attend_group(
    queries: &[f32],
    cache: &SharedLayer,
    slots: &[u32],
    layout: Layout,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let d = layout.head_dim;
    let group = queries.len() / d;
    let n = slots.len();
    // Whole blocks, so that every block can be stored whole.
    let padded = n.next_multiple_of(LANES);
    scores.resize(group * padded, 0.0);
    let fetch = |some: &[u32], offset| {
        for &slot in some {
            cache.prefetch(slot, offset, d);
        }
    };
    fetch(&slots[..n.min(LANES)], layout.key);
    for (block, some) in slots.chunks(LANES).enumerate() {
        // Slots lie anywhere: what comes next is asked for while this block is computed.
        let next = (block + 1) * LANES;
        fetch(&slots[next.min(n)..(next + LANES).min(n)], layout.key);
        fetch(some, layout.value);
        let keys: [*const f32; LANES] = std::array::from_fn(|i| {
            let slot = some[i.min(some.len() - 1)];
            cache.read(slot, layout.key, d).as_ptr()
        });
        for g in 0..group {
            let place = &mut scores[g * padded + block * LANES..][..LANES];
            // SAFETY: queries and keys have `d` floats, the place has sixteen.
            unsafe {
                let dots = dots(queries[g * d..].as_ptr(), &keys, d);
                let scaled = _mm512_mask_mul_ps(
                    _mm512_set1_ps(f32::NEG_INFINITY),
                    mask(some.len(), 0),
                    dots,
                    _mm512_set1_ps(layout.scale),
                );
                _mm512_storeu_ps(place.as_mut_ptr(), scaled);
            }
        }
    }
    for row in scores.chunks_exact_mut(padded) {
        let max = max_body::<true>(row);
        for s in row.iter_mut() {
            *s = exp::<true>(*s - max);
        }
        row[n..].fill(0.0);
        let scale = 1.0 / sum_body::<true>(row);
        for s in row.iter_mut() {
            *s *= scale;
        }
    }
    let mut g = 0;
    while g < group {
        let heads = (group - g).min(2);
        let (weights, out) = (&scores[g * padded..], &mut out[g * d..][..heads * d]);
        for first in (0..d).step_by(4 * LANES) {
            let part = Part {
                cache,
                slots,
                offset: layout.value + first,
                len: (d - first).min(4 * LANES),
                weights,
                padded,
                out: &mut out[first..],
                stride: d,
            };
            match (heads, part.len.div_ceil(LANES)) {
                (1, 1) => part.sum::<1, 1>(),
                (1, 2) => part.sum::<1, 2>(),
                (1, 3) => part.sum::<1, 3>(),
                (1, _) => part.sum::<1, 4>(),
                (_, 1) => part.sum::<2, 1>(),
                (_, 2) => part.sum::<2, 2>(),
                (_, 3) => part.sum::<2, 3>(),
                _ => part.sum::<2, 4>(),
            }
        }
        g += heads;
    }
}

/// Which floats of vector `j` belong to the first `len`.
#[inline(always)]
fn mask(len: usize, j: usize) -> __mmask16 {
    let left = len - j * LANES;
    if left >= LANES { !0 } else { (1 << left) - 1 }
}

/// Products of a query with sixteen keys.
///
/// # Safety
/// All of them must point at `d` floats.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn dots(query: *const f32, keys: &[*const f32; LANES], d: usize) -> __m512 {
    let mut sums = [_mm512_setzero_ps(); LANES];
    let whole = d / LANES;
    // SAFETY: all vectors end at `d` at the latest, by their mask.
    unsafe {
        for j in 0..whole {
            let q = _mm512_loadu_ps(query.add(j * LANES));
            for (sum, key) in sums.iter_mut().zip(keys) {
                *sum = _mm512_fmadd_ps(_mm512_loadu_ps(key.add(j * LANES)), q, *sum);
            }
        }
        if !d.is_multiple_of(LANES) {
            let mask = mask(d, whole);
            let q = _mm512_maskz_loadu_ps(mask, query.add(whole * LANES));
            for (sum, key) in sums.iter_mut().zip(keys) {
                let k = _mm512_maskz_loadu_ps(mask, key.add(whole * LANES));
                *sum = _mm512_fmadd_ps(k, q, *sum);
            }
        }
    }
    // Neighbours are merged, four times: in the end lane i holds the sum of vector i.
    let pairs: [__m512; 8] = std::array::from_fn(|i| {
        let (a, b) = (sums[2 * i], sums[2 * i + 1]);
        _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b))
    });
    let fours: [__m512; 4] = std::array::from_fn(|i| {
        let a = _mm512_castps_pd(pairs[2 * i]);
        let b = _mm512_castps_pd(pairs[2 * i + 1]);
        let (low, high) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
        _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high))
    });
    let lanes = |a, b| {
        let (even, odd) = (
            _mm512_shuffle_f32x4::<0x88>(a, b),
            _mm512_shuffle_f32x4::<0xdd>(a, b),
        );
        _mm512_add_ps(even, odd)
    };
    lanes(lanes(fours[0], fours[1]), lanes(fours[2], fours[3]))
}

/// Some dimensions of the values, and the heads that weigh them.
struct Part<'a> {
    cache: &'a SharedLayer,
    slots: &'a [u32],
    offset: usize,
    len: usize,
    /// `[heads, padded]`.
    weights: &'a [f32],
    padded: usize,
    /// `[heads, stride]`, from the part's first dimension on.
    out: &'a mut [f32],
    stride: usize,
}

impl Part<'_> {
    /// The weighted sum over all slots, for `H` heads and `V` vectors.
    #[target_feature(enable = "avx512f,avx512dq")]
    fn sum<const H: usize, const V: usize>(self) {
        let masks: [__mmask16; V] = std::array::from_fn(|j| mask(self.len, j));
        let mut sums = [[_mm512_setzero_ps(); V]; H];
        for (at, &slot) in self.slots.iter().enumerate() {
            let value = self.cache.read(slot, self.offset, self.len).as_ptr();
            let value: [__m512; V] = std::array::from_fn(|j| {
                // SAFETY: the mask ends at `len`.
                unsafe { _mm512_maskz_loadu_ps(masks[j], value.wrapping_add(j * LANES)) }
            });
            for (h, sums) in sums.iter_mut().enumerate() {
                let weight = _mm512_set1_ps(self.weights[h * self.padded + at]);
                for (sum, value) in sums.iter_mut().zip(value) {
                    *sum = _mm512_fmadd_ps(weight, value, *sum);
                }
            }
        }
        for (sums, out) in sums.iter().zip(self.out.chunks_mut(self.stride)) {
            for ((j, sum), out) in sums.iter().enumerate().zip(out.chunks_mut(LANES)) {
                let keep = masks[j] & mask(out.len().min(LANES), 0);
                // SAFETY: the mask ends where `out` does.
                unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), keep, *sum) };
            }
        }
    }
}
