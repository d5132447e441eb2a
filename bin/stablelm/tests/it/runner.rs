//! Runs the real command and prints what it did, with paths, times and hashes taken out.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder to run in, and what to feed.
pub(crate) struct Runner {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Runner {
    /// Makes an empty folder to run in.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::Builder::new()
                .prefix("stablelm-")
                .tempdir()
                .unwrap(),
            // No test asks the real hub.
            variables: vec![("HF_HUB_OFFLINE", "1".to_owned())],
        }
    }

    /// Makes an empty folder to run in, for commands that ask a server on this machine.
    pub(crate) fn online() -> Self {
        let mut runner = Self::new();
        runner.set("HF_HUB_OFFLINE", "0");
        runner
    }

    /// Sets a variable for the commands to come.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.variables.push((name, value.to_owned()));
    }

    /// Returns the folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file below the folder.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    /// Returns the command to run there, with pipes for what it reads and writes.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stablelm"));
        command
            .args(args)
            .current_dir(self.path())
            .env_remove("NO_COLOR")
            .env_remove("RUST_LOG")
            .env_remove("RUST_BACKTRACE")
            .env_remove("HF_TOKEN")
            .env_remove("HF_HUB_CACHE")
            .env("HF_HOME", self.path().join("hf-home"))
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the command there.
    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.output_with_stdin(args, "")
    }

    /// Runs the command there with something on standard input.
    pub(crate) fn output_with_stdin(&self, args: &[&str], stdin: &str) -> Output {
        let mut child = self.command(args).spawn().unwrap();
        // A command that fails early does not read.
        drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
        child.wait_with_output().unwrap()
    }

    /// Runs the command and returns exit code, standard output and standard error as one text to compare.
    pub(crate) fn snapshot(&self, args: &[&str]) -> String {
        self.render(args, &self.output(args))
    }

    /// The same with something on standard input.
    pub(crate) fn snapshot_with_stdin(&self, args: &[&str], stdin: &str) -> String {
        self.render(args, &self.output_with_stdin(args, stdin))
    }

    fn render(&self, args: &[&str], output: &Output) -> String {
        let mut text = format!("$ stablelm {}\n", args.join(" "));
        writeln!(text, "exit code: {}", output.status.code().unwrap()).unwrap();
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            writeln!(text, "----- {name} -----").unwrap();
            text.push_str(&String::from_utf8_lossy(bytes));
        }
        let folder = self.path().canonicalize().unwrap();
        text = text
            .replace(folder.to_str().unwrap(), "[DIR]")
            .replace(self.path().to_str().unwrap(), "[DIR]");
        text = text.replace(fixtures().to_str().unwrap(), "[FIXTURES]");
        text.replace(env!("CARGO_PKG_VERSION"), "[VERSION]")
    }

    /// Runs the command, expects success, and returns its standard output.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "stablelm {}: {:?}\n{stderr}",
            args.join(" "),
            output.status.code()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the command, expects success, and returns its standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }
}

/// Returns a folder of fixtures.
pub(crate) fn fixtures() -> std::path::PathBuf {
    stablelm_testkit::fixtures().canonicalize().unwrap()
}

/// Returns the path of a fixture as text.
pub(crate) fn fixture(name: &str) -> String {
    fixtures().join(name).to_str().unwrap().to_owned()
}

/// Copies a folder.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
