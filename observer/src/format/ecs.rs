//! Events in the names of the Elastic Common Schema 8, one JSON object a line; what ECS has no name for stays below `observer`.
//!
//! <https://www.elastic.co/docs/reference/ecs>

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::parts::{Parts, word};
use crate::model::{Body, Event, FloodEvent, Kind, Process, Socket};

/// An event's line, without its end.
pub fn event(event: &Event) -> Result<String> {
    let parts = Parts::of(&event.body);
    let (category, types, outcome) = classes(&event.body);
    let mut line = json!({
        "@timestamp": event.time.to_string(),
        "ecs": {"version": "8.17.0"},
        "message": parts.summary,
        "event": {
            "kind": "event",
            "module": "observer",
            "dataset": format!("observer.{}", event.body.kind().name()),
            "action": event.body.kind().name(),
            "category": category,
            "type": types,
            "outcome": outcome,
            "sequence": event.seq,
            "reason": parts.cause.map(|cause| &cause.summary),
        },
        "host": {"hostname": event.host, "boot": {"id": event.boot_id}},
        "observer": serde_json::to_value(&event.body)?,
    });
    // ECS has `observer.*` for the device that observes: ours lies beside it under a name of its own.
    if let Some(object) = line.as_object_mut()
        && let Some(own) = object.remove("observer")
    {
        object.insert("observer".to_owned(), json!({"product": "observer", "type": "process"}));
        object.insert("observer_event".to_owned(), own);
        if let Body::Flood(flood) = &event.body {
            add_origin(object, flood);
        }
        if let Some(process) = parts.process {
            add_process(object, process, event);
        }
        if let Some(socket) = parts.socket {
            add_socket(object, socket);
        }
    }
    prune(&mut line);
    Ok(line.to_string())
}

fn classes(body: &Body) -> (Value, Value, &'static str) {
    match body {
        Body::Exit(exit) => {
            let outcome = if exit.status.shell_status == 0 { "success" } else { "failure" };
            (json!(["process"]), json!(["end"]), outcome)
        }
        Body::Oom(_) => (json!(["process", "host"]), json!(["end"]), "failure"),
        Body::Bind(_) => (json!(["network", "process"]), json!(["denied"]), "failure"),
        Body::Listen(_) => (json!(["network"]), json!(["start"]), "success"),
        Body::Release(_) => (json!(["network"]), json!(["end"]), "unknown"),
        Body::Incident(_) => (json!(["process", "network"]), json!(["info"]), "failure"),
        Body::Flood(flood) => match flood.of {
            Kind::Exit => (json!(["process"]), json!(["end"]), "unknown"),
            _ => (json!(["network"]), json!(["info"]), "unknown"),
        },
        Body::Loss(_) | Body::Session(_) => (json!(["host"]), json!(["info"]), "unknown"),
    }
}

fn add_process(object: &mut Map<String, Value>, process: &Process, event: &Event) {
    let exit = match &event.body {
        Body::Exit(exit) => Some(exit.status.shell_status),
        _ => None,
    };
    object.insert(
        "process".to_owned(),
        json!({
            "pid": process.pid,
            "start": process.start_time.map(|time| time.to_string()),
            "name": process.comm,
            "executable": process.exe,
            "args": process.args,
            "args_count": process.args.as_ref().map(|args| args.len()),
            "command_line": process.args.as_ref().map(|args| args.join(" ")),
            "exit_code": exit,
            "parent": {
                "pid": process.ppid,
                "name": process.parent.as_ref().map(|parent| &parent.comm),
            },
        }),
    );
    object.insert(
        "user".to_owned(),
        json!({"id": process.uid.map(|uid| uid.to_string()), "name": process.user}),
    );
    object.insert("service".to_owned(), json!({"name": process.unit}));
    object.insert("container".to_owned(), json!({"id": process.container}));
}

fn add_origin(object: &mut Map<String, Value>, flood: &FloodEvent) {
    let user = json!({"id": flood.uid.map(|uid| uid.to_string()), "name": flood.user});
    object.insert("user".to_owned(), user);
    object.insert("service".to_owned(), json!({"name": flood.unit}));
    object.insert("container".to_owned(), json!({"id": flood.container}));
}

fn add_socket(object: &mut Map<String, Value>, socket: &Socket) {
    object.insert(
        "server".to_owned(),
        json!({"ip": socket.address, "port": socket.port, "address": socket.path}),
    );
    object.insert("network".to_owned(), json!({"transport": word(&socket.protocol)}));
}

/// Removes what is null or empty.
fn prune(value: &mut Value) {
    let Value::Object(object) = value else { return };
    object.values_mut().for_each(prune);
    object.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|o| !o.is_empty()));
}
