//! From host memory, most often a file's memory map, to the device.
//!
//! Bytes go through two buffers of pinned memory: while the device fetches one, the next part is copied, and read from
//! the file, into the other.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaEvent, CudaSlice, CudaStream, DevicePtrMut, PinnedHostSlice, result};

use crate::backend::BackendError;
use crate::cuda::driver::failed;

/// Bytes of a buffer: long enough for the bus, short enough to fill it while the other one travels.
const BUFFER: usize = 16 << 20;

/// The way to one device.
pub(crate) struct Upload {
    stream: Arc<CudaStream>,
    buffers: Mutex<Option<Buffers>>,
}

struct Buffers {
    pinned: [PinnedHostSlice<u8>; 2],
    /// Passed when the device has fetched what the buffer held.
    fetched: [CudaEvent; 2],
    turn: usize,
}

impl Upload {
    pub(crate) fn new(stream: &Arc<CudaStream>) -> Self {
        Self {
            stream: Arc::clone(stream),
            buffers: Mutex::new(None),
        }
    }

    /// Copies bytes to memory of their own on the device.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<CudaSlice<u8>, BackendError> {
        let out = |error| failed(&format!("take {} bytes of memory", bytes.len()), error);
        // SAFETY: all of it is written below, before anything reads it.
        let mut memory = unsafe { self.stream.alloc::<u8>(bytes.len().max(1)) }.map_err(out)?;
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.is_none() {
            *buffers = Some(Buffers::new(&self.stream)?);
        }
        let buffers = buffers.as_mut().expect("they were made above");
        let (address, guard) = memory.device_ptr_mut(&self.stream);
        for (part, at) in bytes.chunks(BUFFER).zip((0..).step_by(BUFFER)) {
            buffers.send(&self.stream, part, address + at)?;
        }
        drop(guard);
        Ok(memory)
    }

    /// Gives the pinned memory back; it is taken again if more bytes come.
    pub(crate) fn finish(&self) {
        *self.buffers.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Buffers {
    fn new(stream: &Arc<CudaStream>) -> Result<Self, BackendError> {
        let context = stream.context();
        let event = || {
            let event = context.new_event(None);
            event.map_err(|error| failed("make an event", error))
        };
        let buffer = || {
            // SAFETY: a part of it is sent only after that part was written.
            let buffer = unsafe { context.alloc_pinned::<u8>(BUFFER) };
            buffer.map_err(|error| failed("pin host memory", error))
        };
        Ok(Self {
            pinned: [buffer()?, buffer()?],
            fetched: [event()?, event()?],
            turn: 0,
        })
    }

    fn send(&mut self, stream: &CudaStream, part: &[u8], address: u64) -> Result<(), BackendError> {
        let copy = |error| failed("copy to the device", error);
        let (buffer, fetched) = (&mut self.pinned[self.turn], &self.fetched[self.turn]);
        // An event that was never recorded has passed.
        fetched.synchronize().map_err(copy)?;
        let buffer = &mut buffer.as_mut_slice().map_err(copy)?[..part.len()];
        buffer.copy_from_slice(part);
        // SAFETY: the caller's memory has room for the part from `address` on, and the buffer is not written again before
        // the event below has passed; when buffers are dropped, the stream has been waited for by their own event or by
        // `Drop`.
        unsafe { result::memcpy_htod_async(address, buffer, stream.cu_stream()) }.map_err(copy)?;
        fetched.record(stream).map_err(copy)?;
        self.turn = 1 - self.turn;
        Ok(())
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        for fetched in &self.fetched {
            // Nothing can be done about a device that fails here; its next use says so.
            let _ = fetched.synchronize();
        }
    }
}
