//! The kernels: their PTX, what they take, and the one way to launch them.
//!
//! PTX is made ahead of time from `kernels/*.cu` (`just ptx`) and lies in the binary; the driver makes machine code of it
//! when a kernel is first used, and keeps that in a cache of its own. Where NVIDIA's run-time compiler is installed, it
//! makes machine code for the very device instead (`retune.rs`). Every launch is compared with the kernel's
//! signature, and a test compares the signatures with the PTX, so that the two sides of a launch can't drift apart.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaStream, DeviceRepr, DriverError, sys,
};
use cudarc::nvrtc::Ptx;

use crate::backend::BackendError;
use crate::cuda::cache::LayerCache;
use crate::cuda::driver::failed;
use crate::cuda::overlap::overlapped;
use crate::cuda::retune::Compiler;

/// A family of kernels that differ in the number format they read, or in size.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The source file, without its ending.
    pub(crate) file: &'static str,
    /// What names begin with; `_` and the variant follow.
    pub(crate) name: &'static str,
    /// The variants; one empty text where there is but one kernel.
    pub(crate) variants: &'static [&'static str],
    /// A letter a parameter, see [`Argument`].
    pub(crate) signature: &'static str,
}

/// What a kernel may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument {
    /// `p`: an address in device memory, or 0.
    Pointer(u64),
    /// `i`: a whole number.
    Int(i32),
    /// `f`: a float.
    Float(f32),
    /// `w`: a matrix.
    Weight(WeightAddress),
    /// `j`: the addresses that `decode_qkv` takes.
    Projections(ProjectionAddresses),
}

/// `struct Weight` of `weights.cuh`: addresses in device memory, 0 for what a format does not have.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct WeightAddress {
    pub(crate) quants: u64,
    pub(crate) factors: u64,
    pub(crate) subs: u64,
}

// SAFETY: three numbers of 8 bytes, as in the kernels' struct; nothing on the host is pointed to.
unsafe impl DeviceRepr for WeightAddress {}

/// `struct Projections` of `decode_qkv.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ProjectionAddresses {
    pub(crate) residual: u64,
    pub(crate) norm_weight: u64,
    pub(crate) norm_bias: u64,
    pub(crate) query_bias: u64,
    pub(crate) key_bias: u64,
    pub(crate) value_bias: u64,
    pub(crate) cos: u64,
    pub(crate) sin: u64,
    pub(crate) state: u64,
    pub(crate) queries: u64,
    pub(crate) raw_keys: u64,
    pub(crate) key_cache: u64,
    pub(crate) value_cache: u64,
}

// SAFETY: thirteen numbers of 8 bytes, as in the kernel's struct; nothing on the host is pointed to.
unsafe impl DeviceRepr for ProjectionAddresses {}

/// `struct Sequence` of `attend_run.cuh`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct SequenceAddresses {
    keys: u64,
    values: u64,
    len: u32,
    capacity: u32,
}

impl SequenceAddresses {
    /// Takes those of a cache, as it is before the new position joins.
    pub(crate) fn new(cache: &LayerCache) -> Self {
        let (keys, values) = cache.addresses();
        let count = |len: usize| u32::try_from(len).expect("a context is far below 2^31 positions");
        Self {
            keys,
            values,
            len: count(cache.len),
            capacity: count(cache.capacity),
        }
    }
}

// SAFETY: two numbers of 8 bytes and two of 4, as in the kernel's struct; nothing on the host is pointed to.
unsafe impl DeviceRepr for SequenceAddresses {}

// SAFETY: as above, with nothing between the numbers and after them.
unsafe impl bytemuck::NoUninit for SequenceAddresses {}

impl Argument {
    /// Returns where the value is, as the driver wants to know; nobody writes there.
    fn place(&self) -> *mut c_void {
        match self {
            Self::Pointer(value) => ptr::from_ref(value).cast_mut().cast(),
            Self::Int(value) => ptr::from_ref(value).cast_mut().cast(),
            Self::Float(value) => ptr::from_ref(value).cast_mut().cast(),
            Self::Weight(value) => ptr::from_ref(value).cast_mut().cast(),
            Self::Projections(value) => ptr::from_ref(value).cast_mut().cast(),
        }
    }

    /// Returns its letter in signatures.
    fn letter(self) -> u8 {
        match self {
            Self::Pointer(_) => b'p',
            Self::Int(_) => b'i',
            Self::Float(_) => b'f',
            Self::Weight(_) => b'w',
            Self::Projections(_) => b'j',
        }
    }
}

/// How many threads run a kernel, and in what blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) blocks: (u32, u32),
    pub(crate) threads: u32,
    /// Bytes of shared memory beyond what the kernel declares.
    pub(crate) shared_bytes: u32,
    /// Whether it may begin before the kernel that it follows on its stream has ended; it waits for that by itself
    /// (`overlap.rs`).
    pub(crate) begins_early: bool,
}

impl Grid {
    /// Returns a grid of blocks of so many threads, without further shared memory.
    pub(crate) fn new(blocks: (u32, u32), threads: u32) -> Self {
        Self {
            blocks,
            threads,
            shared_bytes: 0,
            begins_early: false,
        }
    }
}

const FORMATS: &[&str] = &["f32", "bf16", "f16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k"];
const CACHES: &[&str] = &["f32", "f16", "f8"];
const ONE: &[&str] = &[""];

const fn kernel(
    name: &'static str,
    variants: &'static [&'static str],
    signature: &'static str,
) -> Kernel {
    Kernel {
        file: name,
        name,
        variants,
        signature,
    }
}

pub(crate) const ACTIVATE: Kernel = kernel("activate", ONE, "ppii");
pub(crate) const ADD: Kernel = kernel("add", ONE, "ppii");
pub(crate) const APPEND: Kernel = kernel("append", CACHES, "ppppiiiii");
pub(crate) const ATTEND: Kernel = kernel(
    "attend",
    &[
        "f32_64", "f32_80", "f32_128", "f32_160", "f32_224", "f16_64", "f16_80", "f16_128",
        "f16_160", "f16_224", "f8_64", "f8_80", "f8_128", "f8_160", "f8_224",
    ],
    "ppppiiiiiif",
);
pub(crate) const ATTEND_EACH: Kernel = kernel("attend_each", CACHES, "pppppiiif");
pub(crate) const ATTEND_MMA: Kernel = kernel(
    "attend_mma",
    &[
        "f16_64", "f16_80", "f16_128", "f16_160", "f8_64", "f8_80", "f8_128", "f8_160",
    ],
    "ppppiiiiif",
);
pub(crate) const DECODE_ATTEND: Kernel = kernel("decode_attend", CACHES, "pppppppiiiif");
pub(crate) const DECODE_CHOOSE: Kernel = kernel("decode_choose", ONE, "pppppii");
pub(crate) const DECODE_EMBED: Kernel = kernel("decode_embed", FORMATS, "pwpi");
pub(crate) const DECODE_GATE_UP: Kernel = kernel("decode_gate_up", FORMATS, "ppppwwppiiif");
pub(crate) const DECODE_HEAD_NORM: Kernel = kernel("decode_head_norm", ONE, "ppppppppiiiiif");
pub(crate) const DECODE_PROJECT: Kernel = kernel("decode_project", FORMATS, "pwppii");
pub(crate) const DECODE_QKV: Kernel = kernel("decode_qkv", FORMATS, "wwwjiiiiiiiiif");
pub(crate) const DECODE_UP: Kernel = kernel("decode_up", FORMATS, "ppppwpiiif");
pub(crate) const EMBED: Kernel = kernel("embed", FORMATS, "pwpi");
pub(crate) const GEMM: Kernel = kernel("gemm", FORMATS, "pwppiii");
pub(crate) const GEMV: Kernel = kernel("gemv", FORMATS, "pwppii");
pub(crate) const MANY_ATTEND: Kernel = kernel("many_attend", CACHES, "pppppppppiiiiiiff");
pub(crate) const MANY_INNER: Kernel = kernel("many_inner", FORMATS, "ppwwppiiiii");
pub(crate) const MANY_MULTIPLY: Kernel = kernel("many_multiply", FORMATS, "pwwwppppiiiiiiiii");
pub(crate) const MANY_NORMALIZE: Kernel = kernel("many_normalize", ONE, "pppppiiif");
pub(crate) const NORMALIZE: Kernel = kernel("normalize", ONE, "ppppiif");
pub(crate) const ROTATE: Kernel = kernel("rotate", ONE, "pppiiii");
pub(crate) const ROUND: Kernel = Kernel {
    file: "round",
    name: "round_to",
    variants: &["bf16", "f16"],
    signature: "ppi",
};

/// Every kernel there is.
#[cfg(test)]
pub(crate) const ALL: [&Kernel; 24] = [
    &ACTIVATE,
    &ADD,
    &APPEND,
    &ATTEND,
    &ATTEND_EACH,
    &ATTEND_MMA,
    &DECODE_ATTEND,
    &DECODE_CHOOSE,
    &DECODE_EMBED,
    &DECODE_GATE_UP,
    &DECODE_HEAD_NORM,
    &DECODE_PROJECT,
    &DECODE_QKV,
    &DECODE_UP,
    &EMBED,
    &GEMM,
    &GEMV,
    &MANY_ATTEND,
    &MANY_INNER,
    &MANY_MULTIPLY,
    &MANY_NORMALIZE,
    &NORMALIZE,
    &ROTATE,
    &ROUND,
];

macro_rules! ptx {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_str!(concat!("ptx/", $file, ".ptx")))),*]
    };
}

/// The PTX of each source file.
pub(crate) const PTX: [(&str, &str); 24] = ptx![
    "activate",
    "add",
    "append",
    "attend",
    "attend_each",
    "attend_mma",
    "decode_attend",
    "decode_choose",
    "decode_embed",
    "decode_gate_up",
    "decode_head_norm",
    "decode_project",
    "decode_qkv",
    "decode_up",
    "embed",
    "gemm",
    "gemv",
    "many_attend",
    "many_inner",
    "many_multiply",
    "many_normalize",
    "normalize",
    "rotate",
    "round",
];

/// The kernels of one device, loaded as they are needed.
pub(crate) struct Kernels {
    context: Arc<CudaContext>,
    /// Makes machine code for this device, where that is possible.
    compiler: Option<Compiler>,
    /// Whether the device has the instructions by which kernels overlap.
    can_overlap: bool,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    modules: HashMap<&'static str, Arc<CudaModule>>,
    functions: HashMap<(&'static str, &'static str), CudaFunction>,
}

impl Kernels {
    pub(crate) fn new(
        context: &Arc<CudaContext>,
        compiler: Option<Compiler>,
        can_overlap: bool,
    ) -> Self {
        Self {
            context: Arc::clone(context),
            compiler,
            can_overlap,
            loaded: Mutex::default(),
        }
    }

    /// Queues a kernel.
    ///
    /// # Safety
    ///
    /// The addresses are of live device memory, as long, aligned and typed as the kernel's file says, or 0 where it says
    /// so; and nothing else writes there before the kernel has run.
    pub(crate) unsafe fn launch(
        &self,
        stream: &CudaStream,
        kernel: &Kernel,
        variant: &str,
        grid: Grid,
        arguments: &[Argument],
    ) -> Result<(), BackendError> {
        let letters = arguments.iter().map(|argument| argument.letter());
        if !letters.eq(kernel.signature.bytes()) {
            let message = format!(
                "kernel `{}` takes `{}`, not what it was given",
                kernel.name, kernel.signature
            );
            return Err(BackendError::device(message));
        }
        let function = self.function(kernel, variant)?;
        // SAFETY: number and kinds of the arguments are the kernel's, as checked above; the caller answers for the rest.
        let launched = unsafe { queue(stream, &function, grid, arguments) };
        launched.map_err(|error| failed(&format!("launch kernel `{}`", kernel.name), error))
    }

    fn function(&self, kernel: &Kernel, variant: &str) -> Result<CudaFunction, BackendError> {
        let known = kernel.variants.iter().find(|known| **known == variant);
        let variant = known.copied().ok_or_else(|| {
            BackendError::device(format!("kernel `{}` has no `{variant}`", kernel.name))
        })?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = loaded.functions.get(&(kernel.name, variant)) {
            return Ok(function.clone());
        }
        let module = if let Some(module) = loaded.modules.get(kernel.file) {
            Arc::clone(module)
        } else {
            let module = self.module(kernel)?;
            loaded.modules.insert(kernel.file, Arc::clone(&module));
            module
        };
        let name = full_name(kernel.name, variant);
        let function = module.load_function(&name);
        let function = function.map_err(|error| failed(&format!("find `{name}`"), error))?;
        loaded
            .functions
            .insert((kernel.name, variant), function.clone());
        Ok(function)
    }
}

impl Kernels {
    /// Loads machine code for this device where it can be made, else PTX.
    fn module(&self, kernel: &Kernel) -> Result<Arc<CudaModule>, BackendError> {
        let ptx = PTX.iter().find(|(file, _)| *file == kernel.file);
        let (_, ptx) = ptx.expect("a test sees to it that each kernel has PTX");
        let first = ptx.lines().next().unwrap_or_default();
        let digest = first.trim_start_matches("// sha256 ");
        let compiler = self.compiler.as_ref();
        if let Some(code) = compiler.and_then(|compiler| compiler.machine_code(kernel.file, digest))
        {
            match self.context.load_module(Ptx::from_binary(code)) {
                Ok(module) => return Ok(module),
                // A driver that is older than the compiler.
                Err(error) => {
                    tracing::debug!(%error, "machine code of `{}` is refused", kernel.file);
                }
            }
        }
        let ptx = if self.can_overlap {
            overlapped(ptx)
        } else {
            (*ptx).to_owned()
        };
        let module = self.context.load_module(Ptx::from_src(ptx));
        module.map_err(|error| failed(&format!("load `{}`", kernel.file), error))
    }
}

/// Queues a kernel by the driver's own function: the binding has none that may begin early.
///
/// # Safety
///
/// The arguments are those that the function takes; else as of [`Kernels::launch`].
unsafe fn queue(
    stream: &CudaStream,
    function: &CudaFunction,
    grid: Grid,
    arguments: &[Argument],
) -> Result<(), DriverError> {
    stream.context().bind_to_thread()?;
    let mut places: Vec<*mut c_void> = arguments.iter().map(Argument::place).collect();
    let mut attribute = sys::CUlaunchAttribute {
        id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
        pad: [0; 4],
        value: sys::CUlaunchAttributeValue {
            programmaticStreamSerializationAllowed: 1,
        },
    };
    let config = sys::CUlaunchConfig {
        gridDimX: grid.blocks.0,
        gridDimY: grid.blocks.1,
        gridDimZ: 1,
        blockDimX: grid.threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: grid.shared_bytes,
        hStream: stream.cu_stream(),
        attrs: &raw mut attribute,
        numAttrs: u32::from(grid.begins_early),
    };
    // SAFETY: attribute, arguments and their places outlive the call, in which the driver copies them; function and stream
    // are alive, and of the context that was bound. The caller answers for the rest.
    unsafe {
        let (function, places) = (function.cu_function(), places.as_mut_ptr());
        sys::cuLaunchKernelEx(&raw const config, function, places, ptr::null_mut()).result()
    }
}

/// Returns the name of a kernel in its PTX.
pub(crate) fn full_name(name: &str, variant: &str) -> String {
    if variant.is_empty() {
        name.to_owned()
    } else {
        format!("{name}_{variant}")
    }
}
