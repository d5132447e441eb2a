//! The names that stay the same throughout one document.

use super::words;
use crate::random::Random;

/// Lists of which a document keeps one word throughout.
const KEPT: [&str; 8] = [
    "region", "ferry", "festival", "month", "fish", "bird", "good", "craft",
];

/// What happened after a town was founded.
const LATER_YEARS: [&str; 7] = [
    "light_year",
    "charter_year",
    "voyage_year",
    "pier_year",
    "famine_year",
    "school_year",
    "later_year",
];

/// The people, places and dates of one document.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    names: Vec<(&'static str, String)>,
}

impl Scene {
    /// Chooses a town, a light, people and dates.
    pub(super) fn new(random: &mut Random) -> Self {
        let mut scene = Self { names: Vec::new() };

        for (key, start) in ["town", "other_town"]
            .into_iter()
            .zip(several("town_start", 2, random))
        {
            scene.set(key, format!("{start}{}", one("town_end", random)));
        }
        let light = format!("{} {}", one("rock_name", random), one("rock_kind", random));
        scene.set("light", light);
        for key in KEPT {
            scene.set(key, one(key, random).to_owned());
        }
        scene.set_people(random);

        scene.set_years(random);
        scene.set("day", random.between(1, 24).to_string());
        scene
    }

    /// Chooses the year in which a town was founded, and later ones in no order.
    fn set_years(&mut self, random: &mut Random) {
        let year = random.between(1702, 1820);
        self.set("year", year.to_string());
        for key in LATER_YEARS {
            self.set(key, (year + random.between(5, 90)).to_string());
        }
    }

    /// Chooses people with different first names; the keeper's pronouns are `they` and `them`.
    fn set_people(&mut self, random: &mut Random) {
        let women = several("women_name", 3, random);
        let men = several("men_name", 3, random);
        let surnames = several("surname", 3, random);
        let keeper_is_woman = random.below(2) == 0;

        let (subject, object) = if keeper_is_woman {
            ("she", "her")
        } else {
            ("he", "him")
        };
        let (same, other) = if keeper_is_woman {
            (women, men)
        } else {
            (men, women)
        };
        self.set("they", subject.to_owned());
        self.set("them", object.to_owned());
        self.set("keeper_first", same[0].to_owned());
        self.set("keeper", format!("{} {}", same[0], surnames[0]));
        self.set("captain", format!("{} {}", other[0], surnames[1]));
        self.set("baker", format!("{} {}", same[1], surnames[2]));
        self.set("friend", other[1].to_owned());
        self.set(
            "child",
            if random.below(2) == 0 {
                same[2]
            } else {
                other[2]
            }
            .to_owned(),
        );
    }

    /// Sets a name, in place of one that was set before.
    pub(super) fn set(&mut self, key: &'static str, name: String) {
        self.names.retain(|(known, _)| *known != key);
        self.names.push((key, name));
    }

    /// Returns the name under a key.
    pub(super) fn name(&self, key: &str) -> Option<&str> {
        self.names
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, name)| name.as_str())
    }
}

fn one(list: &str, random: &mut Random) -> &'static str {
    several(list, 1, random)[0]
}

fn several(list: &str, count: usize, random: &mut Random) -> Vec<&'static str> {
    let words = words::list(list).expect("the list is in the table of lists");
    let places = random.places(count, words.len());
    places.into_iter().map(|place| words[place]).collect()
}
