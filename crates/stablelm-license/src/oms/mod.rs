//! Signatures over a folder of model files, in the form of the `OpenSSF` Model Signing
//! specification 1.0, by a key.
//!
//! A signature file is a Sigstore bundle around a DSSE envelope around an in-toto statement that
//! lists every file with its hash. It says that whoever holds the key signed exactly these bytes,
//! and nothing about licenses. Certificates and keyless signatures need a network and are refused
//! by name.
//!
//! ```
//! use stablelm_license::oms::{SignedManifest, SigningKey, sign, SignatureBundle};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pem = "-----BEGIN EC PRIVATE KEY-----
//! # MHcCAQEEICiqZv6ydZ8yhdmt+lc2lyFpjdjkIV/ElnqXTS2WIAesoAoGCCqGSM49
//! # AwEHoUQDQgAEBIxfqClyWqPAkO+hd+pzfhi0W2J8JFPp0O8kGdG472R36GSFoR+v
//! # 08DeONhIXblO7RRWKZsDt5QTesY7hfIOAw==
//! # -----END EC PRIVATE KEY-----";
//! let key = SigningKey::from_pem(pem.as_bytes())?;
//! let manifest = SignedManifest::of_files("model", [("config.json", &*"ab".repeat(32))], &[]);
//! let bundle = SignatureBundle::parse(sign(&manifest, &key).as_bytes())?;
//! assert_eq!(bundle.verify(&key.verification_key())?, manifest);
//! # Ok(())
//! # }
//! ```

mod bundle;
mod key;
mod manifest;

pub use bundle::{BundleError, SignatureBundle, sign};
pub use key::{KeyError, SigningKey, VerificationKey};
pub use manifest::{Difference, Piece, Resource, Serialization, SignedManifest};
