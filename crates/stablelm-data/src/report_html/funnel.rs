//! One part a source: what each stage let pass, why documents were dropped, and how long they are.

use std::fmt::{self, Formatter};

use super::chart::{Bar, HistogramChart};
use super::text::{Bytes, Escaped, Grouped, Name, Percent, Rounded, share};
use crate::report::{Report, SourceReport, StageReport};

/// Reasons that show at once; the others are behind a switch.
const MAX_REASONS: usize = 10;
/// Subsets that are listed, the largest ones.
const MAX_SUBSETS: usize = 40;

pub(super) fn write(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    for (index, source) in report.sources.iter().enumerate() {
        writeln!(
            f,
            "<article id=source-{index} aria-labelledby=source-{index}-h>"
        )?;
        writeln!(
            f,
            "<h3 id=source-{index}-h>{} <span class=chip>{}</span></h3>",
            Escaped(&source.name),
            source.kind
        )?;
        write_facts(f, source)?;
        write_stages(f, index, source)?;
        write_reasons(f, index, source)?;
        write_histograms(f, index, source)?;
        write_subsets(f, index, source)?;
        f.write_str("</article>\n")?;
    }
    Ok(())
}

fn write_facts(f: &mut Formatter<'_>, source: &SourceReport) -> fmt::Result {
    let tokens = Rounded(source.tokens);
    write!(
        f,
        "<dl class=facts>\n<div><dt>Kept<dd>{} <span class=soft>of {}</span></div>\n<div><dt>Tokens<dd>{tokens}</div>\n",
        Grouped(source.documents_kept),
        Grouped(source.documents_in),
    )?;
    for (split, counts) in &source.splits {
        writeln!(
            f,
            "<div><dt>Split <i>{split}</i><dd>{} <span class=soft>{} tokens</span></div>",
            Grouped(counts.documents),
            Rounded(counts.tokens)
        )?;
    }
    for (count, what) in [
        (source.quarantined, "Rows in quarantine"),
        (source.unknown_subset_documents, "In unknown subsets"),
        (source.special_tokens_found, "Special tokens in texts"),
    ] {
        if count > 0 {
            writeln!(f, "<div><dt>{what}<dd>{}</div>", Grouped(count))?;
        }
    }
    f.write_str("</dl>\n")
}

fn write_stages(f: &mut Formatter<'_>, index: usize, source: &SourceReport) -> fmt::Result {
    write!(
        f,
        "<h4 id=funnel-{index}>Funnel</h4>\n<table class=funnel aria-labelledby=\"source-{index}-h funnel-{index}\">\n\
         <thead><tr><th scope=col>Stage<th scope=col class=n>Documents left\
         <th scope=col class=n>Dropped<th scope=col class=\"n wide\">Text left</thead>\n<tbody>\n"
    )?;
    let (documents, bytes) = (source.documents_in, source.bytes_in);
    for stage in &source.stages {
        let dropped = stage.documents_in.saturating_sub(stage.documents_out);
        let left = Bytes(stage.bytes_out);
        let bar = Bar {
            track: share(stage.documents_in, documents),
            fill: share(stage.documents_out, documents),
            class: "kept",
        };
        writeln!(
            f,
            "<tr><th scope=row>{} <span class=\"soft narrow\">{left} left</span>{bar}\
             <td class=n>{} <span class=\"soft under\">{}</span>\
             <td class=n>{} <span class=\"soft under\">{}</span>\
             <td class=\"n wide\">{left} <span class=\"soft under\">{}</span>",
            Escaped(&stage.name),
            Grouped(stage.documents_out),
            Percent {
                part: stage.documents_out,
                whole: documents
            },
            Grouped(dropped),
            Percent {
                part: dropped,
                whole: stage.documents_in
            },
            Percent {
                part: stage.bytes_out,
                whole: bytes
            }
        )?;
    }
    f.write_str(
        "</tbody></table>\n<p class=note>Bars and shares of what is left are of all documents of the source; \
         shares of what is dropped are of those that came to the stage.</p>\n",
    )
}

/// A reason and the stage that gave it.
struct Reason<'r> {
    stage: &'r StageReport,
    name: &'r str,
    documents: u64,
}

fn write_reasons(f: &mut Formatter<'_>, index: usize, source: &SourceReport) -> fmt::Result {
    let reasons = source.stages.iter().flat_map(|stage| {
        let reasons = stage.reasons.iter();
        reasons.map(move |(name, documents)| Reason {
            stage,
            name,
            documents: *documents,
        })
    });
    let mut reasons: Vec<Reason<'_>> = reasons.collect();
    // The sort keeps equal counts in the order of stages and names.
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.documents));
    let Some(first) = reasons.first() else {
        return f.write_str("<p>No document was dropped.</p>\n");
    };
    let most = first.documents;
    writeln!(f, "<h4 id=reasons-{index}>Why documents were dropped</h4>")?;
    let (top, rest) = reasons.split_at(reasons.len().min(MAX_REASONS));
    let label = format!("source-{index}-h reasons-{index}");
    write_reason_table(f, top, &label, most, source.documents_in)?;
    if !rest.is_empty() {
        writeln!(f, "<details><summary>{} more reasons</summary>", rest.len())?;
        write_reason_table(f, rest, &label, most, source.documents_in)?;
        f.write_str("</details>\n")?;
    }
    Ok(())
}

fn write_reason_table(
    f: &mut Formatter<'_>,
    reasons: &[Reason<'_>],
    label: &str,
    most: u64,
    all: u64,
) -> fmt::Result {
    write!(
        f,
        "<table class=reasons aria-labelledby=\"{label}\">\n<thead><tr><th scope=col>Reason\
         <th scope=col class=wide>Stage<th scope=col class=n>Documents</thead>\n<tbody>\n"
    )?;
    for reason in reasons {
        let bar = Bar {
            track: 0.0,
            fill: share(reason.documents, most),
            class: "lost",
        };
        let stage = Escaped(&reason.stage.name);
        let name = Name(reason.name);
        let samples = reason.stage.samples.get(reason.name);
        match samples.filter(|samples| !samples.is_empty()) {
            None => write!(f, "<tr><th scope=row>{name}")?,
            Some(samples) => {
                write!(
                    f,
                    "<tr><th scope=row><details class=ids><summary>{name}</summary><p>The first documents:</p><ul>"
                )?;
                for sample in samples {
                    write!(f, "<li><code>{}</code>", Escaped(sample))?;
                }
                f.write_str("</ul></details>")?;
            }
        }
        write!(f, "<span class=\"soft narrow\">{stage}</span>{bar}")?;
        writeln!(
            f,
            "<td class=wide>{stage}<td class=n>{} <span class=\"soft under\">{}</span>",
            Grouped(reason.documents),
            Percent {
                part: reason.documents,
                whole: all
            }
        )?;
    }
    f.write_str("</tbody></table>\n")
}

fn write_histograms(f: &mut Formatter<'_>, index: usize, source: &SourceReport) -> fmt::Result {
    let charts = [
        (&source.tokens_histogram, "tokens"),
        (&source.characters_histogram, "characters"),
    ];
    if charts
        .iter()
        .all(|(histogram, _)| histogram.buckets.is_empty())
    {
        return Ok(());
    }
    f.write_str("<h4>Length of kept documents</h4>\n<div class=charts>\n")?;
    for (histogram, unit) in charts {
        let id = format!("{unit}-{index}");
        let chart = HistogramChart {
            histogram,
            unit,
            id,
        };
        write!(f, "{chart}")?;
    }
    f.write_str("</div>\n")
}

fn write_subsets(f: &mut Formatter<'_>, index: usize, source: &SourceReport) -> fmt::Result {
    if source.subsets.is_empty() {
        return Ok(());
    }
    let mut subsets: Vec<_> = source.subsets.iter().collect();
    subsets.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.documents_in));
    write!(
        f,
        "<details><summary id=subsets-{index}>{} subsets</summary>\n<table aria-labelledby=\"source-{index}-h subsets-{index}\">\n\
         <thead><tr><th scope=col>Subset<th scope=col class=\"n wide\">Documents in\
         <th scope=col class=n>Kept<th scope=col class=n>Tokens</thead>\n<tbody>\n",
        Grouped(subsets.len() as u64)
    )?;
    for (name, counts) in subsets.iter().take(MAX_SUBSETS) {
        writeln!(
            f,
            "<tr><th scope=row>{}<td class=\"n wide\">{}<td class=n>{} <span class=\"soft under\">{}</span><td class=n>{}",
            Escaped(name),
            Grouped(counts.documents_in),
            Grouped(counts.documents_kept),
            Percent {
                part: counts.documents_kept,
                whole: counts.documents_in
            },
            Rounded(counts.tokens)
        )?;
    }
    f.write_str("</tbody></table>\n")?;
    if subsets.len() > MAX_SUBSETS {
        writeln!(
            f,
            "<p class=note>The {MAX_SUBSETS} largest; <code>report.json</code> has all.</p>"
        )?;
    }
    f.write_str("</details>\n")
}
