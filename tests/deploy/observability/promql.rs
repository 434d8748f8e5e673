//! As much of `PromQL` as these tests need: which series an expression selects.

use std::collections::BTreeSet;

/// A metric with the matchers that stand after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Selector {
    pub(super) metric: String,
    /// Without the braces.
    pub(super) matchers: String,
}

impl Selector {
    /// Names of labels, operators and values.
    pub(super) fn matches(&self) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        let mut rest = self.matchers.as_str();
        while let Some((head, tail)) = rest.split_once('"') {
            let (value, tail) = tail.split_once('"').unwrap();
            let name_end = head.find(['=', '!']).unwrap();
            let name = head[..name_end].trim_start_matches([',', ' ']).trim().to_owned();
            found.push((name, head[name_end..].trim().to_owned(), value.to_owned()));
            rest = tail;
        }
        found
    }
}

const PREFIXES: [&str; 7] = ["certmanager_", "dgm_", "dgm:", "kubelet_", "process_", "scrape_", "up"];

/// Every selector of an expression.
pub(super) fn selectors(expr: &str) -> BTreeSet<Selector> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = BTreeSet::new();
    let mut rest = expr;
    while let Some(start) = rest.find(word) {
        let end = rest[start..].find(|c| !word(c)).map_or(rest.len(), |length| start + length);
        let (name, after) = (&rest[start..end], &rest[end..]);
        let quoted = expr[..expr.len() - rest.len() + start].matches('"').count() % 2 == 1;
        let known = PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && (name != "up" || after.starts_with('{'));
        rest = after;
        if quoted || !known {
            continue;
        }
        let matchers = after.strip_prefix('{').map_or("", braced);
        found.insert(Selector { metric: name.to_owned(), matchers: matchers.to_owned() });
        rest = &after[if matchers.is_empty() { 0 } else { matchers.len() + 2 }..];
    }
    found
}

/// What stands before the closing brace; one in quotes closes nothing.
fn braced(text: &str) -> &str {
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        c == '}' && !quoted
    });
    &text[..end.unwrap()]
}

#[test]
fn selectors_are_found_with_their_matchers() {
    let found = selectors(
        "sum by (dgm) (rate(dgm_a_total{x=\"dgm_t\", y=~\"b|{c}\"}[5m])) / on (job) up{job=\"d\"} > dgm:r:rate5m",
    );
    let found: Vec<_> = found.iter().map(|s| (s.metric.as_str(), s.matches().len())).collect();
    assert_eq!(found, [("dgm:r:rate5m", 0), ("dgm_a_total", 2), ("up", 1)]);
}
