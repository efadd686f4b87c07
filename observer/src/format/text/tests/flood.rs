//! A flood, in each format.

use serde_json::{Value, json};

use super::{event, text};
use crate::format::{csv, ecs};

fn flood() -> Value {
    json!({
        "of": "exit",
        "cgroup": "/system.slice/shop.service/worker\u{202e}",
        "unit": "shop.service",
        "uid": 33,
        "user": "www-data",
        "count": 980_000,
        "causes": {"exit_code": 979_988, "killed": 12},
        "from": "2026-11-22T14:32:05Z",
        "to": "2026-11-22T14:32:15.123456789Z",
        "example": 6,
    })
}

#[test]
fn a_flood_says_whose_how_many_and_why() {
    let shown = text("flood", &flood());
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert_eq!(
        lines[0],
        "14:32:15.123  user www-data, shop.service  FLOOD: 980000 deaths counted, not stored one by one"
    );
    assert!(lines[1].ends_with("causes   979988 exit_code, 12 killed"), "{shown}");
    assert!(!shown.contains('\u{202e}'), "{shown}");
    assert!(shown.contains("between  14:32:05.000 and 14:32:15.123"), "{shown}");
    assert!(shown.contains("like     #6, the last one that was stored"), "{shown}");
}

#[test]
fn a_flood_in_other_formats() {
    let event = event("flood", &flood());
    let summary = "flood of user www-data, shop.service: 980000 deaths counted, not stored \
        (979988 exit_code, 12 killed)";
    let row = csv::event(&event).expect("a row");
    assert!(row.contains("flood") && row.contains(summary), "{row}");
    let ecs: Value = serde_json::from_str(&ecs::event(&event).expect("a line")).expect("JSON");
    assert_eq!(ecs["message"], summary);
    assert_eq!(
        (&ecs["user"]["name"], &ecs["service"]["name"]),
        (&json!("www-data"), &json!("shop.service"))
    );
    assert_eq!(
        (&ecs["event"]["dataset"], &ecs["process"]),
        (&json!("observer.flood"), &Value::Null)
    );
}
