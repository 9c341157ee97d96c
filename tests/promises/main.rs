//! Promises of the whole, each module named for one: real files, a real broker protocol, real readers, a real browser.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]

mod real_drives_become_labels;

mod both_ways_give_the_same_bytes;

mod any_tool_reads_the_shards;

mod the_demo_runs_anywhere;

mod bad_input_loses_nothing_else;

mod nothing_lost_nothing_doubled;

mod a_drive_may_be_in_many_files;

mod any_crash_leaves_the_same_bytes;

mod torture_in_short;

mod any_object_store_will_do;

mod the_viewer_never_slows_storage;

mod the_metrics_say_what_happened;

mod a_trace_follows_each_clip;

mod a_browser_shows_the_labels;

mod standing_things_stand_still;

mod a_drive_without_poses_finds_its_own;

mod cameras_sit_where_they_are_said_to;

mod people_review_in_a_browser;

mod people_sign_in_by_their_provider;

mod labels_are_measured_as_others_measure;

mod networks_have_a_say;

mod support;
