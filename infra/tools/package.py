"""Builds the console and the functions, and writes target/lambda/<role>.zip, each with its `bootstrap`.

    python3 package.py [--arch arm64|x86_64] [--profile NAME] [--binaries]

For the processor of this machine plain cargo is enough; for another one cargo-lambda is installed below
.tools, which brings a linker, and Rust's library for that processor by rustup. What is built is small before
anything else: see docs/decisions/0029-one-cryptography.md. Invariants: a zip written here starts on Lambda:
its processor is the one asked for, and it needs no newer C library than Amazon Linux 2023 has. That of `api`
carries the console: its crate embeds what is in web/dist, and builds without it, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))

import venvs  # noqa: E402 - it lives with the tools of the tests

CONSOLE = ROOT / "web/dist"
ROLES = ("intake", "planner", "launcher", "worker", "watcher", "reconciler", "api")
GLIBC_MAX = (2, 34)
"""Of provided.al2023."""
ZIP_BYTES_TARGET = 5 << 20
"""The project's own target: what is larger starts slower."""
ZIP_BYTES_MAX = 50 << 20
"""What Lambda takes."""
_MACHINES = {"x86_64": 62, "arm64": 183}
_TARGETS = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
_FLAGS = {
    "x86_64": "",
    # The oldest processor of Lambda's arm64 (Graviton2): it has the instructions in whose place crc-fast keeps 600 KB of tables.
    "arm64": "-C target-cpu=neoverse-n1",
}
"""For everything that is compiled."""
_LINKED = {
    # Equal functions once; Rust's own linker can, which is that of x86_64 Linux.
    "x86_64": ["-C", "relocation-model=static", "-C", "link-arg=-Wl,--icf=all"],
    "arm64": ["-C", "relocation-model=static"],
}
"""For the program alone, since some libraries are also made as shared ones. At a fixed address nothing is relocated at a
start, and no table in the zip says how."""
_UNWINDING = (b".eh_frame", b".eh_frame_hdr")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class PackageFailed(Exception):
    """What is wrong, and what to do."""


def own_arch() -> str:
    """This machine's processor, in Lambda's words."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(machine, machine)


def check(binary: bytes, arch: str) -> None:
    """Refuses what would not start on Lambda."""
    if binary[:4] != b"\x7fELF":
        raise PackageFailed("not a Linux binary; build on Linux or with cargo-lambda")
    (machine,) = struct.unpack_from("<H", binary, 18)
    if machine != _MACHINES[arch]:
        raise PackageFailed(f"the binary is for another processor than {arch}")
    versions = {(int(a), int(b)) for a, b in re.findall(rb"GLIBC_(\d+)\.(\d+)", binary)}
    if versions and max(versions) > GLIBC_MAX:
        needs, has = (".".join(map(str, version)) for version in (max(versions), GLIBC_MAX))
        raise PackageFailed(
            f"the binary needs glibc {needs} and Lambda has {has}; build with cargo-lambda, or on an older Linux"
        )


def without_unwinding(binary: bytes) -> bytes:
    """The same program with nothing in the tables for unwinding, which are a twelfth of a zip.

    Nothing of a function unwinds (`panic = "abort"`). Who looks for a backtrace finds tables of no known version and
    shows none; the message of a panic and its place stay. The compiler keeps them whatever it is told, because the
    standard library was built to unwind, and to take them out would move everything behind them.
    """
    (offset,) = struct.unpack_from("<Q", binary, 40)
    size, count, names = struct.unpack_from("<HHH", binary, 58)
    headers = [struct.unpack_from("<IIQQQQ", binary, offset + number * size) for number in range(count)]
    table = headers[names][4]
    found = bytearray(binary)
    for name, _, _, _, place, length in headers:
        if binary[table + name : binary.index(b"\0", table + name)] in _UNWINDING:
            found[place : place + length] = bytes(length)
    return bytes(found)


def build_console(command: tuple[str, ...] = ("tests/tools/console", "build")) -> None:
    """Builds web/dist; before the functions, because one of them embeds it."""
    _run(list(command), "the console, which the function `api` serves, does not build; it needs Node.js (see above)")


def check_console(binary: bytes, console: Path) -> None:
    """Refuses a function `api` that would answer browsers with nothing, or with an older console."""
    files = sorted(path for path in console.rglob("*") if path.is_file() and path.suffix != ".map")
    if console / "index.html" not in files:
        raise PackageFailed(f"{console} holds no console; build it with `make web`")
    for path in files:
        if path.read_bytes() not in binary:
            raise PackageFailed(
                f"the function `api` does not carry {path.relative_to(console)} of the console; "
                "`touch shared/api/build.rs`, and package again"
            )


def program(role: str) -> str:
    """The package of a function, and its binary."""
    return f"operon-{role}-function"


def build(arch: str, profile: str) -> Path:
    """Builds for a processor and returns the directory with the binaries."""
    options = ["--locked", "--profile", profile]
    environment = {**os.environ, "RUSTFLAGS": f"{os.environ.get('RUSTFLAGS', '')} {_FLAGS[arch]}".strip()}
    if arch == own_arch() and platform.system() == "Linux":
        for role in ROLES:
            name = program(role)
            # With its target named, the flags are not those of macros and build scripts.
            command = ["cargo", "rustc", "--target", _TARGETS[arch], *options, "-p", name, "--bin", name, "--", *_LINKED[arch]]
            _run(command, f"the function `{role}` does not build", environment)
        return target_directory() / _TARGETS[arch] / profile
    tools = venvs.ensure("cargo-lambda", ROOT / "infra/requirements-package.txt") / "bin"
    environment["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
    processor = f"--{'arm64' if arch == 'arm64' else 'x86-64'}"
    packages = [part for role in ROLES for part in ("-p", program(role))]
    command = ["cargo", "lambda", "build", processor, *options, *packages]
    remedy = f"`rustup target add {_TARGETS[arch]}` if Rust's library is missing, or ARCH={own_arch()}"
    _run(command, f"the functions do not build; {remedy}", environment)
    return target_directory() / "lambda"


def target_directory() -> Path:
    """Where cargo builds."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    return Path(json.loads(done.stdout)["target_directory"])


def _run(command: list[str], failure: str, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise PackageFailed(failure)


def binary_of(directory: Path, role: str) -> Path:
    """The binary of a function, as cargo or as cargo-lambda leaves it."""
    name = program(role)
    nested = directory / name / "bootstrap"
    return nested if nested.is_file() else directory / name


def write_zip(place: Path, binary: bytes) -> int:
    """Writes a zip that depends on nothing but its contents; its size."""
    place.parent.mkdir(parents=True, exist_ok=True)
    entry = zipfile.ZipInfo("bootstrap", _ZIP_TIME)
    entry.external_attr = 0o755 << 16
    entry.create_system = 3
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr(entry, binary, zipfile.ZIP_DEFLATED, 9)
    return place.stat().st_size


def said(role: str, size: int, arch: str) -> str:
    """What is said of a zip. Refuses what Lambda does not take."""
    if size > ZIP_BYTES_MAX:
        raise PackageFailed(f"{role}.zip has {size} bytes; Lambda takes {ZIP_BYTES_MAX}")
    over = size / ZIP_BYTES_TARGET - 1
    return f"target/lambda/{role}.zip  {size / 1e6:.1f} MB  {arch}" + (f"  {over:.0%} over the target" if over > 0 else "")


def main() -> int:
    """Packages all functions."""
    parser = argparse.ArgumentParser(description="The zips of the functions")
    parser.add_argument("--arch", choices=sorted(_MACHINES), default="arm64")
    parser.add_argument("--profile", default="lambda", help="of cargo; made for small zips")
    parser.add_argument("--binaries", action="store_true", help="only build for this machine, and print in which directory")
    options = parser.parse_args()
    try:
        if options.binaries:
            print(build(own_arch(), options.profile))
            return 0
        build_console()
        directory = build(options.arch, options.profile)
        for role in ROLES:
            binary = binary_of(directory, role).read_bytes()
            check(binary, options.arch)
            if role == "api":
                check_console(binary, CONSOLE)
            size = write_zip(ROOT / f"target/lambda/{role}.zip", without_unwinding(binary))
            print(said(role, size, options.arch))
    except (PackageFailed, venvs.InstallFailed) as error:
        sys.exit(f"package: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
