//! Which device a model runs on, by name.

use std::fmt;
use std::str::FromStr;

/// A device that this build can run models on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Device {
    /// The processor.
    Cpu,
}

/// Why a device can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is that of a device which this build has no code for.
    #[error(
        "device `{name}` is not part of this build, which runs on `cpu` only; choose `auto` or `cpu`"
    )]
    NotBuilt {
        /// The name as given.
        name: String,
    },
    /// The name is no device's.
    #[error("unknown device `{name}`, expected auto, cpu, cuda or cuda:N")]
    Unknown {
        /// The name as given.
        name: String,
    },
}

impl Device {
    /// Returns the name, as [`FromStr`] reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    /// Reads `auto` (the best device there is), `cpu`, `cuda` or `cuda:N`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let name = name.to_owned();
        match name.as_str() {
            "auto" | "cpu" => Ok(Self::Cpu),
            "cuda" => Err(DeviceError::NotBuilt { name }),
            other => match other.strip_prefix("cuda:").map(str::parse::<u32>) {
                Some(Ok(_)) => Err(DeviceError::NotBuilt { name }),
                Some(Err(_)) | None => Err(DeviceError::Unknown { name }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Result<Device, &str>) {
        let found = name.parse::<Device>();
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned)
        );
    }

    #[test]
    fn reads_devices_by_name() {
        check("auto", Ok(Device::Cpu));
        check("cpu", Ok(Device::Cpu));
        let missing = "device `cuda:1` is not part of this build, which runs on `cpu` only; choose `auto` or `cpu`";
        check("cuda:1", Err(missing));
        check(
            "cuda:x",
            Err("unknown device `cuda:x`, expected auto, cpu, cuda or cuda:N"),
        );
        check(
            "tpu",
            Err("unknown device `tpu`, expected auto, cpu, cuda or cuda:N"),
        );
    }
}
