//! The walls of the workspace: who may depend on whom, and where outside crates live.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Which of our crates each of our crates may use.
const EDGES: [(&str, &[&str]); 8] = [
    ("stablelm-model", &[]),
    ("stablelm-tokenizer", &[]),
    ("stablelm-license", &[]),
    ("stablelm-testkit", &[]),
    ("stablelm-data", &["stablelm-tokenizer"]),
    ("stablelm-checkpoint", &["stablelm-model"]),
    ("stablelm-inference", &["stablelm-model"]),
    (
        "stablelm",
        &[
            "stablelm-checkpoint",
            "stablelm-data",
            "stablelm-inference",
            "stablelm-license",
            "stablelm-model",
            "stablelm-tokenizer",
        ],
    ),
];

/// Outside crates that any library may use: they read and write our own formats, name errors, report events, and look at
/// bytes in memory.
const EVERYWHERE: [&str; 12] = [
    "aho-corasick",
    "bytemuck",
    "bytes",
    "memchr",
    "memmap2",
    "rayon",
    "serde",
    "serde-saphyr",
    "serde_json",
    "sha2",
    "thiserror",
    "tracing",
];

/// The one home of every other outside crate.
const HOMES: [(&str, &str); 47] = [
    ("anyhow", "stablelm"),
    ("arrow", "stablelm-data"),
    ("base64", "stablelm-license"),
    ("bytesize", "stablelm"),
    ("bzip2", "stablelm-data"),
    ("candle-core", "stablelm-inference"),
    ("clap", "stablelm"),
    ("clap_complete", "stablelm"),
    ("crc32fast", "stablelm-checkpoint"),
    ("ctrlc", "stablelm"),
    ("cudarc", "stablelm-inference"),
    ("flate2", "stablelm-data"),
    ("foldhash", "stablelm-data"),
    ("futures-util", "stablelm-data"),
    ("glob", "stablelm-data"),
    ("half", "stablelm-checkpoint"),
    ("hf-hub", "stablelm"),
    ("humantime", "stablelm"),
    ("indicatif", "stablelm"),
    ("liblzma", "stablelm-data"),
    ("minijinja", "stablelm"),
    ("minijinja-contrib", "stablelm"),
    ("object_store", "stablelm-data"),
    ("p256", "stablelm-license"),
    ("p384", "stablelm-license"),
    ("parquet", "stablelm-data"),
    ("psl", "stablelm-data"),
    ("reqwest", "stablelm-data"),
    ("rustix", "stablelm-checkpoint"),
    ("rustls", "stablelm-data"),
    ("safetensors", "stablelm-checkpoint"),
    ("sha1", "stablelm-data"),
    ("simd-json", "stablelm-data"),
    ("spdx", "stablelm-license"),
    ("strsim", "stablelm-data"),
    ("tokenizers", "stablelm-tokenizer"),
    ("tokio", "stablelm-data"),
    ("toml", "stablelm-data"),
    ("tracing-subscriber", "stablelm"),
    ("twox-hash", "stablelm-data"),
    ("unicode-normalization", "stablelm-data"),
    ("unicode-normalization-alignments", "stablelm-tokenizer"),
    ("unicode-segmentation", "stablelm-data"),
    ("ureq", "stablelm"),
    ("whatlang", "stablelm-data"),
    ("zip", "stablelm-checkpoint"),
    ("zstd", "stablelm-data"),
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
}

/// Returns the names of a package's dependencies, of the kinds given.
fn dependencies(metadata: &Metadata, package: &str, kinds: &[DependencyKind]) -> BTreeSet<String> {
    let package = metadata
        .packages
        .iter()
        .find(|found| found.name.as_str() == package)
        .unwrap();
    let of_kind = package
        .dependencies
        .iter()
        .filter(|dependency| kinds.contains(&dependency.kind));
    of_kind.map(|dependency| dependency.name.clone()).collect()
}

#[test]
fn our_crates_use_only_what_stands_below_them() {
    let metadata = metadata();
    let names: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(
        names,
        EDGES.iter().map(|(name, _)| *name).collect(),
        "a crate came or went: say where it stands"
    );
    for (name, allowed) in EDGES {
        let used = dependencies(
            &metadata,
            name,
            &[DependencyKind::Normal, DependencyKind::Build],
        );
        let ours: BTreeSet<&str> = used
            .iter()
            .map(String::as_str)
            .filter(|used| names.contains(used))
            .collect();
        assert!(
            ours.is_subset(&allowed.iter().copied().collect()),
            "{name} uses {ours:?}, allowed {allowed:?}"
        );
        let in_tests = dependencies(&metadata, name, &[DependencyKind::Development]);
        let beyond: Vec<_> = in_tests
            .iter()
            .filter(|used| names.contains(used.as_str()))
            .filter(|used| *used != "stablelm-testkit" && !allowed.contains(&used.as_str()))
            .collect();
        assert!(beyond.is_empty(), "tests of {name} use {beyond:?}");
    }
}

#[test]
fn an_outside_crate_has_one_home() {
    let metadata = metadata();
    let homes: BTreeMap<&str, &str> = HOMES.into_iter().collect();
    let ours: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut used_homes = BTreeSet::new();
    for package in &metadata.packages {
        for used in dependencies(
            &metadata,
            &package.name,
            &[DependencyKind::Normal, DependencyKind::Build],
        ) {
            if ours.contains(used.as_str()) || EVERYWHERE.contains(&used.as_str()) {
                continue;
            }
            let home = homes.get(used.as_str()).copied();
            assert_eq!(
                home,
                Some(package.name.as_str()),
                "`{used}` in {}",
                package.name
            );
            used_homes.insert(used);
        }
    }
    let listed: BTreeSet<String> = homes.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        listed, used_homes,
        "the table names crates that nobody uses"
    );
}

#[test]
fn every_dependency_is_used() {
    let metadata = metadata();
    for package in &metadata.packages {
        let folder = package.manifest_path.parent().unwrap().as_std_path();
        let read = |part: &str| -> String {
            let files = sources(&folder.join(part));
            files
                .iter()
                .map(|file| std::fs::read_to_string(file).unwrap())
                .collect()
        };
        let tests = ["tests", "examples", "benches"].map(read).concat();
        let code = read("src");
        for dependency in &package.dependencies {
            let name = dependency.name.replace('-', "_");
            let used = code.contains(&name)
                || (dependency.kind == DependencyKind::Development && tests.contains(&name));
            assert!(
                used,
                "{} declares `{}` and does not use it",
                package.name, dependency.name
            );
        }
    }
}

#[test]
fn libraries_never_touch_terminal_environment_or_process() {
    // Clippy refuses these too; this finds a silenced lint.
    const FORBIDDEN: [&str; 8] = [
        "println!",
        "eprintln!",
        "print!(",
        "std::env::",
        "std::process::exit",
        "io::stdout",
        "io::stderr",
        "env::var",
    ];
    for (name, _) in EDGES.iter().filter(|(name, _)| *name != "stablelm") {
        for file in sources(&root().join("crates").join(name).join("src")) {
            if is_test_module(&file) {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in lines {
                let found = FORBIDDEN.iter().find(|word| line.contains(*word));
                assert_eq!(found, None, "{}: {line}", file.display());
            }
        }
    }
}

/// Whether a file's parent declares it under `#[cfg(test)]`.
fn is_test_module(file: &Path) -> bool {
    let stem = file.file_stem().unwrap().to_str().unwrap();
    let folder = file.parent().unwrap();
    if folder.ends_with("tests") {
        return true;
    }
    let beside = folder.with_extension("rs");
    let parents = [folder.join("mod.rs"), folder.join("lib.rs"), beside];
    let declared = format!("#[cfg(test)]\nmod {stem};");
    parents
        .iter()
        .filter_map(|parent| std::fs::read_to_string(parent).ok())
        .any(|parent| parent.contains(&declared))
}

#[test]
fn every_test_file_is_named_in_its_main() {
    for (name, _) in EDGES {
        let package = if name == "stablelm" {
            root().join("bin/stablelm")
        } else {
            root().join("crates").join(name)
        };
        let folder = package.join("tests/it");
        let Ok(main) = std::fs::read_to_string(folder.join("main.rs")) else {
            continue;
        };
        for file in sources(&folder) {
            let stem = file.file_stem().unwrap().to_str().unwrap();
            let below = file.parent().unwrap() != folder;
            assert!(
                below || stem == "main" || main.contains(&format!("mod {stem};")),
                "{} is not run",
                file.display()
            );
        }
    }
}

#[test]
fn the_top_of_the_repository_stays_short() {
    const ALLOWED: [&str; 11] = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "NOTICE",
        "README.md",
        "bin",
        "crates",
        "docs",
        "fixtures",
        "justfile",
    ];
    let tracked = std::process::Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .unwrap();
    let tracked = String::from_utf8(tracked.stdout).unwrap();
    let tops: BTreeSet<&str> = tracked
        .lines()
        .filter_map(|path| path.split('/').next())
        .collect();
    let beyond: Vec<_> = tops
        .iter()
        .filter(|top| !top.starts_with('.') && !ALLOWED.contains(top))
        .collect();
    assert!(beyond.is_empty(), "{beyond:?}");
}

fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
