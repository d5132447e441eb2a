//! Keys in PEM: what curve they are on, and ECDSA with the hash that goes with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _};
use thiserror::Error;

use crate::changes::sha256_hex;

/// Characters of base64 a line of PEM holds.
const PEM_WIDTH: usize = 64;
/// No key we read is longer than this, in bytes of PEM.
const MAX_PEM: usize = 1 << 20;

const PRIVATE: &str = "PRIVATE KEY";
const SEC1: &str = "EC PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

/// Object identifiers with their DER tag and length, and what they stand for.
const ALGORITHMS: [(&[u8], Algorithm); 6] = [
    (
        &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        Algorithm::P256,
    ),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22], Algorithm::P384),
    (
        &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
        Algorithm::Other("the curve P-521"),
    ),
    (
        &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a],
        Algorithm::Other("the curve secp256k1"),
    ),
    (&[0x06, 0x03, 0x2b, 0x65, 0x70], Algorithm::Other("Ed25519")),
    (
        &[
            0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
        ],
        Algorithm::Other("RSA"),
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    P256,
    P384,
    Other(&'static str),
}

/// Why bytes are not a key we can use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no PEM block in it.
    #[error("there is no PEM block in it: expected a line `-----BEGIN {expected}-----`")]
    NoPem {
        /// The label looked for.
        expected: &'static str,
    },
    /// The PEM block holds something else.
    #[error("it holds a `{found}`, expected a `{expected}`")]
    WrongLabel {
        /// The label found.
        found: String,
        /// The label looked for.
        expected: &'static str,
    },
    /// The private key is locked by a passphrase.
    #[error("the private key is encrypted; only keys without a passphrase are read")]
    Encrypted,
    /// The key is of a kind that the format knows and we do not, or of none.
    #[error("the key is for {found}, expected the curve P-256 or P-384")]
    Unsupported {
        /// What the key is for.
        found: &'static str,
    },
    /// The block is not what its label says.
    #[error("the key is damaged: it is no `{label}` in DER")]
    Damaged {
        /// The label of the block.
        label: String,
    },
}

/// A private key that signs.
#[derive(Clone)]
pub struct SigningKey(Signing);

#[derive(Clone)]
enum Signing {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
}

/// A public key that checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationKey(Verifying);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verifying {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl std::fmt::Debug for SigningKey {
    // The key itself must not get into a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SigningKey({})", self.verification_key().curve())
    }
}

impl SigningKey {
    /// Reads a private key on P-256 or P-384 from PEM: PKCS #8 (`PRIVATE KEY`) or SEC 1
    /// (`EC PRIVATE KEY`), without a passphrase.
    pub fn from_pem(pem: &[u8]) -> Result<SigningKey, KeyError> {
        let block = block(pem, PRIVATE, &[PRIVATE, SEC1])?;
        let damaged = || KeyError::Damaged {
            label: block.label.clone(),
        };
        let is_sec1 = block.label == SEC1;
        let p256 = || {
            let secret = if is_sec1 {
                p256::SecretKey::from_sec1_der(&block.der).ok()
            } else {
                p256::SecretKey::from_pkcs8_der(&block.der).ok()
            };
            secret.map(|secret| SigningKey(Signing::P256(secret.into())))
        };
        let p384 = || {
            let secret = if is_sec1 {
                p384::SecretKey::from_sec1_der(&block.der).ok()
            } else {
                p384::SecretKey::from_pkcs8_der(&block.der).ok()
            };
            secret.map(|secret| SigningKey(Signing::P384(secret.into())))
        };
        match algorithm(&block.der) {
            Some(Algorithm::P256) => p256().ok_or_else(damaged),
            Some(Algorithm::P384) => p384().ok_or_else(damaged),
            Some(Algorithm::Other(found)) => Err(KeyError::Unsupported { found }),
            // SEC 1 may leave the curve out; then the length tells.
            None => p256().or_else(p384).ok_or_else(damaged),
        }
    }

    /// Returns the public half.
    pub fn verification_key(&self) -> VerificationKey {
        VerificationKey(match &self.0 {
            Signing::P256(key) => Verifying::P256(*key.verifying_key()),
            Signing::P384(key) => Verifying::P384(*key.verifying_key()),
        })
    }

    /// Returns the signature of a message in DER; the same key and message give the same bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Signing::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Signing::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }
}

impl VerificationKey {
    /// Reads a public key on P-256 or P-384 from PEM (`PUBLIC KEY`).
    pub fn from_pem(pem: &[u8]) -> Result<VerificationKey, KeyError> {
        let block = block(pem, PUBLIC, &[PUBLIC])?;
        let damaged = || KeyError::Damaged {
            label: block.label.clone(),
        };
        let key = match algorithm(&block.der) {
            Some(Algorithm::P256) => p256::ecdsa::VerifyingKey::from_public_key_der(&block.der)
                .ok()
                .map(Verifying::P256),
            Some(Algorithm::P384) => p384::ecdsa::VerifyingKey::from_public_key_der(&block.der)
                .ok()
                .map(Verifying::P384),
            Some(Algorithm::Other(found)) => return Err(KeyError::Unsupported { found }),
            None => None,
        };
        key.map(VerificationKey).ok_or_else(damaged)
    }

    /// Returns the key as a `PUBLIC KEY` in PEM, the way OpenSSL writes it.
    pub fn to_pem(&self) -> String {
        let der = match &self.0 {
            Verifying::P256(key) => key.to_public_key_der(),
            Verifying::P384(key) => key.to_public_key_der(),
        };
        let der = der.expect("a point on a named curve always has a DER form");
        let base64 = STANDARD.encode(der.as_bytes());
        let mut pem = format!("-----BEGIN {PUBLIC}-----\n");
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(PEM_WIDTH));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str(&format!("-----END {PUBLIC}-----\n"));
        pem
    }

    /// Returns what a bundle calls the key: the SHA-256 of its PEM, in lower-case hexadecimal.
    pub fn hint(&self) -> String {
        sha256_hex(self.to_pem().as_bytes())
    }

    /// Returns the curve's name.
    pub fn curve(&self) -> &'static str {
        match self.0 {
            Verifying::P256(_) => "P-256",
            Verifying::P384(_) => "P-384",
        }
    }

    /// Says whether a signature in DER is one of this key's curve, and then whether it holds.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        match &self.0 {
            Verifying::P256(key) => {
                let signature = p256::ecdsa::Signature::from_der(signature).ok()?;
                Some(key.verify(message, &signature).is_ok())
            }
            Verifying::P384(key) => {
                let signature = p384::ecdsa::Signature::from_der(signature).ok()?;
                Some(key.verify(message, &signature).is_ok())
            }
        }
    }
}

struct Block {
    label: String,
    der: Vec<u8>,
}

/// Returns the first PEM block with one of the labels; `openssl` writes curve parameters before it.
fn block(pem: &[u8], expected: &'static str, labels: &[&str]) -> Result<Block, KeyError> {
    let text = String::from_utf8_lossy(&pem[..pem.len().min(MAX_PEM)]);
    let mut other: Option<String> = None;
    let mut rest: &str = &text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let Some((label, body)) = after.split_once("-----") else {
            break;
        };
        rest = body;
        if label == "ENCRYPTED PRIVATE KEY" {
            return Err(KeyError::Encrypted);
        }
        if !labels.contains(&label) {
            if label != "EC PARAMETERS" {
                other = other.or_else(|| Some(label.to_owned()));
            }
            continue;
        }
        let damaged = || KeyError::Damaged {
            label: label.to_owned(),
        };
        let (body, _) = body
            .split_once(&format!("-----END {label}-----"))
            .ok_or_else(damaged)?;
        if body.contains("Proc-Type:") {
            return Err(KeyError::Encrypted);
        }
        let base64: String = body.split_whitespace().collect();
        let der = STANDARD.decode(base64).map_err(|_| damaged())?;
        return Ok(Block {
            label: label.to_owned(),
            der,
        });
    }
    Err(match other {
        Some(found) => KeyError::WrongLabel { found, expected },
        None => KeyError::NoPem { expected },
    })
}

fn algorithm(der: &[u8]) -> Option<Algorithm> {
    ALGORITHMS
        .iter()
        .find(|(id, _)| der.windows(id.len()).any(|window| window == *id))
        .map(|(_, algorithm)| *algorithm)
}
