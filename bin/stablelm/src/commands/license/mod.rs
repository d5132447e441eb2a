//! `stablelm license ...`

mod bom;
mod card;
mod changes;
mod check;
mod contents;
mod diff;
mod findings;
mod folder;
mod lint;
mod sign;
mod sources;
mod tensors;
mod verify;

use std::path::Path;

use serde_json::json;
use stablelm_checkpoint::OpenOptions;
use stablelm_license::{
    Claim, Component, Ledger, ModelFacts, Obligation, ObligationState, PageFormat, Registry,
    attribution_in, cite_apa, cite_bibtex, cite_cff, duties, notice_in, obligations, rule,
};

use crate::args::{CiteFormat, LicenseCommand, LicenseDocument, NoticeFormat};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::output;
use crate::papers;
use crate::ui::{Align, Table, Ui};

pub(crate) fn run(command: LicenseCommand, ui: &Ui) -> Result<ExitStatus, CommandError> {
    match command {
        LicenseCommand::Show(args) => {
            let registry = folder::registry(&args.registry)?;
            match &args.subject {
                Some(subject) => show(subject, &registry, args.json.json, ui)?,
                None => list(&registry, args.json.json, ui)?,
            }
        }
        LicenseCommand::Notice(args) => {
            let format = page_format(args.format);
            write(&args.document, ui, |ledger| {
                if args.attribution {
                    attribution_in(ledger, format)
                } else {
                    notice_in(ledger, format)
                }
            })?;
        }
        LicenseCommand::Card(args) => card::run(&args, ui)?,
        LicenseCommand::Bom(args) => bom::run(&args, ui)?,
        LicenseCommand::Cite(args) => write(
            &args.document,
            ui,
            match args.format {
                CiteFormat::Bibtex => cite_bibtex,
                CiteFormat::Cff => cite_cff,
                CiteFormat::Apa => cite_apa,
            },
        )?,
        LicenseCommand::Lint(args) => return lint::run(&args, ui),
        LicenseCommand::Changes(args) => return changes::run(&args, ui),
        LicenseCommand::Sign(args) => return sign::run(&args, ui),
        LicenseCommand::Verify(args) => return verify::run(&args, ui),
        LicenseCommand::Check(args) => return check::run(&args, ui),
        LicenseCommand::Diff(args) => return diff::run(&args, ui),
        LicenseCommand::Sources(args) => return sources::run(&args, ui),
    }
    Ok(ExitStatus::Success)
}

fn page_format(format: NoticeFormat) -> PageFormat {
    match format {
        NoticeFormat::Text => PageFormat::Text,
        NoticeFormat::Md => PageFormat::Markdown,
        NoticeFormat::Html => PageFormat::Html,
        NoticeFormat::Json => PageFormat::Json,
    }
}

fn write(
    document: &LicenseDocument,
    ui: &Ui,
    make: impl FnOnce(&Ledger) -> String,
) -> Result<(), CommandError> {
    let text = make(&papers::ledger_of_subject(&document.subject)?);
    match &document.output {
        None => ui.answer(&text),
        Some(path) => {
            output::write_new_file(path, text.as_bytes())?;
            ui.status("Wrote", &path.display().to_string());
            Ok(())
        }
    }
}

/// Reads from a model folder what the card says about the model; a bare registry entry has no files to ask.
fn facts(subject: &str) -> ModelFacts {
    let checkpoint =
        stablelm_checkpoint::open(Path::new(subject), &OpenOptions { neox_config: None });
    match checkpoint {
        Ok(checkpoint) => {
            let dtype = checkpoint
                .dtype()
                .map_or_else(String::new, |dtype| dtype.to_string());
            let beside = Path::new(subject).join("tokenizer.json").is_file();
            papers::facts_of(
                &checkpoint,
                &dtype,
                if beside { "tokenizer.json" } else { "" },
            )
        }
        Err(_) => ModelFacts {
            library_name: "transformers".to_owned(),
            ..ModelFacts::default()
        },
    }
}

fn list(registry: &Registry, json: bool, ui: &Ui) -> Result<(), CommandError> {
    if json {
        return ui.json(&registry.components().collect::<Vec<_>>());
    }
    let mut table = Table::new(&[
        ("id", Align::Left),
        ("kind", Align::Left),
        ("license", Align::Left),
        ("name", Align::Left),
    ]);
    for component in registry.components() {
        let license = if component.takedown.is_some() {
            "must be absent"
        } else {
            component.license.as_str()
        };
        table.row(vec![
            component.id.clone(),
            name_of(&component.kind),
            license.to_owned(),
            component.name.clone(),
        ]);
    }
    ui.answer(&table.render())
}

fn show(subject: &str, registry: &Registry, json: bool, ui: &Ui) -> Result<(), CommandError> {
    let ledger = &papers::ledger_of_subject_in(subject, registry)?;
    let open = open_obligations(subject, ledger)?;
    if json {
        return ui.json(&json!({
            "subject": ledger.subject(),
            "ledger": ledger,
            "open_obligations": open,
        }));
    }
    let mut text = format!("{}\n", ledger.title);
    for component in &ledger.components {
        text.push_str(&component_text(component));
    }
    if !ledger.sources.is_empty() {
        text.push_str("\nData used\n");
        let mut table = Table::new(&[
            ("  source", Align::Left),
            ("subset", Align::Left),
            ("documents", Align::Right),
            ("tokens", Align::Right),
            ("license", Align::Left),
        ]);
        for source in &ledger.sources {
            table.row(vec![
                format!("  {}", source.name),
                source.subset.clone().unwrap_or_default(),
                source.documents.to_string(),
                source.tokens.to_string(),
                source.license.clone(),
            ]);
        }
        text.push_str(&table.render());
    }
    for exclusion in &ledger.exclusions {
        text.push_str(&format!(
            "\nKept out: {}: {} documents, {} remaining\n",
            exclusion.component, exclusion.documents_excluded, exclusion.remaining
        ));
    }
    if !ledger.changes.is_empty() {
        text.push_str("\nChanges\n");
        for change in &ledger.changes {
            text.push_str(&format!(
                "  {}  {} {}: {}\n",
                change.when, change.tool, change.version, change.detail
            ));
        }
    }
    text.push_str(&obligations_text(subject, &open));
    ui.answer(&text)
}

/// Returns what is still to be done: in a folder what its files lack, else what comes with sharing.
fn open_obligations(subject: &str, ledger: &Ledger) -> Result<Vec<Obligation>, CommandError> {
    let path = Path::new(subject);
    if !path.is_dir() {
        return Ok(duties(ledger));
    }
    let mut release = folder::release(path)?;
    release.ledger = Some(ledger.clone());
    let mut found = obligations(&release);
    found.retain(|obligation| obligation.state != ObligationState::Met);
    Ok(found)
}

fn obligations_text(subject: &str, open: &[Obligation]) -> String {
    let is_folder = Path::new(subject).is_dir();
    let mut text = match (is_folder, open.is_empty()) {
        (true, true) => return "\nObligations still open: none found\n".to_owned(),
        (false, true) => return String::new(),
        (true, false) => "\nObligations still open\n".to_owned(),
        (false, false) => "\nObligations when copies are shared\n".to_owned(),
    };
    for obligation in open {
        let clause = rule(&obligation.rule).map_or("", |rule| rule.clause);
        text.push_str(&format!(
            "  {}  {clause}: {}\n",
            obligation.rule, obligation.evidence
        ));
    }
    text
}

fn component_text(component: &Component) -> String {
    let mut text = format!("\n{} ({})\n", component.name, name_of(&component.kind));
    let mut line = |label: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {label:<12} {value}\n"));
        }
    };
    line("license", &component.license);
    line("text", component.license_url.as_deref().unwrap_or_default());
    line("creators", &component.creators.join(", "));
    line("from", &component.url);
    line(
        "caveat",
        component.contents_caveat.as_deref().unwrap_or_default(),
    );
    if let Some(gate) = &component.gate {
        line("gate", &format!("{} <{}>", gate.state, gate.source));
    }
    if let Some(takedown) = &component.takedown {
        line(
            "takedown",
            &format!("taken down ({}); must be absent", takedown.state),
        );
    }
    for claim in &component.claims {
        line("claim", &claim_text(claim));
    }
    text
}

fn claim_text(claim: &Claim) -> String {
    let revision = claim
        .revision
        .as_deref()
        .map(|revision| format!(" at {revision}"))
        .unwrap_or_default();
    let read = match claim.read.as_str() {
        "" => String::new(),
        day => format!(", read {day}"),
    };
    let (kind, status) = (name_of(&claim.kind), name_of(&claim.status));
    format!(
        "{} ({kind}, {status}): {}{revision}{read}",
        claim.value, claim.source
    )
}

/// Returns an enum's name as JSON writes it.
fn name_of(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
