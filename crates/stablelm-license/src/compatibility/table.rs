//! The matrix: one row a case, with its clause, its source and what to do.
//!
//! Within a context the first row that fits decides, and the last row fits everything, so nothing
//! falls through to a good verdict. Rows for the unknown stand first and are shared.

use crate::terms::{LicenseClass, LicenseTerm};

use super::Verdict;

/// What a row asks of the license that comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    /// Anything.
    Any,
    /// A component that was taken down.
    TakenDown,
    /// Data of which only a recipe is published: names, hashes and rules, no text.
    RecipeOnly,
    /// One of these kinds of terms.
    Class(&'static [LicenseClass]),
    /// One of these kinds of terms, on the contents of a database and not on the database.
    Contents(&'static [LicenseClass]),
    /// One of these licenses.
    Id(&'static [&'static str]),
    /// A license whose identifier starts so.
    Prefix(&'static str),
}

/// What a row asks of the license that goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    /// Anything, or no license at all where the context asks for none.
    Any,
    /// A license that nobody knows.
    Unknown,
    /// One of these kinds of terms.
    Class(&'static [LicenseClass]),
    /// One of these licenses.
    Id(&'static [&'static str]),
    /// The license that came in.
    Same,
    /// CC BY-SA in the version that came in or a later one.
    LaterShareAlike,
}

/// One case of the matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The name of the rule.
    pub(crate) rule: &'static str,
    pub(crate) from: From,
    pub(crate) to: To,
    /// The verdict of the careful reading.
    pub(crate) conservative: Verdict,
    /// The verdict of the reading that training needs no permission.
    pub(crate) permissive: Verdict,
    pub(crate) clause: &'static str,
    pub(crate) source: &'static str,
    pub(crate) reason: &'static str,
    /// What to do; empty when there is nothing to do.
    pub(crate) next_step: &'static str,
    /// The rules whose duties come with it.
    pub(crate) duties: &'static [&'static str],
}

/// What a row is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) from: &'a LicenseTerm,
    pub(crate) to: Option<&'a LicenseTerm>,
    pub(crate) is_taken_down: bool,
    pub(crate) is_contents: bool,
    pub(crate) is_recipe_only: bool,
}

impl Row {
    pub(crate) fn fits(&self, case: &Case) -> bool {
        from_fits(self.from, case) && to_fits(self.to, case)
    }
}

fn from_fits(from: From, case: &Case) -> bool {
    let class = case.from.class;
    match from {
        From::Any => true,
        From::TakenDown => case.is_taken_down,
        From::RecipeOnly => case.is_recipe_only,
        From::Class(classes) => classes.contains(&class),
        From::Contents(classes) => case.is_contents && classes.contains(&class),
        From::Id(ids) => ids.contains(&case.from.id.as_str()),
        From::Prefix(prefix) => case.from.id.starts_with(prefix),
    }
}

fn to_fits(to: To, case: &Case) -> bool {
    let Some(outbound) = case.to else {
        return matches!(to, To::Any);
    };
    match to {
        To::Any => true,
        To::Unknown => outbound.is_unknown(),
        To::Class(classes) => classes.contains(&outbound.class),
        To::Id(ids) => ids.contains(&outbound.id.as_str()),
        To::Same => outbound.id == case.from.id && !outbound.is_unknown(),
        To::LaterShareAlike => is_later_share_alike(case.from, outbound),
    }
}

/// The same license elements in this version or a later one; a port only for itself.
fn is_later_share_alike(from: &LicenseTerm, to: &LicenseTerm) -> bool {
    if to.class != LicenseClass::ShareAlike {
        return false;
    }
    match (from.cc_version(), to.cc_version()) {
        (Some((major, minor, port)), Some((to_major, to_minor, to_port))) => {
            (to_major, to_minor) >= (major, minor) && (to_port.is_empty() || to_port == port)
        }
        _ => false,
    }
}

use LicenseClass as C;
use Verdict::{Conflict, Obligations, Ok, Review, Unknown};

const BY_SA: &str = "https://creativecommons.org/licenses/by-sa/4.0/legalcode";
const BY: &str = "https://creativecommons.org/licenses/by/4.0/legalcode";
const ODC_BY: &str = "https://opendatacommons.org/licenses/by/1-0/";
const ODBL: &str = "https://opendatacommons.org/licenses/odbl/1-0/";
const GPL: &str = "https://www.gnu.org/licenses/gpl-3.0.html";
const GPL_LIST: &str = "https://www.gnu.org/licenses/license-list.html";
const APACHE: &str = "https://www.apache.org/licenses/LICENSE-2.0";
const DECLARATION: &str =
    "https://creativecommons.org/tag/compatibility/ (declaration of 2015-10-08)";
const PRIMER: &str = "Creative Commons, Using CC-Licensed Works for AI Training, 2025-05-15";
const STACK: &str = "https://huggingface.co/datasets/bigcode/the-stack (Terms of Use)";
const SPDX: &str = "https://spdx.org/licenses/";
const REUSE: &str = "https://reuse.software/spec-3.3/";

const SHARE: &[&str] = &[
    "SA-01", "SA-02", "SA-03", "SA-04", "SA-05", "SA-06", "SA-07",
];
const SHARE_ADAPTED: &[&str] = &[
    "SA-01", "SA-02", "SA-03", "SA-04", "SA-05", "SA-06", "SA-07", "SA-09", "SA-10", "SA-12",
    "SA-13",
];
const CREDIT: &[&str] = &["SA-01", "SA-05", "SA-07"];
const NOTICE: &[&str] = &["MB-01", "MB-02"];
const APACHE_DUTIES: &[&str] = &["AP-01", "AP-02", "AP-03", "AP-04"];
const DATABASE: &[&str] = &["OB-01", "OB-02", "OB-03", "OB-04", "OB-06"];
const STACK_DUTIES: &[&str] = &["TS-01", "TS-02", "TS-03"];

const FREE: &[C] = &[C::PublicDomain];
const NOTICES: &[C] = &[C::Permissive, C::Apache];
const SA: &[C] = &[C::ShareAlike];
const LIMITED: &[C] = &[C::NonCommercial, C::NoDerivatives];
const OTHER_TERMS: &[C] = &[C::UseRestricted, C::StackTerms, C::SiteTerms];

const fn row(rule: &'static str, from: From, to: To, verdict: Verdict) -> Row {
    Row {
        rule,
        from,
        to,
        conservative: verdict,
        permissive: verdict,
        clause: "",
        source: "",
        reason: "",
        next_step: "",
        duties: &[],
    }
}

impl Row {
    const fn permissive(self, permissive: Verdict) -> Row {
        Row { permissive, ..self }
    }

    const fn by(self, clause: &'static str, source: &'static str) -> Row {
        Row {
            clause,
            source,
            ..self
        }
    }

    const fn because(self, reason: &'static str) -> Row {
        Row { reason, ..self }
    }

    const fn then(self, next_step: &'static str) -> Row {
        Row { next_step, ..self }
    }

    const fn with(self, duties: &'static [&'static str]) -> Row {
        Row { duties, ..self }
    }
}

/// What was taken down stays out, whatever it is used for.
pub(crate) static TAKEN_DOWN: &[Row] = &[row("TD-01", From::TakenDown, To::Any, Conflict)
    .by("takedown", "the ledger's takedown record")
    .because("it was taken down and must be absent")
    .then("leave it out, and record the exclusion with its counts")];

/// A recipe holds nothing that a license could cover.
pub(crate) static RECIPE: &[Row] = &[row("DA-RECIPE", From::RecipeOnly, To::Any, Ok)
    .by(
        "no material is shared",
        "license reference, section 7.2, DATA",
    )
    .because("only names, hashes and rules are published, none of the text")];

/// What nobody knows is never a yes.
pub(crate) static UNKNOWNS: &[Row] = &[
    row("LU-01", From::Class(&[C::Unknown]), To::Any, Unknown)
        .by(
            "no license stated",
            "https://spdx.github.io/spdx-spec/v3.0.1/ (NOASSERTION)",
        )
        .because("no license is known, and without one there is no permission")
        .then("find the license at its source, and record the claim with its revision"),
    row("LU-02", From::Any, To::Unknown, Unknown)
        .by(
            "no license stated",
            "https://spdx.github.io/spdx-spec/v3.0.1/ (NOASSERTION)",
        )
        .because("nobody knows the outbound license")
        .then("name the outbound license with --outbound"),
];

/// Into one set of weights.
pub(crate) static ADAPT: &[Row] = &[
    // CC BY-SA.
    row(
        "SA-12",
        From::Id(&["CC-BY-SA-4.0"]),
        To::LaterShareAlike,
        Ok,
    )
    .by("CC BY-SA 4.0 3(b)(1)", BY_SA)
    .because("the adapter's license has the same license elements, this version or later")
    .with(SHARE_ADAPTED),
    row("SA-12", From::Id(&["CC-BY-SA-1.0"]), To::Same, Ok)
        .by(
            "CC BY-SA 1.0 4(b)",
            "https://creativecommons.org/licenses/by-sa/1.0/legalcode",
        )
        .because("the license stays the same")
        .with(SHARE_ADAPTED),
    row(
        "SA-12",
        From::Id(&["CC-BY-SA-1.0"]),
        To::LaterShareAlike,
        Review,
    )
    .by(
        "CC BY-SA 1.0 4(b)",
        "https://creativecommons.org/licenses/by-sa/1.0/legalcode",
    )
    .because("version 1.0 does not speak of later versions")
    .then("keep version 1.0, or ask the licensor"),
    row("SA-12", From::Class(SA), To::LaterShareAlike, Ok)
        .by(
            "CC BY-SA 2.0 to 3.0 4(b)",
            "https://creativecommons.org/licenses/by-sa/3.0/legalcode",
        )
        .because("a later version with the same license elements is allowed")
        .with(SHARE_ADAPTED),
    row(
        "SA-12",
        From::Id(&["CC-BY-SA-4.0"]),
        To::Id(&["GPL-3.0-only"]),
        Ok,
    )
    .by("CC BY-SA 4.0 3(b)(1), 1(c)", DECLARATION)
    .because("GPL-3.0 is a BY-SA Compatible License, one way")
    .with(SHARE),
    row(
        "SA-12",
        From::Id(&["CC-BY-SA-4.0"]),
        To::Id(&["GPL-3.0-or-later"]),
        Review,
    )
    .by("CC BY-SA 4.0 3(b)(1), 1(c)", DECLARATION)
    .because("version 3 of the GPL was declared compatible, later versions were not")
    .then("license the result under GPL-3.0-only"),
    row(
        "SA-12",
        From::Id(&["CC-BY-SA-4.0"]),
        To::Id(&["LAL-1.3"]),
        Ok,
    )
    .by(
        "CC BY-SA 4.0 3(b)(1), 1(c)",
        "https://creativecommons.org/compatiblelicenses (read in secondary pages only)",
    )
    .because("the Free Art License 1.3 is a BY-SA Compatible License, both ways")
    .with(SHARE),
    row(
        "SA-12",
        From::Class(SA),
        To::Id(&["GPL-3.0-only", "LAL-1.3"]),
        Review,
    )
    .by(
        "CC BY-SA 3.0 4(b)",
        "https://creativecommons.org/licenses/by-sa/3.0/legalcode",
    )
    .because("only version 4.0 was declared compatible; the way leads through a later version")
    .then("adapt under CC-BY-SA-4.0 first, and ask whether that suffices"),
    row("SA-12", From::Class(SA), To::Class(LIMITED), Conflict)
        .by("CC BY-SA 4.0 3(b)(1), 3(b)(3)", BY_SA)
        .because("non-commercial and no-derivatives terms add limits that share-alike forbids")
        .then("license the result under CC-BY-SA-4.0"),
    row("SA-10", From::Class(SA), To::Class(OTHER_TERMS), Conflict)
        .by("CC BY-SA 4.0 2(a)(5)(C), 3(b)(3)", BY_SA)
        .because("limits on use are additional terms that share-alike forbids")
        .then("license the result under CC-BY-SA-4.0, without other terms"),
    row("SA-12", From::Class(SA), To::Any, Conflict)
        .by("CC BY-SA 4.0 3(b)(1)", BY_SA)
        .because("the license drops share-alike and is on no list of compatible licenses")
        .then("license the result under CC-BY-SA-4.0"),
    // The Free Art License.
    row(
        "AD-LAL",
        From::Id(&["LAL-1.3"]),
        To::Id(&["LAL-1.3", "CC-BY-SA-4.0"]),
        Ok,
    )
    .by(
        "Free Art License 1.3, 5",
        "https://artlibre.org/licence/lal/en/ (read in secondary pages only)",
    )
    .because("the two licenses were declared compatible, both ways")
    .with(CREDIT),
    row("AD-LAL", From::Class(&[C::FreeArt]), To::Any, Conflict)
        .by(
            "Free Art License 1.3, 5",
            "https://artlibre.org/licence/lal/en/",
        )
        .because("later works stay under the Free Art License or a compatible one")
        .then("license the result under LAL-1.3"),
    // No conditions.
    row("AD-PD", From::Class(FREE), To::Any, Ok)
        .by("no conditions", SPDX)
        .because("nothing is asked for"),
    // CC BY.
    row(
        "AD-BY",
        From::Class(&[C::Attribution]),
        To::Class(&[
            C::Attribution,
            C::ShareAlike,
            C::FreeArt,
            C::NonCommercial,
            C::NoDerivatives,
        ]),
        Ok,
    )
    .by("CC BY 4.0 3(a)(1), 3(a)(4)", BY)
    .because("the outbound license keeps the credit")
    .with(CREDIT),
    row(
        "AD-BY",
        From::Class(&[C::Attribution]),
        To::Class(&[C::Permissive, C::Apache, C::StrongCopyleft, C::WeakCopyleft]),
        Obligations,
    )
    .by("CC BY 4.0 3(a)(1), 3(a)(4)", BY)
    .because("the outbound license may differ as long as recipients can still give the credit")
    .then("keep the credit in NOTICE and say there that CC BY applies to that part")
    .with(CREDIT),
    row(
        "AD-BY",
        From::Class(&[C::Attribution]),
        To::Class(FREE),
        Conflict,
    )
    .by("CC BY 4.0 3(a)(1), 3(a)(4)", BY)
    .because("the outbound license would let recipients drop the credit")
    .then("choose an outbound license that keeps the credit"),
    row("AD-BY", From::Class(&[C::Attribution]), To::Any, Review)
        .by("CC BY 4.0 2(a)(5), 3(a)(4)", BY)
        .because(
            "whether the outbound terms keep recipients from complying with CC BY has to be read",
        )
        .then("read the outbound terms beside section 3(a)(4)"),
    // Notices.
    row(
        "MB-01",
        From::Class(&[C::Permissive]),
        To::Class(FREE),
        Obligations,
    )
    .by("notice clause of the license", SPDX)
    .because("the notice has to stay, though the outbound license does not ask for it")
    .with(NOTICE),
    row("MB-01", From::Class(&[C::Permissive]), To::Any, Ok)
        .by("notice clause of the license", SPDX)
        .because("any license may follow as long as the notice stays")
        .with(NOTICE),
    row(
        "AP-01",
        From::Class(&[C::Apache]),
        To::Class(&[C::Apache]),
        Ok,
    )
    .by("Apache-2.0 4", APACHE)
    .because("the license stays the same")
    .with(APACHE_DUTIES),
    row(
        "AD-AP",
        From::Class(&[C::Apache]),
        To::Id(&[
            "GPL-3.0-only",
            "GPL-3.0-or-later",
            "AGPL-3.0-only",
            "AGPL-3.0-or-later",
            "LGPL-3.0-only",
            "LGPL-3.0-or-later",
        ]),
        Ok,
    )
    .by("GPL-3.0 7", GPL_LIST)
    .because("version 3 of the GPL takes Apache-2.0 in, one way")
    .with(APACHE_DUTIES),
    row(
        "AD-AP",
        From::Class(&[C::Apache]),
        To::Id(&["GPL-2.0-only"]),
        Conflict,
    )
    .by("GPL-2.0 6", GPL_LIST)
    .because(
        "the patent and indemnification terms of Apache-2.0 are further restrictions to GPL-2.0",
    )
    .then("license the result under GPL-3.0"),
    row("AD-AP", From::Class(&[C::Apache]), To::Class(SA), Review)
        .by(
            "Apache-2.0 4; CC BY-SA 4.0 3(b)(1)",
            "https://opensource.stackexchange.com/questions/12477",
        )
        .because("the two are not directly compatible in one work")
        .then("keep the parts in separate files, or ask the licensor"),
    row(
        "AD-AP",
        From::Class(&[C::Apache]),
        To::Class(&[
            C::Permissive,
            C::NonCommercial,
            C::NoDerivatives,
            C::UseRestricted,
        ]),
        Obligations,
    )
    .by("Apache-2.0 4", APACHE)
    .because("other terms may cover the work as a whole as long as section 4 is kept")
    .with(APACHE_DUTIES),
    row("AD-AP", From::Class(&[C::Apache]), To::Any, Review)
        .by("Apache-2.0 4", APACHE)
        .because("whether the outbound terms let section 4 be kept has to be read")
        .then("read the outbound terms beside section 4"),
    // Copyleft.
    row("AD-GPL", From::Class(&[C::StrongCopyleft]), To::Same, Ok)
        .by("GPL-3.0 5(c)", GPL)
        .because("the license stays the same")
        .then("give the source"),
    row(
        "AD-GPL",
        From::Id(&["GPL-3.0-or-later"]),
        To::Id(&["GPL-3.0-only"]),
        Ok,
    )
    .by("GPL-3.0 14", GPL)
    .because("any version from 3 on may be chosen")
    .then("give the source"),
    row(
        "AD-GPL",
        From::Id(&["GPL-2.0-or-later"]),
        To::Id(&["GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later"]),
        Ok,
    )
    .by(
        "GPL-2.0 9",
        "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
    )
    .because("any version from 2 on may be chosen")
    .then("give the source"),
    row(
        "AD-GPL",
        From::Id(&["GPL-3.0-only", "GPL-3.0-or-later"]),
        To::Id(&["AGPL-3.0-only", "AGPL-3.0-or-later"]),
        Review,
    )
    .by("GPL-3.0 13", GPL)
    .because("the two may be combined, but each part keeps its license")
    .then("read section 13 of both"),
    row(
        "AD-GPL",
        From::Class(&[C::StrongCopyleft]),
        To::Any,
        Conflict,
    )
    .by("GPL-3.0 5(c)", GPL)
    .because("the whole work has to stay under the license that came in")
    .then("license the result under that license"),
    row("AD-WEAK", From::Class(&[C::WeakCopyleft]), To::Same, Ok)
        .by("copyleft clause of the license", SPDX)
        .because("the license stays the same"),
    row("AD-WEAK", From::Class(&[C::WeakCopyleft]), To::Any, Review)
        .by("copyleft clause of the license", SPDX)
        .because("covered files stay under the license; whether weights are one has to be read")
        .then("read the license, or keep the part apart"),
    // Limits.
    row("AD-NC", From::Prefix("CC-BY-NC-SA-"), To::Same, Ok)
        .by(
            "CC BY-NC-SA 4.0 3(b)(1)",
            "https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode",
        )
        .because("the license stays the same; commercial use stays forbidden")
        .with(CREDIT),
    row("AD-NC", From::Prefix("CC-BY-NC-SA-"), To::Any, Conflict)
        .by(
            "CC BY-NC-SA 4.0 2(a)(1), 3(b)(1)",
            "https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode",
        )
        .because("the result stays non-commercial and under the same license")
        .then("leave it out, or ask its licensor"),
    row(
        "AD-NC",
        From::Prefix("CC-BY-NC-"),
        To::Class(&[C::NonCommercial]),
        Ok,
    )
    .by(
        "CC BY-NC 4.0 2(a)(1), 3(a)",
        "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
    )
    .because("the result stays non-commercial")
    .with(CREDIT),
    row("AD-NC", From::Class(&[C::NonCommercial]), To::Same, Review)
        .by("terms of the license", "the license's own text")
        .because("its terms are not modeled here and have to be read")
        .then("read the license"),
    row("AD-NC", From::Class(&[C::NonCommercial]), To::Any, Conflict)
        .by(
            "CC BY-NC 4.0 2(a)(1)",
            "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
        )
        .because("the outbound license permits commercial use, which the inbound one does not")
        .then("leave it out, or ask its licensor"),
    row("AD-ND", From::Class(&[C::NoDerivatives]), To::Any, Conflict)
        .by(
            "CC BY-ND 4.0 2(a)(1)(B)",
            "https://creativecommons.org/licenses/by-nd/4.0/legalcode",
        )
        .because("adapted material may be made but not shared")
        .then("leave it out, or ask its licensor"),
    row("AD-USE", From::Class(&[C::UseRestricted]), To::Same, Review)
        .by("use restrictions of the license", "the license's own text")
        .because("its limits on use have to be passed on, and its terms are not modeled here")
        .then("read the license"),
    row(
        "AD-USE",
        From::Class(&[C::UseRestricted]),
        To::Class(&[C::UseRestricted]),
        Review,
    )
    .by("use restrictions of the license", "the license's own text")
    .because("whether the outbound limits hold all of the inbound ones has to be read")
    .then("compare the two texts"),
    row(
        "AD-USE",
        From::Class(&[C::UseRestricted]),
        To::Any,
        Conflict,
    )
    .by("use restrictions of the license", "the license's own text")
    .because(
        "its limits on use have to be passed on, and the outbound license forbids or drops them",
    )
    .then("leave it out, or ask its licensor"),
    // Databases, sites, the rest.
    row(
        "OB-01",
        From::Class(&[C::DatabaseAttribution]),
        To::Same,
        Ok,
    )
    .by("ODC-By 1.0 4.2(a)", ODC_BY)
    .because("the license stays the same")
    .with(DATABASE),
    row(
        "OB-01",
        From::Class(&[C::DatabaseAttribution]),
        To::Any,
        Review,
    )
    .by("ODC-By 1.0 4.2(a), 4.3", ODC_BY)
    .because(
        "the license is made for databases; whether weights are one or a produced work is open",
    )
    .then("treat it as training data with --context train"),
    row(
        "AD-ODBL",
        From::Class(&[C::DatabaseShareAlike]),
        To::Same,
        Ok,
    )
    .by("ODbL 1.0 4.4", ODBL)
    .because("the license stays the same"),
    row(
        "AD-ODBL",
        From::Class(&[C::DatabaseShareAlike]),
        To::Any,
        Conflict,
    )
    .by("ODbL 1.0 4.4", ODBL)
    .because("a derivative database stays under ODbL")
    .then("license the result under ODbL-1.0"),
    row(
        "AD-TERMS",
        From::Class(&[C::StackTerms, C::SiteTerms]),
        To::Any,
        Review,
    )
    .by("terms of the site", "the site's own terms")
    .because("its terms are a contract and no license; they have to be read")
    .then("read the terms"),
    row("AD-OTHER", From::Any, To::Any, Review)
        .by("terms of the license", SPDX)
        .because("its terms are not modeled here and have to be read")
        .then("read the license"),
];

/// From data into weights.
pub(crate) static TRAIN: &[Row] = &[
    row("TR-PD", From::Class(FREE), To::Any, Ok)
        .by("no conditions", SPDX)
        .because("nothing is asked for"),
    row("OB-05", From::Class(&[C::DatabaseAttribution]), To::Any, Obligations)
        .by("ODC-By 1.0 4.3", ODC_BY)
        .because("a work produced from the database carries a notice; the contents keep their own rights")
        .then("put the sentence of section 4.3(a) into NOTICE")
        .with(&["OB-05", "OB-06"]),
    row("TR-BY", From::Class(&[C::Attribution]), To::Any, Obligations)
        .permissive(Ok)
        .by("CC BY 4.0 3(a)(1), 3(a)(2)", PRIMER)
        .because("read carefully, credit by a link to the source of the data is due; an exception may make the license irrelevant")
        .then("link the source in NOTICE")
        .with(CREDIT),
    row("TR-SA", From::Class(SA), To::LaterShareAlike, Obligations)
        .permissive(Ok)
        .by("CC BY-SA 4.0 3(a)(1), 3(b)(1)", PRIMER)
        .because("read carefully, credit and share-alike are due, and the outbound license fits")
        .then("link the source in NOTICE")
        .with(CREDIT),
    row("TR-SA", From::Id(&["CC-BY-SA-4.0"]), To::Id(&["GPL-3.0-only", "LAL-1.3"]), Obligations)
        .permissive(Ok)
        .by("CC BY-SA 4.0 3(a)(1), 3(b)(1)", DECLARATION)
        .because("read carefully, credit and share-alike are due, and the outbound license is a compatible one")
        .then("link the source in NOTICE")
        .with(CREDIT),
    row("TR-SA", From::Class(SA), To::Any, Conflict)
        .permissive(Review)
        .by("CC BY-SA 4.0 3(b)(1)", PRIMER)
        .because("read carefully, a model shared publicly follows share-alike; an exception may make the license irrelevant")
        .then("license the model under CC-BY-SA-4.0, or leave the data out"),
    row("TR-NC", From::Class(&[C::NonCommercial]), To::Class(&[C::NonCommercial]), Review)
        .by("CC BY-NC 4.0 2(a)(1)", PRIMER)
        .because("the model stays non-commercial; whether training is the use that the license means is open")
        .then("ask a lawyer"),
    row("TR-NC", From::Class(LIMITED), To::Any, Conflict)
        .permissive(Review)
        .by("CC BY-NC 4.0 2(a)(1); CC BY-ND 4.0 2(a)(1)(B)", PRIMER)
        .because("read carefully, the model would permit what the data forbids; an exception may make the license irrelevant")
        .then("leave the data out"),
    row("MB-01", From::Class(NOTICES), To::Any, Obligations)
        .permissive(Ok)
        .by("notice clause of the license", SPDX)
        .because("read carefully, the notices of the code go with the model")
        .then("ship the list of notices")
        .with(&["MB-01"]),
    row("TS-01", From::Class(&[C::StackTerms]), To::Any, Obligations)
        .by("The Stack Terms of Use 1 to 3", STACK)
        .because("the terms are a contract that binds whoever accepted them")
        .then("keep each file's license and origin, follow removals, pass the terms on")
        .with(STACK_DUTIES),
    row("TR-TERMS", From::Class(&[C::SiteTerms]), To::Any, Review)
        .by("terms of the site", "https://commoncrawl.org/terms-of-use")
        .because("the site's terms and the rights in its pages are no license; they have to be read")
        .then("read the terms"),
    row("TR-USE", From::Class(&[C::UseRestricted]), To::Any, Conflict)
        .permissive(Review)
        .by("use restrictions of the license", "the license's own text")
        .because("limits on use would have to be passed on to the model")
        .then("leave the data out"),
    row("TR-ODBL", From::Class(&[C::DatabaseShareAlike]), To::Any, Review)
        .permissive(Obligations)
        .by("ODbL 1.0 4.3, 4.4", ODBL)
        .because("whether weights are a produced work or a derivative database is open")
        .then("put the notice of section 4.3 into NOTICE"),
    row("TR-OTHER", From::Any, To::Any, Review)
        .by("terms of the license", PRIMER)
        .because("whether its terms reach a model trained on it is open")
        .then("read the license"),
];

/// Into data that is published again.
pub(crate) static DATA: &[Row] = &[
    row("DA-PD", From::Class(FREE), To::Any, Ok)
        .by("no conditions", SPDX)
        .because("nothing is asked for"),
    row("OB-01", From::Class(&[C::DatabaseAttribution]), To::Same, Ok)
        .by("ODC-By 1.0 4.2(a)", ODC_BY)
        .because("a derivative database stays under ODC-By")
        .with(DATABASE),
    row("OB-01", From::Class(&[C::DatabaseAttribution]), To::Any, Conflict)
        .by("ODC-By 1.0 4.2(a)", ODC_BY)
        .because("a derivative database may be conveyed publicly only under ODC-By")
        .then(PUBLISH_RECIPE)
        .with(DATABASE),
    row("OB-06", From::Contents(&[C::ShareAlike, C::Attribution]), To::Class(&[C::DatabaseAttribution]), Obligations)
        .by("ODC-By 1.0 2.4", ODC_BY)
        .because("ODC-By covers the database and not its contents, which keep their own license")
        .then("name the license of the contents beside them")
        .with(&["OB-06", "SA-01", "SA-05", "SA-07"]),
    row("SA-14", From::Contents(SA), To::LaterShareAlike, Obligations)
        .by("CC BY-SA 4.0 3(a), 3(b)(1)", BY_SA)
        .because("the contents keep their license, and the outbound one has the same elements")
        .with(CREDIT),
    row("SA-14", From::Contents(SA), To::Any, Review)
        .by("CC BY-SA 4.0 3(a), 3(b)(1)", BY_SA)
        .because("the contents keep their license; whether cleaned text is adapted material has to be judged")
        .then(PUBLISH_RECIPE),
    row("SA-14", From::Class(SA), To::LaterShareAlike, Ok)
        .by("CC BY-SA 4.0 4(b), 3(b)(1)", BY_SA)
        .because("a database with a substantial part of it stays under the same license elements")
        .with(SHARE_ADAPTED),
    row("SA-14", From::Class(SA), To::Any, Conflict)
        .by("CC BY-SA 4.0 4(b), 3(b)(1)", BY_SA)
        .because("a database with a substantial part of it is adapted material and stays share-alike")
        .then(PUBLISH_RECIPE),
    row("DA-BY", From::Class(&[C::Attribution]), To::Class(FREE), Conflict)
        .by("CC BY 4.0 3(a)(1), 3(a)(4)", BY)
        .because("the outbound license would let recipients drop the credit")
        .then(PUBLISH_RECIPE),
    row("DA-BY", From::Class(&[C::Attribution]), To::Class(&[C::Attribution, C::ShareAlike, C::DatabaseAttribution, C::DatabaseShareAlike, C::NonCommercial]), Obligations)
        .by("CC BY 4.0 3(a)(1), 4(c)", BY)
        .because("the credit goes with the data")
        .with(CREDIT),
    row("DA-BY", From::Class(&[C::Attribution]), To::Any, Review)
        .by("CC BY 4.0 3(a)(4)", BY)
        .because("whether the outbound terms keep recipients from giving the credit has to be read")
        .then(PUBLISH_RECIPE),
    row("MB-01", From::Class(NOTICES), To::Any, Obligations)
        .by("notice clause of the license", SPDX)
        .because("the notices go with each file")
        .with(NOTICE),
    row("TS-03", From::Class(&[C::StackTerms]), To::Any, Obligations)
        .by("The Stack Terms of Use 3", STACK)
        .because("whoever hosts the data ships the terms and has users agree to them")
        .then("ship the terms behind a click, or publish the recipe instead of the text")
        .with(STACK_DUTIES),
    row("DA-TERMS", From::Class(&[C::SiteTerms]), To::Any, Review)
        .by("terms of the site", "https://commoncrawl.org/terms-of-use")
        .because("the site's terms and the rights in its pages limit publishing them again")
        .then(PUBLISH_RECIPE),
    row("DA-NC", From::Class(&[C::NonCommercial]), To::Same, Obligations)
        .by("CC BY-NC 4.0 2(a)(1), 3(a)", "https://creativecommons.org/licenses/by-nc/4.0/legalcode")
        .because("the license stays the same; commercial use stays forbidden")
        .with(CREDIT),
    row("DA-NC", From::Class(&[C::NonCommercial]), To::Any, Conflict)
        .by("CC BY-NC 4.0 2(a)(1)", "https://creativecommons.org/licenses/by-nc/4.0/legalcode")
        .because("the outbound license permits commercial use, which the inbound one does not")
        .then(PUBLISH_RECIPE),
    row("DA-ND", From::Class(&[C::NoDerivatives]), To::Any, Conflict)
        .by("CC BY-ND 4.0 2(a)(1)(B)", "https://creativecommons.org/licenses/by-nd/4.0/legalcode")
        .because("a filtered or merged copy may be made but not shared")
        .then(PUBLISH_RECIPE),
    row("DA-ODBL", From::Class(&[C::DatabaseShareAlike]), To::Same, Ok)
        .by("ODbL 1.0 4.4", ODBL)
        .because("a derivative database stays under ODbL"),
    row("DA-ODBL", From::Class(&[C::DatabaseShareAlike]), To::Any, Conflict)
        .by("ODbL 1.0 4.4", ODBL)
        .because("a derivative database stays under ODbL")
        .then(PUBLISH_RECIPE),
    row("DA-USE", From::Class(&[C::UseRestricted]), To::Any, Conflict)
        .by("use restrictions of the license", "the license's own text")
        .because("limits on use have to be passed on, and the outbound license drops or changes them")
        .then(PUBLISH_RECIPE),
    row("DA-SAME", From::Class(&[C::StrongCopyleft, C::WeakCopyleft, C::FreeArt]), To::Same, Ok)
        .by("copyleft clause of the license", SPDX)
        .because("the license stays the same"),
    row("DA-OTHER", From::Any, To::Any, Review)
        .by("terms of the license", SPDX)
        .because("its terms are not modeled for published data and have to be read")
        .then(PUBLISH_RECIPE),
];

const PUBLISH_RECIPE: &str =
    "publish a recipe (manifest, hashes and rules) instead of the text: --recipe-only";

/// Side by side in one release.
pub(crate) static AGG: &[Row] = &[
    row("TS-03", From::Class(&[C::StackTerms]), To::Any, Obligations)
        .by("The Stack Terms of Use 3", STACK)
        .because("whoever hosts the data ships the terms and has users agree to them")
        .with(STACK_DUTIES),
    row(
        "AG-TERMS",
        From::Class(&[C::SiteTerms, C::Unmodeled]),
        To::Any,
        Review,
    )
    .by("terms of the license", "the license's own text")
    .because("its terms are not modeled here; whether copies may be shared has to be read")
    .then("read the terms"),
    row("AG-SA", From::Class(SA), To::Any, Ok)
        .by("CC BY-SA 4.0 3(a)", BY_SA)
        .because("a file beside others keeps its own license")
        .then("name each file's license in REUSE.toml")
        .with(SHARE),
    row("AG-BY", From::Class(&[C::Attribution]), To::Any, Ok)
        .by("CC BY 4.0 3(a)", BY)
        .because("a file beside others keeps its own license")
        .then("name each file's license in REUSE.toml")
        .with(CREDIT),
    row("AG-AP", From::Class(&[C::Apache]), To::Any, Ok)
        .by("Apache-2.0 4", APACHE)
        .because("a file beside others keeps its own license")
        .then("name each file's license in REUSE.toml")
        .with(APACHE_DUTIES),
    row("AG-MB", From::Class(&[C::Permissive]), To::Any, Ok)
        .by("notice clause of the license", SPDX)
        .because("a file beside others keeps its own license")
        .then("name each file's license in REUSE.toml")
        .with(NOTICE),
    row(
        "AG-ODC",
        From::Class(&[C::DatabaseAttribution]),
        To::Any,
        Ok,
    )
    .by("ODC-By 1.0 4.5(a)", ODC_BY)
    .because("a database in a collection keeps its own license")
    .then("name each file's license in REUSE.toml")
    .with(&["OB-02", "OB-03", "OB-04", "OB-06"]),
    row("AG-01", From::Any, To::Any, Ok)
        .by("REUSE 3.3", REUSE)
        .because("a file beside others keeps its own license, with its own limits")
        .then("name each file's license in REUSE.toml, and ship its text"),
];

/// For oneself, shared with nobody.
pub(crate) static PRIVATE: &[Row] = &[
    row("TS-01", From::Class(&[C::StackTerms]), To::Any, Obligations)
        .by("The Stack Terms of Use 1, 2", STACK)
        .because("the terms are a contract and bind without sharing")
        .with(&["TS-01", "TS-02"]),
    row(
        "PR-USE",
        From::Class(&[C::NonCommercial, C::UseRestricted]),
        To::Any,
        Review,
    )
    .by("limits on use", "the license's own text")
    .because("its limits bind the use itself, shared or not")
    .then("see whether the use is within the limits"),
    row(
        "PR-TERMS",
        From::Class(&[C::SiteTerms, C::Unmodeled]),
        To::Any,
        Review,
    )
    .by("terms of the license", "the license's own text")
    .because("its terms are not modeled here and may bind without sharing")
    .then("read the terms"),
    row("SA-17", From::Any, To::Any, Ok)
        .by("CC BY-SA 4.0 1(k)", BY_SA)
        .because("internal use is not sharing; the duties begin when copies leave"),
];
