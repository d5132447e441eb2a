//! How much of an HTML file a reader sees.
//!
//! After `filter_html` of bigcode-dataset, which asks `BeautifulSoup` with Python's `html.parser` for the
//! text without scripts and styles. One pass of our own over the file: tags, comments and
//! declarations count nothing, a character reference counts one character, white space between tags
//! counts one, as `BeautifulSoup` makes one of it.

/// Characters outside tags, comments, declarations, scripts and styles.
pub(super) fn visible_characters(html: &str) -> u64 {
    let mut visible = 0;
    // The text between two pieces of markup, of which white space alone counts once.
    let mut start = 0;
    let mut from = 0;
    while let Some(at) = html[from..].find('<').map(|at| from + at) {
        from = match after_markup(&html[at..]) {
            Some(after) => {
                visible += text_characters(&html[start..at]);
                start = html.len() - after.len();
                start
            }
            // A lone `<` is text.
            None => at + 1,
        };
    }
    visible + text_characters(&html[start..])
}

/// What follows the tag, comment or declaration that starts here; `None` where none starts.
fn after_markup(markup: &str) -> Option<&str> {
    let inside = &markup[1..];
    if let Some(comment) = inside.strip_prefix("!--") {
        return Some(comment.split_once("-->").map_or("", |(_, after)| after));
    }
    let name_start = inside.strip_prefix('/').unwrap_or(inside);
    if inside.starts_with(['!', '?']) {
        return Some(inside.split_once('>').map_or("", |(_, after)| after));
    }
    if !name_start.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let after = &inside[tag_end(inside)..];
    if inside.starts_with('/') {
        return Some(after);
    }
    let name_end = inside.find(|c: char| !c.is_ascii_alphanumeric());
    let name = &inside[..name_end.unwrap_or(inside.len())];
    let is_hidden = ["script", "style"]
        .into_iter()
        .find(|hidden| name.eq_ignore_ascii_case(hidden));
    Some(is_hidden.map_or(after, |hidden| from_end_tag(after, hidden)))
}

/// Where the tag ends, behind its `>`; quoted values may hold one.
fn tag_end(tag: &str) -> usize {
    let mut quote = None;
    let mut before = '\0';
    for (at, c) in tag.char_indices() {
        match (quote, c) {
            (None, '>') => return at + 1,
            // A quote opens a value only where one is expected.
            (None, '"' | '\'') if before == '=' => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    tag.len()
}

/// The text from `</name` on.
fn from_end_tag<'h>(text: &'h str, name: &str) -> &'h str {
    let is_end = |at: usize| {
        let after = text.as_bytes().get(at + 2..at + 2 + name.len());
        after.is_some_and(|after| after.eq_ignore_ascii_case(name.as_bytes()))
    };
    let end = text
        .match_indices("</")
        .map(|(at, _)| at)
        .find(|&at| is_end(at));
    end.map_or("", |at| &text[at..])
}

/// Characters of plain text, with each character reference as one.
fn text_characters(text: &str) -> u64 {
    if text.bytes().all(|byte| b" \n\t\x0c\r".contains(&byte)) {
        return u64::from(!text.is_empty());
    }
    let mut count = 0;
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        count += rest[..at].chars().count() as u64 + 1;
        rest = &rest[at + 1..];
        let name = rest.strip_prefix('#').unwrap_or(rest);
        let end = name
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(name.len());
        if end > 0 && name[end..].starts_with(';') {
            rest = &name[end + 1..];
        }
    }
    count + rest.chars().count() as u64
}
