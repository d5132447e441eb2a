//! The container of a PyTorch file as it is written: a zip archive of stored records, each starting at a multiple of 64
//! bytes. Where every record lies is known before any byte is written, so that storages can be filled in any order.
//!
//! The format: PKWARE's APPNOTE 6.3, sections 4.3 to 4.5; what PyTorch makes of it: `caffe2/serialize/inline_container.cc`.

/// What PyTorch aligns records to.
const ALIGNMENT: u64 = 64;
/// Numbers from this one on are written in the 64-bit extension.
const LARGE: u64 = u32::MAX as u64;
/// 1980-01-01, the first day that the format knows.
const DATE: u16 = 0x21;
/// Records before the storages.
const BEFORE: usize = 2;

/// Where the records of a file lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TorchLayout {
    /// `data.pkl`, `byteorder`, the storages, `version`.
    entries: Vec<Entry>,
    directory_at: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    header_at: u64,
    data_at: u64,
    len: u64,
}

impl TorchLayout {
    /// Lays out a file whose records are in the folder `prefix`, as PyTorch names it after the file.
    pub(crate) fn new(prefix: &str, pickle: &[u8], storages: &[u64]) -> Self {
        let mut entries = Vec::with_capacity(storages.len() + 3);
        let mut position = 0;
        let mut add = |name: &str, len: u64| {
            let entry = Entry::new(format!("{prefix}/{name}"), position, len);
            position = entry.data_at + len;
            entries.push(entry);
        };
        add("data.pkl", pickle.len() as u64);
        add("byteorder", BYTE_ORDER.len() as u64);
        for (nth, &len) in storages.iter().enumerate() {
            add(&format!("data/{nth}"), len);
        }
        add("version", VERSION.len() as u64);
        Self {
            entries,
            directory_at: position,
        }
    }

    /// Returns where a storage's bytes begin.
    pub(crate) fn storage_at(&self, nth: usize) -> u64 {
        self.entries[BEFORE + nth].data_at
    }

    /// Returns everything but the storages, each run of bytes with its place in the file.
    pub(crate) fn frame(&self, pickle: &[u8], storage_crcs: &[u32]) -> Vec<(u64, Vec<u8>)> {
        let last = self.entries.len() - 1;
        let mut parts = Vec::with_capacity(self.entries.len() + 1);
        let mut crcs = Vec::with_capacity(self.entries.len());
        for (nth, entry) in self.entries.iter().enumerate() {
            let content = match nth {
                0 => Some(pickle),
                1 => Some(BYTE_ORDER),
                nth if nth == last => Some(VERSION),
                _ => None,
            };
            let crc = match content {
                Some(bytes) => crc32fast::hash(bytes),
                None => storage_crcs[nth - BEFORE],
            };
            let mut bytes = entry.local_header(crc);
            bytes.extend(content.unwrap_or_default());
            parts.push((entry.header_at, bytes));
            crcs.push(crc);
        }
        parts.push((self.directory_at, self.directory(&crcs)));
        parts
    }

    /// Makes a file without storages.
    pub(crate) fn small_file(prefix: &str, pickle: &[u8]) -> Vec<u8> {
        let layout = Self::new(prefix, pickle, &[]);
        let parts = layout.frame(pickle, &[]);
        // Without storages the parts follow each other.
        parts.into_iter().flat_map(|(_, bytes)| bytes).collect()
    }

    /// The central directory and what ends the file.
    fn directory(&self, crcs: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (entry, &crc) in self.entries.iter().zip(crcs) {
            bytes.extend(entry.directory_header(crc));
        }
        let (count, len) = (self.entries.len() as u64, bytes.len() as u64);
        if count >= u64::from(u16::MAX) || len >= LARGE || self.directory_at >= LARGE {
            let end_at = self.directory_at + len;
            bytes.extend(b"PK\x06\x06");
            bytes.extend(44u64.to_le_bytes());
            bytes.extend([45, 3, 45, 0]);
            bytes.extend([0; 8]);
            for number in [count, count, len, self.directory_at] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(b"PK\x06\x07");
            bytes.extend([0; 4]);
            bytes.extend(end_at.to_le_bytes());
            bytes.extend(1u32.to_le_bytes());
        }
        let short_count = u16::try_from(count).unwrap_or(u16::MAX);
        bytes.extend(b"PK\x05\x06");
        bytes.extend([0; 4]);
        bytes.extend(short_count.to_le_bytes());
        bytes.extend(short_count.to_le_bytes());
        bytes.extend(short(len).to_le_bytes());
        bytes.extend(short(self.directory_at).to_le_bytes());
        bytes.extend([0; 2]);
        bytes
    }
}

const BYTE_ORDER: &[u8] = b"little";
const VERSION: &[u8] = b"3\n";

fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Entry {
    fn new(name: String, header_at: u64, len: u64) -> Self {
        let unpadded = header_at + 30 + name.len() as u64 + large_extra(len).len() as u64;
        // A field of padding takes four bytes at the least.
        let data_at = (unpadded + 4).next_multiple_of(ALIGNMENT);
        Self {
            name,
            header_at,
            data_at,
            len,
        }
    }

    fn local_header(&self, crc: u32) -> Vec<u8> {
        let large = large_extra(self.len);
        let fixed = 30 + self.name.len() + large.len();
        let padding = usize::try_from(self.data_at - self.header_at).expect("a few bytes") - fixed;
        let mut bytes = b"PK\x03\x04".to_vec();
        self.shared_fields(crc, &mut bytes);
        bytes.extend(field_len(large.len() + padding).to_le_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.extend(large);
        // The field that PyTorch pads with.
        bytes.extend(b"FB");
        bytes.extend(field_len(padding - 4).to_le_bytes());
        bytes.resize(bytes.len() + padding - 4, b'Z');
        bytes
    }

    fn directory_header(&self, crc: u32) -> Vec<u8> {
        let mut large = Vec::new();
        if self.len >= LARGE {
            large.extend(self.len.to_le_bytes());
            large.extend(self.len.to_le_bytes());
        }
        if self.header_at >= LARGE {
            large.extend(self.header_at.to_le_bytes());
        }
        let mut bytes = b"PK\x01\x02\x2d\x03".to_vec();
        self.shared_fields(crc, &mut bytes);
        let extra = if large.is_empty() { 0 } else { large.len() + 4 };
        bytes.extend(field_len(extra).to_le_bytes());
        // No comment; the first disk; no attributes.
        bytes.extend([0; 10]);
        bytes.extend(short(self.header_at).to_le_bytes());
        bytes.extend(self.name.as_bytes());
        if !large.is_empty() {
            bytes.extend([1, 0]);
            bytes.extend(field_len(large.len()).to_le_bytes());
            bytes.extend(large);
        }
        bytes
    }

    /// What local and central headers have in common: from the version to the length of the name.
    fn shared_fields(&self, crc: u32, bytes: &mut Vec<u8>) {
        bytes.extend([45, 0]);
        // Names are in UTF-8; records are stored.
        bytes.extend(0x0800u16.to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend([0, 0]);
        bytes.extend(DATE.to_le_bytes());
        bytes.extend(crc.to_le_bytes());
        bytes.extend(short(self.len).to_le_bytes());
        bytes.extend(short(self.len).to_le_bytes());
        bytes.extend(field_len(self.name.len()).to_le_bytes());
    }
}

/// The field of 64-bit sizes in a local header.
fn large_extra(len: u64) -> Vec<u8> {
    if len < LARGE {
        return Vec::new();
    }
    let mut bytes = vec![1, 0, 16, 0];
    bytes.extend(len.to_le_bytes());
    bytes.extend(len.to_le_bytes());
    bytes
}

fn field_len(len: usize) -> u16 {
    u16::try_from(len).expect("names and fields have a few dozen bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_places_beyond_four_gigabytes_are_written_in_the_extension() {
        let lens = [5 << 30, 1];
        let layout = TorchLayout::new("x", b".", &lens);
        assert_eq!(layout.storage_at(0) % ALIGNMENT, 0);
        assert!(layout.storage_at(1) > 5 << 30);
        let parts = layout.frame(b".", &[1, 2]);
        let (at, directory) = parts.last().unwrap();
        // Only the end of the file, where a reader looks first, over a hole.
        let file = tempfile::tempfile().unwrap();
        file.set_len(*at).unwrap();
        let mut file = file;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
        std::io::Write::write_all(&mut file, directory).unwrap();
        for (at, bytes) in &parts {
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(*at)).unwrap();
            std::io::Write::write_all(&mut file, bytes).unwrap();
        }
        let mut zip = zip::ZipArchive::new(file).unwrap();
        let mut places = Vec::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index).unwrap();
            let name = entry.name().unwrap().into_owned();
            places.push((name, entry.data_start().unwrap(), entry.size()));
        }
        assert_eq!(
            places[2],
            ("x/data/0".to_owned(), layout.storage_at(0), 5 << 30)
        );
        assert_eq!(places[3], ("x/data/1".to_owned(), layout.storage_at(1), 1));
        assert_eq!(places[4].0, "x/version");
    }
}
