//! The comparison: its parts one after the other, each as a table.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::args::{Compare, Part};
use crate::encoders::Linked;
use crate::peers::{Measured, Peer, measure};
use crate::report::{self, number, ratio};
use crate::sources::Kind;
use crate::{adversarial, command, corpus, peers, threads};

const OURS: Peer = Peer::Linked(Linked::Ours);
const HF: Peer = Peer::Linked(Linked::Hf);
const HF_RC: Peer = Peer::Linked(Linked::HfRc);

/// Runs the parts that were asked for.
pub(crate) fn compare(options: &Compare) -> Result<()> {
    corpus::build(&options.folder)?;
    report::header();
    let has = |part| options.parts.contains(&part);
    let mut references = None;
    if has(Part::Passes) {
        peers::install_wheels(&options.folder)?;
        references = Some(passes(options)?);
    }
    if has(Part::Adversarial) {
        hard_documents(options)?;
    }
    if has(Part::Threads) {
        scaling(options)?;
    }
    if has(Part::Command) {
        whole_process(options, references.as_deref())?;
    }
    Ok(())
}

/// Everyone over the whole corpus; returns the reference's rates by kind.
fn passes(options: &Compare) -> Result<Vec<f64>> {
    let mut results: Vec<Vec<Measured>> = Vec::new();
    let mut about = Vec::new();
    for kind in Kind::ALL {
        eprintln!("{kind}");
        let documents = corpus::path(&options.folder, kind);
        let measured = all_peers(options, &documents)?;
        about.push(about_kind(options, kind, &documents, &measured)?);
        results.push(measured);
    }
    let mut columns = vec!["MB/s".to_owned()];
    for kind in Kind::ALL {
        columns.extend([format!("{kind}, first"), "second".to_owned()]);
    }
    let row = |name: String, cell: &dyn Fn(&[Measured], usize) -> String| {
        let cells = results
            .iter()
            .flat_map(|of_kind| [cell(of_kind, 0), cell(of_kind, 1)]);
        std::iter::once(name).chain(cells).collect::<Vec<String>>()
    };
    let mut rows: Vec<Vec<String>> = Peer::ALL
        .iter()
        .enumerate()
        .map(|(at, peer)| {
            row(peer.to_string(), &|of_kind, pass| {
                number(of_kind[at].rate(pass))
            })
        })
        .collect();
    for (at, peer) in Peer::ALL.iter().enumerate().skip(1) {
        rows.push(row(format!("stablelm to {peer}"), &|of_kind, pass| {
            ratio(of_kind[0].rate(pass), of_kind[at].rate(pass))
        }));
    }
    report::table("First and second pass", &columns, &rows);
    let columns = [
        "corpus",
        "MB",
        "ids",
        "bytes an id",
        "our load, ms",
        "our start, ms",
        "SHA-256 of our ids",
        "ids of the others",
    ];
    report::table("The corpus", &columns.map(str::to_owned), &about);
    Ok(results.iter().map(|of_kind| of_kind[1].rate(0)).collect())
}

/// Times everyone over a file of documents, ours before each of the others, in rounds.
fn all_peers(options: &Compare, documents: &Path) -> Result<Vec<Measured>> {
    let time = |peer| {
        let limit = if peer == HF {
            options.hf_bytes
        } else {
            usize::MAX
        };
        measure(peer, options, documents, 2, limit)
    };
    let mut best: Vec<Measured> = Peer::ALL.into_iter().map(time).collect::<Result<_>>()?;
    for _ in 1..options.rounds {
        for (at, peer) in Peer::ALL.into_iter().enumerate() {
            if peer != OURS && peer != HF {
                best[0].keep_best(&time(OURS)?);
                best[at].keep_best(&time(peer)?);
            }
        }
    }
    Ok(best)
}

/// Returns the row about a kind; the reference's ids may be those of a part of it.
fn about_kind(
    options: &Compare,
    kind: Kind,
    documents: &Path,
    measured: &[Measured],
) -> Result<Vec<String>> {
    let ours = &measured[0];
    let named: Vec<(Peer, &Measured)> = Peer::ALL.into_iter().zip(measured).collect();
    let ids = if measured[1].tokens < ours.tokens && options.hf_bytes < usize::MAX {
        let part = measure(OURS, options, documents, 1, options.hf_bytes)?;
        let rest: Vec<(Peer, &Measured)> = named
            .iter()
            .copied()
            .filter(|(peer, _)| *peer != HF)
            .collect();
        format!(
            "{}; of the first {} MB with {HF}: {}",
            report::differences(&rest),
            number(part.bytes / 1e6),
            report::differences(&[(OURS, &part), (HF, &measured[1])]),
        )
    } else {
        report::differences(&named)
    };
    Ok(vec![
        kind.to_string(),
        number(ours.bytes / 1e6),
        ours.tokens.to_string(),
        number(ours.bytes / ours.tokens as f64),
        number(ours.load_seconds * 1e3),
        number(ours.start_seconds * 1e3),
        report::short(&ours.sha256).to_owned(),
        ids,
    ])
}

/// One document of a megabyte after another.
fn hard_documents(options: &Compare) -> Result<()> {
    let mut rows = Vec::new();
    for (name, documents) in adversarial::write(&options.folder.join("adversarial"))? {
        let mut ours = measure(OURS, options, &documents, 2, usize::MAX)?;
        ours.keep_best(&measure(OURS, options, &documents, 2, usize::MAX)?);
        let hf = measure(HF, options, &documents, 1, usize::MAX)?;
        let rc = measure(HF_RC, options, &documents, 1, usize::MAX)?;
        rows.push(vec![
            name.to_owned(),
            number(ours.seconds[0] * 1e3),
            number(ours.seconds[1] * 1e3),
            number(hf.seconds[0] * 1e3),
            number(rc.seconds[0] * 1e3),
            report::differences(&[(OURS, &ours), (HF, &hf), (HF_RC, &rc)]),
        ]);
    }
    let columns = [
        "ms for 1 MB",
        "stablelm, cold",
        "again",
        "tokenizers 0.23.2",
        "1.0.0-rc.3",
        "ids",
    ];
    report::table("Hard documents", &columns.map(str::to_owned), &rows);
    Ok(())
}

/// Two encoding threads against one.
fn scaling(options: &Compare) -> Result<()> {
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        let texts = corpus::read(&corpus::path(&options.folder, kind), usize::MAX)?;
        let megabytes = texts.iter().map(String::len).sum::<usize>() as f64 / 1e6;
        let cores = [options.core, options.second_core];
        let [one, two] = threads::compare(&options.tokenizer, &texts, cores)?;
        let mut row = vec![kind.to_string()];
        for pass in 0..2 {
            row.push(number(megabytes / one[pass].cpu));
            row.push(number(megabytes / two[pass].cpu));
            row.push(ratio(one[pass].cpu, two[pass].cpu));
            row.push(ratio(one[pass].clock, two[pass].clock));
        }
        rows.push(row);
    }
    let columns = [
        "MB/s",
        "first: one thread",
        "two",
        "ratio",
        "by the clock",
        "second: one thread",
        "two",
        "ratio",
        "by the clock",
    ];
    report::table("Threads that encode", &columns.map(str::to_owned), &rows);
    Ok(())
}

/// The whole command, on one core and on two: over each kind, then over all in one run.
fn whole_process(options: &Compare, references: Option<&[f64]>) -> Result<()> {
    let mut rows = Vec::new();
    let (mut all, mut all_megabytes, mut all_seconds) = (Vec::new(), 0.0, 0.0);
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let documents = corpus::path(&options.folder, kind);
        let texts = corpus::read(&documents, usize::MAX)?;
        let megabytes = texts.iter().map(String::len).sum::<usize>() as f64 / 1e6;
        let reference = match references {
            Some(rates) => rates[at],
            None => measure(HF, options, &documents, 1, options.hf_bytes)?.rate(0),
        };
        all_megabytes += megabytes;
        all_seconds += megabytes / reference;
        all.push(documents.clone());
        let name = kind.to_string();
        rows.push(run_command(
            options,
            name,
            &[documents],
            megabytes,
            reference,
        )?);
    }
    let reference = all_megabytes / all_seconds;
    let name = "all four".to_owned();
    rows.push(run_command(options, name, &all, all_megabytes, reference)?);
    let columns = [
        "`stablelm data tokenize`",
        "1 thread: wall s",
        "CPU s",
        "MB/CPU s",
        "to tokenizers 0.23.2 encoding alone",
        "2 threads: wall s",
        "CPU s",
        "MB/wall s",
        "two over one",
    ];
    report::table("The whole command", &columns.map(str::to_owned), &rows);
    Ok(())
}

fn run_command(
    options: &Compare,
    name: String,
    documents: &[PathBuf],
    megabytes: f64,
    reference: f64,
) -> Result<Vec<String>> {
    let one = command::time(options, documents, 1)?;
    let two = command::time(options, documents, 2)?;
    Ok(vec![
        name,
        number(one.wall),
        number(one.cpu),
        number(megabytes / one.cpu),
        ratio(megabytes / one.cpu, reference),
        number(two.wall),
        number(two.cpu),
        number(megabytes / two.wall),
        ratio(one.wall, two.wall),
    ])
}
