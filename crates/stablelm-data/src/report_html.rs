//! The report as one page that needs nothing else: tables, and bars drawn as SVG.

use std::fmt::{self, Display, Formatter};

use crate::report::{Report, SourceReport, StageReport};

/// Width of the longest bar, in pixels.
const BAR_WIDTH: f64 = 320.0;

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { border-bottom: 1px solid #8886; padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
rect.in { fill: #8884; } rect.out { fill: #2a7de1; }
small { color: #888; }
</style>
"#;

/// The whole page.
pub(crate) fn render(report: &Report) -> String {
    Page(report).to_string()
}

struct Page<'r>(&'r Report);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let name = Escaped(&report.name);
        write!(
            f,
            "{HEAD}<title>{name}</title></head><body>\n<h1>{name}</h1>\n"
        )?;
        writeln!(
            f,
            "<p>{} of {} documents kept, {} tokens, seed {}.</p>",
            Grouped(report.documents_kept),
            Grouped(report.documents_in),
            Grouped(report.tokens),
            report.seed
        )?;
        write_books3(f, report)?;
        for source in &report.sources {
            write_source(f, source)?;
        }
        write_mixture(f, report)?;
        f.write_str("</body></html>\n")
    }
}

fn write_books3(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let books3 = &report.books3;
    writeln!(
        f,
        "<h2>Books3</h2>\n<p>{} documents excluded, {} quarantined, {} remaining.</p>",
        Grouped(books3.documents_excluded),
        Grouped(books3.quarantined),
        Grouped(books3.remaining)
    )
}

fn write_source(f: &mut Formatter<'_>, source: &SourceReport) -> fmt::Result {
    writeln!(
        f,
        "<h2>{} <small>{}</small></h2>\n<p>{} of {} documents kept, {} tokens, {} rows in quarantine.</p>",
        Escaped(&source.name),
        source.kind,
        Grouped(source.documents_kept),
        Grouped(source.documents_in),
        Grouped(source.tokens),
        Grouped(source.quarantined)
    )?;
    f.write_str("<table><tr><th>stage<th class=n>in<th class=n>out<th>share<th>dropped for\n")?;
    for stage in &source.stages {
        write_stage(f, stage, source.documents_in)?;
    }
    f.write_str("</table>\n")?;
    f.write_str("<table><tr><th>split<th class=n>documents<th class=n>tokens\n")?;
    for (split, counts) in &source.splits {
        let (documents, tokens) = (Grouped(counts.documents), Grouped(counts.tokens));
        writeln!(
            f,
            "<tr><td>{split}<td class=n>{documents}<td class=n>{tokens}"
        )?;
    }
    f.write_str("</table>\n")
}

fn write_stage(f: &mut Formatter<'_>, stage: &StageReport, all: u64) -> fmt::Result {
    let width = |documents: u64| BAR_WIDTH * documents as f64 / all.max(1) as f64;
    write!(
        f,
        "<tr><td>{}<td class=n>{}<td class=n>{}<td><svg width=\"{BAR_WIDTH}\" height=\"14\" role=\"img\" \
         aria-label=\"{2} of {1}\"><rect class=\"in\" width=\"{:.1}\" height=\"14\"/>\
         <rect class=\"out\" width=\"{:.1}\" height=\"14\"/></svg><td>",
        Escaped(&stage.name),
        Grouped(stage.documents_in),
        Grouped(stage.documents_out),
        width(stage.documents_in),
        width(stage.documents_out)
    )?;
    for (reason, documents) in &stage.reasons {
        let samples = stage.samples.get(reason).map(|samples| samples.join(", "));
        write!(
            f,
            "<details><summary>{} {}</summary><small>{}</small></details>",
            Grouped(*documents),
            Escaped(reason),
            Escaped(&samples.unwrap_or_default())
        )?;
    }
    f.write_str("\n")
}

fn write_mixture(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    writeln!(
        f,
        "<h2>Mixture</h2>\n<p>For a training run of {} tokens.</p>\n\
         <table><tr><th>source<th class=n>weight<th class=n>share<th class=n>train tokens<th class=n>epochs",
        Grouped(report.mixture.training_tokens)
    )?;
    for source in &report.mixture.sources {
        writeln!(
            f,
            "<tr><td>{}<td class=n>{}<td class=n>{:.1} %<td class=n>{}<td class=n>{:.2}",
            Escaped(&source.name),
            source.weight,
            source.share * 100.0,
            Grouped(source.train_tokens),
            source.epochs
        )?;
    }
    f.write_str("</table>\n")
}

/// Text of others, harmless in a page.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                _ => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// A count with a comma before each three digits.
struct Grouped(u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (count, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(Grouped(count).to_string(), expected);
        }
    }

    #[test]
    fn names_can_not_break_the_page() {
        assert_eq!(
            Escaped("<b a=\"&\">").to_string(),
            "&lt;b a=&quot;&amp;&quot;&gt;"
        );
    }
}
