//! What a person should know of a recording, gathered while it is read.

/// Sentences kept one by one; a recording with more broken frames than this is broken as a whole, and a count says it as well.
const MAX_NOTES: usize = 200;

/// A bounded list of warnings.
#[derive(Debug, Default)]
pub(super) struct Notes {
    kept: Vec<String>,
    left_out: u64,
    data_lost: bool,
}

impl Notes {
    /// Something worth knowing; nothing was lost.
    pub(super) fn note(&mut self, message: String) {
        if self.kept.len() < MAX_NOTES {
            self.kept.push(message);
        } else {
            self.left_out += 1;
        }
    }

    /// Something that should have been read and was not.
    pub(super) fn lost(&mut self, message: String) {
        self.data_lost = true;
        self.note(message);
    }

    /// Whether anything was [`lost`](Self::lost).
    pub(super) fn data_lost(&self) -> bool {
        self.data_lost
    }

    /// The sentences, and how many more there were.
    pub(super) fn list(&self) -> Vec<String> {
        let mut list = self.kept.clone();
        if self.left_out > 0 {
            list.push(format!("and {} more warnings", self.left_out));
        }
        list
    }
}
