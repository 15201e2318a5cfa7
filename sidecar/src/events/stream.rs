//! The stream and its consumers, created idempotently: whoever comes first makes them, everybody checks them.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, Stream};

use super::names::{StreamName, consumer_of, stream_of};
use super::{Connection, EventsError, EventsSettings};

/// Events are kept for so long: a replica that was away longer reads the log anyway, as every replica does.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Room for all events of a stream.
const MAX_BYTES: i64 = 64 << 20;
/// Events of one graph, so that a busy one leaves room for others.
const MAX_PER_GRAPH: i64 = 10_000;
/// An event that comes twice within this time is stored once.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// A durable that nobody reads for so long is removed: its replica was killed and will not come back under this name.
const INACTIVE: Duration = Duration::from_secs(3600);
/// Events that may wait for one replica's acknowledgement.
const MAX_ACK_PENDING: i64 = 4096;

/// What is to be done about a stream that exists.
#[derive(Debug, PartialEq)]
enum Step {
    Keep,
    Update(Box<Config>),
}

/// The stream of the graph's events, made or brought up to date.
pub(super) async fn ensure_stream(
    connection: &Connection,
    settings: &EventsSettings,
) -> Result<Stream, EventsError> {
    let wanted = wanted(&stream_of(&settings.graph, &settings.nats.subject));
    let name = wanted.name.clone();
    let found = connection.jetstream.get_stream(&name).await;
    let stream = match found {
        Ok(stream) => stream,
        Err(error) if is_missing(&error.kind()) => {
            // Two that come at the same time make the same one.
            let made = connection.jetstream.create_stream(wanted).await;
            return made.map_err(|error| EventsError::jetstream("create the stream", &name, error));
        }
        Err(error) => return Err(EventsError::jetstream("look for the stream", &name, error)),
    };
    if let Step::Update(config) = step(&stream.cached_info().config, &wanted)? {
        tracing::info!(stream = name, "the stream's limits are brought up to date");
        let updated = connection.jetstream.update_stream(*config).await;
        updated.map_err(|error| EventsError::jetstream("update the stream", &name, error))?;
    }
    Ok(stream)
}

pub(super) fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.code() == 404)
}

/// The durable of one replica, made or brought up to date. A new one begins with events to come: what was before is in the
/// log, which its replica reads first.
pub(super) async fn ensure_consumer(
    stream: &Stream,
    settings: &EventsSettings,
    replica: &str,
) -> Result<PullConsumer, EventsError> {
    let name = consumer_of(&settings.graph, replica);
    let config = pull::Config {
        durable_name: Some(name.clone()),
        description: Some("a Slipstream replica".to_owned()),
        deliver_policy: DeliverPolicy::New,
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.ack_wait,
        filter_subject: settings.nats.subject.clone(),
        max_ack_pending: MAX_ACK_PENDING,
        inactive_threshold: INACTIVE,
        ..pull::Config::default()
    };
    if let Ok(consumer) = stream.create_consumer(config.clone()).await {
        return Ok(consumer);
    }
    // One with this name that cannot be changed into this: nothing is lost with it.
    let _ = stream.delete_consumer(&name).await;
    let made = stream.create_consumer(config).await;
    made.map_err(|error| EventsError::jetstream("create the consumer", &name, error))
}

fn wanted(stream: &StreamName) -> Config {
    Config {
        name: stream.name.clone(),
        description: Some("Slipstream's version-map events".to_owned()),
        subjects: vec![stream.subjects.clone()],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_age: MAX_AGE,
        max_bytes: MAX_BYTES,
        max_messages_per_subject: MAX_PER_GRAPH,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: 1,
        ..Config::default()
    }
}

/// Brings what may be changed to what is wanted and leaves the rest (number of copies, placement) as it was made.
fn step(found: &Config, wanted: &Config) -> Result<Step, EventsError> {
    if found.retention != wanted.retention {
        return Err(EventsError::Incompatible {
            stream: found.name.clone(),
            found: format!("retention policy {:?}", found.retention),
            expected: "Limits",
        });
    }
    let mut config = found.clone();
    for subject in &wanted.subjects {
        if !config.subjects.contains(subject) {
            config.subjects.push(subject.clone());
        }
    }
    config.discard = wanted.discard;
    config.max_age = wanted.max_age;
    config.max_bytes = wanted.max_bytes;
    config.max_messages_per_subject = wanted.max_messages_per_subject;
    config.duplicate_window = wanted.duplicate_window;
    Ok(if config == *found {
        Step::Keep
    } else {
        Step::Update(Box::new(config))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        wanted(&StreamName {
            name: "SLIPSTREAM".to_owned(),
            subjects: "slipstream.versionmap.>".to_owned(),
            shared: true,
        })
    }

    #[test]
    fn a_stream_as_wanted_is_left_alone() {
        assert_eq!(step(&config(), &config()).unwrap(), Step::Keep);
        let copies = Config {
            num_replicas: 3,
            ..config()
        };
        assert_eq!(
            step(&copies, &config()).unwrap(),
            Step::Keep,
            "an administrator's choice"
        );
    }

    #[test]
    fn other_limits_and_subjects_are_brought_up_to_date() {
        let found = Config {
            subjects: vec!["other".to_owned()],
            max_age: Duration::from_secs(1),
            max_bytes: -1,
            num_replicas: 3,
            ..config()
        };
        let subjects = vec!["other".to_owned(), "slipstream.versionmap.>".to_owned()];
        let expected = Config {
            subjects,
            num_replicas: 3,
            ..config()
        };
        assert_eq!(step(&found, &config()).unwrap(), Step::Update(Box::new(expected)));
    }

    #[test]
    fn a_stream_that_hands_each_event_out_once_is_refused() {
        let found = Config {
            retention: RetentionPolicy::WorkQueue,
            ..config()
        };
        let error = step(&found, &config()).unwrap_err().to_string();
        assert_eq!(
            error,
            "stream SLIPSTREAM has retention policy WorkQueue, expected Limits; another program made it"
        );
    }
}
