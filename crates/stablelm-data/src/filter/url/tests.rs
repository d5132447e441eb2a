//! Rules on addresses, one by one. What is expected was written by hand after datatrove's
//! `url_filter.py`; for the addresses of `rules_are_tried_in_datatroves_order`, datatrove 0.10.1 was
//! run once with the same lists, and agrees.

use super::*;
use crate::filter::FilterRecipe;
use crate::recipe::profiles::parse_filters;

fn filter(settings: &str) -> Url {
    let toml = format!("[[filters]]\nname = \"url\"\n{settings}");
    match parse_filters(&toml).unwrap().pop() {
        Some(FilterRecipe::Url(filter)) => filter,
        other => panic!("{other:?}"),
    }
}

fn judge(filter: &Url, url: Option<&str>, metrics: &mut Metrics) -> Option<&'static str> {
    let document = Document {
        url: url.map(str::to_owned),
        ..Document::default()
    };
    match filter.apply(&document, &mut Scratch::default(), metrics) {
        Outcome::Drop(reason) => Some(reason.name),
        Outcome::Keep => None,
        Outcome::Rewrite(_) => panic!("an address does not rewrite a text"),
    }
}

#[track_caller]
fn check(filter: &Url, url: &str, expected: Option<&str>) {
    let found = judge(filter, Some(url), &mut Metrics::off());
    assert_eq!(found, expected, "{url}");
    let measured = judge(filter, Some(url), &mut Metrics::on());
    assert_eq!(measured, expected, "with metrics: {url}");
}

const LISTS: &str = r##"
use_integrated_lists = false
extra_domains = ["bad.com", "evil.good.co.uk", " sp.com ", "#off.com"]
extra_urls = ["https://good.com/Page?x=1"]
banned_words = ["porn", "Free-Money"]
soft_banned_words = ["casino", "adult", "bet"]
banned_subwords = ["hardcorexx"]
"##;

#[test]
fn rules_are_tried_in_datatroves_order() {
    let filter = filter(LISTS);
    check(&filter, "https://good.com/", None);
    check(&filter, "https://www.bad.com/porn", Some("domain"));
    check(&filter, "https://bad.com.good.com/", None);
    check(&filter, "https://BAD.com/", None);
    check(&filter, "http://evil.good.co.uk/", Some("subdomain"));
    check(&filter, "http://more.evil.good.co.uk/", None);
    check(&filter, "sp.com", Some("domain"));
    check(&filter, "off.com", None);
    check(&filter, "https://good.com/Page?x=1", Some("url"));
    check(&filter, "https://good.com/page?x=1", None);
    check(
        &filter,
        "https://good.com/free-porn.html",
        Some("hard_blacklisted"),
    );
    check(&filter, "https://good.com/Porn.html", None);
    check(&filter, "https://good.com/porno", None);
    check(
        &filter,
        "https://good.com/freemoney",
        Some("hard_blacklisted"),
    );
    check(&filter, "https://good.com/free-money", None);
    check(&filter, "https://good.com/casino-casino", None);
    check(
        &filter,
        "https://good.com/casino/bet",
        Some("soft_blacklisted"),
    );
    check(&filter, "https://good.com/casino/bets", None);
    check(
        &filter,
        "https://good.com/Hard-Core.XX/",
        Some("blacklisted_subword"),
    );
    check(
        &filter,
        "https://xhard.corexxy.com/",
        Some("blacklisted_subword"),
    );
}

#[test]
fn a_document_without_an_address_is_kept() {
    let filter = filter(LISTS);
    for url in [None, Some("")] {
        let mut metrics = Metrics::on();
        assert_eq!(judge(&filter, url, &mut metrics), None);
        assert_eq!(metrics.into_map()["has_url"], false);
    }
}

#[test]
fn metrics_say_what_was_found() {
    let mut metrics = Metrics::on();
    let url = "https://a.b.co.uk/porn/bet?casino=hardcorexx";
    assert_eq!(
        judge(&filter(LISTS), Some(url), &mut metrics),
        Some("hard_blacklisted")
    );
    let metrics = metrics.into_map();
    assert_eq!(metrics["registered_domain"], "b.co.uk");
    assert_eq!(metrics["fqdn"], "a.b.co.uk");
    assert_eq!(metrics["banned_word"], "porn");
    assert_eq!(metrics["soft_words"], 2);
    assert_eq!(metrics["banned_subword"], "hardcorexx");
}

#[test]
fn the_soft_threshold_can_be_moved_and_turned_off() {
    let none = filter("soft_word_threshold = 0");
    check(&none, "https://a.com/casino/poker/slots", None);
    let one = filter("soft_word_threshold = 1");
    check(&one, "https://a.com/casino", Some("soft_blacklisted"));
}

#[test]
fn the_built_in_words_are_few_and_can_be_left_out() {
    let with = filter("");
    check(&with, "https://a.com/porn", Some("hard_blacklisted"));
    check(&with, "https://a.com/poker-slots", Some("soft_blacklisted"));
    check(
        &with,
        "https://best-online-casino.com/",
        Some("blacklisted_subword"),
    );
    check(&with, "https://www.essex.gov.uk/adult-education", None);
    let without = filter("use_integrated_lists = false");
    check(
        &without,
        "https://a.com/porn/poker-slots-onlinecasino",
        None,
    );
}

#[test]
fn curated_sites_are_dropped_with_their_hosts_when_asked() {
    let filter = filter("curated_domains = true");
    for url in [
        "https://arxiv.org/abs/2306.01116",
        "http://www.github.com/a",
        "https://en.wikipedia.org/wiki/Rust",
        "https://EXPORTER.nih.gov/",
    ] {
        check(&filter, url, Some("curated_domain"));
    }
    for url in [
        "https://nih.gov/",
        "https://notgithub.com/",
        "https://a.com/github.com",
    ] {
        check(&filter, url, None);
    }
}

#[test]
fn lists_come_from_files_too() {
    let mut filter = filter(
        "use_integrated_lists = false\ndomains_file = \"domains\"\nurls_file = \"urls\"\n\
         banned_words_file = \"hard\"\nsoft_words_file = \"soft\"\n\
         banned_subwords_file = \"sub\"\nextra_domains = [\"inline.com\"]",
    );
    assert_eq!(filter, filter.clone());
    let read = |file: &str| {
        Ok(match file {
            "domains" => b"# adult\nbad.com\r\n\xff\xfe\n".to_vec(),
            "urls" => b"http://a.com/x\n".to_vec(),
            "hard" => b"\nwarez\n".to_vec(),
            "soft" => b"one\ntwo".to_vec(),
            "sub" => b"three".to_vec(),
            other => panic!("{other}"),
        })
    };
    filter.load(&read).unwrap();
    check(&filter, "http://bad.com/", Some("domain"));
    check(&filter, "http://inline.com/", Some("domain"));
    check(&filter, "http://a.com/x", Some("url"));
    check(&filter, "http://a.com/warez/", Some("hard_blacklisted"));
    check(&filter, "http://a.com/one-two", Some("soft_blacklisted"));
    check(&filter, "http://a.com/th/ree", Some("blacklisted_subword"));
    check(&filter, "http://a.com/", None);
    let missing = filter.load(&|_| Err(io::ErrorKind::NotFound.into()));
    assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
}

proptest::proptest! {
    #[test]
    fn no_address_is_too_odd(url in "\\PC{0,60}", host in "[a-z0-9.@:/\\[\\]\u{3002}\u{e9}\u{130}#?-]{0,40}") {
        let filter = filter("curated_domains = true\nextra_domains = [\"a.com\"]");
        judge(&filter, Some(&url), &mut Metrics::on());
        judge(&filter, Some(&host), &mut Metrics::on());
        judge(&filter, Some(&format!("https://{host}.co.uk")), &mut Metrics::on());
    }
}
