//! Small corpora and models made from a seed, for tests and fixtures.
//!
//! Only ever a dev-dependency. Nothing here reads anything but the repository itself.
//!
//! ```
//! let documents = stablelm_testkit::corpus(1234, 3);
//! assert_eq!(documents.len(), 3);
//! assert!(documents[0].text.split_whitespace().count() >= 80);
//! ```

mod corpus;
pub mod http_server;
mod oracles;
mod random;
mod tricky;

pub use corpus::{CorpusDocument, Genre, corpus};
pub use oracles::{fixtures, shared_oracles};
pub use tricky::tricky_text;
