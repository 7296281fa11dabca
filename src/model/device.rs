//! Choosing a device by name.

use burn::tensor::Device;

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DeviceError {
    #[error("unknown device `{0}`: write cpu, cuda, cuda:N or wgpu")]
    Unknown(String),
    #[error(
        "this binary was built without support for `{device}`: \
         build it with `cargo build --release --features {feature}`"
    )]
    NotBuilt {
        device: String,
        feature: &'static str,
    },
    #[error("no device answers to `{device}`: {found}")]
    Absent { device: String, found: String },
}

/// The device called `name`: `cpu`, `cuda`, `cuda:N` or `wgpu`.
///
/// # Errors
/// A name that is none of these, a device that this binary was not built for, and one that is not
/// there.
pub fn open(name: &str) -> Result<Device, DeviceError> {
    match name.split_once(':').unwrap_or((name, "0")) {
        ("cpu", "0") => Ok(Device::flex()),
        ("cuda", index) => match index.parse() {
            Ok(index) => cuda(name, index),
            Err(_) => Err(DeviceError::Unknown(name.into())),
        },
        ("wgpu", "0") => wgpu(name),
        _ => Err(DeviceError::Unknown(name.into())),
    }
}

/// Whether tensors on `device` lie in main memory.
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

#[cfg(feature = "cuda")]
fn cuda(name: &str, index: usize) -> Result<Device, DeviceError> {
    let found = count(burn::tensor::DeviceType::Cuda);
    if index < found {
        return Ok(Device::cuda(index));
    }
    Err(DeviceError::Absent {
        device: name.into(),
        found: match found {
            0 => "no CUDA driver or no NVIDIA GPU was found; use --device cpu".into(),
            1 => "there is one CUDA device, cuda:0".into(),
            n => format!("there are {n} CUDA devices, cuda:0 to cuda:{}", n - 1),
        },
    })
}

/// Devices of a kind. Asked first: without a driver, making one would panic.
#[cfg(feature = "cube")]
fn count(kind: burn::tensor::DeviceType) -> usize {
    std::panic::catch_unwind(|| Device::enumerate(kind).into_vec().len()).unwrap_or(0)
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str, _index: usize) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt {
        device: name.into(),
        feature: "cuda",
    })
}

#[cfg(feature = "wgpu")]
fn wgpu(name: &str) -> Result<Device, DeviceError> {
    match count(burn::tensor::DeviceType::Wgpu) {
        0 => Err(DeviceError::Absent {
            device: name.into(),
            found: "no GPU driver (Vulkan, Metal or DirectX 12) was found; use --device cpu".into(),
        }),
        _ => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
    }
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(name: &str) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt {
        device: name.into(),
        feature: "wgpu",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_cpu_and_says_what_else_it_lacks() {
        assert!(is_cpu(&open("cpu").unwrap()));
        for name in ["gpu", "cuda:x", "cpu:1", ""] {
            assert_eq!(open(name).unwrap_err(), DeviceError::Unknown(name.into()));
        }
        #[cfg(not(feature = "cuda"))]
        assert!(
            open("cuda:0")
                .unwrap_err()
                .to_string()
                .contains("--features cuda")
        );
    }
}
