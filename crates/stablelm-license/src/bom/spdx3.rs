//! SPDX 3.0.1 as JSON-LD, with the profiles core, software, AI, dataset and simple licensing.
//!
//! Every AI and dataset package has what the specification asks of it for external use, and
//! exactly one declared and one concluded license. The official schema checks neither.

use serde_json::{Value, json};

use super::files::{Role, licenses_of, role};
use super::terms::{Terms, declared, text_of};
use super::{
    BomContext, Moment, Names, Object, change_sentences, claim_sentence, has_ending, hub_id,
    in_use, is_in_use, last_change, maker, released, slug, to_text, web_address,
};
use crate::attribution::{attribution_line, exclusion_sentences};
use crate::component::{Component, ComponentKind, RelationKind};
use crate::ledger::Ledger;
use crate::spdx::{self, NOASSERTION};
use crate::text::{one_line, thousands};

const CONTEXT: &str = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld";
const SPEC_VERSION: &str = "3.0.1";
const CREATION_INFO: &str = "_:creation-info";
/// The individual that stands for a license nobody knows.
const NO_LICENSE: &str = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense";
const PROFILES: [&str; 5] = ["core", "software", "ai", "dataset", "simpleLicensing"];

/// Returns an SPDX 3.0.1 document.
///
/// ```
/// use stablelm_license::{BomContext, Ledger, Registry, bom_spdx3};
///
/// let registry = Registry::builtin();
/// let ledger = Ledger::for_model(registry.get("stablelm-3b-4e1t").expect("known"));
/// let context = BomContext {
///     created: "2026-11-23T12:00:00Z".to_owned(),
///     tool_version: "0.1.0".to_owned(),
///     ..BomContext::default()
/// };
/// let document = bom_spdx3(&ledger, &context);
/// assert!(document.contains("\"relationshipType\": \"trainedOn\""));
/// ```
pub fn bom_spdx3(ledger: &Ledger, context: &BomContext) -> String {
    let mut graph = Graph::new(ledger, context);
    let components = in_use(ledger);
    let root = graph.root(&components);
    let mut iris: Vec<(String, String)> = Vec::new();
    if let Some(subject) = &ledger.subject {
        iris.push((subject.clone(), root.clone()));
    }
    for component in components
        .iter()
        .filter(|component| Some(&component.id) != ledger.subject.as_ref())
    {
        let iri = graph.package(component, &Extra::default());
        graph.package_licenses(&iri, component);
        iris.push((component.id.clone(), iri));
    }
    graph.parent(&root);
    graph.relations(&root, &iris);
    graph.files(&root);
    graph.finish(&root)
}

/// What only the subject of a document has.
#[derive(Default)]
struct Extra {
    is_subject: bool,
    attribution: Option<String>,
}

struct Graph<'a> {
    ledger: &'a Ledger,
    context: &'a BomContext,
    base: String,
    names: Names,
    elements: Vec<Value>,
    agents: Vec<(String, String)>,
    licenses: Vec<(String, String)>,
}

impl<'a> Graph<'a> {
    fn new(ledger: &'a Ledger, context: &'a BomContext) -> Graph<'a> {
        let uuid = context.uuid(ledger, "spdx3");
        let base = format!("https://spdx.org/spdxdocs/{}-{uuid}#", slug(&ledger.title));
        let mut graph = Graph {
            ledger,
            context,
            base,
            names: Names::default(),
            elements: Vec::new(),
            agents: Vec::new(),
            licenses: Vec::new(),
        };
        let tool = graph.iri("tool");
        graph.elements.push(json!({
            "type": "CreationInfo",
            "@id": CREATION_INFO,
            "specVersion": SPEC_VERSION,
            "created": context.created,
            "createdBy": [tool],
        }));
        let name = one_line(&format!("stablelm {}", context.tool_version));
        graph.element("SoftwareAgent", &tool, Object::default().put("name", name));
        graph
    }

    fn iri(&mut self, wanted: &str) -> String {
        format!("{}{}", self.base, self.names.unique(wanted))
    }

    fn element(&mut self, kind: &str, iri: &str, fields: Object) {
        let mut element = Object::default()
            .put("type", kind)
            .put("spdxId", iri)
            .put("creationInfo", CREATION_INFO);
        element.0.extend(fields.0);
        self.elements.push(element.build());
    }

    fn relate(&mut self, from: &str, kind: &str, to: &[String]) {
        if to.is_empty() {
            return;
        }
        let iri = self.iri("relationship");
        let fields = Object::default()
            .put("from", from)
            .put("relationshipType", kind)
            .put("to", to.to_vec());
        self.element("Relationship", &iri, fields);
    }

    /// Returns who made a component. Whether that is a person or an organization is not known.
    fn agent(&mut self, component: &Component) -> String {
        let name = maker(component);
        if let Some((_, iri)) = self.agents.iter().find(|(known, _)| *known == name) {
            return iri.clone();
        }
        let iri = self.iri(&format!("agent-{name}"));
        let comment = if name == NOASSERTION {
            "Stands for makers whom nobody named."
        } else {
            ""
        };
        let fields = Object::default()
            .put("name", name.as_str())
            .put("comment", comment);
        self.element("Agent", &iri, fields);
        self.agents.push((name, iri.clone()));
        iri
    }

    /// Returns the element of a license, with the text of each name that is not on the list.
    fn license(&mut self, terms: &Terms) -> String {
        let Some(expression) = terms.expression() else {
            return NO_LICENSE.to_owned();
        };
        if let Some((_, iri)) = self.licenses.iter().find(|(known, _)| known == expression) {
            return iri.clone();
        }
        let mut custom: Vec<Value> = Vec::new();
        for id in spdx::identifiers(expression) {
            if id.starts_with("LicenseRef-") {
                let iri = self.iri(&format!("text-{id}"));
                let text = text_of(self.ledger, id);
                let fields = Object::default()
                    .put("name", id)
                    .put("simplelicensing_licenseText", text);
                self.element("simplelicensing_SimpleLicensingText", &iri, fields);
                custom.push(json!({"type": "DictionaryEntry", "key": id, "value": iri}));
            }
        }
        let iri = self.iri(&format!("license-{expression}"));
        let fields = Object::default()
            .put("simplelicensing_licenseExpression", expression)
            .put(
                "simplelicensing_licenseListVersion",
                ::spdx::license_version(),
            )
            .put("simplelicensing_customIdToUri", custom);
        self.element("simplelicensing_LicenseExpression", &iri, fields);
        self.licenses.push((expression.to_owned(), iri.clone()));
        iri
    }

    fn licensed(&mut self, iri: &str, declared: &Terms, concluded: &Terms) {
        let declared = self.license(declared);
        self.relate(iri, "hasDeclaredLicense", &[declared]);
        let concluded = self.license(concluded);
        self.relate(iri, "hasConcludedLicense", &[concluded]);
    }

    fn package_licenses(&mut self, iri: &str, component: &Component) {
        self.licensed(iri, &declared(component), &Terms::read(&component.license));
    }

    /// Adds what the document is about: the subject of the ledger, or the mixture as a data set.
    fn root(&mut self, components: &[Component]) -> String {
        let extra = Extra {
            is_subject: true,
            attribution: Some(attribution_line(self.ledger)),
        };
        let subject = components
            .iter()
            .find(|component| Some(&component.id) == self.ledger.subject.as_ref());
        if let Some(subject) = subject {
            let iri = self.package(subject, &extra);
            self.package_licenses(&iri, subject);
            return iri;
        }
        let mut whole = Component::unknown(&self.ledger.title, ComponentKind::Dataset);
        whole.claims.clear();
        let iri = self.package(&whole, &extra);
        let sources = self.ledger.sources.iter();
        let concluded = Terms::all_of(sources.map(|source| source.license.as_str()));
        self.licensed(&iri, &Terms::Unknown, &concluded);
        iri
    }

    /// Adds what a changed copy is a copy of.
    fn parent(&mut self, root: &str) {
        let Some(subject) = self.ledger.subject() else {
            return;
        };
        if self.ledger.changes.is_empty() {
            return;
        }
        let iri = self.package(subject, &Extra::default());
        self.package_licenses(&iri, subject);
        self.relate(&iri, "ancestorOf", &[root.to_owned()]);
    }

    fn package(&mut self, component: &Component, extra: &Extra) -> String {
        let iri = self.iri(&component.id);
        let agent = self.agent(component);
        let mut unknown: Vec<String> = Vec::new();
        let mut fields = Object::default().put("name", one_line(&component.name));
        fields = fields.put("suppliedBy", agent.as_str());
        fields = self.times(fields, component, extra, &mut unknown);
        fields = self.place_and_version(fields, component, extra, &mut unknown);
        let credit = extra
            .attribution
            .clone()
            .unwrap_or_else(|| one_line(&component.attribution));
        fields = fields
            .put("software_attributionText", vec![credit])
            .put("software_copyrightText", component.copyright.join("\n"));
        if component.creators.is_empty() {
            unknown.push("suppliedBy: nobody named its makers.".to_owned());
        }
        let kind = match component.kind {
            ComponentKind::Weights => {
                fields = self.model_fields(fields, extra);
                "ai_AIPackage"
            }
            ComponentKind::Dataset => {
                fields = fields.put("originatedBy", vec![agent]);
                fields = self.dataset_fields(fields, component, extra);
                "dataset_DatasetPackage"
            }
            ComponentKind::Tokenizer => {
                fields = fields.put("software_primaryPurpose", "data");
                "software_Package"
            }
            ComponentKind::Code => {
                fields = fields.put("software_primaryPurpose", "source");
                "software_Package"
            }
        };
        fields = fields.put("comment", self.comment(component, extra, &unknown));
        self.element(kind, &iri, fields);
        iri
    }

    fn times(
        &self,
        fields: Object,
        component: &Component,
        extra: &Extra,
        unknown: &mut Vec<String>,
    ) -> Object {
        let mut released = released(component);
        let changed = last_change(self.ledger).filter(|_| extra.is_subject);
        if let Some(when) = &changed {
            released = Moment::Known(when.clone());
            unknown.push(
                "releaseTime: not known of this copy; the moment of its last change stands for it."
                    .to_owned(),
            );
        }
        let is_mixture = extra.is_subject && self.ledger.subject.is_none();
        if is_mixture && changed.is_none() {
            released = Moment::Known(self.context.created.clone());
            unknown.push(
                "builtTime and releaseTime: not known; the date of this document stands for them."
                    .to_owned(),
            );
        }
        match &released {
            Moment::Known(_) => {}
            Moment::Year(_) => unknown.push(
                "releaseTime: only the year is known; its first day stands for it.".to_owned(),
            ),
            Moment::Unknown => unknown
                .push("releaseTime: not known; the beginning of 1970 stands for it.".to_owned()),
        }
        let is_dataset = component.kind == ComponentKind::Dataset;
        if is_dataset && changed.is_none() && !is_mixture {
            unknown.push("builtTime: not known; the time of release stands for it.".to_owned());
        }
        let built = if is_dataset || changed.is_some() {
            released.text()
        } else {
            ""
        };
        fields
            .put("builtTime", built)
            .put("releaseTime", released.text())
    }

    fn place_and_version(
        &self,
        fields: Object,
        component: &Component,
        extra: &Extra,
        unknown: &mut Vec<String>,
    ) -> Object {
        let place = web_address(&component.url).unwrap_or_else(|| {
            unknown.push("software_downloadLocation: not known.".to_owned());
            NOASSERTION
        });
        let weights = self.context.weights().filter(|_| extra.is_subject);
        let version = if let Some(file) = weights {
            unknown.push(
                "software_packageVersion: none was given; the hash of the weights stands for it."
                    .to_owned(),
            );
            format!("sha256-{}", file.sha256.get(..12).unwrap_or_default())
        } else {
            unknown.push("software_packageVersion: not known.".to_owned());
            NOASSERTION.to_owned()
        };
        let hash = weights.map(|file| hash(&file.sha256));
        let is_changed = extra.is_subject && !self.ledger.changes.is_empty();
        let address = hub_id(component).filter(|_| !is_changed).map(|id| {
            let space = if component.kind == ComponentKind::Dataset {
                "datasets/"
            } else {
                ""
            };
            (space, id)
        });
        // Package addresses have no form for data sets of the hub.
        let purl = address
            .filter(|(space, _)| space.is_empty())
            .map_or_else(String::new, |(_, id)| format!("pkg:huggingface/{id}"));
        fields
            .put("software_downloadLocation", place)
            .put("software_packageVersion", version)
            .put("software_packageUrl", purl)
            .put("verifiedUsing", hash.into_iter().collect::<Vec<_>>())
    }

    fn model_fields(&self, fields: Object, extra: &Extra) -> Object {
        let fields = fields.put("software_primaryPurpose", "model");
        if !extra.is_subject {
            return fields.put("ai_typeOfModel", vec!["transformer decoder"]);
        }
        let facts = &self.context.facts;
        let mut kinds = vec!["transformer decoder".to_owned()];
        if !facts.architecture.is_empty() {
            kinds.push(one_line(&facts.architecture));
        }
        let number = |number: u64| {
            if number == 0 {
                String::new()
            } else {
                number.to_string()
            }
        };
        let rows = [
            ("parameters", number(facts.parameters)),
            ("context_length", number(facts.context)),
            ("dtype", one_line(&facts.dtype)),
        ];
        let hyperparameters: Vec<Value> = rows
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| json!({"type": "DictionaryEntry", "key": key, "value": value}))
            .collect();
        fields
            .put("ai_typeOfModel", kinds)
            .put("ai_domain", vec!["natural language"])
            .put("ai_hyperparameter", hyperparameters)
            .put("ai_informationAboutTraining", training(self.ledger))
            .put("ai_useSensitivePersonalInformation", "noAssertion")
    }

    fn dataset_fields(&self, fields: Object, component: &Component, extra: &Extra) -> Object {
        let availability = component
            .gate
            .as_ref()
            .map_or("", |gate| match gate.state.as_str() {
                "click-through" => "clickthrough",
                "gated" => "registration",
                "lifted" => "directDownload",
                _ => "",
            });
        let steps = if extra.is_subject {
            let mut steps = exclusion_sentences(self.ledger);
            steps.extend(change_sentences(self.ledger));
            steps
        } else {
            Vec::new()
        };
        fields
            .put("software_primaryPurpose", "data")
            .put("dataset_datasetType", vec!["text"])
            .put("dataset_datasetAvailability", availability)
            .put("dataset_dataPreprocessing", steps)
            .put("dataset_hasSensitivePersonalInformation", "noAssertion")
    }

    /// Returns what is not known, what the license does not cover, who claimed what, and changes.
    fn comment(&self, component: &Component, extra: &Extra, unknown: &[String]) -> String {
        let mut lines = Vec::new();
        if !unknown.is_empty() {
            lines.push(format!("Not known: {}", unknown.join(" ")));
        }
        if Terms::read(&component.license) == Terms::Unknown && component.license != NOASSERTION {
            lines.push(format!(
                "License as written: {}",
                one_line(&component.license)
            ));
        }
        if let Some(caveat) = &component.contents_caveat {
            lines.push(one_line(caveat));
        }
        for claim in &component.claims {
            lines.push(format!("Claim: {}", claim_sentence(claim)));
        }
        if extra.is_subject {
            for change in change_sentences(self.ledger) {
                lines.push(format!("Change: {change}"));
            }
        }
        lines.join("\n")
    }

    fn relations(&mut self, root: &str, iris: &[(String, String)]) {
        let known = |id: &str| {
            iris.iter()
                .find(|(known, _)| known == id)
                .map(|(_, iri)| iri.clone())
        };
        let ledger = self.ledger;
        for (id, iri) in iris {
            let related = |kind| -> Vec<String> {
                ledger
                    .related(id, kind)
                    .filter(|component| is_in_use(ledger, component))
                    .filter_map(|component| known(&component.id))
                    .collect()
            };
            let data = related(RelationKind::TrainedOn);
            let bases = related(RelationKind::DerivedFrom);
            let mut needed = data.clone();
            needed.extend(bases.iter().cloned());
            needed.extend(related(RelationKind::UsesTokenizer));
            let tools = related(RelationKind::TrainedWith);
            self.relate(iri, "trainedOn", &data);
            for base in &bases {
                self.relate(base, "ancestorOf", std::slice::from_ref(iri));
            }
            self.relate(iri, "dependsOn", &needed);
            self.relate(iri, "usesTool", &tools);
            let parts: Vec<String> = ledger
                .parts(id)
                .filter(|part| is_in_use(ledger, part))
                .filter_map(|part| known(&part.id))
                .collect();
            self.relate(iri, "contains", &parts);
        }
        if self.ledger.subject.is_none() {
            let wholes = iris.iter().filter(|(id, _)| {
                let part_of = ledger.component(id).and_then(|one| one.part_of.as_deref());
                part_of.is_none_or(|whole| known(whole).is_none())
            });
            let wholes: Vec<String> = wholes.map(|(_, iri)| iri.clone()).collect();
            self.relate(root, "contains", &wholes);
        }
    }

    fn files(&mut self, root: &str) {
        let mut all = Vec::new();
        let mut documents = Vec::new();
        let context = self.context;
        for (path, file) in context.listed() {
            let iri = self.iri(&format!("file-{path}"));
            let role = role(self.ledger, path);
            let purpose = match role {
                Role::Weights if has_ending(path, &[".json", ".yml"]) => "configuration",
                Role::Weights => "model",
                Role::Tokenizer | Role::Source(_) => "data",
                Role::Paper | Role::LicenseText => "documentation",
                Role::AboutTheFolder | Role::Other => "other",
            };
            let fields = Object::default()
                .put("name", one_line(path))
                .put("software_primaryPurpose", purpose)
                .put("verifiedUsing", vec![hash(&file.sha256)]);
            self.element("software_File", &iri, fields);
            if role != Role::LicenseText {
                let concluded = Terms::all_of(licenses_of(self.ledger, role));
                let license = self.license(&concluded);
                self.relate(&iri, "hasConcludedLicense", &[license]);
            }
            if matches!(path, "README.md" | "NOTICE" | "ATTRIBUTION.md") {
                documents.push(iri.clone());
            }
            all.push(iri);
        }
        self.relate(root, "contains", &all);
        self.relate(root, "hasDocumentation", &documents);
    }

    fn finish(mut self, root: &str) -> String {
        let license = self.license(&Terms::Listed("CC0-1.0".to_owned()));
        let bill = self.iri("bill-of-materials");
        let fields = Object::default()
            .put("rootElement", vec![root])
            .put("software_sbomType", vec!["analyzed"])
            .put("profileConformance", PROFILES.to_vec());
        self.element("software_Sbom", &bill, fields);
        let document = self.iri("document");
        let fields = Object::default()
            .put(
                "name",
                one_line(&format!("{} bill of materials", self.ledger.title)),
            )
            .put("rootElement", vec![bill])
            .put("profileConformance", PROFILES.to_vec())
            .put("dataLicense", license);
        self.element("SpdxDocument", &document, fields);
        to_text(&json!({"@context": CONTEXT, "@graph": self.elements}))
    }
}

fn hash(sha256: &str) -> Value {
    json!({"type": "Hash", "algorithm": "sha256", "hashValue": sha256})
}

/// Says what the model was trained on and what was left out.
fn training(ledger: &Ledger) -> String {
    let mut sentences = Vec::new();
    let names: Vec<String> = ledger
        .datasets()
        .filter(|dataset| is_in_use(ledger, dataset))
        .map(|dataset| one_line(&dataset.name))
        .collect();
    if names.is_empty() {
        sentences.push("The training data is not known.".to_owned());
    } else {
        sentences.push(format!("Trained on {}.", names.join(", ")));
    }
    let documents: u64 = ledger.sources.iter().map(|source| source.documents).sum();
    if documents > 0 {
        sentences.push(format!("{} documents.", thousands(documents)));
    }
    sentences.extend(exclusion_sentences(ledger));
    sentences.join(" ")
}
