//! Replaces e-mail and IPv4 addresses, as datatrove 0.10.1's `PIIFormatter` does.
//!
//! Replacements are taken in turn. datatrove goes on through them from document to document, so that
//! what it writes depends on the order of documents; here each document starts with the first.

mod email;
mod ipv4;

use std::ops::Range;

use serde::Serialize;

use crate::document::Document;
use crate::filter::{Filter, Metrics, Outcome};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::words::Scratch;

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "pii";

/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "remove_emails",
    "remove_ips",
    "only_remove_public_ips",
    "email_replacement",
    "ip_replacement",
];

/// Which addresses are replaced by what, under datatrove's names. It drops nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pii {
    /// Whether e-mail addresses are replaced.
    pub remove_emails: bool,
    /// Whether IPv4 addresses are replaced.
    pub remove_ips: bool,
    /// Whether IPv4 addresses stay that are not of the public internet.
    pub only_remove_public_ips: bool,
    /// What e-mail addresses are replaced by, in turn.
    pub email_replacement: Vec<String>,
    /// What IPv4 addresses are replaced by, in turn.
    pub ip_replacement: Vec<String>,
}

impl Pii {
    /// datatrove's settings: addresses kept for examples, and IPv4 addresses that did not answer.
    pub fn published() -> Self {
        let emails = ["email@example.com", "firstname.lastname@example.org"];
        let ips = [
            "22.214.171.124",
            "126.96.36.199",
            "188.8.131.52",
            "184.108.40.206",
            "220.127.116.11",
            "18.104.22.168",
        ];
        Self {
            remove_emails: true,
            remove_ips: true,
            only_remove_public_ips: true,
            email_replacement: emails.map(str::to_owned).to_vec(),
            ip_replacement: ips.map(str::to_owned).to_vec(),
        }
    }

    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let published = Pii::published();
        let flag = |key, default| Ok(fields.bool(key)?.unwrap_or(default));
        let replacements = |key, default| match fields.strings(key)? {
            None => Ok(default),
            Some(list) if list.is_empty() => {
                Err(fields.wrong(key, "a list of one or more strings"))
            }
            Some(list) => Ok(list),
        };
        Ok(Self {
            remove_emails: flag("remove_emails", published.remove_emails)?,
            remove_ips: flag("remove_ips", published.remove_ips)?,
            only_remove_public_ips: flag(
                "only_remove_public_ips",
                published.only_remove_public_ips,
            )?,
            email_replacement: replacements("email_replacement", published.email_replacement)?,
            ip_replacement: replacements("ip_replacement", published.ip_replacement)?,
        })
    }
}

impl Filter for Pii {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, _: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let mut text = None;
        if self.remove_emails {
            let (found, new) = replace(&document.text, &self.email_replacement, email::find);
            metrics.note("emails", found);
            text = new;
        }
        if self.remove_ips {
            let only_public = self.only_remove_public_ips;
            let find = |text: &str, from| ipv4::find(text, from, only_public);
            let before = text.as_deref().unwrap_or(&document.text);
            let (found, new) = replace(before, &self.ip_replacement, find);
            metrics.note("ips", found);
            text = new.or(text);
        }
        // An address may be replaced by itself.
        match text {
            Some(text) if text != document.text => Outcome::Rewrite(text),
            _ => Outcome::Keep,
        }
    }
}

/// Replaces everything that is found, and counts it; no text where nothing is.
fn replace(
    text: &str,
    replacements: &[String],
    find: impl Fn(&str, usize) -> Option<Range<usize>>,
) -> (u64, Option<String>) {
    let mut new = String::new();
    let (mut count, mut copied) = (0, 0);
    let mut replacements = replacements.iter().cycle();
    while let Some(found) = find(text, copied) {
        new.push_str(&text[copied..found.start]);
        new.push_str(replacements.next().expect("a recipe lists one at least"));
        copied = found.end;
        count += 1;
    }
    if count == 0 {
        return (0, None);
    }
    new.push_str(&text[copied..]);
    (count, Some(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_with(filter: &Pii, text: &str, expected: &str) {
        let document = Document {
            text: text.to_owned(),
            ..Document::default()
        };
        let expected = if text == expected {
            Outcome::Keep
        } else {
            Outcome::Rewrite(expected.to_owned())
        };
        let found = filter.apply(&document, &mut Scratch::default(), &mut Metrics::off());
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn replacements_are_taken_in_turn() {
        let filter = Pii {
            email_replacement: vec!["A".to_owned(), "B".to_owned()],
            ip_replacement: vec!["I".to_owned()],
            ..Pii::published()
        };
        check_with(&filter, "nothing here", "nothing here");
        check_with(&filter, "a@b.c, d@e.f, g@h.i", "A, B, A");
        check_with(
            &filter,
            "8.8.8.8 of x@[8.8.8.8] and 10.0.0.1",
            "I of A and 10.0.0.1",
        );
        let filter = Pii {
            only_remove_public_ips: false,
            remove_emails: false,
            ..filter
        };
        check_with(&filter, "a@b.c 10.0.0.1", "a@b.c I");
    }

    #[test]
    fn an_address_replaced_by_itself_is_no_change() {
        check_with(&Pii::published(), "email@example.com", "email@example.com");
    }
}
