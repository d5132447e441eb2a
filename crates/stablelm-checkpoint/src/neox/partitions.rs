//! How a tensor is spread over tensor-parallel ranks, and both ways across: merge and split.
//!
//! Bytes in, bytes out; shapes have been checked before. A bias counts as a matrix of one column.

use std::borrow::Cow;

use stablelm_model::Dtype;

use crate::cast::{push, values};

/// Rows that belong to one parameter in a tensor that holds several: `len` rows from `start` on, again every `step`
/// rows, `count` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowPick {
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) step: usize,
    pub(crate) count: usize,
}

impl RowPick {
    /// One run of rows.
    pub(crate) fn block(start: usize, len: usize) -> Self {
        Self {
            start,
            len,
            step: len,
            count: 1,
        }
    }

    pub(crate) fn num_rows(self) -> usize {
        self.len * self.count
    }

    pub(crate) fn starts(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |nth| self.start + nth * self.step)
    }
}

/// What the ranks' tensors are to the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    /// Each rank has a share of the rows.
    Rows,
    /// Each rank has a share of the columns.
    Columns,
    /// Every rank has the whole.
    Replicated,
    /// The ranks' tensors add up to the whole.
    Summed,
    /// No parameter: GPT-NeoX wants a tensor here that is all this number.
    Filled(f32),
}

/// The sizes that merging and splitting go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Rows of one rank's tensor.
    pub(crate) rows: usize,
    /// Columns of one rank's tensor.
    pub(crate) columns: usize,
    pub(crate) dtype: Dtype,
}

impl Extent {
    fn row_len(self) -> usize {
        self.columns * self.dtype.width()
    }
}

/// Replicas that are not alike: the first rank that differs from rank 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicasDiffer {
    pub(crate) rank: usize,
}

/// Puts one parameter together from the ranks' tensors; `pick` says which rows of each are its own.
pub(crate) fn merge(
    rule: Rule,
    extent: Extent,
    pick: RowPick,
    mut ranks: Vec<Cow<'_, [u8]>>,
) -> Result<Cow<'_, [u8]>, ReplicasDiffer> {
    let row_len = extent.row_len();
    match rule {
        Rule::Rows => {
            if let ([Cow::Borrowed(only)], 1) = (ranks.as_slice(), pick.count) {
                let bytes = &only[pick.start * row_len..][..pick.len * row_len];
                return Ok(Cow::Borrowed(bytes));
            }
            let mut output = Vec::with_capacity(ranks.len() * pick.num_rows() * row_len);
            for rank in &ranks {
                for start in pick.starts() {
                    output.extend_from_slice(&rank[start * row_len..][..pick.len * row_len]);
                }
            }
            Ok(Cow::Owned(output))
        }
        Rule::Columns if ranks.len() > 1 => {
            let mut output = Vec::with_capacity(ranks.len() * extent.rows * row_len);
            for row in 0..extent.rows {
                for rank in &ranks {
                    output.extend_from_slice(&rank[row * row_len..][..row_len]);
                }
            }
            Ok(Cow::Owned(output))
        }
        Rule::Summed if ranks.len() > 1 => {
            let mut sums: Vec<f64> = values(&ranks[0], extent.dtype).collect();
            for rank in &ranks[1..] {
                for (sum, value) in sums.iter_mut().zip(values(rank, extent.dtype)) {
                    *sum += value;
                }
            }
            let mut output = Vec::with_capacity(ranks[0].len());
            for sum in sums {
                push(&mut output, sum, extent.dtype);
            }
            Ok(Cow::Owned(output))
        }
        Rule::Columns | Rule::Summed | Rule::Replicated | Rule::Filled(_) => {
            match ranks.iter().position(|rank| *rank != ranks[0]) {
                Some(rank) => Err(ReplicasDiffer { rank }),
                None => Ok(ranks.swap_remove(0)),
            }
        }
    }
}

/// Makes every rank's tensor out of the parameters it holds, each with its rows in the rank's tensor.
pub(crate) fn split<'a>(
    rule: Rule,
    extent: Extent,
    parameters: &[(RowPick, Cow<'a, [u8]>)],
    num_ranks: usize,
) -> Vec<Cow<'a, [u8]>> {
    let row_len = extent.row_len();
    let whole = |rank: usize| -> Cow<'a, [u8]> {
        match (rule, parameters) {
            (Rule::Filled(value), _) => Cow::Owned(filled(value, extent)),
            (Rule::Rows, [(pick, Cow::Borrowed(bytes))]) if pick.count == 1 => {
                let share = pick.len * row_len;
                Cow::Borrowed(&bytes[rank * share..][..share])
            }
            (Rule::Rows, _) => {
                let mut output = vec![0; extent.rows * row_len];
                for (pick, bytes) in parameters {
                    let share = pick.num_rows() * row_len;
                    let mut rest = &bytes[rank * share..][..share];
                    for start in pick.starts() {
                        let (block, tail) = rest.split_at(pick.len * row_len);
                        output[start * row_len..][..block.len()].copy_from_slice(block);
                        rest = tail;
                    }
                }
                Cow::Owned(output)
            }
            (Rule::Columns, [(_, bytes), ..]) if num_ranks > 1 => {
                let rows = bytes.chunks_exact(num_ranks * row_len);
                Cow::Owned(
                    rows.flat_map(|row| &row[rank * row_len..][..row_len])
                        .copied()
                        .collect(),
                )
            }
            (Rule::Summed, [(_, bytes), ..]) if num_ranks > 1 => {
                Cow::Owned(share_of_sum(bytes, extent.dtype, rank, num_ranks))
            }
            (_, [(_, bytes), ..]) => bytes.clone(),
            (_, []) => unreachable!("every rule but `Filled` has a parameter"),
        }
    };
    (0..num_ranks).map(whole).collect()
}

/// Returns one rank's share of numbers that the ranks add up: equal shares, and the last rank takes what rounding left,
/// so that the sum is the whole again.
fn share_of_sum(bytes: &[u8], dtype: Dtype, rank: usize, num_ranks: usize) -> Vec<u8> {
    let mut output = Vec::with_capacity(bytes.len());
    let mut rounded = Vec::with_capacity(dtype.width());
    for value in values(bytes, dtype) {
        rounded.clear();
        push(&mut rounded, value / num_ranks as f64, dtype);
        // Zero keeps its sign, and what is not finite its kind, when every rank has the same.
        let is_remainder = rank + 1 == num_ranks && value != 0.0 && value.is_finite();
        if is_remainder {
            let share = values(&rounded, dtype).next().unwrap_or_default();
            push(&mut output, value - share * (num_ranks - 1) as f64, dtype);
        } else {
            output.extend_from_slice(&rounded);
        }
    }
    output
}

/// Returns a tensor that is all one number.
pub(crate) fn filled(value: f32, extent: Extent) -> Vec<u8> {
    let mut output = Vec::with_capacity(extent.rows * extent.row_len());
    for _ in 0..extent.rows * extent.columns {
        push(&mut output, value.into(), extent.dtype);
    }
    output
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Splits parameters and merges each again.
    #[track_caller]
    fn check(rule: Rule, extent: Extent, parameters: &[(RowPick, Vec<u8>)], num_ranks: usize) {
        let borrowed: Vec<_> = parameters
            .iter()
            .map(|(pick, bytes)| (*pick, Cow::Borrowed(bytes.as_slice())))
            .collect();
        let owned: Vec<_> = parameters
            .iter()
            .map(|(pick, bytes)| (*pick, Cow::Owned(bytes.clone())))
            .collect();
        let ranks = split(rule, extent, &borrowed, num_ranks);
        assert_eq!(ranks, split(rule, extent, &owned, num_ranks));
        for rank in &ranks {
            assert_eq!(rank.len(), extent.rows * extent.row_len());
        }
        for (pick, bytes) in parameters {
            let merged = merge(rule, extent, *pick, ranks.clone()).unwrap();
            assert_eq!(merged.as_ref(), bytes.as_slice(), "{rule:?} {pick:?}");
        }
    }

    fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    proptest! {
        #[test]
        fn merging_what_was_split_is_the_identity(
            seed: u64, num_ranks in 1usize..5, heads in 1usize..4, head_dim in 1usize..5, columns in 1usize..5,
        ) {
            let extent = |rows| Extent { rows, columns, dtype: Dtype::Bf16 };
            // Three parameters head by head, as in a fused query_key_value.
            let fused = extent(heads * 3 * head_dim);
            let parameters: Vec<_> = (0..3).map(|nth| {
                let pick = RowPick { start: nth * head_dim, len: head_dim, step: 3 * head_dim, count: heads };
                (pick, random_bytes(num_ranks * heads * head_dim * fused.row_len(), seed ^ nth as u64))
            }).collect();
            check(Rule::Rows, fused, &parameters, num_ranks);

            let rows = extent(head_dim);
            let bytes = random_bytes(num_ranks * head_dim * rows.row_len(), seed);
            check(Rule::Rows, rows, &[(RowPick::block(0, head_dim), bytes.clone())], num_ranks);
            check(Rule::Columns, rows, &[(RowPick::block(0, head_dim), bytes)], num_ranks);
            let bytes = random_bytes(head_dim * rows.row_len(), seed);
            check(Rule::Replicated, rows, &[(RowPick::block(0, head_dim), bytes)], num_ranks);
        }

        #[test]
        fn shares_add_up_to_the_very_same_number(bits: u16, num_ranks in 1usize..9) {
            for (dtype, exponent) in [(Dtype::F16, 0x7c00), (Dtype::Bf16, 0x7f80)] {
                // A NaN may come back as another one.
                prop_assume!(bits & exponent != exponent || bits & 0x7fff == exponent);
                let extent = Extent { rows: 1, columns: 1, dtype };
                check(Rule::Summed, extent, &[(RowPick::block(0, 1), bits.to_le_bytes().to_vec())], num_ranks);
            }
        }
    }

    #[test]
    fn replicas_that_differ_are_told_by_rank() {
        let extent = Extent {
            rows: 1,
            columns: 1,
            dtype: Dtype::U8,
        };
        let ranks = [[1u8], [1], [2]];
        let ranks = ranks
            .iter()
            .map(|rank| Cow::Borrowed(rank.as_slice()))
            .collect();
        let found = merge(Rule::Replicated, extent, RowPick::block(0, 1), ranks);
        assert_eq!(found, Err(ReplicasDiffer { rank: 2 }));
    }
}
