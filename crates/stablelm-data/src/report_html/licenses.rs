//! What is under which license.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Formatter};

use super::chart::Bar;
use super::text::{Escaped, Grouped, Percent, share};
use crate::report::Report;

const UNKNOWN: &str = "NOASSERTION";

/// What all sources hold under one license.
#[derive(Default)]
struct Holding<'r> {
    documents: u64,
    tokens: u64,
    sources: BTreeSet<&'r str>,
}

pub(super) fn write(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let mut licenses: BTreeMap<&str, Holding<'_>> = BTreeMap::new();
    for source in &report.sources {
        for (license, counts) in &source.licenses {
            let holding = licenses.entry(license).or_default();
            holding.documents += counts.documents;
            holding.tokens += counts.tokens;
            holding.sources.insert(&source.name);
        }
    }
    if licenses.is_empty() {
        return f.write_str("<p>This report names no licenses.</p>\n");
    }
    let all: u64 = licenses.values().map(|holding| holding.tokens).sum();
    if let Some(unknown) = licenses.get(UNKNOWN) {
        writeln!(
            f,
            "<p class=\"callout warn\"><b>⚠ {} documents have no stated license</b>, {} of all tokens. \
             Find out their terms before you publish what is trained on them.</p>",
            Grouped(unknown.documents),
            Percent {
                part: unknown.tokens,
                whole: all
            }
        )?;
    }
    let mut rows: Vec<_> = licenses.into_iter().collect();
    rows.sort_by_key(|(_, holding)| std::cmp::Reverse(holding.tokens));
    f.write_str(
        "<table aria-labelledby=licenses-h>\n<thead><tr><th scope=col>License, as SPDX expression\
         <th scope=col class=n>Documents<th scope=col class=n>Tokens</thead>\n<tbody>\n",
    )?;
    for (license, holding) in rows {
        let unknown = license == UNKNOWN;
        let bar = Bar {
            track: 0.0,
            fill: share(holding.tokens, all),
            class: if unknown { "lost" } else { "seen" },
        };
        let sources: Vec<&str> = holding.sources.into_iter().collect();
        writeln!(
            f,
            "<tr><th scope=row>{}<code>{}</code>{} <span class=\"soft under plain\">{}</span>{bar}\
             <td class=n>{}<td class=n>{} <span class=\"soft under\">{}</span>",
            if unknown {
                "<span class=warn>⚠ </span>"
            } else {
                ""
            },
            Escaped(license),
            if unknown {
                " <span class=warn>no license stated</span>"
            } else {
                ""
            },
            Escaped(&sources.join(", ")),
            Grouped(holding.documents),
            Grouped(holding.tokens),
            Percent {
                part: holding.tokens,
                whole: all
            }
        )?;
    }
    f.write_str(
        "</tbody></table>\n<p class=note><code>ATTRIBUTION.md</code> has the statements that these \
         licenses require; <code>tokens/*.documents.parquet</code> has the license of each document.</p>\n",
    )
}
