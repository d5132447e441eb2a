//! The report as one page that needs nothing else: no script, no font, no network.
//!
//! The page holds text of others, from names of sources to excerpts of dropped documents. All of it
//! goes through [`text::Escaped`], and the page's own policy forbids scripts and requests besides.
//! Nothing of the machine or the moment is in it, so equal reports give equal pages.

mod books3;
mod chart;
mod dropped;
mod funnel;
mod licenses;
mod mixture;
mod overview;
mod reproduce;
mod text;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use crate::report::Report;
use text::{Escaped, Grouped};

const STYLE: &str = include_str!("style.css");

/// Returns the page of a run; what the recipe, as its manifest has it, and the run's hash say is left
/// out without them.
pub(crate) fn render(report: &Report, recipe: Option<&Value>, run_hash: Option<&str>) -> String {
    Page {
        report,
        recipe,
        run_hash,
    }
    .to_string()
}

struct Page<'r> {
    report: &'r Report,
    recipe: Option<&'r Value>,
    run_hash: Option<&'r str>,
}

/// The parts of the page: the identifier that links point to, and the heading.
const PARTS: [(&str, &str); 7] = [
    ("overview", "Overview"),
    ("sources", "Sources"),
    ("mixture", "Mixture"),
    ("books3", "Books3"),
    ("licenses", "Licenses"),
    ("dropped", "Dropped documents"),
    ("reproduce", "Reproduce"),
];

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.report;
        write_head(f, report)?;
        for (id, heading) in PARTS {
            writeln!(f, "<section id={id} aria-labelledby={id}-h>")?;
            writeln!(f, "<h2 id={id}-h>{heading}</h2>")?;
            match id {
                "overview" => overview::write(f, report)?,
                "sources" => funnel::write(f, report)?,
                "mixture" => mixture::write(f, report, self.recipe)?,
                "books3" => books3::write(f, &report.books3)?,
                "licenses" => licenses::write(f, report)?,
                "dropped" => dropped::write(f, report)?,
                _ => reproduce::write(f, report, self.recipe, self.run_hash)?,
            }
            f.write_str("</section>\n")?;
        }
        f.write_str("</main>\n</body>\n</html>\n")
    }
}

fn write_head(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let name = Escaped(&report.name);
    write!(
        f,
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <meta name=color-scheme content=\"light dark\">\n\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{name} – data report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<p class=eyebrow>Training data report</p>\n<h1>{name}</h1>\n<p class=lead>"
    )?;
    let sources = report.sources.len();
    writeln!(
        f,
        "{} of {} documents from {sources} {} were kept.</p>",
        Grouped(report.documents_kept),
        Grouped(report.documents_in),
        if sources == 1 { "source" } else { "sources" }
    )?;
    f.write_str("<nav aria-label=\"Parts of this page\"><ul>")?;
    for (id, heading) in PARTS {
        write!(f, "<li><a href=#{id}>{heading}</a>")?;
    }
    f.write_str("</ul></nav>\n</header>\n<main>\n")
}
