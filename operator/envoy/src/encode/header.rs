//! Edits of headers.
//!
//! [`ir::HeaderEdits`] → `HeaderValueOption`s and names to remove
//!
//! **Invariant:** values are literal: `%` starts a command in Envoy's formats and is doubled.

use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
};
use sluice_core::{ir, key::Text};

/// What is set and what is added, in this order.
pub(super) fn added(edits: &ir::HeaderEdits) -> Vec<HeaderValueOption> {
    let set = edits.set.iter().map(|pair| option(pair, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = edits.add.iter().map(|pair| option(pair, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add).collect()
}

/// Envoy removes before it adds, whatever the order in the message.
pub(super) fn removed(edits: &ir::HeaderEdits) -> Vec<String> {
    edits.remove.iter().map(ToString::to_string).collect()
}

fn option((name, value): &(Text, Text), append: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_string(), value: literal(value), ..Default::default() }),
        append_action: append.into(),
        keep_empty_value: true,
        ..Default::default()
    }
}

fn literal(value: &str) -> String {
    value.replace('%', "%%")
}
