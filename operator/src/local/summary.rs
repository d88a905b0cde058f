//! Many conditions in one line, and tables of such lines.
//!
//! objects with their statuses → the condition that tells most; rows → a table without lines, as kubectl prints it
//!
//! It must not know where objects come from.

use comfy_table::{Table, presets};
use serde_json::Value;

/// The one condition that tells most.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// `Ready=True`; empty without a status.
    pub(crate) word: String,
    /// Its reason.
    pub(crate) reason: String,
    /// Its message.
    pub(crate) message: String,
}

/// Conditions in the order in which they are asked: the roll-up, then what fails first.
const RANKS: [&str; 7] =
    ["Ready", "Accepted", "ResolvedRefs", "sluice.dev/Programmed", "Programmed", "Generated", "CertificateReady"];

impl Summary {
    /// Of an object, its parents or its ancestors.
    pub(crate) fn of(object: &Value) -> Self {
        let status = object.get("status").unwrap_or(&Value::Null);
        let lists = ["/conditions", "/parents/0/conditions", "/ancestors/0/conditions"];
        let found: Vec<_> = lists.iter().filter_map(|list| status.pointer(list)?.as_array()).flatten().collect();
        let named = |name: &&str| found.iter().find(|condition| text(condition, "/type") == *name).copied();
        let known: Vec<_> = RANKS.iter().filter_map(named).collect();
        let roll_up = known.first().filter(|first| text(first, "/type") == "Ready");
        let failing = known.iter().find(|condition| text(condition, "/status") != "True");
        roll_up.or(failing).or(known.last()).map_or_else(Self::default, |condition| Self {
            word: format!("{}={}", text(condition, "/type"), text(condition, "/status")),
            reason: text(condition, "/reason").to_owned(),
            message: text(condition, "/message").to_owned(),
        })
    }
}

/// The text at a pointer; empty if there is none.
pub(crate) fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A table without lines, as kubectl prints it; each row ends its line.
pub(crate) fn table<R: Into<comfy_table::Row>>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.add_rows(rows);
    table.to_string().lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_roll_up_tells_most_then_what_fails_then_what_comes_last() {
        let condition =
            |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "R", "message": "M"});
        let cases = [
            (json!({"conditions": [condition("Accepted", "False"), condition("Ready", "True")]}), "Ready=True"),
            (
                json!({"parents": [{"conditions": [condition("Accepted", "True"), condition("ResolvedRefs", "False")]}]}),
                "ResolvedRefs=False",
            ),
            (
                json!({"conditions": [condition("Accepted", "True"), condition("Programmed", "True")]}),
                "Programmed=True",
            ),
            (json!({"conditions": [condition("Unheard", "False")]}), ""),
        ];
        for (status, expected) in cases {
            assert_eq!(Summary::of(&json!({"status": status})).word, expected, "{status}");
        }
    }
}
