//! Times to pixels.

use jiff::SignedDuration;
use maud::{Markup, html};

use super::super::Report;
use crate::model::Time;

/// Width of the drawing; the page scales it.
pub(super) const WIDTH: f64 = 1100.0;
/// Where the axis begins: names stand before it.
pub(super) const GUTTER: f64 = 200.0;
/// Room behind the last mark.
const MARGIN: f64 = 20.0;

/// A span of time across the page.
pub(super) struct Axis {
    from: Time,
    seconds: f64,
}

/// A coordinate as text: no longer than it needs to be.
pub(super) fn pixels(x: f64) -> String {
    format!("{x:.1}")
}

impl Axis {
    pub(super) fn new(from: Time, to: Time) -> Self {
        // A single moment has a width too.
        Self { from, seconds: to.0.duration_since(from.0).as_secs_f64().max(0.01) }
    }

    /// Where that moment is, or the nearest end of the axis.
    pub(super) fn x(&self, time: Time) -> f64 {
        let part = time.0.duration_since(self.from.0).as_secs_f64() / self.seconds;
        GUTTER + part.clamp(0.0, 1.0) * (WIDTH - GUTTER - MARGIN)
    }

    /// Lines with their times, down to `bottom`.
    pub(super) fn markup(&self, report: &Report, bottom: f64) -> Markup {
        let ticks = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| {
            let moved = SignedDuration::try_from_secs_f64(self.seconds * part).unwrap_or_default();
            Time(self.from.0.checked_add(moved).unwrap_or(self.from.0))
        });
        html! {
            @for (n, time) in ticks.into_iter().enumerate() {
                @let x = pixels(self.x(time));
                line.tick x1=(x) x2=(x) y1="6" y2=(bottom) {}
                text.tick x=(x) y=(bottom + 18.0) text-anchor=(if n == 4 { "end" } else { "middle" }) {
                    (report.clock.tick(time, self.seconds))
                }
            }
        }
    }
}
