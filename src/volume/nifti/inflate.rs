//! The bytes of a NIfTI file as a stream, compressed or not, that never holds more than a few kilobytes.

use std::io::{ErrorKind, Read};

use flate2::bufread::GzDecoder;

use crate::volume::VolumeError;

/// DEFLATE cannot expand by more than 1032 times (258 bytes from two bits), so a compressed file bounds what it
/// can hold before a byte of it is unpacked.
const MAX_RATIO: u64 = 1032;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A forward-only reader over a file's bytes, gunzipped if they are gzip (of any number of members).
pub(super) struct Source<'a> {
    input: Input<'a>,
    /// Bytes delivered so far.
    position: u64,
    /// True if bytes that are neither gzip nor zero padding follow the last member.
    garbage: bool,
}

enum Input<'a> {
    Plain(&'a [u8]),
    Gzip(GzDecoder<&'a [u8]>),
    End,
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let input = if bytes.starts_with(&GZIP_MAGIC) {
            Input::Gzip(GzDecoder::new(bytes))
        } else {
            Input::Plain(bytes)
        };
        Self {
            input,
            position: 0,
            garbage: false,
        }
    }

    /// Whether the file is compressed.
    pub(super) fn is_gzip(bytes: &[u8]) -> bool {
        bytes.starts_with(&GZIP_MAGIC)
    }

    /// The most bytes that a file of this content can deliver.
    pub(super) fn upper_bound(bytes: &[u8]) -> u64 {
        let len = bytes.len() as u64;
        if Self::is_gzip(bytes) {
            len.saturating_mul(MAX_RATIO)
        } else {
            len
        }
    }

    /// Bytes delivered so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the file ends in bytes that belong to nothing.
    pub(super) fn has_garbage(&self) -> bool {
        self.garbage
    }

    /// Fills `buffer` as far as the data goes and says how far that was.
    ///
    /// # Errors
    /// [`VolumeError::TruncatedGzip`] (with `expected: None`) or [`VolumeError::CorruptGzip`].
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, VolumeError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let got = self.read_some(&mut buffer[filled..])?;
            if got == 0 {
                break;
            }
            filled += got;
            self.position += got as u64;
        }
        Ok(filled)
    }

    /// Like `Read::read`: 0 means the end.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, VolumeError> {
        loop {
            match &mut self.input {
                Input::End => return Ok(0),
                Input::Plain(rest) => {
                    let n = rest.len().min(buffer.len());
                    buffer[..n].copy_from_slice(&rest[..n]);
                    *rest = &rest[n..];
                    return Ok(n);
                }
                Input::Gzip(decoder) => match decoder.read(buffer) {
                    Ok(0) => {
                        // The member ended and its checksum held. Another may follow; zeros are padding.
                        let rest = *decoder.get_ref();
                        if rest.starts_with(&GZIP_MAGIC) {
                            self.input = Input::Gzip(GzDecoder::new(rest));
                        } else {
                            self.garbage = rest.iter().any(|&b| b != 0);
                            self.input = Input::End;
                        }
                    }
                    Ok(n) => return Ok(n),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                        return Err(VolumeError::TruncatedGzip {
                            expected: None,
                            got: self.position,
                        });
                    }
                    Err(error) => {
                        return Err(VolumeError::CorruptGzip {
                            reason: error.to_string(),
                            at: self.position,
                        });
                    }
                },
            }
        }
    }
}
