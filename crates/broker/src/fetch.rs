//! Fetch without news of leaders.
//!
//! Where a topic is not known, nisshi's answer names a leader for it all the same, and the topic by no id (KIP-951, KIP-516). librdkafka 2.12
//! looks such a topic up by a name that it does not have and ends its process with a segmentation fault: a client that reads while the
//! broker starts again, or while a topic is deleted, would be gone. One node has no other leaders to tell of.

use nisshi_broker::Error;
use nisshi_sans_io::{ApiKey as _, FetchRequest, FetchResponse};
use nisshi_service::{FrameRequestLayer, FrameRouteBuilder};
use nisshi_storage::{FetchService, Storage};
use rama::layer::{MapErrLayer, MapStateLayer};
use rama::{Context, Layer as _, Service};

/// Adds the service to what is served.
pub(crate) fn route<S: Storage + Clone>(
    builder: FrameRouteBuilder<(), Error>,
    storage: S,
) -> Result<FrameRouteBuilder<(), Error>, Error> {
    let layers = (MapErrLayer::new(Error::from), MapStateLayer::new(|_| storage), FrameRequestLayer::<FetchRequest>::new());
    builder.with_route(FetchRequest::KEY, layers.into_layer(LeaderlessFetch).boxed()).map_err(Into::into)
}

#[derive(Clone, Copy, Debug)]
struct LeaderlessFetch;

impl<S: Storage> Service<S, FetchRequest> for LeaderlessFetch {
    type Response = FetchResponse;
    type Error = nisshi_storage::Error;

    async fn serve(&self, context: Context<S>, request: FetchRequest) -> Result<FetchResponse, Self::Error> {
        let mut response = FetchService.serve(context, request).await?;
        let topics = response.responses.iter_mut().flatten();
        topics.flat_map(|topic| topic.partitions.iter_mut().flatten()).for_each(|partition| partition.current_leader = None);
        Ok(response)
    }
}
