//! Stop strings in a stream of text, across the borders of its pieces.

/// Lets text through until a stop string begins; holds back what may be the beginning of one.
#[derive(Debug)]
pub(crate) struct StopFilter<'a> {
    stops: &'a [String],
    held: String,
    stopped: bool,
}

impl<'a> StopFilter<'a> {
    /// Begins a stream. Empty stop strings never match.
    pub(crate) fn new(stops: &'a [String]) -> Self {
        Self {
            stops,
            held: String::new(),
            stopped: false,
        }
    }

    /// Takes a piece and returns the text that can be shown now.
    pub(crate) fn push(&mut self, piece: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(piece);
        let stops = self.stops.iter().filter(|stop| !stop.is_empty());
        if let Some(at) = stops.filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let keep = self.longest_beginning();
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// Returns what was held back, once the stream has ended.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Returns whether a stop string was found.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Returns the length of the longest end of the held text that begins a stop string.
    fn longest_beginning(&self) -> usize {
        let begins = |start: &usize| {
            let end = &self.held[*start..];
            self.stops
                .iter()
                .any(|stop| stop.len() > end.len() && stop.starts_with(end))
        };
        let starts = self.held.char_indices().map(|(start, _)| start);
        starts
            .into_iter()
            .find(begins)
            .map_or(0, |start| self.held.len() - start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stops: &[&str], pieces: &[&str], expected: &[&str], stopped: bool) {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let mut filter = StopFilter::new(&stops);
        let mut shown: Vec<String> = pieces.iter().map(|piece| filter.push(piece)).collect();
        shown.push(filter.finish());
        assert_eq!(shown, expected);
        assert_eq!(filter.is_stopped(), stopped);
    }

    #[test]
    fn text_without_a_stop_goes_through() {
        check(&[], &["a", "b"], &["a", "b", ""], false);
        check(&["zz"], &["a", "b"], &["a", "b", ""], false);
        check(&[""], &["a"], &["a", ""], false);
    }

    #[test]
    fn a_stop_is_found_across_pieces_and_nothing_of_it_is_shown() {
        check(
            &["END"],
            &["text E", "N", "D more"],
            &["text ", "", "", ""],
            true,
        );
        check(&["END"], &["text E", "NX"], &["text ", "ENX", ""], false);
        check(&["\n\n"], &["line\n", "\nnext"], &["line", "", ""], true);
    }

    #[test]
    fn the_first_of_several_stops_wins() {
        check(&["late", "é"], &["a é late"], &["a ", ""], true);
    }

    #[test]
    fn what_only_looked_like_a_stop_comes_out_at_the_end() {
        check(&["END"], &["text EN"], &["text ", "EN"], false);
    }
}
