//! Removes what a graph leaves in JetStream when it is deleted.

use futures::TryStreamExt;

use super::names::{consumer_prefix, stream_of};
use super::stream::is_missing;
use super::{Connection, EventsError, EventsSettings};

/// Deletes every durable of the graph's replicas, and the stream too if it is the graph's own. Returns how many durables
/// there were. What is not there is no error, so it may be repeated.
///
/// # Errors
/// When NATS cannot be reached within a few seconds, or refuses.
pub async fn remove_consumers(
    graph: &crds::GraphName,
    nats: &crds::NatsConfig,
) -> Result<usize, EventsError> {
    let settings = EventsSettings::new(graph, nats);
    let connection = Connection::once(&settings).await?;
    let name = stream_of(graph, &nats.subject);
    let stream = match connection.jetstream.get_stream(&name.name).await {
        Ok(stream) => stream,
        Err(error) if is_missing(&error.kind()) => return Ok(0),
        Err(error) => return Err(EventsError::jetstream("look for the stream", &name.name, error)),
    };
    let prefix = consumer_prefix(graph);
    let names: Vec<String> = stream
        .consumer_names()
        .try_collect()
        .await
        .map_err(|error| EventsError::jetstream("list the consumers of stream", &name.name, error))?;
    let mut removed = 0;
    for durable in names.iter().filter(|name| name.starts_with(&prefix)) {
        // Its replica may have deleted it meanwhile.
        match stream.delete_consumer(durable).await {
            Ok(_) => removed += 1,
            Err(error) => tracing::warn!(%error, durable, "failed to delete a consumer"),
        }
    }
    if !name.shared {
        let deleted = connection.jetstream.delete_stream(&name.name).await;
        deleted.map_err(|error| EventsError::jetstream("delete the stream", &name.name, error))?;
    }
    Ok(removed)
}
