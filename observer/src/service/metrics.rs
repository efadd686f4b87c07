//! The service's health as Prometheus reads it: its text format, version 0.0.4, which the textfile collector of
//! node_exporter takes as well.

use anyhow::Result;
use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use super::status::ServiceStatus;
use crate::model::Kind;

/// What the text is, for HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text for a status. It names no process: who may read it may know how many died, not which.
pub fn text(status: &ServiceStatus) -> Result<String> {
    let mut families = Vec::new();
    service(&mut families, status);
    scans(&mut families, status);
    events(&mut families, status);
    store(&mut families, status);
    cost(&mut families, status);
    // A family without a value says nothing, and is none to the encoder.
    families.retain(|family| !family.get_metric().is_empty());
    Ok(TextEncoder::new().encode_to_string(&families)?)
}

fn service(out: &mut Vec<MetricFamily>, status: &ServiceStatus) {
    let build = [([("version", status.version.clone())], 1.0)];
    out.push(gauge("build_info", "Version of observer; the value is always 1.", build));
    let since = status.counts.since.0.as_duration().as_secs_f64();
    let started = "When the service began, in seconds since 1970.";
    out.push(one_gauge("process_start_time_seconds", started, Some(since)));
    let rss = Some(number(status.own.rss_bytes));
    out.push(one_gauge("process_resident_memory_bytes", "Memory of the service itself.", rss));
    let cpu = [(NONE, status.own.cpu_seconds)];
    out.push(counter("process_cpu_seconds_total", "Processor time of the service itself.", cpu));
    let clients = Some(number(status.clients.now as u64));
    out.push(one_gauge("clients", "Who listens live on the socket.", clients));
    let missed = [(NONE, number(status.clients.missed))];
    let help = "Events that clients missed, since they did not read.";
    out.push(counter("client_missed_events_total", help, missed));
}

fn scans(out: &mut Vec<MetricFamily>, status: &ServiceStatus) {
    let failed = [(NONE, number(status.scans.failed))];
    let help =
        "Scans of all descriptors that failed or were given up: what waited was told without.";
    out.push(counter("scans_failed_total", help, failed));
    let hanging = Some(number(status.scans.hanging as u64));
    out.push(one_gauge("scans_hanging", "Scans that were given up and still hang.", hanging));
}

fn events(out: &mut Vec<MetricFamily>, status: &ServiceStatus) {
    let counts = &status.counts;
    let kinds = Kind::ALL.map(|kind| {
        let count = counts.events.get(&kind).copied().unwrap_or_default();
        ([("kind", kind.name().to_owned())], number(count))
    });
    out.push(counter("events_total", "Events since the service began, by kind.", kinds));
    let by_cause = [
        ("exits_total", "Deaths since the service began, by type of cause.", &counts.exits),
        ("refused_binds_total", "Refused binds and listens, by type of cause.", &counts.binds),
    ];
    for (name, help, causes) in by_cause {
        let causes = causes.iter().filter_map(|(cause, count)| {
            let name = serde_json::to_value(cause).ok()?.as_str()?.to_owned();
            Some(([("cause", name)], number(*count)))
        });
        out.push(counter(name, help, causes));
    }
    let summed = counts.summed.iter();
    let summed = summed.map(|(kind, count)| ([("kind", kind.name().to_owned())], number(*count)));
    let help = "Events of floods that were counted and not stored, by kind; none: no sample.";
    out.push(counter("summed_events_total", help, summed));
    let lost = counts.lost.iter();
    let lost = lost.map(|(kind, count)| ([("kind", kind.clone())], number(*count)));
    out.push(counter(
        "lost_events_total",
        "Events that were lost, by kind; none: no sample.",
        lost,
    ));
    let seq = Some(number(status.seq));
    out.push(one_gauge("last_seq", "Number of the last event.", seq));
}

fn store(out: &mut Vec<MetricFamily>, status: &ServiceStatus) {
    let store = &status.store;
    let recording = if store.state.stopped.is_none() { 1.0 } else { 0.0 };
    let help = "1 while events are stored; 0 while the disk takes nothing.";
    out.push(one_gauge("recording", help, Some(recording)));
    let help = "Events that could not be stored since the disk took the last one.";
    out.push(one_gauge("unrecorded_events", help, Some(number(store.state.unrecorded))));
    let segments = store.segments.map(|n| number(n as u64));
    out.push(one_gauge("store_segments", "Segments of the store.", segments));
    let used = store.used_bytes.map(number);
    out.push(one_gauge("store_bytes", "Bytes that the store takes on disk.", used));
    let free = store.free_bytes.map(number);
    out.push(one_gauge("store_free_bytes", "Bytes that its file system has left.", free));
}

/// The eBPF programs, where the kernel counts (sysctl kernel.bpf_stats_enabled).
fn cost(out: &mut Vec<MetricFamily>, status: &ServiceStatus) {
    let labels =
        |program: &str, hook: &str| [("program", program.to_owned()), ("hook", hook.to_owned())];
    let programs = status.programs.iter();
    let runs = programs
        .clone()
        .filter_map(|cost| Some((labels(&cost.program, &cost.hook), number(cost.runs?))));
    out.push(counter("program_runs_total", "Runs of each eBPF program.", runs));
    let spent = programs.filter_map(|cost| {
        Some((labels(&cost.program, &cost.hook), number(cost.nanoseconds?) / 1e9))
    });
    out.push(counter("program_run_seconds_total", "Time that each eBPF program took.", spent));
}

type Labels<const N: usize> = [(&'static str, String); N];

const NONE: Labels<0> = [];

#[expect(clippy::cast_precision_loss, reason = "the format has floating point for every number")]
fn number(count: u64) -> f64 {
    count as f64
}

fn counter<const N: usize>(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels<N>, f64)>,
) -> MetricFamily {
    family(name, help, MetricType::COUNTER, samples, |metric, value| {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    })
}

fn gauge<const N: usize>(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels<N>, f64)>,
) -> MetricFamily {
    family(name, help, MetricType::GAUGE, samples, |metric, value| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    })
}

/// A gauge that may be absent.
fn one_gauge(name: &str, help: &str, value: Option<f64>) -> MetricFamily {
    gauge(name, help, value.map(|value| (NONE, value)))
}

fn family<const N: usize>(
    name: &str,
    help: &str,
    kind: MetricType,
    samples: impl IntoIterator<Item = (Labels<N>, f64)>,
    set: impl Fn(&mut Metric, f64),
) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, value)| {
        let labels = labels.into_iter().map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value);
            pair
        });
        let mut metric = Metric::from_label(labels.collect());
        set(&mut metric, value);
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(format!("observer_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics.collect());
    family
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::{
        kernel::counts::Cost,
        model::{Body, CauseType, Event, Kind, LossEvent, SCHEMA, Time},
        service::status::{Counts, Listeners, Own, ServiceStatus, StoreStatus},
    };

    fn loss(kind: &str) -> Event {
        let time = Time(jiff::Timestamp::UNIX_EPOCH);
        let lost = [(kind.to_owned(), 3)].into();
        let loss = LossEvent { lost, from: time, to: time, reason: String::new(), at_most: false };
        let (boot_id, host, body) = ("".into(), "".into(), Body::Loss(loss));
        Event { schema: SCHEMA, seq: Some(7), time, boot_id, host, body }
    }

    fn status() -> ServiceStatus {
        let mut counts = Counts::new();
        counts.add(&loss("ex\"it\n"));
        counts.exits = [(CauseType::OomKill, 2)].into();
        let cost = |program: &str, counted: Option<u64>| Cost {
            program: program.to_owned(),
            hook: "tp_btf/x".to_owned(),
            runs: counted,
            nanoseconds: counted.map(|n| n * 500_000_000),
        };
        ServiceStatus {
            version: "1.2.3".to_owned(),
            pid: 1,
            seq: 7,
            counts,
            clients: Listeners { now: 2, missed: 5 },
            store: StoreStatus::default(),
            scans: crate::engine::live::threads::ScanHealth {
                failed: 4,
                hanging: 1,
                careful: false,
            },
            metrics_refused: None,
            own: Own::default(),
            programs: vec![cost("exit", Some(3)), cost("oom", None)],
            refused: Vec::new(),
        }
    }

    #[test]
    fn every_value_has_its_type_and_what_is_not_known_is_absent() {
        let text = text(&status()).expect("text");
        for line in [
            "# TYPE observer_events_total counter",
            "observer_events_total{kind=\"loss\"} 1",
            "observer_events_total{kind=\"exit\"} 0",
            "observer_exits_total{cause=\"oom_kill\"} 2",
            "observer_lost_events_total{kind=\"ex\\\"it\\n\"} 3",
            "# TYPE observer_clients gauge",
            "observer_clients 2",
            "observer_client_missed_events_total 5",
            "observer_recording 1",
            "observer_scans_failed_total 4",
            "observer_scans_hanging 1",
            "observer_last_seq 7",
            "observer_build_info{version=\"1.2.3\"} 1",
            "observer_program_runs_total{program=\"exit\",hook=\"tp_btf/x\"} 3",
            "observer_program_run_seconds_total{program=\"exit\",hook=\"tp_btf/x\"} 1.5",
        ] {
            assert!(text.lines().any(|has| has == line), "{line} is not in\n{text}");
        }
        for absent in ["\"oom\",hook", "observer_record_bytes", "observer_refused_binds_total"] {
            assert!(!text.contains(absent), "{absent} is in\n{text}");
        }
        let helps = text.matches("# HELP").count();
        assert_eq!(helps, text.matches("# TYPE").count());
        assert_eq!(Kind::ALL.len(), text.matches("observer_events_total{").count());
    }
}
