//! Element-wise kernels and reductions, written so that the compiler vectorises them. Sums run in a
//! fixed order of lanes: a row's result depends neither on what else is in the batch nor on the
//! width of the vectors.

/// Defines `$name`, whose body is `$body` compiled for AVX-512, for AVX2 with FMA, or for the
/// target as it is, whichever the processor has.
macro_rules! dispatch {
    ($name:ident, $body:ident, ($($arg:ident: $ty:ty),*) $(-> $out:ty)?) => {
        #[inline]
        pub fn $name($($arg: $ty),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
                fn widest($($arg: $ty),*) $(-> $out)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn wide($($arg: $ty),*) $(-> $out)? {
                    $body::<true>($($arg),*)
                }
                use std::arch::is_x86_feature_detected as has;
                if has!("avx512f") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw") && has!("fma") {
                    // SAFETY: the features were just found.
                    return unsafe { widest($($arg),*) };
                }
                if has!("avx2") && has!("fma") {
                    // SAFETY: the features were just found.
                    return unsafe { wide($($arg),*) };
                }
            }
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}
pub(crate) use dispatch;

/// Partial sums that a reduction keeps.
const LANES: usize = 16;

/// `a * b + c`, fused where the processor does it.
#[inline(always)]
pub fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `e^x` to about one unit in the last place, for x up to 88; below -87 as at -87. After Cephes'
/// `expf`: reduction by multiples of ln 2, a polynomial of degree five.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    /// Adding it leaves a whole number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FMA>(n, -0.693_359_4, x);
    let r = multiply_add::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = multiply_add::<FMA>(p, r, c);
    }
    let y = multiply_add::<FMA>(p * r, r, r) + 1.0;
    y * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

#[inline(always)]
fn polynomial<const FMA: bool, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = 0.0;
    for c in coefficients {
        sum = multiply_add::<FMA>(sum, x, c);
    }
    sum
}

/// The error function, as a ratio of polynomials on [-4, 4] (that of Eigen and XLA).
#[inline(always)]
fn erf<const FMA: bool>(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let top = polynomial::<FMA, 7>(
        s,
        [
            -2.726_142e-10,
            2.770_681_4e-8,
            -2.101_024e-6,
            -5.692_506_5e-5,
            -7.349_906_3e-4,
            -2.954_6e-3,
            -1.609_603_3e-2,
        ],
    );
    let bottom = polynomial::<FMA, 5>(
        s,
        [
            -1.456_607_1e-5,
            -2.133_740_5e-4,
            -1.682_827e-3,
            -7.373_329e-3,
            -1.426_473_9e-2,
        ],
    );
    x * top / bottom
}

#[inline(always)]
fn lanes_sum(lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    let mut lanes = lanes;
    while width > 0 {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
pub fn reduce(x: &[f32], each: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] = each(chunk[l], lanes[l]);
        }
    }
    for (l, &x) in rest.iter().enumerate() {
        lanes[l] = each(x, lanes[l]);
    }
    lanes_sum(lanes)
}

/// Sum of all.
#[inline(always)]
pub fn sum_body<const FMA: bool>(x: &[f32]) -> f32 {
    reduce(x, |x, sum| sum + x)
}

#[inline(always)]
fn rms_norm_body<const FMA: bool>(row: &mut [f32], weight: &[f32], epsilon: f32) {
    let squares = reduce(row, |x, sum| multiply_add::<FMA>(x, x, sum));
    let scale = 1.0 / (squares / row.len() as f32 + epsilon).sqrt();
    for (x, w) in row.iter_mut().zip(weight) {
        *x = *x * scale * w;
    }
}

dispatch!(rms_norm, rms_norm_body, (row: &mut [f32], weight: &[f32], epsilon: f32));

/// `silu(gate) * up`: rows of sixteen gates and sixteen ups to rows of sixteen.
#[inline(always)]
fn swiglu_body<const FMA: bool>(product: &[f32], out: &mut [f32]) {
    for (both, out) in product.chunks_exact(32).zip(out.chunks_exact_mut(16)) {
        let (gate, up) = both.split_at(16);
        for l in 0..16 {
            out[l] = gate[l] / (1.0 + exp::<FMA>(-gate[l])) * up[l];
        }
    }
}

dispatch!(swiglu, swiglu_body, (product: &[f32], out: &mut [f32]));

/// GELU with the error function.
#[inline(always)]
fn gelu_body<const FMA: bool>(x: &mut [f32]) {
    for x in x {
        *x *= 0.5 * (1.0 + erf::<FMA>(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

dispatch!(gelu, gelu_body, (x: &mut [f32]));

#[inline(always)]
pub fn dot_body<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a16, b16) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a16.remainder(), b16.remainder());
    for (x, y) in a16.zip(b16) {
        for l in 0..LANES {
            lanes[l] = multiply_add::<FMA>(x[l], y[l], lanes[l]);
        }
    }
    for (l, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[l] = multiply_add::<FMA>(*x, *y, lanes[l]);
    }
    lanes_sum(lanes)
}

dispatch!(dot, dot_body, (a: &[f32], b: &[f32]) -> f32);

/// Rotates pairs `(x[i], x[i + half])` of one head by the angles of `cos` and `sin`.
#[inline(always)]
fn rotate_body<const FMA: bool>(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (a, b) = x.split_at_mut(cos.len());
    for (((a, b), c), s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
        let (p, q) = (*a, *b);
        *a = multiply_add::<FMA>(p, *c, -q * s);
        *b = multiply_add::<FMA>(q, *c, p * s);
    }
}

dispatch!(rotate, rotate_body, (x: &mut [f32], cos: &[f32], sin: &[f32]));

#[inline(always)]
pub fn max_body<const FMA: bool>(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] = greater(chunk[l], lanes[l]);
        }
    }
    let mut best = f32::NEG_INFINITY;
    for &x in lanes.iter().chain(rest) {
        best = greater(x, best);
    }
    best
}

dispatch!(max, max_body, (x: &[f32]) -> f32);

/// Sum of `e^(x - max)`, in f64 over blocks: no drift over a vocabulary of 152k.
#[inline(always)]
fn exp_sum_body<const FMA: bool>(x: &[f32], max: f32) -> f64 {
    let mut total = 0.0;
    for block in x.chunks(256) {
        total += f64::from(reduce(block, |x, sum| sum + exp::<FMA>(x - max)));
    }
    total
}

dispatch!(exp_sum, exp_sum_body, (x: &[f32], max: f32) -> f64);

/// Whether no number is infinite or none at all.
#[inline(always)]
fn all_finite_body<const FMA: bool>(x: &[f32]) -> bool {
    // Zero times a finite number is zero; anything else stays in the sum.
    reduce(x, |x, sum| multiply_add::<FMA>(x, 0.0, sum)) == 0.0
}

dispatch!(all_finite, all_finite_body, (x: &[f32]) -> bool);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for i in -86_999..88_000 {
            let x = i as f32 * 1e-3;
            let right = f64::from(x).exp();
            worst = worst.max((f64::from(exp::<true>(x)) / right - 1.0).abs());
            worst = worst.max((f64::from(exp::<false>(x)) / right - 1.0).abs());
        }
        assert!(worst < 2.4e-7, "{worst}");
        assert!(exp::<true>(f32::NEG_INFINITY) < 1.7e-38);
        assert!(exp::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn the_error_function_follows_its_series() {
        for i in -500..=500 {
            let x = i as f32 * 1e-2;
            let z = f64::from(x);
            // Maclaurin's series converges everywhere; in f64 it is exact enough up to 5.
            let (mut term, mut sum) = (z, z);
            for n in 1..200 {
                term *= -z * z / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            let right = sum * std::f64::consts::FRAC_2_SQRT_PI;
            let error = (f64::from(erf::<true>(x)) - right).abs();
            assert!(error < 4e-7, "erf({x}) is off by {error}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_found_wherever_they_lie() {
        for n in [1, 15, 16, 100] {
            for at in [0, n / 2, n - 1] {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = vec![1e30f32; n];
                    assert!(all_finite(&x));
                    x[at] = bad;
                    assert!(!all_finite(&x));
                }
            }
        }
    }
}
