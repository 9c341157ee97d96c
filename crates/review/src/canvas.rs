//! A clip in the viewer of a page that has its own labels: sweeps and images as one recording, boxes through a channel.
//!
//! Both parts bear the recording's name, and the viewer puts them together under it. A recording is encoded frame by frame while it is sent;
//! boxes are small and come whole, for all samples or for those that changed. Where two rows stand at one sample, the viewer takes the newer.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use boxwright_model::scene::SceneFrame;
use boxwright_model::taxonomy::Taxonomy;
use bytes::Bytes;
use re_web_viewer_server::WebViewerData;
use rerun::external::re_build_info::CrateVersion;
use rerun::external::re_log_encoding::{EncodeError, Encoder, EncodingOptions};
use rerun::external::re_log_types::LogMsg;
use rerun::{StoreId, StoreKind};

use crate::error::ReviewError;
use crate::layout;
use crate::scene::Painter;
use crate::stream::{APPLICATION, SceneStream};

/// Draws clips for a viewer in a page.
pub struct Canvas {
    taxonomy: Arc<Taxonomy>,
    viewer: Arc<WebViewerData>,
}

impl Canvas {
    /// Loads the viewer that is inside the program.
    ///
    /// # Errors
    /// When its files cannot be loaded.
    pub fn load(taxonomy: Arc<Taxonomy>) -> Result<Self, ReviewError> {
        let viewer =
            WebViewerData::load(None).map_err(|error| ReviewError::Start { what: "the web viewer", why: error.to_string() })?;
        Ok(Self { taxonomy, viewer: Arc::new(viewer) })
    }

    /// The viewer's script; it defines `wasm_bindgen`.
    #[must_use]
    pub fn script(&self) -> Bytes {
        self.file(WebViewerData::viewer_js)
    }

    /// The viewer's module, some 40 MB that are not copied.
    #[must_use]
    pub fn module(&self) -> Bytes {
        self.file(WebViewerData::viewer_wasm)
    }

    /// Changes with the viewer.
    #[must_use]
    pub fn version(&self) -> String {
        format!("{}-{}", env!("CARGO_PKG_VERSION"), rerun::build_info().version)
    }

    fn file(&self, pick: fn(&WebViewerData) -> &[u8]) -> Bytes {
        struct Held(Arc<WebViewerData>, fn(&WebViewerData) -> &[u8]);
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                (self.1)(&self.0)
            }
        }
        Bytes::from_owner(Held(self.viewer.clone(), pick))
    }

    /// Begins a recording of sweeps and images.
    #[must_use]
    pub fn recording(&self, name: &str) -> CanvasRecording {
        CanvasRecording { stream: SceneStream::canvas(name, self.taxonomy.clone()), out: Out::default(), encoder: None }
    }

    /// Boxes of frames, for the recording of that name. Points and images of the frames are not looked at.
    ///
    /// # Errors
    /// When they cannot be encoded.
    pub fn boxes(&self, name: &str, frames: &[SceneFrame]) -> Result<Vec<u8>, ReviewError> {
        let chunks = Painter::new(self.taxonomy.clone()).boxes_of(frames)?;
        let store = store(name);
        let messages: Result<Vec<LogMsg>, ReviewError> = chunks.iter().map(|chunk| layout::arrow_message(&store, chunk)).collect();
        encode(&store, messages?)
    }

    /// The first box of a frame as the one that is looked at; without a box, nothing is.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn focus(&self, name: &str, frame: &SceneFrame) -> Result<Vec<u8>, ReviewError> {
        let chunk = Painter::new(self.taxonomy.clone()).focus(frame)?;
        let store = store(name);
        let message = layout::arrow_message(&store, &chunk)?;
        encode(&store, vec![message])
    }
}

fn store(name: &str) -> StoreId {
    StoreId::new(StoreKind::Recording, APPLICATION, name.to_owned())
}

fn encode(store: &StoreId, messages: Vec<LogMsg>) -> Result<Vec<u8>, ReviewError> {
    let opening = layout::set_store_info(store);
    Encoder::encode(std::iter::once(opening).chain(messages).map(Ok)).map_err(|error| failed(&error))
}

fn failed(error: &EncodeError) -> ReviewError {
    ReviewError::Draw { what: "a recording".to_owned(), why: error.to_string() }
}

/// Where an encoder writes to, and whoever sends takes from.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A recording while it is encoded.
pub struct CanvasRecording {
    stream: SceneStream,
    out: Out,
    encoder: Option<Encoder<Out>>,
}

impl CanvasRecording {
    /// The next frame: the bytes to send. Its boxes are not drawn.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn frame(&mut self, frame: &SceneFrame) -> Result<Vec<u8>, ReviewError> {
        let messages = self.stream.frame(frame)?;
        self.append(&messages)
    }

    /// The last bytes. Without a frame the recording opens all the same, and is empty.
    ///
    /// # Errors
    /// When they cannot be encoded.
    pub fn finish(&mut self) -> Result<Vec<u8>, ReviewError> {
        let rest = self.stream.before()?;
        let mut bytes = self.append(&rest)?;
        if let Some(mut encoder) = self.encoder.take() {
            encoder.finish().and_then(|()| encoder.into_inner()).map_err(|error| failed(&error))?;
        }
        bytes.extend(self.out.take());
        Ok(bytes)
    }

    fn append(&mut self, messages: &[LogMsg]) -> Result<Vec<u8>, ReviewError> {
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new_eager(CrateVersion::LOCAL, EncodingOptions::PROTOBUF_COMPRESSED, self.out.clone())
                .map_err(|error| failed(&error))?,
        };
        for message in messages {
            encoder.append(message).map_err(|error| failed(&error))?;
        }
        self.encoder = Some(encoder);
        Ok(self.out.take())
    }
}

#[cfg(test)]
mod tests;
