//! The subsets of The Pile.

/// Released names, then those that The Pile's own code writes for the same things.
const SUBSETS: [&str; 30] = [
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
    "Bibliotik",
    "BookCorpus",
    "USPTO",
    "CommonCrawl",
    "OpenWebText",
    "Literotica",
    "CORD-19",
    "CZIC",
];

/// Whether The Pile has a subset of this name.
pub(crate) fn is_known_subset(name: &str) -> bool {
    SUBSETS.contains(&name)
}
