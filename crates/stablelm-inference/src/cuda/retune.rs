//! Kernels compiled for the very device, where NVIDIA's run-time compiler (NVRTC) is installed.
//!
//! The PTX in the binary is for the oldest device; what the driver makes of it can't use what newer ones have. Machine code
//! from the same sources is kept in a folder, by the digest of the source, the architecture and the compiler's version, so
//! that a kernel is compiled once. Whatever goes wrong here is told to the log, and the PTX is taken.

use std::ffi::{CString, c_char};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::ptr;

use cudarc::nvrtc::{result, sys};

macro_rules! sources {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_str!(concat!("kernels/", $file)))),*]
    };
}

/// The sources, as `peers/make_ptx.py` finds them.
const SOURCES: [(&str, &str); 32] = sources![
    "activate.cu",
    "add.cu",
    "append.cu",
    "attend.cu",
    "attend_each.cu",
    "attend_mma.cu",
    "attend_run.cuh",
    "cached.cuh",
    "common.cuh",
    "decode_attend.cu",
    "decode_choose.cu",
    "decode_embed.cu",
    "decode_gate_up.cu",
    "decode_head_norm.cu",
    "decode_project.cu",
    "decode_qkv.cu",
    "decode_up.cu",
    "embed.cu",
    "gemm.cu",
    "gemv.cu",
    "many.cuh",
    "many_attend.cu",
    "many_inner.cu",
    "many_multiply.cu",
    "many_normalize.cu",
    "many_rows.cuh",
    "mma.cuh",
    "normalize.cu",
    "rotate.cu",
    "round.cu",
    "rows.cuh",
    "weights.cuh",
];

/// What machine code in the folder begins with, before its length.
const MARK: &[u8; 8] = b"stablelm";

/// Returns a source with each include in its place, once.
pub(crate) fn expanded(name: &str) -> String {
    fn expand(name: &str, seen: &mut Vec<String>) -> String {
        let source = SOURCES.iter().find(|(file, _)| *file == name);
        let (_, source) = source.expect("a test sees to it that every include is there");
        let mut text = String::new();
        for line in source.split_inclusive('\n') {
            let include = line.strip_prefix("#include \"");
            match include.and_then(|rest| rest.split('"').next()) {
                None => text.push_str(line),
                Some(include) if seen.iter().any(|known| known == include) => {}
                Some(include) => {
                    seen.push(include.to_owned());
                    text.push_str(&expand(include, seen));
                }
            }
        }
        text
    }
    expand(name, &mut Vec::new())
}

/// The run-time compiler, for one architecture.
#[derive(Debug)]
pub(crate) struct Compiler {
    folder: PathBuf,
    architecture: String,
    version: String,
}

impl Compiler {
    /// Looks for the compiler; `capability` is ten times the device's compute capability, and `folder` is made when it is
    /// needed.
    pub(crate) fn find(folder: &Path, capability: i32) -> Option<Self> {
        // SAFETY: looks for the library and closes it again; loading it has no effects of its own.
        if !unsafe { sys::is_culib_present() } {
            return None;
        }
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the library is there, and writes two numbers to places that outlive the call.
        let found = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
        found.result().ok()?;
        Some(Self {
            folder: folder.to_owned(),
            // What is special to Hopper has a letter.
            architecture: format!("sm_{capability}{}", if capability == 90 { "a" } else { "" }),
            version: format!("{major}.{minor}"),
        })
    }

    /// Returns the machine code of a source file (without its ending), whose digest is the one given.
    pub(crate) fn machine_code(&self, file: &str, digest: &str) -> Option<Vec<u8>> {
        let Self {
            architecture,
            version,
            ..
        } = self;
        let name = format!("{file}-{digest}-{architecture}-nvrtc{version}.cubin");
        let path = self.folder.join(name);
        if let Some(code) = fs::read(&path).ok().and_then(|kept| unmarked(&kept)) {
            return Some(code);
        }
        tracing::info!("compiling `{file}` for {architecture} with NVRTC {version}");
        let code = match self.compile(file) {
            Ok(code) => code,
            Err(error) => {
                tracing::debug!("`{file}` was not compiled for {architecture}: {error}");
                return None;
            }
        };
        if let Err(error) = keep(&path, &code) {
            tracing::debug!(%error, "`{}` was not kept", path.display());
        }
        Some(code)
    }

    fn compile(&self, file: &str) -> Result<Vec<u8>, String> {
        let says = |error: result::NvrtcError| error.to_string();
        let text = |text: String| CString::new(text).map_err(|error| error.to_string());
        let source = text(expanded(&format!("{file}.cu")))?;
        let name = text(format!("{file}.cu"))?;
        let program = result::create_program(&source, Some(&name)).map_err(says)?;
        let options = [format!("--gpu-architecture={}", self.architecture)];
        // SAFETY: the program was created above and is destroyed below, once.
        let compiled = unsafe { result::compile_program(program, &options) };
        let code = compiled.and_then(|()| machine_code(program));
        // SAFETY: as above; nothing uses the program any more.
        let destroyed = unsafe { result::destroy_program(program) };
        destroyed.and(code).map_err(says)
    }
}

/// Returns the machine code of a program that has been compiled.
fn machine_code(program: sys::nvrtcProgram) -> Result<Vec<u8>, result::NvrtcError> {
    let mut len = 0;
    // SAFETY: the caller's program is alive; the library writes one number.
    unsafe { sys::nvrtcGetCUBINSize(program, &raw mut len) }.result()?;
    let mut code = vec![0u8; len];
    // SAFETY: the library writes as many bytes as it said.
    unsafe { sys::nvrtcGetCUBIN(program, ptr::from_mut(code.as_mut_slice()).cast::<c_char>()) }
        .result()?;
    Ok(code)
}

/// Keeps machine code for the next time, whole or not at all: the driver is never given a part of it.
fn keep(path: &Path, code: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = path.with_extension(format!("{}.partial", std::process::id()));
    let marked = [MARK.as_slice(), &(code.len() as u64).to_le_bytes(), code].concat();
    fs::write(&beside, marked)?;
    fs::rename(&beside, path)
}

/// Returns the machine code of a file that [`keep`] has written; nothing where it is not whole.
fn unmarked(kept: &[u8]) -> Option<Vec<u8>> {
    let (len, code) = kept.strip_prefix(MARK)?.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*len) == code.len() as u64).then(|| code.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::kernels::PTX;

    #[test]
    fn sources_are_those_of_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels");
        let mut found: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, SOURCES.map(|(file, _)| file.to_owned()));
    }

    #[test]
    fn machine_code_that_is_not_whole_is_not_used() {
        let folder = std::env::temp_dir().join(format!("stablelm-kernels-{}", std::process::id()));
        let path = folder.join("deeper/add.cubin");
        keep(&path, b"machine code").unwrap();
        let kept = fs::read(&path).unwrap();
        assert_eq!(unmarked(&kept).unwrap(), b"machine code");
        for len in 0..kept.len() {
            assert_eq!(unmarked(&kept[..len]), None);
        }
        assert_eq!(unmarked(&[&kept[..], b"x"].concat()), None);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn every_kernel_compiles_for_new_and_old_devices_where_the_compiler_is() {
        let folder = std::env::temp_dir().join(format!("stablelm-nvrtc-{}", std::process::id()));
        for capability in [80, 90] {
            let Some(compiler) = Compiler::find(&folder, capability) else {
                eprintln!("skipped: NVRTC is not installed");
                return;
            };
            for (file, _) in PTX {
                let code = compiler.machine_code(file, "digest").unwrap();
                assert!(code.starts_with(b"\x7fELF"), "{file}");
                // The second time it comes from the folder.
                let again = Compiler {
                    version: compiler.version.clone(),
                    architecture: compiler.architecture.clone(),
                    folder: folder.clone(),
                };
                assert_eq!(again.machine_code(file, "digest"), Some(code), "{file}");
            }
        }
        let count = fs::read_dir(&folder).unwrap().count();
        assert_eq!(count, 2 * PTX.len());
        let unknown = Compiler::find(&folder, 999).unwrap();
        assert_eq!(unknown.machine_code("add", "digest"), None);
        fs::remove_dir_all(folder).unwrap();
    }
}
