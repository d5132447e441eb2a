//! The headline numbers, where all documents went, and the sources side by side.

use std::fmt::{self, Formatter};

use super::chart::Bar;
use super::text::{Bytes, Escaped, Grouped, Percent, Rounded, share};
use crate::report::Report;

/// Stages with a segment of their own; the rest are together.
const MAX_STAGES: usize = 8;

pub(super) fn write(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    write_tiles(f, report)?;
    write_fates(f, report)?;
    write_sources(f, report)
}

fn write_tiles(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let (documents_in, kept) = (report.documents_in, report.documents_kept);
    let (bytes_in, bytes_kept) = (report.bytes_in, report.bytes_kept);
    let per_document = report.tokens.checked_div(kept).unwrap_or(0);
    let remaining = report.books3.remaining;
    let documents = Percent {
        part: kept,
        whole: documents_in,
    };
    let text = Percent {
        part: bytes_kept,
        whole: bytes_in,
    };
    writeln!(
        f,
        "<dl class=tiles>\n\
         <div><dt>Documents kept<dd>{}<dd class=soft>{documents} of {}</div>\n\
         <div><dt>Text kept<dd>{}<dd class=soft>{text} of {}</div>\n\
         <div><dt>Tokens<dd>{}<dd class=soft>{} a document on average</div>\n\
         <div class={}><dt>Books3 documents left<dd>{}<dd class=soft>{} excluded</div>\n</dl>",
        Rounded(kept),
        Rounded(documents_in),
        Bytes(bytes_kept),
        Bytes(bytes_in),
        Rounded(report.tokens),
        Grouped(per_document),
        if remaining == 0 { "good" } else { "bad" },
        Grouped(remaining),
        Rounded(report.books3.documents_excluded)
    )
}

/// What all sources lost at each stage, in the order in which stages first appear, and at the end
/// what was kept.
fn fates(report: &Report) -> Vec<(&str, u64)> {
    let mut fates: Vec<(&str, u64)> = Vec::new();
    for stage in report.sources.iter().flat_map(|source| &source.stages) {
        let lost = stage.documents_in.saturating_sub(stage.documents_out);
        match fates.iter_mut().find(|(name, _)| *name == stage.name) {
            Some((_, documents)) => *documents += lost,
            None => fates.push((&stage.name, lost)),
        }
    }
    fates.retain(|(_, lost)| *lost > 0);
    if fates.len() > MAX_STAGES {
        let mut by_size: Vec<u64> = fates.iter().map(|(_, lost)| *lost).collect();
        by_size.sort_unstable_by(|a, b| b.cmp(a));
        let least = by_size[MAX_STAGES - 1];
        let (large, small): (Vec<_>, Vec<_>) =
            fates.into_iter().partition(|(_, lost)| *lost >= least);
        fates = large;
        let rest = small.iter().map(|(_, lost)| lost).sum();
        if rest > 0 {
            fates.push(("other stages", rest));
        }
    }
    fates
}

fn write_fates(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let all = report.documents_in;
    if all == 0 {
        return f.write_str("<p>No documents came in.</p>\n");
    }
    let fates = fates(report);
    f.write_str(
        "<h3>Where the documents went</h3>\n\
         <svg class=fates viewBox=\"0 0 1000 36\" preserveAspectRatio=none aria-hidden=true>",
    )?;
    let mut x = 0.0;
    let mut segment = |f: &mut Formatter<'_>, class: &str, documents: u64| {
        let width = 1000.0 * share(documents, all);
        let gap = if width > 4.0 { 2.0 } else { 0.0 };
        let drawn = write!(
            f,
            "<rect class={class} x={x:.2} width={:.2} height=36 />",
            width - gap
        );
        x += width;
        drawn
    };
    segment(f, "kept", report.documents_kept)?;
    for (index, (_, lost)) in fates.iter().enumerate() {
        segment(f, &format!("lost{}", index % 4), *lost)?;
    }
    f.write_str("</svg>\n<ol class=fates-key>\n")?;
    let entry = |f: &mut Formatter<'_>, class: &str, name: &str, documents: u64| {
        let part = Percent {
            part: documents,
            whole: all,
        };
        writeln!(
            f,
            "<li><span class=\"swatch {class}\"></span><span class=name>{}</span> \
             <span class=n>{} <span class=soft>{part}</span></span>",
            Escaped(name),
            Grouped(documents)
        )
    };
    entry(f, "kept", "kept", report.documents_kept)?;
    for (index, (name, lost)) in fates.iter().enumerate() {
        let name = format!("dropped by {name}");
        entry(f, &format!("lost{}", index % 4), &name, *lost)?;
    }
    f.write_str("</ol>\n")
}

fn write_sources(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    f.write_str(
        "<h3 id=by-source>By source</h3>\n<table aria-labelledby=by-source>\n<thead><tr><th scope=col>Source\
         <th scope=col class=n>Documents in<th scope=col class=n>Kept\
         <th scope=col class=\"n wide\">Text kept<th scope=col class=n>Tokens</thead>\n<tbody>\n",
    )?;
    for (index, source) in report.sources.iter().enumerate() {
        let kept = source.documents_kept;
        let part = Percent {
            part: kept,
            whole: source.documents_in,
        };
        let bar = Bar {
            track: 1.0,
            fill: share(kept, source.documents_in),
            class: "kept",
        };
        writeln!(
            f,
            "<tr><th scope=row><a href=#source-{index}>{}</a> <span class=soft>{}</span>{bar}\
             <td class=n>{}<td class=n>{} <span class=\"soft under\">{part}</span>\
             <td class=\"n wide\">{}<td class=n>{} <span class=\"soft under\">{}</span>",
            Escaped(&source.name),
            source.kind,
            Grouped(source.documents_in),
            Grouped(kept),
            Bytes(source.bytes_kept),
            Rounded(source.tokens),
            Percent {
                part: source.tokens,
                whole: report.tokens
            }
        )?;
    }
    f.write_str("</tbody></table>\n")
}
