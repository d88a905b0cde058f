//! New paths and new places.
//!
//! [`ir::Redirect`], [`ir::Rewrite`] → `RedirectAction`, fields of `RouteAction`
//!
//! **Invariant:** a prefix is replaced by whole segments: `/foo/bar` with `/foo` replaced by nothing is `/bar`, never `//bar`.
//! **Invariant:** a redirect names no port that its scheme implies, unless only that takes the request's own port away.
//!
//! Must not know: backends.

use envoy_types::pb::envoy::{
    config::route::v3::{
        RedirectAction, RouteAction,
        redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
        route_action::HostRewriteSpecifier,
    },
    r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher},
};
use sluice_core::{
    ir::{self, PathEdit, PathMatcher},
    key::Text,
};

/// The redirect of a route whose callers come by `listener`, a scheme and a port.
pub(super) fn redirect(to: &ir::Redirect, matched: &PathMatcher, listener: Option<(&str, u16)>) -> RedirectAction {
    RedirectAction {
        host_redirect: to.hostname.as_deref().unwrap_or_default().to_owned(),
        port_redirect: port(to, listener).map(u32::from).unwrap_or_default(),
        response_code: status(to.status).into(),
        scheme_rewrite_specifier: to.scheme.as_deref().map(|name| SchemeRewriteSpecifier::SchemeRedirect(name.into())),
        path_rewrite_specifier: to.path.as_ref().map(|edit| match replaced(edit, matched) {
            Replaced::Whole(path) => PathRewriteSpecifier::PathRedirect(path),
            Replaced::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix),
            Replaced::Regex(regex) => PathRewriteSpecifier::RegexRewrite(regex),
        }),
        ..Default::default()
    }
}

/// Puts a rewrite into an action.
pub(super) fn rewrite(action: RouteAction, by: &ir::Rewrite, matched: &PathMatcher) -> RouteAction {
    let host = by.hostname.as_ref().map(|name| HostRewriteSpecifier::HostRewriteLiteral(name.to_string()));
    let action = RouteAction { host_rewrite_specifier: host, ..action };
    match by.path.as_ref().map(|edit| replaced(edit, matched)) {
        None => action,
        Some(Replaced::Whole(path)) => RouteAction { regex_rewrite: Some(substitute("^/.*$", &path)), ..action },
        Some(Replaced::Prefix(prefix)) => RouteAction { prefix_rewrite: prefix, ..action },
        Some(Replaced::Regex(regex)) => RouteAction { regex_rewrite: Some(regex), ..action },
    }
}

/// Source: Gateway API, `HTTPRequestRedirectFilter.port`. Envoy leaves the request's own port if it is told neither host nor port.
fn port(to: &ir::Redirect, listener: Option<(&str, u16)>) -> Option<u16> {
    let scheme = to.scheme.as_deref().or(listener.map(|(scheme, _)| scheme));
    let implied = scheme.map(|scheme| if scheme == "https" { 443 } else { 80 });
    let asked = to.port.or(implied.filter(|_| to.scheme.is_some()));
    let wanted = if to.hostname.is_some() { asked.or(listener.map(|(_, port)| port)) } else { asked };
    wanted.filter(|port| Some(*port) != implied || to.hostname.is_none())
}

const fn status(code: u16) -> RedirectResponseCode {
    match code {
        301 => RedirectResponseCode::MovedPermanently,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::Found,
    }
}

enum Replaced {
    Whole(String),
    Prefix(String),
    Regex(RegexMatchAndSubstitute),
}

/// Envoy replaces the text that matched, so where one of the two is the root the `/` between the parts has to be accounted for.
fn replaced(edit: &PathEdit, matched: &PathMatcher) -> Replaced {
    let with = match edit {
        PathEdit::Full(path) => return Replaced::Whole(path.to_string()),
        PathEdit::Prefix(with) => with,
    };
    match matched {
        PathMatcher::Segments(prefix) if with.is_empty() => Replaced::Regex(substitute(&leading(prefix), "/")),
        PathMatcher::Segments(_) => Replaced::Prefix(with.to_string()),
        _ => Replaced::Prefix(format!("{with}/")),
    }
}

/// The prefix with every `/` behind it.
fn leading(prefix: &Text) -> String {
    let literal = prefix.chars().flat_map(|letter| {
        let escape = (!letter.is_ascii_alphanumeric() && !matches!(letter, '/' | '-' | '_')).then_some('\\');
        escape.into_iter().chain([letter])
    });
    format!("^{}/*", literal.collect::<String>())
}

/// A backslash in what is put in would refer to a group.
fn substitute(regex: &str, with: &str) -> RegexMatchAndSubstitute {
    let pattern = Some(RegexMatcher { regex: regex.to_owned(), ..Default::default() });
    RegexMatchAndSubstitute { pattern, substitution: with.replace('\\', "\\\\") }
}
