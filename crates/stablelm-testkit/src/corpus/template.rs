//! Sentences with gaps, and how they are filled.
//!
//! `{keeper}` is a name of the scene, or a word picked from the list of that name; `{They}` is the
//! same with a capital letter. `[lit|trimmed]` is one of the alternatives, which may hold gaps.

use super::scene::Scene;
use super::words;
use crate::random::Random;

/// Which sentences of a pool a document takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// In random order.
    Any,
    /// In the order of the pool.
    AsWritten,
}

/// Fills one template and returns it as a sentence that opens with a capital letter.
pub(super) fn sentence(template: &str, scene: &Scene, random: &mut Random) -> String {
    capitalized(&phrase(template, scene, random))
}

/// Fills one template and leaves its first letter alone.
pub(super) fn phrase(template: &str, scene: &Scene, random: &mut Random) -> String {
    let mut filled = String::with_capacity(2 * template.len());
    fill(&mut filled, template, scene, random);
    with_articles(&filled)
}

/// Fills between `least` and `most` different templates of a pool.
pub(super) fn some_of(
    pool: &[&str],
    least: usize,
    most: usize,
    order: Order,
    scene: &Scene,
    random: &mut Random,
) -> Vec<String> {
    let count = random.between(least, most);
    let mut places = random.places(count, pool.len());
    if matches!(order, Order::AsWritten) {
        places.sort_unstable();
    }
    places
        .into_iter()
        .map(|place| sentence(pool[place], scene, random))
        .collect()
}

/// Joins paragraphs, each a list of sentences.
pub(super) fn paragraphs(paragraphs: &[Vec<String>]) -> String {
    let joined: Vec<String> = paragraphs
        .iter()
        .map(|sentences| sentences.join(" "))
        .collect();
    joined.join("\n\n")
}

fn fill(filled: &mut String, template: &str, scene: &Scene, random: &mut Random) {
    let mut rest = template;
    while let Some(start) = rest.find(['{', '[']) {
        filled.push_str(&rest[..start]);
        let opened = &rest[start + 1..];
        let closing = if rest[start..].starts_with('{') {
            '}'
        } else {
            ']'
        };
        let (inside, after) = opened
            .split_once(closing)
            .unwrap_or_else(|| panic!("a gap is not closed in `{template}`"));
        if closing == '}' {
            filled.push_str(&word(inside, scene, random));
        } else {
            let choices: Vec<&str> = inside.split('|').collect();
            let choice = *random.pick(&choices);
            fill(filled, choice, scene, random);
        }
        rest = after;
    }
    filled.push_str(rest);
}

fn word(key: &str, scene: &Scene, random: &mut Random) -> String {
    let lower = key.to_lowercase();
    let found = match scene.name(&lower) {
        Some(name) => name.to_owned(),
        None => match words::list(&lower) {
            Some(list) => (*random.pick(&list)).to_owned(),
            None => panic!("no name and no list is called `{lower}`"),
        },
    };
    if lower == key {
        found
    } else {
        capitalized(&found)
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// Writes `an` for `a` before a vowel letter. No list holds a word whose sound disagrees.
fn with_articles(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut written = Vec::with_capacity(words.len());
    for (at, word) in words.iter().enumerate() {
        let before_vowel = words.get(at + 1).is_some_and(|next| {
            next.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U'])
        });
        written.push(match *word {
            "a" if before_vowel => "an",
            "A" if before_vowel => "An",
            other => other,
        });
    }
    written.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &[&str]) {
        let mut random = Random::for_item(1, 1);
        let mut scene = Scene::new(&mut random);
        scene.set("friend", "Orla".to_owned());
        for _ in 0..20 {
            let filled = sentence(template, &scene, &mut random);
            assert!(expected.contains(&filled.as_str()), "{filled}");
        }
    }

    #[test]
    fn fills_names_and_alternatives() {
        check("dear {friend}, come.", &["Dear Orla, come."]);
        check("[a|the] tide", &["A tide", "The tide"]);
        check("[{friend}|the tide]", &["Orla", "The tide"]);
    }

    #[test]
    fn writes_the_right_article() {
        check("a old boat and a new one", &["An old boat and a new one"]);
    }
}
