//! Pretokens that were seen before and are long, or became many ids: an arena of bytes that is
//! emptied when it is full.

/// The longest pretoken that is remembered.
pub(crate) const MAX_LEN: usize = 128;

/// Ids by pretoken.
pub(crate) struct LongTable {
    /// Two places a bucket: half a hash above, one more than a place in the arena below.
    index: Box<[[u64; 2]]>,
    /// Entries: the length, the number of ids, the ids, the bytes.
    arena: Vec<u8>,
    max_len: usize,
}

impl LongTable {
    /// Makes an empty table in at most `num_bytes`.
    pub(crate) fn new(num_bytes: usize) -> Self {
        let num_buckets = 1_usize << (num_bytes / 8 / size_of::<[u64; 2]>()).max(1).ilog2();
        Self {
            index: vec![[0; 2]; num_buckets].into(),
            arena: Vec::new(),
            max_len: num_bytes - num_bytes / 8,
        }
    }

    fn bucket(&self, hash: u64) -> usize {
        hash as usize & (self.index.len() - 1)
    }

    /// Writes the ids of a pretoken and returns their number, which is 0 if it is not remembered.
    ///
    /// # Panics
    ///
    /// When `ids` has no room for as many ids as were remembered, at most one a byte.
    pub(crate) fn find(&self, pretoken: &[u8], ids: &mut [u16]) -> usize {
        let hash = hash(pretoken);
        for entry in self.index[self.bucket(hash)] {
            if entry != 0 && entry >> 32 == hash >> 32 {
                let entry = &self.arena[entry as u32 as usize - 1..];
                let (len, num_ids) = (usize::from(entry[0]), usize::from(entry[1]));
                let (found, bytes) = entry[2..].split_at(2 * num_ids);
                if bytes.get(..len) == Some(pretoken) {
                    for (id, &two) in ids[..num_ids].iter_mut().zip(found.as_chunks().0) {
                        *id = u16::from_le_bytes(two);
                    }
                    return num_ids;
                }
            }
        }
        0
    }

    /// Remembers a pretoken of up to [`MAX_LEN`] bytes that is not remembered.
    pub(crate) fn insert(&mut self, pretoken: &[u8], ids: &[u16]) {
        let (Ok(len), Ok(num_ids)) = (u8::try_from(pretoken.len()), u8::try_from(ids.len())) else {
            return;
        };
        let needed = 2 + 2 * ids.len() + pretoken.len();
        if self.arena.len() + needed > self.max_len {
            if needed > self.max_len {
                return;
            }
            self.arena.clear();
            self.index.fill([0; 2]);
        }
        let hash = hash(pretoken);
        let place = self.arena.len() as u64 + 1;
        self.arena.extend([len, num_ids]);
        self.arena
            .extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        self.arena.extend_from_slice(pretoken);
        let bucket = self.bucket(hash);
        let entries = &mut self.index[bucket];
        // The newer one is looked at first.
        entries[1] = entries[0];
        entries[0] = hash >> 32 << 32 | place;
    }
}

/// Folds a product a word; every bit counts.
fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word ^ 0x2D35_8DCC_AA6C_78A5) * 0x9E37_79B9_7F4A_7C15;
        product as u64 ^ (product >> 64) as u64
    };
    let (words, rest) = bytes.as_chunks();
    let hash = words.iter().fold(bytes.len() as u64, |hash, &word| {
        fold(hash, u64::from_le_bytes(word))
    });
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(hash, u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(table: &LongTable, pretoken: &str, expected: Option<&[u16]>) {
        let mut ids = [0; MAX_LEN];
        let len = table.find(pretoken.as_bytes(), &mut ids);
        assert_eq!(ids[..len], *expected.unwrap_or_default());
    }

    #[test]
    fn what_is_remembered_is_found_until_the_table_is_full() {
        let mut table = LongTable::new(1024);
        check(&table, "internationalization", None);
        table.insert(b"internationalization", &[7, 8]);
        table.insert(b"internationalisation", &[7, 9]);
        check(&table, "internationalization", Some(&[7, 8]));
        check(&table, "internationalisation", Some(&[7, 9]));
        for number in 0..1000_u16 {
            let pretoken = format!("{number:020}");
            table.insert(pretoken.as_bytes(), &[number]);
            check(&table, &pretoken, Some(&[number]));
        }
        check(&table, "internationalization", None);
        assert!(table.arena.capacity() <= 2048);
    }

    #[test]
    fn a_table_without_room_remembers_nothing() {
        let mut table = LongTable::new(0);
        table.insert(b"internationalization", &[7, 8]);
        check(&table, "internationalization", None);
    }
}
