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

/// One list of edits for two, `then` after `first`: what `then` removes or sets is not left to what `first` adds.
pub(super) fn in_sequence(first: &ir::HeaderEdits, then: &ir::HeaderEdits) -> ir::HeaderEdits {
    let is_removed = |name: &Text| then.remove.iter().any(|removed| removed.eq_ignore_ascii_case(name));
    let is_set = |name: &Text| then.set.iter().any(|(set, _)| set.eq_ignore_ascii_case(name));
    let set = first.set.iter().filter(|(name, _)| !is_removed(name)).chain(&then.set);
    let add = first.add.iter().filter(|(name, _)| !is_removed(name) && !is_set(name)).chain(&then.add);
    let remove = first.remove.iter().chain(then.remove.iter().filter(|name| !first.remove.contains(name)));
    ir::HeaderEdits { set: set.cloned().collect(), add: add.cloned().collect(), remove: remove.cloned().collect() }
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
