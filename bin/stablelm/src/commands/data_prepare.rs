//! `stablelm data prepare`

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use stablelm_data::{
    PlanOptions, PrepareError, PrepareOptions, PreparePlan, Prepared, ReadError, Recipe,
    RecipeError, RemoteOptions, Report, SourceKind,
};
use stablelm_license::{Exclusion, Ledger, Registry, SourceUse, attribution_markdown, croissant};
use stablelm_tokenizer::Tokenizer;

use crate::args::Prepare;
use crate::commands::data_croissant;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::hub::{self, HubId, HubSettings, Wanted};
use crate::model_input;
use crate::output::{self, Existing, StagedDir};
use crate::papers;
use crate::settings;
use crate::ui::{Align, Table, Ui};

/// Rows of each source that a dry run looks at.
const DEFAULT_SAMPLE: u64 = 1000;

pub(crate) fn run(args: &Prepare, hub: &HubSettings, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let recipe = read_recipe(&args.recipe)?;
    if args.resume && is_complete(&args.output) {
        return already_done(args, ui);
    }
    if !args.dry_run {
        output::refuse_existing(&args.output, args.overwrite)?;
    }
    let tokenizer = tokenizer(&recipe, hub).map_err(|error| {
        error.context(format!(
            "failed to load the tokenizer that recipe `{}` names",
            args.recipe.display()
        ))
    })?;
    let remote = settings::remote(hub);
    if args.dry_run {
        dry_run(args, &recipe, &tokenizer, &remote, ui)
    } else {
        prepare(args, &recipe, &tokenizer, &remote, ui)
    }
}

/// Loads the tokenizer of a recipe: a path as seen from the recipe, or a hub id.
fn tokenizer(recipe: &Recipe, hub: &HubSettings) -> Result<Tokenizer, CommandError> {
    let path = recipe.tokenizer_path();
    let is_hub_id = !path.exists() && HubId::parse(&recipe.tokenizer.source).is_some();
    if !is_hub_id {
        return model_input::load_tokenizer(&path);
    }
    let id = Path::new(&recipe.tokenizer.source);
    model_input::load_tokenizer(&hub::resolve(id, Wanted::Tokenizer, hub)?)
}

fn is_complete(output: &Path) -> bool {
    output.join("manifest.json").is_file()
}

/// A script may always say `--resume`: there is nothing left to do.
fn already_done(args: &Prepare, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let path = args.output.join("report.json");
    let read = || -> anyhow::Result<Report> { Ok(serde_json::from_slice(&fs::read(&path)?)?) };
    let report = read().map_err(|error| {
        CommandError::input(error.context(format!("failed to read `{}`", path.display())))
    })?;
    if args.json.json {
        ui.json(&report)?;
    } else {
        ui.answer(&report_text(&report))?;
    }
    ui.status("Prepared", &format!("{} already", args.output.display()));
    Ok(ExitStatus::Success)
}

/// Reads a recipe and the lists that it names.
pub(super) fn read_recipe(path: &Path) -> Result<Recipe, CommandError> {
    let text = fs::read_to_string(path).map_err(|error| {
        let what = format!("failed to read recipe `{}`", path.display());
        CommandError::input(anyhow::Error::new(error).context(what))
    })?;
    let recipe = stablelm_data::parse_recipe(&text, path).map_err(|error| match error {
        RecipeError::Books3Refused { .. } => refuse_books3(error),
        other => CommandError::input(other),
    });
    let mut recipe = recipe?;
    stablelm_data::load_lists(&mut recipe)
        .map_err(|error| CommandError::input(error).hint("lists are relative to the recipe"))?;
    Ok(recipe)
}

fn refuse_books3(error: impl Into<anyhow::Error>) -> CommandError {
    CommandError::refused(error).hint("take it out of the recipe; no setting lets Books3 in")
}

fn prepare_error(error: PrepareError) -> CommandError {
    match error {
        PrepareError::Books3Refused { .. } => refuse_books3(error),
        PrepareError::Read(ReadError::MissingColumn { .. })
        | PrepareError::RemoteFile {
            source: ReadError::MissingColumn { .. },
            ..
        } => CommandError::input(error).hint("name the column in the recipe, as `text = \"...\"`"),
        PrepareError::OtherRun { .. } => CommandError::input(error)
            .hint("begin anew by --overwrite, or give the recipe and files of that run"),
        PrepareError::SameAddress { .. } => CommandError::input(error).hint(
            "provenance shows no queries, as they may be secret: give the files in two sources",
        ),
        PrepareError::NoFiles { .. } => {
            CommandError::input(error).hint("patterns are relative to the recipe's folder")
        }
        other => CommandError::input(other),
    }
}

fn license_of(registry: &Registry, kind: SourceKind, subset: Option<&str>) -> Option<String> {
    registry
        .data_license(kind.as_str(), subset)
        .map(str::to_owned)
}

fn dry_run(
    args: &Prepare,
    recipe: &Recipe,
    tokenizer: &Tokenizer,
    remote: &RemoteOptions,
    ui: &Ui,
) -> Result<ExitStatus, CommandError> {
    let registry = Registry::builtin();
    let sample = usize::try_from(args.sample.unwrap_or(DEFAULT_SAMPLE)).unwrap_or(usize::MAX);
    let mut paths = recipe.sources.iter().flat_map(|source| &source.paths);
    let wants_remote = sample > 0 && paths.any(|path| stablelm_data::is_remote(path));
    let fetched = wants_remote.then(|| StagedDir::temporary(&args.output, "sample"));
    let fetched = fetched.transpose()?;
    let options = PlanOptions {
        recipe,
        recipe_path: &args.recipe,
        tokenizer,
        sample,
        threads: settings::threads(args.threads)?,
        remote,
        fetch_folder: fetched.as_ref().map(StagedDir::path),
        license_of: &|kind, subset| license_of(&registry, kind, subset),
    };
    let plan = stablelm_data::plan(&options).map_err(prepare_error)?;
    if args.json.json {
        ui.json(&plan)?;
    } else {
        ui.answer(&plan_text(&plan))?;
    }
    Ok(ExitStatus::Success)
}

fn plan_text(plan: &PreparePlan) -> String {
    let mut table = Table::new(&[
        ("source", Align::Left),
        ("kind", Align::Left),
        ("files", Align::Right),
        ("bytes in", Align::Right),
        ("kept %", Align::Right),
        ("documents", Align::Right),
        ("tokens", Align::Right),
        ("bytes out", Align::Right),
        ("licenses in the sample", Align::Left),
    ]);
    for source in &plan.sources {
        let licenses: Vec<&str> = source.licenses.keys().map(String::as_str).collect();
        table.row(vec![
            source.name.clone(),
            source.kind.as_str().to_owned(),
            source.files.len().to_string(),
            source.bytes.to_string(),
            format!("{:.1}", source.kept_share * 100.0),
            format!("{:.0}", source.estimate.documents),
            format!("{:.0}", source.estimate.tokens),
            format!("{:.0}", source.estimate.bytes_out),
            licenses.join(", "),
        ]);
    }
    let seconds = plan.estimate.seconds;
    let mut text = format!(
        "{}\nEstimated from a sample: about {seconds:.0} s on these threads.\n",
        table.render()
    );
    for source in &plan.sources {
        let remote = source.files.iter().filter(|file| file.remote);
        let (files, bytes) = remote.fold((0, 0), |(files, bytes), file| {
            (files + 1, bytes + file.bytes)
        });
        if files > 0 {
            let (name, fetched) = (&source.name, source.fetched);
            text += &format!(
                "Fetched {} of {files} remote files of `{name}` for the sample: {} of {bytes} bytes.\n",
                fetched.files, fetched.bytes
            );
        }
    }
    text
}

fn prepare(
    args: &Prepare,
    recipe: &Recipe,
    tokenizer: &Tokenizer,
    remote: &RemoteOptions,
    ui: &Ui,
) -> Result<ExitStatus, CommandError> {
    let registry = Registry::builtin();
    let existing = Existing::from_flags(args.overwrite, args.resume);
    let staged = StagedDir::resumable(&args.output, existing, stablelm_data::is_resumable)?;
    let options = PrepareOptions {
        recipe,
        recipe_path: &args.recipe,
        tokenizer,
        output: staged.path(),
        threads: settings::threads(args.threads)?,
        memory_limit: settings::memory_limit(args.memory_limit)?,
        remote,
        tool_version: env!("CARGO_PKG_VERSION"),
        license_of: &|kind, subset| license_of(&registry, kind, subset),
    };
    let prepared = stablelm_data::prepare(&options).map_err(|error| {
        let error = prepare_error(error);
        if stablelm_data::is_resumable(staged.path()) {
            error.hint(
                "what was done so far is kept: the same command with --resume goes on with it",
            )
        } else {
            error
        }
    })?;
    write_papers(staged.path(), &prepared, &registry, date(args, &prepared)?)?;
    stablelm_data::write_manifest(staged.path(), &prepared).map_err(CommandError::input)?;
    staged.commit()?;
    if args.json.json {
        ui.json(&prepared.report)?;
    } else {
        ui.answer(&report_text(&prepared.report))?;
    }
    let (kept, tokens) = (prepared.report.documents_kept, prepared.report.tokens);
    ui.status(
        "Prepared",
        &format!(
            "{kept} documents, {tokens} tokens in {}",
            args.output.display()
        ),
    );
    Ok(ExitStatus::Success)
}

/// Makes the ledger of the mixture: what was used, by subset, and that Books3 was kept out.
fn ledger(prepared: &Prepared, registry: &Registry) -> Ledger {
    let mut sources = Vec::new();
    for source in &prepared.sources {
        for count in source.licenses.iter().filter(|count| count.documents > 0) {
            let known = SourceUse::from_registry(
                registry,
                &source.name,
                source.kind.as_str(),
                count.subset.as_deref(),
            );
            sources.push(SourceUse {
                documents: count.documents,
                tokens: count.tokens,
                ..known
            });
        }
    }
    let books3 = &prepared.report.books3;
    let exclusion = Exclusion {
        component: "books3".to_owned(),
        documents_excluded: books3.documents_excluded,
        by_rule: books3.by_rule.clone(),
        quarantined: books3.quarantined,
        remaining: books3.remaining,
    };
    Ledger::for_mixture(&prepared.report.name, sources, vec![exclusion], registry)
}

/// Writes what a prepared folder says of its licenses and origin; `date` is the day that it bears.
pub(super) fn write_papers(
    folder: &Path,
    prepared: &Prepared,
    registry: &Registry,
    date: String,
) -> Result<(), CommandError> {
    let ledger = ledger(prepared, registry);
    let dataset = data_croissant::dataset(folder, prepared, date).map_err(CommandError::input)?;
    let mut document = serde_json::to_string_pretty(&croissant(&ledger, &dataset))
        .expect("a JSON value always prints");
    document.push('\n');
    papers::write_all(
        folder,
        &[
            ("ATTRIBUTION.md", attribution_markdown(&ledger)),
            ("croissant.json", document),
            (papers::LEDGER_FILE, ledger.to_json()),
        ],
    )
}

/// Returns the day that the data bears: that of its newest input, so that a run tomorrow gives the same bytes.
fn date(args: &Prepare, prepared: &Prepared) -> Result<String, CommandError> {
    let moment = match settings::source_date()? {
        Some(moment) => moment,
        None => newest(args, prepared),
    };
    let text = humantime::format_rfc3339_seconds(moment).to_string();
    Ok(text.split('T').next().unwrap_or_default().to_owned())
}

fn newest(args: &Prepare, prepared: &Prepared) -> SystemTime {
    let folder = args.recipe.parent().unwrap_or(Path::new("."));
    let inputs = prepared.inputs.iter().map(|input| folder.join(&input.path));
    let modified = inputs.filter_map(|path| fs::metadata(path).ok()?.modified().ok());
    modified.max().unwrap_or(UNIX_EPOCH)
}

pub(super) fn report_text(report: &Report) -> String {
    let mut table = Table::new(&[
        ("source", Align::Left),
        ("stage", Align::Left),
        ("in", Align::Right),
        ("out", Align::Right),
        ("dropped because", Align::Left),
    ]);
    for source in &report.sources {
        for stage in &source.stages {
            table.row(vec![
                source.name.clone(),
                stage.name.clone(),
                stage.documents_in.to_string(),
                stage.documents_out.to_string(),
                reasons(&stage.reasons),
            ]);
        }
    }
    let books3 = &report.books3;
    format!(
        "{}\nBooks3: {} documents excluded, {} remaining\n",
        table.render(),
        books3.documents_excluded,
        books3.remaining
    )
}

fn reasons(reasons: &BTreeMap<String, u64>) -> String {
    reasons
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect::<Vec<_>>()
        .join(", ")
}
