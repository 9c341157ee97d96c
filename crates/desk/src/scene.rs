//! A clip's sweeps and images, spooled once so that every later look is one read of a local file.
//!
//! Shards stream; a person jumps. So the sweeps of an opened clip are written to a temporary file as the page wants them (x, y, z and
//! intensity as little-endian `f32`), and memory holds places in it only: a clip of 200 sweeps with 120k points is 384 MB of disk, not of
//! memory. The file has no name and is gone with the process, or when clips that were looked at later need the room.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use boxwright_model::{PointCloud, Pose, SceneCamera, SceneFrame, SceneImage};
use boxwright_shard::{ManifestEntry, ShardError};

use crate::error::DeskError;
use crate::operation::{Around, Surroundings};

/// The moments of a clip, as the reader of scenes gives them.
pub type SceneFrames = Box<dyn Iterator<Item = Result<SceneFrame, ShardError>>>;
/// Opens the moments of a clip.
pub type OpenScenes = Arc<dyn Fn(&ManifestEntry) -> Result<SceneFrames, ShardError> + Send + Sync>;

/// Bytes of a point in the spool: four `f32`.
const POINT_BYTES: usize = 16;

/// Where something stands in the spool.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    bytes: usize,
}

/// An image of a sample.
#[derive(Clone, Debug)]
pub struct ImagePlace {
    /// Sensor name.
    pub sensor: Arc<str>,
    /// `jpeg` or `png`.
    pub format: Arc<str>,
    place: Place,
}

#[derive(Debug)]
struct Moment {
    stamp_ns: i64,
    world_from_ego: Pose,
    points: Place,
    images: Vec<ImagePlace>,
}

/// What the sensors saw in a clip.
#[derive(Debug)]
pub struct Scene {
    spool: File,
    moments: Vec<Moment>,
    cameras: Arc<Vec<SceneCamera>>,
    bytes: u64,
}

impl Scene {
    /// Reads a clip once from end to end.
    ///
    /// # Errors
    /// When the clip cannot be read, or the temporary file cannot be written.
    pub fn spool(frames: SceneFrames) -> Result<Self, DeskError> {
        let file = tempfile::tempfile().map_err(DeskError::file("cannot make a temporary file for sweeps"))?;
        let mut out = Spool { file: BufWriter::new(file), offset: 0 };
        let mut moments = Vec::new();
        let mut cameras = Arc::default();
        for frame in frames {
            let frame = frame?;
            let cloud = &frame.points;
            let mut bytes = Vec::with_capacity(cloud.len() * POINT_BYTES);
            for (((x, y), z), intensity) in cloud.x.iter().zip(&cloud.y).zip(&cloud.z).zip(&cloud.intensity) {
                for value in [x, y, z, intensity] {
                    bytes.extend_from_slice(&value.to_le_bytes());
                }
            }
            let points = out.write(&bytes)?;
            let mut images = Vec::new();
            for image in &frame.images {
                let place = out.write(&image.data)?;
                images.push(ImagePlace { sensor: image.sensor.clone(), format: image.format.clone(), place });
            }
            cameras = frame.cameras.clone();
            let world_from_ego = frame.world_from_ego.unwrap_or_else(Pose::identity);
            moments.push(Moment { stamp_ns: frame.stamp_ns, world_from_ego, points, images });
        }
        let bytes = out.offset;
        let spool = out.file.into_inner().map_err(|error| error.into_error());
        Ok(Self { spool: spool.map_err(DeskError::file("cannot write sweeps to a temporary file"))?, moments, cameras, bytes })
    }

    /// Points of a sample as the page wants them; `None` where there is no such sample.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub fn point_bytes(&self, sample: u32) -> Result<Option<Vec<u8>>, DeskError> {
        let Some(moment) = self.moments.get(sample as usize) else { return Ok(None) };
        self.read(moment.points).map(Some).map_err(DeskError::file("cannot read sweeps from a temporary file"))
    }

    /// An image of a sample: its format and its bytes.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub fn image(&self, sample: u32, sensor: &str) -> Result<Option<(Arc<str>, Vec<u8>)>, DeskError> {
        let found = self.images(sample).iter().find(|image| &*image.sensor == sensor);
        let Some(image) = found else { return Ok(None) };
        let bytes = self.read(image.place).map_err(DeskError::file("cannot read images from a temporary file"))?;
        Ok(Some((image.format.clone(), bytes)))
    }

    /// The images of a sample.
    #[must_use]
    pub fn images(&self, sample: u32) -> &[ImagePlace] {
        self.moments.get(sample as usize).map_or(&[], |moment| &moment.images)
    }

    /// Bytes on the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A moment as it was read, without boxes; none where there is no such sample.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub fn frame(&self, sample: u32) -> Result<Option<SceneFrame>, DeskError> {
        let (Some(moment), Some(bytes)) = (self.moments.get(sample as usize), self.point_bytes(sample)?) else { return Ok(None) };
        let column = |at: usize| bytes.chunks_exact(POINT_BYTES).map(|point| number(point, at)).collect::<Vec<f32>>();
        let points = PointCloud { x: column(0), y: column(4), z: column(8), intensity: column(12), ..PointCloud::default() };
        let mut images = Vec::with_capacity(moment.images.len());
        for image in &moment.images {
            let data = self.read(image.place).map_err(DeskError::file("cannot read images from a temporary file"))?;
            images.push(SceneImage { sensor: image.sensor.clone(), format: image.format.clone(), data: data.into() });
        }
        Ok(Some(SceneFrame { points: Arc::new(points), images, ..self.bare(sample, moment) }))
    }

    /// A moment without points and images: for what is drawn of boxes alone.
    #[must_use]
    pub fn bare_frame(&self, sample: u32) -> Option<SceneFrame> {
        self.moments.get(sample as usize).map(|moment| self.bare(sample, moment))
    }

    fn bare(&self, sample: u32, moment: &Moment) -> SceneFrame {
        SceneFrame {
            index: i64::from(sample),
            stamp_ns: moment.stamp_ns,
            world_from_ego: Some(moment.world_from_ego),
            cameras: self.cameras.clone(),
            ..SceneFrame::default()
        }
    }

    /// The cameras as they were calibrated.
    #[must_use]
    pub fn cameras(&self) -> &[SceneCamera] {
        &self.cameras
    }

    fn read(&self, place: Place) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.bytes];
        self.spool.read_exact_at(&mut bytes, place.offset)?;
        Ok(bytes)
    }
}

struct Spool {
    file: BufWriter<File>,
    offset: u64,
}

impl Spool {
    fn write(&mut self, bytes: &[u8]) -> Result<Place, DeskError> {
        self.file.write_all(bytes).map_err(DeskError::file("cannot write sweeps to a temporary file"))?;
        let place = Place { offset: self.offset, bytes: bytes.len() };
        self.offset += bytes.len() as u64;
        Ok(place)
    }
}

impl Surroundings for Scene {
    fn samples(&self) -> u32 {
        u32::try_from(self.moments.len()).unwrap_or(u32::MAX)
    }

    fn stamp_ns(&self, sample: u32) -> i64 {
        self.moments.get(sample as usize).map_or(0, |moment| moment.stamp_ns)
    }

    fn world_from_ego(&self, sample: u32) -> Pose {
        self.moments.get(sample as usize).map_or_else(Pose::identity, |moment| moment.world_from_ego)
    }

    fn points(&self, sample: u32) -> Result<Arc<Vec<[f32; 3]>>, Around> {
        let Some(moment) = self.moments.get(sample as usize) else { return Ok(Arc::default()) };
        let bytes = self.read(moment.points).map_err(|source| Around::Points { sample, source })?;
        Ok(Arc::new(bytes.chunks_exact(POINT_BYTES).map(|p| [number(p, 0), number(p, 4), number(p, 8)]).collect()))
    }
}

/// A number of a point in the spool.
fn number(point: &[u8], at: usize) -> f32 {
    point.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(f32::NAN, f32::from_le_bytes)
}
