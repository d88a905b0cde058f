"""Reads a conformance report: one line a profile, exit status 1 unless everything passed and nothing was skipped.

report of the Gateway API's suite (YAML as sigs.k8s.io/yaml writes it) -> counts of core and extended tests

Invariant: a report without profiles is a failure.
"""

import pathlib
import sys


def parse(lines, indent=0):
    """A block of the YAML that the suite writes: maps, lists and scalars, two columns deeper for what is inside."""
    if lines and lines[0][1].startswith("- "):
        items = []
        while lines and lines[0][0] == indent and lines[0][1].startswith("- "):
            _, text = lines.pop(0)
            if ": " in text or text.endswith(":"):
                lines.insert(0, (indent + 2, text[2:]))
                items.append(parse(lines, indent + 2))
            else:
                items.append(text[2:].strip("\"'"))
        return items
    block = {}
    while lines and lines[0][0] == indent and not lines[0][1].startswith("- "):
        key, _, value = lines.pop(0)[1].partition(":")
        value = value.strip()
        if value in (">-", "|", "|-"):
            while lines and lines[0][0] > indent:
                lines.pop(0)
        elif not value and lines and (lines[0][0] > indent or lines[0][1].startswith("- ")):
            block[key] = parse(lines, lines[0][0])
        else:
            while lines and lines[0][0] > indent:  # a long scalar goes on
                value += " " + lines.pop(0)[1]
            block[key] = value.strip("\"'")
    return block


def main():
    text = pathlib.Path(sys.argv[1]).read_text()
    lines = [(len(line) - len(line.lstrip()), line.strip()) for line in text.splitlines() if line.strip()]
    profiles = parse(lines).get("profiles", [])
    good = bool(profiles)
    print(f"{'profile':<14} {'part':<9} {'passed':>6} {'failed':>6} {'skipped':>7}  result")
    for profile in profiles:
        for part in ("core", "extended"):
            found = profile.get(part)
            if found is None:
                continue
            count = found.get("statistics", {})
            print(
                f"{profile['name']:<14} {part:<9} {count.get('Passed', '0'):>6} {count.get('Failed', '0'):>6} "
                f"{count.get('Skipped', '0'):>7}  {found.get('result')}"
            )
            good &= found.get("result") == "success" and count.get("Failed") == count.get("Skipped") == "0"
        claimed = profile.get("extended", {}).get("supportedFeatures", [])
        print(f"{profile['name']:<14} claims {', '.join(claimed) or 'nothing beyond core'}")
    sys.exit(0 if good else 1)


main()
