//! The protocol of `docs/protocol.md` as a state machine that is searched exhaustively within bounds.
//!
//! Flow: a [`Bounds`] says how many writers, replicas, transactions and faults there are → [`Protocol`] gives every step that any
//! process may take next ([`Action`]) → stateright tries them in every order → [`properties`] are asked in every state, and from
//! every state a run without faults must end with all nodes at the head (`heal`).
//!
//! What makes it worth something: each action names the function of the sidecar that it stands for (tests/names.rs), each rule of
//! the protocol can be left out and the search then finds what breaks ([`Flaw`], tests/flaws.rs), and behaviour that must occur
//! is a property as well ([`Seen`]).
//!
//! What is left out: what is inside a row, Lance's files, time. A stall is a step that comes late, however late; so nothing here
//! depends on a lease's or a heartbeat's length, only on their order.
//!
//! Owns: the model. Does not own: any code of the sidecar. It is a cargo workspace of its own because stateright turns on a
//! feature of serde that the main workspace does without; in one lock every dependency would be compiled again.

mod action;
mod bounds;
mod cleaning;
mod commit;
mod heal;
pub mod path;
pub mod properties;
mod protocol;
mod replica;
mod seen;
mod state;
mod store;
mod takeover;
mod writer;

pub use action::{Action, Put};
pub use bounds::{Bounds, Budget, Flaw, LARGE};

pub use protocol::Protocol;
pub use seen::{Seen, Sightings};
pub use state::{Lease, Replica, ReplicaStep, State, Taking, Writer, WriterStep, Wrong};
pub use store::{Kind, Record, Rows, Shown, Slot, Snapshot, Store, TABLES, TxId, Version, VersionMap};
