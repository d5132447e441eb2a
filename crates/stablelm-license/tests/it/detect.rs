//! License texts: exact, changed, several in one file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use proptest::prelude::*;
use stablelm_license::detect::{MatchKind, WordDifference, detect};
use stablelm_license::license_text;

fn cc_by_sa() -> &'static str {
    license_text("CC-BY-SA-4.0").unwrap()
}

const MIT: &str = "Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the \"Software\"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
";

/// As a source file carries it, with a name in each of its places.
const BSD: &str = "# Copyright (c) 2025, EXAMPLE CORPORATION. All rights reserved.
#
# Redistribution and use in source and binary forms, with or without
# modification, are permitted provided that the following conditions
# are met:
#  * Redistributions of source code must retain the above copyright
#    notice, this list of conditions and the following disclaimer.
#  * Redistributions in binary form must reproduce the above copyright
#    notice, this list of conditions and the following disclaimer in the
#    documentation and/or other materials provided with the distribution.
#  * Neither the name of EXAMPLE CORPORATION nor the names of its
#    contributors may be used to endorse or promote products derived
#    from this software without specific prior written permission.
#
# THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS ``AS IS'' AND ANY
# EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
# IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR
# PURPOSE ARE DISCLAIMED.  IN NO EVENT SHALL THE COPYRIGHT OWNER OR
# CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL,
# EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO,
# PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR
# PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY
# OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT
# (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
# OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
";

#[track_caller]
fn exact(text: &str, expected: &str) {
    let found = detect(text);
    assert_eq!(found.expression().as_deref(), Some(expected), "{found:?}");
    assert!(found.is_exact(), "{found:?}");
}

/// Returns the license that a text is a changed copy of, how alike they are, and what differs.
#[track_caller]
fn modified(text: &str) -> (String, f64, Vec<WordDifference>) {
    let found = detect(text);
    assert!(!found.is_exact());
    assert_eq!(found.matches.len(), 1, "{found:?}");
    match &found.matches[0].kind {
        MatchKind::Modified {
            similarity,
            differences,
            ..
        } => (
            found.matches[0].id.clone(),
            *similarity,
            differences.clone(),
        ),
        MatchKind::Exact => panic!("{found:?}"),
    }
}

#[test]
fn the_texts_we_carry_are_exact() {
    for id in ["Apache-2.0", "CC-BY-SA-4.0", "CC0-1.0", "ODC-By-1.0"] {
        exact(license_text(id).unwrap(), id);
    }
}

#[test]
fn every_text_of_the_list_is_itself_or_names_its_twin() {
    let mut checked = 0;
    for (id, text) in spdx::text::LICENSE_TEXTS.iter().step_by(9) {
        let license = spdx::license_id(id).unwrap();
        let found = detect(text);
        if license.is_deprecated() || text.split_whitespace().count() < 40 {
            continue;
        }
        checked += 1;
        assert!(found.is_exact(), "{id}: {found:?}");
        let named = found
            .matches
            .iter()
            .any(|it| it.id == *id || it.also.iter().any(|other| other == id));
        // A text may hold all of another one; then the longer one is found.
        assert!(named || found.matches.len() == 1, "{id}: {found:?}");
    }
    assert!(checked > 50, "{checked}");
}

#[test]
fn form_does_not_matter() {
    let wrapped = cc_by_sa()
        .replace(['\u{201c}', '\u{201d}'], "\"")
        .replace('\u{2013}', "--")
        .replace("License", "LICENCE")
        .replace(". ", ".\n   ");
    exact(&wrapped, "CC-BY-SA-4.0");
    exact(MIT, "MIT");
    exact(
        &format!("MIT License\n\nCopyright (c) 2020 X, Inc. and its affiliates.\n\n{MIT}"),
        "MIT",
    );
    exact(BSD, "BSD-3-Clause");
}

#[test]
fn inserted_words_are_shown() {
    let text = cc_by_sa().replacen(
        "in whole or in part; and",
        "in whole or in part, for NonCommercial purposes only; and",
        1,
    );
    assert_ne!(text, cc_by_sa());
    let (id, similarity, differences) = modified(&text);
    assert_eq!(id, "CC-BY-SA-4.0");
    // Four words of about three thousand.
    assert!(similarity > 0.999 && similarity < 1.0, "{similarity}");
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert_eq!(differences[0].inserted, "for NonCommercial purposes only");
    assert_eq!(differences[0].removed, "");
    let line = text
        .lines()
        .position(|line| line.contains("NonCommercial purposes only"));
    assert_eq!(Some(differences[0].line), line.map(|line| line + 1));
}

#[test]
fn terms_put_into_the_preface_are_seen_too() {
    let text = cc_by_sa().replacen(
        "may use to share original works",
        "may use for NonCommercial purposes only to share original works",
        1,
    );
    assert_ne!(text, cc_by_sa());
    let (id, _, differences) = modified(&text);
    assert_eq!(id, "CC-BY-SA-4.0");
    assert!(
        differences[0].inserted.contains("NonCommercial"),
        "{differences:?}"
    );
}

#[test]
fn terms_put_between_preface_and_license_are_seen_too() {
    for text in [
        cc_by_sa().replacen(
            "By exercising the Licensed Rights",
            "For NonCommercial purposes only. By exercising the Licensed Rights",
            1,
        ),
        cc_by_sa().replacen(
            "Creative Commons is not a party",
            "All of this is for NonCommercial purposes only. Creative Commons is not a party",
            1,
        ),
    ] {
        assert_ne!(text, cc_by_sa());
        let (id, _, differences) = modified(&text);
        assert_eq!(id, "CC-BY-SA-4.0");
        assert!(
            differences[0].inserted.contains("NonCommercial"),
            "{differences:?}"
        );
    }
}

#[test]
fn without_share_alike_it_is_still_a_changed_share_alike_license() {
    let start = cc_by_sa().find("b.\tShareAlike.").unwrap();
    let end = cc_by_sa().find("Section 4 ").unwrap();
    let text = format!("{}{}", &cc_by_sa()[..start], &cc_by_sa()[end..]);
    let (id, _, differences) = modified(&text);
    assert_eq!(id, "CC-BY-SA-4.0");
    assert!(
        differences
            .iter()
            .any(|it| it.removed.contains("ShareAlike")),
        "{differences:?}"
    );
}

#[test]
fn a_file_of_several_licenses_is_all_of_them() {
    // Laid out like the license file of a project with code of others.
    let apache = license_text("Apache-2.0").unwrap();
    let text = format!(
        "{apache}\n--\n\nThis repository also contains code from others.\n\n\
         ------------- LICENSE FOR EXAMPLE code  --------------\n\n{BSD}\n\
         ------------- LICENSE FOR more code  --------------\n\n{apache}\n\
         ------------- LICENSE FOR even more code --------------\n\nMIT License\n\n\
         Copyright (c) Somebody, Inc. and its affiliates.\n\n{MIT}"
    );
    let found = detect(&text);
    assert_eq!(
        found.expression().as_deref(),
        Some("Apache-2.0 AND BSD-3-Clause AND MIT"),
        "{found:?}"
    );
    assert!(found.is_exact(), "{found:?}");
    assert!(
        found
            .rest
            .iter()
            .any(|it| it.text.contains("LICENSE FOR EXAMPLE code"))
    );
}

#[test]
fn one_changed_text_among_others_is_the_only_changed_one() {
    let changed = MIT.replace("free of charge", "for a fee");
    let found = detect(&format!("{BSD}\n\n{changed}\n"));
    assert_eq!(found.expression().as_deref(), Some("BSD-3-Clause AND MIT"));
    assert!(!found.is_exact());
    assert_eq!(found.matches[0].kind, MatchKind::Exact);
    assert!(matches!(found.matches[1].kind, MatchKind::Modified { .. }));
}

#[test]
fn the_four_ids_of_one_text_stay_together() {
    let text = spdx::license_id("GPL-3.0-only").unwrap().text();
    let found = detect(text);
    assert!(found.is_exact(), "{found:?}");
    assert_eq!(found.matches[0].id, "GPL-3.0-only");
    assert_eq!(found.matches[0].also, ["GPL-3.0-or-later"]);
}

#[test]
fn other_texts_are_no_license() {
    for text in [
        "",
        "hello",
        "All rights reserved. Do not copy. Ask us first. "
            .repeat(9)
            .as_str(),
    ] {
        let found = detect(text);
        assert_eq!(found.expression(), None, "{found:?}");
        assert!(!found.is_exact());
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "(\\PC|\n){0,300}") {
        let _ = detect(&text);
    }

    #[test]
    fn a_word_put_in_anywhere_is_noticed(position in 700_usize..2400) {
        let words: Vec<&str> = cc_by_sa().split_inclusive(' ').collect();
        let position = position.min(words.len() - 1);
        let text = format!("{}zebra {}", words[..position].concat(), words[position..].concat());
        let found = detect(&text);
        prop_assert!(!found.is_exact(), "{position}: {:?}", found);
    }
}
