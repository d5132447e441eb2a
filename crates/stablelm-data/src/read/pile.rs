//! The subsets of The Pile.

/// Released names.
const SUBSETS: [&str; 22] = [
    "Pile-CC",
    "PubMed Central",
    "Books3",
    "OpenWebText2",
    "ArXiv",
    "Github",
    "FreeLaw",
    "StackExchange",
    "USPTO Backgrounds",
    "PubMed Abstracts",
    "Gutenberg (PG-19)",
    "OpenSubtitles",
    "Wikipedia (en)",
    "DM Mathematics",
    "Ubuntu IRC",
    "BookCorpus2",
    "EuroParl",
    "HackerNews",
    "YoutubeSubtitles",
    "PhilPapers",
    "NIH ExPorter",
    "Enron Emails",
];

/// What The Pile's own code (`the_pile/datasets.py`) writes, with the released name of the same
/// thing; the last three were never released.
const ALIASES: [(&str, &str); 8] = [
    ("Bibliotik", "Books3"),
    ("BookCorpus", "BookCorpus2"),
    ("USPTO", "USPTO Backgrounds"),
    ("CommonCrawl", "Pile-CC"),
    ("OpenWebText", "OpenWebText2"),
    ("Literotica", "Literotica"),
    ("CORD-19", "CORD-19"),
    ("CZIC", "CZIC"),
];

/// Whether The Pile has a subset of this name.
pub(crate) fn is_known_subset(name: &str) -> bool {
    canonical_subset(name).is_some()
}

/// The released name of a subset, whichever of its names is given.
pub(crate) fn canonical_subset(name: &str) -> Option<&'static str> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias
        .map(|(_, released)| *released)
        .or_else(|| SUBSETS.into_iter().find(|known| *known == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_lead_to_released_names() {
        for (name, expected) in [
            ("Bibliotik", Some("Books3")),
            ("Books3", Some("Books3")),
            ("CommonCrawl", Some("Pile-CC")),
            ("CZIC", Some("CZIC")),
            ("books3", None),
        ] {
            assert_eq!(canonical_subset(name), expected, "{name}");
            assert_eq!(is_known_subset(name), expected.is_some(), "{name}");
        }
    }
}
