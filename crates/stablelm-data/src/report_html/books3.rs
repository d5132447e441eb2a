//! The proof that Books3 is out: what was looked for, what was found, and how to check again.

use std::collections::BTreeSet;
use std::fmt::{self, Formatter};

use super::text::{Escaped, Grouped};
use crate::report::Books3Report;

/// What each rule looks at.
const RULES: [(&str, &str); 4] = [
    (
        "subset_name",
        "The document's own source files it under Books3 or Bibliotik, in any spelling.",
    ),
    (
        "book_row",
        "A row of RedPajama's book subset has a title and nothing else, as only rows of Books3 do.",
    ),
    ("title", "The title is in the list of Books3 titles."),
    (
        "fingerprint",
        "The text shares long passages with a work of Books3, under whatever name it comes.",
    ),
];

pub(super) fn write(f: &mut Formatter<'_>, books3: &Books3Report) -> fmt::Result {
    let remaining = books3.remaining;
    if remaining == 0 {
        f.write_str(
            "<p class=\"callout good\"><b>✓ None left.</b> Every document was checked again while it was \
             written, and no rule matches any document in the token files.</p>\n",
        )?;
    } else {
        writeln!(
            f,
            "<p class=\"callout bad\"><b>✗ {} left.</b> So many documents in the token files match a rule. \
             Do not train on them.</p>",
            Grouped(remaining)
        )?;
    }
    write!(
        f,
        "<dl class=tiles>\n\
         <div><dt>Documents checked<dd>{}</div>\n<div><dt>Excluded<dd>{}</div>\n\
         <div><dt>In quarantine<dd>{}</div>\n<div><dt>Left<dd>{}</div>\n</dl>\n",
        Grouped(books3.documents_checked),
        Grouped(books3.documents_excluded),
        Grouped(books3.quarantined),
        Grouped(remaining)
    )?;
    write_rules(f, books3)?;
    write_lists(f, books3)
}

fn write_rules(f: &mut Formatter<'_>, books3: &Books3Report) -> fmt::Result {
    f.write_str(
        "<table aria-label=\"Rules\">\n<thead><tr><th scope=col>Rule\
         <th scope=col class=n>Excluded</thead>\n<tbody>\n",
    )?;
    let known = RULES.map(|(rule, _)| rule);
    let others = books3.by_rule.keys().map(String::as_str);
    let others: BTreeSet<&str> = others.filter(|rule| !known.contains(rule)).collect();
    for rule in known.into_iter().chain(others) {
        let meaning = RULES.iter().find(|(name, _)| *name == rule);
        writeln!(
            f,
            "<tr><th scope=row><code>{}</code> <span class=\"soft under plain\">{}</span><td class=n>{}",
            Escaped(rule),
            meaning.map_or("", |(_, meaning)| meaning),
            Grouped(books3.by_rule.get(rule).copied().unwrap_or(0))
        )?;
    }
    f.write_str("</tbody></table>\n")
}

fn write_lists(f: &mut Formatter<'_>, books3: &Books3Report) -> fmt::Result {
    if books3.titles + books3.fingerprints > 0 {
        writeln!(
            f,
            "<p>The lists hold {} titles and {} works. SHA-256 of both: <code>{}</code></p>",
            Grouped(books3.titles),
            Grouped(books3.fingerprints),
            Escaped(&books3.lists_sha256)
        )?;
    }
    f.write_str(
        "<p>Rows of which nobody can tell are kept out too, in <code>quarantine/</code>. \
         To check again, with hashes of all files: <code>stablelm data verify DIR</code>, where \
         <code>DIR</code> is the folder of this page.</p>\n",
    )
}
