//! Two incidents that turn out to be one.

use super::{Case, Keys, keep, keep_first};
use crate::model::Event;

impl Case {
    /// Takes over everything of another incident.
    pub(in super::super) fn merge(
        &mut self,
        other: Self,
        is_same: impl Fn(&Event, &Event) -> bool,
    ) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.unnamed += other.unnamed;
        for (time, seq) in other.named.iter() {
            self.also(time, seq);
        }
        let keys = Keys {
            sockets: other.sockets,
            units: other.units.into_iter().collect(),
            idents: other.idents,
            ..Keys::default()
        };
        self.learn(keys);
        other.kin.into_iter().for_each(|kin| keep(&mut self.kin, kin));
        other.again.into_iter().for_each(|again| keep_first(&mut self.again, again));
        other.limits.into_iter().for_each(|limit| keep_first(&mut self.limits, limit));
        other.deaths.into_iter().for_each(|death| keep(&mut self.deaths, death));
        other.tallies.into_iter().for_each(|(key, tally)| self.tally(&key, &tally));
        other.refusals.into_iter().for_each(|refusal| self.refusal(refusal, &is_same));
        other.ooms.iter().for_each(|oom| self.oom(oom));
        other.outages.into_iter().for_each(|outage| self.outage(outage));
        other.listens.iter().for_each(|listen| self.listen(listen));
        other.still_held.into_iter().for_each(|half| self.holds_still(half));
        other.other_servers.into_iter().for_each(|server| self.other_server(server));
        for loss in &other.losses {
            if !self.losses.iter().any(|known| (known.seq, known.time) == (loss.seq, loss.time)) {
                self.loss(loss);
            }
        }
        for restart in other.restarts {
            if !self.restarts.contains(&restart) {
                keep(&mut self.restarts, restart);
            }
        }
        self.changed = true;
    }
}
