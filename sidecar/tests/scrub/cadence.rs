//! When scrubs run.

use std::sync::Arc;

use slipstream::scrub::ScrubKeeper;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::graph::{SCHEMA, filled};
use crate::support::cluster::TestGraph;
use crate::support::waiting::{crash_points, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_scrub_runs_on_its_cadence_and_whenever_asked() {
    let _scenario = crash_points();
    let graph = TestGraph::new(SCHEMA);
    let writer = filled(&graph).await;
    let (settings, watched) = watch::channel(crds::Scrub {
        enabled: false,
        ..crds::Scrub::default()
    });
    let wake = Arc::new(Notify::new());
    let (keeper, requests) = ScrubKeeper::new(writer.advancer.clone(), watched, wake, "writer");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(keeper.run(shutdown.clone()));
    let report = || writer.advancer.progress.reports().view().scrub;
    let (first, second) = tokio::join!(requests.scrub(), requests.scrub());
    for scrubbed in [first, second] {
        assert!(scrubbed.expect("a verdict").scrub.ok);
    }
    assert_eq!(report().next_due, None, "switched off");
    let before = report().last.expect("a scrub").timestamp;
    settings.send_replace(crds::Scrub {
        enabled: true,
        interval: crds::Duration::from_millis(1),
    });
    until("a scrub by itself", || {
        report().last.is_some_and(|last| last.timestamp > before)
    })
    .await;
    settings.send_replace(crds::Scrub::default());
    until("the next one to be due in a day", || {
        let now = writer.advancer.progress.clock().now();
        report()
            .next_due
            .is_some_and(|due| due > now + chrono::TimeDelta::hours(23))
    })
    .await;
    shutdown.cancel();
    within("the keeper to end", running).await.expect("no panic");
    assert!(matches!(
        requests.scrub().await.map_err(|error| error.to_string()),
        Err(text) if text.contains("no graph")
    ));
}
