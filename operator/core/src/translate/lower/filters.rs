//! Filters: edits of headers and URLs, copies, and what is not implemented.
//!
//! `filters[]` → [`Filters`]
//!
//! **Invariant:** no filter touches a header that the protocol lives by, nor writes a value that could end one.
//!
//! Knows nothing of what a mirror or an extension refers to. Source: Gateway API, `GRPCRouteFilter`.

use super::url;
use crate::{
    ir::{HeaderEdits, Redirect, Rewrite},
    key::Text,
    status::route::RuleFault,
    translate::matches,
    world::{
        gateway::ParametersRef,
        route::{Filter, HeaderModifier, HeaderValue, Mirror},
    },
};
use std::collections::BTreeSet;

/// A list of filters, sorted by what they do.
#[derive(Debug, Default)]
pub(super) struct Filters<'a> {
    pub(super) request: Option<HeaderEdits>,
    pub(super) response: Option<HeaderEdits>,
    pub(super) mirrors: Vec<(String, &'a Mirror)>,
    pub(super) redirect: Option<(String, Redirect)>,
    pub(super) rewrite: Option<(String, Rewrite)>,
    pub(super) extensions: Vec<(String, &'a ParametersRef)>,
}

/// Hop by hop (RFC 9110, 7.6.1), or decided by the listener and the matched route.
const PROTECTED: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The filters at `at`, each followed by its index.
pub(super) fn sort<'a>(filters: &'a [Filter], at: &str) -> Result<Filters<'a>, RuleFault> {
    let mut sorted = Filters::default();
    for (index, filter) in filters.iter().enumerate() {
        sorted.take(filter, format!("{at}.filters[{index}]"))?;
    }
    Ok(sorted)
}

impl<'a> Filters<'a> {
    fn take(&mut self, filter: &'a Filter, at: String) -> Result<(), RuleFault> {
        match &*filter.kind {
            "RequestHeaderModifier" => {
                let modifier = body(filter.request_header_modifier.as_ref(), &filter.kind, &at)?;
                once(&mut self.request, edits(modifier, &format!("{at}.requestHeaderModifier"))?, at)
            }
            "ResponseHeaderModifier" => {
                let modifier = body(filter.response_header_modifier.as_ref(), &filter.kind, &at)?;
                once(&mut self.response, edits(modifier, &format!("{at}.responseHeaderModifier"))?, at)
            }
            "RequestMirror" => {
                let mirror = body(filter.request_mirror.as_ref(), &filter.kind, &at)?;
                self.mirrors.push((at, mirror));
                Ok(())
            }
            "RequestRedirect" => {
                let redirect = body(filter.request_redirect.as_ref(), &filter.kind, &at)?;
                let redirect = url::redirect(redirect, &at)?;
                once(&mut self.redirect, (at.clone(), redirect), at)
            }
            "URLRewrite" => {
                let rewrite = body(filter.url_rewrite.as_ref(), &filter.kind, &at)?;
                let rewrite = url::rewrite(rewrite, &at)?;
                once(&mut self.rewrite, (at.clone(), rewrite), at)
            }
            "ExtensionRef" => {
                let extension = body(filter.extension_ref.as_ref(), &filter.kind, &at)?;
                self.extensions.push((at, extension));
                Ok(())
            }
            _ => Err(RuleFault::NotImplemented { at, what: format!("filter {}", filter.kind).into() }),
        }
    }
}

fn body<'a, T>(body: Option<&'a T>, kind: &Text, at: &str) -> Result<&'a T, RuleFault> {
    body.ok_or_else(|| RuleFault::Malformed {
        at: at.to_owned(),
        value: kind.clone(),
        expected: "a complete filter: write the field of its type",
    })
}

fn once<T>(slot: &mut Option<T>, edits: T, at: String) -> Result<(), RuleFault> {
    let why = "a second filter of the same type: write all edits into the first";
    match slot.replace(edits) {
        Some(_) => Err(RuleFault::Incompatible { at, why }),
        None => Ok(()),
    }
}

fn edits(modifier: &HeaderModifier, at: &str) -> Result<HeaderEdits, RuleFault> {
    Ok(HeaderEdits {
        set: values(&modifier.set, &format!("{at}.set"))?,
        add: values(&modifier.add, &format!("{at}.add"))?,
        remove: removed(&modifier.remove, &format!("{at}.remove"))?,
    })
}

fn values(list: &[HeaderValue], at: &str) -> Result<Vec<(Text, Text)>, RuleFault> {
    let mut seen = BTreeSet::new();
    let mut values = Vec::new();
    for (index, header) in list.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let name = editable(&header.name, &at)?;
        let value = value(&header.value, &at)?;
        // Source: Gateway API, `HTTPHeader.name`: of equal names the first counts.
        if seen.insert(name.clone()) {
            values.push((name, value));
        }
    }
    Ok(values)
}

fn removed(list: &[Text], at: &str) -> Result<Vec<Text>, RuleFault> {
    list.iter().enumerate().map(|(index, name)| editable(name, &format!("{at}[{index}]"))).collect()
}

fn editable(name: &Text, at: &str) -> Result<Text, RuleFault> {
    let pseudo = name.starts_with(':');
    let lower = if pseudo { name.clone() } else { matches::name(name, at)? };
    let protected = pseudo || PROTECTED.contains(&&*lower);
    let fault = || RuleFault::ProtectedHeader { at: at.to_owned(), name: name.clone() };
    (!protected).then_some(lower).ok_or_else(fault)
}

/// CR, LF and NUL would end the header and begin another one.
fn value(value: &Text, at: &str) -> Result<Text, RuleFault> {
    let safe = !value.chars().any(|letter| letter.is_control() && letter != '\t');
    let fault = || RuleFault::Malformed {
        at: format!("{at}.value"),
        value: value.clone(),
        expected: "a header value: it has a control character",
    };
    safe.then(|| value.clone()).ok_or_else(fault)
}
