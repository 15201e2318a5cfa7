//! What a search may do: how many of everything, how much may go wrong, and which rule of the protocol is broken on purpose.

/// One configuration. Everything in it is a bound: within it the search tries every order of steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    pub writers: usize,
    pub replicas: usize,
    /// Lance tables, 1 or 2: two show what a commit torn between tables would do.
    pub tables: usize,
    /// Client transactions, at most 8. A client sends again, to any writer, until it has an answer.
    pub transactions: u8,
    /// What may happen, and how often.
    pub budget: Budget,
    /// Whether events are modelled; replicas poll as well, so without faults of their own events change nothing.
    pub bells: bool,
    /// Whether cleaning goes on to trim the log.
    pub trims: bool,
    /// The rule that is broken, if any.
    pub flaw: Option<Flaw>,
}

/// Things that may still happen; counts down along a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Budget {
    /// Takeovers, all writers together.
    pub claims: u8,
    /// kill -9 of any process, at any step.
    pub crashes: u8,
    /// Puts of a commit record whose answer is lost; applied or not.
    pub unknown: u8,
    /// Commits that fail in the writer's own graph, before the record.
    pub graph_failures: u8,
    pub optimizes: u8,
    pub cleanings: u8,
    pub snapshots: u8,
    /// Leases that run out.
    pub expiries: u8,
    /// Replicas that lose their disk.
    pub lost_disks: u8,
    /// Events that get lost.
    pub lost_events: u8,
    /// Events that come twice, late, or were never sent by a writer.
    pub forged_events: u8,
}

/// One rule of the protocol, left out. Each must make the search find something, or the model proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A new writer serves without a barrier commit.
    NoBarrier,
    /// A new writer puts its barrier on top of whatever is in the log, commits of a newer epoch included.
    BarrierOverNewerEpoch,
    /// A new writer restores tables before its barrier is in the log.
    RestoreBeforeBarrier,
    /// A new writer takes the newest Lance versions as they are.
    NoSettle,
    /// A put without an answer counts as refused.
    UnknownIsAbort,
    /// Lance's silent rebase over a stranger's version is accepted.
    NoVersionCheck,
    /// The client is answered before the record is put.
    AnswerBeforeRecord,
    /// The writer's graph commits before the record is put.
    GraphBeforeRecord,
    /// A retried request is written again.
    NoKnownKeys,
    /// A starting writer believes every record that it finds below the head, of whatever log it is.
    KeysFromStrays,
    /// A put that succeeded is believed, even where the log was trimmed.
    TrustEveryPut,
    /// Cleaning does not read the leases.
    CleanIgnoresLeases,
    /// Cleaning does not read the snapshots.
    CleanIgnoresSnapshots,
    /// Cleaning lists what there is only when it deletes, and keeps what it knew as pinned before.
    CleanListsLate,
    /// A snapshot's meta is written before its parts.
    MetaFirst,
    /// Retention deletes a snapshot's parts before its meta.
    PartsDeletedFirst,
    /// A replica that finds nothing after its watermark is at the end, even if its own commit was trimmed.
    TrimmedIsTheEnd,
    /// A replica that finds its own record takes that as proof, even if it is the schema's, which is never trimmed.
    OwnRecordIsProof,
    /// A replica whose base version was cleaned waits for a newer head before it rebuilds.
    RebuildWaitsForHead,
    /// A starting writer whose base version was cleaned gives up.
    RollForwardGivesUp,
    /// Replicas act on events only.
    NoPolling,
    /// Replicas take an event's word for it: the newest Lance versions, without a commit record.
    EventIsTheLog,
}

/// As much of everything as a random walk can use; no exhaustive search would end in it.
pub const LARGE: Bounds = Bounds {
    writers: 3,
    replicas: 3,
    tables: 2,
    transactions: 6,
    budget: Budget {
        claims: 8,
        crashes: 6,
        unknown: 4,
        graph_failures: 2,
        optimizes: 3,
        cleanings: 4,
        snapshots: 4,
        expiries: 4,
        lost_disks: 2,
        lost_events: 4,
        forged_events: 4,
    },
    bells: true,
    trims: true,
    flaw: None,
};
