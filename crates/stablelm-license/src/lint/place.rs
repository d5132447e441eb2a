//! Where in a text a byte is, as people count: lines and characters from 1.

/// The line starts of a text.
pub(crate) struct Places<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self { text, starts }
    }

    /// Returns line and column, both from 1; a byte inside a character stands for the character.
    pub(crate) fn at(&self, byte: usize) -> (usize, usize) {
        let byte = byte.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts[line - 1];
        let column = self
            .text
            .get(start..)
            .unwrap_or_default()
            .char_indices()
            .take_while(|(offset, _)| start + offset < byte)
            .count();
        (line, column + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_and_not_bytes() {
        let places = Places::new("aé\n\u{feff}xb\n");
        assert_eq!(places.at(0), (1, 1));
        assert_eq!(places.at(3), (1, 3));
        assert_eq!(places.at(4), (2, 1));
        assert_eq!(places.at(8), (2, 3));
        assert_eq!(places.at(99), (3, 1));
    }
}
