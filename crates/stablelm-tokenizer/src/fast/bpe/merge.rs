//! Merging as the definition has it: the earliest merge first, the leftmost of equal ones.
//!
//! This is the reference for the vector code in `stages`, and what machines without it run.

use super::{NONE, Pairs, Symbol};

/// The most bytes that [`merge`] takes: its work grows with their square.
pub(crate) const MAX_MERGE_LEN: usize = 32;

/// Merges the bytes of a pretoken; returns how many symbols they became.
///
/// # Panics
///
/// When there are more than [`MAX_MERGE_LEN`] bytes.
pub(crate) fn merge(bytes: &[u8], pairs: &Pairs, symbols: &mut [Symbol; MAX_MERGE_LEN]) -> usize {
    for (symbol, &byte) in symbols[..bytes.len()].iter_mut().zip(bytes) {
        *symbol = Symbol::from(byte);
    }
    merge_symbols(&mut symbols[..bytes.len()], pairs)
}

/// Merges any number of bytes, in time that grows with the square of their number.
pub(super) fn merge_any(bytes: &[u8], pairs: &Pairs) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = bytes.iter().map(|&byte| Symbol::from(byte)).collect();
    let len = merge_symbols(&mut symbols, pairs);
    symbols.truncate(len);
    symbols
}

fn merge_symbols(symbols: &mut [Symbol], pairs: &Pairs) -> usize {
    let mut len = symbols.len();
    loop {
        let merged = symbols[..len]
            .windows(2)
            .map(|two| pairs.get(two[0], two[1]));
        // `min_by_key` returns the first of equal ones.
        let first = merged.enumerate().min_by_key(|&(_, symbol)| symbol);
        let Some((at, symbol)) = first.filter(|&(_, symbol)| symbol != NONE) else {
            return len;
        };
        symbols[at] = symbol;
        symbols.copy_within(at + 2..len, at + 1);
        len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let merges = sample();
        let symbols = merge_any(text.as_bytes(), &merges.pairs);
        let texts = symbols.iter().map(|&symbol| merges.bytes_of(symbol));
        let found: Vec<_> = texts.map(String::from_utf8_lossy).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn the_earliest_merge_is_made_first_and_the_leftmost_of_equal_ones() {
        check("", &[]);
        check("x", &["x"]);
        check("aaa", &["aa", "a"]);
        check("aaaaaaaaaaaaa", &["aaaaaaaa", "aaaa", "a"]);
        check(" the", &[" the"]);
        check("abca", &["abc", "a"]);
        check("bca", &["bc", "a"]);
        check("éa", &["é", "a"]);
    }
}
