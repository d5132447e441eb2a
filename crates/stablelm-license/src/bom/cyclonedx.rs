//! `CycloneDX` 1.6 and 1.7: a machine-learning bill of materials.
//!
//! Version 1.7 adds citations, which say of each license who claimed it and where; in 1.6 the same
//! sentences stand in properties alone.

use serde_json::{Value, json};

use super::files::{licenses_of, role};
use super::terms::{Terms, declared};
use super::{
    BomContext, Names, Object, change_sentences, claim_sentence, hub_id, in_use, is_in_use, maker,
    to_text, web_address,
};
use crate::attribution::{attribution_line, exclusion_sentences};
use crate::component::{Author, Claim, ClaimKind, Component, ComponentKind, RelationKind};
use crate::ledger::Ledger;
use crate::spdx::{self, NOASSERTION};
use crate::text::one_line;

/// A version of `CycloneDX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CycloneDxVersion {
    /// 1.6.
    V1_6,
    /// 1.7.
    V1_7,
}

impl CycloneDxVersion {
    /// Returns the number, such as `1.6`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_6 => "1.6",
            Self::V1_7 => "1.7",
        }
    }
}

/// Returns a `CycloneDX` document.
///
/// ```
/// use stablelm_license::{BomContext, CycloneDxVersion, Ledger, Registry, bom_cyclonedx};
///
/// let registry = Registry::builtin();
/// let ledger = Ledger::for_model(registry.get("stablelm-3b-4e1t").expect("known"));
/// let context = BomContext {
///     created: "2026-11-23T12:00:00Z".to_owned(),
///     tool_version: "0.1.0".to_owned(),
///     ..BomContext::default()
/// };
/// let document = bom_cyclonedx(&ledger, CycloneDxVersion::V1_7, &context);
/// assert!(document.contains("\"specVersion\": \"1.7\""));
/// ```
pub fn bom_cyclonedx(ledger: &Ledger, version: CycloneDxVersion, context: &BomContext) -> String {
    let mut bill = Bill {
        ledger,
        context,
        names: Names::default(),
        refs: Vec::new(),
        makers: Vec::new(),
        claims: Vec::new(),
    };
    let tool = bill.names.unique("stablelm");
    let components = in_use(ledger);
    let root_ref = bill
        .names
        .unique(ledger.subject.as_deref().unwrap_or("mixture"));
    if let Some(subject) = &ledger.subject {
        bill.refs.push((subject.clone(), root_ref.clone()));
    }
    let others: Vec<&Component> = components
        .iter()
        .filter(|component| Some(&component.id) != ledger.subject.as_ref())
        .collect();
    for component in &others {
        let name = bill.names.unique(&component.id);
        bill.refs.push((component.id.clone(), name));
    }
    let root = bill.root(&root_ref);
    let mut parts: Vec<Value> = Vec::new();
    for component in others {
        let pointer = format!("/components/{}", parts.len());
        parts.push(bill.part(component, &pointer));
    }
    parts.extend(bill.files());
    let dependencies = bill.dependencies(&root_ref);
    let citations = match version {
        CycloneDxVersion::V1_6 => Vec::new(),
        CycloneDxVersion::V1_7 => bill.citations(&tool),
    };
    let metadata = Object::default()
        .put("timestamp", context.created.as_str())
        .put("tools", tools(&tool, &context.tool_version))
        .put("component", root)
        .put("licenses", json!([{"license": {"id": "CC0-1.0"}}]));
    let document = Object::default()
        .put("bomFormat", "CycloneDX")
        .put("specVersion", version.as_str())
        .put(
            "serialNumber",
            format!("urn:uuid:{}", context.uuid(ledger, version.as_str())),
        )
        .put("version", 1)
        .put("metadata", metadata.build())
        .put("components", parts)
        .put("dependencies", dependencies)
        .put("citations", citations);
    to_text(&document.build())
}

/// A claim, the field it is about, and the maker it may come from.
type Cited = (String, Claim, Option<String>);

struct Bill<'a> {
    ledger: &'a Ledger,
    context: &'a BomContext,
    names: Names,
    /// Ids of components and what they are called in this document.
    refs: Vec<(String, String)>,
    /// Names of makers and what the first mention of each is called.
    makers: Vec<(String, String)>,
    claims: Vec<Cited>,
}

impl Bill<'_> {
    fn reference(&self, id: &str) -> Option<&str> {
        self.refs
            .iter()
            .find(|(known, _)| known == id)
            .map(|(_, name)| name.as_str())
    }

    /// Returns who supplied a component; a maker gets a name of its own where it is first named.
    fn supplier(&mut self, component: &Component) -> Value {
        if component.creators.is_empty() {
            return Value::Null;
        }
        let name = maker(component);
        let known = self.makers.iter().any(|(known, _)| *known == name);
        let mut fields = Object::default();
        if !known {
            let reference = self.names.unique(&format!("maker-{name}"));
            fields = fields.put("bom-ref", reference.as_str());
            self.makers.push((name.clone(), reference));
        }
        fields.put("name", name).build()
    }

    /// Notes the claims about a component at a place of the document.
    fn cite(&mut self, component: &Component, pointer: &str) {
        let name = maker(component);
        let maker = self.makers.iter().find(|(known, _)| *known == name);
        let maker = maker.map(|(_, reference)| reference.clone());
        for claim in &component.claims {
            let field = format!("{pointer}/licenses");
            self.claims.push((field, claim.clone(), maker.clone()));
        }
    }

    fn root(&mut self, reference: &str) -> Value {
        let Some(subject) = self.ledger.subject().cloned() else {
            return self.mixture(reference);
        };
        let is_changed = !self.ledger.changes.is_empty();
        let mut fields = self.described(&subject, reference);
        self.cite(&subject, "/metadata/component");
        if let Some(file) = self.context.weights() {
            fields = fields
                .put(
                    "version",
                    format!("sha256-{}", file.sha256.get(..12).unwrap_or_default()),
                )
                .put(
                    "hashes",
                    json!([{"alg": "SHA-256", "content": file.sha256}]),
                );
        }
        if !is_changed && let Some(id) = hub_id(&subject) {
            fields = fields.put("purl", format!("pkg:huggingface/{id}"));
        }
        fields = fields.put("pedigree", self.pedigree(&subject));
        if subject.kind == ComponentKind::Weights {
            fields = fields.put("modelCard", self.model_card(&subject));
        }
        let mut properties = self.properties(&subject);
        properties.push(property(
            "stablelm:attribution",
            &attribution_line(self.ledger),
        ));
        for sentence in exclusion_sentences(self.ledger) {
            properties.push(property("stablelm:excluded", &sentence));
        }
        fields.put("properties", properties).build()
    }

    fn mixture(&self, reference: &str) -> Value {
        let ledger = self.ledger;
        let mut licenses: Vec<Value> = Vec::new();
        for source in &ledger.sources {
            for license in single_licenses(ledger, &source.license) {
                if !licenses.contains(&license) {
                    licenses.push(license);
                }
            }
        }
        let mut properties = vec![property("stablelm:attribution", &attribution_line(ledger))];
        for source in &ledger.sources {
            let subset = source
                .subset
                .as_deref()
                .map_or_else(String::new, |subset| format!(", subset {subset}"));
            properties.push(property(
                "stablelm:source",
                &format!(
                    "{}{subset}: {} documents, {} tokens, {}",
                    source.name, source.documents, source.tokens, source.license
                ),
            ));
        }
        for sentence in exclusion_sentences(ledger) {
            properties.push(property("stablelm:excluded", &sentence));
        }
        let name = one_line(&ledger.title);
        Object::default()
            .put("type", "data")
            .put("bom-ref", reference)
            .put("name", name.as_str())
            .put("data", json!([{"type": "dataset", "name": name}]))
            .put("licenses", licenses)
            .put("properties", properties)
            .build()
    }

    fn part(&mut self, component: &Component, pointer: &str) -> Value {
        let reference = self.reference(&component.id).unwrap_or_default().to_owned();
        let mut fields = self.described(component, &reference);
        self.cite(component, pointer);
        if component.kind == ComponentKind::Dataset {
            let name = one_line(&component.name);
            let contents = Object::default().put("url", web_address(&component.url));
            let owners: Vec<Value> = component
                .creators
                .iter()
                .map(|creator| json!({"organization": {"name": one_line(creator)}}))
                .collect();
            let data = Object::default()
                .put("type", "dataset")
                .put("name", name)
                .put("contents", contents.build())
                .put(
                    "description",
                    one_line(component.contents_caveat.as_deref().unwrap_or_default()),
                )
                .put(
                    "governance",
                    Object::default().put("owners", owners).build(),
                );
            fields = fields.put("data", vec![data.build()]);
        } else if component.kind == ComponentKind::Weights
            && let Some(id) = hub_id(component)
        {
            fields = fields.put("purl", format!("pkg:huggingface/{id}"));
        }
        fields.put("properties", self.properties(component)).build()
    }

    /// Returns what is said of any component.
    fn described(&mut self, component: &Component, reference: &str) -> Object {
        let group = hub_id(component).and_then(|id| id.split_once('/'));
        let kind = match component.kind {
            ComponentKind::Weights => "machine-learning-model",
            ComponentKind::Dataset | ComponentKind::Tokenizer => "data",
            ComponentKind::Code => "application",
        };
        let authors: Vec<Value> = component
            .citation
            .iter()
            .flat_map(|citation| &citation.authors)
            .map(|author| match author {
                Author::Person { family, given } => {
                    json!({"name": one_line(&format!("{given} {family}"))})
                }
                Author::Entity { name } => json!({"name": one_line(name)}),
            })
            .collect();
        let place = if component.kind == ComponentKind::Code {
            "vcs"
        } else {
            "website"
        };
        let mut links = Vec::new();
        for (kind, address) in [
            (place, component.url.as_str()),
            ("license", &component.license_address().unwrap_or_default()),
            (
                "documentation",
                component
                    .citation
                    .as_ref()
                    .map_or("", |citation| citation.url.as_str()),
            ),
        ] {
            if let Some(address) = web_address(address) {
                links.push(json!({"type": kind, "url": address}));
            }
        }
        let supplier = self.supplier(component);
        Object::default()
            .put("type", kind)
            .put("bom-ref", reference)
            .put("supplier", supplier)
            .put("authors", authors)
            .put("group", group.map_or("", |(group, _)| group))
            .put("name", one_line(&component.name))
            .put("licenses", licenses(self.ledger, component))
            .put("copyright", component.copyright.join("\n"))
            .put("externalReferences", links)
    }

    fn properties(&self, component: &Component) -> Vec<Value> {
        let mut properties = Vec::new();
        if Some(&component.id) != self.ledger.subject.as_ref() {
            properties.push(property("stablelm:attribution", &component.attribution));
        }
        if let Some(released) = &component.released {
            properties.push(property("stablelm:released", released));
        } else if let Some(year) = component.year {
            properties.push(property("stablelm:year", &year.to_string()));
        }
        if let Some(caveat) = &component.contents_caveat {
            properties.push(property("stablelm:contents-caveat", caveat));
        }
        if let Some(gate) = &component.gate {
            properties.push(property(
                "stablelm:gate",
                &format!("{}: {}", gate.state, gate.source),
            ));
        }
        for claim in &component.claims {
            properties.push(property("stablelm:license-claim", &claim_sentence(claim)));
        }
        properties
    }

    /// Says what a changed copy is a copy of, and what any was derived from.
    fn pedigree(&self, subject: &Component) -> Value {
        let ledger = self.ledger;
        let mut ancestors: Vec<Value> = Vec::new();
        let original = (!ledger.changes.is_empty()).then_some(subject);
        let bases = ledger.related(&subject.id, RelationKind::DerivedFrom);
        for ancestor in original.into_iter().chain(bases) {
            let mut fields = Object::default()
                .put("type", "machine-learning-model")
                .put("name", one_line(&ancestor.name))
                .put("licenses", licenses(ledger, ancestor));
            if let Some(id) = hub_id(ancestor) {
                fields = fields
                    .put("group", id.split('/').next())
                    .put("purl", format!("pkg:huggingface/{id}"));
            }
            ancestors.push(fields.build());
        }
        Object::default()
            .put("ancestors", ancestors)
            .put("notes", change_sentences(ledger).join("\n"))
            .build()
    }

    fn model_card(&self, subject: &Component) -> Value {
        let ledger = self.ledger;
        let facts = &self.context.facts;
        let datasets: Vec<Value> = ledger
            .related(&subject.id, RelationKind::TrainedOn)
            .filter(|dataset| is_in_use(ledger, dataset))
            .filter_map(|dataset| self.reference(&dataset.id))
            .map(|reference| json!({"ref": reference}))
            .collect();
        let parameters = Object::default()
            .put("approach", json!({"type": "self-supervised"}))
            .put("task", "text-generation")
            .put("architectureFamily", "transformer")
            .put("modelArchitecture", one_line(&facts.architecture))
            .put("datasets", datasets)
            .put("inputs", json!([{"format": "text"}]))
            .put("outputs", json!([{"format": "text"}]));
        let mut properties = Vec::new();
        for (name, number) in [
            ("parameters", facts.parameters),
            ("context-length", facts.context),
        ] {
            if number > 0 {
                properties.push(property(&format!("stablelm:{name}"), &number.to_string()));
            }
        }
        if !facts.dtype.is_empty() {
            properties.push(property("stablelm:dtype", &facts.dtype));
        }
        Object::default()
            .put("modelParameters", parameters.build())
            .put("properties", properties)
            .build()
    }

    fn files(&mut self) -> Vec<Value> {
        let context = self.context;
        let mut found = Vec::new();
        for (path, file) in context.listed() {
            let reference = self.names.unique(&format!("file-{path}"));
            let role = role(self.ledger, path);
            let mut terms: Vec<Value> = Vec::new();
            for license in licenses_of(self.ledger, role) {
                for license in single_licenses(self.ledger, license) {
                    if !terms.contains(&license) {
                        terms.push(license);
                    }
                }
            }
            let fields = Object::default()
                .put("type", "file")
                .put("bom-ref", reference)
                .put("name", one_line(path))
                .put(
                    "hashes",
                    json!([{"alg": "SHA-256", "content": file.sha256}]),
                )
                .put("licenses", terms);
            found.push(fields.build());
        }
        found
    }

    fn dependencies(&self, root: &str) -> Vec<Value> {
        let ledger = self.ledger;
        let mut found = Vec::new();
        for (id, reference) in &self.refs {
            let mut needed: Vec<&str> = Vec::new();
            let kinds = [
                RelationKind::TrainedOn,
                RelationKind::DerivedFrom,
                RelationKind::UsesTokenizer,
                RelationKind::TrainedWith,
            ];
            let related = kinds.into_iter().flat_map(|kind| ledger.related(id, kind));
            for component in related.chain(ledger.parts(id)) {
                if let Some(name) = self.reference(&component.id)
                    && is_in_use(ledger, component)
                    && !needed.contains(&name)
                {
                    needed.push(name);
                }
            }
            if !needed.is_empty() {
                found.push(json!({"ref": reference, "dependsOn": needed}));
            }
        }
        if ledger.subject.is_none() && !self.refs.is_empty() {
            let wholes = self.refs.iter().filter(|(id, _)| {
                let part_of = ledger.component(id).and_then(|one| one.part_of.as_deref());
                part_of.is_none_or(|whole| self.reference(whole).is_none())
            });
            let wholes: Vec<&str> = wholes.map(|(_, name)| name.as_str()).collect();
            found.push(json!({"ref": root, "dependsOn": wholes}));
        }
        found
    }

    /// Says who supplied each license claim: the makers for what they declare, else this program.
    fn citations(&mut self, tool: &str) -> Vec<Value> {
        let claims = std::mem::take(&mut self.claims);
        let mut found = Vec::new();
        for (pointer, claim, maker) in claims {
            let reference = self.names.unique("citation");
            let maker = maker.filter(|_| claim.kind == ClaimKind::Declared);
            let when = super::moment(&claim.read);
            let fields = Object::default()
                .put("bom-ref", reference)
                .put("pointers", vec![pointer])
                .put(
                    "timestamp",
                    when.unwrap_or_else(|| self.context.created.clone()),
                )
                .put("attributedTo", maker.unwrap_or_else(|| tool.to_owned()))
                .put("note", claim_sentence(&claim));
            found.push(fields.build());
        }
        found
    }
}

fn tools(reference: &str, version: &str) -> Value {
    json!({"components": [{
        "type": "application",
        "bom-ref": reference,
        "name": "stablelm",
        "version": version,
    }]})
}

fn property(name: &str, value: &str) -> Value {
    json!({"name": name, "value": one_line(value)})
}

/// Returns what is concluded and, where it differs, what is declared.
///
/// Version 1.6 takes no expression beside anything else, so then only the conclusion is given.
fn licenses(ledger: &Ledger, component: &Component) -> Vec<Value> {
    let concluded = Terms::read(&component.license);
    let declared = declared(component);
    if concluded == declared && concluded != Terms::Unknown {
        return vec![license(ledger, &concluded, "declared")];
    }
    let mut found = vec![license(ledger, &concluded, "concluded")];
    let is_compound = |terms: &Terms| matches!(terms, Terms::Compound(_));
    if declared != Terms::Unknown && !is_compound(&concluded) && !is_compound(&declared) {
        found.push(license(ledger, &declared, "declared"));
    }
    found
}

fn license(ledger: &Ledger, terms: &Terms, acknowledgement: &str) -> Value {
    let (key, name) = match terms {
        Terms::Compound(expression) => {
            return json!({"expression": expression, "acknowledgement": acknowledgement});
        }
        Terms::Unknown => ("name", NOASSERTION),
        Terms::Listed(id) => ("id", id.as_str()),
        Terms::Custom(name) => ("name", name.as_str()),
    };
    let address = address_of(ledger, name);
    let fields = Object::default()
        .put(key, name)
        .put("url", address.as_deref().and_then(web_address))
        .put("acknowledgement", acknowledgement);
    json!({"license": fields.build()})
}

/// Returns each license of an expression by itself, for things under many licenses.
fn single_licenses(ledger: &Ledger, expression: &str) -> Vec<Value> {
    let terms = Terms::read(expression);
    match &terms {
        Terms::Compound(text) => spdx::identifiers(text)
            .into_iter()
            .map(|id| license(ledger, &Terms::read(id), "concluded"))
            .collect(),
        _ => vec![license(ledger, &terms, "concluded")],
    }
}

fn address_of(ledger: &Ledger, id: &str) -> Option<String> {
    let stated = ledger
        .components
        .iter()
        .find(|component| component.license == id)
        .and_then(|component| component.license_url.clone());
    stated.or_else(|| spdx::license_url(id))
}
