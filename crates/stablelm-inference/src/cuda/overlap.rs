//! Launches that overlap: a kernel of a step begins before the one it follows has ended, asks for its first weights, and
//! only then waits (programmatic dependent launch; `wait_for_others` of `common.cuh`).
//!
//! Whether they do is decided here: the device has to be of compute capability 9.0, the driver has to know such launches
//! in graphs, the caller must not have turned them off, and the first step, which runs both ways, has to give the same
//! logits to the bit.

use std::sync::OnceLock;

use crate::backend::BackendError;

/// The first driver that captures such launches in graphs: 12.3, as the driver counts.
const OLDEST_DRIVER: i32 = 12_030;

/// Ten times the first compute capability that has the instructions.
const OLDEST_CAPABILITY: i32 = 90;

/// What the instructions are behind in the PTX, so that older devices take it too.
const MARK: &str = "// overlap: ";

/// Whether the launches of a device overlap.
#[derive(Debug)]
pub(crate) struct Overlap {
    pub(crate) is_possible: bool,
    /// What the first step of one sequence has shown, and that of several.
    pub(super) for_one: OnceLock<bool>,
    pub(super) for_many: OnceLock<bool>,
}

impl Overlap {
    pub(crate) fn new(is_wanted: bool, capability: i32, driver: i32) -> Self {
        let can_be = capability >= OLDEST_CAPABILITY && driver >= OLDEST_DRIVER;
        Self {
            is_possible: is_wanted && can_be,
            for_one: OnceLock::new(),
            for_many: OnceLock::new(),
        }
    }

    /// Returns whether the launches of a kind of step overlap. The first time, `run` makes the logits of a step one way
    /// (false) and the other; running it again has to change nothing.
    pub(super) fn decide(
        &self,
        decided: &OnceLock<bool>,
        mut run: impl FnMut(bool) -> Result<Vec<f32>, BackendError>,
    ) -> Result<bool, BackendError> {
        if !self.is_possible {
            return Ok(false);
        }
        if let Some(overlaps) = decided.get() {
            return Ok(*overlaps);
        }
        let expected = run(false)?;
        let overlaps = match run(true) {
            Ok(found) => {
                let is_same = is_same(&expected, &found);
                if !is_same {
                    tracing::warn!(
                        "launches do not overlap: logits were not those of launches one after the other"
                    );
                }
                is_same
            }
            Err(error) => {
                tracing::warn!(%error, "launches do not overlap");
                false
            }
        };
        Ok(*decided.get_or_init(|| overlaps))
    }
}

fn is_same(one: &[f32], other: &[f32]) -> bool {
    let bits = |logits: &[f32]| {
        logits
            .iter()
            .map(|logit| logit.to_bits())
            .collect::<Vec<_>>()
    };
    bits(one) == bits(other)
}

/// Returns PTX with the instructions by which kernels overlap.
pub(super) fn overlapped(ptx: &str) -> String {
    let ptx = ptx.replacen(".target sm_80", ".target sm_90", 1);
    ptx.replace(MARK, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::kernels::{ALL, PTX, full_name};

    #[test]
    fn launches_overlap_on_new_devices_with_new_drivers_if_wanted() {
        let check = |is_wanted, capability, driver, expected| {
            let overlap = Overlap::new(is_wanted, capability, driver);
            assert_eq!(overlap.is_possible, expected, "{capability} {driver}");
        };
        check(true, 90, 12_030, true);
        check(true, 100, 13_000, true);
        check(false, 90, 13_000, false);
        check(true, 89, 13_000, false);
        check(true, 90, 12_020, false);
    }

    #[test]
    fn only_the_same_logits_let_launches_overlap() {
        let decide = |found: Result<Vec<f32>, BackendError>| {
            let overlap = Overlap::new(true, 90, 13_000);
            let mut found = Some(found);
            let mut run = |overlaps| {
                if overlaps {
                    found.take().expect("it runs once each way")
                } else {
                    Ok(vec![1.0, f32::NAN])
                }
            };
            let first = overlap.decide(&overlap.for_one, &mut run).unwrap();
            // The second time nothing runs.
            let second = overlap.decide(&overlap.for_one, &mut run).unwrap();
            assert_eq!(first, second);
            first
        };
        assert!(decide(Ok(vec![1.0, f32::NAN])));
        assert!(!decide(Ok(vec![1.0, 2.0])));
        assert!(!decide(Ok(vec![1.0])));
        assert!(!decide(Err(BackendError::device("it broke".to_owned()))));
    }

    /// Each kernel of a step waits, once; the others are never launched that way.
    #[test]
    fn kernels_of_steps_wait_for_those_before() {
        for kernel in ALL {
            let of_step = kernel.name.starts_with("decode_") || kernel.name.starts_with("many_");
            let (_, ptx) = PTX.iter().find(|(file, _)| *file == kernel.file).unwrap();
            for variant in kernel.variants {
                let name = full_name(kernel.name, variant);
                let mut entries = ptx.split(".visible .entry ");
                let entry = entries
                    .find(|entry| entry.split('(').next() == Some(&name))
                    .unwrap();
                for instruction in ["wait", "launch_dependents"] {
                    let instruction = format!("{MARK}griddepcontrol.{instruction};");
                    let count = entry.matches(&instruction).count();
                    assert_eq!(count, usize::from(of_step), "{name}");
                }
                // Nothing is written before that; of what is read, weights alone come first.
                let before = entry.split("griddepcontrol.wait").next().unwrap();
                assert!(!of_step || !before.contains("st.global"), "{name}");
            }
            let ptx = overlapped(ptx);
            assert!(ptx.contains(".target sm_90\n") && !ptx.contains(MARK));
        }
    }
}
