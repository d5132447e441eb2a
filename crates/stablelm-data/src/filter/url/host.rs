//! From an address to its host and the domain that somebody registered.
//!
//! As tldextract 5 does it for datatrove: the address may lack a scheme, letters keep their case, and
//! of the Public Suffix List only the part that registries run counts, so that every blog under
//! `blogspot.com` belongs to `blogspot.com`. The list itself is the one inside the crate `psl`.

use std::net::Ipv6Addr;

use psl::{Psl as _, Type};

use crate::text::is_space;

/// Characters that separate the labels of a host beside the full stop.
const OTHER_DOTS: [char; 3] = ['\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// The host of an address, and where in it the registered domain starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    name: String,
    /// Where the registered domain starts; `None` for what has no known suffix, such as an IP address.
    registered: Option<usize>,
}

impl Host {
    /// Finds the host of `url`, in the letters it is written in.
    pub(super) fn of(url: &str) -> Self {
        let name = host_of(url).replace(OTHER_DOTS, ".");
        let registered = registered_start(&name);
        Self { name, registered }
    }

    /// The host as written.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The registered domain, `bbc.co.uk` of `forums.bbc.co.uk`; empty where there is none.
    pub(super) fn registered_domain(&self) -> &str {
        self.registered.map_or("", |start| &self.name[start..])
    }

    /// The whole host if it has a registered domain, else nothing.
    pub(super) fn fqdn(&self) -> &str {
        match self.registered {
            // A lone empty label before the domain is no subdomain.
            Some(1) => &self.name[1..],
            Some(_) => &self.name,
            None => "",
        }
    }
}

/// The part between scheme, user and port, as `lenient_netloc` of tldextract cuts it out.
fn host_of(url: &str) -> &str {
    let rest = without_scheme(url);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let after_user = authority.rsplit('@').next().unwrap_or(authority);
    if after_user.starts_with('[')
        && let Some(end) = after_user.find(']')
    {
        return &after_user[..=end];
    }
    let host = after_user.split(':').next().unwrap_or(after_user);
    let host = host.trim_matches(is_space);
    host.trim_end_matches(|c| c == '.' || OTHER_DOTS.contains(&c))
}

fn without_scheme(url: &str) -> &str {
    let Some(slashes) = url.find("//") else {
        return url;
    };
    let is_scheme = |scheme: &str| {
        let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        !scheme.is_empty() && scheme.chars().all(in_scheme)
    };
    match url[..slashes].strip_suffix(':') {
        Some(scheme) if is_scheme(scheme) => &url[slashes + 2..],
        None if slashes == 0 => &url[2..],
        _ => url,
    }
}

fn registered_start(host: &str) -> Option<usize> {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
        return None;
    }
    let lower = host.to_lowercase();
    let suffix_labels = 1 + registry_suffix(&lower)?.matches('.').count();
    // Lower case can have another length in bytes, but never another number of dots.
    let mut dots = host.rmatch_indices('.').map(|(at, _)| at);
    let suffix_dot = dots.nth(suffix_labels - 1)?;
    let start = dots.next().map_or(0, |at| at + 1);
    (start < suffix_dot).then_some(start)
}

/// The suffix of a host in lower case under which a registry registers names.
fn registry_suffix(host: &str) -> Option<&str> {
    let mut rest = host;
    loop {
        let suffix = psl::List.suffix(rest.as_bytes())?;
        let length = suffix.as_bytes().len();
        match suffix.typ()? {
            Type::Icann => return Some(&host[host.len() - length..]),
            // A rule of a private owner hides the shorter rule of the registry.
            Type::Private => {
                let private = &host[host.len() - length..];
                rest = &private[private.find('.')? + 1..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is expected was written by hand; tldextract 5.4.0 was run once with the list it ships,
    /// and agrees.
    #[test]
    fn hosts_are_cut_as_tldextract_cuts_them() {
        fn check(url: &str, registered_domain: &str, fqdn: &str) {
            let host = Host::of(url);
            assert_eq!(
                (host.registered_domain(), host.fqdn()),
                (registered_domain, fqdn),
                "{url:?}"
            );
        }
        check(
            "http://forums.bbc.co.uk/a?b#c",
            "bbc.co.uk",
            "forums.bbc.co.uk",
        );
        check(
            "https://me:pw@www.Example.COM:80/",
            "Example.COM",
            "www.Example.COM",
        );
        check("//example.com", "example.com", "example.com");
        check("example.com/a//b", "example.com", "example.com");
        check("a.blogspot.com", "blogspot.com", "a.blogspot.com");
        check("x.s3.amazonaws.com", "amazonaws.com", "x.s3.amazonaws.com");
        check("http://localhost:8080", "", "");
        check("http://127.0.0.1/a", "", "");
        check("http://[::1]:80/", "", "");
        check("http://com", "", "");
        check("http://www.ck", "www.ck", "www.ck");
        check("http://a.b.ck", "a.b.ck", "a.b.ck");
        check("http://b.ck", "", "");
        check(
            "http://a\u{3002}example\u{ff0e}com.",
            "example.com",
            "a.example.com",
        );
        check("http://.example.com", "example.com", "example.com");
        check("http://a..com", "", "");
        check(
            "x.\u{43f}\u{440}\u{438}\u{43c}\u{435}\u{440}.\u{440}\u{444}",
            "\u{43f}\u{440}\u{438}\u{43c}\u{435}\u{440}.\u{440}\u{444}",
            "x.\u{43f}\u{440}\u{438}\u{43c}\u{435}\u{440}.\u{440}\u{444}",
        );
        check("x.y.xn--p1ai", "y.xn--p1ai", "x.y.xn--p1ai");
        check("", "", "");
        check("mailto:a@b.org", "b.org", "b.org");
    }
}
