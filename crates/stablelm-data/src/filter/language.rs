//! Keeps documents in the languages asked for.
//!
//! The rule is datatrove's (`pipeline/filters/language_filter.py`) and RefinedWeb's: the score of a
//! wanted language must be above 0.65. Their scores come from fastText's `lid.176` model of 126 MB;
//! ours from the crate `whatlang`, which compares letters and trigrams with those of 70 languages and
//! needs no file. It scores only the best language, 1 when no other comes near, so that the same
//! threshold asks for about the same but not for the same documents.

use serde::Serialize;
use whatlang::Lang;

use crate::document::Document;
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::words::Scratch;

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "language";
/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &["name", "languages", "threshold"];

/// The language a detector finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Language {
    /// Languages to keep, by ISO 639-1 code (`en`) or 639-3 code (`eng`); none to keep all.
    pub languages: Vec<String>,
    /// A document is kept if its language's score is above this.
    pub threshold: f64,
}

impl Language {
    /// English, with RefinedWeb's threshold.
    pub fn published() -> Self {
        Self {
            languages: vec!["en".to_owned()],
            threshold: 0.65,
        }
    }

    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let published = Self::published();
        let filter = Self {
            languages: fields.strings("languages")?.unwrap_or(published.languages),
            threshold: fields.number("threshold")?.unwrap_or(published.threshold),
        };
        let is_known = |code: &String| Lang::all().iter().any(|&lang| is_called(lang, code));
        if !filter.languages.iter().all(is_known) {
            let expected = "a list of languages that the detector knows, such as `en`";
            return Err(fields.wrong("languages", expected));
        }
        if filter.threshold >= 1.0 {
            return Err(fields.wrong("threshold", "a number below 1, as no score is above it"));
        }
        Ok(filter)
    }
}

impl Filter for Language {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, _: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let Some(found) = whatlang::detect(&document.text) else {
            // There is no letter of any script.
            metrics.note("language_score", 0.0);
            return Outcome::Drop(Reason::named("language"));
        };
        let score = found.confidence();
        metrics.note("language", code(found.lang()));
        metrics.note("language_score", score);
        let is_wanted = |code: &String| is_called(found.lang(), code);
        if !self.languages.is_empty() && !self.languages.iter().any(is_wanted) {
            return Outcome::Drop(Reason::named("language"));
        }
        if score > self.threshold {
            Outcome::Keep
        } else {
            Outcome::Drop(Reason::measured("language_score", score, self.threshold))
        }
    }
}

fn is_called(lang: Lang, code: &str) -> bool {
    lang.code() == code || self::code(lang) == code
}

/// The two-letter code, which every language of the detector has.
fn code(lang: Lang) -> &'static str {
    let three = lang.code();
    let known = CODES.iter().find(|(known, _)| *known == three);
    known.map_or(three, |(_, two)| two)
}

/// The codes of ISO 639-3 that the detector uses with those of ISO 639-1; fastText says `no` for
/// written Norwegian.
#[rustfmt::skip]
const CODES: [(&str, &str); 70] = [
    ("afr", "af"), ("aka", "ak"), ("amh", "am"), ("ara", "ar"), ("aze", "az"), ("bel", "be"),
    ("ben", "bn"), ("bul", "bg"), ("cat", "ca"), ("ces", "cs"), ("cmn", "zh"), ("cym", "cy"),
    ("dan", "da"), ("deu", "de"), ("ell", "el"), ("eng", "en"), ("epo", "eo"), ("est", "et"),
    ("fin", "fi"), ("fra", "fr"), ("guj", "gu"), ("heb", "he"), ("hin", "hi"), ("hrv", "hr"),
    ("hun", "hu"), ("hye", "hy"), ("ind", "id"), ("ita", "it"), ("jav", "jv"), ("jpn", "ja"),
    ("kan", "kn"), ("kat", "ka"), ("khm", "km"), ("kor", "ko"), ("lat", "la"), ("lav", "lv"),
    ("lit", "lt"), ("mal", "ml"), ("mar", "mr"), ("mkd", "mk"), ("mya", "my"), ("nep", "ne"),
    ("nld", "nl"), ("nob", "no"), ("ori", "or"), ("pan", "pa"), ("pes", "fa"), ("pol", "pl"),
    ("por", "pt"), ("ron", "ro"), ("rus", "ru"), ("sin", "si"), ("slk", "sk"), ("slv", "sl"),
    ("sna", "sn"), ("spa", "es"), ("srp", "sr"), ("swe", "sv"), ("tam", "ta"), ("tel", "te"),
    ("tgl", "tl"), ("tha", "th"), ("tuk", "tk"), ("tur", "tr"), ("ukr", "uk"), ("urd", "ur"),
    ("uzb", "uz"), ("vie", "vi"), ("yid", "yi"), ("zul", "zu"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::profiles::parse_filters;

    const ENGLISH: &str = "The river runs past the old mill, and in the spring it carries so much \
        water that the people of the valley leave their boats at home.";
    const GERMAN: &str = "Der Fluss zieht an der alten M\u{fc}hle vorbei, und im Fr\u{fc}hling f\u{fc}hrt er so \
        viel Wasser, dass die Leute im Tal ihre Boote zu Hause lassen.";
    const FRENCH: &str = "La rivi\u{e8}re passe devant le vieux moulin, et au printemps elle est si haute \
        que les gens de la vall\u{e9}e laissent leurs bateaux \u{e0} la maison.";
    const RUSSIAN: &str = "\u{420}\u{435}\u{43a}\u{430} \u{442}\u{435}\u{447}\u{451}\u{442} \u{43c}\u{438}\u{43c}\u{43e} \
        \u{441}\u{442}\u{430}\u{440}\u{43e}\u{439} \u{43c}\u{435}\u{43b}\u{44c}\u{43d}\u{438}\u{446}\u{44b}";

    fn check(languages: &[&str], text: &str, expected: Option<&str>, found: Option<&str>) {
        let filter = Language {
            languages: languages.iter().map(ToString::to_string).collect(),
            ..Language::published()
        };
        let document = Document {
            text: text.to_owned(),
            ..Document::default()
        };
        let mut metrics = Metrics::on();
        let reason = match filter.apply(&document, &mut Scratch::default(), &mut metrics) {
            Outcome::Drop(reason) => Some(reason.name),
            _ => None,
        };
        assert_eq!(reason, expected, "{text}");
        let metrics = metrics.into_map();
        assert_eq!(
            metrics.get("language").and_then(|code| code.as_str()),
            found
        );
    }

    #[test]
    fn languages_are_told_apart() {
        check(&["en"], ENGLISH, None, Some("en"));
        check(&["eng"], ENGLISH, None, Some("en"));
        check(&["en"], GERMAN, Some("language"), Some("de"));
        check(&["en", "de"], GERMAN, None, Some("de"));
        check(&["en"], FRENCH, Some("language"), Some("fr"));
        check(&["fr"], FRENCH, None, Some("fr"));
        check(&["en"], RUSSIAN, Some("language"), Some("ru"));
        check(&[], RUSSIAN, None, Some("ru"));
        check(&["en"], "", Some("language"), None);
        check(&["en"], "123 456 -- !!", Some("language"), None);
    }

    #[test]
    fn every_language_has_a_code_and_a_code_of_two_letters() {
        for lang in Lang::all() {
            assert_eq!(code(*lang).len(), 2, "{lang:?}");
        }
        for settings in ["languages = [\"en\", \"xx\"]", "threshold = 1"] {
            let toml = format!("[[filters]]\nname = \"language\"\n{settings}");
            assert!(parse_filters(&toml).is_err(), "{settings}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,80}|[a-z \u{400}-\u{420}\n]{0,80}") {
            let document = Document { text, ..Document::default() };
            Language::published().apply(&document, &mut Scratch::default(), &mut Metrics::on());
        }
    }
}
