//! SIGINT and SIGTERM: the first asks the run to drain, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use boxwright_pipeline::StopSignal;

/// What the shell expects of a process that was interrupted: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Listens for signals on a thread of its own. `flag` is set for loops that are no pipeline run.
pub(crate) fn listen(stop: Arc<StopSignal>, flag: Arc<AtomicBool>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot listen for signals")?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                wait().await;
                crate::ui::say("stopping: finishing what is complete (once more to stop at once)");
                stop.drain();
                flag.store(true, Ordering::SeqCst);
                wait().await;
                std::process::exit(INTERRUPTED);
            });
        })
        .context("cannot start the signal thread")?;
    Ok(())
}

#[cfg(unix)]
async fn wait() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn wait() {
    let _ = tokio::signal::ctrl_c().await;
}

/// Blocks until the first signal.
pub(crate) fn wait_for_stop() -> anyhow::Result<()> {
    let flag = Arc::new(AtomicBool::new(false));
    listen(Arc::new(StopSignal::default()), flag.clone())?;
    while !flag.load(Ordering::SeqCst) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(())
}
