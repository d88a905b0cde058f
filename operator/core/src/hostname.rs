//! Hostnames as listeners and routes write them: exact, or `*.` followed by a suffix of any number of labels.
//!
//! Source: Gateway API, `Listener.hostname` and `GRPCRouteSpec.hostnames`.

use crate::key::Text;
use std::fmt;

/// A lower-case hostname; `*` stands for every name (a listener or route that names none).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Text);

impl Hostname {
    /// `*`: any name.
    pub fn any() -> Self {
        Self("*".into())
    }

    /// A hostname as written in a manifest; an absent or empty one means any.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("") => Self::any(),
            Some(name) => Self(name.to_ascii_lowercase().into()),
        }
    }

    /// The text, `*` for any.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `*`.
    pub fn is_any(&self) -> bool {
        &*self.0 == "*"
    }

    /// Whether this is `*.suffix`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// `.example.com` of `*.example.com`.
    fn suffix(&self) -> Option<&str> {
        self.0.strip_prefix('*').filter(|rest| rest.starts_with('.'))
    }

    /// Whether every name that `other` stands for is one that this stands for.
    pub fn covers(&self, other: &Self) -> bool {
        if self.is_any() || self == other {
            return true;
        }
        let Some(suffix) = self.suffix() else { return false };
        match other.suffix() {
            Some(inner) => inner.ends_with(suffix),
            None => !other.is_any() && other.0.ends_with(suffix) && other.0.len() > suffix.len(),
        }
    }

    /// The names that both stand for: the narrower of the two, if either covers the other.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            Some(other.clone())
        } else if other.covers(self) {
            Some(self.clone())
        } else {
            None
        }
    }

    /// The names that cover this one, itself first, then ever wider ones, `*` last.
    pub fn covering(&self) -> Vec<Self> {
        let labels = self.0.strip_prefix("*.").unwrap_or(&self.0);
        let wider = labels.match_indices('.').map(|(dot, _)| Self(format!("*{}", labels.split_at(dot).1).into()));
        let own = std::iter::once(self.clone());
        own.chain(wider).chain((!self.is_any()).then(Self::any)).collect()
    }

    /// Orders by specificity, most specific greatest: exact, then wildcards by length, then any.
    ///
    /// Source: Gateway API, listener choice (exact > longer wildcard > shorter wildcard > none) and route precedence.
    pub fn specificity(&self) -> (u8, usize) {
        match (self.is_any(), self.is_wildcard()) {
            (true, _) => (0, 0),
            (_, true) => (1, self.0.len()),
            _ => (2, self.0.len()),
        }
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Hostname;

    fn host(text: &str) -> Hostname {
        Hostname::parse(Some(text))
    }

    #[test]
    fn intersection_is_the_narrower_name_or_nothing() {
        let table = [
            ("test.example.com", "*.example.com", Some("test.example.com")),
            ("*.example.com", "*.example.com", Some("*.example.com")),
            ("*.example.com", "a.b.example.com", Some("a.b.example.com")),
            ("*.example.com", "*.b.example.com", Some("*.b.example.com")),
            ("*.example.com", "example.com", None),
            ("test.example.com", "test.example.net", None),
            ("*", "*.example.com", Some("*.example.com")),
            ("*", "*", Some("*")),
            ("*.xample.com", "test.example.com", None),
            ("TEST.example.com", "test.example.com", Some("test.example.com")),
        ];
        for (left, right, expected) in table {
            let expected = expected.map(host);
            assert_eq!(host(left).intersect(&host(right)), expected, "{left} and {right}");
            assert_eq!(host(right).intersect(&host(left)), expected, "{right} and {left}");
        }
    }

    #[test]
    fn covering_names_go_from_the_name_itself_to_any() {
        let table: [(&str, &[&str]); 3] = [
            ("a.example.com", &["a.example.com", "*.example.com", "*.com", "*"]),
            ("*.example.com", &["*.example.com", "*.com", "*"]),
            ("*", &["*"]),
        ];
        for (name, expected) in table {
            let covering = host(name).covering();
            assert_eq!(covering.iter().map(Hostname::as_str).collect::<Vec<_>>(), expected);
            assert!(covering.iter().all(|wider| wider.covers(&host(name))));
        }
    }

    #[test]
    fn exact_names_are_more_specific_than_any_wildcard() {
        let mut names = ["*", "*.com", "a.io", "*.bar.example.com"].map(host);
        names.sort_by_key(Hostname::specificity);
        assert_eq!(names.map(|name| name.to_string()), ["*", "*.com", "*.bar.example.com", "a.io"]);
    }
}
