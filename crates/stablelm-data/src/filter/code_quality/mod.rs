//! The rules of StarCoder and RedPajama on source code.
//!
//! `rules = "starcoder"`: bigcode-dataset `preprocessing/filtering.py` with its default arguments
//! (Li et al. 2023, section 3).
//! Its table of limits per file extension is not here: `max_line_length` and its like hold for all
//! files, as in the `basic` filter. `rules = "redpajama"`: RedPajama-Data `rp_v1`,
//! `data_prep/github/github_run_filter.py`. Its last rule, letters per token of a tokenizer, is left
//! out, as filters have no tokenizer; `min_alpha_per_word` is a rule of our own in its place, and off.
//!
//! Characters are Unicode code points, lines end where Python's `str.splitlines()` ends them.

mod comments;
mod html;
mod language;

use serde::Serialize;

use crate::document::Document;
use crate::filter::verdict::{Verdict, ratio};
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::text::digits::is_word;
use crate::text::letters::is_letter;
use crate::text::{split_lines, split_whitespace};
use crate::words::Scratch;
use language::Format;

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "code-quality";
/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "rules",
    "max_line_length",
    "max_avg_line_length",
    "min_alphanum_fraction",
    "extensions",
    "min_alpha_per_word",
    "xml_characters",
    "min_html_text_ratio",
    "min_html_text_length",
    "min_data_length",
    "max_data_length",
    "min_comments_ratio",
    "max_comments_ratio",
];

/// Whose rules are taken: which of them are on, and how the mean length of lines is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CodeRules {
    /// Those that made StarCoder's data.
    Starcoder,
    /// Those that made the `github` part of RedPajama.
    Redpajama,
}

/// The rules of StarCoder and RedPajama on source code; a threshold of 0 turns its rule off.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CodeQuality {
    /// Whose rules are taken.
    pub rules: CodeRules,
    /// Most characters in a line.
    pub max_line_length: u64,
    /// Most characters a line in the mean; RedPajama counts the ends of lines too.
    pub max_avg_line_length: f64,
    /// Least share of letters and numbers.
    pub min_alphanum_fraction: f64,
    /// How names of files may end, in the case they are written in; none for any.
    pub extensions: Vec<String>,
    /// Fewest letters per word between white space.
    pub min_alpha_per_word: f64,
    /// An XML declaration in so many first characters drops a file that is no style sheet.
    pub xml_characters: u64,
    /// The share of an HTML file that is visible text must be above this.
    pub min_html_text_ratio: f64,
    /// The visible text of an HTML file must have more characters.
    pub min_html_text_length: u64,
    /// Fewest characters of a JSON or YAML file.
    pub min_data_length: u64,
    /// Most characters of one.
    pub max_data_length: u64,
    /// The share of comments must be above this; `SantaCoder`: 0.01.
    pub min_comments_ratio: f64,
    /// The share of comments must be below this; `SantaCoder`: 0.8.
    pub max_comments_ratio: f64,
}

/// How the names of files end that RedPajama keeps: `extensions_whitelist` in `github_run_filter.py`.
#[rustfmt::skip]
const REDPAJAMA_EXTENSIONS: [&str; 66] = [
    ".asm", ".bat", ".cmd", ".c", ".h", ".cs", ".cpp", ".hpp", ".c++", ".h++", ".cc", ".hh", ".C",
    ".H", ".cmake", ".css", ".dockerfile", ".f90", ".f", ".f03", ".f08", ".f77", ".f95", ".for",
    ".fpp", ".go", ".hs", ".html", ".java", ".js", ".jl", ".lua", ".md", ".markdown", ".php",
    ".php3", ".php4", ".php5", ".phps", ".phpt", ".pl", ".pm", ".pod", ".perl", ".ps1", ".psd1",
    ".psm1", ".py", ".rb", ".rs", ".sql", ".scala", ".sh", ".bash", ".command", ".zsh", ".ts",
    ".tsx", ".tex", ".vb", "Dockerfile", "Makefile", ".xml", ".rst", ".m", ".smali",
];

impl CodeQuality {
    /// The published thresholds.
    pub fn published(rules: CodeRules) -> Self {
        let is_starcoder = rules == CodeRules::Starcoder;
        let starcoder = |limit: u64| if is_starcoder { limit } else { 0 };
        Self {
            rules,
            max_line_length: 1000,
            max_avg_line_length: 100.0,
            min_alphanum_fraction: 0.25,
            extensions: match rules {
                CodeRules::Starcoder => Vec::new(),
                CodeRules::Redpajama => REDPAJAMA_EXTENSIONS.map(str::to_owned).to_vec(),
            },
            min_alpha_per_word: 0.0,
            xml_characters: starcoder(100),
            min_html_text_ratio: if is_starcoder { 0.2 } else { 0.0 },
            min_html_text_length: starcoder(100),
            min_data_length: starcoder(100),
            max_data_length: starcoder(5000),
            min_comments_ratio: 0.0,
            max_comments_ratio: 0.0,
        }
    }

    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let rules = match fields.required_string("rules")? {
            "starcoder" => CodeRules::Starcoder,
            "redpajama" => CodeRules::Redpajama,
            _ => return Err(fields.wrong("rules", "`starcoder` or `redpajama`")),
        };
        let mut filter = Self::published(rules);
        let whole = |key, value: &mut u64| -> Result<(), RecipeError> {
            *value = fields.whole(key)?.unwrap_or(*value);
            Ok(())
        };
        whole("max_line_length", &mut filter.max_line_length)?;
        whole("xml_characters", &mut filter.xml_characters)?;
        whole("min_html_text_length", &mut filter.min_html_text_length)?;
        whole("min_data_length", &mut filter.min_data_length)?;
        whole("max_data_length", &mut filter.max_data_length)?;
        let number = |key, value: &mut f64| -> Result<(), RecipeError> {
            *value = fields.number(key)?.unwrap_or(*value);
            Ok(())
        };
        number("max_avg_line_length", &mut filter.max_avg_line_length)?;
        number("min_alphanum_fraction", &mut filter.min_alphanum_fraction)?;
        number("min_alpha_per_word", &mut filter.min_alpha_per_word)?;
        number("min_html_text_ratio", &mut filter.min_html_text_ratio)?;
        number("min_comments_ratio", &mut filter.min_comments_ratio)?;
        number("max_comments_ratio", &mut filter.max_comments_ratio)?;
        if let Some(extensions) = fields.strings("extensions")? {
            filter.extensions = extensions;
        }
        Ok(filter)
    }
}

impl Filter for CodeQuality {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, _: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let mut verdict = Verdict::new(metrics);
        let format = Format::of(document);
        let rules = [
            Self::judge_extension,
            Self::judge_characters,
            Self::judge_comments,
            Self::judge_markup,
            Self::judge_size,
        ];
        for rule in rules {
            if rule(self, document, format, &mut verdict, metrics) {
                break;
            }
        }
        verdict.outcome()
    }
}

impl CodeQuality {
    /// Each rule says whether there is no need to look at those after it.
    fn judge_extension(
        &self,
        document: &Document,
        _: Format,
        verdict: &mut Verdict,
        metrics: &mut Metrics,
    ) -> bool {
        metrics.note("has_file", document.file.is_some());
        let Some(file) = document
            .file
            .as_deref()
            .filter(|_| !self.extensions.is_empty())
        else {
            return false;
        };
        let is_listed = self
            .extensions
            .iter()
            .any(|end| file.ends_with(end.as_str()));
        verdict.drop_if(!is_listed, Reason::named("extension"))
    }

    fn judge_characters(
        &self,
        document: &Document,
        _: Format,
        verdict: &mut Verdict,
        metrics: &mut Metrics,
    ) -> bool {
        let counts = Counts::of(&document.text);
        let in_lines = match self.rules {
            CodeRules::Starcoder => counts.in_lines,
            CodeRules::Redpajama => counts.characters,
        };
        let mean = if counts.lines == 0 {
            0.0
        } else {
            ratio(in_lines, counts.lines)
        };
        let alphanum = ratio(counts.alphanumeric, counts.characters.max(1));
        metrics.note("max_line_length", counts.longest_line);
        metrics.note("avg_line_length", mean);
        metrics.note("alphanum_fraction", alphanum);
        let longest = counts.longest_line as f64;
        let done = verdict.above("max_line_length", longest, self.max_line_length as f64)
            || verdict.above("avg_line_length", mean, self.max_avg_line_length)
            || verdict.below("alphanum_fraction", alphanum, self.min_alphanum_fraction);
        if done || (self.min_alpha_per_word == 0.0 && !metrics.is_on()) {
            return done;
        }
        let letters = document.text.chars().filter(|&c| is_letter(c)).count();
        let words = split_whitespace(&document.text).count();
        let alpha = ratio(letters as u64, words.max(1) as u64);
        metrics.note("alpha_per_word", alpha);
        verdict.below("alpha_per_word", alpha, self.min_alpha_per_word)
    }

    fn judge_comments(
        &self,
        document: &Document,
        format: Format,
        verdict: &mut Verdict,
        metrics: &mut Metrics,
    ) -> bool {
        let (min, max) = (self.min_comments_ratio, self.max_comments_ratio);
        if min == 0.0 && max == 0.0 && !metrics.is_on() {
            return false;
        }
        let Some(in_comments) = comments::count(&document.text, format) else {
            return false;
        };
        let characters = document.text.chars().count().max(1);
        let share = ratio(in_comments, characters as u64);
        metrics.note("comments_ratio", share);
        let low = Reason::measured("comments_ratio", share, min);
        let high = Reason::measured("comments_ratio", share, max);
        verdict.drop_if(min != 0.0 && share <= min, low)
            || verdict.drop_if(max != 0.0 && share >= max, high)
    }

    fn judge_markup(
        &self,
        document: &Document,
        format: Format,
        verdict: &mut Verdict,
        metrics: &mut Metrics,
    ) -> bool {
        let first = usize::try_from(self.xml_characters).unwrap_or(usize::MAX);
        // StarCoder leaves XSLT out, which is written in XML.
        let is_xml = format != Format::Xslt && has_declaration(&document.text, first);
        metrics.note("xml", is_xml);
        if verdict.drop_if(is_xml, Reason::named("xml")) {
            return true;
        }
        let (least, shortest) = (self.min_html_text_ratio, self.min_html_text_length);
        let is_off = least == 0.0 && shortest == 0;
        if format != Format::Html || (is_off && !metrics.is_on()) {
            return false;
        }
        let visible = html::visible_characters(&document.text);
        let all = document.text.chars().count().max(1);
        let share = ratio(visible, all as u64);
        metrics.note("html_text_ratio", share);
        metrics.note("html_text_length", visible);
        let low = Reason::measured("html_text_ratio", share, least);
        let short = Reason::measured("html_text_length", visible as f64, shortest as f64);
        verdict.drop_if(least != 0.0 && share <= least, low)
            || verdict.drop_if(shortest != 0 && visible <= shortest, short)
    }

    fn judge_size(
        &self,
        document: &Document,
        format: Format,
        verdict: &mut Verdict,
        metrics: &mut Metrics,
    ) -> bool {
        if format != Format::Data {
            return false;
        }
        let length = document.text.chars().count() as u64;
        metrics.note("data_length", length);
        verdict.below("data_length", length as f64, self.min_data_length as f64)
            || verdict.above("data_length", length as f64, self.max_data_length as f64)
    }
}

/// Whether an XML declaration ends in the first so many characters.
fn has_declaration(text: &str, first: usize) -> bool {
    let end = text
        .char_indices()
        .nth(first)
        .map_or(text.len(), |(at, _)| at);
    text[..end].contains("<?xml version=")
}

/// What one pass over the characters counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    characters: u64,
    alphanumeric: u64,
    lines: u64,
    /// Characters in lines, without their ends.
    in_lines: u64,
    longest_line: u64,
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut counts = Self::default();
        for line in split_lines(text) {
            let mut length = 0;
            for c in line.chars() {
                length += 1;
                counts.alphanumeric += u64::from(is_word(c) && c != '_');
            }
            counts.lines += 1;
            counts.in_lines += length;
            counts.longest_line = counts.longest_line.max(length);
        }
        counts.characters = text.chars().count() as u64;
        counts
    }
}

#[cfg(test)]
mod tests;
