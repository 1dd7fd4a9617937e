//! How much a file may ask for.

use crate::volume::VolumeError;

/// Bounds on what [`super::read`] accepts. Nothing is allocated before they are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most voxels of a scan. A voxel takes 4 bytes in memory whatever its type in the file.
    pub max_voxels: u64,
    /// Largest file, compressed or not, in bytes.
    pub max_file_bytes: u64,
}

impl Limits {
    /// For a browser tab (4 GiB of address space at most): 512 x 512 x 512 voxels, files of 1 GiB.
    pub const PAGE: Self = Self {
        max_voxels: 1 << 27,
        max_file_bytes: 1 << 30,
    };

    /// For the command line: 2^31 voxels (8 GiB in memory), files of 16 GiB.
    pub const NATIVE: Self = Self {
        max_voxels: 1 << 31,
        max_file_bytes: 1 << 34,
    };

    /// Whether a file of this size may be opened at all; to be asked before its bytes are loaded.
    ///
    /// # Errors
    /// [`VolumeError::Empty`] or [`VolumeError::FileTooLarge`].
    pub fn check_file(&self, bytes: u64) -> Result<(), VolumeError> {
        match bytes {
            0 => Err(VolumeError::Empty),
            bytes if bytes > self.max_file_bytes => Err(VolumeError::FileTooLarge {
                bytes,
                limit: self.max_file_bytes,
            }),
            _ => Ok(()),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::PAGE
    }
}
