//! Redirects and rewrites: what an HTTPRoute does to the URL of a request.
//!
//! `requestRedirect`, `urlRewrite` → [`Redirect`], [`Rewrite`]
//!
//! **Invariant:** what is put into a path is a path: it starts with `/` and carries no query.
//!
//! Knows nothing of listeners. Source: Gateway API, `HTTPRequestRedirectFilter`, `HTTPURLRewriteFilter`.

use crate::{
    ir::{Matcher, PathEdit, PathMatcher, Redirect, Rewrite},
    key::Text,
    status::route::RuleFault,
    world::route::{PathModifier, RequestRedirect, UrlRewrite},
};

pub(super) fn redirect(filter: &RequestRedirect, at: &str) -> Result<Redirect, RuleFault> {
    let at = format!("{at}.requestRedirect");
    Ok(Redirect {
        scheme: filter.scheme.as_ref().map(|scheme| known(scheme, &at)).transpose()?,
        hostname: filter.hostname.as_ref().map(|name| host(name, &at)).transpose()?,
        path: filter.path.as_ref().map(|path| edit(path, &at)).transpose()?,
        port: filter.port,
        status: status(filter.status_code.unwrap_or(302), &at)?,
    })
}

pub(super) fn rewrite(filter: &UrlRewrite, at: &str) -> Result<Rewrite, RuleFault> {
    let at = format!("{at}.urlRewrite");
    Ok(Rewrite {
        hostname: filter.hostname.as_ref().map(|name| host(name, &at)).transpose()?,
        path: filter.path.as_ref().map(|path| edit(path, &at)).transpose()?,
    })
}

/// Only what was matched as a prefix can be replaced as one.
pub(super) fn fits(edit: Option<&PathEdit>, matcher: &Matcher, at: &str) -> Result<(), RuleFault> {
    let is_prefix = matches!(matcher.path, PathMatcher::Any | PathMatcher::Segments(_));
    let why = "replaces a prefix, and a match of the rule is none: use path type PathPrefix in every match, or ReplaceFullPath";
    match edit {
        Some(PathEdit::Prefix(_)) if !is_prefix => Err(RuleFault::Incompatible { at: at.to_owned(), why }),
        _ => Ok(()),
    }
}

fn known(scheme: &Text, at: &str) -> Result<Text, RuleFault> {
    let fault =
        || RuleFault::UnknownValue { at: format!("{at}.scheme"), value: scheme.clone(), known: "http or https" };
    matches!(&**scheme, "http" | "https").then(|| scheme.clone()).ok_or_else(fault)
}

fn host(name: &Text, at: &str) -> Result<Text, RuleFault> {
    let valid = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter));
    let fault = || RuleFault::Malformed {
        at: format!("{at}.hostname"),
        value: name.clone(),
        expected: "a hostname without a wildcard and without a port",
    };
    valid.then(|| name.clone()).ok_or_else(fault)
}

fn status(code: u16, at: &str) -> Result<u16, RuleFault> {
    let fault = || RuleFault::UnknownValue {
        at: format!("{at}.statusCode"),
        value: code.to_string().into(),
        known: "301, 302, 303, 307 or 308",
    };
    matches!(code, 301 | 302 | 303 | 307 | 308).then_some(code).ok_or_else(fault)
}

fn edit(path: &PathModifier, at: &str) -> Result<PathEdit, RuleFault> {
    let at = format!("{at}.path");
    let text = |value: &Option<Text>| value.clone().unwrap_or_default();
    match &*path.kind {
        "ReplaceFullPath" => {
            let full = text(&path.replace_full_path);
            // An empty path is the root.
            let full = if full.is_empty() { "/".into() } else { full };
            plain(full, &format!("{at}.replaceFullPath")).map(PathEdit::Full)
        }
        "ReplacePrefixMatch" => {
            let prefix: Text = text(&path.replace_prefix_match).trim_end_matches('/').into();
            plain(prefix, &format!("{at}.replacePrefixMatch")).map(PathEdit::Prefix)
        }
        _ => Err(RuleFault::UnknownValue {
            at: format!("{at}.type"),
            value: path.kind.clone(),
            known: "ReplaceFullPath or ReplacePrefixMatch",
        }),
    }
}

fn plain(value: Text, at: &str) -> Result<Text, RuleFault> {
    let is_path = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '?' | '#');
    let valid = (value.is_empty() || value.starts_with('/')) && value.chars().all(is_path);
    let expected = "a path that starts with / and has no query";
    let fault = || RuleFault::Malformed { at: at.to_owned(), value: value.clone(), expected };
    if valid { Ok(value) } else { Err(fault()) }
}
