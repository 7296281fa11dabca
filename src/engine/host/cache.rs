//! Keys and values in main memory.

use crate::model::{Config, Rope};

/// One buffer a layer: `[slots, keys | values, kv_heads, head_dim]`, and the angles of the rotary
/// embedding of every position so far.
pub struct HostCache {
    layers: Vec<Vec<f32>>,
    stride: usize,
    rope: Rope,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl HostCache {
    /// A cache without slots.
    pub fn new(config: &Config, rope: Rope) -> HostCache {
        HostCache {
            layers: vec![Vec::new(); config.num_hidden_layers],
            stride: config.kv_size(),
            rope,
            cos: Vec::new(),
            sin: Vec::new(),
        }
    }

    /// Makes room for `slots` slots and for `positions` positions.
    pub fn grow(&mut self, slots: usize, positions: usize) {
        let floats = slots * self.stride;
        for layer in &mut self.layers {
            if layer.len() < floats {
                layer.resize(floats.max(layer.len() * 3 / 2), 0.0);
            }
        }
        for position in self.cos.len() / self.rope.half()..positions {
            self.rope.extend(position, &mut self.cos, &mut self.sin);
        }
    }

    /// The cache for a step, in which every slot is written by one thread at most.
    pub fn share(&mut self) -> SharedCache<'_> {
        SharedCache {
            layers: self
                .layers
                .iter_mut()
                .map(|layer| SharedLayer {
                    floats: layer.as_mut_ptr(),
                    slots: layer.len() / self.stride,
                    stride: self.stride,
                })
                .collect(),
            half: self.rope.half(),
            cos: &self.cos,
            sin: &self.sin,
        }
    }
}

/// A [`HostCache`] that several threads use at once.
pub struct SharedCache<'a> {
    pub layers: Vec<SharedLayer>,
    half: usize,
    cos: &'a [f32],
    sin: &'a [f32],
}

impl SharedCache<'_> {
    /// Cosines and sines of `position`, `head_dim / 2` of each.
    pub fn angles(&self, position: usize) -> (&[f32], &[f32]) {
        let range = position * self.half..(position + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// One layer of a [`SharedCache`].
///
/// Within a step, the rows of one thread write slots that no row of another thread reads: a slot is
/// written by the row that it was handed to, and others learn of it from the reply.
pub struct SharedLayer {
    floats: *mut f32,
    slots: usize,
    stride: usize,
}

// SAFETY: threads touch disjoint slots, or only read them (see the type's contract).
unsafe impl Send for SharedLayer {}
// SAFETY: as above.
unsafe impl Sync for SharedLayer {}

impl SharedLayer {
    /// `len` floats of `slot`, from `offset` on.
    #[inline(always)]
    pub fn read(&self, slot: u32, offset: usize, len: usize) -> &[f32] {
        assert!((slot as usize) < self.slots && offset + len <= self.stride);
        // SAFETY: inside the buffer, which outlives the step; nobody writes this slot meanwhile (the
        // type's contract).
        unsafe {
            let first = self.floats.add(slot as usize * self.stride + offset);
            std::slice::from_raw_parts(first, len)
        }
    }

    /// Asks for `len` floats of `slot` to be brought into the cache; nothing else happens.
    #[inline(always)]
    pub fn prefetch(&self, slot: u32, offset: usize, len: usize) {
        #[cfg(target_arch = "x86_64")]
        for at in (0..len).step_by(16) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let place = slot as usize * self.stride + offset + at;
            let address = self.floats.wrapping_add(place).cast_const().cast();
            // SAFETY: an address that cannot be read is ignored.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (slot, offset, len);
    }

    /// Writes keys and values of `slot`.
    pub fn write(&self, slot: u32, key_value: &[f32]) {
        assert!((slot as usize) < self.slots && key_value.len() == self.stride);
        // SAFETY: inside the buffer, which outlives the step; nobody else uses this slot meanwhile
        // (the type's contract).
        unsafe {
            let first = self.floats.add(slot as usize * self.stride);
            std::ptr::copy_nonoverlapping(key_value.as_ptr(), first, self.stride);
        }
    }
}
