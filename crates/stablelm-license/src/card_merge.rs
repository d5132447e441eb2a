//! A card written again beside what people added to it.
//!
//! The generated part of a card stands between two marks. Everything outside of them is kept, and
//! so are front-matter keys that are not ours, in their order and as they are written. Of our own
//! keys a person's choice of `library_name`, `pipeline_tag`, `pretty_name` and the like wins, lists
//! of tags and languages are joined, and the rest is written again from the ledger.

use crate::render::without_tags;

/// The line before the generated part of a card.
pub const CARD_BEGIN: &str = "<!-- stablelm:begin generated -->";

/// The line after the generated part of a card.
pub const CARD_END: &str = "<!-- stablelm:end generated -->";

/// Keys that a person may set to something else than we would.
const CHOSEN: [&str; 6] = [
    "library_name",
    "pipeline_tag",
    "pretty_name",
    "task_categories",
    "configs",
    "annotations_creators",
];

/// Keys whose items are joined.
const JOINED: [&str; 2] = ["tags", "language"];

/// Keys that are taken out where the ledger no longer has them, because they say how the material
/// is licensed.
const LICENSE_KEYS: [&str; 3] = ["license", "license_name", "license_link"];

/// Returns the generated part of a card between its marks. No fact in it can end it early.
pub(crate) fn marked(body: &str) -> String {
    let mut out = format!("{CARD_BEGIN}\n");
    let mut is_code = false;
    for line in body.split_inclusive('\n') {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            out.push_str(&line.replace("<!--", "< !--"));
        } else {
            out.push_str(&without_tags(line));
        }
    }
    out.push_str(&format!("{CARD_END}\n"));
    out
}

/// Returns a new card that keeps what people wrote in an old one.
///
/// An old card without marks is all theirs: its text follows the generated part.
///
/// ```
/// use stablelm_license::{Ledger, ModelFacts, merged_card, model_card};
///
/// let new = model_card(&Ledger::for_unknown("x"), &ModelFacts::default());
/// let edited = format!("{new}\n## How we use it\n\nWith care.\n").replace("tags:", "widget: x\ntags:");
/// let again = merged_card(&new, &edited);
/// assert_eq!(again, edited);
/// ```
pub fn merged_card(new: &str, old: &str) -> String {
    let (new_header, new_body) = split(new);
    let (old_header, old_body) = split(old);
    let header = merged_header(&blocks(new_header), &blocks(old_header));
    format!("---\n{header}---\n{}", merged_body(new_body, old_body))
}

fn merged_body(new: &str, old: &str) -> String {
    let before_and_after = find_mark(old, CARD_BEGIN).and_then(|(before, rest)| {
        let (_, after) = find_mark(rest, CARD_END)?;
        Some((before, after))
    });
    match before_and_after {
        Some((before, after)) => format!("{before}{new}{after}"),
        None if old.trim().is_empty() => new.to_owned(),
        None => {
            let gap = if old.starts_with('\n') { "" } else { "\n" };
            let end = if old.ends_with('\n') { "" } else { "\n" };
            format!("{new}{gap}{old}{end}")
        }
    }
}

/// Splits a text around the first line that is a mark.
fn find_mark<'t>(text: &'t str, mark: &str) -> Option<(&'t str, &'t str)> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        if line.trim() == mark {
            return Some((&text[..start], &text[end..]));
        }
        start = end;
    }
    None
}

/// Splits a card into the lines of its front matter and the text after it.
fn split(card: &str) -> (&str, &str) {
    let card = card.strip_prefix('\u{feff}').unwrap_or(card);
    let first = card.split_inclusive('\n').next().unwrap_or_default();
    if first.trim_end() != "---" {
        return ("", card);
    }
    let mut end = first.len();
    for line in card[first.len()..].split_inclusive('\n') {
        let start = end;
        end += line.len();
        if matches!(line.trim_end(), "---" | "...") {
            return (&card[first.len()..start], &card[end..]);
        }
    }
    ("", card)
}

/// A top-level key of front matter with all lines that belong to it; comments before the first
/// key have none.
struct Block<'t> {
    key: Option<&'t str>,
    lines: Vec<&'t str>,
}

fn blocks(header: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for line in header.lines() {
        let line = line.trim_end();
        match (key_of(line), blocks.last_mut()) {
            (Some(key), _) => blocks.push(Block {
                key: Some(key),
                lines: vec![line],
            }),
            (None, Some(block)) => block.lines.push(line),
            (None, None) => blocks.push(Block {
                key: None,
                lines: vec![line],
            }),
        }
    }
    blocks
}

/// Returns the key that a line begins with at the margin.
fn key_of(line: &str) -> Option<&str> {
    let (key, rest) = line.split_once(':')?;
    let is_key = !key.is_empty()
        && (rest.is_empty() || rest.starts_with(' '))
        && !key.starts_with([' ', '\t', '#', '-', ']', '}', '{', '[', ','])
        && !key.contains(" #");
    is_key.then(|| key.trim_matches(['"', '\'']))
}

fn merged_header(new: &[Block<'_>], old: &[Block<'_>]) -> String {
    let mut out = String::new();
    let mut write = |block: &[&str]| {
        for line in block {
            out.push_str(line);
            out.push('\n');
        }
    };
    let find = |blocks: &[Block<'_>], key: Option<&str>| {
        blocks
            .iter()
            .position(|block| block.key == key && key.is_some())
    };
    // Nothing is known: what a person said about the license stays.
    let is_unknown = new
        .iter()
        .any(|block| block.lines.first() == Some(&"license: unknown"));
    let keeps_license = is_unknown && find(old, Some("license")).is_some();
    for block in old {
        let key = block.key.unwrap_or_default();
        let is_license = LICENSE_KEYS.contains(&key);
        match find(new, block.key).map(|at| &new[at]) {
            _ if is_license && keeps_license => write(&block.lines),
            Some(_) if CHOSEN.contains(&key) => write(&block.lines),
            Some(ours) if JOINED.contains(&key) => write(&joined(block, ours)),
            Some(ours) => write(&ours.lines),
            None if is_license => {}
            None => write(&block.lines),
        }
        // The parts of a license stay together.
        if key == "license" && !keeps_license {
            for part in ["license_name", "license_link"] {
                if find(old, Some(part)).is_none()
                    && let Some(at) = find(new, Some(part))
                {
                    write(&new[at].lines);
                }
            }
        }
    }
    let has_license = find(old, Some("license")).is_some();
    for block in new {
        let key = block.key.unwrap_or_default();
        let is_written =
            find(old, block.key).is_some() || (LICENSE_KEYS.contains(&key) && has_license);
        if !is_written {
            write(&block.lines);
        }
    }
    out
}

/// Returns their list with the items of ours that it lacks, or theirs where it is no plain list.
fn joined<'t>(theirs: &Block<'t>, ours: &Block<'t>) -> Vec<&'t str> {
    let mut lines = theirs.lines.clone();
    let is_plain = lines.first().is_some_and(|line| line.ends_with(':'));
    if !is_plain {
        return lines;
    }
    let item = |line: &str| {
        let item = line.trim().strip_prefix('-')?.trim();
        Some(item.trim_matches(['"', '\'']).to_owned())
    };
    let known: Vec<String> = lines.iter().filter_map(|line| item(line)).collect();
    let indented = lines
        .iter()
        .skip(1)
        .any(|line| line.starts_with(' ') && line.trim_start().starts_with('-'));
    if indented {
        return lines;
    }
    for line in ours.lines.iter().skip(1) {
        if item(line).is_some_and(|found| !known.contains(&found)) {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "---\nlicense: cc-by-sa-4.0\nlanguage:\n- en\nlibrary_name: transformers\ntags:\n- stablelm\n---\n\
        <!-- stablelm:begin generated -->\n# X\n<!-- stablelm:end generated -->\n";

    #[test]
    fn keys_that_are_not_ours_stay_in_their_order() {
        let old = "---\n# mine\nzebra: 1\nlicense: mit\nextra_gated_fields:\n  Name: text\nlanguage:\n- de\n\
            tags:\n- mine\nlibrary_name: candle\ndescription: |\n  license: not this\n\n  more\n---\nhello\n";
        assert_eq!(
            merged_card(NEW, old),
            "---\n# mine\nzebra: 1\nlicense: cc-by-sa-4.0\nextra_gated_fields:\n  Name: text\nlanguage:\n- de\n- en\n\
             tags:\n- mine\n- stablelm\nlibrary_name: candle\ndescription: |\n  license: not this\n\n  more\n---\n\
             <!-- stablelm:begin generated -->\n# X\n<!-- stablelm:end generated -->\n\nhello\n"
        );
    }

    #[test]
    fn prose_on_both_sides_of_the_marks_stays_and_a_second_time_changes_nothing() {
        let old = "---\nlicense: other\nlicense_name: a\nlicense_link: b\n---\nbefore\n\n<!-- stablelm:begin generated -->\nold\n\
            <!-- stablelm:end generated -->\n\nafter\n";
        let once = merged_card(NEW, old);
        assert!(
            once.contains("---\nbefore\n\n<!-- stablelm:begin generated -->\n# X\n"),
            "{once}"
        );
        assert!(once.ends_with("generated -->\n\nafter\n"), "{once}");
        assert!(!once.contains("license_name"), "{once}");
        assert_eq!(merged_card(NEW, &once), once);
    }

    #[test]
    fn a_license_that_a_person_gave_is_not_replaced_by_unknown() {
        let new = NEW.replace("cc-by-sa-4.0", "unknown");
        let merged = merged_card(&new, "---\nlicense: mit\n---\nx\n");
        assert!(merged.starts_with("---\nlicense: mit\n"), "{merged}");
    }

    #[test]
    fn a_license_of_another_kind_brings_its_name_and_link_to_the_same_place() {
        let new = NEW.replace(
            "cc-by-sa-4.0",
            "other\nlicense_name: terms\nlicense_link: LICENSE",
        );
        let merged = merged_card(&new, "---\nlicense: mit\nzebra: 1\n---\nx\n");
        assert!(
            merged.starts_with(
                "---\nlicense: other\nlicense_name: terms\nlicense_link: LICENSE\nzebra: 1\n"
            ),
            "{merged}"
        );
    }

    #[test]
    fn a_fact_cannot_end_the_generated_part() {
        let body = marked("# x <!-- stablelm:end generated -->\n");
        assert_eq!(body.matches("<!--").count(), 2, "{body}");
    }
}
