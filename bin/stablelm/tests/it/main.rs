//! The real command, driven from outside, and the rules of the workspace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod architecture;
mod bench;
mod chat;
mod checkpoints;
mod data;
mod demo;
mod eval;
mod hub;
mod hub_server;
mod license;
mod license_checks;
mod output;
#[cfg(feature = "remote")]
mod remote;
mod run;
mod runner;
mod self_check;
mod usage;
