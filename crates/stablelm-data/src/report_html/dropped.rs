//! A look at documents that were dropped: the first of each stage and reason.

use std::fmt::{self, Formatter};

use super::text::{Escaped, Measured};
use crate::report::{DroppedSample, Report};

pub(super) fn write(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let mut any = false;
    for source in report
        .sources
        .iter()
        .filter(|source| !source.dropped.is_empty())
    {
        any = true;
        writeln!(
            f,
            "<details class=samples><summary><b>{}</b> <span class=soft>{} samples, the first of each stage and reason</span></summary>",
            Escaped(&source.name),
            source.dropped.len()
        )?;
        for sample in &source.dropped {
            write_sample(f, sample)?;
        }
        f.write_str("</details>\n")?;
    }
    if !any {
        f.write_str("<p>This report holds no samples.</p>\n")?;
    }
    f.write_str(
        "<p class=note>All dropped documents are in <code>dropped/</code>, a row each. What can not be seen in an \
         excerpt is spelled out, such as <code>⟨U+202E⟩</code>.</p>\n",
    )
}

fn write_sample(f: &mut Formatter<'_>, sample: &DroppedSample) -> fmt::Result {
    write!(
        f,
        "<article class=sample><p><span class=chip>{}</span> <b>{}</b>",
        Escaped(&sample.stage),
        Escaped(&sample.reason)
    )?;
    if let Some(value) = sample.value {
        write!(f, " <span class=soft>measured</span> {}", Measured(value))?;
    }
    if let Some(threshold) = sample.threshold {
        write!(f, " <span class=soft>limit</span> {}", Measured(threshold))?;
    }
    writeln!(f, "</p>\n<p><code>{}</code></p>", Escaped(&sample.id))?;
    if sample.excerpt.is_empty() {
        f.write_str("<p class=soft>The text is not shown.</p>")?;
    } else {
        // A line end right after the tag would be lost.
        write!(f, "<pre dir=auto>\n{}</pre>", Escaped(&sample.excerpt))?;
    }
    f.write_str("</article>\n")
}
