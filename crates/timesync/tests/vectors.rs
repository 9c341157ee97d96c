//! The synchroniser gives the sets of ROS 2, at the moments that ROS 2 gives them.

use std::path::Path;

#[path = "../examples/conformance/cases.rs"]
mod cases;

/// Recorded from the real implementation. Where the shared data is not at hand, only CI insists.
#[expect(clippy::disallowed_methods, reason = "the environment says whether missing data is an error")]
#[expect(clippy::print_stdout, reason = "a test that was skipped says so")]
fn shared(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!in_ci, "cannot read {}: {error}\nhint: the shared data belongs beside the repository", path.display());
            println!("skipped: cannot read {}: {error}", path.display());
            None
        }
    }
}

#[test]
fn every_recorded_case_gives_the_same_sets_at_the_same_moments() {
    let Some(text) = shared("sync_approximate_time.json") else { return };
    let report = cases::run_file(&text).unwrap();
    assert!(report.failures.is_empty(), "{}", report.failures.join("\n"));
    assert_eq!(report.passed, 13 + 235);
    let Some(text) = shared("sync_other_policies.json") else { return };
    let report = cases::run_file(&text).unwrap();
    assert!(report.failures.is_empty(), "{}", report.failures.join("\n"));
    assert_eq!(report.passed, 4 + 3 + 6 + 4 + 120);
}

#[test]
fn a_case_that_expects_something_else_fails() {
    let case = |moment: usize| {
        format!(
            r#"{{"x":[{{"name":"a","policy":"approximate_time","n":2,"queue_size":10,"age_penalty":0.1,"max_interval_ns":null,
            "lower_bounds_ns":[0,0],"input":[[0,0],[1,0]],"expected_sets":[[0,0]],"expected_emit_after_input":[{moment}]}}]}}"#
        )
    };
    assert_eq!(cases::run_file(&case(1)).unwrap().passed, 1);
    let report = cases::run_file(&case(0)).unwrap();
    assert_eq!(report.failures, ["a: moment of set 0: expected Some(0), got Some(1)"]);
}

#[test]
fn malformed_files_and_cases_are_told_and_never_panic() {
    for text in ["", "3", "[]", "{}", r#"{"generated":3}"#, r#"{"generated":[]}"#, r#"{"latest_time":{"note":"x"}}"#] {
        assert!(cases::run_file(text).is_err(), "{text}");
    }
    let broken = [
        r#"[{"policy":"approximate_time"}]"#,
        r#"{"exact_time":[{"n":2,"queue_size":2,"input":[[0,0],[0,1],[1,1]],"expected_sets":[[1,1]],"expected_drops":0}]}"#,
        r#"{"approximate_epsilon_time":[{"n":2,"queue_size":2,"input":[],"expected_sets":[]}]}"#,
        r#"{"python_slop":[{"n":2,"queue_size":2,"slop_s":"wide","input":[],"expected_sets":[]}]}"#,
        r#"{"input_aligner":[{"timeout_ns":1,"period_ns":[1],"steps":[["add",[[0,1]]],["expect_count",1]]}]}"#,
        r#"{"latest_time":{"Sideways":"unheard of"}}"#,
        r#"{"a":[{"policy":"made_up"}]}"#,
        r#"[{"policy":"approximate_time","n":2,"queue_size":0,"input":[],"expected_sets":[]}]"#,
        r#"[{"policy":"approximate_time","n":99999999999,"queue_size":1,"input":[],"expected_sets":[]}]"#,
        r#"[{"policy":"approximate_time","n":2,"queue_size":1,"input":[[2,0]],"expected_sets":[]}]"#,
        r#"[{"policy":"approximate_time","n":2,"queue_size":1,"input":[[0]],"expected_sets":[]}]"#,
        r#"[{"policy":"approximate_time","n":2,"queue_size":1,"age_penalty":-1,"input":[],"expected_sets":[]}]"#,
        r#"[{"policy":"approximate_time","n":1,"queue_size":1,"input":[[0,1e30]],"expected_sets":[]}]"#,
        r#"[{"policy":"approximate_time","n":2,"queue_size":9,"lower_bounds_ns":[9223372036854775807,9223372036854775807],
           "input":[[0,-9223372036854775808],[1,9223372036854775807],[0,9223372036854775807]],"expected_sets":[[1,1]]}]"#,
    ];
    for text in broken {
        let report = cases::run_file(text).unwrap();
        assert_eq!((report.passed, report.failures.len()), (0, 1), "{text}");
    }
}
