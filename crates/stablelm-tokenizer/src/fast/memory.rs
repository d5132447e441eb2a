//! Pretokens that are too long for the table, or became too many ids: an arena that is emptied when
//! it is full.

/// The longest pretoken that is remembered.
pub(crate) const MAX_LEN: usize = u8::MAX as usize;

/// Where a pretoken lies: a place, and how often the arena had been emptied.
pub(crate) type Place = [u64; 2];

/// Pretokens and their ids, one after another.
pub(crate) struct Arena {
    /// The length of the pretoken, the number of ids, the ids, the pretoken.
    bytes: Vec<u8>,
    max_len: usize,
    num_emptied: u64,
}

impl Arena {
    /// Makes an empty arena of at most `max_len` bytes.
    pub(crate) fn new(max_len: usize) -> Self {
        Self {
            bytes: Vec::new(),
            max_len,
            num_emptied: 0,
        }
    }

    /// Appends the ids of a pretoken if they are what lies at a place; returns whether they are.
    pub(crate) fn find(&self, place: Place, pretoken: &[u8], ids: &mut Vec<u16>) -> bool {
        let [place, num_emptied] = place;
        if num_emptied != self.num_emptied {
            return false;
        }
        let entry = &self.bytes[place as usize..];
        let (len, num_ids) = (usize::from(entry[0]), usize::from(entry[1]));
        let (found, rest) = entry[2..].split_at(2 * num_ids);
        let is_same = &rest[..len] == pretoken;
        if is_same {
            ids.extend(
                found
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&two| u16::from_le_bytes(two)),
            );
        }
        is_same
    }

    /// Remembers a pretoken of up to [`MAX_LEN`] bytes; returns where, if there is room at all.
    pub(crate) fn push(&mut self, pretoken: &[u8], ids: &[u16]) -> Option<Place> {
        let len = u8::try_from(pretoken.len()).ok()?;
        let num_ids = u8::try_from(ids.len()).ok()?;
        let needed = 2 + 2 * ids.len() + pretoken.len();
        if needed > self.max_len {
            return None;
        }
        if self.bytes.len() + needed > self.max_len {
            self.bytes.clear();
            self.num_emptied += 1;
        }
        // Growing by doubling would take more than there is room for.
        if self.bytes.capacity() < self.bytes.len() + needed {
            let wanted = (2 * self.bytes.len()).clamp(1 << 10, self.max_len);
            self.bytes
                .reserve_exact(wanted.max(self.bytes.len() + needed) - self.bytes.len());
        }
        let place = self.bytes.len() as u64;
        self.bytes.extend([len, num_ids]);
        self.bytes
            .extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        self.bytes.extend_from_slice(pretoken);
        Some([place, self.num_emptied])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arena: &Arena, place: Place, pretoken: &str, expected: Option<&[u16]>) {
        let mut ids = Vec::new();
        let is_found = arena.find(place, pretoken.as_bytes(), &mut ids);
        assert_eq!(is_found.then_some(ids.as_slice()), expected);
    }

    #[test]
    fn what_is_remembered_is_found_until_the_arena_is_full() {
        let mut arena = Arena::new(1024);
        let place = arena.push(b"internationalization", &[7, 8]).unwrap();
        check(&arena, place, "internationalization", Some(&[7, 8]));
        check(&arena, place, "internationalisation", None);
        for number in 0..1000_u16 {
            let pretoken = format!("{number:020}");
            let place = arena.push(pretoken.as_bytes(), &[number]).unwrap();
            check(&arena, place, &pretoken, Some(&[number]));
            assert!(arena.bytes.capacity() <= 1024);
        }
        check(&arena, place, "internationalization", None);
    }

    #[test]
    fn an_arena_without_room_remembers_nothing() {
        assert_eq!(Arena::new(20).push(b"internationalization", &[7, 8]), None);
        assert_eq!(Arena::new(9999).push(&[b'a'; 256], &[7, 8]), None);
    }
}
