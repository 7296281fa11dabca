//! Keys and values in the memory of an accelerator.

use crate::model::Config;
use burn::tensor::{DType, Device, Tensor};

/// One tensor a layer: `[slots, keys | values, kv_heads, head_dim]`. Its first slot is nobody's: what
/// only fills a step up to its bucket writes there.
pub struct DeviceCache {
    layers: Vec<Tensor<4>>,
    shape: [usize; 2],
    slots: usize,
    device: Device,
    dtype: DType,
}

impl DeviceCache {
    pub fn new(config: &Config, device: &Device, dtype: DType) -> DeviceCache {
        let shape = [config.num_key_value_heads, config.head_dim];
        let empty = || Tensor::zeros([1, 2, shape[0], shape[1]], (device, dtype));
        DeviceCache {
            layers: (0..config.num_hidden_layers).map(|_| empty()).collect(),
            shape,
            slots: 1,
            device: device.clone(),
            dtype,
        }
    }

    /// Where slot `index` of the pool lies.
    pub fn place(index: u32) -> u32 {
        index + 1
    }

    /// Makes room for `slots` slots. True where the tensors are others now.
    pub fn grow(&mut self, slots: usize) -> bool {
        let needed = slots + 1;
        if needed <= self.slots {
            return false;
        }
        let target = needed.max(self.slots * 3 / 2).max(1024);
        let [kv, d] = self.shape;
        for layer in &mut self.layers {
            let more = [target - self.slots, 2, kv, d];
            let more = Tensor::zeros(more, (&self.device, self.dtype));
            *layer = Tensor::cat(vec![layer.clone(), more], 0);
        }
        self.slots = target;
        true
    }

    /// Takes a layer's tensor out, writes to it through `write` and puts it back: whoever writes is its
    /// only owner, so that the write can be in place.
    pub fn write<T>(
        &mut self,
        layer: usize,
        write: impl FnOnce(Tensor<4>) -> (T, Tensor<4>),
    ) -> (T, Tensor<4>) {
        let none = Tensor::empty([1, 1, 1, 1], (&self.device, self.dtype));
        let (out, pool) = write(std::mem::replace(&mut self.layers[layer], none));
        self.layers[layer] = pool.clone();
        (out, pool)
    }
}
