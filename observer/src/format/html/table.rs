//! Tables: the newest rows, and the command that shows the others.
//!
//! **Bounded:** 2,000 rows a table.

use std::collections::{HashSet, VecDeque};

use maud::{Markup, html};

use super::words::PageClock;
use crate::model::{Event, Time, human};

/// Most rows of a table.
const MOST: usize = 2000;

/// The newest rows of a table. They are made when the event comes, so that nothing long is kept of it.
#[derive(Debug, Default)]
pub struct Rows {
    rows: VecDeque<(Time, u64, Markup)>,
    left_out: u64,
}

impl Rows {
    pub(super) fn push(&mut self, time: Time, seq: u64, cells: impl FnOnce() -> Markup) {
        if self.rows.len() >= MOST {
            self.rows.pop_front();
            self.left_out += 1;
        }
        self.rows.push_back((time, seq, cells()));
    }

    /// How many there are, those left out included.
    pub(super) fn total(&self) -> u64 {
        self.rows.len() as u64 + self.left_out
    }

    /// Numbers of the events that have a row.
    pub(super) fn seqs(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().map(|(_, seq, _)| *seq)
    }

    /// The table, with a note on the rows that are not in it.
    pub(super) fn table(&self, caption: &str, columns: &[&str], kind: &str) -> Markup {
        let mut seen = HashSet::new();
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(time, seq, _)| (*time, *seq));
        html! {
            @if let (1.., Some((oldest, ..))) = (self.left_out, rows.first()) {
                p.note { (human::count(self.left_out, "older event")) " left out here: "
                    code { "observer log --kind " (kind) " --until " (oldest) } }
            }
            div.wide { table {
                caption { (caption) }
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { @for (_, seq, cells) in rows {
                    // A number stands for one event of a store; with several stores the first one has it.
                    tr id=[seen.insert(seq).then(|| format!("e{seq}"))] { (cells) }
                } }
            } }
        }
    }
}

/// The first cell of a row: when, and which event.
pub(super) fn when(clock: &PageClock, event: &Event) -> Markup {
    html! { th scope="row" { (clock.mark(event.time)) " " span.seq { "#" (event.number()) } } }
}

/// What only some readers want.
pub(super) fn more(name: &str, content: &Markup) -> Markup {
    html! { @if !content.0.is_empty() { details { summary { (name) } dl { (content) } } } }
}

/// A heading and what belongs to it, or a word that there is none.
pub(super) fn section(id: &str, heading: &str, empty: Option<&str>, content: &Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-h" } {
            h2 id={ (id) "-h" } { (heading) }
            @if let Some(empty) = empty { p.none { (empty) } } @else { (content) }
        }
    }
}
