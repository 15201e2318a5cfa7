//! The supervisor with real processes: a shell script stands in for writer and replicas.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::process::Program;
use super::screen::Screen;
use super::supervisor::Supervisor;
use super::{LocalArgs, LocalError};

/// `<role> --config <data dir>/config.yaml --data-dir <data dir>/<name> …`: notes its start and its end, ends on SIGTERM and
/// when its standard input does.
const CHILD: &str = r#"
name=$(basename "$5")
notes=$(dirname "$3")/notes
exec 3<&0
cat <&3 >/dev/null & reader=$!
trap 'kill $reader; echo "end $name $$" >> "$notes"; exit 0' TERM
echo "start $name $$ $*" >> "$notes"
echo "i am $name"
wait $reader
echo "orphan $name $$" >> "$notes"
"#;

const RESOURCE: &str = "
apiVersion: slipstream.dev/v1alpha1
kind: ReplicatedGraphDB
metadata: {name: debian}
spec:
  replicas: 2
  storage: {uri: s3://graphs/debian}
  schema:
    nodes:
      - {name: Package, primaryKey: name, properties: [{name: name, type: string}]}
";

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A supervisor on a task, and what can be seen of it from outside.
struct Local {
    dir: tempfile::TempDir,
    output: Output,
    stop: CancellationToken,
    hurry: CancellationToken,
    run: JoinHandle<Result<(), LocalError>>,
}

impl Local {
    fn start(child: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("child.sh"), child).unwrap();
        std::fs::write(dir.path().join("graph.yaml"), RESOURCE).unwrap();
        let program = Program {
            executable: PathBuf::from("/bin/sh"),
            first_arguments: vec![dir.path().join("child.sh").into()],
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            .min(65_000);
        let args = LocalArgs {
            file: dir.path().join("graph.yaml"),
            port,
            data_dir: dir.path().join("data"),
            no_table: true,
            remote: false,
        };
        let output = Output::default();
        let screen = Screen::new(Box::new(output.clone()) as Box<dyn Write + Send>, false);
        let (stop, hurry) = (CancellationToken::new(), CancellationToken::new());
        let supervisor = Supervisor::with_output(args, program, screen).unwrap();
        let run = tokio::spawn(supervisor.run(stop.clone(), hurry.clone()));
        Self {
            dir,
            output,
            stop,
            hurry,
            run,
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Ids of the processes that noted this, in order.
    fn noted(&self, what: &str) -> Vec<i32> {
        let notes = std::fs::read_to_string(self.data().join("notes")).unwrap_or_default();
        let ids = notes.lines().filter_map(|line| {
            line.strip_prefix(what)?
                .strip_prefix(' ')?
                .split(' ')
                .next()?
                .parse()
                .ok()
        });
        ids.collect()
    }

    fn edit(&self, from: &str, to: &str) {
        let path = self.dir.path().join("graph.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }

    fn said(&self) -> String {
        String::from_utf8(self.output.0.lock().unwrap().clone()).unwrap()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "not in 60 s: {what}; it said:\n{}",
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_started(&self) {
        self.until("all have started", |local| {
            ["writer", "replica-1", "replica-2"]
                .iter()
                .all(|name| local.noted(&format!("start {name}")).len() == 1)
        })
        .await;
    }
}

fn is_alive(id: i32) -> bool {
    kill(Pid::from_raw(id), None).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_restarted_scaled_by_edits_and_stopped_in_order() {
    let local = Local::start(CHILD);
    local.until_started().await;
    let config = |local: &Local| std::fs::read_to_string(local.data().join("config.yaml")).unwrap();
    let store = local.data().canonicalize().unwrap().join("store");
    assert!(config(&local).contains(&format!("uri: file://{}", store.display())));

    kill(Pid::from_raw(local.noted("start replica-1")[0]), Signal::SIGKILL).unwrap();
    local
        .until("the killed replica is back", |local| {
            local.noted("start replica-1").len() == 2
        })
        .await;
    assert!(local.said().contains(
        "replica-1 ended (signal: 9 (SIGKILL)), starts again in 200 ms; its log ends with: i am replica-1"
    ));

    local.edit("replicas: 2", "replicas: 3");
    local
        .until("a third replica", |local| {
            local.noted("start replica-3").len() == 1
        })
        .await;
    local.edit("replicas: 3", "replicas: 1");
    local
        .until("two replicas less", |local| {
            local.noted("end replica-2").len() + local.noted("end replica-3").len() == 2
        })
        .await;

    local.edit("name: Package", "name: Pkg");
    local
        .until("a refusal", |local| {
            local.said().contains("refused") && local.said().contains("`Package` is missing")
        })
        .await;
    assert!(config(&local).contains("name: Package"));
    local.edit("name: Pkg", "name: Package");
    local.edit("type: string}", "type: string}, {name: size, type: int64}");
    local
        .until("a writer with the new schema", |local| {
            local.noted("start writer").len() == 2
        })
        .await;
    assert!(config(&local).contains("name: size"));

    local.stop.cancel();
    let ids = [local.noted("start writer"), local.noted("start replica-1")].concat();
    let notes = local.data().join("notes");
    tokio::time::timeout(Duration::from_secs(60), local.run)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let notes = std::fs::read_to_string(notes).unwrap();
    let ended: Vec<&str> = notes
        .lines()
        .rev()
        .take(2)
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    assert_eq!(ended, ["end writer", "end replica-1"], "{notes}");
    assert!(
        ids.into_iter().all(|id| !is_alive(id)) && !notes.contains("orphan"),
        "{notes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn suspend_stops_everything_and_its_end_starts_it_again() {
    let local = Local::start(CHILD);
    local.until_started().await;
    local.edit("replicas: 2", "replicas: 2\n  suspend: true");
    local
        .until("all have ended", |local| local.noted("end writer").len() == 1)
        .await;
    assert_eq!(
        (
            local.noted("end replica-1").len(),
            local.noted("end replica-2").len()
        ),
        (1, 1)
    );
    local.edit("suspend: true", "suspend: false");
    local
        .until("all are back", |local| local.noted("start replica-2").len() == 2)
        .await;
    local.stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), local.run)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_hurry_processes_that_ignore_the_signal_are_killed() {
    let local = Local::start(&CHILD.replace("trap '", "trap '' TERM; : '"));
    local.until_started().await;
    let ids = [local.noted("start writer"), local.noted("start replica-1")].concat();
    local.stop.cancel();
    local
        .until("it is stopping", |local| local.said().contains("stopping"))
        .await;
    assert!(ids.iter().copied().all(is_alive));
    local.hurry.cancel();
    tokio::time::timeout(Duration::from_secs(60), local.run)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(ids.into_iter().all(|id| !is_alive(id)));
}
