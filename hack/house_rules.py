"""The house rules that no compiler checks, over the Rust and Python sources of the clone.

sources -> one line per breach (`file:line: rule: what to do`), exit status 1 if there is any

Invariant: an exception stands in the source, on the line or the one above, with its reason:
`// house(sleep): waits out a debounce that has no event`.
"""

import ast
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE_LINES = 500
FUNCTION_LINES = 70
PURE = tuple(f"operator/{crate}/src/" for crate in ("api", "core", "xds", "envoy", "engine"))

FORBIDDEN_FILES = re.compile(r"^(utils?|helpers?|common|manager|process\w*|handle\w*)$")
FORBIDDEN_NAMES = re.compile(
    r"\b(?:fn (?:process|handle)(?:_\w+)?|mod (?:utils?|helpers?|common|manager)|(?:struct|enum|trait) \w*(?:Manager|Helper|Utils?))\b"
)
SLEEP = re.compile(r"\b(?:time|thread)::sleep\b|[^.\w]sleep\(")
IMPURE = re.compile(
    r"\b(?:tokio::|tonic::|kube::[Cc]lient|std::env\b|env::var|SystemTime|Instant::now|Utc::now|Local::now|rand::|thread_rng|tracing::|println!|eprintln!)"
)
BOOLEAN = re.compile(r"\bfn \w+(?:<[^{;(]*>)?\(([^{;]*?)\)\s*(?:->|\{|where|;)", re.DOTALL)
BOOLEAN_PARAMETER = re.compile(r"\b\w+:\s*(?:&(?:mut )?)?bool\b")
TEST_MODULE = re.compile(r"^#\[cfg\(test\)\]\s*\n(?:#\[[^\n]*\]\s*\n)*mod \w+ \{", re.MULTILINE)


def sources(suffix):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", f"*{suffix}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


def excused(lines, index, rule):
    near = lines[max(0, index - 1) : index + 1]
    return any(re.search(rf"house\({rule}\): \w+", line) for line in near)


def is_test(name):
    return "tests" in pathlib.PurePath(name).parts[:-1] or pathlib.PurePath(name).name == "tests.rs"


def code(line):
    """Without the comment: words there break no rule."""
    return line.split("//", 1)[0]


def matches(text, first_line, rule, pattern):
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if pattern.search(code(line)) and not excused(lines, index, rule):
            yield first_line + index, rule


def own_and_tests(name, text):
    """The part that is shipped, the part that is test, and the line where the latter begins."""
    if is_test(name):
        return "", text, 1
    found = TEST_MODULE.search(text)
    if not found:
        return text, "", 1
    return text[: found.start()], text[found.start() :], text.count("\n", 0, found.start()) + 1


def boolean_parameters(text):
    lines = text.splitlines()
    for signature in BOOLEAN.finditer(text):
        index = text.count("\n", 0, signature.start())
        if BOOLEAN_PARAMETER.search(signature.group(1)) and not excused(lines, index, "bool"):
            yield index + 1, "bool"


def module_head(name, text):
    if pathlib.PurePath(name).name not in ("lib.rs", "mod.rs") or is_test(name):
        return
    head = text.split("\n\nuse ", 1)[0]
    if not text.startswith("//!") or "**Invariant:**" not in head:
        yield 1, "head"


def rust_breaches(name):
    text = (ROOT / name).read_text()
    own, tests, tests_start = own_and_tests(name, text)
    if len(own.splitlines()) > FILE_LINES:
        yield FILE_LINES, "file"
    if FORBIDDEN_FILES.match(pathlib.PurePath(name).stem):
        yield 1, "name"
    yield from matches(own, 1, "name", FORBIDDEN_NAMES)
    yield from matches(tests, tests_start, "sleep", SLEEP)
    yield from boolean_parameters(own)
    yield from module_head(name, text)
    if name.startswith(PURE):
        yield from matches(own, 1, "pure", IMPURE)


def python_breaches(name):
    text = (ROOT / name).read_text()
    if len(text.splitlines()) > FILE_LINES:
        yield FILE_LINES, "file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= FUNCTION_LINES:
            yield node.lineno, "function"


ADVICE = {
    "file": f"more than {FILE_LINES} lines without tests: split it",
    "function": f"more than {FUNCTION_LINES} lines: split it",
    "name": "a name that says nothing (utils, helpers, common, manager, process*, handle*): say what it does",
    "sleep": "a sleep in a test: wait for the event, or say why there is none with `// house(sleep): reason`",
    "bool": "a boolean parameter: an enum, or two functions",
    "head": "a crate or module opens with `//!`: what it is, data in -> out, **Invariant:** lines",
    "pure": "a pure crate has no tokio, tonic, client, clock, environment, randomness or logging of its own",
}


def main():
    breaches = [
        f"{name}:{line}: {rule}: {ADVICE[rule]}"
        for suffix, check in ((".rs", rust_breaches), (".py", python_breaches))
        for name in sources(suffix)
        for line, rule in check(name)
    ]
    print("\n".join(breaches), end="\n" if breaches else "")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
