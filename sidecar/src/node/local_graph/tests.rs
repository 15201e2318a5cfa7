//! What becomes of a graph that is given up.

use super::*;
use crate::graph::fixture::{LIMITS, graph_at_commit_1};

#[test]
fn a_graph_that_is_given_up_is_closed_and_removed_by_a_thread_for_blocking_work() {
    let root = tempfile::tempdir().unwrap();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (local, found) = LocalGraph::open(root.path(), LIMITS).await.unwrap();
        assert_eq!(found, None);
        let directory = local.fresh_directory().unwrap();
        local.install(Arc::new(graph_at_commit_1(&directory))).unwrap();
        // While the only such thread has other things to do, nobody waits for it.
        let (done, until_done) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || until_done.recv());
        local.discard();
        assert!(directory.exists() && local.is_building());
        assert!(local.current().is_none());
        drop(done);
        // It ends with an error: nothing was sent.
        assert!(busy.await.unwrap().is_err());
        while local.is_building() {
            tokio::task::yield_now().await;
        }
        assert!(!directory.exists());
    });
}
