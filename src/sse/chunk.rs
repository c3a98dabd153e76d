//! What is sent together, as HTTP/1.1 delimits it or bare.
//!
//! HTTP/1.1 sends a body whose length is not known in chunks, and ends it with an empty one (RFC 9112, section 7.1), so that
//! a client can tell the end from a cut. HTTP/1.0 and HTTP/2 have no chunks.
//!
//! **Invariant:** what goes to a stream is whole chunks, or the same data bare. No chunk but the last is empty, since an
//! empty one ends the body.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

/// What ends a chunk. The end of a chunk that is put together includes it.
const CHUNK_END: &[u8] = b"\r\n";
/// Place for the size of any chunk, and the end of its line.
const SIZE_LINE: &[u8] = b"ffffffff\r\n";

/// How the body of a stream is delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Framing {
    /// By the end of the connection (HTTP/1.0), or outside of the body (HTTP/2).
    #[default]
    Bare,
    /// In chunks (HTTP/1.1).
    Chunked,
}

impl Framing {
    /// What says that the body has ended in good order, if anything has to.
    #[must_use]
    pub fn last(self) -> Option<Bytes> {
        (self == Framing::Chunked).then(|| Bytes::from_static(b"0\r\n\r\n"))
    }

    /// The pieces of a chunk whose middle, `data`, is shared with other chunks. `end` includes that of the chunk.
    pub(super) fn around(self, begin: String, data: Bytes, end: &'static [u8]) -> SmallVec<[Bytes; 3]> {
        let (last, _) = end.split_at(end.len() - CHUNK_END.len());
        match self {
            Framing::Bare if begin.is_empty() => smallvec![data, Bytes::from_static(last)],
            Framing::Bare => smallvec![Bytes::from(begin), data, Bytes::from_static(last)],
            Framing::Chunked => {
                let size = begin.len() + data.len() + last.len();
                smallvec![Bytes::from(format!("{size:x}\r\n{begin}")), data, Bytes::from_static(end)]
            }
        }
    }
}

/// Data encoded once, with the framing of a chunk round it. Without that it is a part of the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk(Bytes);

impl Chunk {
    /// The chunk of what `put` appends; `capacity` is about as much.
    pub(super) fn of(capacity: usize, put: impl FnOnce(&mut BytesMut)) -> Chunk {
        let mut bytes = BytesMut::with_capacity(SIZE_LINE.len() + capacity + CHUNK_END.len());
        bytes.put_slice(SIZE_LINE);
        put(&mut bytes);
        let size = bytes.len() - SIZE_LINE.len();
        if size == 0 {
            return Chunk::default();
        }
        let size_line = format!("{size:x}\r\n");
        let begin = SIZE_LINE.len() - size_line.len();
        bytes[begin..SIZE_LINE.len()].copy_from_slice(size_line.as_bytes());
        bytes.put_slice(CHUNK_END);
        bytes.advance(begin);
        Chunk(bytes.freeze())
    }

    /// As a stream with that framing sends it.
    #[must_use]
    pub fn framed(&self, framing: Framing) -> Bytes {
        match framing {
            Framing::Bare => self.data(),
            Framing::Chunked => self.0.clone(),
        }
    }

    /// The data alone.
    #[must_use]
    pub fn data(&self) -> Bytes {
        let line_end = self.0.iter().take(SIZE_LINE.len()).position(|byte| *byte == b'\n');
        line_end.map_or_else(Bytes::new, |at| self.0.slice(at + 1..self.0.len() - CHUNK_END.len()))
    }

    /// Bytes that it takes to keep.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn chunk(data: &[u8]) -> Chunk {
        Chunk::of(data.len(), |bytes| bytes.put_slice(data))
    }

    /// The data of the chunks in a body, and whether the last one was there. Written for the tests alone, and as strict as
    /// RFC 9112 allows: a size has no leading zero, and nothing is left over.
    pub(crate) fn unchunked(mut body: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let mut chunks = Vec::new();
        while !body.is_empty() {
            let line = body.windows(2).position(|end| end == b"\r\n").expect("a size");
            let text = std::str::from_utf8(&body[..line]).expect("ASCII");
            let size = usize::from_str_radix(text, 16).expect("hexadecimal");
            assert_eq!(format!("{size:x}"), text, "the shortest form");
            let data = &body[line + 2..];
            assert_eq!(&data[size..size + 2], b"\r\n", "the end of {:?}", String::from_utf8_lossy(body));
            body = &data[size + 2..];
            if size == 0 {
                assert!(body.is_empty(), "nothing comes after the last chunk");
                return (chunks, true);
            }
            chunks.push(data[..size].to_vec());
        }
        (chunks, false)
    }

    /// Mutant: an empty chunk is sent, which ends the body.
    #[test]
    fn no_data_is_no_chunk() {
        let chunk = chunk(b"");
        assert_eq!((chunk.framed(Framing::Chunked), chunk.data()), (Bytes::new(), Bytes::new()));
    }

    proptest! {
        #[test]
        fn a_chunk_has_its_size_and_is_a_part_of_itself_without(data in prop::collection::vec(any::<u8>(), 1..5000)) {
            let chunk = chunk(&data);
            prop_assert_eq!(chunk.framed(Framing::Bare), data.clone());
            prop_assert_eq!(unchunked(&chunk.framed(Framing::Chunked)), (vec![data], false));
        }

        #[test]
        fn what_is_put_together_is_one_chunk_or_bare(
            begin in "[a-z]{0,40}",
            data in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let pieces = |framing: Framing| framing.around(begin.clone(), Bytes::from(data.clone()), b"}\n\r\n").concat();
            let whole = [begin.as_bytes(), &data, b"}\n"].concat();
            prop_assert_eq!(pieces(Framing::Bare), whole.clone());
            prop_assert_eq!(unchunked(&pieces(Framing::Chunked)), (vec![whole], false));
        }
    }
}
