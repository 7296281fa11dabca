//! Splits that are disjoint by construction: a stable hash of the question decides which split
//! may draw it, whatever the seeds and however many are drawn.

/// The classes that a generated question can fall into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Worked examples for the base model.
    Pretraining,
    /// The loop's questions.
    Train,
    /// Held out of training.
    Dev,
    /// For the record.
    Test,
}

/// How many of 100 questions each class gets, in the order of [`Class`]; they sum to 100.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares(pub [u64; 4]);

impl Shares {
    /// The class of a question. It depends on the text alone.
    pub fn class(&self, question: &str) -> Class {
        let mut draw = stable_hash(question) % 100;
        for (share, class) in self
            .0
            .iter()
            .zip([Class::Pretraining, Class::Train, Class::Dev])
        {
            if draw < *share {
                return class;
            }
            draw -= share;
        }
        Class::Test
    }
}

/// The value inside 0 to 1; not-a-number counts as 0.
pub(super) fn probability(value: f64) -> f64 {
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

/// FNV-1a over the bytes, then the finaliser of SplitMix64 so that every bit counts.
pub(super) fn stable_hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        // A change here would move questions between splits under existing checkpoints.
        assert_eq!(stable_hash(""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(stable_hash("1 4 9 11 make 35"), 0xb6e7_ff20_9267_7376);
    }

    #[test]
    fn shares_are_kept() {
        let shares = Shares([40, 30, 10, 20]);
        let mut counts = [0u32; 4];
        for i in 0..20_000 {
            counts[shares.class(&format!("question {i}")) as usize] += 1;
        }
        for (count, share) in counts.iter().zip(shares.0) {
            let seen = f64::from(*count) / 200.0;
            assert!((seen - share as f64).abs() < 1.5, "{seen} of {share}");
        }
    }
}
