//! The signature file: a Sigstore bundle, its envelope and its statement.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use super::key::{SigningKey, VerificationKey};
use super::manifest::{Resource, Serialization, SignedManifest, is_sha256};

const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const BUNDLE_FAMILY: &str = "application/vnd.dev.sigstore.bundle";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
const HASH_TYPE: &str = "sha256";

/// Why a signature does not hold, or cannot be judged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file or the statement in it is not JSON of the expected form.
    #[error("the {part} is not of the form of an OpenSSF model signature")]
    Json {
        /// Which part.
        part: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A part of it is not base64.
    #[error("the {part} is not base64")]
    Base64 {
        /// Which part.
        part: &'static str,
    },
    /// A field has a value we cannot go on with.
    #[error("`{field}` is `{found}`, expected {expected}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// It was not made with a key.
    #[error("it was made with {found}, which needs a network to check; only keys are supported")]
    NotAKey {
        /// What it was made with.
        found: &'static str,
    },
    /// It was made with another key.
    #[error("it was made with the key `{expected}`, the one given is `{found}`")]
    OtherKey {
        /// The hint in the bundle.
        expected: String,
        /// The hint of the key given.
        found: String,
    },
    /// The signature is not one of the key's curve.
    #[error("the signature is not one of the curve {curve}, which the key given is on")]
    OtherCurve {
        /// The key's curve.
        curve: &'static str,
    },
    /// The signature does not fit the statement.
    #[error("the signature does not fit: {}", if *.hinted {
        "what was signed was changed afterwards"
    } else {
        "it was made with another key, or what was signed was changed afterwards"
    })]
    Tampered {
        /// Whether the bundle names the key that was given.
        hinted: bool,
    },
    /// The statement contradicts itself.
    #[error("the statement says its files hash to `{expected}`, they hash to `{found}`")]
    RootDigest {
        /// What the statement says.
        expected: String,
        /// What its list gives.
        found: String,
    },
}

/// A signature file that was read and not yet believed.
#[derive(Clone, Debug)]
pub struct SignatureBundle {
    payload: Vec<u8>,
    signatures: Vec<Vec<u8>>,
    hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBundle {
    media_type: String,
    verification_material: RawMaterial,
    dsse_envelope: RawEnvelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMaterial {
    public_key: Option<RawPublicKey>,
    certificate: Option<Value>,
    x509_certificate_chain: Option<Value>,
}

#[derive(Deserialize)]
struct RawPublicKey {
    hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<RawSignature>,
}

#[derive(Deserialize)]
struct RawSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStatement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<RawSubject>,
    predicate_type: String,
    predicate: RawPredicate,
}

#[derive(Deserialize)]
struct RawSubject {
    name: String,
    digest: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawPredicate {
    resources: Vec<RawResource>,
    serialization: RawSerialization,
}

#[derive(Serialize, Deserialize)]
struct RawResource {
    name: String,
    algorithm: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct RawSerialization {
    method: String,
    hash_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard_size: Option<u64>,
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

/// Signs a manifest; the same manifest and key always give the same bytes.
pub fn sign(manifest: &SignedManifest, key: &SigningKey) -> String {
    let payload = statement(manifest).to_string().into_bytes();
    let signature = key.sign(&pre_authentication(&payload));
    let bundle = json!({
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {
            "publicKey": { "hint": key.verification_key().hint() },
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": STANDARD.encode(signature), "keyid": "" }],
        },
    });
    let mut text = bundle.to_string();
    text.push('\n');
    text
}

impl SignatureBundle {
    /// Reads a signature file.
    pub fn parse(bytes: &[u8]) -> Result<SignatureBundle, BundleError> {
        let raw: RawBundle = serde_json::from_slice(bytes).map_err(|source| BundleError::Json {
            part: "bundle",
            source,
        })?;
        if !raw.media_type.starts_with(BUNDLE_FAMILY) {
            return Err(BundleError::Field {
                field: "mediaType",
                found: raw.media_type,
                expected: "a Sigstore bundle",
            });
        }
        let material = raw.verification_material;
        let Some(public_key) = material.public_key else {
            return Err(no_key(
                material.certificate.is_some(),
                material.x509_certificate_chain.is_some(),
            ));
        };
        let envelope = raw.dsse_envelope;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(BundleError::Field {
                field: "payloadType",
                found: envelope.payload_type,
                expected: "`application/vnd.in-toto+json`",
            });
        }
        let payload = decode(&envelope.payload, "payload")?;
        let signatures: Result<Vec<_>, _> = envelope
            .signatures
            .iter()
            .map(|signature| decode(&signature.sig, "signature"))
            .collect();
        let signatures = signatures?;
        if signatures.is_empty() {
            return Err(BundleError::Field {
                field: "signatures",
                found: "an empty list".to_owned(),
                expected: "at least one",
            });
        }
        Ok(SignatureBundle {
            payload,
            signatures,
            hint: public_key.hint.filter(|hint| !hint.is_empty()),
        })
    }

    /// Returns the hash of the public key it says it was made with.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns what was signed, if the key signed it.
    pub fn verify(&self, key: &VerificationKey) -> Result<SignedManifest, BundleError> {
        let own = key.hint();
        if let Some(hint) = self.hint.as_ref().filter(|hint| **hint != own) {
            return Err(BundleError::OtherKey {
                expected: hint.clone(),
                found: own,
            });
        }
        let message = pre_authentication(&self.payload);
        let verdicts: Vec<Option<bool>> = self
            .signatures
            .iter()
            .map(|signature| key.verify(&message, signature))
            .collect();
        if verdicts.contains(&Some(true)) {
            return self.unverified_manifest();
        }
        if verdicts.iter().all(Option::is_none) {
            return Err(BundleError::OtherCurve { curve: key.curve() });
        }
        Err(BundleError::Tampered {
            hinted: self.hint.is_some(),
        })
    }

    /// Returns what the statement lists without asking whether anybody signed it: good for finding
    /// damage, worthless against forgery.
    pub fn unverified_manifest(&self) -> Result<SignedManifest, BundleError> {
        let raw: RawStatement =
            serde_json::from_slice(&self.payload).map_err(|source| BundleError::Json {
                part: "statement",
                source,
            })?;
        expect(
            "_type",
            &raw.kind,
            STATEMENT_TYPE,
            "an in-toto statement of version 1",
        )?;
        expect(
            "predicateType",
            &raw.predicate_type,
            PREDICATE_TYPE,
            "`https://model_signing/signature/v1.0`",
        )?;
        let [subject] = &raw.subject[..] else {
            return Err(BundleError::Field {
                field: "subject",
                found: format!("{} entries", raw.subject.len()),
                expected: "exactly one",
            });
        };
        let manifest = manifest(subject.name.clone(), raw.predicate)?;
        let expected = subject.digest.get(HASH_TYPE).cloned().unwrap_or_default();
        let found = manifest.root_digest();
        if expected != found {
            return Err(BundleError::RootDigest { expected, found });
        }
        Ok(manifest)
    }
}

fn no_key(certificate: bool, chain: bool) -> BundleError {
    let found = if certificate {
        "a Sigstore identity"
    } else if chain {
        "a certificate"
    } else {
        "neither key nor certificate"
    };
    BundleError::NotAKey { found }
}

fn expect(
    field: &'static str,
    found: &str,
    wanted: &str,
    expected: &'static str,
) -> Result<(), BundleError> {
    if found == wanted {
        return Ok(());
    }
    Err(BundleError::Field {
        field,
        found: found.to_owned(),
        expected,
    })
}

fn decode(text: &str, part: &'static str) -> Result<Vec<u8>, BundleError> {
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .map_err(|_| BundleError::Base64 { part })
}

/// DSSE's pre-authentication encoding: what is really signed.
fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    let mut message = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        payload.len()
    )
    .into_bytes();
    message.extend_from_slice(payload);
    message
}

fn statement(manifest: &SignedManifest) -> Value {
    let resources: Vec<RawResource> = manifest
        .resources
        .iter()
        .map(|resource| RawResource {
            name: resource.name.clone(),
            algorithm: HASH_TYPE.to_owned(),
            digest: resource.sha256.clone(),
        })
        .collect();
    let (method, shard_size) = match manifest.serialization {
        Serialization::Files => ("files", None),
        Serialization::Shards { size } => ("shards", Some(size)),
    };
    let serialization = RawSerialization {
        method: method.to_owned(),
        hash_type: HASH_TYPE.to_owned(),
        shard_size,
        allow_symlinks: manifest.allow_symlinks,
        ignore_paths: manifest.ignored.clone(),
    };
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [{ "name": manifest.name, "digest": { HASH_TYPE: manifest.root_digest() } }],
        "predicateType": PREDICATE_TYPE,
        "predicate": { "resources": resources, "serialization": serialization },
    })
}

fn manifest(name: String, raw: RawPredicate) -> Result<SignedManifest, BundleError> {
    let method = raw.serialization;
    expect(
        "hash_type",
        &method.hash_type,
        HASH_TYPE,
        "`sha256` (other hashes are not supported)",
    )?;
    let serialization = match (method.method.as_str(), method.shard_size) {
        ("files", _) => Serialization::Files,
        ("shards", Some(size)) if size > 0 => Serialization::Shards { size },
        ("shards", size) => {
            return Err(BundleError::Field {
                field: "shard_size",
                found: size.map_or_else(|| "missing".to_owned(), |size| size.to_string()),
                expected: "more than zero",
            });
        }
        (other, _) => {
            return Err(BundleError::Field {
                field: "method",
                found: other.to_owned(),
                expected: "`files` or `shards`",
            });
        }
    };
    let mut names = BTreeSet::new();
    let mut resources = Vec::with_capacity(raw.resources.len());
    for resource in raw.resources {
        // A hash says which of two resources with one name was meant only when both are equal.
        if !is_relative(&resource.name) || !names.insert(resource.name.clone()) {
            return Err(BundleError::Field {
                field: "resources.name",
                found: resource.name,
                expected: "a path below the folder, listed once",
            });
        }
        // Older writers add to the name how a piece was hashed; the hash type above decides.
        if !resource.algorithm.starts_with(HASH_TYPE) || !is_sha256(&resource.digest) {
            return Err(BundleError::Field {
                field: "resources.digest",
                found: format!("{}:{}", resource.algorithm, resource.digest),
                expected: "a SHA-256",
            });
        }
        resources.push(Resource {
            name: resource.name,
            sha256: resource.digest,
        });
    }
    Ok(SignedManifest {
        name,
        resources,
        serialization,
        ignored: method
            .ignore_paths
            .into_iter()
            .filter(|path| !path.is_empty() && path != ".")
            .collect(),
        allow_symlinks: method.allow_symlinks,
    })
}

fn is_relative(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('/')
        && !name.contains('\\')
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
