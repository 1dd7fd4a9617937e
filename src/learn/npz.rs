//! The three arrays of numpy's `.npz` that hold the lesion shapes: integers of one size.

use std::io::{Read, Seek};

/// Why an `.npz` file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum NpzError {
    /// The zip container is broken or lacks the member.
    #[error("array {name}: {source}")]
    Container {
        /// Name of the array.
        name: String,
        /// What the container's reader said.
        source: zip::result::ZipError,
    },
    /// Reading failed.
    #[error("array {name}: {source}")]
    Io {
        /// Name of the array.
        name: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Not a `.npy` array of the expected kind.
    #[error("array {name}: {problem}; expected an array of {expected}")]
    Format {
        /// Name of the array.
        name: String,
        /// What was found.
        problem: String,
        /// The numpy type that was expected.
        expected: &'static str,
    },
}

/// An array as it lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Extents, slowest axis first in C order.
    pub shape: Vec<usize>,
    /// True if the *first* axis is the fastest (Fortran order).
    pub fortran_order: bool,
    /// Little-endian bytes.
    pub bytes: Vec<u8>,
}

/// Largest array that is read, in bytes after inflation.
const LIMIT: u64 = 1 << 28;

/// Reads array `name` of numpy type `descr` (such as `|u1` or `<i8`).
///
/// # Errors
/// [`NpzError`] when the container, the array or its type is not as expected.
pub fn read_array<R: Read + Seek>(
    archive: &mut zip::ZipArchive<R>,
    name: &str,
    descr: &'static str,
) -> Result<Array, NpzError> {
    let format = |problem: String| NpzError::Format {
        name: name.to_owned(),
        problem,
        expected: descr,
    };
    let member = archive
        .by_name(&format!("{name}.npy"))
        .map_err(|source| NpzError::Container {
            name: name.to_owned(),
            source,
        })?;
    let mut bytes = Vec::new();
    member
        .take(LIMIT)
        .read_to_end(&mut bytes)
        .map_err(|source| NpzError::Io {
            name: name.to_owned(),
            source,
        })?;
    let (header, start) = match bytes.as_slice() {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => (u16::from_le_bytes([*a, *b]) as usize, 10),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12)
        }
        _ => return Err(format("no .npy header".to_owned())),
    };
    let text = bytes
        .get(start..start + header)
        .and_then(|h| std::str::from_utf8(h).ok())
        .ok_or_else(|| format("a cut header".to_owned()))?
        .to_owned();
    if !text.contains(&format!("'{descr}'")) {
        return Err(format(format!("the header says {}", text.trim())));
    }
    let shape: Option<Vec<usize>> = text
        .split_once("'shape': (")
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(inner, _)| inner.split(',').filter_map(|n| n.trim().parse().ok()).collect());
    let shape = shape.ok_or_else(|| format("no shape".to_owned()))?;
    let item: usize = descr[2..].parse().unwrap_or(1);
    let expected = shape
        .iter()
        .try_fold(item, |n, &d| n.checked_mul(d))
        .ok_or_else(|| format("an impossible shape".to_owned()))?;
    let data = bytes.split_off(start + header);
    if data.len() != expected {
        return Err(format(format!(
            "{} bytes of data where shape {shape:?} needs {expected}",
            data.len()
        )));
    }
    Ok(Array {
        shape,
        fortran_order: text.contains("'fortran_order': True"),
        bytes: data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    fn archive(member: &[u8]) -> zip::ZipArchive<Cursor<Vec<u8>>> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer
            .start_file("a.npy", zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(member).unwrap();
        zip::ZipArchive::new(writer.finish().unwrap()).unwrap()
    }

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn an_array_is_read_with_its_order() {
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }";
        let array = read_array(&mut archive(&npy(header, &[1, 2, 3, 4, 5, 6])), "a", "|u1").unwrap();
        assert_eq!(
            array,
            Array {
                shape: vec![2, 3],
                fortran_order: true,
                bytes: vec![1, 2, 3, 4, 5, 6]
            }
        );
    }

    #[test]
    fn what_is_not_as_it_should_be_is_refused_with_a_reason() {
        let good = "{'descr': '|u1', 'fortran_order': False, 'shape': (9,), }";
        for (member, reason) in [
            (npy(good, &[0; 8]), "8 bytes of data where shape [9] needs 9"),
            (npy(&good.replace("|u1", "<f8"), &[0; 72]), "the header says"),
            (npy("{'descr': '|u1'}", &[]), "no shape"),
            (b"not numpy".to_vec(), "no .npy header"),
            (b"\x93NUMPY\x01\x00\xff\x00{".to_vec(), "a cut header"),
        ] {
            let error = read_array(&mut archive(&member), "a", "|u1")
                .unwrap_err()
                .to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(read_array(&mut archive(&npy(good, &[0; 9])), "b", "|u1").is_err());
    }
}
