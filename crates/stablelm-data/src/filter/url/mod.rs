//! Drops documents by their address: lists of domains and addresses, and words that addresses hold.
//!
//! The rules and their order are those of datatrove 0.10 (`pipeline/filters/url_filter.py`), which
//! follows RefinedWeb (Penedo et al. 2023, appendix G.1). Its lists are not: the words built in here
//! are a few examples of our own, and lists of domains are files that a recipe names. The files of
//! datatrove's package can be given.
//!
//! Two things surprise. Words are compared with the address as written, so that a banned `casino`
//! does not match `/Casino/`; subwords are looked for in lower case. And `Essex` is no word `sex`,
//! but it is one for subwords.

mod host;
mod lists;

use std::collections::HashSet;
use std::io;

use serde::Serialize;

use crate::document::Document;
use crate::filter::loaded::Loaded;
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::words::Scratch;
use host::Host;
use lists::{HashedSet, Lists};

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "url";
/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "soft_word_threshold",
    "use_integrated_lists",
    "curated_domains",
    "extra_domains",
    "extra_urls",
    "banned_words",
    "soft_banned_words",
    "banned_subwords",
    "domains_file",
    "urls_file",
    "banned_words_file",
    "soft_words_file",
    "banned_subwords_file",
];

/// Lists of domains and words in addresses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Url {
    /// How many different soft words drop an address; 0 turns the rule off.
    pub soft_word_threshold: u64,
    /// Whether the built-in examples are added to the lists of words.
    pub use_integrated_lists: bool,
    /// Whether the sites that curated sources come from are dropped, so that they don't count twice.
    pub curated_domains: bool,
    /// Lists that stand in the recipe.
    #[serde(flatten)]
    pub inline: UrlLists,
    /// Lists that stand in files.
    #[serde(flatten)]
    pub files: UrlFiles,
    #[serde(skip)]
    lists: Loaded<Lists>,
}

/// Lists that stand in a recipe, under datatrove's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UrlLists {
    /// Registered domains or whole hosts.
    pub extra_domains: Vec<String>,
    /// Whole addresses.
    pub extra_urls: Vec<String>,
    /// Words of which one drops an address.
    pub banned_words: Vec<String>,
    /// Words of which it takes several.
    pub soft_banned_words: Vec<String>,
    /// Runs of letters and digits that drop an address wherever they stand.
    pub banned_subwords: Vec<String>,
}

/// Files with an entry a line, relative to the recipe; lines that start with `#` are comments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UrlFiles {
    /// Registered domains or whole hosts, 8 bytes of memory each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domains_file: Option<String>,
    /// Whole addresses, 8 bytes of memory each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls_file: Option<String>,
    /// Words of which one drops an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub banned_words_file: Option<String>,
    /// Words of which it takes several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_words_file: Option<String>,
    /// Runs of letters and digits that drop an address wherever they stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub banned_subwords_file: Option<String>,
}

/// The sites behind the curated parts of The Pile.
///
/// Origin: `baselines_configs/refinedweb.yaml` of DCLM, after RefinedWeb's appendix G.1. DCLM compares
/// the whole host, so that `en.wikipedia.org` passes it; here a site's hosts all belong to it.
const CURATED_DOMAINS: [&str; 16] = [
    "arxiv.org",
    "askubuntu.com",
    "courtlistener.com",
    "exporter.nih.gov",
    "github.com",
    "irclogs.ubuntu.com",
    "mathoverflow.net",
    "ncbi.nlm.nih.gov",
    "news.ycombinator.com",
    "reddit.com",
    "stackapps.com",
    "stackexchange.com",
    "stackoverflow.com",
    "statmt.org",
    "uspto.gov",
    "wikipedia.org",
];

const BANNED_WORDS: &str = include_str!("../../../data/url_banned_words.txt");
const SOFT_WORDS: &str = include_str!("../../../data/url_soft_words.txt");
const BANNED_SUBWORDS: &str = include_str!("../../../data/url_banned_subwords.txt");

impl Url {
    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let strings = |key| Ok(fields.strings(key)?.unwrap_or_default());
        let file = |key| Ok(fields.string(key)?.map(str::to_owned));
        let mut filter = Self {
            soft_word_threshold: fields.whole("soft_word_threshold")?.unwrap_or(2),
            use_integrated_lists: fields.bool("use_integrated_lists")?.unwrap_or(true),
            curated_domains: fields.bool("curated_domains")?.unwrap_or(false),
            inline: UrlLists {
                extra_domains: strings("extra_domains")?,
                extra_urls: strings("extra_urls")?,
                banned_words: strings("banned_words")?,
                soft_banned_words: strings("soft_banned_words")?,
                banned_subwords: strings("banned_subwords")?,
            },
            files: UrlFiles {
                domains_file: file("domains_file")?,
                urls_file: file("urls_file")?,
                banned_words_file: file("banned_words_file")?,
                soft_words_file: file("soft_words_file")?,
                banned_subwords_file: file("banned_subwords_file")?,
            },
            lists: Loaded::absent(),
        };
        if filter.files == UrlFiles::default() {
            // Nothing is read, so this can only fail for a list no automaton can hold.
            let loaded = filter.load(&|_| Err(io::ErrorKind::NotFound.into()));
            loaded
                .map_err(|_| fields.wrong("banned_subwords", "a list of fewer or shorter words"))?;
        }
        Ok(filter)
    }

    /// Reads the files that the recipe names and puts all lists together.
    pub(crate) fn load(&mut self, read: &dyn Fn(&str) -> io::Result<Vec<u8>>) -> io::Result<()> {
        let read = |file: &Option<String>| file.as_deref().map_or(Ok(Vec::new()), read);
        let integrated = |list| if self.use_integrated_lists { list } else { "" };
        let set = |inline: &[String], file: &Option<String>| -> io::Result<HashedSet> {
            let bytes = read(file)?;
            let text = lists::as_text(&bytes);
            let inline = inline.iter().flat_map(|line| lists::lines(line));
            Ok(HashedSet::new(inline.chain(lists::lines(&text))))
        };
        let words = |list, inline: &[String], file: &Option<String>| -> io::Result<_> {
            let bytes = read(file)?;
            let text = lists::as_text(&bytes);
            let inline = inline.iter().flat_map(|line| lists::lines(line));
            let all = inline.chain(lists::lines(integrated(list)));
            Ok(lists::words(all.chain(lists::lines(&text))))
        };
        let (inline, files) = (&self.inline, &self.files);
        let subwords = words(
            BANNED_SUBWORDS,
            &inline.banned_subwords,
            &files.banned_subwords_file,
        )?;
        self.lists = Loaded::new(Lists {
            domains: set(&inline.extra_domains, &files.domains_file)?,
            urls: set(&inline.extra_urls, &files.urls_file)?,
            banned_words: words(BANNED_WORDS, &inline.banned_words, &files.banned_words_file)?,
            soft_words: words(
                SOFT_WORDS,
                &inline.soft_banned_words,
                &files.soft_words_file,
            )?,
            subwords: lists::automaton(&subwords).map_err(io::Error::other)?,
        });
        Ok(())
    }
}

impl Filter for Url {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Keeps a document without an address: datatrove stops the run at one.
    fn apply(&self, document: &Document, _: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let Some(url) = document.url.as_deref().filter(|url| !url.is_empty()) else {
            metrics.note("has_url", false);
            return Outcome::Keep;
        };
        metrics.note("has_url", true);
        let rules = [
            Self::judge_host,
            Self::judge_whole,
            Self::judge_words,
            Self::judge_subwords,
        ];
        let mut broken = None;
        for rule in rules {
            broken = broken.or(rule(self, url, metrics));
            if broken.is_some() && !metrics.is_on() {
                break;
            }
        }
        broken.map_or(Outcome::Keep, Outcome::Drop)
    }
}

impl Url {
    fn judge_host(&self, url: &str, metrics: &mut Metrics) -> Option<Reason> {
        let host = Host::of(url);
        let (registered, fqdn) = (host.registered_domain(), host.fqdn());
        metrics.note("registered_domain", registered);
        metrics.note("fqdn", fqdn);
        let on_list = |domain: &str| !domain.is_empty() && self.lists.domains.contains(domain);
        if on_list(registered) {
            Some(Reason::named("domain"))
        } else if on_list(fqdn) {
            Some(Reason::named("subdomain"))
        } else if self.curated_domains && is_curated(host.name()) {
            Some(Reason::named("curated_domain"))
        } else {
            None
        }
    }

    fn judge_whole(&self, url: &str, _: &mut Metrics) -> Option<Reason> {
        let on_list = self.lists.urls.contains(url);
        on_list.then_some(Reason::named("url"))
    }

    fn judge_words(&self, url: &str, metrics: &mut Metrics) -> Option<Reason> {
        let words = || url.split(|c: char| !c.is_ascii_alphanumeric());
        let banned = words().find(|&word| self.lists.banned_words.contains(word));
        let soft: HashSet<&str> = words()
            .filter(|&word| self.lists.soft_words.contains(word))
            .collect();
        if metrics.is_on() {
            metrics.note("soft_words", soft.len());
            if let Some(word) = banned {
                metrics.note("banned_word", word);
            }
        }
        let (found, threshold) = (soft.len() as u64, self.soft_word_threshold);
        if banned.is_some() {
            return Some(Reason::named("hard_blacklisted"));
        }
        (threshold != 0 && found >= threshold)
            .then(|| Reason::measured("soft_blacklisted", found as f64, threshold as f64))
    }

    fn judge_subwords(&self, url: &str, metrics: &mut Metrics) -> Option<Reason> {
        let squeezed = lists::squeeze(url);
        let found = self.lists.subwords.as_ref()?.find(&squeezed)?;
        metrics.note("banned_subword", &squeezed[found.range()]);
        Some(Reason::named("blacklisted_subword"))
    }
}

/// Whether a host is one of the curated sites or below one.
fn is_curated(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    CURATED_DOMAINS.iter().any(|domain| {
        let before = host.strip_suffix(domain);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

#[cfg(test)]
mod tests;
