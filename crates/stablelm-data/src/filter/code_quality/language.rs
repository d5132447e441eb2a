//! What a file is written in, as far as the rules treat files differently.

use crate::document::Document;

/// The kinds of files that rules tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Comments as in C: `//` and `/* */`.
    Braces,
    /// Comments between `/*` and `*/` alone.
    Css,
    /// Comments from `--`, as in Lua, Haskell and SQL.
    Dashes,
    /// JSON or YAML.
    Data,
    /// Comments from `#`.
    Hashes,
    Html,
    /// Comments from `%`, as in TeX and MATLAB.
    Percents,
    /// Comments from `#`, and documentation strings.
    Python,
    Xslt,
    /// None of the above.
    Other,
}

impl Format {
    /// By the language that the source states, else by how the file's name ends.
    pub(super) fn of(document: &Document) -> Self {
        if let Some(language) = &document.language {
            let language = language.to_ascii_lowercase().replace([' ', '_'], "-");
            return Self::called(LANGUAGES, &language);
        }
        let Some(file) = &document.file else {
            return Self::Other;
        };
        let name = file.rsplit('/').next().unwrap_or(file);
        let end = name.rsplit('.').next().unwrap_or(name);
        Self::called(EXTENSIONS, &end.to_ascii_lowercase())
    }

    fn called(names: &[(Self, &[&str])], name: &str) -> Self {
        let found = names.iter().find(|(_, names)| names.contains(&name));
        found.map_or(Self::Other, |(format, _)| *format)
    }
}

/// Names of languages in lower case, as The Stack and its folders call them.
#[rustfmt::skip]
const LANGUAGES: &[(Format, &[&str])] = &[
    (Format::Braces, &[
        "c", "c++", "cpp", "c#", "c-sharp", "cuda", "d", "dart", "f#", "f-sharp", "glsl", "go",
        "groovy", "java", "javascript", "jsx", "kotlin", "objective-c", "objective-c++", "php",
        "rust", "scala", "scss", "solidity", "swift", "systemverilog", "typescript", "tsx",
        "verilog", "zig",
    ]),
    (Format::Css, &["css"]),
    (Format::Dashes, &["ada", "agda", "elm", "haskell", "lua", "sql", "vhdl"]),
    (Format::Data, &["json", "yaml"]),
    (Format::Hashes, &[
        "awk", "cmake", "dockerfile", "elixir", "julia", "makefile", "perl", "powershell", "r",
        "ruby", "shell", "tcl", "toml",
    ]),
    (Format::Html, &["html"]),
    (Format::Percents, &["erlang", "matlab", "prolog", "tex"]),
    (Format::Python, &["python"]),
    (Format::Xslt, &["xslt"]),
];

/// How the names of their files end, in lower case.
#[rustfmt::skip]
const EXTENSIONS: &[(Format, &[&str])] = &[
    (Format::Braces, &[
        "c", "c++", "cc", "cpp", "cs", "cu", "cuh", "cxx", "d", "dart", "fs", "go", "groovy", "h",
        "h++", "hh", "hpp", "hxx", "java", "js", "jsx", "kt", "mm", "php", "rs", "scala", "scss",
        "sol", "sv", "swift", "ts", "tsx", "v", "zig",
    ]),
    (Format::Css, &["css"]),
    (Format::Dashes, &["ada", "adb", "ads", "agda", "elm", "hs", "lua", "sql", "vhd", "vhdl"]),
    (Format::Data, &["json", "yaml", "yml"]),
    (Format::Hashes, &[
        "awk", "bash", "cmake", "dockerfile", "ex", "exs", "jl", "makefile", "mk", "pl", "pm",
        "ps1", "r", "rb", "sh", "tcl", "toml", "zsh",
    ]),
    (Format::Html, &["htm", "html", "xhtml"]),
    (Format::Percents, &["erl", "m", "tex"]),
    (Format::Python, &["py", "pyi"]),
    (Format::Xslt, &["xsl", "xslt"]),
];
