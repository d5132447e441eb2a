//! SHA-256 (FIPS 180-4) of two streams side by side.
//!
//! Each round of a digest waits for the one before it, so that instructions made for it are busy half of the time. Those
//! of a second stream fit in between: a thread that reads two tensors in turn hashes nearly twice as many bytes a second.
//! A stream alone, and both where the processor has no such instructions, are left to `sha2`.

use sha2::block_api::compress256;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Section 5.3.3.
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The digest of the bytes so far.
#[derive(Clone)]
pub(crate) struct Sha256 {
    state: [u32; 8],
    /// The beginning of a block.
    held: Vec<u8>,
    /// Number of bytes so far.
    len: u64,
}

impl Sha256 {
    pub(crate) fn new() -> Self {
        Self {
            state: START,
            held: Vec::with_capacity(BLOCK),
            len: 0,
        }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if !self.held.is_empty() {
            let (first, rest) = bytes.split_at(bytes.len().min(BLOCK - self.held.len()));
            self.held.extend_from_slice(first);
            if self.held.len() < BLOCK {
                return;
            }
            compress256(&mut self.state, self.held.as_chunks().0);
            self.held.clear();
            bytes = rest;
        }
        let (blocks, rest) = bytes.as_chunks();
        compress256(&mut self.state, blocks);
        self.held.extend_from_slice(rest);
    }

    /// Updates several digests, two at a time, each with its bytes.
    pub(crate) fn update_each(streams: &mut [(&mut Self, &[u8])]) {
        for pair in streams.chunks_mut(2) {
            if let [(left, left_bytes), (right, right_bytes)] = pair {
                // Two that are within a block go on alone: tensors are rarely that narrow.
                if left.held.is_empty() && right.held.is_empty() {
                    let common = left_bytes.len().min(right_bytes.len()) / BLOCK * BLOCK;
                    let (left_common, left_rest) = left_bytes.split_at(common);
                    let (right_common, right_rest) = right_bytes.split_at(common);
                    let blocks = [left_common.as_chunks().0, right_common.as_chunks().0];
                    compress_both([&mut left.state, &mut right.state], blocks);
                    left.len += common as u64;
                    right.len += common as u64;
                    (*left_bytes, *right_bytes) = (left_rest, right_rest);
                }
            }
            for (digest, bytes) in pair {
                digest.update(bytes);
            }
        }
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        // Section 5.1.1: a one, zeros, and the number of bits at the end of a block.
        let bits = self.len * 8;
        let mut end = std::mem::take(&mut self.held);
        end.push(0x80);
        end.resize((end.len() + 8).next_multiple_of(BLOCK) - 8, 0);
        end.extend(bits.to_be_bytes());
        compress256(&mut self.state, end.as_chunks().0);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        digest
    }
}

/// Takes as many blocks into each of two states.
fn compress_both(states: [&mut [u32; 8]; 2], blocks: [&[[u8; BLOCK]]; 2]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1")
    {
        // SAFETY: the processor has the instructions.
        unsafe { x86::compress_both(states, blocks) };
        return;
    }
    for (state, blocks) in states.into_iter().zip(blocks) {
        compress256(state, blocks);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Intel's SHA extensions, as the Software Developer's Manual (volume 2, `SHA256RNDS2`) describes them.

    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi8,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32, _mm_storeu_si128,
    };

    use super::BLOCK;

    /// Section 4.2.2, four rounds a row.
    const ROUNDS: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];

    /// A state as the instructions want it, and the four words of the message that are next.
    #[derive(Clone, Copy)]
    struct Stream {
        abef: __m128i,
        cdgh: __m128i,
        words: [__m128i; 4],
    }

    #[target_feature(enable = "sha,ssse3,sse4.1")]
    pub(super) fn compress_both(states: [&mut [u32; 8]; 2], blocks: [&[[u8; BLOCK]]; 2]) {
        let mut streams = [Stream::new(states[0]), Stream::new(states[1])];
        for (left, right) in blocks[0].iter().zip(blocks[1]) {
            let before = streams;
            streams[0].read(left);
            streams[1].read(right);
            // Written out: which words are next must be a constant.
            rounds::<0>(&mut streams);
            rounds::<1>(&mut streams);
            rounds::<2>(&mut streams);
            rounds::<3>(&mut streams);
            rounds::<4>(&mut streams);
            rounds::<5>(&mut streams);
            rounds::<6>(&mut streams);
            rounds::<7>(&mut streams);
            rounds::<8>(&mut streams);
            rounds::<9>(&mut streams);
            rounds::<10>(&mut streams);
            rounds::<11>(&mut streams);
            rounds::<12>(&mut streams);
            rounds::<13>(&mut streams);
            rounds::<14>(&mut streams);
            rounds::<15>(&mut streams);
            for (stream, before) in streams.iter_mut().zip(before) {
                stream.abef = _mm_add_epi32(stream.abef, before.abef);
                stream.cdgh = _mm_add_epi32(stream.cdgh, before.cdgh);
            }
        }
        for (stream, state) in streams.into_iter().zip(states) {
            stream.store(state);
        }
    }

    /// Four rounds of each stream, the row `AT` of the 16.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn rounds<const AT: usize>(streams: &mut [Stream; 2]) {
        let constants = load(&ROUNDS[AT]);
        for stream in streams {
            if AT >= 4 {
                stream.extend::<AT>();
            }
            let first = _mm_add_epi32(stream.words[AT % 4], constants);
            let second = _mm_shuffle_epi32::<0b00_00_11_10>(first);
            // After two rounds the lower half of one is what the upper half of the other was.
            stream.cdgh = _mm_sha256rnds2_epu32(stream.cdgh, stream.abef, first);
            stream.abef = _mm_sha256rnds2_epu32(stream.abef, stream.cdgh, second);
        }
    }

    impl Stream {
        #[inline]
        #[target_feature(enable = "sha,ssse3,sse4.1")]
        fn new(state: &[u32; 8]) -> Self {
            let (halves, _) = state.as_chunks();
            let badc = _mm_shuffle_epi32::<0b10_11_00_01>(load(&halves[0]));
            let hgfe = _mm_shuffle_epi32::<0b00_01_10_11>(load(&halves[1]));
            Self {
                abef: _mm_alignr_epi8::<8>(badc, hgfe),
                cdgh: _mm_blend_epi16::<0xf0>(hgfe, badc),
                words: [badc; 4],
            }
        }

        #[inline]
        #[target_feature(enable = "sha,ssse3,sse4.1")]
        fn store(self, state: &mut [u32; 8]) {
            let feba = _mm_shuffle_epi32::<0b00_01_10_11>(self.abef);
            let dchg = _mm_shuffle_epi32::<0b10_11_00_01>(self.cdgh);
            let (low, high) = state.split_at_mut(4);
            let (low, high) = (low.as_mut_ptr(), high.as_mut_ptr());
            // SAFETY: both halves are 16 bytes.
            unsafe {
                _mm_storeu_si128(low.cast(), _mm_blend_epi16::<0xf0>(feba, dchg));
                _mm_storeu_si128(high.cast(), _mm_alignr_epi8::<8>(dchg, feba));
            }
        }

        /// Takes the 16 words of a block.
        #[inline]
        #[target_feature(enable = "sha,ssse3,sse4.1")]
        fn read(&mut self, block: &[u8; BLOCK]) {
            let big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
            let (parts, _) = block.as_chunks::<16>();
            for (words, bytes) in self.words.iter_mut().zip(parts) {
                // SAFETY: they are 16 bytes.
                let loaded = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
                *words = _mm_shuffle_epi8(loaded, big_endian);
            }
        }

        /// Makes the words of the row `AT` out of those of the four rows before it (section 6.2.2, step 1).
        #[inline]
        #[target_feature(enable = "sha,ssse3,sse4.1")]
        fn extend<const AT: usize>(&mut self) {
            let row = |back: usize| self.words[(AT - back) % 4];
            let (oldest, latest) = (row(4), row(1));
            let seven_back = _mm_alignr_epi8::<4>(latest, row(2));
            let sum = _mm_add_epi32(_mm_sha256msg1_epu32(oldest, row(3)), seven_back);
            self.words[AT % 4] = _mm_sha256msg2_epu32(sum, latest);
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(words: &[u32; 4]) -> __m128i {
        // SAFETY: they are 16 bytes.
        unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::Digest;

    use super::*;

    fn expected(bytes: &[u8]) -> [u8; 32] {
        sha2::Sha256::digest(bytes).into()
    }

    #[test]
    fn digest_of_the_standard_s_example() {
        // FIPS 180-2, appendix B.1.
        let mut digest = Sha256::new();
        digest.update(b"abc");
        let found: Vec<String> = digest.finish().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            found.concat(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    proptest! {
        /// Streams of any lengths, in pieces of any lengths, give the digests of another implementation.
        #[test]
        fn digests_are_those_of_each_stream_alone(
            streams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 1..6),
            piece in prop_oneof![Just(64usize), Just(192), 1usize..300],
        ) {
            let mut digests = vec![Sha256::new(); streams.len()];
            let longest = streams.iter().map(Vec::len).max().unwrap_or(0);
            for start in (0..longest).step_by(piece) {
                let mut pieces: Vec<(&mut Sha256, &[u8])> = digests
                    .iter_mut()
                    .zip(&streams)
                    .map(|(digest, bytes)| {
                        let end = bytes.len().min(start + piece);
                        (digest, &bytes[start.min(end)..end])
                    })
                    .collect();
                Sha256::update_each(&mut pieces);
            }
            for (digest, bytes) in digests.into_iter().zip(&streams) {
                prop_assert_eq!(digest.finish(), expected(bytes));
            }
        }
    }
}
