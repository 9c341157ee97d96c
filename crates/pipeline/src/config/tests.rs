//! What a configuration file may say, and what is said back.

use super::*;

#[test]
fn the_embedded_default_is_the_default_of_every_part() {
    let config = Config::embedded().unwrap();
    assert_eq!(config.label, LabelConfig::default());
    assert_eq!(config.order, OrderConfig::default());
    assert_eq!(config.sync, MatcherConfig::default());
    assert_eq!(config.clock, ClockConfig::default());
    assert_eq!(config.motion, MotionConfig::default());
    assert_eq!(config.odometry, OwnMotionConfig::default());
    assert_eq!(config.shard, WriterConfig::default());
    assert_eq!(config.kafka, KafkaConfig::default());
    assert_eq!(config.broker, BrokerConfig::default());
    config.load_taxonomy().unwrap();
}

#[test]
fn every_line_of_the_default_is_documented() {
    let mut previous_is_comment = false;
    for line in DEFAULT_TOML.lines().filter(|line| !line.trim().is_empty()) {
        let comment = line.trim_start().starts_with('#');
        let header = line.starts_with('[');
        assert!(comment || header || previous_is_comment || line.contains('#'), "undocumented option: {line}");
        previous_is_comment = comment;
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    let error = Config::resolve("my.toml", "[clip]\nlenght_s = 10\n").unwrap_err().to_string();
    assert!(error.contains("unknown key `clip.lenght_s`") && error.contains("`clip.length_s`"), "{error}");
    let error = Config::resolve("my.toml", "[klip]\nlength_s = 10\n").unwrap_err().to_string();
    assert!(error.contains("hint: did you mean `clip`"), "{error}");
}

#[test]
fn a_wrong_type_names_both_types() {
    let error = Config::resolve("my.toml", "[clip]\nlength_s = \"long\"\n").unwrap_err().to_string();
    assert!(error.contains("clip.length_s: expected integer, got string"), "{error}");
    assert_eq!(error.matches("hint:").count(), 1, "{error}");
}

#[test]
fn librdkafka_options_pass_through() {
    let config = Config::resolve("my.toml", "[kafka.client]\n\"security.protocol\" = \"SASL_SSL\"\n").unwrap();
    assert_eq!(config.kafka.client.get("security.protocol").map(String::as_str), Some("SASL_SSL"));
}

#[test]
fn the_hash_changes_with_what_decides_labels_and_only_with_that() {
    let base = Config::embedded().unwrap();
    let taxonomy = base.load_taxonomy().unwrap();
    let mut other = base.clone();
    other.run.lanes = 7;
    assert_eq!(base.labels_sha256(&taxonomy), other.labels_sha256(&taxonomy));
    other.odometry.mode = OdometryMode::Off;
    assert_ne!(base.labels_sha256(&taxonomy), other.labels_sha256(&taxonomy));
    other = base.clone();
    other.clip.length_s = 10;
    assert_ne!(base.labels_sha256(&taxonomy), other.labels_sha256(&taxonomy));
}

#[test]
fn metrics_and_traces_are_off_by_default_and_say_what_they_expect() {
    let config = Config::embedded().unwrap();
    assert_eq!((config.metrics.listen, config.traces.endpoint()), (None, None));
    let with = |text: &str| Config::resolve("my.toml", text);
    let config = with("[metrics]\nlisten = \"127.0.0.1:9464\"\n[traces]\notlp_endpoint = \"http://c:4318/\"\n").unwrap();
    assert_eq!(config.metrics.listen, Some(([127, 0, 0, 1], 9464).into()));
    assert_eq!(config.traces.endpoint().as_deref(), Some("http://c:4318/v1/traces"));
    let path = with("[traces]\notlp_endpoint = \"http://c:4318/otlp/v1/traces\"\n").unwrap();
    assert_eq!(path.traces.endpoint().as_deref(), Some("http://c:4318/otlp/v1/traces"));
    let address = with("[metrics]\nlisten = \"9464\"\n").unwrap_err().to_string();
    assert!(address.contains("expected an address such as 127.0.0.1:9464") && address.contains("\"9464\""), "{address}");
    for wrong in ["https://c:4318", "c:4318", "http://", "http:///v1/traces"] {
        let error = with(&format!("[traces]\notlp_endpoint = \"{wrong}\"\n")).unwrap_err().to_string();
        assert!(error.contains("traces.otlp_endpoint: expected http://host:port") && error.contains(wrong), "{error}");
    }
}

#[test]
fn policies_and_timing_are_told_by_name_and_what_is_wrong_is_said() {
    let with = |text: &str| Config::resolve("my.toml", text);
    let config =
        with("[sync.policy]\nkind = \"nearest_time\"\ntolerance_ms = { default = 20, sensors = { front = 5.5 } }\n").unwrap();
    let policy = format!("{:?}", config.sync.policy);
    assert!(policy.contains("NearestTime") && policy.contains("5.5"), "{policy}");
    let config = with("[sync.timing.top]\noffset_ms = -3\nstamp_ref = \"sweep_end\"\nsweep_ms = 100\n").unwrap();
    assert_eq!(config.sync.timing["top"].instant_ns(1_000_000_000, boxwright_model::StampRef::Instant), 947_000_000);
    let wrong = [
        ("[sync.policy]\nkind = \"nearest_thyme\"\n", "nearest_time"),
        ("[sync.policy]\nkind = \"slop_time\"\nslap_ms = 1\n", "slop_ms"),
        ("[sync.policy]\nkind = \"latest_time\"\n", "latest_time is for live viewing only"),
        ("[sync.timing.top]\nsweep_ms = -1\n", "timing of sensor \"top\": expected sweep_ms"),
        ("[sync.timing.top]\nsweeps_ms = 1\n", "sweep_ms"),
        ("[sync.timing.top]\noffset_ms = nan\n", "offset_ms"),
        ("[shard]\nzstd_level = 23\n", "zstd_level: expected 1 to 22, got 23"),
        ("[sync.timing.top]\nspin = \"clockwise\"\n", "expected spin, start_azimuth_deg and a sweep_ms"),
    ];
    for (text, expected) in wrong {
        let error = with(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_timing_of_a_sensor_that_never_came_is_told_with_the_nearest_that_did() {
    let config =
        Config::resolve("my.toml", "[sync.timing.ldiar]\ndeskewed = true\n[sync.timing.camera]\noffset_ms = 1.0\n").unwrap();
    let sensors = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    let warnings = config.strangers(&sensors(&["camera", "lidar"]));
    assert_eq!(
        warnings,
        ["[sync.timing] names ldiar, and no message came from a sensor of that name (the nearest name that came: lidar)"]
    );
    let config = Config::resolve("my.toml", "[odometry]\nlidar = \"tpo\"\n").unwrap();
    assert!(config.strangers(&sensors(&["top"]))[0].starts_with("[odometry] names tpo"));
    assert!(config.strangers(&sensors(&[])).is_empty(), "nothing came, so nothing is known");
    let mut config = Config::resolve("my.toml", "[networks.camera]\ncameras = [\"fornt\"]\n").unwrap();
    assert!(config.strangers(&sensors(&["front"])).is_empty(), "there is no network that would look through it");
    config.networks.camera.manifest = "yolox.toml".into();
    assert!(config.strangers(&sensors(&["front"]))[0].starts_with("[networks.camera] names fornt"));
}
