//! The writer's process.

use super::{Parts, RoleError, RoleOptions, stop};
use crate::node::Role;
use crate::writer::RunningWriter;

/// Takes over as the writer and serves until a signal comes or a newer writer fences this one.
///
/// # Errors
/// [`RoleError::Commit`] when fenced: the process must exit non-zero.
pub async fn run_writer(options: &RoleOptions) -> Result<(), RoleError> {
    let parts = Parts::start(Role::Writer, options).await?;
    tokio::spawn(parts.file.follow(parts.shutdown.clone()));
    let running = tokio::select! {
        taken = RunningWriter::take_over(
            parts.store, parts.advancer, parts.settings, &parts.config.schema, parts.found,
        ) => taken,
        () = parts.shutdown.cancelled() => return stop(parts.shutdown, parts.serving).await,
    };
    let ended = match running {
        Ok(running) => {
            // Nobody else sets it.
            let _ = parts.writer.set(running.writer.clone());
            running.run(parts.shutdown.clone()).await.map_err(RoleError::from)
        }
        Err(error) => Err(error.into()),
    };
    let stopped = stop(parts.shutdown, parts.serving).await;
    ended.and(stopped)
}
