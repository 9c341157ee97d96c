//! The protocols: pure functions from pairs of frames to the numbers of the official tools.

pub mod kitti;

pub mod nuscenes_detection;

pub mod nuscenes_tracking;

pub mod av2;

pub mod sequences;

pub mod clear;

pub mod hota;

pub mod ab3dmot;
