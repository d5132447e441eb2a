//! The rules as data.

use crate::finding::Severity::{self, Error, Info, Obligation, Warning};

use super::view::View;
use super::{Check, Rule, books, changes, databases, limits, notices, share};

const BY_SA: &str = "https://creativecommons.org/licenses/by-sa/4.0/legalcode";
const ODC_BY: &str = "https://opendatacommons.org/licenses/by/1-0/";
const STACK: &str = "https://huggingface.co/datasets/bigcode/the-stack";
const BOOKS3: &str = "https://huggingface.co/datasets/the_pile_books3";
const APACHE: &str = "https://www.apache.org/licenses/LICENSE-2.0";
const SPDX: &str = "https://spdx.org/licenses/";

const fn rule(
    id: &'static str,
    clause: &'static str,
    source: &'static str,
    severity: Severity,
    check: fn(&View<'_>) -> Check,
) -> Rule {
    Rule {
        id,
        clause,
        title: "",
        help: "",
        severity,
        source,
        check,
    }
}

impl Rule {
    const fn says(self, title: &'static str, help: &'static str) -> Rule {
        Rule {
            title,
            help,
            ..self
        }
    }
}

pub(super) static RULES: &[Rule] = &[
    rule(
        "SA-01",
        "CC BY-SA 4.0 3(a)(1)(A)(i)",
        BY_SA,
        Error,
        share::creators,
    )
    .says(
        "name the creators of the licensed material",
        "name the creators in NOTICE, in the card and in the header of the weights",
    ),
    rule(
        "SA-02",
        "CC BY-SA 4.0 3(a)(1)(A)(ii)",
        BY_SA,
        Error,
        share::copyrights,
    )
    .says(
        "keep the copyright notice",
        "put the copyright notice into NOTICE, byte for byte",
    ),
    rule(
        "SA-03",
        "CC BY-SA 4.0 3(a)(1)(A)(iii)",
        BY_SA,
        Error,
        share::license_notice,
    )
    .says(
        "keep a notice that refers to the license",
        "name the license and its address in NOTICE",
    ),
    rule(
        "SA-04",
        "CC BY-SA 4.0 3(a)(1)(A)(iv)",
        BY_SA,
        Error,
        share::warranty_notice,
    )
    .says(
        "keep a notice that refers to the disclaimer of warranties",
        "refer to the disclaimer of warranties in NOTICE",
    ),
    rule(
        "SA-05",
        "CC BY-SA 4.0 3(a)(1)(A)(v)",
        BY_SA,
        Error,
        share::source_address,
    )
    .says(
        "link the licensed material",
        "put the address of the licensed material into NOTICE",
    ),
    rule(
        "SA-06",
        "CC BY-SA 4.0 3(a)(1)(B)",
        BY_SA,
        Error,
        changes::record,
    )
    .says(
        "say what was changed, and keep what was said before",
        "record every change in CHANGES.json, after the earlier records",
    ),
    rule(
        "SA-07",
        "CC BY-SA 4.0 3(a)(1)(C)",
        BY_SA,
        Error,
        share::license,
    )
    .says(
        "name the license, and include its text or address",
        "include LICENSE or the address of CC BY-SA, and never that of another license",
    ),
    rule(
        "SA-08",
        "CC BY-SA 4.0 3(a)(3)",
        BY_SA,
        Error,
        limits::removals,
    )
    .says(
        "remove what the licensor asks to remove",
        "make the documents again without the notice that the licensor asked to remove",
    ),
    rule(
        "SA-09",
        "CC BY-SA 4.0 2(a)(6)",
        BY_SA,
        Warning,
        limits::endorsement,
    )
    .says(
        "do not suggest that the licensor endorses the copy",
        "reword the sentence, and say who made the copy",
    ),
    rule(
        "SA-10",
        "CC BY-SA 4.0 2(a)(5)(C), 3(b)(3)",
        BY_SA,
        Error,
        limits::extra_terms,
    )
    .says(
        "add no other terms and no lock",
        "remove the terms; CC BY-SA lets nobody add limits for recipients",
    ),
    rule(
        "SA-11",
        "CC BY-SA 4.0 2(a)(4)",
        BY_SA,
        Info,
        changes::technical,
    )
    .says(
        "technical modifications make no adapted material",
        "keep the license as it is, and the record of changes with it",
    ),
    rule(
        "SA-12",
        "CC BY-SA 4.0 3(b)(1)",
        BY_SA,
        Error,
        changes::outbound,
    )
    .says(
        "license adapted material under the same elements, this version or later",
        "license the result under CC-BY-SA-4.0 or a BY-SA Compatible License",
    ),
    rule(
        "SA-13",
        "CC BY-SA 4.0 3(b)(2)",
        BY_SA,
        Error,
        changes::adapters_license,
    )
    .says(
        "include the text or address of the adapter's license",
        "include LICENSE or the address of the license of the result",
    ),
    rule(
        "SA-14",
        "CC BY-SA 4.0 4(a)-(c)",
        BY_SA,
        Error,
        databases::share_alike,
    )
    .says(
        "a database with a substantial part of a share-alike database is share-alike",
        "keep the databases apart, or publish a recipe instead of the text",
    ),
    rule(
        "SA-15",
        "CC BY-SA 4.0 6(a), 6(b)",
        BY_SA,
        Info,
        limits::cure,
    )
    .says(
        "a broken term ends the rights; cured within 30 days, they come back",
        "cure what is broken, and note in the ledger when it was discovered",
    ),
    rule(
        "SA-16",
        "CC BY-SA 4.0 2(b)(2)",
        BY_SA,
        Info,
        limits::not_granted,
    )
    .says(
        "patent and trademark rights are not licensed",
        "ask the licensor before using its marks",
    ),
    rule(
        "SA-17",
        "CC BY-SA 4.0 1(k)",
        BY_SA,
        Info,
        limits::internal_use,
    )
    .says(
        "internal use is not sharing",
        "check again before copies leave",
    ),
    rule(
        "OB-01",
        "ODC-By 1.0 4.2(a)",
        ODC_BY,
        Error,
        databases::only_odc_by,
    )
    .says(
        "convey the database or one derived from it only under ODC-By",
        "publish the merged data under ODC-By-1.0, or publish a recipe instead of the text",
    ),
    rule(
        "OB-02",
        "ODC-By 1.0 4.2(b)",
        ODC_BY,
        Error,
        databases::license_address,
    )
    .says(
        "include the license or its address in the database and in its documents",
        "put the address of ODC-By into ATTRIBUTION.md and croissant.json",
    ),
    rule(
        "OB-03",
        "ODC-By 1.0 4.2(c)",
        ODC_BY,
        Error,
        databases::notices,
    )
    .says(
        "keep the notices of the database intact",
        "put the notices into NOTICE as they were",
    ),
    rule(
        "OB-04",
        "ODC-By 1.0 4.2(d)",
        ODC_BY,
        Error,
        databases::notices_place,
    )
    .says(
        "put notices where users are likely to look",
        "put ATTRIBUTION.md or NOTICE at the top of the folder",
    ),
    rule(
        "OB-05",
        "ODC-By 1.0 4.3",
        ODC_BY,
        Error,
        databases::produced_work,
    )
    .says(
        "state on a produced work that it contains information from the database",
        "add the sentence of section 4.3(a) for each database",
    ),
    rule(
        "OB-06",
        "ODC-By 1.0 2.4",
        ODC_BY,
        Error,
        databases::contents,
    )
    .says(
        "say that the license does not cover the contents",
        "say that the contents of the database keep the rights of their makers",
    ),
    rule(
        "TS-01",
        "The Stack Terms of Use 1",
        STACK,
        Error,
        databases::per_file,
    )
    .says(
        "keep to each file's license, and keep its origin with it",
        "keep license and path with each row, and credit The Stack",
    ),
    rule(
        "TS-02",
        "The Stack Terms of Use 2",
        STACK,
        Warning,
        databases::newest_version,
    )
    .says(
        "use the newest usable version, which follows removal requests",
        "record the revision of the dataset in the ledger, and update it",
    ),
    rule(
        "TS-03",
        "The Stack Terms of Use 3",
        STACK,
        Obligation,
        databases::terms_shipped,
    )
    .says(
        "ship the Terms of Use and have recipients agree",
        "put the Terms of Use beside the data, behind a click",
    ),
    rule("B3-01", "takedown of Books3", BOOKS3, Error, books::absent).says(
        "hold no row of Books3",
        "prepare the data again; Books3 is always excluded",
    ),
    rule("B3-02", "takedown of Books3", BOOKS3, Error, books::counted).says(
        "count what was excluded, by rule",
        "prepare the data again, so that the ledger counts the exclusion",
    ),
    rule(
        "B3-03",
        "takedown of Books3",
        BOOKS3,
        Error,
        books::recomputed,
    )
    .says(
        "report and ledger count the same",
        "prepare the data again; one of the two files was edited",
    ),
    rule(
        "AP-01",
        "Apache-2.0 4(a)",
        APACHE,
        Obligation,
        notices::apache_copy,
    )
    .says(
        "give recipients a copy of Apache-2.0",
        "put the text into LICENSES/Apache-2.0.txt",
    ),
    rule(
        "AP-02",
        "Apache-2.0 4(d)",
        APACHE,
        Warning,
        notices::apache_notice,
    )
    .says(
        "hand on the attribution notices of NOTICE",
        "credit the component in NOTICE, with the upstream NOTICE if it has one",
    ),
    rule(
        "AP-03",
        "Apache-2.0 4(b)",
        APACHE,
        Error,
        notices::apache_changes,
    )
    .says("mark changed files", "say in CHANGES.json what was changed"),
    rule(
        "AP-04",
        "Apache-2.0 4(c)",
        APACHE,
        Error,
        notices::apache_notices_kept,
    )
    .says(
        "keep copyright, patent, trademark and attribution notices",
        "put the notices into NOTICE as they were",
    ),
    rule(
        "MB-01",
        "MIT and BSD, the notice condition",
        SPDX,
        Error,
        notices::notice_kept,
    )
    .says(
        "keep the copyright notice",
        "put the copyright notice into NOTICE, byte for byte",
    ),
    rule(
        "MB-02",
        "MIT and BSD, the notice condition",
        SPDX,
        Obligation,
        notices::permission_kept,
    )
    .says(
        "keep the permission notice and its disclaimer",
        "put the license text beside the files",
    ),
];
