//! Memory for the bodies of transactions, all requests together: the queue counts transactions, however large they are.
//!
//! Owns: how many bytes of bodies may be in memory, and who must come back later. Does not own: how large one body may be
//! (`json_body`), and when a transaction gives its share back (`writer`: once it is planned, or dropped).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Problem, ProblemKind};

/// Room in a process that says nothing else: four bodies of the largest size. Decoded, a body takes several times its bytes.
const DEFAULT_BYTES: usize = 256 << 20;

/// The bytes that bodies may take.
#[derive(Debug)]
pub struct BodyRoom {
    /// A permit per byte.
    free: Arc<Semaphore>,
}

impl Default for BodyRoom {
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl BodyRoom {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(bytes)),
        }
    }

    /// A share for one body, with nothing in it yet.
    pub(super) fn share(&self) -> BodyShare {
        BodyShare {
            free: self.free.clone(),
            held: None,
        }
    }
}

/// What one body takes of the room, given back when it is dropped.
#[derive(Debug)]
pub(super) struct BodyShare {
    free: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl BodyShare {
    /// Whether there is room for all that a body announces. Nothing is taken: a client that sends slowly, or not at all, must
    /// not keep others out with what it only announced.
    ///
    /// # Errors
    /// 429 where there is none.
    pub(super) fn expect_room(&self, announced: u64) -> Result<(), Problem> {
        if self.free.available_permits() as u64 >= announced {
            Ok(())
        } else {
            Err(no_room())
        }
    }

    /// Takes room for more bytes.
    ///
    /// # Errors
    /// 429 where there is none.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.free.clone().try_acquire_many_owned(bytes).ok());
        let more = more.ok_or_else(no_room)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    /// The share as the transaction keeps it that the body becomes.
    pub(super) fn into_kept(self) -> Option<Arc<OwnedSemaphorePermit>> {
        self.held.map(Arc::new)
    }
}

fn no_room() -> Problem {
    Problem::new(
        ProblemKind::Overloaded,
        "the transactions that wait take all the memory there is for them; try again later",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_without_room_must_come_back_later_and_gets_in_once_another_is_gone() {
        let room = BodyRoom::new(10);
        let (mut first, mut second) = (room.share(), room.share());
        first.grow(4).unwrap();
        first.grow(4).unwrap();
        second.grow(2).unwrap();
        let refused = second.grow(1).unwrap_err();
        assert_eq!(refused.kind(), ProblemKind::Overloaded);
        assert!(second.expect_room(1).is_err());
        let kept = first.into_kept();
        assert!(second.grow(1).is_err(), "the transaction still holds it");
        drop(kept);
        second.expect_room(8).unwrap();
        second.grow(8).unwrap();
    }

    #[test]
    fn what_is_only_announced_takes_no_room() {
        let room = BodyRoom::new(10);
        let slow = room.share();
        slow.expect_room(10).unwrap();
        room.share().grow(10).unwrap();
    }
}
