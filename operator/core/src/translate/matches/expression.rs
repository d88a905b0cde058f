//! Regular expressions: what is let through to Envoy, which compiles them with RE2.
//!
//! an expression → accepted, or what is wrong with it
//!
//! **Invariant:** what is accepted here, RE2 accepts, and reads in the same way. The parser is Rust's, whose syntax is wider
//! in places: whatever RE2 refuses or reads differently is refused by name. Envoy 1.40 has RE2 read Latin-1: a character beyond
//! ASCII is as many letters as it has bytes in UTF-8, and no escape goes beyond `\xFF`.
//! **Invariant:** an accepted expression stays whole when it is wrapped in a group.
//!
//! Knows nothing of what is matched. Sources: RE2's `re2/syntax.txt` and `re2/parse.cc`; `regex-syntax`'s `ast`.

use crate::{key::Text, status::route::RuleFault};
use regex_syntax::ast::{
    AssertionKind, Ast, ClassBracketed, ClassSet, ClassSetItem, ClassUnicode, ClassUnicodeKind, Flag, Flags,
    FlagsItemKind, GroupKind, HexLiteralKind, Literal, LiteralKind, Repetition, RepetitionKind, RepetitionRange, Span,
    parse::ParserBuilder,
};

/// In bytes. Longer ones are programs, and belong into the backend.
const MAX_LENGTH: usize = 1024;
/// RE2's limit, for one repetition and for nested ones multiplied.
const MAX_REPETITION: u32 = 1000;
/// Of groups, classes and repetitions; RE2 stops at 1000.
const MAX_NESTING: u32 = 64;
/// In bytes, of the compiled program. RE2 gives up at about 170,000 instructions of 16 bytes; this is well below.
const MAX_PROGRAM: usize = 1 << 20;
/// The names that RE2 knows for `\p`; those of scripts depend on how it was built.
const CATEGORIES: [&str; 35] = [
    "C", "Cc", "Cf", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P", "Pc",
    "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
];

/// Whether RE2 takes `expression`; `at` is its place, for messages.
pub(in crate::translate) fn check(expression: &Text, at: &str) -> Result<(), RuleFault> {
    let fault = |fault: String| RuleFault::Expression { at: at.to_owned(), value: shortened(expression), fault };
    inspect(expression).map_err(fault)
}

fn shortened(expression: &Text) -> Text {
    if expression.len() <= MAX_LENGTH {
        expression.clone()
    } else {
        expression.chars().take(64).collect::<String>().into()
    }
}

fn inspect(expression: &str) -> Result<(), String> {
    if expression.is_empty() {
        return Err("is empty: write what it has to match".to_owned());
    }
    if expression.len() > MAX_LENGTH {
        return Err(format!("longer than {MAX_LENGTH} bytes: shorten it"));
    }
    if expression.chars().any(char::is_control) {
        return Err("has a control character: write it as an escape such as \\t".to_owned());
    }
    let parsed = ParserBuilder::new().nest_limit(MAX_NESTING).build().parse(expression);
    let ast = parsed.map_err(|error| error.kind().to_string())?;
    Inspection { expression }.ast(&ast, 1).map_err(str::to_owned)?;
    // The syntax is known to be good by now: what fails here is the size.
    let compiled = regex::RegexBuilder::new(expression).size_limit(MAX_PROGRAM).build();
    compiled.map(drop).map_err(|_| "too large when compiled: repeat less, or narrow its classes".to_owned())
}

type Verdict = Result<(), &'static str>;

/// A walk over the tree; its depth is bounded by [`MAX_NESTING`].
struct Inspection<'a> {
    expression: &'a str,
}

impl Inspection<'_> {
    /// `times` is the product of the repetitions around `ast`.
    fn ast(&self, ast: &Ast, times: u32) -> Verdict {
        match ast {
            Ast::Empty(_) | Ast::Dot(_) | Ast::ClassPerl(_) => Ok(()),
            Ast::Flags(set) => flags(&set.flags),
            Ast::Literal(literal) => self.literal(literal),
            Ast::Assertion(assertion) => anchor(&assertion.kind),
            Ast::ClassUnicode(class) => category(class),
            Ast::ClassBracketed(class) => self.class(class),
            Ast::Repetition(repetition) => self.repetition(repetition, times),
            Ast::Group(group) => self.group(&group.kind, &group.ast, times),
            Ast::Alternation(of) => of.asts.iter().try_for_each(|ast| self.ast(ast, times)),
            Ast::Concat(of) => of.asts.iter().try_for_each(|ast| self.ast(ast, times)),
        }
    }

    fn group(&self, kind: &GroupKind, inner: &Ast, times: u32) -> Verdict {
        match kind {
            GroupKind::CaptureIndex(_) => Ok(()),
            GroupKind::CaptureName { starts_with_p: false, .. } => {
                Err("(?<name>…) is not RE2: write (?P<name>…) or (?:…)")
            }
            GroupKind::CaptureName { name, .. } => word(&name.name),
            GroupKind::NonCapturing(set) => flags(set),
        }?;
        self.ast(inner, times)
    }

    fn repetition(&self, repetition: &Repetition, times: u32) -> Verdict {
        match &*repetition.ast {
            Ast::Repetition(_) => return Err("repeats a repetition: group the inner one"),
            Ast::Assertion(_) | Ast::Empty(_) | Ast::Flags(_) => return Err("repeats what has no length"),
            Ast::Literal(literal) if !literal.c.is_ascii() => {
                return Err("repeats the last byte of a character beyond ASCII: group the character");
            }
            _ => {}
        }
        // Rust reads `a{ 2 }` and `a{,2}` as repetitions, RE2 as text.
        let written = self.written(&repetition.op.span);
        if written.contains(char::is_whitespace) || written.starts_with("{,") {
            return Err("a repetition is {n}, {n,} or {n,m}, without spaces");
        }
        let times = times.saturating_mul(most(&repetition.op.kind).max(1));
        if times > MAX_REPETITION {
            return Err("repeats more than 1000 times, nested repetitions multiplied: repeat less");
        }
        self.ast(&repetition.ast, times)
    }

    fn class(&self, class: &ClassBracketed) -> Verdict {
        match &class.kind {
            ClassSet::BinaryOp(_) => Err("has a set operation (&&, --, ~~) in a class, which RE2 reads as text"),
            ClassSet::Item(item) => self.opening(class).and_then(|()| self.item(item)),
        }
    }

    /// Rust takes hyphens at the beginning of a class, and a bracket before one, for themselves; RE2 makes ranges of them.
    fn opening(&self, class: &ClassBracketed) -> Verdict {
        let written = self.written(&class.span).trim_start_matches('[').trim_start_matches('^');
        let is_range = written.starts_with("--") || written.starts_with("]-");
        if is_range { Err("begins a class with -- or ]-: escape the hyphen") } else { Ok(()) }
    }

    fn item(&self, item: &ClassSetItem) -> Verdict {
        match item {
            ClassSetItem::Empty(_) | ClassSetItem::Ascii(_) | ClassSetItem::Perl(_) => Ok(()),
            ClassSetItem::Literal(literal) => self.member(literal),
            ClassSetItem::Range(range) => self.member(&range.start).and_then(|()| self.member(&range.end)),
            ClassSetItem::Unicode(class) => category(class),
            ClassSetItem::Bracketed(_) => Err("has a class inside a class: escape the bracket, or join the two"),
            ClassSetItem::Union(union) => union.items.iter().try_for_each(|item| self.item(item)),
        }
    }

    fn member(&self, literal: &Literal) -> Verdict {
        let one_byte = literal.c.is_ascii();
        if one_byte { self.literal(literal) } else { Err("has a character beyond ASCII in a class: write (?:é|ü)") }
    }

    fn literal(&self, literal: &Literal) -> Verdict {
        match &literal.kind {
            LiteralKind::HexFixed(HexLiteralKind::X) | LiteralKind::HexBrace(HexLiteralKind::X) => self.escape(literal),
            LiteralKind::HexFixed(_) | LiteralKind::HexBrace(_) => Err("\\u and \\U are not RE2: write \\x{…}"),
            LiteralKind::Octal => Err("has an octal escape: write \\x{…}"),
            // To RE2 an underscore is a word character, and no word character but the known ones can be escaped.
            LiteralKind::Superfluous if literal.c == '_' => Err("escapes an underscore: remove the backslash"),
            LiteralKind::Verbatim | LiteralKind::Meta | LiteralKind::Superfluous | LiteralKind::Special(_) => Ok(()),
        }
    }

    fn escape(&self, literal: &Literal) -> Verdict {
        // `\x{ 41 }` is Rust's alone.
        if self.written(&literal.span).contains(char::is_whitespace) {
            Err("has a space in \\x{…}")
        } else if literal.c.is_ascii() {
            Ok(())
        } else {
            Err("\\x beyond 7F is a byte: write the character itself")
        }
    }

    fn written(&self, span: &Span) -> &str {
        self.expression.get(span.start.offset..span.end.offset).unwrap_or_default()
    }
}

fn flags(set: &Flags) -> Verdict {
    let known = set.items.iter().all(|item| match &item.kind {
        FlagsItemKind::Negation => true,
        FlagsItemKind::Flag(flag) => !matches!(flag, Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace),
    });
    if known { Ok(()) } else { Err("has a flag that is not RE2: only i, m, s and U are") }
}

fn anchor(kind: &AssertionKind) -> Verdict {
    match kind {
        AssertionKind::StartLine
        | AssertionKind::EndLine
        | AssertionKind::StartText
        | AssertionKind::EndText
        | AssertionKind::WordBoundary
        | AssertionKind::NotWordBoundary => Ok(()),
        _ => Err("has a word boundary that is not RE2: use \\b"),
    }
}

fn category(class: &ClassUnicode) -> Verdict {
    let known = match &class.kind {
        ClassUnicodeKind::OneLetter(letter) => CATEGORIES.contains(&&*letter.encode_utf8(&mut [0; 4])),
        ClassUnicodeKind::Named(name) => CATEGORIES.contains(&name.as_str()),
        ClassUnicodeKind::NamedValue { .. } => false,
    };
    if known { Ok(()) } else { Err("\\p names something else than a general category such as L or Lu") }
}

fn word(name: &str) -> Verdict {
    let is_word = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if is_word { Ok(()) } else { Err("the name of a group has letters, digits and underscores alone") }
}

/// What RE2 counts: the upper bound, or the lower one where there is no upper.
const fn most(kind: &RepetitionKind) -> u32 {
    match kind {
        RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 1,
        RepetitionKind::Range(
            RepetitionRange::Exactly(most) | RepetitionRange::AtLeast(most) | RepetitionRange::Bounded(_, most),
        ) => *most,
    }
}

#[cfg(test)]
mod tests {
    use super::inspect;
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};

    #[test]
    fn what_re2_takes_is_taken() {
        let table = [
            "Get|List",
            "a.*",
            "[a-z_][a-z0-9_]*",
            "(?i)grpc",
            "(?P<name>a+)b",
            "(?:a|b){2,3}",
            "a{1000}",
            r"\d+\.\w*",
            r"\pL\p{Lu}\P{Nd}",
            "[[:alpha:]-]",
            r"^\x41\x{42}$",
            "(?:é)+é",
            "[-a]",
            r"\Aa\z",
            r"\bword\b",
            "()",
            "a||b",
            r"[^\]\\]",
            "(?s-i:.)",
        ];
        for expression in table {
            assert_eq!(inspect(expression), Ok(()), "{expression}");
        }
    }

    #[test]
    fn what_re2_refuses_or_reads_differently_is_refused() {
        let long = "a".repeat(1025);
        let table = [
            "(",
            ")",
            "*a",
            "[",
            r"a(?=b)",
            r"(?!a)",
            r"(?<=a)b",
            r"(a)\1",
            "(?x) a b",
            "(?u)a",
            "(?R)a",
            "(?<name>a)",
            r"(?P<n.x>a)",
            r"\p{Letter}",
            r"\p{gc=L}",
            r"\p{Greek}",
            r"\pX",
            "[a&&b]",
            "[a--b]",
            "[a~~b]",
            "[a[b]]",
            "",
            r"\x{1F600}",
            r"\xE9",
            "[é]",
            "é+",
            "[--a]",
            "[^--a]",
            "[]-a]",
            r"\u0041",
            r"\u{41}",
            r"\U00000041",
            r"\<a\>",
            r"\b{start}a",
            "a{1001}",
            "(a{100}){11}",
            "a**",
            "a{2}{3}",
            "^*",
            "a{,2}",
            "a{ 2 }",
            r"\_",
            r"\C",
            r"\Qa\E",
            "a\u{0}",
            "a\n",
            &long,
            r"(\pL{100}){10}",
        ];
        for expression in table {
            assert!(inspect(expression).is_err(), "{expression}");
        }
    }

    fn expressions() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            Just("(".to_owned()),
            Just(")".to_owned()),
            Just("[".to_owned()),
            Just("]".to_owned()),
            Just("(?:".to_owned()),
            Just("*".to_owned()),
            Just("+?".to_owned()),
            Just("{2}".to_owned()),
            Just("{,3}".to_owned()),
            Just("|".to_owned()),
            Just("\\".to_owned()),
            Just("^".to_owned()),
            Just("-".to_owned()),
            Just("&&".to_owned()),
            Just("(?i)".to_owned()),
            any::<char>().prop_map(String::from),
            "[a-z]".prop_map(String::from),
        ];
        prop::collection::vec(token, 0..16).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn an_accepted_expression_stays_whole_in_a_group(expression in expressions()) {
            if inspect(&expression).is_ok() {
                let whole = format!("^(?:/(?:{expression})/[^/]+)$");
                prop_assert!(regex::Regex::new(&whole).is_ok(), "{}", whole);
            }
        }
    }
}
