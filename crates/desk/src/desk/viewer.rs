//! The viewer in the page: recordings of a clip, and the boxes in them as they stand.

use std::sync::{Arc, PoisonError};

use boxwright_model::ClipId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use crate::canvas::{self, Canvas, Recording};
use crate::error::DeskError;
use crate::people::Person;
use crate::scene::Scene;
use crate::secret;
use crate::store::ClipName;

/// How long the address of a recording can be used: it is made for a viewer that asks at once.
const ADDRESS_MS: i64 = 60_000;

/// Where a recording can be had, for how long, and that we said so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RecordingAddress {
    /// Tells it from other recordings of the same clip.
    pub nonce: String,
    /// Until when.
    pub expires_ms: i64,
    /// See [`Desk::signed_recording`].
    pub signature: String,
}

impl Desk {
    /// The viewer, where there is one.
    #[must_use]
    pub fn canvas(&self) -> Option<&Arc<dyn Canvas>> {
        self.setup.canvas.as_ref()
    }

    fn drawn(&self) -> Result<&Arc<dyn Canvas>, DeskError> {
        self.canvas().ok_or_else(|| DeskError::NotFound("this desk has no viewer".to_owned()))
    }

    /// Gives a recording of a clip a name and signs the address where it can be had for a minute: the viewer asks without a cookie.
    ///
    /// # Errors
    /// When the person may not, or there is no viewer.
    pub fn recording_address(
        &self,
        person: &Person,
        name: &ClipName,
        now_ms: i64,
    ) -> Result<(String, RecordingAddress), DeskError> {
        self.drawn()?;
        self.clip(person, name, now_ms)?;
        self.store().note(now_ms, &person.name, "opened in 3D", Some(name), "")?;
        let nonce: String = secret::token().chars().take(16).collect();
        let expires_ms = now_ms + ADDRESS_MS;
        let signature = self.signature(name, &nonce, expires_ms);
        Ok((recording_name(name, &nonce), RecordingAddress { nonce, expires_ms, signature }))
    }

    fn signature(&self, name: &ClipName, nonce: &str, expires_ms: i64) -> String {
        // The vehicle comes last: it alone may hold any character.
        secret::sign(&self.signing, &format!("{expires_ms} {nonce} {} {}", name.clip, name.vehicle))
    }

    /// Begins a recording whose address was signed: who has the address was allowed to see the clip.
    ///
    /// # Errors
    /// When the address is not one of ours or too old, or the clip cannot be read.
    pub fn signed_recording(
        &self,
        name: &ClipName,
        address: &RecordingAddress,
        now_ms: i64,
    ) -> Result<(Arc<Scene>, Box<dyn Recording>), DeskError> {
        let expected = self.signature(name, &address.nonce, address.expires_ms);
        if !secret::same(&expected, &address.signature) || address.expires_ms <= now_ms {
            return Err(DeskError::Forbidden("this address is not signed, or too old".to_owned()));
        }
        let canvas = self.drawn()?;
        let found = self.clips.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let clip = found.ok_or_else(|| DeskError::NotFound("the clip is gone".to_owned()))?;
        Ok((self.scene_of(&clip)?, canvas.recording(&recording_name(name, &address.nonce))))
    }

    /// Boxes as they stand, of all samples or of some, for a recording; and which track each is of, by sample.
    ///
    /// # Errors
    /// When the person may not, there is no viewer, or its encoder fails.
    pub fn canvas_boxes(
        &self,
        person: &Person,
        name: &ClipName,
        recording: &str,
        samples: Option<&[u32]>,
        now_ms: i64,
    ) -> Result<(Value, Vec<u8>), DeskError> {
        let (canvas, clip) = (self.drawn()?, self.clip(person, name, now_ms)?);
        let scene = self.scene_of(&clip)?;
        let (labels, seq) = {
            let work = clip.work();
            (work.labels.clone(), work.seq())
        };
        let samples = canvas::chosen(samples, &scene);
        let (frames, tracks) = canvas::boxed_frames(&samples, &labels, &scene, &self.setup.taxonomy, ClipId(name.clip));
        let bytes = canvas.boxes(recording, &frames).map_err(|error| DeskError::Draw(error.to_string()))?;
        Ok((json!({ "seq": seq, "tracks": tracks }), bytes))
    }

    /// The box that somebody looks at, for a recording.
    ///
    /// # Errors
    /// As [`Self::canvas_boxes`], or when there is no such sample.
    pub fn canvas_focus(
        &self,
        person: &Person,
        name: &ClipName,
        recording: &str,
        track: Option<u32>,
        sample: u32,
        now_ms: i64,
    ) -> Result<Vec<u8>, DeskError> {
        let (canvas, clip) = (self.drawn()?, self.clip(person, name, now_ms)?);
        let scene = self.scene_of(&clip)?;
        let labels = clip.work().labels.clone();
        let frame = canvas::focused_frame(sample, track, &labels, &scene, &self.setup.taxonomy, ClipId(name.clip));
        let frame = frame.ok_or_else(|| DeskError::NotFound(format!("expected a sample, got {sample}")))?;
        canvas.focus(recording, &frame).map_err(|error| DeskError::Draw(error.to_string()))
    }
}

fn recording_name(name: &ClipName, nonce: &str) -> String {
    format!("{}/{} {nonce}", name.vehicle, name.clip)
}
