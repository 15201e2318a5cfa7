//! One scenario being played: its namespaces, what it says, what it measures.

use std::fmt::Display;
use std::time::{Duration, Instant};

use super::{ScenarioError, Stage};
use crate::cluster::Backends;
use crate::objects::bucket::Bucket;
use crate::objects::ready::START;
use crate::objects::{SmallGraph, Space, small_graph};
use crate::report::seconds;

/// The graph of a scenario, where it needs no other name.
pub const GRAPH: &str = "graph";

/// What a scenario acts in.
pub struct Scene<'a> {
    pub stage: &'a Stage,
    /// The scenario's name.
    name: &'static str,
    /// The scenario's own namespace.
    pub space: Space,
    /// Further namespaces.
    more: Vec<Space>,
    started: Instant,
    figures: Vec<(String, String)>,
}

impl<'a> Scene<'a> {
    /// Makes the scenario's namespace.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn open(stage: &'a Stage, name: &'static str) -> Result<Self, ScenarioError> {
        Ok(Self {
            stage,
            name,
            space: stage.space(&name.replace('_', "-")).await?,
            more: Vec::new(),
            started: Instant::now(),
            figures: Vec::new(),
        })
    }

    /// One more namespace.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn another_space(&mut self, name: &str) -> Result<Space, ScenarioError> {
        let space = self.stage.space(name).await?;
        self.more.push(space.clone());
        Ok(space)
    }

    /// An S3 server and a NATS server that the scenario may take away, and the namespace where they run.
    ///
    /// # Errors
    /// When one does not get ready.
    pub async fn own_backends(&mut self) -> Result<(Backends, Space), ScenarioError> {
        let stage = self.stage;
        let namespace = format!("backends-of-{}", self.space.namespace);
        let space = Space::existing(&stage.cluster, &stage.client, &namespace);
        // Noted first: what is half made must be removed as well.
        self.more.push(space.clone());
        let backends = stage.cluster.install_backends_in(&namespace).await?;
        Ok((backends, space))
    }

    /// Prints a line, with the scenario's name: another one may be playing beside it.
    pub fn say(&self, line: impl Display) {
        println!("  {} {line}", self.name);
    }

    /// Says what has just been verified.
    pub fn passed(&self, line: impl AsRef<str>) {
        let elapsed = seconds(self.started.elapsed());
        self.say(format!("· {} [{elapsed}]", line.as_ref()));
    }

    /// Notes what was measured, with its unit.
    pub fn figure(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        self.say(format!("= {name}: {value}"));
        self.figures.push((name, value));
    }

    /// What was measured.
    pub fn figures(&self) -> &[(String, String)] {
        &self.figures
    }

    /// Since the scenario began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// All of its namespaces.
    pub fn spaces(&self) -> impl Iterator<Item = &Space> {
        std::iter::once(&self.space).chain(&self.more)
    }

    /// A small graph of the scenario's namespace, not yet applied.
    pub fn small_graph(&self, replicas: u32) -> SmallGraph {
        SmallGraph::new(&self.stage.backends, &self.space.namespace, GRAPH, replicas)
    }

    /// Applies a small graph and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(&self, graph: &SmallGraph, replicas: u32) -> Result<(), ScenarioError> {
        self.space.apply(graph.manifest()).await?;
        self.space.wait_ready(GRAPH, replicas, START).await?;
        self.space.wait_services(GRAPH, replicas > 0).await?;
        self.passed(format!("applied, ready with {replicas} replicas"));
        Ok(())
    }

    /// What the scenario's graph has in the store.
    ///
    /// # Errors
    /// When the S3 server's Service is not there.
    pub async fn bucket(&self) -> Result<Bucket, ScenarioError> {
        let uri = small_graph::uri(&self.stage.backends, &self.space.namespace, GRAPH);
        let endpoint = self.stage.backends_space().service_url("s3").await?;
        Ok(Bucket::new(&self.stage.backends, &endpoint, &uri))
    }
}
