//! gRPC messages in one direction of an HTTP/2 connection.
//!
//! bytes as they pass → whole messages
//!
//! **Invariant:** nothing is needed but DATA frames: headers are neither decoded nor kept.
//!
//! Sources: RFC 9113, sections 3.4, 4.1 and 6.1; the gRPC protocol over HTTP/2, "Length-Prefixed-Message".

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};

/// What a client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const MESSAGE_HEAD: usize = 5;
const DATA: u8 = 0;
const PADDED: u8 = 8;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pending: BytesMut,
    /// Of each stream, what is not a whole message yet.
    streams: HashMap<u32, BytesMut>,
}

impl Frames {
    /// Takes bytes; the messages that they complete, in order.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Bytes> {
        self.pending.extend_from_slice(bytes);
        if self.pending.starts_with(PREFACE) {
            self.pending.advance(PREFACE.len());
        } else if PREFACE.starts_with(&self.pending) {
            return Vec::new();
        }
        let mut messages = Vec::new();
        while let Some((stream, data)) = self.next_frame() {
            let buffer = self.streams.entry(stream).or_default();
            buffer.extend_from_slice(&data);
            while let Some(message) = next_message(buffer) {
                messages.push(message);
            }
        }
        messages
    }

    /// The stream and data of the next whole frame; other frames count as empty data.
    fn next_frame(&mut self) -> Option<(u32, BytesMut)> {
        let mut head = self.pending.get(..FRAME_HEAD)?;
        let length = usize::try_from(head.get_uint(3)).ok()?;
        let (kind, flags, stream) = (head.get_u8(), head.get_u8(), head.get_u32());
        if self.pending.len() < FRAME_HEAD + length {
            return None;
        }
        self.pending.advance(FRAME_HEAD);
        let mut data = self.pending.split_to(length);
        if kind != DATA {
            data.clear();
        } else if flags & PADDED != 0 && !data.is_empty() {
            let padding = usize::from(data.get_u8());
            data.truncate(data.len().saturating_sub(padding));
        }
        Some((stream, data))
    }
}

/// Without the head. A compressed one is dropped: nobody here asks for compression.
fn next_message(buffer: &mut BytesMut) -> Option<Bytes> {
    let mut head = buffer.get(1..MESSAGE_HEAD)?;
    let length = usize::try_from(head.get_u32()).ok()?;
    if buffer.len() < MESSAGE_HEAD + length {
        return None;
    }
    buffer.advance(MESSAGE_HEAD);
    Some(buffer.split_to(length).freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let bytes = [
            PREFACE.to_vec(),
            frame(4, 0, 0, &[1, 2, 3]),
            frame(DATA, 0, 1, &[0, 0, 0, 0, 3, b'a']),
            frame(DATA, 0, 3, &[0, 0, 0, 0, 1, b'x']),
            frame(DATA, PADDED, 1, &[2, b'b', b'c', 0, 0]),
            frame(DATA, 0, 1, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'd']),
        ]
        .concat();
        for size in [1, 2, 7, 1000] {
            let mut frames = Frames::default();
            let found: Vec<Bytes> = bytes.chunks(size).flat_map(|chunk| frames.push(chunk)).collect();
            assert_eq!(found, [&b"x"[..], b"abc", b"", b"d"], "cut into {size}");
        }
    }
}
