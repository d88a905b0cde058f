"""Writes a container image from files of this machine, without a builder or a registry.

files -> an OCI image layout in one tar archive

The first layer holds what every image has: the CA certificates, /tmp, users. Then each file has a layer of its own,
with the shared libraries it needs (as ldd finds them) that no earlier layer has: what did not change is not sent again.

Invariant: equal files and arguments give an equal archive, so its digest names its content.

  archive.py --output envoy.tar --tag example/envoy:1 --user 65532 build/envoy=/usr/local/bin/envoy
  archive.py --list build/envoy=/usr/local/bin/envoy      the files of this machine that such an image is made of
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PASSWD = b"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n"
GROUP = b"root:x:0:\nnonroot:x:65532:\n"
OCI = "application/vnd.oci.image"


def libraries(path):
    """The shared libraries of an ELF file, its loader among them."""
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return []
    result = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    if "not found" in result.stdout:
        sys.exit(f"{path} lacks libraries:\n{result.stdout}")
    if result.returncode != 0:  # "not a dynamic executable"
        return []
    return re.findall(r"(/\S+) \(0x", result.stdout)


class Layer:
    """A gzipped tar of what `present` does not have yet."""

    def __init__(self, present):
        self.present = present
        self.raw = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.raw, mode="w")

    def _add(self, info, content=None):
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        self.tar.addfile(info, content)

    def directory(self, path, mode=0o755):
        path = os.path.normpath(path)
        if path in self.present:
            return
        self.directory(os.path.dirname(path))
        self.present.add(path)
        info = tarfile.TarInfo(path.lstrip("/"))
        info.type, info.mode = tarfile.DIRTYPE, mode
        self._add(info)

    def file(self, content, path, mode=0o644):
        if path in self.present:
            return
        self.directory(os.path.dirname(path))
        self.present.add(path)
        info = tarfile.TarInfo(path.lstrip("/"))
        info.size, info.mode = len(content), mode
        self._add(info, io.BytesIO(content))

    def copy(self, source, path):
        with open(source, "rb") as file:
            self.file(file.read(), path, os.fstat(file.fileno()).st_mode & 0o755)

    def finish(self):
        """The digest of the tar, and the compressed blob."""
        self.tar.close()
        raw = self.raw.getvalue()
        return digest(raw), gzip.compress(raw, compresslevel=6, mtime=0)


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layers(options):
    present = {"/"}
    base = Layer(present)
    base.directory("/tmp", 0o1777)
    base.file(PASSWD, "/etc/passwd")
    base.file(GROUP, "/etc/group")
    base.copy(CERTIFICATES, CERTIFICATES)
    yield base.finish()
    for source, target in options.files:
        layer = Layer(present)
        layer.copy(source, target)
        for library in libraries(source):
            layer.copy(library, library)
        yield layer.finish()


def sources(options):
    """What an image is made of, in the order of its layers."""
    yield CERTIFICATES
    for source, _ in options.files:
        yield from [source, *libraries(source)]


def configuration(options, diff_ids):
    return {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Entrypoint": [options.files[0][1]],
            "Env": ["PATH=/usr/local/bin"],
            "User": options.user,
            "WorkingDir": "/",
            "Labels": {"org.opencontainers.image." + name: value for name, value in options.label},
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }


class Layout:
    """The archive's blobs, by digest."""

    def __init__(self):
        self.blobs = {}

    def put(self, content, media_type):
        name = digest(content)
        self.blobs[name] = content
        return {"mediaType": media_type, "digest": name, "size": len(content)}

    def put_json(self, value, media_type):
        return self.put(json.dumps(value).encode(), media_type)

    def _files(self, manifests):
        index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": manifests}
        yield "index.json", json.dumps(index).encode()
        yield "oci-layout", b'{"imageLayoutVersion": "1.0.0"}'
        for name in sorted(self.blobs):
            yield "blobs/" + name.replace(":", "/"), self.blobs[name]

    def write_archive(self, output, manifests):
        with tarfile.open(output, "w") as archive:
            for name, content in self._files(manifests):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

    def write_directory(self, output, manifests):
        for name, content in self._files(manifests):
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).write_bytes(content)


def image(layout, options):
    """The image's descriptor, under each of its names."""
    diff_ids, blobs = zip(*layers(options))
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": layout.put_json(configuration(options, list(diff_ids)), f"{OCI}.config.v1+json"),
        "layers": [layout.put(blob, f"{OCI}.layer.v1.tar+gzip") for blob in blobs],
    }
    descriptor = layout.put_json(manifest, manifest["mediaType"])
    for tag in options.tag:
        # containerd takes the whole name from its own annotation; other tools know only the tag.
        names = {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag.rpartition(":")[2]}
        yield descriptor | {"annotations": names}


def pair(separator):
    def parse(text):
        left, found, right = text.partition(separator)
        if not found:
            raise argparse.ArgumentTypeError(f"{text}: no {separator}")
        return left, right

    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--output", metavar="ARCHIVE")
    action.add_argument("--list", action="store_true", help="write nothing, and name what would be packed")
    parser.add_argument("--tag", action="append", metavar="NAME:TAG", help="at least one with --output")
    parser.add_argument("--user", default="", metavar="UID[:GID]", help="default: root")
    parser.add_argument("--label", type=pair("="), action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("files", nargs="+", type=pair("="), metavar="FILE=PATH", help="the first one is what the image runs")
    options = parser.parse_args()
    if options.output and not options.tag:
        parser.error("--output needs a --tag")
    return options


def main():
    options = arguments()
    if options.list:
        print("\n".join(sources(options)))
        return
    layout = Layout()
    layout.write_archive(options.output, list(image(layout, options)))


if __name__ == "__main__":
    main()
