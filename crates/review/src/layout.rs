//! The layout for review: a 3D view from behind the vehicle, a view from above, and the cameras: up to two beside the scene, more in a row
//! over it, from left to right.
//!
//! Both 3D views are anchored at the vehicle (`world/ego`), so that they follow it without the viewer's tracking, which a pan would end; in
//! the view from above, ahead is up. Rerun's own layout API cannot place the eye or take entities out of the way of the mouse, so the
//! components are written here by hand; upstream calls them unstable, which is why nothing else touches them.

use rerun::external::re_log_types::{BlueprintActivationCommand, LogMsg, SetStoreInfo, StoreInfo, StoreKind, StoreSource};
use rerun::external::re_sdk_types::blueprint::archetypes as blueprint;
use rerun::external::re_sdk_types::blueprint::components as part;
use rerun::external::uuid::Uuid;
use rerun::log::{Chunk, RowId};
use rerun::{AsComponents, EntityPath, StoreId, TimePoint, Timeline};

use crate::error::ReviewError;
use crate::scene::{self, FRAME_TIMELINE};

/// Identities within the layout; any constants do, and constants make two recordings of a clip equal.
const ROOT_ID: u128 = 0x0b0c_5000_0000_4000_8000_0000_0000_0001;
const SIDE_ID: u128 = ROOT_ID + 1;
const GRID_ID: u128 = ROOT_ID + 2;
const SCENE_ID: u128 = ROOT_ID + 3;
const ABOVE_ID: u128 = ROOT_ID + 4;
const FIRST_CAMERA_ID: u128 = ROOT_ID + 0x100;

/// Up to so many cameras stand in a column beside the scene; more stand in rows over it.
const CAMERAS_BESIDE: usize = 2;
/// Cameras in one row over the scene.
const CAMERAS_IN_A_ROW: usize = 6;

/// What a layout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A recording: stand at the first frame until somebody plays it.
    Recording,
    /// A live view: always the newest frame.
    Live,
    /// A page around the viewer that has a view from above itself: in its place stands the object that is looked at, and the eye goes with it.
    Canvas,
}

/// The messages that make `cameras` and the scene the active layout of an application.
pub(crate) fn messages(application: &'static str, cameras: &[&str], purpose: Purpose) -> Result<Vec<LogMsg>, ReviewError> {
    // A fixed name would make the viewer merge the layouts of two recordings; a new one replaces the old.
    let store = StoreId::random(StoreKind::Blueprint, application);
    let mut messages = vec![set_store_info(&store)];
    for chunk in chunks(cameras, purpose)? {
        messages.push(arrow_message(&store, &chunk)?);
    }
    messages.push(LogMsg::BlueprintActivationCommand(BlueprintActivationCommand::make_active(store)));
    Ok(messages)
}

/// The message that announces a recording or a layout.
pub(crate) fn set_store_info(store: &StoreId) -> LogMsg {
    let info = StoreInfo::new(store.clone(), StoreSource::Other("boxwright".to_owned()));
    LogMsg::SetStoreInfo(SetStoreInfo { row_id: *RowId::new(), info })
}

/// A chunk as a message of a recording or a layout.
pub(crate) fn arrow_message(store: &StoreId, chunk: &Chunk) -> Result<LogMsg, ReviewError> {
    let message = chunk.to_arrow_msg();
    message
        .map(|message| LogMsg::ArrowMsg(store.clone(), message))
        .map_err(|error| ReviewError::Draw { what: chunk.entity_path().to_string(), why: error.to_string() })
}

fn chunks(cameras: &[&str], purpose: Purpose) -> Result<Vec<Chunk>, ReviewError> {
    let mut layout = Layout::default();
    layout.scene()?;
    match purpose {
        Purpose::Canvas => layout.object()?,
        Purpose::Recording | Purpose::Live => layout.above()?,
    }
    for (camera, index) in cameras.iter().zip(0..) {
        layout.camera(FIRST_CAMERA_ID + index, camera)?;
    }
    layout.containers(cameras.len())?;
    layout.panels(purpose)?;
    Ok(layout.chunks)
}

#[derive(Default)]
struct Layout {
    chunks: Vec<Chunk>,
}

impl Layout {
    fn put(&mut self, path: impl Into<EntityPath>, archetype: &dyn AsComponents) -> Result<(), ReviewError> {
        // The viewer takes a layout only with a time on this timeline.
        let now = TimePoint::default().with(Timeline::new_sequence("blueprint"), 0);
        self.chunks.push(scene::chunk(path.into(), &now, &[archetype])?);
        Ok(())
    }

    /// The main view: from behind and above the vehicle, looking ahead.
    fn scene(&mut self) -> Result<(), ReviewError> {
        let eye = blueprint::EyeControls3D::new()
            .with_kind(part::Eye3DKind::Orbital)
            .with_position([-16.0, 5.0, 12.0])
            .with_look_target([11.0, -0.5, 0.0])
            .with_eye_up([0.0, 0.0, 1.0]);
        self.spatial(SCENE_ID, "3D", &["+ /world/**", "- /world/ego/cameras/**"], &eye)
    }

    /// The view from above; ahead is up.
    fn above(&mut self) -> Result<(), ReviewError> {
        let eye = blueprint::EyeControls3D::new()
            .with_kind(part::Eye3DKind::Orbital)
            .with_position([12.0, 0.0, 64.0])
            .with_look_target([12.0, 0.0, 0.0])
            .with_eye_up([1.0, 0.0, 0.0]);
        self.spatial(ABOVE_ID, "From above", &["+ /world/**", "- /world/ego/cameras/**", "- /world/ego/labels"], &eye)
    }

    /// The object that is looked at, from nearby; the eye follows it.
    fn object(&mut self) -> Result<(), ReviewError> {
        let eye = blueprint::EyeControls3D::new()
            .with_kind(part::Eye3DKind::Orbital)
            .with_position([-7.0, 4.0, 5.0])
            .with_look_target([0.0, 0.0, 0.0])
            .with_eye_up([0.0, 0.0, 1.0])
            .with_tracking_entity(scene::focus().to_string().as_str());
        self.spatial(ABOVE_ID, "Object", &["+ /world/**", "- /world/ego/cameras/**", "- /world/ego/labels"], &eye)
    }

    fn spatial(&mut self, id: u128, name: &str, contents: &[&str], eye: &blueprint::EyeControls3D) -> Result<(), ReviewError> {
        let path = self.view(id, "3D", name, &scene::ego(), contents)?;
        self.put(path.clone() / "EyeControls3D", eye)?;
        let [r, g, b] = scene::colors::BACKGROUND_RGB;
        let background = blueprint::Background::new(part::BackgroundKind::SolidColor).with_color(rerun::Color::from_rgb(r, g, b));
        self.put(path.clone() / "Background", &background)?;
        // The rings say more than a grid at a height that is not the street's.
        self.put(path.clone() / "LineGrid3D", &blueprint::LineGrid3D::new().with_visible(false))?;
        // Boxes are what people point at: nothing else takes the mouse.
        for quiet in [
            scene::ego() / "lidar",
            scene::ego() / "rings",
            scene::ego() / "vehicle",
            scene::ego() / "headings",
            scene::ego() / "labels",
            scene::focus(),
            scene::world() / "trails",
        ] {
            let overrides = path.clone() / "ViewContents" / "overrides";
            self.put(overrides.join(&quiet), &blueprint::EntityBehavior::new().with_interactive(false))?;
        }
        Ok(())
    }

    fn camera(&mut self, id: u128, sensor: &str) -> Result<(), ReviewError> {
        let path = scene::camera_path(sensor);
        self.view(id, "2D", sensor, &path, &["+ $origin/**"]).map(|_| ())
    }

    fn view(
        &mut self,
        id: u128,
        class: &str,
        name: &str,
        origin: &EntityPath,
        contents: &[&str],
    ) -> Result<EntityPath, ReviewError> {
        let path = EntityPath::from(view_path(id));
        let view = blueprint::ViewBlueprint::new(class).with_display_name(name).with_space_origin(origin.to_string());
        self.put(path.clone(), &view)?;
        self.put(path.clone() / "ViewContents", &blueprint::ViewContents::new(contents.iter().copied()))?;
        Ok(path)
    }

    fn containers(&mut self, cameras: usize) -> Result<(), ReviewError> {
        let images: Vec<String> = (0..cameras).map(|index| view_path(FIRST_CAMERA_ID + index as u128)).collect();
        match cameras {
            0 => self.row(ROOT_ID, [view_path(SCENE_ID), view_path(ABOVE_ID)])?,
            1..=CAMERAS_BESIDE => self.cameras_beside(images)?,
            _ => self.cameras_over(images)?,
        }
        let viewport = blueprint::ViewportBlueprint::new()
            .with_root_container(Uuid::from_u128(ROOT_ID))
            .with_auto_layout(false)
            .with_auto_views(false);
        self.put("viewport", &viewport)
    }

    /// Left the scene; right the cameras, one under the other, and below them the view from above.
    fn cameras_beside(&mut self, mut images: Vec<String>) -> Result<(), ReviewError> {
        self.row(ROOT_ID, [view_path(SCENE_ID), container_path(SIDE_ID)])?;
        let mut shares = vec![0.55_f32; images.len()];
        shares.push(1.0);
        images.push(view_path(ABOVE_ID));
        let side = blueprint::ContainerBlueprint::new(part::ContainerKind::Vertical).with_contents(images).with_row_shares(shares);
        self.put(container_path(SIDE_ID), &side)
    }

    /// The cameras in rows; under them the scene and the view from above.
    fn cameras_over(&mut self, images: Vec<String>) -> Result<(), ReviewError> {
        let columns = images.len().min(CAMERAS_IN_A_ROW);
        let rows = images.len().div_ceil(columns);
        let root = blueprint::ContainerBlueprint::new(part::ContainerKind::Vertical)
            .with_contents([container_path(GRID_ID), container_path(SIDE_ID)])
            .with_row_shares([if rows == 1 { 0.45_f32 } else { 0.7 }, 1.0]);
        self.put(container_path(ROOT_ID), &root)?;
        let grid = blueprint::ContainerBlueprint::new(part::ContainerKind::Grid)
            .with_display_name("Cameras")
            .with_contents(images)
            .with_grid_columns(columns as u32);
        self.put(container_path(GRID_ID), &grid)?;
        self.row(SIDE_ID, [view_path(SCENE_ID), view_path(ABOVE_ID)])
    }

    /// A large view and a smaller one at its right.
    fn row(&mut self, id: u128, contents: [String; 2]) -> Result<(), ReviewError> {
        let row = blueprint::ContainerBlueprint::new(part::ContainerKind::Horizontal)
            .with_contents(contents)
            .with_col_shares([1.75_f32, 1.0]);
        self.put(container_path(id), &row)
    }

    fn panels(&mut self, purpose: Purpose) -> Result<(), ReviewError> {
        let folded = blueprint::PanelBlueprint::new().with_state(part::PanelState::Collapsed);
        self.put("blueprint_panel", &folded)?;
        self.put("selection_panel", &folded)?;
        let play_state = match purpose {
            Purpose::Recording | Purpose::Canvas => part::PlayState::Paused,
            Purpose::Live => part::PlayState::Following,
        };
        let time = blueprint::TimePanelBlueprint::new()
            .with_state(part::PanelState::Collapsed)
            .with_timeline(FRAME_TIMELINE)
            .with_fps(10.0)
            .with_play_state(play_state);
        self.put("time_panel", &time)
    }
}

fn view_path(id: u128) -> String {
    format!("view/{}", Uuid::from_u128(id))
}

fn container_path(id: u128) -> String {
    format!("container/{}", Uuid::from_u128(id))
}
