"""Reads OCI image layouts as a registry would, and says what is wrong with them.

directories -> nothing, or what differs from what its descriptor says; exit status 1

  verify.py release/sluice release/chart
"""

import hashlib
import json
import pathlib
import sys


def blob(layout, descriptor):
    content = (layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
    if len(content) != descriptor["size"]:
        sys.exit(f"{layout}: {descriptor['digest']} has {len(content)} bytes, not {descriptor['size']}")
    if "sha256:" + hashlib.sha256(content).hexdigest() != descriptor["digest"]:
        sys.exit(f"{layout}: {descriptor['digest']} has another digest")
    return content


def verify(layout):
    if json.loads((layout / "oci-layout").read_text()) != {"imageLayoutVersion": "1.0.0"}:
        sys.exit(f"{layout}: not a layout of version 1.0.0")
    index = json.loads((layout / "index.json").read_text())
    reached = set()
    for descriptor in index["manifests"]:
        manifest = json.loads(blob(layout, descriptor))
        parts = [manifest["config"], *manifest["layers"]]
        for part in parts:
            blob(layout, part)
        reached |= {part["digest"] for part in [descriptor, *parts]}
    present = {f"sha256:{path.name}" for path in (layout / "blobs/sha256").iterdir()}
    if not reached or reached != present:
        sys.exit(f"{layout}: blobs that nothing refers to: {sorted(present - reached)}")


for argument in sys.argv[1:] or sys.exit("no layout"):
    verify(pathlib.Path(argument))
