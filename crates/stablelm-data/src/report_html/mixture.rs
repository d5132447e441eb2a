//! What a training run sees of each source, and how often.

use std::fmt::{self, Formatter};

use serde_json::Value;

use super::chart::Bar;
use super::text::{Escaped, Grouped, Measured, Percent, Rounded, share};
use crate::report::{Mixture, Report};

pub(super) fn write(f: &mut Formatter<'_>, report: &Report, recipe: Option<&Value>) -> fmt::Result {
    let mixture = &report.mixture;
    if mixture.sources.is_empty() {
        return f.write_str("<p>No source has documents to train on.</p>\n");
    }
    let planned = recipe.is_some_and(|recipe| recipe["training_tokens"].is_u64());
    let why = if planned {
        "as the recipe plans"
    } else {
        "as the recipe's weights or epochs add up to; set <code>training_tokens</code> to plan another"
    };
    writeln!(
        f,
        "<p>A training run of <b>{}</b> tokens, {why}.</p>",
        Grouped(mixture.training_tokens)
    )?;
    write_warnings(f, mixture)?;
    write_table(f, mixture)
}

fn write_warnings(f: &mut Formatter<'_>, mixture: &Mixture) -> fmt::Result {
    let warned = || {
        let sources = mixture.sources.iter();
        sources.filter_map(|source| Some((&source.name, source.warning.as_ref()?)))
    };
    if warned().next().is_none() {
        return Ok(());
    }
    f.write_str("<ul class=\"callout warn\">\n")?;
    for (name, warning) in warned() {
        writeln!(f, "<li><b>⚠ {}</b>: {}.", Escaped(name), Escaped(warning))?;
    }
    f.write_str("</ul>\n")
}

fn write_table(f: &mut Formatter<'_>, mixture: &Mixture) -> fmt::Result {
    f.write_str(
        "<table aria-labelledby=mixture-h>\n<thead><tr><th scope=col>Source\
         <th scope=col class=n>Share<th scope=col class=n>Epochs\
         <th scope=col class=\"n wide\">Weight<th scope=col class=\"n wide\">Train tokens\
         <th scope=col class=\"n wide\">Tokens seen</thead>\n<tbody>\n",
    )?;
    let all: u64 = mixture
        .sources
        .iter()
        .map(|source| source.train_tokens)
        .sum();
    for source in &mixture.sources {
        let available = share(source.train_tokens, all);
        let bars = [(source.share, "seen"), (available, "held")].map(|(fill, class)| Bar {
            track: 0.0,
            fill,
            class,
        });
        let weight = Measured(source.weight);
        let (held, seen) = (Rounded(source.train_tokens), Rounded(source.tokens_seen));
        writeln!(
            f,
            "<tr><th scope=row>{} <span class=\"soft narrow\">weight {weight}, {held} tokens, {seen} seen</span>{}{}<td class=n>{:.1} % <span class=\"soft under\">{} of tokens</span>\
             <td class=n>{:.2}{}<td class=\"n wide\">{weight}<td class=\"n wide\">{held}<td class=\"n wide\">{seen}",
            Escaped(&source.name),
            bars[0],
            bars[1],
            source.share * 100.0,
            Percent {
                part: source.train_tokens,
                whole: all
            },
            source.epochs,
            if source.warning.is_some() {
                " <span class=\"warn under\">⚠ over 4</span>"
            } else {
                ""
            }
        )?;
    }
    f.write_str(
        "</tbody></table>\n<p class=note>Upper bar: share of the training run. Lower bar: share of all train tokens. \
         An upper bar that is longer means that the source is repeated more than others. \
         <code>neox.yml</code> holds the weights.</p>\n",
    )
}
