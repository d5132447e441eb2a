//! Flags and environment to what the libraries need: the only place that reads the environment.
//!
//! A flag wins over a `STABLELM_*` variable, which wins over the default.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytesize::ByteSize;

use stablelm_data::RemoteOptions;

use crate::args::{Global, Threads, When};
use crate::error::CommandError;
use crate::hub::HubSettings;
use crate::ui::{ProgressForm, UiSettings};

/// Number of threads where `--threads` is not given.
const STABLELM_THREADS: &str = "STABLELM_THREADS";
/// Memory for batches and deduplication where `--memory-limit` is not given, for example `4GiB`.
const STABLELM_MEMORY_LIMIT: &str = "STABLELM_MEMORY_LIMIT";
/// `0` keeps the launches on a GPU from overlapping; for measurements, and not on the reference page.
const STABLELM_OVERLAP: &str = "STABLELM_OVERLAP";
/// Levels of our own messages by target, for example `stablelm_data=debug`; wins over `-v` and `-q`.
const RUST_LOG: &str = "RUST_LOG";
/// Any value but the empty one turns color off (no-color.org).
const NO_COLOR: &str = "NO_COLOR";
/// Where the Hugging Face hub is, when not at `https://huggingface.co`.
const HF_ENDPOINT: &str = "HF_ENDPOINT";
/// The token for that hub.
const HF_TOKEN: &str = "HF_TOKEN";
/// The folder of the hub's tools: its cache and the token that `hf auth login` wrote.
const HF_HOME: &str = "HF_HOME";
/// The cache itself, when not in that folder.
const HF_HUB_CACHE: &str = "HF_HUB_CACHE";
/// Where caches are, when not in `~/.cache`.
const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// Anything but 0: no network.
const HF_HUB_OFFLINE: &str = "HF_HUB_OFFLINE";
/// What the variables of object stores begin with.
const STORE_PREFIXES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];
/// Seconds since 1970 that documents bear instead of the present (reproducible-builds.org).
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Every variable with its meaning, for the reference page.
#[cfg(test)]
pub(crate) const VARIABLES: [(&str, &str); 12] = [
    (
        STABLELM_THREADS,
        "Number of threads where `--threads` is not given.",
    ),
    (
        STABLELM_MEMORY_LIMIT,
        "Memory for batches and deduplication where `--memory-limit` is not given, e.g. `4GiB`.",
    ),
    (
        RUST_LOG,
        "Levels of messages by target, e.g. `stablelm_data=debug`; wins over `-v` and `-q`.",
    ),
    (NO_COLOR, "Any value but the empty one turns color off."),
    (
        SOURCE_DATE_EPOCH,
        "Seconds since 1970 that documents bear instead of the present.",
    ),
    (
        HF_ENDPOINT,
        "Where the Hugging Face hub is, when not at `https://huggingface.co`.",
    ),
    (
        HF_TOKEN,
        "The token for that hub, sent to no other host; else the one that `hf auth login` wrote.",
    ),
    (
        HF_HOME,
        "The folder of the hub's cache and token, when not `~/.cache/huggingface`.",
    ),
    (
        HF_HUB_CACHE,
        "The hub's cache, when not `hub` in that folder.",
    ),
    (
        XDG_CACHE_HOME,
        "The folder of caches, GPU kernels among them, when not `~/.cache`.",
    ),
    (
        HF_HUB_OFFLINE,
        "Anything but 0 and the empty value is like `--offline`: no network.",
    ),
    (
        "AWS_*`, `GOOGLE_*`, `AZURE_*",
        "Credentials and settings of object stores, by the names that the crate `object_store` has.",
    ),
];

const DEFAULT_MEMORY_LIMIT: ByteSize = ByteSize::mib(256);

#[expect(
    clippy::disallowed_methods,
    reason = "this function is the one place that reads the environment"
)]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns how to talk to the user.
pub(crate) fn ui(global: Global) -> UiSettings {
    let terminal = std::io::stderr().is_terminal();
    let no_color = variable(NO_COLOR).is_some();
    let decide = |when: Option<When>, auto: bool| match when.unwrap_or(When::Auto) {
        When::Auto => auto,
        When::Always => true,
        When::Never => false,
    };
    UiSettings {
        quiet: global.quiet,
        verbose: global.verbose,
        color: decide(global.color, terminal && !no_color),
        progress: if !decide(global.progress, global.quiet == 0) {
            ProgressForm::Off
        } else if terminal && global.verbose == 0 {
            ProgressForm::Bar
        } else {
            ProgressForm::Lines
        },
        log: variable(RUST_LOG).and_then(|value| value.into_string().ok()),
    }
}

/// Returns the number of threads to use.
pub(crate) fn threads(args: Threads) -> Result<NonZeroUsize, CommandError> {
    if let Some(threads) = args.threads {
        return Ok(threads);
    }
    match parsed_variable(STABLELM_THREADS, "a number of threads")? {
        Some(threads) => Ok(threads),
        None => Ok(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
    }
}

/// Returns whether launches on a GPU may overlap.
pub(crate) fn overlapping_launches() -> bool {
    variable(STABLELM_OVERLAP).is_none_or(|value| value != "0")
}

/// Returns the number of bytes that batches and deduplication may take.
pub(crate) fn memory_limit(flag: Option<ByteSize>) -> Result<u64, CommandError> {
    let size = match flag {
        Some(size) => size,
        None => parsed_variable(STABLELM_MEMORY_LIMIT, "a size such as 4GiB")?
            .unwrap_or(DEFAULT_MEMORY_LIMIT),
    };
    Ok(size.as_u64())
}

/// Returns how the hub is reached, by the variables that its own tools read.
pub(crate) fn hub(global: Global) -> HubSettings {
    let text = |name| variable(name).and_then(|value| value.into_string().ok());
    let path = |name| variable(name).map(PathBuf::from);
    let home =
        path(HF_HOME).unwrap_or_else(|| user_cache().unwrap_or_default().join("huggingface"));
    let written = || std::fs::read_to_string(home.join("token")).ok();
    let token = text(HF_TOKEN).or_else(written);
    let endpoint = text(HF_ENDPOINT).unwrap_or_else(|| "https://huggingface.co".to_owned());
    HubSettings {
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        token: token
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty()),
        cache: path(HF_HUB_CACHE).unwrap_or_else(|| home.join("hub")),
        offline: global.offline || variable(HF_HUB_OFFLINE).is_some_and(|value| value != "0"),
    }
}

/// Returns where we keep what can be made again.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    Some(user_cache()?.join("stablelm"))
}

fn user_cache() -> Option<PathBuf> {
    let named = variable(XDG_CACHE_HOME).map(PathBuf::from);
    named.or_else(|| Some(home_dir()?.join(".cache")))
}

#[expect(
    clippy::disallowed_methods,
    reason = "like `variable`: the one place that reads the environment"
)]
fn home_dir() -> Option<PathBuf> {
    env::home_dir()
}

/// Returns how remote sources are reached: the hub as always, object stores by their own variables as they are.
pub(crate) fn remote(hub: &HubSettings) -> RemoteOptions {
    let store = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let known = STORE_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        known.then_some((name, value))
    });
    RemoteOptions {
        hf_endpoint: Some(hub.endpoint.clone()),
        hf_token: hub.token.clone(),
        offline: hub.offline,
        store_options: store.collect(),
        ..RemoteOptions::default()
    }
}

/// Returns the moment that documents are asked to bear, if any.
pub(crate) fn source_date() -> Result<Option<SystemTime>, CommandError> {
    let epoch = parsed_variable::<u32>(SOURCE_DATE_EPOCH, "seconds since 1970")?;
    Ok(epoch.map(|seconds| UNIX_EPOCH + Duration::from_secs(u64::from(seconds))))
}

/// Returns the moment that documents bear, as RFC 3339 in UTC, to the second.
pub(crate) fn now_rfc3339() -> Result<String, CommandError> {
    let moment = source_date()?.unwrap_or_else(SystemTime::now);
    Ok(humantime::format_rfc3339_seconds(moment).to_string())
}

/// Returns the most memory this process has held, where the system tells (Linux).
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn parsed_variable<T: std::str::FromStr>(
    name: &'static str,
    expected: &'static str,
) -> Result<Option<T>, CommandError> {
    let Some(value) = variable(name) else {
        return Ok(None);
    };
    let text = value.to_string_lossy();
    let bad = || {
        CommandError::input(anyhow::anyhow!(
            "variable `{name}` is `{text}`, expected {expected}"
        ))
    };
    text.parse().map(Some).map_err(|_| bad())
}
