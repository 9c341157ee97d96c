//! The [`Storage`] trait: ours where messages are concerned, the memory engine's where not.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use nisshi_sans_io::create_topics_request::CreatableTopic;
use nisshi_sans_io::delete_groups_response::DeletableGroupResult;
use nisshi_sans_io::delete_records_request::DeleteRecordsTopic;
use nisshi_sans_io::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use nisshi_sans_io::describe_cluster_response::DescribeClusterBroker;
use nisshi_sans_io::describe_configs_response::DescribeConfigsResult;
use nisshi_sans_io::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use nisshi_sans_io::incremental_alter_configs_request::AlterConfigsResource;
use nisshi_sans_io::incremental_alter_configs_response::AlterConfigsResourceResponse;
use nisshi_sans_io::list_groups_response::ListedGroup;
use nisshi_sans_io::record::deflated::Batch;
use nisshi_sans_io::txn_offset_commit_response::TxnOffsetCommitResponseTopic;
use nisshi_sans_io::{ConfigResource, ErrorCode, IsolationLevel, ListOffset, OpType, ScramMechanism};
use nisshi_storage::{
    BrokerRegistrationRequest, GroupDetail, GroupState, ListOffsetResponse, MetadataResponse, NamedGroupDetail,
    OffsetCommitRequest, OffsetStage, ProducerIdResponse, Result, ScramCredential, Storage, TopicId, Topition,
    TxnAddPartitionsRequest, TxnAddPartitionsResponse, TxnOffsetCommitRequest, UpdateError, Version,
};
use url::Url;
use uuid::Uuid;

use super::LogStorage;

#[async_trait]
impl Storage for LogStorage {
    async fn create_topic(&self, topic: CreatableTopic, validate_only: bool) -> Result<Uuid> {
        self.make_topic(topic, validate_only).await
    }

    async fn delete_topic(&self, topic: &TopicId) -> Result<ErrorCode> {
        self.drop_topic(topic).await
    }

    async fn produce(&self, _transaction_id: Option<&str>, topition: &Topition, batch: Batch) -> Result<i64> {
        self.append(topition, batch)
    }

    async fn fetch(
        &self,
        topition: &'_ Topition,
        offset: i64,
        _min_bytes: u32,
        max_bytes: u32,
        _isolation: IsolationLevel,
        _max_wait: Duration,
    ) -> Result<Vec<Batch>> {
        self.read(topition, offset, max_bytes)
    }

    async fn offset_stage(&self, topition: &Topition) -> Result<OffsetStage> {
        self.stage(topition)
    }

    async fn list_offsets(
        &self,
        _isolation_level: IsolationLevel,
        offsets: &[(Topition, ListOffset)],
    ) -> Result<Vec<(Topition, ListOffsetResponse)>> {
        Ok(offsets.iter().map(|(topition, wanted)| (topition.clone(), self.offset_at(topition, wanted))).collect())
    }

    async fn offset_commit(
        &self,
        group_id: &str,
        retention_time_ms: Option<Duration>,
        offsets: &[(Topition, OffsetCommitRequest)],
    ) -> Result<Vec<(Topition, ErrorCode)>> {
        self.commit(group_id, retention_time_ms, offsets).await
    }

    async fn incremental_alter_resource(&self, resource: AlterConfigsResource) -> Result<AlterConfigsResourceResponse> {
        if ConfigResource::from(resource.resource_type) == ConfigResource::Topic {
            for change in resource.configs.as_deref().unwrap_or_default() {
                match OpType::try_from(change.config_operation)? {
                    OpType::Set => self.change_setting(&resource.resource_name, &change.name, change.value.as_deref())?,
                    OpType::Delete => self.change_setting(&resource.resource_name, &change.name, None)?,
                    // Lists only; none of the settings that are kept is one.
                    OpType::Append | OpType::Subtract => {}
                }
            }
        }
        self.inner.incremental_alter_resource(resource).await
    }

    async fn init_producer(
        &self,
        transaction_id: Option<&str>,
        _transaction_timeout_ms: i32,
        producer_id: Option<i64>,
        producer_epoch: Option<i16>,
    ) -> Result<ProducerIdResponse> {
        if transaction_id.is_some() {
            return Ok(ProducerIdResponse { error: ErrorCode::UnsupportedVersion, id: -1, epoch: -1 });
        }
        let known = producer_id.zip(producer_epoch).filter(|(id, epoch)| *id >= 0 && (0..i16::MAX).contains(epoch));
        let (id, epoch) = match known {
            Some((id, epoch)) => (id, epoch + 1),
            // By chance, because a counter would begin anew at every start and meet the numbers that logs remember.
            None => ((Uuid::new_v4().as_u64_pair().0 >> 1) as i64, 0),
        };
        Ok(ProducerIdResponse { error: ErrorCode::None, id, epoch })
    }

    /// Not served: every partition says so.
    async fn delete_records(&self, topics: &[DeleteRecordsTopic]) -> Result<Vec<DeleteRecordsTopicResult>> {
        let refuse = |partition: i32| {
            DeleteRecordsPartitionResult::default()
                .partition_index(partition)
                .low_watermark(-1)
                .error_code(ErrorCode::UnsupportedVersion.into())
        };
        Ok(topics
            .iter()
            .map(|topic| {
                let partitions = topic.partitions.as_deref().unwrap_or_default();
                let refused = partitions.iter().map(|partition| refuse(partition.partition_index)).collect();
                DeleteRecordsTopicResult::default().name(topic.name.clone()).partitions(Some(refused))
            })
            .collect())
    }

    async fn register_broker(&self, broker_registration: BrokerRegistrationRequest) -> Result<()> {
        self.inner.register_broker(broker_registration).await
    }

    async fn brokers(&self) -> Result<Vec<DescribeClusterBroker>> {
        self.inner.brokers().await
    }

    async fn offset_fetch(
        &self,
        group_id: Option<&str>,
        topics: &[Topition],
        require_stable: Option<bool>,
    ) -> Result<BTreeMap<Topition, i64>> {
        self.inner.offset_fetch(group_id, topics, require_stable).await
    }

    async fn committed_offset_topitions(&self, group_id: &str) -> Result<BTreeMap<Topition, i64>> {
        self.inner.committed_offset_topitions(group_id).await
    }

    async fn metadata(&self, topics: Option<&[TopicId]>) -> Result<MetadataResponse> {
        self.inner.metadata(topics).await
    }

    async fn upsert_user_scram_credential(&self, user: &str, mechanism: ScramMechanism, credential: ScramCredential) -> Result<()> {
        self.inner.upsert_user_scram_credential(user, mechanism, credential).await
    }

    async fn delete_user_scram_credential(&self, user: &str, mechanism: ScramMechanism) -> Result<()> {
        self.inner.delete_user_scram_credential(user, mechanism).await
    }

    async fn user_scram_credential(&self, user: &str, mechanism: ScramMechanism) -> Result<Option<ScramCredential>> {
        self.inner.user_scram_credential(user, mechanism).await
    }

    async fn describe_config(
        &self,
        name: &str,
        resource: ConfigResource,
        keys: Option<&[String]>,
    ) -> Result<DescribeConfigsResult> {
        self.inner.describe_config(name, resource, keys).await
    }

    async fn list_groups(&self, states_filter: Option<&[String]>) -> Result<Vec<ListedGroup>> {
        self.inner.list_groups(states_filter).await
    }

    async fn delete_groups(&self, group_ids: Option<&[String]>) -> Result<Vec<DeletableGroupResult>> {
        self.inner.delete_groups(group_ids).await
    }

    async fn describe_groups(&self, group_ids: Option<&[String]>, include_authorized: bool) -> Result<Vec<NamedGroupDetail>> {
        self.inner.describe_groups(group_ids, include_authorized).await
    }

    async fn describe_topic_partitions(
        &self,
        topics: Option<&[TopicId]>,
        partition_limit: i32,
        cursor: Option<Topition>,
    ) -> Result<Vec<DescribeTopicPartitionsResponseTopic>> {
        self.inner.describe_topic_partitions(topics, partition_limit, cursor).await
    }

    /// Lets go of a leader who has left a group while it formed. The coordinator keeps his name, and everybody would wait for his plan for
    /// ever; told that its view is outdated, it goes on from the one that it is given.
    async fn update_group(
        &self,
        group_id: &str,
        detail: GroupDetail,
        version: Option<Version>,
    ) -> Result<Version, UpdateError<GroupDetail>> {
        let Some(mended) = without_absent_leader(&detail) else {
            return self.inner.update_group(group_id, detail, version).await;
        };
        let version = self.inner.update_group(group_id, mended.clone(), version).await?;
        Err(UpdateError::Outdated { current: Box::new(mended), version })
    }

    async fn txn_add_offsets(&self, transaction: &str, producer_id: i64, epoch: i16, group_id: &str) -> Result<ErrorCode> {
        self.inner.txn_add_offsets(transaction, producer_id, epoch, group_id).await
    }

    async fn txn_add_partitions(&self, partitions: TxnAddPartitionsRequest) -> Result<TxnAddPartitionsResponse> {
        self.inner.txn_add_partitions(partitions).await
    }

    async fn txn_offset_commit(&self, offsets: TxnOffsetCommitRequest) -> Result<Vec<TxnOffsetCommitResponseTopic>> {
        self.inner.txn_offset_commit(offsets).await
    }

    async fn txn_end(&self, transaction: &str, producer_id: i64, epoch: i16, committed: bool) -> Result<ErrorCode> {
        self.inner.txn_end(transaction, producer_id, epoch, committed).await
    }

    async fn maintain(&self, now: SystemTime) -> Result<()> {
        self.inner.maintain(now).await
    }

    async fn cluster_id(&self) -> Result<String> {
        self.inner.cluster_id().await
    }

    async fn node(&self) -> Result<i32> {
        self.inner.node().await
    }

    async fn advertised_listener(&self) -> Result<Url> {
        self.inner.advertised_listener().await
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }
}

/// The same group without its leader, where it forms under one who is no member; none where all is well.
fn without_absent_leader(detail: &GroupDetail) -> Option<GroupDetail> {
    let mut mended = detail.clone();
    let GroupState::Forming { leader, .. } = &mut mended.state else { return None };
    leader.take_if(|leader| !detail.members.contains_key(leader))?;
    Some(mended)
}

#[cfg(test)]
mod tests {
    use nisshi_storage::GroupMember;

    use super::*;

    fn forming(leader: Option<&str>) -> GroupDetail {
        GroupDetail {
            members: BTreeMap::from([("here".to_owned(), GroupMember::default())]),
            state: GroupState::Forming { protocol_type: None, protocol_name: None, leader: leader.map(str::to_owned) },
            ..GroupDetail::default()
        }
    }

    #[test]
    fn a_group_that_forms_has_no_leader_who_has_left() {
        assert_eq!(without_absent_leader(&forming(Some("gone"))).unwrap().state, forming(None).state);
        assert!(without_absent_leader(&forming(Some("here"))).is_none());
        assert!(without_absent_leader(&forming(None)).is_none());
    }
}
