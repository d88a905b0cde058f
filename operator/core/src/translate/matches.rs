//! Matches that every route kind has: headers, and query parameters, which have the same shape.
//!
//! `headers[]`, `queryParams[]` → [`ValueMatcher`]s
//!
//! **Invariant:** names are distinct: of equal ones the first counts, as the specification says.
//!
//! Knows nothing of paths.

pub(super) mod expression;

use crate::{
    ir::{ValueMatcher, ValueTest},
    key::Text,
    status::route::RuleFault,
    world::route::NamedMatch,
};
use std::collections::BTreeSet;

/// Header names are equal regardless of case.
pub(super) fn headers(list: &[NamedMatch], at: &str) -> Result<Vec<ValueMatcher>, RuleFault> {
    let named = list.iter().enumerate().map(|(index, header)| {
        let at = format!("{at}.headers[{index}]");
        name(&header.name, &at).map(|name| (at, name, header))
    });
    distinct(named.collect::<Result<_, _>>()?)
}

/// Parameter names are equal letter by letter.
pub(super) fn query(list: &[NamedMatch], at: &str) -> Result<Vec<ValueMatcher>, RuleFault> {
    let named = list.iter().enumerate();
    let named = named.map(|(index, param)| (format!("{at}.queryParams[{index}]"), param.name.clone(), param));
    let named: Vec<_> = named.collect();
    // Envoy refuses a parameter without a name.
    match named.iter().find(|(_, name, _)| name.is_empty()) {
        Some((at, name, _)) => {
            Err(RuleFault::Malformed { at: format!("{at}.name"), value: name.clone(), expected: "a parameter's name" })
        }
        None => distinct(named),
    }
}

/// A header name in lower case.
pub(super) fn name(name: &Text, at: &str) -> Result<Text, RuleFault> {
    let fault = || RuleFault::Malformed { at: format!("{at}.name"), value: name.clone(), expected: "a header name" };
    is_token(name).then(|| name.to_ascii_lowercase().into()).ok_or_else(fault)
}

/// Source: RFC 9110, `token`. A pseudo-header such as `:path` is none.
fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

fn distinct(named: Vec<(String, Text, &NamedMatch)>) -> Result<Vec<ValueMatcher>, RuleFault> {
    let mut seen = BTreeSet::new();
    let first = named.into_iter().filter(|(_, name, _)| seen.insert(name.clone()));
    first.map(|(at, name, matched)| Ok(ValueMatcher { name, value: value(matched, &at)? })).collect()
}

fn value(matched: &NamedMatch, at: &str) -> Result<ValueTest, RuleFault> {
    match matched.kind.as_deref() {
        None | Some("Exact") => Ok(ValueTest::Exact(matched.value.clone())),
        Some("RegularExpression") => {
            expression::check(&matched.value, &format!("{at}.value"))?;
            Ok(ValueTest::Regex(matched.value.clone()))
        }
        Some(other) => Err(RuleFault::UnknownValue {
            at: format!("{at}.type"),
            value: other.into(),
            known: "Exact or RegularExpression",
        }),
    }
}
