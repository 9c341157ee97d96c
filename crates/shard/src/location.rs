//! Where a dataset lives: a folder, or a bucket of an object store.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use serde::Deserialize;
use url::Url;

use crate::error::ShardError;
use crate::storage::remote::Remote;
use crate::storage::store::Store;

/// Options of object stores.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Folder where the shards of open clips grow before they are uploaded; empty takes the system's folder for temporary files.
    pub spool_dir: PathBuf,
    /// How long a request is tried again before the run fails, in seconds.
    pub retry_timeout_s: u64,
    /// How long one request may take, in seconds.
    pub request_timeout_s: u64,
    /// Options of the store by the names that the `object_store` crate has for them (`aws_endpoint`, `aws_region`, `aws_allow_http`, …).
    pub options: BTreeMap<String, String>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { spool_dir: PathBuf::new(), retry_timeout_s: 120, request_timeout_s: 60, options: BTreeMap::new() }
    }
}

impl fmt::Debug for StoreConfig {
    /// Names of options only: some of their values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spool_dir, retry_timeout_s, request_timeout_s, options } = self;
        let mut text = f.debug_struct("StoreConfig");
        text.field("spool_dir", spool_dir).field("retry_timeout_s", retry_timeout_s).field("request_timeout_s", request_timeout_s);
        text.field("options", &options.keys()).finish()
    }
}

impl StoreConfig {
    /// Checks the bounds.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn check(&self) -> Result<(), ShardError> {
        let within = |name: &str, value: u64| match value {
            1..=3600 => Ok(()),
            _ => Err(ShardError::Config(format!("store.{name}: expected 1 to 3600 seconds, got {value}"))),
        };
        // A request is tried again with the signature that it was made with, which holds for five minutes.
        if !(1..=240).contains(&self.retry_timeout_s) {
            return Err(ShardError::Config(format!(
                "store.retry_timeout_s: expected 1 to 240 seconds, got {}",
                self.retry_timeout_s
            )));
        }
        within("request_timeout_s", self.request_timeout_s)
    }

    fn retry(&self) -> RetryConfig {
        // The time decides, not the count: backoff grows to 15 s, so the count only has to be out of its way.
        RetryConfig { max_retries: 1000, retry_timeout: Duration::from_secs(self.retry_timeout_s), ..RetryConfig::default() }
    }

    fn client(&self) -> ClientOptions {
        ClientOptions::new().with_timeout(Duration::from_secs(self.request_timeout_s)).with_allow_http(self.allows_http())
    }

    fn allows_http(&self) -> bool {
        let allow = |name: &String| name.ends_with("allow_http");
        self.options.iter().any(|(name, value)| allow(name) && value == "true")
    }
}

/// Where a dataset lives. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DatasetLocation {
    pub(crate) store: Store,
}

impl DatasetLocation {
    /// A folder of the file system.
    #[must_use]
    pub fn folder(path: &Path) -> Self {
        Self { store: Store::folder(path) }
    }

    /// Its folder, where it is one; `None` in an object store.
    #[must_use]
    pub fn folder_path(&self) -> Option<&Path> {
        (!self.store.is_remote()).then(|| self.store.root())
    }

    /// A path, `file:///path`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`. `ambient` are settings that were
    /// found in the environment (`aws_access_key_id`, …); what the configuration says wins over them, and those that the store does not
    /// know are left aside.
    ///
    /// # Errors
    /// When the address is none of these, an option is unknown to the store, or the store's client cannot be made of them.
    pub fn parse(text: &str, config: &StoreConfig, ambient: &[(String, String)]) -> Result<Self, ShardError> {
        if !text.contains("://") {
            return Ok(Self::folder(Path::new(text)));
        }
        let refused = |message: String| ShardError::Location { location: text.to_owned(), message };
        let url = Url::parse(text).map_err(|error| refused(error.to_string()))?;
        if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            let location = format!("{}://…", url.scheme());
            let message = "expected scheme, bucket and prefix alone, got a password, `?` or `#` in it\n\
                           hint: credentials belong into the environment or into [store.options]";
            return Err(ShardError::Location { location, message: message.to_owned() });
        }
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| refused("expected file:///path, got a host in it".to_owned()))?;
            return Ok(Self::folder(&path));
        }
        config.check()?;
        let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|error| refused(error.to_string()))?;
        let store: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::AmazonS3 => {
                let mut builder =
                    AmazonS3Builder::new().with_url(text).with_retry(config.retry()).with_client_options(config.client());
                for (key, value) in settings::<AmazonS3ConfigKey>(config, ambient).map_err(refused)? {
                    builder = builder.with_config(key, value);
                }
                Arc::new(builder.build().map_err(|error| refused(error.to_string()))?)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::new().with_url(text);
                let mut builder = builder.with_retry(config.retry()).with_client_options(config.client());
                for (key, value) in settings::<GoogleConfigKey>(config, ambient).map_err(refused)? {
                    builder = builder.with_config(key, value);
                }
                Arc::new(builder.build().map_err(|error| refused(error.to_string()))?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::new().with_url(text);
                let mut builder = builder.with_retry(config.retry()).with_client_options(config.client());
                for (key, value) in settings::<AzureConfigKey>(config, ambient).map_err(refused)? {
                    builder = builder.with_config(key, value);
                }
                Arc::new(builder.build().map_err(|error| refused(error.to_string()))?)
            }
            _ => return Err(refused(format!("expected a path, file://, s3://, gs:// or az://, got {}://", url.scheme()))),
        };
        let remote = Remote::new(store, prefix, config.spool_dir.join("boxwright-spool"))?;
        Ok(Self { store: Store::remote(text, remote) })
    }
}

/// The configured options, and those of the environment that the store knows. An option of the configuration that it does not know is a
/// typing error; of the environment, somebody else's business.
fn settings<K: std::str::FromStr>(config: &StoreConfig, ambient: &[(String, String)]) -> Result<Vec<(K, String)>, String> {
    let mut settings: Vec<(K, String)> = Vec::new();
    for (name, value) in ambient {
        if let Ok(key) = name.parse() {
            settings.push((key, value.clone()));
        }
    }
    for (name, value) in &config.options {
        let key = name.parse().map_err(|_| format!("store.options: expected an option of this store, got {name:?}"))?;
        settings.push((key, value.clone()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[(&str, &str)]) -> StoreConfig {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        StoreConfig { options, spool_dir: std::env::temp_dir(), ..StoreConfig::default() }
    }

    #[test]
    fn paths_and_file_urls_are_folders() {
        for text in ["data", "/data/a b", "file:///data"] {
            let location = DatasetLocation::parse(text, &StoreConfig::default(), &[]).unwrap();
            assert!(!location.store.is_remote(), "{text}");
        }
    }

    #[test]
    fn what_is_no_location_is_refused_with_both_sides() {
        let message = |text: &str, config: &StoreConfig| DatasetLocation::parse(text, config, &[]).unwrap_err().to_string();
        assert!(message("ftp://host/x", &with(&[])).contains("ftp://"));
        assert!(message("s3://bucket/x", &with(&[("aws_endpiont", "x")])).contains("aws_endpiont"));
        let slow = StoreConfig { retry_timeout_s: 0, ..with(&[]) };
        assert!(message("s3://bucket/x", &slow).contains("got 0"));
        let secret = message("s3://me:hush@bucket/x", &with(&[]));
        assert!(secret.contains("hint:") && !secret.contains("hush"), "{secret}");
        assert!(!format!("{:?}", with(&[("aws_secret_access_key", "hush")])).contains("hush"));
    }

    #[test]
    fn the_configuration_wins_over_the_environment_and_foreign_variables_do_not_matter() {
        let ambient =
            [("aws_region", "from-environment"), ("aws_profile_of_somebody", "x")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let found = settings::<AmazonS3ConfigKey>(&with(&[("aws_region", "mine")]), &ambient).unwrap();
        assert_eq!(found.last().map(|(key, value)| (*key, value.as_str())), Some((AmazonS3ConfigKey::Region, "mine")));
        assert_eq!(found.len(), 2);
    }
}
