"""Puts the agent's image into the repository of a deployment: no container engine, one static binary.

    python image.py --stage NAME --agent PATH-OF-THE-STATIC-AGENT

Runs with the Python of `.tools/lint`, which has boto3, and asks AWS for the address of the repository and for a
password. The image is what agent/Dockerfile says: one layer with one file. Invariant: the same binary is the same
image, byte for byte, so what is there already is not sent again.

The protocol is that of https://github.com/opencontainers/distribution-spec (pull and push by digest).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import http.client
import io
import json
import struct
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_X86_64 = 62
"""`e_machine` of an ELF file. Containers are launched for x86_64, which the images of others are made for."""
_TIMEOUT_S = 120
TARGET = "x86_64-unknown-linux-gnu"
REMEDY = (
    f"`tests/tools/agent-binary {TARGET}` makes the right one; on a machine of another kind it takes "
    f"`rustup target add {TARGET}` and a linker for it: `apt install gcc-x86-64-linux-gnu`, and "
    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc in the environment"
)


class ImageFailed(Exception):
    """What is wrong, and what to do."""


@dataclass(frozen=True)
class Blob:
    """A piece of an image, known by its digest."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        """As registries write it."""
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    def descriptor(self) -> dict[str, object]:
        """What a manifest says of it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}


@dataclass(frozen=True)
class Image:
    """A manifest and what it names."""

    manifest: Blob
    blobs: tuple[Blob, ...]


def image_of(agent: bytes) -> Image:
    """The image of agent/Dockerfile around this binary."""
    if agent[:4] != b"\x7fELF":
        raise ImageFailed("the agent is not a Linux binary; build it on Linux with tests/tools/agent-binary")
    (machine,) = struct.unpack_from("<H", agent, 18)
    if machine != _X86_64:
        raise ImageFailed("containers are launched for x86_64 and this agent is for another processor (" + REMEDY + ")")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as layer:
        entry = tarfile.TarInfo("operon-agent")
        entry.size, entry.mode = len(agent), 0o755
        layer.addfile(entry, io.BytesIO(agent))
    plain = archive.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"User": "0:0", "Entrypoint": ["/operon-agent"], "Cmd": ["watch"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
    }
    parts = (Blob(_CONFIG, _json(config)), Blob(_LAYER, gzip.compress(plain, 9, mtime=0)))
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": parts[0].descriptor(),
        "layers": [parts[1].descriptor()],
    }
    return Image(Blob(_MANIFEST, _json(manifest)), parts)


class _Nowhere(urllib.request.HTTPRedirectHandler):
    """Follows nothing: what is asked carries a password."""

    def redirect_request(self, *_: object) -> None:
        """No request."""


_OPENER = urllib.request.build_opener(_Nowhere)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


@dataclass(frozen=True)
class Registry:
    """A repository of a registry, and who asks it."""

    url: str
    """With the scheme, such as https://123456789012.dkr.ecr.eu-central-1.amazonaws.com"""
    repository: str
    authorization: str

    def push(self, image: Image, tag: str) -> bool:
        """Sends what is not there yet and names it; whether anything was sent."""
        manifest = f"/v2/{self.repository}/manifests/"
        if self._digest(manifest + tag) == image.manifest.digest:
            return False
        for blob in image.blobs:
            if self._digest(f"/v2/{self.repository}/blobs/{blob.digest}") is None:
                self._upload(blob)
        self._ask("PUT", manifest + tag, image.manifest.content, {"Content-Type": _MANIFEST})
        return True

    def _digest(self, path: str) -> str | None:
        """What is there, or nothing."""
        try:
            headers = self._ask("HEAD", path, None, {"Accept": _MANIFEST})
        except ImageFailed as error:
            code = error.__cause__.code if isinstance(error.__cause__, urllib.error.HTTPError) else 0
            if code == 404:
                return None
            # Where else its content can be had: so it is there.
            if code in (302, 307):
                return "elsewhere"
            raise
        return headers.get("Docker-Content-Digest", "unnamed")

    def _upload(self, blob: Blob) -> None:
        started = self._ask("POST", f"/v2/{self.repository}/blobs/uploads/", b"", {})
        octets = {"Content-Type": "application/octet-stream"}
        sent = self._ask("PATCH", started["Location"], blob.content, octets)
        place = sent["Location"]
        mark = "&" if urllib.parse.urlsplit(place).query else "?"
        self._ask("PUT", f"{place}{mark}digest={urllib.parse.quote(blob.digest)}", b"", octets)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> http.client.HTTPMessage:
        url = urllib.parse.urljoin(self.url, path)
        if urllib.parse.urlsplit(url)[:2] != urllib.parse.urlsplit(self.url)[:2]:
            raise ImageFailed(f"the registry sends us to {url}, which is not its own address: nothing is sent there")
        request = urllib.request.Request(url, body, {"Authorization": self.authorization, **headers}, method=method)
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
                return answer.headers
        except urllib.error.HTTPError as error:
            detail = error.read(2_000).decode(errors="replace")
            raise ImageFailed(f"{method} {url}: {error.code} {error.reason} {detail}") from error
        except OSError as error:
            raise ImageFailed(f"{method} {url}: {error}") from error


def registry_of(stage: str) -> Registry:
    """The repository that the stack of a deployment made."""
    import boto3  # Only here: the rest is tested without it.
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        stacks = boto3.client("cloudformation").describe_stacks(StackName=f"operon-{stage}")["Stacks"]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in stacks[0].get("Outputs", [])}
        host, _, repository = outputs["AgentRepository"].partition("/")
        given = boto3.client("ecr").get_authorization_token()["authorizationData"][0]
    except (BotoCoreError, ClientError) as error:
        raise ImageFailed(f"AWS: {error}") from error
    return Registry(f"https://{host}", repository, f"Basic {given['authorizationToken']}")


def main() -> int:
    """Puts the image where the deployment looks for it."""
    parser = argparse.ArgumentParser(description="The agent's image")
    parser.add_argument("--stage", default="main")
    parser.add_argument("--agent", type=Path, required=True, help="what tests/tools/agent-binary made")
    options = parser.parse_args()
    try:
        image = image_of(options.agent.read_bytes())
        registry = registry_of(options.stage)
        sent = registry.push(image, "latest")
    except (ImageFailed, OSError) as error:
        sys.exit(f"image: {error}")
    word = "is now" if sent else "already was"
    print(f"{registry.repository}:latest {word} {image.manifest.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
