//! From a refusal and its answer to the event: processes are resolved here, so that the verdict needs no names and no I/O.

use std::sync::Arc;

use super::Output;
use crate::{
    decode::{Bind, Descriptor, until_nul},
    diagnose::{
        answer::{Answer, HeldSocket},
        bind::{self, Obstacle, ObstacleHolder},
        ports::{PortTable, ServedSocket},
    },
    enrich::{Enricher, procfs::Living},
    model::{Body, Process},
};

/// The event of a refusal.
pub(super) fn refusal(
    record: &Bind,
    answer: &Answer,
    table: &PortTable,
    enricher: &mut Enricher,
) -> Output {
    let process = enricher.process(&record.task);
    let obstacles: Vec<Obstacle<'_>> =
        answer.held.iter().map(|held| obstacle(held, table, enricher)).collect();
    let event = bind::event(record, process, answer, &obstacles, table, &enricher.clock);
    Output::Event(record.time_ns, Body::Bind(Arc::new(event)))
}

fn obstacle<'a>(held: &'a HeldSocket, table: &PortTable, enricher: &mut Enricher) -> Obstacle<'a> {
    let served = table.get(held.socket.0.sk);
    let holders = held.holders.iter().map(|(holder, living)| ObstacleHolder {
        holder,
        living: living.as_ref(),
        process: process(holder, living.as_ref(), served, enricher),
    });
    Obstacle { socket: &held.socket, holders: holders.collect() }
}

fn process(
    holder: &Descriptor,
    living: Option<&Living>,
    served: Option<&ServedSocket>,
    enricher: &mut Enricher,
) -> Process {
    match (living, served) {
        (Some(living), _) => enricher.process(&living.task),
        // Gone between the scan and now: the table may still know it.
        (None, Some(served))
            if served.holders.contains(&holder.id())
                && served.process.pid == holder.record.tgid =>
        {
            (*served.process).clone()
        }
        (None, _) => {
            let mut process = enricher.named(
                holder.id(),
                until_nul(&holder.record.comm),
                "the process was gone before it could be read",
            );
            process.ppid = Some(holder.record.ppid);
            process.missing.remove("ppid");
            process
        }
    }
}
