//! Clients that write to one writer, each request with an idempotency key, and note what became of it.
//!
//! ```text
//! requests (random) ─> client ─> writer
//!                        └─> History: request, and Open ─> Acknowledged | Refused | Unknown
//! ```
//!
//! A client that gets no answer mostly sends the same request again, until it gets one; sometimes it gives up, and then only the
//! log knows. Now and then a client asks again what was answered long ago. Owns: sending and noting. Does not own: what
//! requests mean (`model`), what must be true in the end (`model_check`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::TortureError;
use super::model::Request;
use super::model_check::Faults;
use super::requests::request;
use crate::answers::CommitAnswer;
use crate::client::{ClientError, NDJSON, Node};
use crate::wait::{Look, until};

/// A writer that answers nothing for so long counts as gone.
const NO_ANSWER: Duration = Duration::from_secs(30);
/// Requests that are asked for again are among so many last ones.
const KEYS_KNOWN: usize = 15;
/// Between two tries of a client.
const AGAIN: Duration = Duration::from_millis(40);

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Acknowledged(CommitAnswer),
    /// The writer said no; it must be in no commit.
    Refused(String),
    /// No answer: in one commit or in none.
    Unknown,
}

/// Every request of a graph's clients.
#[derive(Debug, Default)]
pub struct History {
    entries: Mutex<Vec<(Request, Outcome)>>,
    /// What clients saw that must not be.
    faults: Mutex<Faults>,
}

impl History {
    /// Requests with their outcomes; those still under way are unknown.
    pub fn entries(&self) -> Vec<(Request, Outcome)> {
        self.lock().clone()
    }

    /// How many requests were acknowledged.
    pub fn acknowledged(&self) -> usize {
        let is_acknowledged =
            |(_, outcome): &&(Request, Outcome)| matches!(outcome, Outcome::Acknowledged(_));
        self.lock().iter().filter(is_acknowledged).count()
    }

    /// The newest commit that a client was told of.
    pub fn newest(&self) -> Option<CommitAnswer> {
        let entries = self.lock();
        let answers = entries.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Acknowledged(answer) => Some(answer),
            _ => None,
        });
        answers.max_by_key(|answer| answer.seq).cloned()
    }

    /// Waits until `more` requests were acknowledged than `before`.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn wait_acknowledged(
        &self,
        before: usize,
        more: usize,
        within: Duration,
    ) -> Result<(), TortureError> {
        let what = format!("{more} acknowledged commits more than {before}");
        until(&what, within, async || match self.acknowledged() {
            now if now >= before + more => Look::Found(()),
            now => Look::NotYet(format!("{now}")),
        })
        .await?;
        Ok(())
    }

    /// Notes what must not be.
    pub fn fault(&self, faults: Faults) {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(faults);
    }

    /// What was noted so far.
    pub fn faults(&self) -> Faults {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin(&self, request: &Request) -> usize {
        let mut entries = self.lock();
        entries.push((request.clone(), Outcome::Unknown));
        entries.len() - 1
    }

    fn end(&self, index: usize, outcome: Outcome) {
        if let Some(entry) = self.lock().get_mut(index) {
            entry.1 = outcome;
        }
    }

    /// Something that was answered lately: keys are known for so many commits only.
    fn answered(&self, random: &mut StdRng) -> Option<(Request, CommitAnswer)> {
        let entries = self.lock();
        let lately = entries.len().saturating_sub(KEYS_KNOWN);
        let (request, outcome) = entries[lately..].choose(random)?;
        match outcome {
            Outcome::Acknowledged(answer) => Some((request.clone(), answer.clone())),
            _ => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Request, Outcome)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How clients behave.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    pub clients: usize,
    /// Share of bulk requests.
    pub bulk: f64,
    /// Rows of a bulk request at most.
    pub bulk_rows: i64,
    /// Share of clients without an answer that give up instead of asking again.
    pub gives_up: f64,
    /// Pause between two requests of a client at most.
    pub pause: Duration,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            clients: 3,
            bulk: 0.08,
            bulk_rows: 120,
            gives_up: 0.15,
            pause: Duration::from_millis(10),
        }
    }
}

/// Clients at work; dropping it ends them in the middle of whatever they do.
#[derive(Debug)]
pub struct Load {
    stopping: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts clients of the writer `node`. `name` keeps their keys apart from those of other loads on the same graph.
    pub fn start(name: &str, node: &Node, history: &Arc<History>, habits: Habits, seed: u64) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..habits.clients {
            let client = Client {
                name: format!("{name}-{number}"),
                node: node.clone(),
                history: history.clone(),
                habits,
                random: StdRng::seed_from_u64(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                stopping: stopping.clone(),
                sent: 0,
            };
            clients.spawn(client.run());
        }
        Self { stopping, clients }
    }

    /// Lets every client end its request, or give it up when there is no writer.
    pub async fn stop(mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        while self.clients.join_next().await.is_some() {}
    }
}

struct Client {
    name: String,
    node: Node,
    history: Arc<History>,
    habits: Habits,
    random: StdRng,
    stopping: Arc<AtomicBool>,
    sent: u64,
}

impl Client {
    async fn run(mut self) {
        while !self.stopping.load(Ordering::SeqCst) {
            if self.random.random_bool(0.05) {
                self.ask_again().await;
            } else {
                self.sent += 1;
                let key = format!("{}-{}", self.name, self.sent);
                let request = request(key, &self.habits, &mut self.random);
                self.send(request).await;
            }
            let pause = self.habits.pause.as_micros() as u64;
            sleep(Duration::from_micros(self.random.random_range(0..=pause))).await;
        }
    }

    async fn send(&mut self, request: Request) {
        let index = self.history.begin(&request);
        loop {
            match self.attempt(&request).await {
                Attempt::Known(outcome) => return self.history.end(index, outcome),
                Attempt::Again => {}
                Attempt::NoAnswer => {
                    if self.random.random_bool(self.habits.gives_up) {
                        return;
                    }
                }
            }
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            sleep(AGAIN).await;
        }
    }

    async fn attempt(&self, request: &Request) -> Attempt {
        let sending = async {
            match (request.transaction(), request.bulk()) {
                (Some(body), _) => self.node.commit(&body).await,
                (None, body) => {
                    let body = body.unwrap_or_default();
                    self.node.load_keyed("Account", NDJSON, &request.key, body).await
                }
            }
        };
        match timeout(NO_ANSWER, sending).await {
            Ok(Ok(answer)) => Attempt::Known(Outcome::Acknowledged(answer)),
            Ok(Err(ClientError::Refused { problem, .. })) => match problem.status {
                429 | 503 => Attempt::Again,
                500..=599 => Attempt::NoAnswer,
                409 => {
                    let text = format!("{}: the key conflicts: {}", request.key, problem.detail);
                    self.history.fault(Faults {
                        forked: vec![text.clone()],
                        ..Faults::default()
                    });
                    Attempt::Known(Outcome::Refused(text))
                }
                _ => Attempt::Known(Outcome::Refused(problem.detail)),
            },
            Ok(Err(_)) | Err(_) => Attempt::NoAnswer,
        }
    }

    /// The same request gets the same answer.
    async fn ask_again(&mut self) {
        let Some((request, first)) = self.history.answered(&mut self.random) else {
            return;
        };
        if let Attempt::Known(again) = self.attempt(&request).await
            && again != Outcome::Acknowledged(first.clone())
        {
            self.history.fault(Faults {
                forked: vec![format!(
                    "{} was answered {first:?}, and later {again:?}",
                    request.key
                )],
                ..Faults::default()
            });
        }
    }
}

enum Attempt {
    Known(Outcome),
    /// Certainly not committed.
    Again,
    NoAnswer,
}
