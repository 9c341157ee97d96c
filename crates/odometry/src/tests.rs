//! Rooms and streets of known motion.
