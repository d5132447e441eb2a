//! License expressions as people write them, and what kind of terms each license has.
//!
//! SPDX identifiers in any letter case, the hub's ids, the names of the well-known model licenses,
//! `LicenseRef-...`, `NOASSERTION` and `other` all stand for one license. A name that nobody knows
//! is an unknown license, not an error; a broken structure is an error that names its place.

use std::fmt;

use ::spdx::error::Reason;
use ::spdx::expression::{ExprNode, Operator};
use ::spdx::{LicenseItem, ParseMode};
use thiserror::Error;

use crate::spdx::spdx_from_hub_id;

/// What kind of terms a license has, as far as compatibility goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LicenseClass {
    /// No conditions: public domain, or a license that asks for nothing.
    PublicDomain,
    /// Keep the notice: MIT, BSD and their like.
    Permissive,
    /// Apache-2.0 and ECL-2.0: notices, marked changes, a patent clause.
    Apache,
    /// Credit in any reasonable manner: CC BY and its like.
    Attribution,
    /// ODC-By: credit, and a derivative database stays under it.
    DatabaseAttribution,
    /// CC BY-SA.
    ShareAlike,
    /// `ODbL`: a derivative database stays under it.
    DatabaseShareAlike,
    /// The Free Art License.
    FreeArt,
    /// The GPL, the AGPL and the GFDL: the whole work stays under them.
    StrongCopyleft,
    /// LGPL, MPL, EPL and their like: the covered files stay under them.
    WeakCopyleft,
    /// No commercial use.
    NonCommercial,
    /// No sharing of changed copies.
    NoDerivatives,
    /// Limits on what it may be used for: RAIL, Llama, Gemma and their like.
    UseRestricted,
    /// The terms of a site that a text was collected from.
    SiteTerms,
    /// The Terms of Use of The Stack.
    StackTerms,
    /// On the SPDX list, but its terms are not modeled here.
    Unmodeled,
    /// Nobody said, or nobody knows the name.
    Unknown,
}

/// One license of an expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LicenseTerm {
    /// Its name: the SPDX identifier where there is one, else as written.
    pub id: String,
    /// What kind of terms it has.
    pub class: LicenseClass,
    /// True when the expression allows any later version, with a `+`.
    pub or_later: bool,
    /// What follows `WITH`; it is carried along and never makes a verdict better.
    pub exception: Option<String>,
}

/// A license expression, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseExpression {
    nodes: Vec<Node>,
    text: String,
}

/// A step of an expression in postfix order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Term(LicenseTerm),
    And,
    Or,
}

/// Why a text is not a license expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("malformed license expression `{text}`: {problem} at column {column}")]
pub struct ExpressionError {
    /// The text.
    pub text: String,
    /// What is wrong there.
    pub problem: String,
    /// Where, in characters, counted from 1.
    pub column: usize,
}

impl LicenseExpression {
    /// Reads an expression.
    ///
    /// ```
    /// use stablelm_license::{LicenseClass, LicenseExpression};
    ///
    /// let hub = LicenseExpression::parse("cc-by-sa-4.0").expect("one license");
    /// assert_eq!(hub.to_string(), "CC-BY-SA-4.0");
    /// let choice = LicenseExpression::parse("(MIT OR Apache-2.0) AND Something-Else").expect("three");
    /// assert!(choice.terms().any(|term| term.class == LicenseClass::Unknown));
    /// assert_eq!(LicenseExpression::parse("MIT AND").expect_err("cut off").column, 8);
    /// ```
    ///
    /// # Errors
    /// When the structure is broken: a missing operator or license, an unmatched parenthesis, an
    /// unknown exception, a character that no license name has.
    pub fn parse(text: &str) -> Result<LicenseExpression, ExpressionError> {
        let words = Words::read(text)?;
        let parsed = ::spdx::Expression::parse_mode(&words.plain, ParseMode::STRICT)
            .map_err(|error| words.error(&error.reason, error.span.start))?;
        let nodes = parsed.iter().map(|node| words.node(node)).collect();
        Ok(LicenseExpression {
            nodes,
            text: words.canonical,
        })
    }

    /// Returns the expression that says nothing: `NOASSERTION`.
    pub fn unknown() -> LicenseExpression {
        let term = term("NOASSERTION");
        LicenseExpression {
            text: term.id.clone(),
            nodes: vec![Node::Term(term)],
        }
    }

    /// Returns every license in it, in the order in which they are combined.
    pub fn terms(&self) -> impl Iterator<Item = &LicenseTerm> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Term(term) => Some(term),
            Node::And | Node::Or => None,
        })
    }

    /// Combines a value of each license along the expression.
    pub(crate) fn fold<T>(
        &self,
        mut leaf: impl FnMut(&LicenseTerm) -> T,
        and: impl Fn(T, T) -> T,
        or: impl Fn(T, T) -> T,
    ) -> T {
        const WHOLE: &str = "a parsed expression has two values before each operator";
        let mut stack: Vec<T> = Vec::new();
        for node in &self.nodes {
            let value = match node {
                Node::Term(term) => leaf(term),
                Node::And | Node::Or => {
                    let right = stack.pop().expect(WHOLE);
                    let left = stack.pop().expect(WHOLE);
                    if *node == Node::And {
                        and(left, right)
                    } else {
                        or(left, right)
                    }
                }
            };
            stack.push(value);
        }
        stack.pop().expect("a parsed expression holds a license")
    }
}

impl fmt::Display for LicenseExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl LicenseTerm {
    /// True when nobody knows its terms.
    pub fn is_unknown(&self) -> bool {
        self.class == LicenseClass::Unknown
    }

    /// Returns major and minor version and the port of a Creative Commons license.
    pub(crate) fn cc_version(&self) -> Option<(u8, u8, &str)> {
        let rest = self.id.strip_prefix("CC-")?;
        let start = rest.find(|c: char| c.is_ascii_digit())?;
        let (version, port) = rest[start..]
            .split_once('-')
            .unwrap_or((&rest[start..], ""));
        let (major, minor) = version.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?, port))
    }
}

impl fmt::Display for LicenseTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.or_later {
            f.write_str("+")?;
        }
        match &self.exception {
            Some(exception) => write!(f, " WITH {exception}"),
            None => Ok(()),
        }
    }
}

/// The words of an expression, with each license replaced by a reference of one form, so that the
/// outside parser judges the structure alone.
struct Words<'a> {
    text: &'a str,
    terms: Vec<LicenseTerm>,
    plain: String,
    canonical: String,
    /// Where each word begins, in `plain` and in `text`.
    places: Vec<(usize, usize)>,
}

impl<'a> Words<'a> {
    fn read(text: &'a str) -> Result<Words<'a>, ExpressionError> {
        let mut words = Words {
            text,
            terms: Vec::new(),
            plain: String::new(),
            canonical: String::new(),
            places: Vec::new(),
        };
        let mut after_with = false;
        for (start, word) in split(text) {
            let operator = ["AND", "OR", "WITH"]
                .into_iter()
                .find(|operator| operator.eq_ignore_ascii_case(word));
            let (plain, canonical) = match operator {
                _ if matches!(word, "(" | ")") => (word.to_owned(), word.to_owned()),
                Some(operator) => (operator.to_owned(), operator.to_owned()),
                None if after_with => {
                    let exception = words.exception(word, start)?;
                    (exception.clone(), exception)
                }
                None => words.license(word, start)?,
            };
            after_with = operator == Some("WITH");
            words.push(start, &plain, &canonical);
        }
        Ok(words)
    }

    fn push(&mut self, start: usize, plain: &str, canonical: &str) {
        for (text, word) in [(&mut self.plain, plain), (&mut self.canonical, canonical)] {
            if !text.is_empty() && !text.ends_with('(') && word != ")" {
                text.push(' ');
            }
            text.push_str(word);
        }
        self.places.push((self.plain.len() - plain.len(), start));
    }

    fn license(&mut self, word: &str, start: usize) -> Result<(String, String), ExpressionError> {
        self.check_characters(word, start)?;
        let found = term(word);
        let canonical = found.to_string();
        self.terms.push(found);
        Ok((format!("LicenseRef-{}", self.terms.len() - 1), canonical))
    }

    fn exception(&self, word: &str, start: usize) -> Result<String, ExpressionError> {
        self.check_characters(word, start)?;
        if word.starts_with("AdditionRef-") {
            return Ok(word.to_owned());
        }
        ::spdx::identifiers::EXCEPTIONS
            .iter()
            .find(|exception| exception.name.eq_ignore_ascii_case(word))
            .map(|exception| exception.name.to_owned())
            .ok_or_else(|| self.problem(format!("unknown exception `{word}`"), start))
    }

    fn check_characters(&self, word: &str, start: usize) -> Result<(), ExpressionError> {
        let bad = word
            .char_indices()
            .find(|(_, c)| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '+' | ':' | '_'));
        match bad {
            Some((offset, c)) => Err(self.problem(
                format!("unexpected character `{}`", c.escape_default()),
                start + offset,
            )),
            None => Ok(()),
        }
    }

    fn node(&self, node: &ExprNode) -> Node {
        let requirement = match node {
            ExprNode::Op(Operator::And) => return Node::And,
            ExprNode::Op(Operator::Or) => return Node::Or,
            ExprNode::Req(requirement) => &requirement.req,
        };
        let index = match &requirement.license {
            LicenseItem::Other(reference) => reference.lic_ref.parse().ok(),
            LicenseItem::Spdx { .. } => None,
        };
        let mut term: LicenseTerm = index
            .and_then(|index: usize| self.terms.get(index))
            .expect("every license was replaced by the reference to its place")
            .clone();
        term.exception = requirement.addition.as_ref().map(ToString::to_string);
        Node::Term(term)
    }

    fn error(&self, reason: &Reason, at: usize) -> ExpressionError {
        let (start, word) = self
            .places
            .iter()
            .rev()
            .find(|(plain, _)| *plain <= at && at < self.plain.len())
            .map_or((self.text.trim_end().len(), "the end"), |(_, start)| {
                let word = split(&self.text[*start..]).next();
                (*start, word.map_or("the end", |(_, word)| word))
            });
        let problem = match reason {
            Reason::Empty => "nothing is there".to_owned(),
            Reason::UnclosedParens => "a `(` is never closed".to_owned(),
            Reason::UnopenedParens => "a `)` closes nothing".to_owned(),
            Reason::Unexpected(expected) => {
                let expected: Vec<_> = expected.iter().map(|word| format!("`{word}`")).collect();
                format!("found `{word}`, expected {}", expected.join(" or "))
            }
            _ => format!("`{word}` does not belong there"),
        };
        self.problem(problem, start)
    }

    fn problem(&self, problem: String, at: usize) -> ExpressionError {
        ExpressionError {
            text: self.text.to_owned(),
            problem,
            column: self.text[..at].chars().count() + 1,
        }
    }
}

/// Splits at white space and around parentheses; each word comes with its place in bytes.
fn split(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let end = if matches!(first, '(' | ')') {
            1
        } else {
            rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')'))
                .unwrap_or(rest.len())
        };
        let start = text.len() - rest.len();
        let (word, after) = rest.split_at(end);
        rest = after;
        Some((start, word))
    })
}

/// Names that are on no SPDX list, in lower case, and what they stand for. `LicenseRef-` in front
/// of them makes no difference.
const NAMES: &[(&str, &str, LicenseClass)] = &[
    ("noassertion", "NOASSERTION", LicenseClass::Unknown),
    ("none", "NONE", LicenseClass::Unknown),
    ("unknown", "unknown", LicenseClass::Unknown),
    ("other", "other", LicenseClass::Unknown),
    // Families without a version: nobody can say which terms are meant.
    ("cc", "cc", LicenseClass::Unknown),
    ("gpl", "gpl", LicenseClass::Unknown),
    ("lgpl", "lgpl", LicenseClass::Unknown),
    ("gfdl", "gfdl", LicenseClass::Unknown),
    // Each BSD license only asks to keep its notice.
    ("bsd", "bsd", LicenseClass::Permissive),
    (
        "publicdomain",
        "LicenseRef-PublicDomain",
        LicenseClass::PublicDomain,
    ),
    (
        "public-domain",
        "LicenseRef-PublicDomain",
        LicenseClass::PublicDomain,
    ),
    ("openrail", "openrail", LicenseClass::UseRestricted),
    ("openrail++", "openrail++", LicenseClass::UseRestricted),
    (
        "bigscience-openrail-m",
        "bigscience-openrail-m",
        LicenseClass::UseRestricted,
    ),
    (
        "creativeml-openrail-m",
        "creativeml-openrail-m",
        LicenseClass::UseRestricted,
    ),
    (
        "bigscience-bloom-rail-1.0",
        "bigscience-bloom-rail-1.0",
        LicenseClass::UseRestricted,
    ),
    (
        "bigcode-openrail-m",
        "bigcode-openrail-m",
        LicenseClass::UseRestricted,
    ),
    ("llama2", "llama2", LicenseClass::UseRestricted),
    ("llama3", "llama3", LicenseClass::UseRestricted),
    ("llama3.1", "llama3.1", LicenseClass::UseRestricted),
    ("llama3.2", "llama3.2", LicenseClass::UseRestricted),
    ("llama3.3", "llama3.3", LicenseClass::UseRestricted),
    ("llama4", "llama4", LicenseClass::UseRestricted),
    ("gemma", "gemma", LicenseClass::UseRestricted),
    (
        "grok2-community",
        "grok2-community",
        LicenseClass::UseRestricted,
    ),
    (
        "deepfloyd-if-license",
        "deepfloyd-if-license",
        LicenseClass::NonCommercial,
    ),
    (
        "fair-noncommercial-research-license",
        "fair-noncommercial-research-license",
        LicenseClass::NonCommercial,
    ),
    ("h-research", "h-research", LicenseClass::NonCommercial),
    (
        "intel-research",
        "intel-research",
        LicenseClass::NonCommercial,
    ),
    ("apple-amlr", "apple-amlr", LicenseClass::NonCommercial),
    ("apple-ascl", "apple-ascl", LicenseClass::Unmodeled),
    ("lgpl-lr", "LGPLLR", LicenseClass::Unmodeled),
    ("openmdw-1.1", "openmdw-1.1", LicenseClass::Permissive),
    (
        "stabilityai-community",
        "LicenseRef-StabilityAI-Community",
        LicenseClass::UseRestricted,
    ),
    (
        "stabilityai-nc-research-community",
        "LicenseRef-StabilityAI-NC-Research-Community",
        LicenseClass::NonCommercial,
    ),
    (
        "thestack-tou",
        "LicenseRef-TheStack-ToU",
        LicenseClass::StackTerms,
    ),
    (
        "commoncrawl-tou",
        "LicenseRef-CommonCrawl-ToU",
        LicenseClass::SiteTerms,
    ),
    // Each paper has its own license, and nobody recorded which.
    (
        "arxiv-mixed",
        "LicenseRef-arXiv-mixed",
        LicenseClass::Unknown,
    ),
];

/// Words in a name that give its terms away. Only classes that can't give a good verdict may
/// stand here.
const TELLTALES: &[(&str, LicenseClass)] = &[
    ("noncommercial", LicenseClass::NonCommercial),
    ("non-commercial", LicenseClass::NonCommercial),
    ("-nc-", LicenseClass::NonCommercial),
    ("openrail", LicenseClass::UseRestricted),
    ("-rail-", LicenseClass::UseRestricted),
    ("llama", LicenseClass::UseRestricted),
    ("gemma", LicenseClass::UseRestricted),
];

/// What kind of terms the SPDX licenses have; the first prefix that fits decides. Names ending in
/// `=` stand for themselves alone.
const CLASSES: &[(&str, LicenseClass)] = &[
    ("CC0-1.0=", LicenseClass::PublicDomain),
    ("PDDL-1.0=", LicenseClass::PublicDomain),
    ("CC-PDDC=", LicenseClass::PublicDomain),
    ("CC-PDM-1.0=", LicenseClass::PublicDomain),
    ("Unlicense=", LicenseClass::PublicDomain),
    ("0BSD=", LicenseClass::PublicDomain),
    ("MIT-0=", LicenseClass::PublicDomain),
    ("WTFPL=", LicenseClass::PublicDomain),
    ("MIT=", LicenseClass::Permissive),
    ("MIT-CMU=", LicenseClass::Permissive),
    ("BSD-1-Clause=", LicenseClass::Permissive),
    ("BSD-2-Clause=", LicenseClass::Permissive),
    ("BSD-2-Clause-Patent=", LicenseClass::Permissive),
    ("BSD-3-Clause=", LicenseClass::Permissive),
    ("BSD-3-Clause-Clear=", LicenseClass::Permissive),
    ("BSL-1.0=", LicenseClass::Permissive),
    ("ISC=", LicenseClass::Permissive),
    ("NCSA=", LicenseClass::Permissive),
    ("OpenMDW-1.0=", LicenseClass::Permissive),
    ("PostgreSQL=", LicenseClass::Permissive),
    ("X11=", LicenseClass::Permissive),
    ("Zlib=", LicenseClass::Permissive),
    ("Apache-2.0=", LicenseClass::Apache),
    ("ECL-2.0=", LicenseClass::Apache),
    ("CC-BY-SA-", LicenseClass::ShareAlike),
    ("CC-BY-NC-ND-", LicenseClass::NoDerivatives),
    ("CC-BY-ND-", LicenseClass::NoDerivatives),
    ("CC-BY-NC-", LicenseClass::NonCommercial),
    ("CC-BY-", LicenseClass::Attribution),
    ("CDLA-Permissive-", LicenseClass::Attribution),
    ("etalab-2.0=", LicenseClass::Attribution),
    ("OGL-UK-3.0=", LicenseClass::Attribution),
    ("ODC-By-1.0=", LicenseClass::DatabaseAttribution),
    ("ODbL-1.0=", LicenseClass::DatabaseShareAlike),
    ("LAL-", LicenseClass::FreeArt),
    ("AGPL-", LicenseClass::StrongCopyleft),
    ("GPL-", LicenseClass::StrongCopyleft),
    ("GFDL-", LicenseClass::StrongCopyleft),
    ("OSL-", LicenseClass::StrongCopyleft),
    ("LGPL-", LicenseClass::WeakCopyleft),
    ("MPL-", LicenseClass::WeakCopyleft),
    ("EPL-", LicenseClass::WeakCopyleft),
    ("EUPL-", LicenseClass::WeakCopyleft),
    ("CDDL-", LicenseClass::WeakCopyleft),
    ("CDLA-Sharing-", LicenseClass::WeakCopyleft),
    ("MS-PL=", LicenseClass::WeakCopyleft),
    ("OFL-", LicenseClass::WeakCopyleft),
    ("C-UDA-1.0=", LicenseClass::UseRestricted),
    (
        "BSD-3-Clause-No-Military-License=",
        LicenseClass::UseRestricted,
    ),
    ("PolyForm-Noncommercial-", LicenseClass::NonCommercial),
];

/// Finds out which license a name stands for.
pub(crate) fn term(name: &str) -> LicenseTerm {
    let named = |id: &str, class| LicenseTerm {
        id: id.to_owned(),
        class,
        or_later: false,
        exception: None,
    };
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("licenseref-").unwrap_or(&lower);
    if let Some((_, id, class)) = NAMES.iter().find(|(known, ..)| *known == bare) {
        return named(id, *class);
    }
    let listed = |name: &str| {
        spdx_from_hub_id(name).or_else(|| {
            ::spdx::identifiers::LICENSES
                .iter()
                .find(|license| license.name.eq_ignore_ascii_case(name))
                .map(|license| license.name)
        })
    };
    if let Some(id) = listed(name) {
        let id = without_deprecation(id);
        return named(&id, class_of(&id));
    }
    if let Some(id) = name.strip_suffix('+').and_then(listed) {
        let id = without_deprecation(id);
        return LicenseTerm {
            or_later: true,
            ..named(&id, class_of(&id))
        };
    }
    let class = TELLTALES
        .iter()
        .find(|(word, _)| lower.contains(word))
        .map_or(LicenseClass::Unknown, |(_, class)| *class);
    named(name, class)
}

/// Returns the present name of a GNU license that has an old one.
fn without_deprecation(id: &str) -> String {
    let gnu = ["GPL-", "LGPL-", "AGPL-", "GFDL-"]
        .iter()
        .any(|prefix| id.starts_with(prefix));
    let plain = |id: &str| {
        id.rsplit('-')
            .next()
            .is_some_and(|last| last.chars().all(|c| c.is_ascii_digit() || c == '.'))
    };
    match id.strip_suffix('+') {
        Some(base) if gnu => format!("{base}-or-later"),
        None if gnu && plain(id) => format!("{id}-only"),
        _ => id.to_owned(),
    }
}

fn class_of(id: &str) -> LicenseClass {
    // The old names with an exception inside them are beyond the prefixes below.
    if id.contains("-with-") {
        return LicenseClass::Unmodeled;
    }
    CLASSES
        .iter()
        .find(|(pattern, _)| match pattern.strip_suffix('=') {
            Some(exact) => exact == id,
            None => id.starts_with(pattern),
        })
        .map_or(LicenseClass::Unmodeled, |(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_each_of_its_forms() {
        let check = |name: &str, id: &str, class: LicenseClass| {
            let found = term(name);
            assert_eq!((found.id.as_str(), found.class), (id, class), "{name}");
        };
        check("cc-by-sa-4.0", "CC-BY-SA-4.0", LicenseClass::ShareAlike);
        check("CC-BY-sa-2.5", "CC-BY-SA-2.5", LicenseClass::ShareAlike);
        check("odc-by", "ODC-By-1.0", LicenseClass::DatabaseAttribution);
        check("gpl-3.0", "GPL-3.0-only", LicenseClass::StrongCopyleft);
        check("GPL-2.0+", "GPL-2.0-or-later", LicenseClass::StrongCopyleft);
        check("openrail++", "openrail++", LicenseClass::UseRestricted);
        check(
            "LicenseRef-llama3.1",
            "llama3.1",
            LicenseClass::UseRestricted,
        );
        check(
            "LicenseRef-My-Llama",
            "LicenseRef-My-Llama",
            LicenseClass::UseRestricted,
        );
        check(
            "cc-by-nc-nd-4.0",
            "CC-BY-NC-ND-4.0",
            LicenseClass::NoDerivatives,
        );
        check(
            "CC-BY-NC-SA-4.0",
            "CC-BY-NC-SA-4.0",
            LicenseClass::NonCommercial,
        );
        check("other", "other", LicenseClass::Unknown);
        check("LicenseRef-mine", "LicenseRef-mine", LicenseClass::Unknown);
        check("Watcom-1.0", "Watcom-1.0", LicenseClass::Unmodeled);
    }

    #[test]
    fn an_expression_is_written_as_spdx_does() {
        let check = |text: &str, expected: &str| {
            let found = LicenseExpression::parse(text).map(|found| found.to_string());
            assert_eq!(found.as_deref(), Ok(expected), "{text}");
        };
        check(
            " mit  or (apache-2.0 and cc0-1.0) ",
            "MIT OR (Apache-2.0 AND CC0-1.0)",
        );
        check(
            "gpl-2.0+ with classpath-exception-2.0",
            "GPL-2.0-or-later WITH Classpath-exception-2.0",
        );
        check("MPL-2.0+", "MPL-2.0+");
        check("NOASSERTION", "NOASSERTION");
    }

    #[test]
    fn a_broken_expression_names_its_place() {
        let check = |text: &str, column: usize, word: &str| {
            let error = LicenseExpression::parse(text).expect_err(text);
            assert_eq!(error.column, column, "{error}");
            assert!(error.problem.contains(word), "{error}");
        };
        check("", 1, "nothing");
        check("MIT AND", 8, "expected");
        check("NOT ((( A", 5, "`(`");
        check("(MIT", 1, "never closed");
        check("MIT)", 4, "closes nothing");
        check("total garbage license", 7, "`garbage`");
        check("MIT WITH nothing", 10, "unknown exception");
        check("MIT/Apache-2.0", 4, "`/`");
        check("é", 1, "character");
        check("MIT AND é", 9, "character");
    }

    #[test]
    fn creative_commons_versions_are_read() {
        let check = |id: &str, expected| assert_eq!(term(id).cc_version(), expected, "{id}");
        check("CC-BY-SA-4.0", Some((4, 0, "")));
        check("CC-BY-SA-3.0-DE", Some((3, 0, "DE")));
        check("CC-PDDC", None);
        check("MIT", None);
    }
}
