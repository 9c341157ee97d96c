//! The broker's thread: accepts connections and hands each to nisshi's protocol services.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::SyncSender;

use nisshi_broker::Error;
use nisshi_broker::coordinator::group::administrator::Controller;
use nisshi_broker::service::{coordinator, storage as routes};
use nisshi_service::{
    BytesFrameLayer, BytesFrameService, FrameRouteService, TcpBytesLayer, TcpBytesService, TcpContext, TcpContextLayer,
    TcpContextService,
};
use nisshi_storage::{BrokerRegistrationRequest, Storage};
use rama::{Context, Layer, Service};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use url::Url;
use uuid::Uuid;

use super::FAREWELL;
use super::fetch;
use super::storage::LogStorage;

const NODE_ID: i32 = 1;
const CLUSTER_ID: &str = "boxwright";
/// Two: one more than a single client keeps busy, and the machine has other work.
const THREADS: usize = 2;

/// Serves until stopped; says once on `report` that it serves, or why not.
pub(super) fn run(
    listener: TcpListener,
    advertised: SocketAddr,
    data_dir: Option<&Path>,
    stopped: oneshot::Receiver<()>,
    report: &SyncSender<Result<(), String>>,
) {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).thread_name("broker").enable_all().build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever started us waits for exactly one message, or is gone.
            let _ = report.send(Err(error.to_string()));
            return;
        }
    };
    runtime.block_on(async {
        match open(&listener, advertised, data_dir).await {
            Err(message) => {
                let _ = report.send(Err(message));
            }
            Ok((listener, storage)) => {
                let _ = report.send(Ok(()));
                serve(&listener, &storage, stopped).await;
                storage.sync();
            }
        }
    });
    runtime.shutdown_timeout(FAREWELL);
}

async fn open(
    listener: &TcpListener,
    advertised: SocketAddr,
    data_dir: Option<&Path>,
) -> Result<(tokio::net::TcpListener, LogStorage), String> {
    let url = Url::parse(&format!("tcp://{advertised}")).map_err(|error| error.to_string())?;
    let opened = LogStorage::open(CLUSTER_ID, NODE_ID, url, data_dir).await;
    let storage = opened.map_err(|error| match data_dir {
        Some(dir) => format!("cannot open {}: {error}", dir.display()),
        None => error.to_string(),
    })?;
    let registration = BrokerRegistrationRequest {
        broker_id: NODE_ID,
        cluster_id: CLUSTER_ID.to_owned(),
        incarnation_id: Uuid::new_v4(),
        rack: None,
    };
    storage.register_broker(registration).await.map_err(|error| error.to_string())?;
    let listener = listener.try_clone().and_then(|listener| {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    });
    Ok((listener.map_err(|error| error.to_string())?, storage))
}

async fn serve(listener: &tokio::net::TcpListener, storage: &LogStorage, mut stopped: oneshot::Receiver<()>) {
    let groups = match Controller::with_storage(storage.clone()) {
        Ok(groups) => groups,
        Err(error) => {
            tracing::error!(%error, "the broker has no groups");
            return;
        }
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, groups.clone(), storage.clone()));
                }
                Err(error) => {
                    // Out of file handles, mostly: others will end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    tracing::error!("a connection ended with a panic: its client connects again");
                }
            }
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, groups: Controller<LogStorage>, storage: LogStorage) {
    // Small answers must not wait for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    match services(groups, storage) {
        // Clients end a connection by closing it, which is an error here.
        Ok(service) => match service.serve(Context::default(), stream).await {
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "connection ended"),
        },
        Err(error) => tracing::error!(%error, "a connection could not be served"),
    }
}

type Services = TcpContextService<TcpBytesService<BytesFrameService<FrameRouteService<(), Error>>, ()>>;

/// What is served. Everything else is not even announced to clients: transactions, DeleteRecords, ACLs, passwords, telemetry. Each of
/// these services is generic and costs seconds to compile, too.
fn services(groups: Controller<LogStorage>, storage: LogStorage) -> Result<Services, Error> {
    let routes = [
        routes::create_topics,
        routes::delete_groups,
        routes::delete_topics,
        routes::describe_cluster,
        routes::describe_configs,
        routes::describe_groups,
        fetch::route,
        routes::find_coordinator,
        routes::incremental_alter_configs,
        routes::init_producer_id,
        routes::list_groups,
        routes::list_offsets,
        routes::metadata,
        routes::produce,
    ]
    .into_iter()
    .try_fold(FrameRouteService::<(), Error>::builder(), |builder, route| route(builder, storage.clone()))?;
    let route = coordinator::services(routes, groups)?.build()?;
    let layers = (
        TcpContextLayer::new(TcpContext::default().cluster_id(Some(CLUSTER_ID.into()))),
        TcpBytesLayer::default(),
        BytesFrameLayer::default(),
    );
    Ok(layers.into_layer(route))
}
