//! Where a process can be made to die or to stop, for tests from outside.
//!
//! `SLIPSTREAM_CRASH=<name>[*<nth>]=kill|stop` in a build with the feature `failpoints`: at the `nth` pass (the first unless
//! named) of that fail point the process sends itself SIGKILL or SIGSTOP. `SLIPSTREAM_CRASH=list` prints [`ALL`] and ends.
//! Several are separated by commas. Without the feature, none of this is compiled in and the variable means nothing.
//!
//! Owns: the table of every fail point of this crate, and arming them. Does not own: what a test expects there.

use std::sync::atomic::{AtomicU64, Ordering};

/// The part of the system that a fail point belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Takeover,
    Writer,
    Replica,
    Snapshot,
    Restore,
    Optimizer,
    Scrub,
}

/// A place in the code where a durable step is about to happen, or just did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashPoint {
    /// As in `fail_point!`: `<stage>::<when>`.
    pub name: &'static str,
    pub stage: Stage,
}

const fn at(stage: Stage, name: &'static str) -> CrashPoint {
    CrashPoint { name, stage }
}

/// Every fail point of this crate, in the order of a process's life.
pub const ALL: &[CrashPoint] = &[
    at(Stage::Takeover, "takeover::before_claim"),
    at(Stage::Takeover, "takeover::after_claim"),
    at(Stage::Takeover, "takeover::after_barrier"),
    at(Stage::Takeover, "takeover::between_settles"),
    at(Stage::Takeover, "takeover::after_settle"),
    at(Stage::Takeover, "takeover::after_create_tables"),
    at(Stage::Takeover, "takeover::before_schema_commit"),
    at(Stage::Takeover, "takeover::after_schema_commit"),
    at(Stage::Takeover, "takeover::before_roll_forward"),
    at(Stage::Takeover, "takeover::after_roll_forward"),
    at(Stage::Writer, "writer::before_beat"),
    at(Stage::Writer, "writer::after_beat"),
    at(Stage::Writer, "writer::before_lance"),
    at(Stage::Writer, "writer::before_sync"),
    at(Stage::Writer, "writer::between_tables"),
    at(Stage::Writer, "writer::after_lance"),
    at(Stage::Writer, "writer::before_record"),
    at(Stage::Writer, "writer::after_record"),
    at(Stage::Writer, "writer::before_graph_commit"),
    at(Stage::Writer, "writer::after_graph_commit"),
    at(Stage::Writer, "writer::before_publish"),
    at(Stage::Writer, "writer::before_answer"),
    at(Stage::Writer, "writer::after_spool"),
    at(Stage::Writer, "writer::after_stage"),
    at(Stage::Writer, "writer::before_catch_up"),
    at(Stage::Writer, "writer::after_catch_up"),
    at(Stage::Writer, "writer::before_checkpoint"),
    at(Stage::Writer, "writer::after_checkpoint"),
    at(Stage::Replica, "replica::before_read"),
    at(Stage::Replica, "replica::after_read"),
    at(Stage::Replica, "replica::before_graph_commit"),
    at(Stage::Replica, "replica::after_graph_commit"),
    at(Stage::Replica, "replica::before_build"),
    at(Stage::Replica, "replica::between_tables"),
    at(Stage::Replica, "replica::before_swap"),
    at(Stage::Replica, "replica::after_swap"),
    at(Stage::Replica, "replica::before_checkpoint"),
    at(Stage::Replica, "replica::after_checkpoint"),
    at(Stage::Replica, "replica::before_lease"),
    at(Stage::Replica, "replica::after_lease"),
    at(Stage::Replica, "replica::before_release"),
    at(Stage::Snapshot, "snapshot::after_checkpoint"),
    at(Stage::Snapshot, "snapshot::after_copy"),
    at(Stage::Snapshot, "snapshot::before_parts"),
    at(Stage::Snapshot, "snapshot::between_parts"),
    at(Stage::Snapshot, "snapshot::before_meta"),
    at(Stage::Snapshot, "snapshot::after_meta"),
    at(Stage::Snapshot, "snapshot::before_retention"),
    at(Stage::Snapshot, "snapshot::between_deletes"),
    at(Stage::Restore, "restore::before_download"),
    at(Stage::Restore, "restore::between_parts"),
    at(Stage::Restore, "restore::before_open"),
    at(Stage::Restore, "restore::before_install"),
    at(Stage::Scrub, "scrub::before_compare"),
    at(Stage::Scrub, "scrub::after_difference"),
    at(Stage::Optimizer, "optimizer::after_rewrite"),
    at(Stage::Optimizer, "optimizer::before_commit_tables"),
    at(Stage::Optimizer, "optimizer::between_tables"),
    at(Stage::Optimizer, "optimizer::before_record"),
    at(Stage::Optimizer, "optimizer::after_record"),
    at(Stage::Optimizer, "optimizer::after_index"),
    at(Stage::Optimizer, "optimizer::before_cleaning"),
    at(Stage::Optimizer, "optimizer::between_cleanings"),
    at(Stage::Optimizer, "optimizer::before_trim"),
    at(Stage::Optimizer, "optimizer::between_trims"),
    at(Stage::Optimizer, "optimizer::before_lease_trim"),
];

/// A value of `SLIPSTREAM_CRASH` that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CrashError {
    #[error("SLIPSTREAM_CRASH: found {found:?}, expected <name>[*<nth>]=kill|stop, or list")]
    Form { found: String },
    #[error("SLIPSTREAM_CRASH: there is no crash point {name:?}")]
    Unknown { name: String },
    #[error(
        "SLIPSTREAM_CRASH: this build has no crash points; build with --features slipstream-sidecar/failpoints"
    )]
    NotCompiledIn,
    #[error("SLIPSTREAM_CRASH: {0}")]
    Refused(String),
}

/// What the process does to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    Stop,
}

/// One armed crash point.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    point: CrashPoint,
    nth: u64,
    blow: Blow,
}

/// Arms what `SLIPSTREAM_CRASH` names; `true` when the table was asked for and the process is to end.
///
/// # Errors
/// When the variable is set and makes no sense: a test that crashes nothing must not pass.
pub fn arm_from_environment() -> Result<bool, CrashError> {
    let Some(value) = std::env::var_os("SLIPSTREAM_CRASH").filter(|value| !value.is_empty()) else {
        return Ok(false);
    };
    let value = value.to_string_lossy();
    if !cfg!(feature = "failpoints") {
        return Err(CrashError::NotCompiledIn);
    }
    if value == "list" {
        for point in ALL {
            println!("{}", point.name);
        }
        return Ok(true);
    }
    for order in value.split(',') {
        arm(&parse(order)?)?;
    }
    Ok(false)
}

fn parse(text: &str) -> Result<Order, CrashError> {
    let form = || CrashError::Form {
        found: text.to_owned(),
    };
    let (place, blow) = text.split_once('=').ok_or_else(form)?;
    let (name, nth) = match place.split_once('*') {
        Some((name, nth)) => (name, nth.parse().map_err(|_| form())?),
        None => (place, 1),
    };
    let blow = match blow {
        "kill" => Blow::Kill,
        "stop" => Blow::Stop,
        _ => return Err(form()),
    };
    let point = ALL.iter().find(|point| point.name == name).copied();
    match point {
        Some(point) if nth > 0 => Ok(Order { point, nth, blow }),
        Some(_) => Err(form()),
        None => Err(CrashError::Unknown {
            name: name.to_owned(),
        }),
    }
}

fn arm(order: &Order) -> Result<(), CrashError> {
    use nix::sys::signal::{Signal, raise};
    let (name, nth) = (order.point.name, order.nth);
    let signal = match order.blow {
        Blow::Kill => Signal::SIGKILL,
        Blow::Stop => Signal::SIGSTOP,
    };
    let passes = AtomicU64::new(0);
    fail::cfg_callback(name, move || {
        if passes.fetch_add(1, Ordering::SeqCst) + 1 == nth {
            // The last words go straight to the file: nothing is flushed after this.
            eprintln!("crash point {name}, pass {nth}: {signal}");
            if let Err(error) = raise(signal) {
                eprintln!("the signal was not sent: {error}");
            }
        }
    })
    .map_err(CrashError::Refused)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Names of the fail points below `directory`.
    fn in_sources(directory: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                in_sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let places = text.split(concat!("fail_point", "!(")).skip(1);
                found.extend(places.filter_map(|place| {
                    let name = place.trim_start().strip_prefix('"')?;
                    Some(name.split_once('"')?.0.to_owned())
                }));
            }
        }
    }

    #[test]
    fn the_table_holds_every_fail_point_of_the_sources_once() {
        let mut found = Vec::new();
        in_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let listed: Vec<&str> = ALL.iter().map(|point| point.name).collect();
        let unique: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(unique.len(), listed.len(), "a name stands twice in the table");
        let in_code: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(in_code, unique);
        assert!(listed.len() >= 40, "{}", listed.len());
    }

    #[test]
    fn a_name_begins_with_its_stage() {
        for point in ALL {
            let stage = format!("{:?}::", point.stage).to_lowercase();
            assert!(point.name.starts_with(&stage), "{}", point.name);
        }
    }

    #[test]
    fn an_order_names_a_point_a_pass_and_a_blow() {
        let order = parse("writer::after_lance*3=stop").unwrap();
        assert_eq!(
            (order.point.name, order.nth, order.blow),
            ("writer::after_lance", 3, Blow::Stop)
        );
        assert_eq!(parse("writer::after_lance=kill").unwrap().nth, 1);
        for wrong in [
            "writer::after_lance",
            "writer::after_lance=hurt",
            "writer::after_lance*0=kill",
            "writer::after_lance*x=kill",
        ] {
            assert!(matches!(parse(wrong), Err(CrashError::Form { .. })), "{wrong}");
        }
        assert!(matches!(
            parse("writer::nowhere=kill"),
            Err(CrashError::Unknown { .. })
        ));
    }
}
