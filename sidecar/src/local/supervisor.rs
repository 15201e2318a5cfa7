//! The loop of `slipstream local`: time, exits, edits, status and signals in; starts, signals and lines out.
//!
//! Owns: carrying out what `edit` and `plan` decide. Does not own: deciding.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::data_dir::DataDir;
use super::edit::{Edit, check_ports, judge};
use super::nodes::{Nodes, ask_status};
use super::plan::{Action, ChildId, Plan, Wanted};
use super::process::{Exit, Process, Program, start};
use super::resource::{LocalGraph, ResourceFile};
use super::screen::Screen;
use super::{LocalArgs, LocalError};
use crate::cli::{Member, StatusAnswer};

/// How often deadlines (grace, backoff) are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often the resource file is read.
const READ_FILE: Duration = Duration::from_millis(300);

/// A graph's processes on this machine.
pub(super) struct Supervisor {
    args: LocalArgs,
    program: Program,
    data_dir: DataDir,
    file: ResourceFile,
    graph: LocalGraph,
    plan: Plan,
    processes: BTreeMap<ChildId, Process>,
    exits: (mpsc::UnboundedSender<Exit>, mpsc::UnboundedReceiver<Exit>),
    screen: Screen<Box<dyn Write + Send>>,
}

impl Supervisor {
    /// Reads the resource, locks the data directory and writes the config; starts nothing yet.
    ///
    /// # Errors
    /// What keeps the graph from running at all.
    pub(super) fn new(args: LocalArgs, program: Program) -> Result<Self, LocalError> {
        let is_table = !args.no_table && std::io::stdout().is_terminal();
        Self::with_output(args, program, Screen::new(Box::new(std::io::stdout()), is_table))
    }

    /// The ports that the first processes will listen on.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        let wanted = wanted(&self.graph, 0);
        let first = self.args.port;
        let last = first.saturating_add(wanted.replicas);
        (first..=last).filter(move |_| wanted.running)
    }

    pub(super) fn with_output(
        args: LocalArgs,
        program: Program,
        screen: Screen<Box<dyn Write + Send>>,
    ) -> Result<Self, LocalError> {
        let wrong = |detail: String| LocalError::Resource {
            path: args.file.clone(),
            detail,
        };
        let file = ResourceFile::open(args.file.clone()).map_err(|source| LocalError::File {
            action: "read",
            path: args.file.clone(),
            source,
        })?;
        // Before a directory is made for a file that is not usable.
        LocalGraph::read(file.text(), None).map_err(|error| wrong(error.to_string()))?;
        let data_dir = DataDir::open(&args.data_dir)?;
        let store_uri = (!args.remote).then(|| data_dir.store_uri());
        let graph =
            LocalGraph::read(file.text(), store_uri.as_deref()).map_err(|error| wrong(error.to_string()))?;
        if let Some(problem) = check_ports(&graph, args.port) {
            return Err(wrong(problem));
        }
        data_dir.check_graph(&graph.config)?;
        data_dir.write_config(&graph.config)?;
        let plan = Plan::new(wanted(&graph, 0));
        Ok(Self {
            args,
            program,
            data_dir,
            file,
            graph,
            plan,
            processes: BTreeMap::new(),
            exits: mpsc::unbounded_channel(),
            screen,
        })
    }

    /// Runs until `stop`; then ends the children in order, or at once on `hurry`.
    ///
    /// # Errors
    /// When the status of the children cannot be asked for at all.
    pub(super) async fn run(
        mut self,
        stop: CancellationToken,
        hurry: CancellationToken,
    ) -> Result<(), LocalError> {
        self.say_hello();
        let (nodes, mut members) = ask_status()?;
        let [mut tick, mut read_file] = [TICK, READ_FILE].map(|period| {
            let mut interval = interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let (mut is_stopping, mut is_hurried) = (false, false);
        loop {
            let actions = self.plan.decide(Instant::now());
            self.carry_out(&actions);
            if is_stopping && self.plan.is_empty() {
                self.screen.finish("stopped");
                return Ok(());
            }
            nodes.send_if_modified(|nodes| std::mem::replace(nodes, self.nodes()) != *nodes);
            tokio::select! {
                Some(exit) = self.exits.1.recv() => self.exited(exit),
                _ = tick.tick() => {}
                _ = read_file.tick(), if !is_stopping => self.follow_edits(),
                Some(members) = members.recv() => self.show(members),
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    self.plan.wanted.running = false;
                    self.screen.say("stopping: replicas first, then the writer (once more: kill them)");
                }
                () = hurry.cancelled(), if !is_hurried => {
                    is_hurried = true;
                    let actions = self.plan.hurry(Instant::now());
                    self.carry_out(&actions);
                }
            }
        }
    }

    fn say_hello(&mut self) {
        let spec = &self.graph.resource.spec;
        let replicas: Vec<_> = (1..=self.plan.wanted.replicas)
            .map(|number| self.address(ChildId::Replica(number)))
            .collect();
        let replicas = if replicas.is_empty() {
            String::new()
        } else {
            format!(", replicas {}", replicas.join(" "))
        };
        let mut lines = vec![format!("writer {}{replicas}", self.address(ChildId::Writer))];
        lines.push(format!(
            "storage {}, logs in {}",
            self.graph.config.storage.uri,
            self.data_dir.logs().display()
        ));
        lines.extend(self.graph.differences());
        if spec.suspend {
            lines.push("suspended: nothing is started until `suspend` is false".to_owned());
        }
        lines.iter().for_each(|line| self.screen.say(line));
    }

    fn carry_out(&mut self, actions: &[Action]) {
        for action in actions {
            match *action {
                Action::Start(id) => self.start(id),
                Action::Terminate(id) => self.signal(id, Signal::SIGTERM),
                Action::Kill(id) => {
                    self.screen.say(&format!("{id} does not stop; killing it"));
                    self.signal(id, Signal::SIGKILL);
                }
            }
        }
    }

    fn start(&mut self, id: ChildId) {
        let log = self.data_dir.log_path(&id.to_string());
        match start(id, &self.program, &self.arguments(id), &log, self.exits.0.clone()) {
            Ok(process) => {
                self.processes.insert(id, process);
            }
            Err(error) => {
                let how = format!("could not be started: {error}");
                // Only after this round of actions is over.
                let _ = self.exits.0.send(Exit { id, how });
            }
        }
    }

    fn signal(&self, id: ChildId, signal: Signal) {
        if let Some(process) = self.processes.get(&id) {
            process.signal(signal);
        }
    }

    fn exited(&mut self, Exit { id, how }: Exit) {
        self.processes.remove(&id);
        match self.plan.exited(id, Instant::now()) {
            Some(backoff) => {
                let last_line = self.data_dir.last_log_line(&id.to_string());
                let last_line = last_line
                    .map(|line| format!("; its log ends with: {line}"))
                    .unwrap_or_default();
                let wait = backoff.as_millis();
                self.screen.say(&format!(
                    "{id} ended ({how}), starts again in {wait} ms{last_line}"
                ));
            }
            None => self.screen.say(&format!("{id} stopped ({how})")),
        }
    }

    fn follow_edits(&mut self) {
        let path = self.args.file.display();
        let store_uri = (!self.args.remote).then(|| self.data_dir.store_uri());
        let edit = match self.file.poll() {
            None => return,
            Some(Ok(text)) => judge(&self.graph, text, store_uri.as_deref(), self.args.port),
            Some(Err(error)) => Edit::Refused(vec![error.to_string()]),
        };
        let lines = match edit {
            Edit::Refused(problems) => {
                let heading = format!("{path}: this edit is refused, the graph runs on as before");
                std::iter::once(heading)
                    .chain(problems.iter().map(|problem| format!("  {problem}")))
                    .collect()
            }
            Edit::Accepted {
                graph,
                restart_writer,
                changes,
            } => match self.data_dir.write_config(&graph.config) {
                Err(error) => vec![error.to_string()],
                Ok(()) => {
                    let revision = self.plan.wanted.writer_revision + u64::from(restart_writer);
                    self.plan.wanted = wanted(&graph, revision);
                    self.graph = *graph;
                    if changes.is_empty() {
                        Vec::new()
                    } else {
                        vec![format!("{path}: {}", changes.join(", "))]
                    }
                }
            },
        };
        lines.iter().for_each(|line| self.screen.say(line));
    }

    fn show(&mut self, mut members: Vec<Member>) {
        let words: BTreeMap<String, &str> = self
            .plan
            .children()
            .map(|(id, word)| (id.to_string(), word))
            .collect();
        // Asked before the last decisions: some may be gone by now.
        members.retain(|member| words.contains_key(&member.name));
        for member in members.iter_mut().filter(|member| member.answer.is_err()) {
            let state = words
                .get(&member.name)
                .map_or_else(String::new, |word| (*word).to_owned());
            member.answer = Ok(StatusAnswer {
                state,
                ..StatusAnswer::default()
            });
        }
        self.screen.show(&members);
    }

    fn nodes(&self) -> Nodes {
        self.plan
            .children()
            .map(|(id, _)| (id.to_string(), self.address(id)))
            .collect()
    }

    fn listen(&self, id: ChildId) -> String {
        let offset = match id {
            ChildId::Writer => 0,
            ChildId::Replica(number) => number,
        };
        format!("127.0.0.1:{}", self.args.port.saturating_add(offset))
    }

    fn address(&self, id: ChildId) -> String {
        format!("http://{}", self.listen(id))
    }

    fn arguments(&self, id: ChildId) -> Vec<OsString> {
        let name = id.to_string();
        let (role, name_option, holder) = match id {
            ChildId::Writer => ("writer", "--holder", "local-writer"),
            ChildId::Replica(_) => ("replica", "--id", name.as_str()),
        };
        let (config, data_dir) = (self.data_dir.config_path(), self.data_dir.child_dir(&name));
        vec![
            role.into(),
            "--config".into(),
            config.into(),
            "--data-dir".into(),
            data_dir.into(),
            "--listen".into(),
            self.listen(id).into(),
            name_option.into(),
            holder.into(),
            "--exit-with-parent".into(),
        ]
    }
}

/// What the resource asks for.
fn wanted(graph: &LocalGraph, writer_revision: u64) -> Wanted {
    let spec = &graph.resource.spec;
    // `check_ports` has seen that they fit.
    let replicas = u16::try_from(spec.replicas).unwrap_or(u16::MAX);
    Wanted {
        running: !spec.suspend,
        replicas,
        writer_revision,
    }
}
