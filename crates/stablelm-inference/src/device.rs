//! Which device a model runs on, by name.

use std::fmt;

use crate::cuda::driver::{self, Found};

/// A device that this build can run models on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Device {
    /// The processor.
    Cpu,
    /// A GPU of NVIDIA's, by the driver's number for it (`CUDA_VISIBLE_DEVICES` decides what the driver counts).
    Cuda(u32),
}

/// Why a device can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is no device's.
    #[error("unknown device `{name}`, expected auto, cpu, cuda or cuda:N")]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// The driver's library is not installed, or not on the library path.
    #[error("CUDA needs NVIDIA's driver, whose library (libcuda.so, nvcuda.dll) was not found")]
    NoDriver,
    /// The driver can't read this build's kernels.
    #[error("the CUDA driver is of version {found}, expected {expected} or later")]
    OldDriver {
        /// The newest version of CUDA that it knows.
        found: String,
        /// The version that the kernels need.
        expected: String,
    },
    /// The driver is there, and has no device to use.
    #[error("the CUDA driver offers no device to compute on: {message}")]
    Driver {
        /// In the driver's words.
        message: String,
    },
    /// There are devices, but not that one.
    #[error("there is no device `cuda:{ordinal}`; those that can be used are {usable}")]
    Missing {
        /// The number asked for.
        ordinal: u32,
        /// The names of those that there are.
        usable: String,
    },
}

impl Device {
    /// Finds a device by name, asking the driver where the name is of CUDA.
    ///
    /// `cpu`; `cuda:N`; `cuda`, the device with the most memory, the first of equals; `auto`, the same where there is one,
    /// else the processor.
    pub fn find(name: &str) -> Result<Self, DeviceError> {
        let Some(wanted) = Wanted::parse(name) else {
            let name = name.to_owned();
            return Err(DeviceError::Unknown { name });
        };
        match wanted {
            Wanted::Cpu => Ok(Self::Cpu),
            Wanted::Auto => Ok(driver::devices().map_or(Self::Cpu, |devices| largest(&devices))),
            Wanted::AnyCuda => Ok(largest(&driver::devices()?)),
            Wanted::Cuda(ordinal) => {
                let devices = driver::devices()?;
                if devices.iter().any(|found| found.ordinal == ordinal) {
                    Ok(Self::Cuda(ordinal))
                } else {
                    Err(missing(ordinal, &devices))
                }
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.pad("cpu"),
            Self::Cuda(ordinal) => formatter.pad(&format!("cuda:{ordinal}")),
        }
    }
}

/// Says which devices there are instead.
pub(crate) fn missing(ordinal: u32, devices: &[Found]) -> DeviceError {
    let names = devices
        .iter()
        .map(|found| format!("`cuda:{}`", found.ordinal));
    let usable = names.collect::<Vec<_>>().join(", ");
    DeviceError::Missing { ordinal, usable }
}

/// Returns the device with the most memory, the first of equals; there is one.
fn largest(devices: &[Found]) -> Device {
    let most = devices
        .iter()
        .rev()
        .max_by_key(|found| found.memory)
        .expect("the driver offers at least one device, or an error");
    Device::Cuda(most.ordinal)
}

/// What a name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Auto,
    Cpu,
    AnyCuda,
    Cuda(u32),
}

impl Wanted {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::AnyCuda),
            other => {
                let ordinal = other.strip_prefix("cuda:")?;
                // `parse` would take a sign as well.
                let is_number = ordinal.bytes().all(|byte| byte.is_ascii_digit());
                is_number
                    .then(|| ordinal.parse().ok())
                    .flatten()
                    .map(Self::Cuda)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_devices_by_name() {
        let check = |name, expected| assert_eq!(Wanted::parse(name), expected, "{name}");
        check("auto", Some(Wanted::Auto));
        check("cpu", Some(Wanted::Cpu));
        check("cuda", Some(Wanted::AnyCuda));
        check("cuda:0", Some(Wanted::Cuda(0)));
        check("cuda:12", Some(Wanted::Cuda(12)));
        for wrong in [
            "cuda:",
            "cuda:x",
            "cuda:-1",
            "cuda:+1",
            "cuda:4294967296",
            "CPU",
            "tpu",
            "",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn names_that_are_no_device_s_say_what_would_be() {
        let error = Device::find("tpu").unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown device `tpu`, expected auto, cpu, cuda or cuda:N"
        );
    }

    #[test]
    fn the_processor_is_always_there_and_auto_always_finds_something() {
        assert_eq!(Device::find("cpu"), Ok(Device::Cpu));
        let found = Device::find("auto").unwrap();
        match driver::devices() {
            Ok(devices) => assert_eq!(found, largest(&devices)),
            Err(_) => assert_eq!(found, Device::Cpu),
        }
        assert_eq!(
            Device::find("cuda").ok(),
            Some(found).filter(|found| *found != Device::Cpu)
        );
    }

    #[test]
    fn a_number_that_no_device_has_is_refused_by_name() {
        let error = Device::find("cuda:4000000").unwrap_err();
        match driver::devices() {
            Ok(_) => assert!(error.to_string().contains("`cuda:4000000`"), "{error}"),
            Err(reason) => assert_eq!(error, reason),
        }
    }

    #[test]
    fn the_largest_device_is_taken_and_the_first_of_equals() {
        let found = |ordinal, memory| Found { ordinal, memory };
        let check = |devices: &[Found], expected| {
            assert_eq!(largest(devices), Device::Cuda(expected));
        };
        check(&[found(3, 8)], 3);
        check(&[found(0, 8), found(1, 80), found(2, 80)], 1);
    }
}
