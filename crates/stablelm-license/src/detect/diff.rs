//! The shortest way from one list of words to another (Myers, "An O(ND) Difference Algorithm").

use std::ops::Range;

/// More differing words than this are not told apart; the texts have nothing to do with each other.
const MAX_EDITS: usize = 1200;

/// A place where two lists differ: what stands in one and what stands there in the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hunk {
    pub(crate) old: Range<usize>,
    pub(crate) new: Range<usize>,
}

/// Returns where two lists differ, in order.
pub(crate) fn diff(old: &[u64], new: &[u64]) -> Vec<Hunk> {
    let prefix = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let suffix = old[prefix..]
        .iter()
        .rev()
        .zip(new[prefix..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let old_middle = &old[prefix..old.len() - suffix];
    let new_middle = &new[prefix..new.len() - suffix];
    let whole = Hunk {
        old: 0..old_middle.len(),
        new: 0..new_middle.len(),
    };
    let hunks = if old_middle.is_empty() && new_middle.is_empty() {
        Vec::new()
    } else if old_middle.is_empty() || new_middle.is_empty() {
        vec![whole]
    } else {
        trace(old_middle, new_middle).map_or_else(|| vec![whole], |edits| group(&edits))
    };
    hunks
        .into_iter()
        .map(|hunk| Hunk {
            old: hunk.old.start + prefix..hunk.old.end + prefix,
            new: hunk.new.start + prefix..hunk.new.end + prefix,
        })
        .collect()
}

/// One word taken from the old list or put in from the new one, at a place in both.
#[derive(Clone, Copy)]
struct Edit {
    old: usize,
    new: usize,
    inserts: bool,
}

fn group(edits: &[Edit]) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    for edit in edits {
        let (old_end, new_end) = if edit.inserts {
            (edit.old, edit.new + 1)
        } else {
            (edit.old + 1, edit.new)
        };
        match hunks.last_mut() {
            Some(last) if last.old.end == edit.old && last.new.end == edit.new => {
                last.old.end = old_end;
                last.new.end = new_end;
            }
            _ => hunks.push(Hunk {
                old: edit.old..old_end,
                new: edit.new..new_end,
            }),
        }
    }
    hunks
}

/// Returns the edits in order, or nothing when there are too many.
fn trace(old: &[u64], new: &[u64]) -> Option<Vec<Edit>> {
    let limit = (old.len() + new.len()).min(MAX_EDITS);
    // `reach[k + limit]` is how far along the old list diagonal `k` (old minus new) got.
    let mut reach = vec![0_usize; 2 * limit + 3];
    let mut history: Vec<Vec<usize>> = Vec::new();
    for edits in 0..=limit {
        let low = limit + 1 - edits;
        let high = limit + 1 + edits;
        history.push(reach[low - 1..=high + 1].to_vec());
        for diagonal in (low..=high).step_by(2) {
            let down =
                diagonal == low || (diagonal != high && reach[diagonal - 1] < reach[diagonal + 1]);
            let mut x = if down {
                reach[diagonal + 1]
            } else {
                reach[diagonal - 1] + 1
            };
            // Diagonals below zero start further along the new list.
            let Some(mut y) = (x + limit + 1).checked_sub(diagonal) else {
                continue;
            };
            while x < old.len() && y < new.len() && old[x] == new[y] {
                x += 1;
                y += 1;
            }
            reach[diagonal] = x;
            if x >= old.len() && y >= new.len() {
                return Some(backtrack(&history, limit, old.len(), new.len()));
            }
        }
    }
    None
}

fn backtrack(history: &[Vec<usize>], limit: usize, old: usize, new: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    let (mut x, mut y) = (old, new);
    for (count, reach) in history.iter().enumerate().skip(1).rev() {
        let low = limit + 1 - count;
        let high = limit + 1 + count;
        let diagonal = x + limit + 1 - y;
        let at = |diagonal: usize| reach[diagonal + 1 - low];
        let down = diagonal == low || (diagonal != high && at(diagonal - 1) < at(diagonal + 1));
        let previous = if down { diagonal + 1 } else { diagonal - 1 };
        x = at(previous);
        y = x + limit + 1 - previous;
        edits.push(Edit {
            old: x,
            new: y,
            inserts: down,
        });
    }
    edits.reverse();
    edits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(old: &str, new: &str, expected: &[(&str, &str)]) {
        let list = |text: &str| text.bytes().map(u64::from).collect::<Vec<_>>();
        let found: Vec<_> = diff(&list(old), &list(new))
            .into_iter()
            .map(|hunk| (&old[hunk.old], &new[hunk.new]))
            .collect();
        assert_eq!(found, expected, "{old} {new}");
    }

    #[test]
    fn differences_are_found_where_they_are() {
        check("abc", "abc", &[]);
        check("abc", "abxc", &[("", "x")]);
        check("abc", "ac", &[("b", "")]);
        check("abcd", "axcd", &[("b", "x")]);
        check("abcdefg", "xbcdeg", &[("a", "x"), ("f", "")]);
        check("", "a", &[("", "a")]);
        check(
            "abcabba",
            "cbabac",
            &[("ab", ""), ("", "b"), ("b", ""), ("", "c")],
        );
    }

    proptest! {
        #[test]
        fn what_is_told_leads_from_one_to_the_other(
            old in proptest::collection::vec(0_u64..4, 0..40),
            new in proptest::collection::vec(0_u64..4, 0..40),
        ) {
            let mut made = Vec::new();
            let mut at = 0;
            for hunk in diff(&old, &new) {
                made.extend_from_slice(&old[at..hunk.old.start]);
                made.extend_from_slice(&new[hunk.new.clone()]);
                at = hunk.old.end;
            }
            made.extend_from_slice(&old[at..]);
            prop_assert_eq!(made, new);
        }
    }
}
