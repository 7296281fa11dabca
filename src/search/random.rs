//! Random streams that depend on what they are for, not on when they are drawn.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The stream of `(seed, parts...)`, for example run seed, iteration, problem and simulation.
/// Equal arguments give equal streams, whatever ran before.
pub fn stream(seed: u64, parts: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed_of(seed, parts))
}

/// A 64-bit seed of `(seed, parts...)`.
pub fn seed_of(seed: u64, parts: &[u64]) -> u64 {
    let mut state = mix(seed ^ 0x9E37_79B9_7F4A_7C15);
    for &part in parts {
        state = mix(state.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ mix(part.wrapping_add(1)));
    }
    state
}

/// The finaliser of SplitMix64 (Steele et al., 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn order_and_length_of_the_parts_matter() {
        let mut seen = HashSet::new();
        for a in 0..30 {
            for b in 0..30 {
                assert!(seen.insert(seed_of(7, &[a, b])));
            }
            assert!(seen.insert(seed_of(7, &[a])));
        }
        assert_eq!(seed_of(1, &[2, 3]), seed_of(1, &[2, 3]));
    }
}
