//! `stablelm data inspect`

use stablelm_data::{
    DocumentInspection, InspectOptions, Inspection, PreparedInspection, RowsInspection,
    TokensInspection,
};

use crate::args::DataInspect;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input;
use crate::ui::{Align, Table, Ui};

pub(crate) fn run(args: &DataInspect, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let tokenizer = args
        .tokenizer
        .as_deref()
        .map(model_input::load_tokenizer)
        .transpose()?;
    let options = InspectOptions {
        document: args.document,
        tokenizer: tokenizer.as_ref(),
    };
    let inspection = stablelm_data::inspect(&args.path, &options).map_err(CommandError::input)?;
    if args.json.json {
        ui.json(&inspection)?;
    } else {
        ui.answer(&match &inspection {
            Inspection::Tokens(tokens) => tokens_text(tokens),
            Inspection::Rows(rows) => rows_text(rows),
            Inspection::Prepared(prepared) => prepared_text(prepared),
            other => format!("{other:?}\n"),
        })?;
    }
    Ok(ExitStatus::Success)
}

fn tokens_table(datasets: &[&TokensInspection]) -> String {
    let mut table = Table::new(&[
        ("indexed dataset", Align::Left),
        ("dtype", Align::Left),
        ("documents", Align::Right),
        ("tokens", Align::Right),
        ("shortest", Align::Right),
        ("mean", Align::Right),
        ("longest", Align::Right),
    ]);
    for tokens in datasets {
        table.row(vec![
            tokens.prefix.display().to_string(),
            format!("{:?}", tokens.dtype).to_lowercase(),
            tokens.documents.to_string(),
            tokens.tokens.to_string(),
            tokens.min_length.to_string(),
            format!("{:.1}", tokens.mean_length),
            tokens.max_length.to_string(),
        ]);
    }
    table.render()
}

fn tokens_text(tokens: &TokensInspection) -> String {
    let mut text = tokens_table(&[tokens]);
    text.push_str(&document_text(tokens.document.as_ref()));
    text
}

fn rows_text(rows: &RowsInspection) -> String {
    let mut text = format!(
        "{}: {}, {} rows, {} broken, {} bytes\n",
        rows.path.display(),
        rows.format,
        rows.rows,
        rows.broken_rows,
        rows.bytes
    );
    for column in &rows.columns {
        text.push_str(&format!("  {}: {}\n", column.name, column.data_type));
    }
    if let Some(lengths) = &rows.lengths {
        text.push_str(&format!(
            "{}: {} texts, {} to {} bytes, mean {:.1}\n",
            lengths.column, lengths.texts, lengths.min_bytes, lengths.max_bytes, lengths.mean_bytes
        ));
    }
    text.push_str(&document_text(rows.document.as_ref()));
    text
}

fn prepared_text(prepared: &PreparedInspection) -> String {
    let report = &prepared.report;
    let mut text = format!(
        "{}: {} of {} documents kept, {} tokens, Books3 remaining {}\n",
        report.name,
        report.documents_kept,
        report.documents_in,
        report.tokens,
        report.books3.remaining
    );
    if let Some(run_hash) = &prepared.run_hash {
        text.push_str(&format!("run {run_hash}\n"));
    }
    for removal in &prepared.removed {
        let (documents, tokens) = (removal.documents, removal.tokens);
        let parent = &removal.parent_run_hash;
        text.push_str(&format!(
            "{documents} documents, {tokens} tokens removed from run {parent}\n"
        ));
    }
    text.push('\n');
    text.push_str(&tokens_table(&prepared.tokens.iter().collect::<Vec<_>>()));
    text.push_str(&document_text(prepared.document.as_ref()));
    text
}

fn document_text(document: Option<&DocumentInspection>) -> String {
    let Some(document) = document else {
        return String::new();
    };
    let mut text = format!("\ndocument {}", document.document);
    if let Some(file) = &document.file {
        text.push_str(&format!(" of {file}"));
    }
    text.push('\n');
    let plain = |value: &serde_json::Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let values = document
        .values
        .as_ref()
        .and_then(serde_json::Value::as_object);
    for (key, value) in document.provenance.iter().chain(values).flatten() {
        text.push_str(&format!("  {key}: {}\n", plain(value)));
    }
    match (&document.text, &document.ids) {
        (Some(decoded), _) => text.push_str(&format!("\n{decoded}\n")),
        (None, Some(ids)) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            text.push_str(&format!("  ids: {}\n", ids.join(" ")));
        }
        (None, None) => {}
    }
    text
}
