//! Policy and value net on an accelerator.

use super::attention::{DeviceAttention, DeviceCache};
use crate::engine::batch::{Batch, Judged};
use crate::model::layout::floats;
use crate::model::{Decoder, Value, ValueHead};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The networks of an engine with their keys and values.
pub struct DeviceNets {
    policy: Member,
    /// A value trunk of its own; it sees the same tokens in the same slots.
    trunk: Option<Member>,
    head: Option<ValueHead>,
    device: Device,
}

struct Member {
    decoder: Decoder,
    cache: DeviceCache,
}

impl Member {
    fn new(decoder: Decoder, device: &Device) -> Member {
        Member {
            cache: DeviceCache::new(decoder.config(), device),
            decoder,
        }
    }

    /// Final hidden states of the batch's tokens, `[tokens, hidden]`.
    fn forward(&mut self, batch: &Batch, slots: usize, device: &Device) -> Tensor<2> {
        let tokens: Vec<i32> = batch.tokens.iter().map(|&t| t as i32).collect();
        let count = tokens.len();
        let tokens = Tensor::<1, Int>::from_data(TensorData::new(tokens, [count]), device);
        self.cache.grow(slots);
        let mut attend = DeviceAttention::new(&mut self.cache, batch, self.decoder.rope());
        self.decoder.forward(tokens, &mut attend)
    }
}

impl DeviceNets {
    /// Takes the networks as they are.
    pub fn new(policy: Decoder, value: Option<Value>) -> DeviceNets {
        let device = policy.embedding.val().device();
        let (trunk, head) = match value {
            None => (None, None),
            Some(Value::Shared(head)) => (None, Some(head)),
            Some(Value::Separate { trunk, head }) => (Some(trunk), Some(head)),
        };
        DeviceNets {
            policy: Member::new(policy, &device),
            trunk: trunk.map(|trunk| Member::new(trunk, &device)),
            head,
            device,
        }
    }

    /// Bytes that the accelerator's memory pool holds, where it has one.
    pub fn device_bytes(&self) -> Option<u64> {
        Some(self.device.memory_pool_usage()?.bytes_reserved)
    }

    /// Forwards a batch; logits and values after its tokens `wanted`.
    pub fn forward(&mut self, batch: &Batch, slots: usize, wanted: &[usize]) -> Judged {
        let hidden = self.policy.forward(batch, slots, &self.device);
        let own = self
            .trunk
            .as_mut()
            .map(|trunk| trunk.forward(batch, slots, &self.device));
        if wanted.is_empty() {
            return Judged {
                logits: Vec::new(),
                values: Vec::new(),
            };
        }
        let hidden = pick(hidden, wanted, &self.device);
        let values = self.head.as_ref().map(|head| {
            let states = own.map_or_else(|| hidden.clone(), |own| pick(own, wanted, &self.device));
            floats(head.value(states))
        });
        Judged {
            logits: floats(self.policy.decoder.logits(hidden)),
            values: values.unwrap_or_else(|| vec![0.0; wanted.len()]),
        }
    }
}

/// Rows `index` of `x`, without a copy when it is all of them in order.
fn pick(x: Tensor<2>, index: &[usize], device: &Device) -> Tensor<2> {
    let [n, _] = x.dims();
    if index.len() == n && index.iter().enumerate().all(|(i, &at)| i == at) {
        return x;
    }
    let index: Vec<i32> = index.iter().map(|&i| i as i32).collect();
    let count = index.len();
    x.select(
        0,
        Tensor::<1, Int>::from_data(TensorData::new(index, [count]), device),
    )
}
