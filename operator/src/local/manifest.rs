//! Manifests as people write them: YAML or JSON, many documents in a file, `List`s of objects.
//!
//! text of a file → [`Document`]s that know the line of every field, and findings
//!
//! **Invariant:** a document that cannot be read takes no other document of its file with it.
//!
//! It must not know what the kinds mean, nor where the text came from.

use super::finding::{Finding, Place};
use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, ScanError, YamlData};
use serde_json::{Map, Number, Value};
use std::{collections::BTreeMap, sync::Arc};

/// Levels of nesting beyond which a document is refused; objects of Kubernetes stay far below.
const MAX_DEPTH: usize = 64;

/// One object as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// The object.
    pub(crate) value: Value,
    /// Where it is.
    pub(crate) place: Place,
    lines: Arc<Lines>,
    /// Path of this object in its document: not empty for an item of a `List`.
    root: String,
}

/// The line of each field, by path: `spec.rules[0].backends`.
type Lines = BTreeMap<String, usize>;

impl Document {
    /// The place of a field, or of the nearest one around it that was written.
    pub(crate) fn at(&self, path: &str) -> Place {
        let full = join(&self.root, path);
        let mut known = full.as_str();
        loop {
            if let Some(line) = self.lines.get(known) {
                return Place { file: self.place.file.clone(), line: *line };
            }
            let Some(cut) = known.rfind(['.', '[']) else { return self.place.clone() };
            known = known.get(..cut).unwrap_or_default();
        }
    }
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    /// Its objects in order, `List`s flattened.
    pub(crate) documents: Vec<Document>,
    /// What could not be read.
    pub(crate) findings: Vec<Finding>,
}

/// Reads the text of a file.
pub(crate) fn parse(file: &Arc<str>, text: &str) -> Manifest {
    let mut manifest = Manifest::default();
    for (first_line, part) in split(text) {
        match read_part(file, first_line, part) {
            Ok(documents) => manifest.documents.extend(documents),
            Err(finding) => manifest.findings.push(finding),
        }
    }
    manifest
}

/// Cut at the separator lines before parsing, as kubectl does, so that a syntax error stays in its document.
/// Yields the number of lines before each part.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_separator(line) {
            parts.push((first_line, text.get(start..offset).unwrap_or_default()));
            (start, first_line) = (offset + line.len(), number + 1);
        }
        offset += line.len();
    }
    parts.push((first_line, text.get(start..).unwrap_or_default()));
    parts
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('#'))
}

fn read_part(file: &Arc<str>, offset: usize, part: &str) -> Result<Vec<Document>, Finding> {
    let place = |line: usize| Place { file: file.clone(), line: offset + line };
    let roots = MarkedYaml::load_from_str(part).map_err(|error| {
        let line = place(line_of(&error, part));
        Finding::error(line, format!("not valid YAML: {}{}", error.info(), remedy(&error)))
    })?;
    let mut documents = Vec::new();
    for root in &roots {
        let mut reading = Reading { offset, lines: Lines::new() };
        let line = root.span.start.line();
        let value = reading.value(root, "", 0).map_err(|(line, reason)| Finding::error(place(line), reason))?;
        let lines = Arc::new(reading.lines);
        documents.extend(flatten(Document { value, place: place(line), lines, root: String::new() })?);
    }
    Ok(documents)
}

/// A bracket that is not closed is noticed at the start of what follows it: the mistake is in the last line before.
fn line_of(error: &ScanError, part: &str) -> usize {
    let noticed = error.marker().line();
    let written = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let current = part.lines().nth(noticed.saturating_sub(1)).unwrap_or_default();
    let before = current.chars().take(error.marker().col());
    if !is_about_brackets(error) || before.into_iter().any(|letter| !letter.is_whitespace()) {
        return noticed;
    }
    let earlier: Vec<_> = part.lines().take(noticed.saturating_sub(1)).collect();
    earlier.iter().rposition(|line| written(line)).map_or(noticed, |index| index + 1)
}

fn remedy(error: &ScanError) -> &'static str {
    if is_about_brackets(error) { ": close each [ and { that is open" } else { "" }
}

fn is_about_brackets(error: &ScanError) -> bool {
    error.info().contains("flow")
}

/// Items of a `List` stand for themselves; an empty document stands for nothing.
fn flatten(document: Document) -> Result<Vec<Document>, Finding> {
    let fields = match &document.value {
        Value::Null => return Ok(Vec::new()),
        Value::Object(fields) => fields,
        _ => return Err(Finding::error(document.place, "not an object: it has no apiVersion and kind")),
    };
    let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
    match fields.get("items") {
        Some(Value::Array(items)) if kind.ends_with("List") => {
            Ok(items.iter().enumerate().map(|(index, item)| item_of(&document, index, item)).collect())
        }
        _ => Ok(vec![document]),
    }
}

fn item_of(list: &Document, index: usize, item: &Value) -> Document {
    let root = format!("items[{index}]");
    Document { value: item.clone(), place: list.at(&root), lines: list.lines.clone(), root }
}

struct Reading {
    offset: usize,
    lines: Lines,
}

type Unreadable = (usize, String);

impl Reading {
    fn value(&mut self, node: &MarkedYaml<'_>, path: &str, depth: usize) -> Result<Value, Unreadable> {
        let line = node.span.start.line();
        if depth > MAX_DEPTH {
            return Err((line, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.lines.entry(path.to_owned()).or_insert(self.offset + line);
        match &node.data {
            YamlData::Value(scalar) => Ok(scalar_value(scalar)),
            YamlData::Sequence(items) => self.sequence(items, path, depth),
            YamlData::Mapping(fields) => self.mapping(fields, path, depth),
            YamlData::Tagged(_, inner) => self.value(inner, path, depth + 1),
            YamlData::Representation(text, ..) => Ok(Value::String(text.to_string())),
            YamlData::Alias(_) | YamlData::BadValue => Err((line, "a value that does not fit its tag".to_owned())),
        }
    }

    fn sequence(&mut self, items: &[MarkedYaml<'_>], path: &str, depth: usize) -> Result<Value, Unreadable> {
        let items = items.iter().enumerate();
        items.map(|(index, item)| self.value(item, &format!("{path}[{index}]"), depth + 1)).collect()
    }

    fn mapping<'a, 'n: 'a>(
        &mut self,
        fields: impl IntoIterator<Item = (&'a MarkedYaml<'n>, &'a MarkedYaml<'n>)>,
        path: &str,
        depth: usize,
    ) -> Result<Value, Unreadable> {
        let mut map = Map::new();
        for (key, value) in fields {
            let line = key.span.start.line();
            let name = key_text(key).ok_or_else(|| (line, "a key that is not text".to_owned()))?;
            let path = join(path, &name);
            self.lines.insert(path.clone(), self.offset + line);
            map.insert(name, self.value(value, &path, depth + 1)?);
        }
        Ok(Value::Object(map))
    }
}

fn key_text(key: &MarkedYaml<'_>) -> Option<String> {
    match &key.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(scalar) => match scalar_value(scalar) {
            Value::Null => None,
            value => Some(value.to_string()),
        },
        _ => None,
    }
}

fn scalar_value(scalar: &Scalar<'_>) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(value) => Value::Bool(*value),
        Scalar::Integer(value) => Value::Number((*value).into()),
        Scalar::FloatingPoint(value) => Number::from_f64(value.into_inner()).map_or(Value::Null, Value::Number),
        Scalar::String(text) => Value::String(text.to_string()),
    }
}

fn join(path: &str, field: &str) -> String {
    match (path.is_empty(), field.is_empty()) {
        (true, _) => field.to_owned(),
        (_, true) => path.to_owned(),
        _ if field.starts_with('[') => format!("{path}{field}"),
        _ => format!("{path}.{field}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Manifest {
        parse(&"a.yaml".into(), text)
    }

    #[test]
    fn documents_know_the_lines_of_their_fields() {
        let manifest = read("# first\nkind: A\n---\nkind: B\nspec:\n  rules:\n  - name: x\n    matches: []\n");
        assert_eq!(manifest.findings, []);
        let [first, second] = manifest.documents.as_slice() else { panic!("two documents") };
        assert_eq!((first.place.line, second.place.line), (2, 4));
        for (path, line) in [("kind", 4), ("spec.rules", 6), ("spec.rules[0]", 7), ("spec.rules[0].matches[3].x", 8)] {
            assert_eq!(second.at(path).line, line, "{path}");
        }
    }

    #[test]
    fn a_syntax_error_names_its_line_and_keeps_the_other_documents() {
        let manifest = read("kind: A\n---\nkind: B\nspec: [\n---\nkind: C\n");
        let kinds: Vec<_> = manifest.documents.iter().map(|document| document.value["kind"].clone()).collect();
        assert_eq!(kinds, ["A", "C"]);
        let [finding] = manifest.findings.as_slice() else { panic!("one finding") };
        assert!((4..=5).contains(&finding.place.line), "{finding}");
    }

    #[test]
    fn a_bracket_that_is_not_closed_is_named_at_its_line() {
        let cases =
            [("a: 1\nb: [{c: d]\ne: f\n", 2), ("a: 1\nb: [c\n\n# said later\ne: f\n", 2), ("a: 1\nb: {c: d\n", 2)];
        for (text, line) in cases {
            let manifest = read(text);
            let [finding] = manifest.findings.as_slice() else { panic!("one finding: {text}") };
            assert_eq!(finding.place.line, line, "{finding}");
            assert!(finding.message.ends_with("close each [ and { that is open"), "{finding}");
        }
    }

    #[test]
    fn lists_are_flattened_and_empty_documents_are_nothing() {
        let manifest = read("---\n---\nkind: List\nitems:\n- kind: A\n- kind: B\n  spec: {x: 1}\n");
        let [first, second] = manifest.documents.as_slice() else { panic!("two documents") };
        assert_eq!((first.place.line, second.at("spec.x").line), (5, 7));
        assert_eq!(second.value, json!({"kind": "B", "spec": {"x": 1}}));
    }

    #[test]
    fn json_reads_like_yaml() {
        let manifest =
            read("{\n\t\"kind\": \"A\",\n\t\"spec\": {\"port\": 1, \"ratio\": 0.5, \"on\": true, \"none\": null}\n}\n");
        assert_eq!(manifest.findings, []);
        let expected = json!({"kind": "A", "spec": {"port": 1, "ratio": 0.5, "on": true, "none": null}});
        assert_eq!(manifest.documents[0].value, expected);
        assert_eq!(manifest.documents[0].at("spec").line, 3);
    }

    #[test]
    fn hostile_text_is_refused_without_a_crash() {
        for text in [
            "[".repeat(100_000),
            format!("a: {}1{}", "[".repeat(200), "]".repeat(200)),
            "- 1".to_owned(),
            "? [a]\n: 1".to_owned(),
            "a: 1\na: 2".to_owned(),
        ] {
            let manifest = read(&text);
            assert_eq!(manifest.documents, [], "{}", &text[..3]);
            assert_eq!(manifest.findings.len(), 1, "{}", &text[..3]);
        }
    }
}
