//! Waiting on conditions, never for a time.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// After this long a condition counts as never fulfilled.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a condition that cannot be subscribed to.
const GLANCE: Duration = Duration::from_millis(1);

/// The outcome of `future`, which must come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Returns once `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain for {what}"
        );
        tokio::time::sleep(GLANCE).await;
    }
}

/// Holds the first one to arrive at a crash point until [`Stall::resume`]; everyone after it passes.
pub(crate) struct Stall {
    point: &'static str,
    arrived: Arc<AtomicBool>,
    resume: mpsc::Sender<()>,
}

impl Stall {
    /// Needs a `FailScenario` and a multi-threaded runtime.
    pub(crate) fn at(point: &'static str) -> Self {
        let arrived = Arc::new(AtomicBool::new(false));
        let (resume, resumed) = mpsc::channel::<()>();
        let resumed = Mutex::new(resumed);
        let first = arrived.clone();
        fail::cfg_callback(point, move || {
            if !first.swap(true, Ordering::SeqCst) {
                let resumed = resumed.lock().expect("nobody panics while stalled");
                // Also a dropped sender resumes.
                let _ = tokio::task::block_in_place(|| resumed.recv());
            }
        })
        .expect("crash points are compiled in");
        Self {
            point,
            arrived,
            resume,
        }
    }

    /// Returns once somebody is held.
    pub(crate) async fn reached(&self) {
        until(&format!("somebody at {}", self.point), || {
            self.arrived.load(Ordering::SeqCst)
        })
        .await;
    }

    /// Lets the held one go on.
    pub(crate) fn resume(self) {
        self.resume.send(()).expect("somebody is held");
        fail::remove(self.point);
    }
}

/// One test at a time and no crash point set; says what is missing where they are not compiled in.
pub(crate) fn crash_points() -> fail::FailScenario<'static> {
    assert!(
        fail::has_failpoints(),
        "build with --features slipstream-sidecar/failpoints"
    );
    fail::FailScenario::setup()
}
