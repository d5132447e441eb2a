//! What the CUDA driver says: whether it is there, which devices it has, and what went wrong.

use cudarc::driver::{DriverError, result, sys};

use crate::backend::BackendError;
use crate::device::DeviceError;

/// The driver's version from which on it reads our PTX (8.1): 12.1, as the driver counts.
const OLDEST_DRIVER: i32 = 12_010;

/// The compute capability that our PTX is made for.
const OLDEST_CAPABILITY: i32 = 80;

/// A device that the driver has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) ordinal: u32,
    /// Bytes of its memory, other programs' included.
    pub(crate) memory: usize,
}

/// Returns the devices that can run our kernels, or why there are none. Opens none of them.
pub(crate) fn devices() -> Result<Vec<Found>, DeviceError> {
    // Any other call panics where the library is missing.
    // SAFETY: looks for the driver's library and closes it again; loading it has no effects of its own.
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::NoDriver);
    }
    result::init().map_err(driver_says)?;
    let found = driver_version().map_err(driver_says)?;
    if found < OLDEST_DRIVER {
        return Err(DeviceError::OldDriver {
            found: version(found),
            expected: version(OLDEST_DRIVER),
        });
    }
    let count = result::device::get_count().map_err(driver_says)?;
    let mut devices = Vec::new();
    for ordinal in 0..count {
        let device = result::device::get(ordinal).map_err(driver_says)?;
        // SAFETY: the driver has just given the handle.
        let memory = unsafe { result::device::total_mem(device) }.map_err(driver_says)?;
        if capability(device).map_err(driver_says)? >= OLDEST_CAPABILITY {
            devices.push(Found {
                ordinal: ordinal.unsigned_abs(),
                memory,
            });
        }
    }
    match (devices.is_empty(), count) {
        (true, 0) => Err(DeviceError::Driver {
            message: "it has no devices".to_owned(),
        }),
        (true, _) => Err(DeviceError::Driver {
            message: "its devices are older than compute capability 8.0".to_owned(),
        }),
        (false, _) => Ok(devices),
    }
}

/// Returns the newest version of CUDA that the driver knows, as it counts.
pub(crate) fn driver_version() -> Result<i32, DriverError> {
    let mut found = 0;
    // SAFETY: the driver writes one number, to a place that outlives the call.
    unsafe { sys::cuDriverGetVersion(&raw mut found) }.result()?;
    Ok(found)
}

/// Returns ten times the compute capability: 90 for an H100.
fn capability(device: sys::CUdevice) -> Result<i32, DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    // SAFETY: the caller has the handle from the driver.
    let (major, minor) = unsafe {
        (
            result::device::get_attribute(device, MAJOR)?,
            result::device::get_attribute(device, MINOR)?,
        )
    };
    Ok(10 * major + minor)
}

/// Returns a driver's version as people write it: 12.1.
fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

/// Returns an error that says what was being done and what the driver says of it.
pub(crate) fn failed(what: &str, error: DriverError) -> BackendError {
    BackendError::device(format!("failed to {what}: {}", says(error)))
}

fn driver_says(error: DriverError) -> DeviceError {
    DeviceError::Driver {
        message: says(error),
    }
}

/// Returns the driver's own words.
fn says(error: DriverError) -> String {
    if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return "the device is out of memory".to_owned();
    }
    match error.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("{:?}", error.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_as_people_do() {
        assert_eq!(version(12_010), "12.1");
        assert_eq!(version(13_000), "13.0");
    }
}
