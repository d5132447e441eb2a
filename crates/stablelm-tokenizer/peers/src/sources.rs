//! Which packages the corpus is made of: what is read in each, how, and how much of it.

use std::fmt;

/// A kind of text: one file of the corpus, one column of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// English: dictionaries and documentation without markup.
    Prose,
    /// Pages of documentation, as their text, one in twelve as HTML (a quarter of the bytes).
    Web,
    /// Source code in ten languages.
    Code,
    /// Documentation and messages in some thirty languages and twenty scripts.
    Multilingual,
}

impl Kind {
    /// Every kind, in the order of the tables.
    pub(crate) const ALL: [Self; 4] = [Self::Prose, Self::Web, Self::Code, Self::Multilingual];

    /// Returns the least share of bytes outside of ASCII that a document must have: most of what is
    /// called translated is English for a part.
    pub(crate) fn least_beyond_ascii(self) -> f64 {
        if self == Self::Multilingual { 0.1 } else { 0.0 }
    }

    /// Returns how much text is kept of it, in bytes.
    pub(crate) fn cap(self) -> usize {
        match self {
            Self::Prose => 30_000_000,
            Self::Web | Self::Multilingual => 26_000_000,
            Self::Code => 28_000_000,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Prose => "prose",
            Self::Web => "web",
            Self::Code => "code",
            Self::Multilingual => "multilingual",
        })
    }
}

/// How a file becomes text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    /// As it is.
    Plain,
    /// HTML or XML: what stands between the tags.
    Markup,
    /// Markup, but every twelfth file as it is.
    Pages,
    /// A manual page: its text without most requests.
    Manual,
    /// A compiled message catalog: its translations.
    Catalog,
}

/// Files of one package that go into the corpus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// What their text counts as.
    pub(crate) kind: Kind,
    /// The Debian package.
    pub(crate) package: &'static str,
    /// What must stand in their path.
    pub(crate) within: &'static str,
    /// How their name ends; a final `.gz` is not looked at.
    pub(crate) suffix: &'static str,
    /// How they are read.
    pub(crate) format: Format,
    /// How much text is taken at most, in thousands of bytes.
    pub(crate) limit_kb: usize,
}

const fn source(
    kind: Kind,
    package: &'static str,
    within: &'static str,
    suffix: &'static str,
    format: Format,
    limit_kb: usize,
) -> Source {
    Source {
        kind,
        package,
        within,
        suffix,
        format,
        limit_kb,
    }
}

/// Everything the corpus is made of.
pub(crate) fn all() -> impl Iterator<Item = Source> {
    PROSE
        .into_iter()
        .chain(WEB)
        .chain(CODE)
        .chain(MULTILINGUAL)
        .chain(HELP_PAGES.map(|language| {
            source(
                Kind::Multilingual,
                "gnome-user-docs",
                language,
                ".page",
                Format::Markup,
                700,
            )
        }))
        .chain(CATALOGS.map(|package| {
            source(
                Kind::Multilingual,
                package,
                "/LC_MESSAGES/",
                ".mo",
                Format::Catalog,
                1_200,
            )
        }))
}

const PROSE: [Source; 8] = {
    use Format::{Markup, Plain};
    use Kind::Prose;
    [
        source(Prose, "dict-gcide", "", ".dict.dz", Plain, 9_000),
        source(Prose, "dict-wn", "", ".dict.dz", Plain, 5_000),
        source(Prose, "dict-foldoc", "", ".dict.dz", Plain, 6_000),
        source(Prose, "dict-jargon", "", ".dict.dz", Plain, 2_000),
        source(Prose, "linux-doc-6.1", "", ".rst", Plain, 6_000),
        source(Prose, "perl-doc", "", ".pod", Plain, 6_000),
        source(Prose, "git-doc", "", ".txt", Plain, 2_000),
        source(Prose, "gnome-user-docs", "/C/", ".page", Markup, 2_000),
    ]
};

const WEB: [Source; 6] = {
    use Format::Pages;
    use Kind::Web;
    [
        source(Web, "python3.11-doc", "", ".html", Pages, 8_000),
        source(Web, "postgresql-doc-15", "", ".html", Pages, 6_000),
        source(Web, "sqlite3-doc", "", ".html", Pages, 7_000),
        source(Web, "linux-doc-6.1", "", ".html", Pages, 5_000),
        source(Web, "rust-doc", "/std/", ".html", Pages, 5_000),
        source(Web, "git-doc", "", ".html", Pages, 3_000),
    ]
};

const CODE: [Source; 13] = {
    use Format::Plain;
    use Kind::Code;
    [
        source(Code, "rust-src", "/library/", ".rs", Plain, 5_000),
        source(Code, "golang-1.19-src", "", ".go", Plain, 5_000),
        source(Code, "libboost1.74-dev", "", ".hpp", Plain, 4_000),
        source(Code, "libpython3.11-stdlib", "", ".py", Plain, 5_000),
        source(Code, "node-typescript", "", "/typescript.js", Plain, 2_500),
        source(Code, "node-typescript", "", ".ts", Plain, 1_500),
        source(Code, "libruby3.1", "", ".rb", Plain, 3_500),
        source(Code, "perl-modules-5.36", "", ".pm", Plain, 2_500),
        source(Code, "golang-1.19-src", "", ".s", Plain, 700),
        source(Code, "nginx-dev", "", ".h", Plain, 400),
        source(Code, "bash-completion", "/completions/", "", Plain, 700),
        source(Code, "libboost1.74-dev", "", ".h", Plain, 200),
        source(Code, "node-typescript", "", ".json", Plain, 700),
    ]
};

const MULTILINGUAL: [Source; 9] = {
    use Format::{Manual, Markup};
    use Kind::Multilingual;
    [
        source(Multilingual, "manpages-ja", "/ja/", "", Manual, 2_500),
        source(Multilingual, "manpages-zh", "/zh_CN/", "", Manual, 1_500),
        source(Multilingual, "manpages-zh", "/zh_TW/", "", Manual, 1_000),
        source(Multilingual, "manpages-ru", "/ru/", "", Manual, 2_000),
        source(Multilingual, "manpages-uk", "/uk/", "", Manual, 800),
        source(
            Multilingual,
            "libreoffice-help-hi",
            "/text/",
            ".html",
            Markup,
            2_000,
        ),
        source(
            Multilingual,
            "libreoffice-help-ja",
            "/text/",
            ".html",
            Markup,
            1_200,
        ),
        source(
            Multilingual,
            "libreoffice-help-ko",
            "/text/",
            ".html",
            Markup,
            2_000,
        ),
        source(
            Multilingual,
            "libreoffice-help-zh-cn",
            "/text/",
            ".html",
            Markup,
            1_200,
        ),
    ]
};

const HELP_PAGES: [&str; 14] = [
    "/as/", "/cs/", "/el/", "/fa/", "/gu/", "/hu/", "/ja/", "/ko/", "/mr/", "/ru/", "/ta/", "/te/",
    "/uk/", "/zh_CN/",
];

const CATALOGS: [&str; 28] = [
    "libreoffice-l10n-am",
    "libreoffice-l10n-ar",
    "libreoffice-l10n-be",
    "libreoffice-l10n-bg",
    "libreoffice-l10n-bn",
    "libreoffice-l10n-dz",
    "libreoffice-l10n-el",
    "libreoffice-l10n-fa",
    "libreoffice-l10n-he",
    "libreoffice-l10n-hi",
    "libreoffice-l10n-ja",
    "libreoffice-l10n-ka",
    "libreoffice-l10n-kk",
    "libreoffice-l10n-km",
    "libreoffice-l10n-ko",
    "libreoffice-l10n-ml",
    "libreoffice-l10n-mn",
    "libreoffice-l10n-ne",
    "libreoffice-l10n-ru",
    "libreoffice-l10n-si",
    "libreoffice-l10n-ta",
    "libreoffice-l10n-te",
    "libreoffice-l10n-th",
    "libreoffice-l10n-ug",
    "libreoffice-l10n-uk",
    "libreoffice-l10n-vi",
    "libreoffice-l10n-zh-cn",
    "libreoffice-l10n-zh-tw",
];
