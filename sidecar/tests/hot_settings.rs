//! Settings that change while a process runs: what is good is taken up, what is bad is said and changes nothing, and what
//! cannot change is said too.

// The futures of the storage engine are deeply nested.
#![recursion_limit = "256"]

#[path = "support/waiting.rs"]
#[expect(dead_code, reason = "this test waits on conditions only")]
mod waiting;

use std::path::{Path, PathBuf};
use std::time::Duration;

use slipstream::clock::Clock;
use slipstream::node::{Progress, Role, SettingsReport};
use slipstream::role::ConfigFile;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use waiting::until;

/// The config of generation `generation` with these further lines.
fn config(generation: i64, lines: &str) -> String {
    format!(
        "graph: {{namespace: default, name: debian}}\nstorage: {{uri: \"file:///data\"}}\ngeneration: {generation}\n{lines}\n"
    )
}

/// A directory like a ConfigMap volume: the file is a link into the directory that the link `..data` names.
struct Volume {
    directory: TempDir,
    swaps: std::cell::Cell<u32>,
}

impl Volume {
    fn new(text: &str) -> Self {
        let volume = Self {
            directory: tempfile::tempdir().expect("a directory"),
            swaps: std::cell::Cell::new(0),
        };
        volume.write(text);
        std::os::unix::fs::symlink("..data/config.yaml", volume.file()).expect("a link");
        volume
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("config.yaml")
    }

    /// As the kubelet does it: a new directory, a new link, a rename over the old one.
    fn write(&self, text: &str) {
        self.swaps.set(self.swaps.get() + 1);
        let root = self.directory.path();
        let name = format!("..{}", self.swaps.get());
        std::fs::create_dir(root.join(&name)).expect("a directory");
        std::fs::write(root.join(&name).join("config.yaml"), text).expect("a file");
        let fresh = root.join("..data_tmp");
        std::os::unix::fs::symlink(&name, &fresh).expect("a link");
        std::fs::rename(&fresh, root.join("..data")).expect("a swap");
    }
}

/// A process that follows a file.
struct Following {
    progress: Progress,
    scrub: watch::Receiver<crds::Scrub>,
    snapshots: watch::Receiver<crds::Snapshots>,
    optimizer: watch::Receiver<crds::Optimizer>,
    poll_interval: watch::Receiver<Duration>,
    shutdown: CancellationToken,
}

impl Following {
    fn start(path: &Path, role: Role, ends_on_schema: bool) -> Self {
        let (mut file, _) = ConfigFile::open(path).expect("a good config");
        let progress = Progress::new(role, Clock::default());
        file.report_to(&progress);
        let following = Self {
            progress,
            scrub: file.scrub(),
            snapshots: file.snapshots(),
            optimizer: file.optimizer(),
            poll_interval: file.poll_interval(),
            shutdown: CancellationToken::new(),
        };
        tokio::spawn(file.follow(following.shutdown.clone(), ends_on_schema));
        following
    }

    fn report(&self) -> SettingsReport {
        self.progress.reports().view().settings
    }

    async fn generation(&self, generation: i64) {
        until(&format!("generation {generation}"), || {
            self.report().generation == generation
        })
        .await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test]
async fn an_edit_takes_effect_through_the_swap_of_a_volume_s_links() {
    let volume = Volume::new(&config(1, ""));
    let following = Following::start(&volume.file(), Role::Replica, false);
    assert_eq!(following.report().generation, 1);
    let edited = "scrub: {enabled: false, interval: 90s}\nsnapshots: {everyCommits: 7, schedule: \"0 * * * *\"}\n\
        optimizer: {timeTravelWindow: 2h}\nevents: {pollInterval: 250ms}";
    volume.write(&config(2, edited));
    following.generation(2).await;
    let scrub = following.scrub.borrow().clone();
    assert_eq!(
        (scrub.enabled, Duration::from(scrub.interval)),
        (false, Duration::from_secs(90))
    );
    let snapshots = following.snapshots.borrow().clone();
    assert_eq!(
        (snapshots.every_commits, snapshots.schedule.as_str()),
        (7, "0 * * * *")
    );
    let window = following.optimizer.borrow().time_travel_window;
    assert_eq!(Duration::from(window), Duration::from_secs(7200));
    assert_eq!(*following.poll_interval.borrow(), Duration::from_millis(250));
    let report = following.report();
    assert_eq!((report.error, report.pending), (None, vec![]));
}

#[tokio::test]
async fn an_invalid_edit_keeps_what_holds_and_says_why_until_it_is_corrected() {
    let volume = Volume::new(&config(1, "scrub: {interval: 5m}"));
    let following = Following::start(&volume.file(), Role::Writer, true);
    let five_minutes = following.scrub.borrow().clone();
    for (bad, named) in [
        ("scrub: {intervall: 1m}", "intervall"),
        ("snapshots: {keepLast: many}", "keepLast"),
        (
            "schema: {nodes: [{name: Item, primaryKey: other, properties: [{name: name, type: string}]}]}",
            "primaryKey",
        ),
        ("snapshots: {schedule: hourly please}", "spec.snapshots.schedule"),
        ("scrub: {interval: 0s}", "spec.scrub.interval"),
        ("scrub: [", "line"),
    ] {
        volume.write(&config(2, bad));
        until(&format!("a complaint about {bad}"), || {
            following
                .report()
                .error
                .is_some_and(|error| error.contains(named))
        })
        .await;
        let report = following.report();
        assert_eq!(report.generation, 1, "the good config still holds");
        assert!(
            report
                .error
                .is_some_and(|error| error.contains(&volume.file().display().to_string())),
            "the file is named"
        );
        assert_eq!(*following.scrub.borrow(), five_minutes);
        assert!(!following.shutdown.is_cancelled(), "{bad} ended the process");
    }
    // Back to the very text that holds.
    volume.write(&config(1, "scrub: {interval: 5m}"));
    until("the complaint to go", || following.report().error.is_none()).await;
    volume.write(&config(2, "nonsense: 1"));
    until("the next complaint", || following.report().error.is_some()).await;
    volume.write(&config(3, "scrub: {interval: 6m}"));
    following.generation(3).await;
    assert_eq!(following.report().error, None);
    assert_eq!(
        Duration::from(following.scrub.borrow().interval),
        Duration::from_secs(360)
    );
}

#[tokio::test]
async fn what_a_running_process_cannot_take_up_is_said_and_is_no_error() {
    let volume = Volume::new(&config(1, ""));
    let following = Following::start(&volume.file(), Role::Replica, false);
    let nats = "events: {nats: {url: \"nats://elsewhere:4222\", subject: s}}";
    let limits = "limits: {writer: {queueTransactions: 5}, replica: {bufferPoolBytes: 100000000}}";
    volume.write(&config(2, &format!("{nats}\n{limits}")));
    following.generation(2).await;
    let report = following.report();
    assert_eq!(report.error, None);
    assert_eq!(
        report.pending,
        [
            "events.nats: takes effect at the next start",
            "limits.replica: takes effect at the next start"
        ],
        "and not the writer's limits, which are none of a replica's"
    );
    // Back as it was when the process started: nothing is pending any more.
    volume.write(&config(3, ""));
    following.generation(3).await;
    assert_eq!(following.report().pending, [""; 0]);
}

#[tokio::test]
async fn another_schema_ends_a_writer_and_no_replica() {
    let volume = Volume::new(&config(1, ""));
    let writer = Following::start(&volume.file(), Role::Writer, true);
    let replica = Following::start(&volume.file(), Role::Replica, false);
    let schema =
        "schema: {nodes: [{name: Item, primaryKey: name, properties: [{name: name, type: string}]}]}";
    volume.write(&config(2, schema));
    until("the writer to end", || writer.shutdown.is_cancelled()).await;
    replica.generation(2).await;
    assert!(!replica.shutdown.is_cancelled());
}
