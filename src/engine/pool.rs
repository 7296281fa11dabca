//! Which slots are free. A slot holds the keys and values of one token in every layer.

/// A slot with the generation it was handed out in, packed in 32 bits: index in the lower 24, the
/// generation (modulo 256) above. A stale slot is told from a live one by its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

const INDEX_BITS: u32 = 24;

impl Slot {
    /// Most slots that a pool can number.
    pub const MAX: usize = 1 << INDEX_BITS;

    /// Position in the pool.
    pub fn index(self) -> usize {
        (self.0 & ((1 << INDEX_BITS) - 1)) as usize
    }

    fn generation(self) -> u8 {
        (self.0 >> INDEX_BITS) as u8
    }

    fn new(index: usize, generation: u8) -> Slot {
        Slot(index as u32 | u32::from(generation) << INDEX_BITS)
    }
}

/// The book of free and live slots. It grows up to its capacity; the memory behind it follows
/// ([`SlotPool::touched`]).
#[derive(Debug)]
pub(super) struct SlotPool {
    capacity: usize,
    free: Vec<u32>,
    generations: Vec<u8>,
    live: Vec<bool>,
}

impl SlotPool {
    pub fn new(capacity: usize) -> SlotPool {
        SlotPool {
            capacity: capacity.min(Slot::MAX),
            free: Vec::new(),
            generations: Vec::new(),
            live: Vec::new(),
        }
    }

    /// Slots ever handed out: the memory that must exist.
    pub fn touched(&self) -> usize {
        self.generations.len()
    }

    /// Slots in use.
    pub fn live(&self) -> usize {
        self.generations.len() - self.free.len()
    }

    /// Slots that can be taken.
    pub fn room(&self) -> usize {
        self.capacity - self.live()
    }

    /// Takes a free slot; none when all `capacity` are live.
    pub fn take(&mut self) -> Option<Slot> {
        let index = match self.free.pop() {
            Some(index) => index as usize,
            None if self.generations.len() < self.capacity => {
                self.generations.push(0);
                self.live.push(false);
                self.generations.len() - 1
            }
            None => return None,
        };
        self.live[index] = true;
        Some(Slot::new(index, self.generations[index]))
    }

    /// Gives slots back; their generation moves on, so that old names of them are recognised and do
    /// nothing.
    pub fn release(&mut self, slots: &[Slot]) {
        for &slot in slots {
            debug_assert!(self.is_live(slot), "{slot:?} released twice or never taken");
            if !self.is_live(slot) {
                tracing::error!("{slot:?} was released twice or never taken");
                continue;
            }
            let index = slot.index();
            self.live[index] = false;
            self.generations[index] = self.generations[index].wrapping_add(1);
            self.free.push(index as u32);
        }
        self.check();
    }

    /// Whether `slot` is the present holder of its place.
    pub fn is_live(&self, slot: Slot) -> bool {
        self.live.get(slot.index()) == Some(&true)
            && self.generations[slot.index()] == slot.generation()
    }

    /// `free + live == total`, in debug builds.
    pub fn check(&self) {
        debug_assert_eq!(
            self.free.len() + self.live.iter().filter(|l| **l).count(),
            self.generations.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_at_most_its_capacity_and_recognises_stale_slots() {
        let mut pool = SlotPool::new(2);
        let a = pool.take().unwrap();
        let b = pool.take().unwrap();
        assert_eq!(pool.take(), None);
        assert_eq!(pool.room(), 0);
        pool.release(&[a]);
        assert_eq!(pool.room(), 1);
        let c = pool.take().unwrap();
        assert_eq!(c.index(), a.index());
        assert!(pool.is_live(b) && pool.is_live(c) && !pool.is_live(a));
        assert_eq!(pool.touched(), 2);
    }

    /// A million random operations against a plain set of live slots.
    #[test]
    fn the_book_is_right_after_a_million_operations() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let capacity = 300;
        let mut pool = SlotPool::new(capacity);
        let mut live: Vec<Slot> = Vec::new();
        for _ in 0..1_000_000 {
            if rng.random_bool(0.5) {
                match pool.take() {
                    Some(slot) => {
                        assert!(pool.is_live(slot));
                        live.push(slot);
                    }
                    None => assert_eq!(live.len(), capacity, "a leak"),
                }
            } else if !live.is_empty() {
                let gone = live.swap_remove(rng.random_range(0..live.len()));
                pool.release(&[gone]);
                assert!(!pool.is_live(gone), "use after release");
            }
            assert_eq!(pool.live(), live.len());
        }
        let mut places: Vec<usize> = live.iter().map(|slot| slot.index()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), live.len(), "a place was handed out twice");
        assert!(live.iter().all(|&slot| pool.is_live(slot)));
        pool.release(&live);
        assert_eq!(pool.live(), 0);
        assert!(pool.touched() <= capacity);
    }
}
