//! A page of text as plain text, Markdown, HTML and JSON.
//!
//! Facts may come from files we did not write. Whatever is in them, HTML stays one document whose
//! text they are, and Markdown gets no tags from them; addresses in angle brackets become links.

use serde_json::{Value, json};

use crate::text::{Entry, Page, one_line};

/// The form of a notice or an attribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFormat {
    /// Plain text, as in `NOTICE`; for an attribution, the Markdown of `ATTRIBUTION.md`.
    Text,
    /// Markdown.
    Markdown,
    /// One HTML file that needs nothing else.
    Html,
    /// One JSON document: the title, and the lines of each section.
    Json,
}

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:48rem;\
    padding:0 1rem}pre{white-space:pre-wrap}table{border-collapse:collapse}\
    td,th{border:1px solid;padding:.2rem .5rem;text-align:left}.n{text-align:right}";

/// Returns a page in a form.
pub(crate) fn render(page: Page, format: PageFormat) -> String {
    match format {
        PageFormat::Text => page.finish(),
        PageFormat::Markdown => markdown(page),
        PageFormat::Html => html(&page),
        PageFormat::Json => json_text(&page),
    }
}

/// Returns Markdown text that holds no tags: `<` stays only around addresses.
pub(crate) fn without_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(address) = bracketed_address(from) {
            out.push_str(&from[..address.len() + 2]);
            rest = &from[address.len() + 2..];
        } else {
            out.push_str("&lt;");
            rest = &from[1..];
        }
    }
    out.push_str(rest);
    out
}

/// Returns the address that a text begins with in angle brackets.
fn bracketed_address(text: &str) -> Option<&str> {
    let (address, _) = text.strip_prefix('<')?.split_once('>')?;
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    let is_plain = address
        .chars()
        .all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '"' | '\'' | '`'));
    (is_web && is_plain).then_some(address)
}

fn markdown(page: Page) -> String {
    // A page with Markdown headings is Markdown already.
    if page
        .entries()
        .iter()
        .any(|entry| matches!(entry, Entry::Heading(..)))
    {
        return without_tags(&page.finish());
    }
    let mut out = String::new();
    let mut in_list = false;
    for entry in page.entries() {
        match entry {
            Entry::Underlined(title, mark) => {
                let level = if *mark == '=' { "#" } else { "##" };
                let gap = if out.is_empty() { "" } else { "\n" };
                out.push_str(&format!("{gap}{level} {}\n\n", without_tags(title)));
                in_list = false;
            }
            Entry::Line(line) => {
                let is_item = line.starts_with("- ") || line.starts_with("  ");
                let goes_on = is_item && in_list;
                if !goes_on && !out.is_empty() && !out.ends_with("\n\n") {
                    out.push('\n');
                }
                let line = without_tags(line);
                // A line that is no item must not become a heading or a quote.
                let escape = if line.starts_with(['#', '>', '=']) {
                    "\\"
                } else {
                    ""
                };
                out.push_str(&format!("{escape}{line}\n"));
                in_list = is_item;
            }
            Entry::Gap | Entry::Heading(..) | Entry::Table { .. } => {}
        }
    }
    out
}

fn html(page: &Page) -> String {
    let title = page.title();
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        escaped(&one_line(title))
    );
    let mut in_list = false;
    for entry in page.entries() {
        let item = match entry {
            Entry::Line(line) => line.strip_prefix("- "),
            _ => None,
        };
        let goes_on = matches!(entry, Entry::Line(line) if line.starts_with("  "));
        if in_list && item.is_none() && !goes_on {
            out.push_str("</li>\n</ul>\n");
            in_list = false;
        }
        match (entry, item) {
            (Entry::Line(_), Some(item)) => {
                out.push_str(if in_list { "</li>\n<li>" } else { "<ul>\n<li>" });
                out.push_str(&linked(item));
                in_list = true;
            }
            (Entry::Line(line), None) if in_list => {
                out.push_str(&format!("<br>\n{}", linked(line.trim_start())));
            }
            (entry, _) => out.push_str(&block(entry)),
        }
    }
    if in_list {
        out.push_str("</li>\n</ul>\n");
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn block(entry: &Entry) -> String {
    match entry {
        Entry::Gap => String::new(),
        Entry::Line(line) if line.is_empty() => String::new(),
        Entry::Line(line) if line.contains('\n') => format!("<pre>{}</pre>\n", linked(line)),
        Entry::Line(line) => format!("<p>{}</p>\n", linked(line)),
        Entry::Underlined(title, mark) => {
            let level = if *mark == '=' { 1 } else { 2 };
            format!("<h{level}>{}</h{level}>\n", escaped(title))
        }
        Entry::Heading(level, title) => format!("<h{level}>{}</h{level}>\n", escaped(title)),
        Entry::Table { head, rows } => {
            let class = |is_number: bool| if is_number { " class=\"n\"" } else { "" };
            let mut out = "<table>\n<tr>".to_owned();
            for (name, is_number) in head {
                out.push_str(&format!("<th{}>{}</th>", class(*is_number), escaped(name)));
            }
            out.push_str("</tr>\n");
            for row in rows {
                out.push_str("<tr>");
                for (cell, (_, is_number)) in row.iter().zip(head) {
                    let cell = linked(&one_line(cell));
                    out.push_str(&format!("<td{}>{cell}</td>", class(*is_number)));
                }
                out.push_str("</tr>\n");
            }
            out.push_str("</table>\n");
            out
        }
    }
}

/// Returns text for HTML, with links where it has addresses in angle brackets.
fn linked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at(at);
        out.push_str(&escaped(before));
        if let Some(address) = bracketed_address(from) {
            let shown = escaped(address);
            out.push_str(&format!("&lt;<a href=\"{shown}\">{shown}</a>&gt;"));
            rest = &from[address.len() + 2..];
        } else {
            out.push_str("&lt;");
            rest = &from[1..];
        }
    }
    out.push_str(&escaped(rest));
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // HTML has no way to write most control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn json_text(page: &Page) -> String {
    let mut sections: Vec<(Value, Vec<Value>)> = vec![(Value::Null, Vec::new())];
    for (index, entry) in page.entries().iter().enumerate() {
        let section = sections.last_mut().expect("it starts with one section");
        match entry {
            Entry::Gap => {}
            Entry::Line(line) if line.is_empty() => {}
            Entry::Line(line) => section.1.push(json!(line)),
            Entry::Underlined(_, _) | Entry::Heading(..) if index == 0 => {}
            Entry::Underlined(title, _) | Entry::Heading(_, title) => {
                sections.push((json!(title), Vec::new()));
            }
            Entry::Table { head, rows } => {
                for row in rows {
                    let fields = head
                        .iter()
                        .zip(row)
                        .map(|((name, _), cell)| (name.to_lowercase(), json!(cell)));
                    section.1.push(Value::Object(fields.collect()));
                }
            }
        }
    }
    let sections: Vec<Value> = sections
        .into_iter()
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(heading, lines)| json!({"heading": heading, "lines": lines}))
        .collect();
    let document = json!({"title": page.title(), "sections": sections});
    let mut text = serde_json::to_string_pretty(&document).expect("a JSON value always prints");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_keep_their_brackets() {
        let check = |text: &str, expected: &str| assert_eq!(without_tags(text), expected);
        check("see <https://a.b/c>.", "see <https://a.b/c>.");
        check("<script>x</script>", "&lt;script>x&lt;/script>");
        check("a < b <", "a &lt; b &lt;");
        check("<https://a b>", "&lt;https://a b>");
    }

    #[test]
    fn html_links_addresses_and_escapes_the_rest() {
        assert_eq!(
            linked("<https://a/?x=1&y> & \"<b>\""),
            "&lt;<a href=\"https://a/?x=1&amp;y\">https://a/?x=1&amp;y</a>&gt; &amp; \
             &quot;&lt;b&gt;&quot;"
        );
    }

    #[test]
    fn items_become_lists_and_remarks_stay_in_them() {
        let mut page = Page::default();
        page.underlined("T", '=');
        page.line("- one");
        page.line("  more");
        page.line("- two");
        page.line("end");
        let html = render(page, PageFormat::Html);
        assert!(
            html.contains("<ul>\n<li>one<br>\nmore</li>\n<li>two</li>\n</ul>\n<p>end</p>\n"),
            "{html}"
        );
    }
}
