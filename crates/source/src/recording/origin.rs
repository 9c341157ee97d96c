//! By what a recording is known again.

use sha2::{Digest, Sha256};

/// Bytes of the digest that stand for it: as many as Git shows of its own.
const NAME_BYTES: usize = 6;

/// A name by content: hexadecimal digits of a SHA-256 over the parts, each with its length.
pub(super) fn name_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect()
}
