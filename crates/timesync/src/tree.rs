//! Which frame hangs where: the transform tree of one vehicle.
//!
//! Every frame has at most one parent, so that there is exactly one way between two frames. Poses of the vehicle in the world change
//! all the time and belong into a [`crate::motion::PoseTrack`]; this tree holds what is mounted.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::Pose;

/// Longest way from a frame to its root. Vehicles have three to six levels; more is a mistake.
pub const MAX_DEPTH: usize = 64;

/// Most frames in a tree: made-up names must not fill the memory.
pub const MAX_FRAMES: usize = 4096;

/// An edge that would spoil the tree; the tree stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    /// The parent hangs below the child already.
    #[error("expected a tree, got a cycle: {parent:?} hangs below {child:?}\nhint: check which frame is parent and which is child")]
    Cycle {
        /// Parent of the refused edge.
        parent: Arc<str>,
        /// Its child.
        child: Arc<str>,
    },
    /// The chain of parents is too long.
    #[error("expected at most {MAX_DEPTH} frames from {child:?} to its root, got more")]
    TooDeep {
        /// Child of the refused edge.
        child: Arc<str>,
    },
    /// Too many frames.
    #[error("expected at most {MAX_FRAMES} frames, got one more: {child:?}")]
    TooManyFrames {
        /// Child of the refused edge.
        child: Arc<str>,
    },
    /// A number is infinite or no number.
    #[error("expected finite numbers in the transform from {child:?} to {parent:?}, got {values}")]
    NotFinite {
        /// Parent of the refused edge.
        parent: Arc<str>,
        /// Its child.
        child: Arc<str>,
        /// Translation in metres and quaternion `x, y, z, w`.
        values: String,
    },
}

/// The edges.
#[derive(Clone, Debug, Default)]
pub struct TransformTree {
    /// Parent and `parent_from_child` by child.
    edges: BTreeMap<Arc<str>, (Arc<str>, Pose)>,
}

impl TransformTree {
    /// A tree without frames.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets where `child` hangs. The latest insertion counts, also where it gives the child another parent.
    ///
    /// # Errors
    /// When the edge would make a cycle, a chain that is too long or a tree that is too big, or is not finite.
    pub fn insert(&mut self, parent: &Arc<str>, child: &Arc<str>, parent_from_child: Pose) -> Result<(), TransformError> {
        let (at, turn) = (parent_from_child.translation.vector, parent_from_child.rotation.coords);
        if !at.iter().chain(turn.iter()).all(|value| value.is_finite()) {
            let values = format!("{:?} {:?}", at.as_slice(), turn.as_slice());
            return Err(TransformError::NotFinite { parent: Arc::clone(parent), child: Arc::clone(child), values });
        }
        let above = self.ancestors(parent).take(MAX_DEPTH + 1).collect::<Vec<_>>();
        if above.iter().any(|frame| **frame == **child) {
            return Err(TransformError::Cycle { parent: Arc::clone(parent), child: Arc::clone(child) });
        }
        if above.len() > MAX_DEPTH {
            return Err(TransformError::TooDeep { child: Arc::clone(child) });
        }
        if self.edges.len() >= MAX_FRAMES && !self.edges.contains_key(child) {
            return Err(TransformError::TooManyFrames { child: Arc::clone(child) });
        }
        self.edges.insert(Arc::clone(child), (Arc::clone(parent), parent_from_child));
        Ok(())
    }

    /// `parent_from_child` for any two frames that hang together, in either direction; `None` where they do not. A frame is where it is,
    /// known or not.
    #[must_use]
    pub fn lookup(&self, parent: &str, child: &str) -> Option<Pose> {
        let mut ancestor_from_child = Pose::identity();
        let mut frame = child;
        // One step more than the depth allows, for grafting can make a chain longer than each insertion saw; cycles cannot arise.
        for _ in 0..=2 * MAX_DEPTH {
            if let Some(ancestor_from_parent) = self.up_to(frame, parent) {
                return Some(ancestor_from_parent.inv_mul(&ancestor_from_child));
            }
            let (above, above_from_frame) = self.edges.get(frame)?;
            ancestor_from_child = above_from_frame * ancestor_from_child;
            frame = above;
        }
        None
    }

    /// Every edge as parent, child and `parent_from_child`, ordered by child.
    pub fn edges(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Pose)> {
        self.edges.iter().map(|(child, (parent, pose))| (parent, child, pose))
    }

    /// Whether the frame is a parent or a child of any edge.
    #[must_use]
    pub fn contains(&self, frame: &str) -> bool {
        self.edges.contains_key(frame) || self.edges.values().any(|(parent, _)| **parent == *frame)
    }

    /// `ancestor_from_frame`, if the one is above the other or is it.
    fn up_to(&self, ancestor: &str, frame: &str) -> Option<Pose> {
        let (mut pose, mut at) = (Pose::identity(), frame);
        for _ in 0..=2 * MAX_DEPTH {
            if at == ancestor {
                return Some(pose);
            }
            let (above, above_from_at) = self.edges.get(at)?;
            pose = above_from_at * pose;
            at = above;
        }
        None
    }

    /// The frame itself and all above it.
    fn ancestors<'a>(&'a self, frame: &'a str) -> impl Iterator<Item = &'a str> {
        std::iter::successors(Some(frame), |at| self.edges.get(*at).map(|(above, _)| &**above))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boxwright_model::space::pose_from_parts;
    use proptest::prelude::*;

    fn name(text: &str) -> Arc<str> {
        text.into()
    }

    fn pose(x_m: f64, yaw_rad: f64) -> Pose {
        pose_from_parts([x_m, 1.0, 0.5], [0.0, 0.0, (yaw_rad / 2.0).sin(), (yaw_rad / 2.0).cos()]).unwrap()
    }

    fn vehicle() -> TransformTree {
        let mut tree = TransformTree::new();
        tree.insert(&name("base_link"), &name("roof"), pose(1.0, 0.1)).unwrap();
        tree.insert(&name("roof"), &name("lidar"), pose(0.2, 1.0)).unwrap();
        tree.insert(&name("roof"), &name("camera"), pose(0.4, -1.0)).unwrap();
        tree.insert(&name("world"), &name("base_link"), pose(500.0, 2.0)).unwrap();
        tree
    }

    fn close(a: &Pose, b: &Pose) -> bool {
        (a.to_homogeneous() - b.to_homogeneous()).norm() < 1e-9
    }

    #[test]
    fn any_two_frames_of_a_tree_know_each_other() {
        let tree = vehicle();
        assert!(close(&tree.lookup("base_link", "lidar").unwrap(), &(pose(1.0, 0.1) * pose(0.2, 1.0))));
        assert!(close(&tree.lookup("camera", "lidar").unwrap(), &(pose(0.4, -1.0).inverse() * pose(0.2, 1.0))));
        assert!(close(&tree.lookup("lidar", "world").unwrap(), &tree.lookup("world", "lidar").unwrap().inverse()));
        assert_eq!(tree.lookup("lidar", "lidar"), Some(Pose::identity()));
        assert_eq!(tree.lookup("base_link", "radar"), None);
        assert_eq!(tree.lookup("radar", "base_link"), None);
        assert!(tree.contains("world") && !tree.contains("radar"));
    }

    #[test]
    fn the_latest_transform_counts_and_may_move_a_frame_elsewhere() {
        let mut tree = vehicle();
        tree.insert(&name("roof"), &name("lidar"), pose(7.0, 0.0)).unwrap();
        assert!(close(&tree.lookup("roof", "lidar").unwrap(), &pose(7.0, 0.0)));
        tree.insert(&name("base_link"), &name("lidar"), pose(9.0, 0.0)).unwrap();
        assert!(close(&tree.lookup("base_link", "lidar").unwrap(), &pose(9.0, 0.0)));
    }

    #[test]
    fn cycles_and_broken_numbers_are_refused_and_leave_the_tree_as_it_was() {
        let mut tree = vehicle();
        for (parent, child) in [("lidar", "base_link"), ("lidar", "world"), ("lidar", "lidar")] {
            let error = tree.insert(&name(parent), &name(child), pose(0.0, 0.0)).unwrap_err();
            assert!(matches!(error, TransformError::Cycle { .. }), "{error}");
        }
        let mut broken = pose(0.0, 0.0);
        broken.translation.vector.z = f64::INFINITY;
        assert!(tree.insert(&name("roof"), &name("lidar"), broken).is_err());
        assert_eq!(tree.edges().count(), vehicle().edges().count());
    }

    #[test]
    fn a_tree_has_bounds() {
        let mut tree = TransformTree::new();
        let refused = (0..1000)
            .find(|depth| tree.insert(&name(&depth.to_string()), &name(&(depth + 1).to_string()), pose(0.0, 0.0)).is_err());
        assert_eq!(refused, Some(MAX_DEPTH));
        let mut tree = TransformTree::new();
        let refused = (0..9999).find(|child| tree.insert(&name("root"), &name(&child.to_string()), pose(0.0, 0.0)).is_err());
        assert_eq!(refused, Some(MAX_FRAMES));
    }

    proptest! {
        #[test]
        fn the_way_there_is_the_way_back(edges in proptest::collection::vec((0_u8..12, 0_u8..12, -5.0..5.0_f64, -3.0..3.0_f64), 0..60)) {
            let mut tree = TransformTree::new();
            for (parent, child, x_m, yaw_rad) in edges {
                let _refused = tree.insert(&name(&parent.to_string()), &name(&child.to_string()), pose(x_m, yaw_rad));
            }
            for (a, b) in (0..12).flat_map(|a| (0..12).map(move |b| (a.to_string(), b.to_string()))) {
                match (tree.lookup(&a, &b), tree.lookup(&b, &a)) {
                    (Some(there), Some(back)) => prop_assert!(close(&(there * back), &Pose::identity())),
                    (there, back) => prop_assert!(there.is_none() && back.is_none()),
                }
            }
        }
    }
}
