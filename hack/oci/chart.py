"""Packages a Helm chart so that equal files give equal bytes, which `helm package` does not.

a chart's directory -> CHART-VERSION.tgz, and an OCI image layout that holds it as Helm's artefact

Invariant: what is packaged is what Git knows of the directory; symbolic links become what they lead to.

  chart.py charts/sluice --output release
"""

import argparse
import gzip
import io
import json
import pathlib
import re
import subprocess
import tarfile

from archive import OCI, Layout

CONFIG = "application/vnd.cncf.helm.config.v1+json"
CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def files(chart):
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."],
        cwd=chart, capture_output=True, text=True, check=True,
    ).stdout
    return sorted(name for name in listed.split("\0") if name)


def package(chart, name):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        # Helm wants Chart.yaml first.
        for path in sorted(files(chart), key=lambda path: (path != "Chart.yaml", path)):
            content = (chart / path).read_bytes()
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), compresslevel=9, mtime=0)


def field(metadata, name):
    return re.search(rf"^{name}: *\"?([^\"\n]*)\"?$", metadata, re.MULTILINE).group(1)


def layout(metadata, content):
    blobs = Layout()
    config = {key: field(metadata, key) for key in ("apiVersion", "name", "version", "appVersion", "description", "type")}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": blobs.put_json(config, CONFIG),
        "layers": [blobs.put(content, CONTENT)],
        "annotations": {"org.opencontainers.image.title": config["name"], "org.opencontainers.image.version": config["version"]},
    }
    descriptor = blobs.put_json(manifest, manifest["mediaType"])
    return blobs, [descriptor | {"annotations": {"org.opencontainers.image.ref.name": config["version"]}}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chart", type=pathlib.Path)
    parser.add_argument("--output", required=True, type=pathlib.Path, metavar="DIRECTORY")
    options = parser.parse_args()
    metadata = (options.chart / "Chart.yaml").read_text()
    name, version = field(metadata, "name"), field(metadata, "version")
    content = package(options.chart, name)
    (options.output / f"{name}-{version}.tgz").write_bytes(content)
    blobs, manifests = layout(metadata, content)
    blobs.write_directory(options.output / "chart", manifests)


if __name__ == "__main__":
    main()
