//! A takeover from its first step to a writer that can run; the steps themselves are in `takeover`.
//!
//! ```text
//! claim ─> barrier ─> settle ─> migrate ─> roll the local graph forward ─> idempotency keys ─> Session
//! ```
//!
//! Crash behaviour: after every step a new takeover starts over (`takeover`); the local graph is brought to the head from
//! wherever it was left.
//!
//! Owns: the order, the local graph's way to the head at a start, what a session begins with. Does not own: the store's half of
//! the steps (`takeover`), and what comes after (`session`).

use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bulk::{Loading, Uploads};
use super::catch_up::CatchUp;
use super::idempotency::KnownKeys;
use super::reader_bell::ReaderBell;
use super::session::Session;
use super::spool::SpoolRoom;
use super::takeover::{self, TakeoverError};
use super::{RunningWriter, Writer};
use crate::graph::{GraphError, Watermark};
use crate::lake::{IndexWish, LakeError};
use crate::replica::{AdvanceError, Advancer, changed_rows};
use crate::settings::Settings;
use crate::store::Store;

impl RunningWriter {
    /// Takes over: epoch, barrier, settled tables, schema, local graph, idempotency keys. `found` is what the local graph
    /// holds, if there is one.
    ///
    /// # Errors
    /// [`TakeoverError`]; a new attempt is always safe.
    pub async fn take_over(
        store: Arc<dyn Store>,
        advancer: Advancer,
        settings: Settings,
        wanted: &crds::GraphSchema,
        found: Option<Watermark>,
    ) -> Result<Self, TakeoverError> {
        let clock = advancer.progress.clock().clone();
        fail::fail_point!("takeover::before_claim", |_| Err(TakeoverError::Crashed(
            "takeover::before_claim"
        )));
        let claim = takeover::claim(store.as_ref(), &advancer.log, &settings.holder, &clock).await?;
        advancer.progress.set_epoch(claim.epoch);
        fail::fail_point!("takeover::after_claim", |_| Err(TakeoverError::Crashed(
            "takeover::after_claim"
        )));
        let claimed = takeover::Claimed {
            store: store.as_ref(),
            log: &advancer.log,
            ours: &claim,
        };
        let barrier = takeover::barrier(claimed, &clock).await?;
        fail::fail_point!("takeover::after_barrier", |_| Err(TakeoverError::Crashed(
            "takeover::after_barrier"
        )));
        let mut bases = takeover::settle(&advancer.lake, &barrier).await?;
        fail::fail_point!("takeover::after_settle", |_| Err(TakeoverError::Crashed(
            "takeover::after_settle"
        )));
        let migrated =
            takeover::migrate(claimed, &advancer.lake, &barrier, wanted, &mut bases, &clock).await?;
        let head = migrated.unwrap_or(barrier);
        let graph_schema = takeover::schema_at(&advancer.log, &head).await?;
        let watermark = Watermark::of(&head, &graph_schema);
        fail::fail_point!("takeover::before_roll_forward", |_| Err(TakeoverError::Crashed(
            "takeover::before_roll_forward"
        )));
        Box::pin(roll_forward(&advancer, found, &watermark)).await?;
        fail::fail_point!("takeover::after_roll_forward", |_| Err(TakeoverError::Crashed(
            "takeover::after_roll_forward"
        )));
        let known_keys = KnownKeys::load(&advancer.log, &head, settings.idempotency_commits).await?;
        tracing::info!(epoch = %claim.epoch, seq = %head.seq, "took over as the writer");

        let spool_dir = settings.data_dir.join("spool");
        // Spools of an earlier process are of requests that got no answer.
        let _ = std::fs::remove_dir_all(&spool_dir);
        std::fs::create_dir_all(&spool_dir).map_err(|source| {
            TakeoverError::Local(
                GraphError::Files {
                    doing: "create",
                    path: spool_dir.clone(),
                    source,
                }
                .to_string(),
            )
        })?;
        let (queue, jobs) = mpsc::channel(settings.queue.max(1));
        let places = Arc::new(Semaphore::new(queue.max_capacity()));
        let fenced = Arc::new(OnceLock::new());
        let schema = takeover::checked(&graph_schema)?;
        let loading = Loading {
            room: SpoolRoom::new(spool_dir),
            tables: Arc::new(bases.clone()),
            uploads: Uploads::default(),
        };
        let session = Session {
            store,
            advancer,
            clock,
            settings,
            claim,
            head,
            watermark,
            catch_up: CatchUp::default(),
            uploads: loading.uploads.clone(),
            bases,
            known_keys,
            publisher: None,
            since_checkpoint: 0,
            fenced: fenced.clone(),
            places: places.clone(),
            beaten_at: Instant::now(),
            ending: CancellationToken::new(),
        };
        session
            .advancer
            .progress
            .confirmed(session.head.seq, session.clock.now());
        Ok(Self {
            writer: Writer {
                queue,
                places,
                schema,
                loading,
                fenced,
            },
            session,
            jobs,
            indexes: declared_indexes(wanted),
            optimizing: None,
            readers: ReaderBell::default(),
        })
    }
}

/// The log decides: whatever the local graph holds, it is brought to the head.
async fn roll_forward(
    advancer: &Advancer,
    found: Option<Watermark>,
    head: &Watermark,
) -> Result<(), TakeoverError> {
    let failed = |error: AdvanceError| TakeoverError::Local(error.to_string());
    let usable = match found {
        Some(found) if advancer.is_ours(&found).await.map_err(failed)? => Some(found),
        Some(_) => {
            advancer.local.discard();
            None
        }
        None => None,
    };
    let missing = match &usable {
        Some(found) => {
            let records = advancer.log.read_after(found.position.seq, usize::MAX).await?;
            changed_rows(&records)
        }
        None => u64::MAX,
    };
    match advancer.advance(usable.as_ref(), head, missing).await {
        // Another writer cleaned what this graph would go on from: writers pin nothing.
        Err(AdvanceError::Graph(GraphError::Lake(LakeError::VersionMissing { .. }))) if usable.is_some() => {
            advancer.rebuild(head).await.map_err(failed)
        }
        advanced => advanced.map_err(failed),
    }
}

/// Indexes that a schema declares, by table. They are the resource's, not the log's: one that comes or goes is no change of
/// the tables.
fn declared_indexes(schema: &crds::GraphSchema) -> Vec<(String, IndexWish)> {
    let nodes = schema.nodes.iter().map(|table| (&table.name, &table.properties));
    let edges = schema.edges.iter().map(|table| (&table.name, &table.properties));
    let wish = |property: &crds::Property| {
        Some(IndexWish {
            column: property.name.clone(),
            kind: property.index?,
            dimension: property.dimension,
        })
    };
    nodes
        .chain(edges)
        .flat_map(|(table, properties)| {
            let wishes = properties.iter().filter_map(wish);
            wishes.map(|wish| (table.clone(), wish)).collect::<Vec<_>>()
        })
        .collect()
}
