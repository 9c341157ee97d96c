//! Writes the rows of one clip.
//!
//! Payloads stream: a table's file is started with its first row, under a temporary name, and grows by row groups. What waits in memory
//! is at most one row group and one batch a table ([`ClipWriter::buffered_bytes`]): with the defaults 8 MiB of payload, or one larger frame, for
//! sweeps, for images and for late messages, and 32 MiB of text or 64k rows for each label table, plus the encoder's own buffers of about
//! the same size. It does not grow with the clip.
//!
//! Dropping the writer abandons the clip: its temporary files are removed, nothing was ever visible.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use boxwright_model::{Box3, ClipGrid, ClipId, Finding, Sample, StampedPose, Taxonomy, Track};

use crate::config::WriterConfig;
use crate::dataset::Dataset;
use crate::error::ShardError;
use crate::layout;
use crate::manifest::{SealInfo, SealOutcome};
use crate::schema::Table;
use crate::seal;
use crate::storage::{self, TempFile};
use crate::table_file::{Finished, TableFile};
use crate::tables::calibration::CalibrationRow;
use crate::tables::camera::CameraRow;
use crate::tables::late::LateRow;
use crate::tables::lidar::LidarRow;
use crate::tables::{Classed, TableRow};

/// What a set of shards is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipKey {
    /// Vehicle id.
    pub vehicle: Arc<str>,
    /// The clip.
    pub clip: ClipId,
    /// The grid that it belongs to; that of the dataset.
    pub grid: ClipGrid,
    /// Revision of the labels: 0 is automatic. Later ones hold label tables only.
    pub revision: i32,
}

/// The file of a table, once there is a row.
type Slot<R> = Option<TableFile<R, TempFile>>;

/// Writes the rows of one clip and seals them. See the module for memory, and [`ClipWriter::seal`] for what is promised.
pub struct ClipWriter {
    target: Target,
    lidar: Slot<LidarRow>,
    camera: Slot<CameraRow>,
    ego_pose: Slot<StampedPose>,
    calibration: Slot<CalibrationRow>,
    sample: Slot<Sample>,
    box3: Slot<Classed<Box3>>,
    track: Slot<Classed<Track>>,
    finding: Slot<Finding>,
    late: Slot<LateRow>,
}

/// Where rows go.
struct Target {
    dataset: Dataset,
    key: ClipKey,
    config: WriterConfig,
    /// The table whose file a failed write has left incomplete: the clip must not be sealed.
    broken: Option<Table>,
}

impl ClipWriter {
    /// Prepares to write a clip. Nothing is created before the first row.
    ///
    /// # Errors
    /// When the vehicle's name cannot be used, the grid is not that of the dataset, the revision is negative, or an option is out of range.
    pub fn create(dataset: &Dataset, key: ClipKey, config: &WriterConfig) -> Result<Self, ShardError> {
        layout::shard_path(Table::Lidar, &key)?;
        config.zstd()?;
        if key.grid != dataset.grid() {
            let (asked_ns, stored_ns) = (key.grid.length_ns(), dataset.grid().length_ns());
            return Err(ShardError::ClipLength { path: dataset.root().to_owned(), asked_ns, stored_ns });
        }
        if key.revision < 0 {
            return Err(ShardError::Config(format!("revision: expected 0 or more, got {}", key.revision)));
        }
        let target = Target { dataset: dataset.clone(), key, config: config.clone(), broken: None };
        Ok(Self {
            target,
            lidar: None,
            camera: None,
            ego_pose: None,
            calibration: None,
            sample: None,
            box3: None,
            track: None,
            finding: None,
            late: None,
        })
    }

    /// The clip being written.
    #[must_use]
    pub fn key(&self) -> &ClipKey {
        &self.target.key
    }

    /// Writes a sweep.
    ///
    /// # Errors
    /// When its columns differ in length, or the file system refuses; after the latter the clip cannot be sealed.
    pub fn lidar(&mut self, row: &LidarRow) -> Result<(), ShardError> {
        self.target.push(&mut self.lidar, row)
    }

    /// Writes an image.
    ///
    /// # Errors
    /// As [`Self::lidar`], or when the image is larger than 1 GiB.
    pub fn camera(&mut self, row: &CameraRow) -> Result<(), ShardError> {
        self.target.push(&mut self.camera, row)
    }

    /// Writes where the vehicle was.
    ///
    /// # Errors
    /// As [`Self::lidar`], or when a number of the pose is not finite.
    pub fn ego_pose(&mut self, row: &StampedPose) -> Result<(), ShardError> {
        self.target.push(&mut self.ego_pose, row)
    }

    /// Writes what is known of a sensor.
    ///
    /// # Errors
    /// As [`Self::ego_pose`].
    pub fn calibration(&mut self, row: &CalibrationRow) -> Result<(), ShardError> {
        self.target.push(&mut self.calibration, row)
    }

    /// Writes a sample.
    ///
    /// # Errors
    /// As [`Self::lidar`].
    pub fn sample(&mut self, row: &Sample) -> Result<(), ShardError> {
        self.target.push(&mut self.sample, row)
    }

    /// Writes a box, with the name that its class has in the taxonomy.
    ///
    /// # Errors
    /// As [`Self::ego_pose`].
    pub fn box3(&mut self, row: &Box3, taxonomy: &Taxonomy) -> Result<(), ShardError> {
        let class = taxonomy.get(row.class).name.clone();
        self.target.push(&mut self.box3, &Classed { label: row.clone(), class })
    }

    /// Writes a track, with the name that its class has in the taxonomy.
    ///
    /// # Errors
    /// As [`Self::lidar`].
    pub fn track(&mut self, row: &Track, taxonomy: &Taxonomy) -> Result<(), ShardError> {
        let class = taxonomy.get(row.class).name.clone();
        self.target.push(&mut self.track, &Classed { label: row.clone(), class })
    }

    /// Writes a finding.
    ///
    /// # Errors
    /// As [`Self::lidar`].
    pub fn finding(&mut self, row: &Finding) -> Result<(), ShardError> {
        self.target.push(&mut self.finding, row)
    }

    /// Writes a message that is in no sample.
    ///
    /// # Errors
    /// As [`Self::camera`].
    pub fn late(&mut self, row: &LateRow) -> Result<(), ShardError> {
        self.target.push(&mut self.late, row)
    }

    /// Bytes that wait in memory over all tables: rows, and row groups that are not in their files yet.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        fn of<R: TableRow, W: Write + Send>(slot: &Option<TableFile<R, W>>) -> usize {
            slot.as_ref().map_or(0, TableFile::buffered_bytes)
        }
        of(&self.lidar)
            + of(&self.camera)
            + of(&self.ego_pose)
            + of(&self.calibration)
            + of(&self.sample)
            + of(&self.box3)
            + of(&self.track)
            + of(&self.finding)
            + of(&self.late)
    }

    /// Rows written so far to one table.
    #[must_use]
    pub fn rows(&self, table: Table) -> u64 {
        fn of<R: TableRow, W: Write + Send>(slot: &Option<TableFile<R, W>>) -> u64 {
            slot.as_ref().map_or(0, TableFile::rows)
        }
        match table {
            Table::Lidar => of(&self.lidar),
            Table::Camera => of(&self.camera),
            Table::EgoPose => of(&self.ego_pose),
            Table::Calibration => of(&self.calibration),
            Table::Sample => of(&self.sample),
            Table::Box3 => of(&self.box3),
            Table::Track => of(&self.track),
            Table::Finding => of(&self.finding),
            Table::Late => of(&self.late),
        }
    }

    /// Makes the clip durable and visible: closes and syncs its files, gives them their names, and creates the manifest entry if there is
    /// none. When this returns, the clip is on the disk, ours or somebody else's; offsets may be committed. A clip without any row can be
    /// sealed: its entry says that there was nothing.
    ///
    /// # Errors
    /// When a row could not be written before, the file system refuses, or another process holds the vehicle's lock for too long.
    /// After an error nothing of this writer is visible, unless the entry itself was already created: sealing the clip again then gives
    /// [`SealOutcome::AlreadySealed`].
    pub fn seal(self, info: SealInfo) -> Result<SealOutcome, ShardError> {
        if let Some(table) = self.target.broken {
            return Err(ShardError::Broken { table });
        }
        let Target { dataset, key, .. } = self.target;
        let mut files = Vec::new();
        finish(self.lidar, &key, &info, &mut files)?;
        finish(self.camera, &key, &info, &mut files)?;
        finish(self.ego_pose, &key, &info, &mut files)?;
        finish(self.calibration, &key, &info, &mut files)?;
        finish(self.sample, &key, &info, &mut files)?;
        finish(self.box3, &key, &info, &mut files)?;
        finish(self.track, &key, &info, &mut files)?;
        finish(self.finding, &key, &info, &mut files)?;
        finish(self.late, &key, &info, &mut files)?;
        seal::seal(&dataset, &key, files, info)
    }
}

impl Target {
    fn push<R: TableRow>(&mut self, slot: &mut Slot<R>, row: &R) -> Result<(), ShardError> {
        let pushed = self.try_push(slot, row);
        // A row that was refused has left no trace; anything else may have left half a row group.
        if let Err(error) = &pushed
            && !matches!(error, ShardError::Row { .. })
        {
            self.broken = Some(R::TABLE);
        }
        pushed
    }

    fn try_push<R: TableRow>(&self, slot: &mut Slot<R>, row: &R) -> Result<(), ShardError> {
        let file = match slot {
            Some(file) => file,
            None => slot.insert(self.start()?),
        };
        file.push(row, &self.key)
    }

    fn start<R: TableRow>(&self) -> Result<TableFile<R, TempFile>, ShardError> {
        let folder = match self.dataset.store().as_remote() {
            None => storage::create_folders(self.dataset.root(), Path::new(&layout::table_folder(R::TABLE, &self.key)?))?,
            Some(remote) => {
                storage::create_root(remote.spool())?;
                remote.spool().to_owned()
            }
        };
        let temp = TempFile::create(&folder, &layout::shard_stem(&self.key))?;
        let path = temp.path().to_owned();
        TableFile::new(temp, path, &self.key, &self.config)
    }
}

/// Closes a file and makes its content durable, while it still has its temporary name.
fn finish<R: TableRow>(
    slot: Slot<R>,
    key: &ClipKey,
    info: &SealInfo,
    files: &mut Vec<Finished<TempFile>>,
) -> Result<(), ShardError> {
    if let Some(file) = slot
        && file.rows() > 0
    {
        let finished = file.finish(key, &info.config_sha256)?;
        finished.file.sync()?;
        files.push(finished);
    }
    Ok(())
}
