//! Asking the children for their status, beside the supervisor's loop, so that a slow answer holds up nothing.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::LocalError;
use crate::cli::{Member, gather};

/// How often the nodes are asked, and how long one may take to answer.
const ASK_STATUS: Duration = Duration::from_secs(1);

/// Name and address of each node.
pub(super) type Nodes = Vec<(String, String)>;

/// Asks, in the background, the nodes last sent for their status, again and again until the receiver is dropped.
pub(super) fn ask_status() -> Result<(watch::Sender<Nodes>, mpsc::Receiver<Vec<Member>>), LocalError> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .map_err(|error| LocalError::System {
            action: "prepare to ask the nodes for their status",
            source: std::io::Error::other(error),
        })?;
    let (nodes, asked) = watch::channel(Nodes::new());
    let (answers, members) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut interval = interval(ASK_STATUS);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let nodes = asked.borrow().clone();
            if answers
                .send(gather(&client, nodes, ASK_STATUS).await)
                .await
                .is_err()
            {
                return;
            }
        }
    });
    Ok((nodes, members))
}
