//! Lets clients in: a user may neither take all the room nor all the time.
//!
//! **Bounded:** [`OF_ONE_USER`] connections of each user at a time, and one request every [`PACE`] of all of them together. Root
//! is let in at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{net::UnixStream, sync::Mutex};

/// Most connections of one user, root left aside.
pub(super) const OF_ONE_USER: usize = 32;
/// How long one request keeps the next one waiting: a scan, or the state for who joins, takes milliseconds.
const PACE: Duration = Duration::from_millis(50);

/// Counts who is inside.
#[derive(Default)]
pub(super) struct Door {
    users: HashMap<u32, Arc<()>>,
    pace: Arc<Mutex<()>>,
}

/// A connection, as long as it lasts.
pub(super) struct Ticket {
    _user: Arc<()>,
    pace: Option<Arc<Mutex<()>>>,
}

impl Door {
    /// Lets a client in, unless its user has too many already.
    pub(super) fn ticket(&mut self, stream: &UnixStream) -> Option<Ticket> {
        let peer = stream.peer_cred();
        if let Ok(peer) = &peer {
            tracing::info!(uid = peer.uid(), pid = peer.pid(), "a client");
        }
        self.ticket_of(peer.map_or(u32::MAX, |peer| peer.uid()))
    }

    fn ticket_of(&mut self, uid: u32) -> Option<Ticket> {
        self.users.retain(|_, user| Arc::strong_count(user) > 1);
        let user = Arc::clone(self.users.entry(uid).or_default());
        // One is ours, one is the ticket to be.
        if uid != 0 && Arc::strong_count(&user) > OF_ONE_USER + 1 {
            return None;
        }
        Some(Ticket { _user: user, pace: (uid != 0).then(|| Arc::clone(&self.pace)) })
    }
}

impl Ticket {
    /// Waits for its turn.
    pub(super) async fn turn(&mut self) {
        if let Some(pace) = self.pace.take() {
            let _turn = pace.lock().await;
            tokio::time::sleep(PACE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Door, OF_ONE_USER};

    #[test]
    fn a_user_takes_a_part_of_the_room_and_root_waits_for_nobody() {
        let mut door = Door::default();
        let mut inside: Vec<_> = (0..OF_ONE_USER).map(|_| door.ticket_of(1000)).collect();
        assert!(inside.iter().all(Option::is_some));
        assert!(door.ticket_of(1000).is_none(), "no more of this user");
        assert!(door.ticket_of(1001).is_some_and(|other| other.pace.is_some()));
        assert!((0..2 * OF_ONE_USER).all(|_| door.ticket_of(0).is_some_and(|t| t.pace.is_none())));
        inside.pop();
        assert!(door.ticket_of(1000).is_some(), "one has left");
    }
}
