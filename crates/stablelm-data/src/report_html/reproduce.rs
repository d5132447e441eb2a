//! What it takes to get the same bytes again.

use std::fmt::{self, Formatter};

use serde_json::Value;

use super::text::{Escaped, Grouped};
use crate::report::Report;

pub(super) fn write(
    f: &mut Formatter<'_>,
    report: &Report,
    recipe: Option<&Value>,
    run_hash: Option<&str>,
) -> fmt::Result {
    f.write_str("<dl class=pairs>\n")?;
    let mut pair = |name: &str, value: &str| {
        writeln!(
            f,
            "<div><dt>{name}<dd><code>{}</code></div>",
            Escaped(value)
        )
    };
    if let Some(run_hash) = run_hash {
        pair("Run hash", run_hash)?;
    }
    pair("Recipe", &report.name)?;
    pair("Seed", &report.seed.to_string())?;
    if let Some(recipe) = recipe {
        let tokenizer = |key: &str| recipe["tokenizer"][key].as_str().unwrap_or_default();
        pair("Tokenizer", tokenizer("source"))?;
        let policy = tokenizer("special_tokens_in_text");
        pair("Special tokens in texts", policy)?;
        if let Some(tokens) = recipe["training_tokens"].as_u64() {
            pair("Tokens to train on", &Grouped(tokens).to_string())?;
        }
    }
    f.write_str(
        "</dl>\n<p>The same recipe, tokenizer and inputs give the same bytes, whatever the number of threads. \
         <code>manifest.json</code> names every input and output file with its hash.</p>\n",
    )?;
    if let Some(recipe) = recipe {
        let json = format!("{recipe:#}");
        f.write_str("<details><summary>The recipe as resolved</summary>\n<pre>\n")?;
        for line in json.lines() {
            writeln!(f, "{}", Escaped(line))?;
        }
        f.write_str("</pre></details>\n")?;
    }
    Ok(())
}
