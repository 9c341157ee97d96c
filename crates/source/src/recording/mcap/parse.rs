//! One record's content, looked over before the library reads it.
//!
//! The `mcap` crate reserves as many bytes as a text in a record says that it has, up to 4 GiB, before it looks whether they are there. Where the
//! system refuses so much, the process ends, and no error can be caught. So the lengths are checked first.

use ::mcap::McapError;
use ::mcap::records::{Record, op};

/// Reads the content of a record.
pub(super) fn parse(opcode: u8, data: &[u8]) -> Result<Record<'static>, McapError> {
    texts_fit(opcode, data).ok_or(McapError::UnexpectedEoc)?;
    Ok(::mcap::parse_record(opcode, data)?.into_owned())
}

/// `None` where a text of a schema or a channel does not lie inside the record. Other records that are read here have no text.
fn texts_fit(opcode: u8, data: &[u8]) -> Option<()> {
    let mut rest = data;
    match opcode {
        op::SCHEMA => {
            take(&mut rest, size_of::<u16>())?;
            take_text(&mut rest)?;
            take_text(&mut rest)
        }
        op::CHANNEL => {
            take(&mut rest, 2 * size_of::<u16>())?;
            take_text(&mut rest)?;
            take_text(&mut rest)?;
            let metadata_bytes = take_length(&mut rest)?;
            let end = rest.len().checked_sub(metadata_bytes)?;
            while rest.len() > end {
                take_text(&mut rest)?;
                take_text(&mut rest)?;
            }
            Some(())
        }
        _ => Some(()),
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    Some(taken)
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let bytes = take(rest, size_of::<u32>())?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}

fn take_text(rest: &mut &[u8]) -> Option<()> {
    let length = take_length(rest)?;
    take(rest, length).map(|_| ())
}
