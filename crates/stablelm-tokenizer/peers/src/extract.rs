//! Text out of files: unpacked, without markup, and `None` where there is none to be had.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use crate::sources::Format;

/// Returns the text of the file that is `position`th of its source.
pub(crate) fn text(bytes: Vec<u8>, format: Format, position: usize) -> Option<String> {
    let bytes = if bytes.starts_with(&[0x1F, 0x8B]) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(bytes.as_slice())
            .read_to_end(&mut unpacked)
            .ok()?;
        unpacked
    } else {
        bytes
    };
    if let Format::Catalog = format {
        return catalog(&bytes);
    }
    // One dictionary has a few bytes that are no UTF-8.
    let text = String::from_utf8_lossy(&bytes).replace(char::REPLACEMENT_CHARACTER, "");
    Some(match format {
        Format::Markup => without_tags(&text),
        Format::Pages if !position.is_multiple_of(12) => without_tags(&text),
        Format::Manual => without_requests(&text),
        Format::Plain | Format::Pages | Format::Catalog => text,
    })
}

/// Returns the text of HTML or XML: no tags, comments, scripts or styles, the common references
/// resolved, and no more than one empty line in a row.
fn without_tags(markup: &str) -> String {
    let mut text = String::with_capacity(markup.len() / 2);
    let mut rest = markup;
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = [
            ("<!--", "-->"),
            ("<script", "</script>"),
            ("<style", "</style>"),
        ]
        .into_iter()
        .find(|(opening, _)| rest.starts_with(opening))
        .map_or(">", |(_, closing)| closing);
        rest = rest.find(end).map_or("", |at| &rest[at + end.len()..]);
    }
    text.push_str(rest);
    let text = [
        ("&nbsp;", " "),
        ("&#160;", " "),
        ("&#8217;", "’"),
        ("&#8212;", "—"),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&quot;", "\""),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ]
    .into_iter()
    .fold(text, |text, (reference, character)| {
        text.replace(reference, character)
    });
    without_empty_lines(&text)
}

fn without_empty_lines(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut empty = 1;
    for line in text.lines().map(str::trim_end) {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Returns the text of a manual page: comments and bare requests gone, arguments of the others kept.
fn without_requests(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    for line in page.lines() {
        let line = match line.strip_prefix(['.', '\'']) {
            Some(request) if request.starts_with('\\') => continue,
            Some(request) => request.split_once(' ').map_or("", |(_, rest)| rest),
            None => line,
        };
        text.push_str(line);
        text.push('\n');
    }
    let text = ["\\fB", "\\fI", "\\fR", "\\fP", "\\&", "\\,", "\\/"]
        .into_iter()
        .fold(text, |text, escape| text.replace(escape, ""));
    without_empty_lines(&text.replace("\\-", "-"))
}

/// Returns the translations of a compiled message catalog, one after the other.
fn catalog(bytes: &[u8]) -> Option<String> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let (count, table) = (number(8)?, number(16)?);
    let mut text = String::new();
    // The first entry is the header.
    for entry in 1..count {
        let (length, at) = (number(table + 8 * entry)?, number(table + 8 * entry + 4)?);
        let message = std::str::from_utf8(bytes.get(at..at.checked_add(length)?)?).ok()?;
        text.push_str(&message.replace('\0', "\n"));
        text.push('\n');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_scripts_and_references_go() {
        assert_eq!(
            without_tags("<p>a &amp;lt; b</p>\n\n\n<script>1 < 2</script><!-- > -->c<br"),
            "a &lt; b\n\nc\n"
        );
    }

    #[test]
    fn requests_go_and_their_arguments_stay() {
        assert_eq!(
            without_requests(".TH LS 1\n.\\\" no\n\\fB\\-a\\fR all\n.PP\n.B bold text\n"),
            "LS 1\n-a all\n\nbold text\n"
        );
    }
}
