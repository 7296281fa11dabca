//! The two inner loops of attention on the host. Sums run in a fixed order of eight lanes, so a
//! row's result does not depend on what else is in the batch.

/// Calls `$body` compiled for AVX2 and FMA where the processor has them.
macro_rules! dispatch {
    ($name:ident, $body:ident, ($($arg:ident: $ty:ty),*)) => {
        #[inline]
        pub(super) fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($arg: $ty),*) {
                    $body::<true>($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                {
                    // SAFETY: the two features were just found.
                    return unsafe { wide($($arg),*) };
                }
            }
            $body::<false>($($arg),*)
        }
    };
}

const LANES: usize = 8;

#[inline(always)]
fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a8, b8) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a8.remainder(), b8.remainder());
    for (x, y) in a8.zip(b8) {
        for l in 0..LANES {
            lanes[l] = multiply_add::<FMA>(x[l], y[l], lanes[l]);
        }
    }
    let mut sum: f32 = lanes.iter().sum();
    for (x, y) in a_rest.iter().zip(b_rest) {
        sum = multiply_add::<FMA>(*x, *y, sum);
    }
    sum
}

#[inline(always)]
fn attend_group_body<const FMA: bool>(
    queries: &[f32],
    cache: &[f32],
    slots: &[u32],
    layout: Layout,
    scores: &mut [f32],
    out: &mut [f32],
) {
    let d = layout.head_dim;
    let group = queries.len() / d;
    let n = slots.len();
    for (at, &slot) in slots.iter().enumerate() {
        let start = slot as usize * layout.stride + layout.key;
        let key = &cache[start..start + d];
        for g in 0..group {
            scores[g * n + at] = dot::<FMA>(&queries[g * d..][..d], key) * layout.scale;
        }
    }
    for g in 0..group {
        let row = &mut scores[g * n..][..n];
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for s in row.iter_mut() {
            *s = (*s - max).exp();
            sum += *s;
        }
        let scale = 1.0 / sum;
        for s in row.iter_mut() {
            *s *= scale;
        }
    }
    out.fill(0.0);
    for (at, &slot) in slots.iter().enumerate() {
        let start = slot as usize * layout.stride + layout.value;
        let value = &cache[start..start + d];
        for g in 0..group {
            let weight = scores[g * n + at];
            let out = &mut out[g * d..][..d];
            for (o, v) in out.iter_mut().zip(value) {
                *o = multiply_add::<FMA>(weight, *v, *o);
            }
        }
    }
}

/// Where a head's keys and values lie in the cache of one layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Floats per slot.
    pub stride: usize,
    /// Offset of this head's key within a slot.
    pub key: usize,
    /// Offset of this head's value within a slot.
    pub value: usize,
    pub head_dim: usize,
    /// `1 / sqrt(head_dim)`.
    pub scale: f32,
}

dispatch!(attend_group, attend_group_body, (
    queries: &[f32],
    cache: &[f32],
    slots: &[u32],
    layout: Layout,
    scores: &mut [f32],
    out: &mut [f32]
));
