//! The cluster's long-running programs: started in its network and control group, their logs, whether they still run.
//!
//! Owns: `processes/<name>` (process id and start time, so that a reused id is told apart) and `logs/<name>.log`.
//! Does not own: stopping them. `cleanup` ends all that is in the control group, recorded or not.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::command::command;
use super::control_groups;
use super::error::{ClusterError, failed};
use super::place::Place;
use super::{READY_WITHIN, network};
use crate::wait::{Look, until_every};

/// From one look at a component to the next.
const INTERVAL: Duration = Duration::from_millis(200);
/// Lines of a log that an error shows.
const TAIL_LINES: usize = 25;

/// Joins the control group, then becomes the program: nothing that it starts can be missed later.
const JOIN: &str = r#"echo $$ >"$0" && exec "$@""#;

/// All of one cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Components<'a> {
    place: &'a Place,
}

/// One that was started.
#[derive(Debug)]
pub(super) struct Component<'a> {
    components: Components<'a>,
    name: String,
}

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    id: u32,
    /// In clock ticks since boot.
    started: u64,
}

impl<'a> Components<'a> {
    pub(super) fn new(place: &'a Place) -> Self {
        Self { place }
    }

    /// Starts a program in the background, inside the cluster's network.
    pub(super) fn start(
        &self,
        name: &str,
        program: &Path,
        args: &[String],
    ) -> Result<Component<'a>, ClusterError> {
        let log = self.log(name);
        let output = std::fs::File::create(&log).map_err(failed(format!("make {}", log.display())))?;
        let errors = output
            .try_clone()
            .map_err(failed(format!("share {}", log.display())))?;
        let mut command = command("sh");
        command
            .args(["-c", JOIN])
            .arg(control_groups::of_components(self.place).join("cgroup.procs"));
        command.args(network::nsenter(self.place)).arg(program).args(args);
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(false);
        let child = command.spawn().map_err(failed(format!("start {name}")))?;
        let process = child.id().and_then(Process::of).ok_or_else(|| self.ended(name))?;
        let record = self.place.processes().join(name);
        std::fs::write(&record, process.record()).map_err(failed(format!("write {}", record.display())))?;
        Ok(Component {
            components: *self,
            name: name.to_owned(),
        })
    }

    /// An error for the first recorded component that runs no more.
    pub(super) fn ensure_all_run(&self) -> Result<(), ClusterError> {
        for (name, process) in self.recorded()? {
            if !process.is_some_and(|process| process.runs()) {
                return Err(self.ended(&name));
            }
        }
        Ok(())
    }

    /// Each recorded component with its process id, if it runs.
    pub(super) fn running(&self) -> Result<Vec<(String, Option<u32>)>, ClusterError> {
        let recorded = self.recorded()?.into_iter();
        Ok(recorded
            .map(|(name, process)| (name, process.filter(Process::runs).map(|process| process.id)))
            .collect())
    }

    fn recorded(&self) -> Result<Vec<(String, Option<Process>)>, ClusterError> {
        let directory = self.place.processes();
        let doing = format!("list {}", directory.display());
        let mut recorded = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(failed(doing.clone()))? {
            let entry = entry.map_err(failed(doing.clone()))?;
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            recorded.push((
                entry.file_name().to_string_lossy().into_owned(),
                Process::parse(&text),
            ));
        }
        recorded.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(recorded)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.place.logs().join(format!("{name}.log"))
    }

    fn ended(&self, name: &str) -> ClusterError {
        let log = self.log(name);
        ClusterError::ComponentEnded {
            name: name.to_owned(),
            tail: tail(&log),
            log,
        }
    }
}

impl Component<'_> {
    /// Waits until `look` finds it ready. Looks are programs, so they are not made too often.
    ///
    /// # Errors
    /// Any component that ended meanwhile, because others wait for it in vain.
    pub(super) async fn ready(&self, mut look: impl AsyncFnMut() -> Look<()>) -> Result<(), ClusterError> {
        let found = until_every(INTERVAL, &self.name, READY_WITHIN, async || {
            match self.components.ensure_all_run() {
                Ok(()) => match look().await {
                    Look::Found(()) => Look::Found(Ok(())),
                    Look::NotYet(seen) => Look::NotYet(seen),
                },
                Err(error) => Look::Found(Err(error)),
            }
        });
        found.await.unwrap_or_else(|source| {
            let log = self.components.log(&self.name);
            Err(ClusterError::ComponentNotReady {
                name: self.name.clone(),
                tail: tail(&log),
                log,
                source: Box::new(source),
            })
        })
    }
}

impl Process {
    fn of(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The second field is the name in parentheses and may hold spaces; proc(5) numbers the fields.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(Self { id, started })
    }

    fn runs(&self) -> bool {
        Self::of(self.id).as_ref() == Some(self)
    }

    fn record(&self) -> String {
        format!("{} {}\n", self.id, self.started)
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, started) = text.trim().split_once(' ')?;
        Some(Self {
            id: id.parse().ok()?,
            started: started.parse().ok()?,
        })
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_else(|error| format!("(failed to read it: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_another_start_time_is_another_process() {
        let this = Process::of(std::process::id()).unwrap();
        assert!(this.runs());
        assert_eq!(Process::parse(&this.record()), Some(this.clone()));
        let earlier = Process {
            started: this.started - 1,
            ..this
        };
        assert!(!earlier.runs());
    }
}
