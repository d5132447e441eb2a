//! What a filter reads from files after its recipe was checked.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Lists and tables that several threads and copies of a filter share; absent until they are read.
///
/// They follow from the settings beside them and from files, so two filters are compared, printed
/// and written by their settings alone.
pub(super) struct Loaded<T>(Option<Arc<T>>);

impl<T> Loaded<T> {
    /// Not read yet.
    pub(super) fn absent() -> Self {
        Self(None)
    }

    pub(super) fn new(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }
}

impl<T> Deref for Loaded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let value = self.0.as_deref();
        value.expect("the files of a filter are read before any document is judged")
    }
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self::absent()
    }
}

impl<T> Clone for Loaded<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> PartialEq for Loaded<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Loaded",
            None => "Absent",
        })
    }
}
