//! Licenses, attribution and provenance as data, and the documents made from them.
//!
//! The [`Registry`] knows the StableLM family, its tokenizer and its data, each with the claims that
//! were made about its license and where they were read. A [`Ledger`] says what one model or one
//! prepared data set is made of and how it was changed. Every document is a function of the ledger:
//! the same ledger gives the same bytes, and nothing here reads a clock, a file or the network.
//!
//! ```
//! use stablelm_license::{ChangeKind, Ledger, NewChange, Registry, notice};
//!
//! let registry = Registry::builtin();
//! let model = registry.get("stabilityai/stablelm-3b-4e1t").expect("the registry knows the model");
//! assert_eq!(model.license, "CC-BY-SA-4.0");
//!
//! let mut ledger = Ledger::for_model(model);
//! ledger.record(NewChange {
//!     when: "2026-11-23T12:00:00Z".to_owned(),
//!     tool: "stablelm".to_owned(),
//!     version: "0.1.0".to_owned(),
//!     kind: ChangeKind::Format,
//!     from_sha256: None,
//!     detail: "GPT-NeoX checkpoint to safetensors".to_owned(),
//! });
//! ledger.verify_chain().expect("a chain just made holds");
//! assert!(notice(&ledger).contains("Stability AI"));
//! ```

mod attribution;
mod bom;
mod card;
mod card_data;
mod card_merge;
mod changes;
mod cite;
mod compatibility;
mod component;
mod croissant;
pub mod detect;
mod diff;
mod finding;
mod front_matter;
mod ledger;
pub mod lint;
mod notice;
pub mod oms;
mod registry;
mod release;
mod render;
mod rules;
mod safetensors;
mod sarif;
mod sources;
mod spdx;
mod terms;
mod text;
pub mod verify;

pub use attribution::{attribution_in, attribution_line, attribution_markdown};
pub use bom::{
    BomContext, CycloneDxVersion, ReuseLayout, bom_cyclonedx, bom_spdx3, is_about_the_folder,
    reuse_layout,
};
pub use card::{ModelFacts, ledger_from_card, model_card};
pub use card_data::{CardTable, dataset_card};
pub use card_merge::{CARD_BEGIN, CARD_END, merged_card};
pub use changes::{ChainError, ChangeKind, ChangeRecord, NewChange};
pub use cite::{cite_apa, cite_bibtex, cite_cff};
pub use compatibility::{
    CheckInput, CheckOptions, CheckReport, Context, Judgment, Posture, Verdict, check,
};
pub use component::{
    Author, Citation, Claim, ClaimKind, ClaimStatus, Component, ComponentKind, Gate, Relation,
    RelationKind, SourceMatch, Takedown,
};
pub use croissant::{
    CroissantDataset, CroissantField, CroissantFile, CroissantRecordSet, CroissantType, RaiTerm,
    croissant,
};
pub use diff::{BomError, Difference, DifferenceKind, diff_boms, diff_ledgers};
pub use finding::{Finding, Severity};
pub use ledger::{
    Edge, Exclusion, LEDGER_VERSION, Ledger, LedgerError, Obligation, ObligationState,
    RemovalRequest, SourceUse, Violation,
};
pub use notice::{DISCLAIMER, notice, notice_in, notice_not_retained};
pub use registry::{Registry, RegistryError};
pub use release::{Release, ReleaseFile};
pub use render::PageFormat;
pub use rules::{Outcome, Rule, audit, duties, is_prefix, obligations, outcomes, rule, rules};
pub use safetensors::{ledger_from_safetensors_metadata, safetensors_metadata};
pub use sarif::sarif;
pub use sources::{PinnedSource, SOURCES_LOCK_VERSION, SourcesError, SourcesLock};
pub use spdx::{NOASSERTION, hub_license_id, license_text, license_url};
pub use terms::{ExpressionError, LicenseClass, LicenseExpression, LicenseTerm};
