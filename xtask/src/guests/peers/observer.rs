//! Reads observer's events into the vocabulary that all tools are judged in.

use serde_json::Value;

use super::said::{Limit, Said, Status, What};

/// The events of `observer tail --json`.
pub(super) fn read(text: &[String]) -> Vec<Said> {
    text.iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .flat_map(|event: Value| {
            let words = words(&event);
            event_says(&event).into_iter().map(move |what| Said::new(what, &words))
        })
        .collect()
}

/// The summary of an event; of an OOM kill, which has none, the keys that are judged.
fn words(event: &Value) -> String {
    if let Some(summary) = event["cause"]["summary"].as_str() {
        return summary.to_owned();
    }
    let (victim, trigger) = (&event["victim"]["pid"], &event["trigger"]["pid"]);
    let (cgroup, bytes) = (&event["limit_cgroup"], &event["limit_bytes"]);
    format!(
        "\"victim\":{{\"pid\":{victim}}} \"trigger\":{{\"pid\":{trigger}}} \"limit_cgroup\":{cgroup} \"limit_bytes\":{bytes}"
    )
}

fn event_says(event: &Value) -> Vec<What> {
    let says = match event["kind"].as_str() {
        Some("exit") => exit(event),
        Some("oom") => oom(event).map(|what| vec![what]),
        Some("bind") => bind(event),
        _ => None,
    };
    says.unwrap_or_default()
}

fn exit(event: &Value) -> Option<Vec<What>> {
    let (pid, cause) = (number(&event["process"]["pid"])?, &event["cause"]);
    let status = match number(&event["status"]["signal"]) {
        Some(signal) => Status::Signal(signal),
        None => Status::Code(number(&event["status"]["code"])?),
    };
    let mut says = vec![What::Death { pid, status }];
    let sender = number(&cause["sender"]["pid"]);
    if let (Status::Signal(number), Some("killed" | "oom_kill")) = (status, cause["type"].as_str())
    {
        says.push(What::Signal { to: pid, number, from: sender });
    }
    let prompt = &cause["prompted_by"];
    if let Some(asked) = number(&prompt["signal"]) {
        let from = number(&prompt["sender"]["pid"]);
        says.push(What::Signal { to: pid, number: asked, from });
    }
    let address = cause["address"].as_str().and_then(|text| text.strip_prefix("0x"));
    if let Some(Ok(address)) = address.map(|digits| u64::from_str_radix(digits, 16)) {
        says.push(What::Fault { pid, address });
    }
    Some(says)
}

fn oom(event: &Value) -> Option<What> {
    let cgroup = event["limit_cgroup"].as_str().map(str::to_owned);
    let limit = cgroup.zip(event["limit_bytes"].as_u64());
    Some(What::Oom {
        victim: number(&event["victim"]["pid"])?,
        asked_by: number(&event["trigger"]["pid"]),
        limit: limit.map(|(cgroup, bytes)| Limit { cgroup, bytes }),
    })
}

fn bind(event: &Value) -> Option<Vec<What>> {
    let (pid, cause) = (number(&event["process"]["pid"])?, &event["cause"]);
    let errno = event["error"]["errno"].as_i64().and_then(|errno| i32::try_from(errno).ok())?;
    let port = event["socket"]["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    let listed = event["holders"].as_array()?.iter().map(|holder| &holder["process"]);
    // `left_by` is a holder that was gone before the scan, or a process that left connections behind and holds nothing.
    let gone = (cause["type"] == "held").then_some(&cause["left_by"]);
    let holders = listed.chain(gone).filter_map(|process| number(&process["pid"])).collect();
    let time_wait = cause["type"] == "time_wait";
    Some(vec![What::Refused { pid, errno, port }, What::InTheWay { pid, holders, time_wait }])
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}
