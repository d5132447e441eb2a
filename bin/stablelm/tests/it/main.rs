//! The real command, driven from outside, and the rules of the workspace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod architecture;
mod checkpoints;
mod data;
mod demo;
mod hub;
mod hub_server;
mod license;
mod output;
#[cfg(feature = "remote")]
mod remote;
mod run;
mod runner;
mod usage;
