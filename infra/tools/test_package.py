"""What is not packaged, because it would not start on Lambda."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import package


def elf(machine: int, text: bytes = b"") -> bytes:
    """The beginning of a binary, and something in it."""
    return b"\x7fELF" + bytes(14) + struct.pack("<H", machine) + bytes(40) + text


class TestPackage(unittest.TestCase):
    """Binaries and their zips."""

    def test_what_lambda_can_start(self) -> None:
        package.check(elf(62, b"GLIBC_2.2.5 GLIBC_2.34"), "x86_64")
        package.check(elf(183), "arm64")

    def test_what_it_cannot(self) -> None:
        for binary, part in [
            (b"#!/bin/sh", "not a Linux binary"),
            (elf(62), "another processor"),
            (elf(183, b"GLIBC_2.35"), "needs glibc 2.35"),
        ]:
            with self.assertRaisesRegex(package.PackageFailed, part):
                package.check(binary, "arm64")

    def test_nothing_but_the_tables_for_unwinding_is_empty(self) -> None:
        names = b"\0.text\0.eh_frame\0.eh_frame_hdr\0.names\0"
        contents = [b"code", b"frames", b"index", names]
        body, headers = b"", [bytes(64)]
        for name, content in zip([b".text", b".eh_frame", b".eh_frame_hdr", b".names"], contents, strict=True):
            place = 64 + len(body)
            headers.append(struct.pack("<IIQQQQ", names.index(b"\0" + name + b"\0") + 1, 1, 0, 0, place, len(content)) + bytes(24))
            body += content
        start = elf(62)[:40] + struct.pack("<Q", 64 + len(body)) + bytes(10) + struct.pack("<HHH", 64, len(headers), 4)
        binary = start + body + b"".join(headers)
        emptied = package.without_unwinding(binary)
        self.assertEqual(emptied, binary.replace(b"frames", bytes(6)).replace(b"index", bytes(5)))

    def test_a_real_program_runs_without_them(self) -> None:
        whole = Path("/bin/true").resolve().read_bytes()
        emptied = package.without_unwinding(whole)
        self.assertNotEqual(emptied, whole)
        self.assertEqual(len(emptied), len(whole))
        with tempfile.TemporaryDirectory() as directory:
            # Some programs are one file that looks at its name.
            program = Path(directory) / "true"
            program.write_bytes(emptied)
            program.chmod(0o755)
            self.assertEqual(subprocess.run([str(program)], check=False).returncode, 0)

    def test_a_zip_over_the_target_is_named_and_one_that_lambda_refuses_is_none(self) -> None:
        self.assertNotIn("target", package.said("api", package.ZIP_BYTES_TARGET, "arm64").split("  ", 1)[1])
        self.assertIn("60% over the target", package.said("api", package.ZIP_BYTES_TARGET * 8 // 5, "arm64"))
        with self.assertRaisesRegex(package.PackageFailed, "Lambda takes"):
            package.said("api", package.ZIP_BYTES_MAX + 1, "arm64")

    def test_every_processor_is_built_for_lambda_with_its_flags(self) -> None:
        for arch, own, command, flags, linked in [
            ("x86_64", "x86_64", ["cargo", "rustc"], "", ["-C", "relocation-model=static", "-C", "link-arg=-Wl,--icf=all"]),
            ("arm64", "arm64", ["cargo", "rustc"], " -C target-cpu=neoverse-n1", ["-C", "relocation-model=static"]),
            ("arm64", "x86_64", ["cargo", "lambda", "build", "--arm64"], " -C target-cpu=neoverse-n1", None),
            ("x86_64", "arm64", ["cargo", "lambda", "build", "--x86-64"], "", None),
        ]:
            with (
                mock.patch.object(package, "own_arch", return_value=own),
                mock.patch.object(package.platform, "system", return_value="Linux"),
                mock.patch.object(package.venvs, "ensure", return_value=Path("/tools")),
                mock.patch.object(package, "_run") as run,
                mock.patch.dict(package.os.environ, {"RUSTFLAGS": "-C debuginfo=1"}),
            ):
                package.build(arch, "lambda")
            built = set()
            for (started, _, environment), _ in run.call_args_list:
                self.assertEqual(started[: len(command)], command)
                self.assertEqual(environment["RUSTFLAGS"], f"-C debuginfo=1{flags}")
                self.assertEqual(environment["PATH"].startswith("/tools/bin:"), linked is None)
                if linked is not None:
                    self.assertEqual(started[started.index("--") + 1 :], linked)
                built |= {part for part in started if part.startswith("operon-")}
            self.assertEqual(built, {f"operon-{role}-function" for role in package.ROLES})

    def test_benchmarks_get_the_same_binaries_of_this_machine(self) -> None:
        said = io.StringIO()
        with (
            mock.patch.object(package, "build", return_value=Path("somewhere")) as build,
            mock.patch.object(package, "build_console") as console,
            mock.patch.object(sys, "argv", ["package.py", "--binaries"]),
            contextlib.redirect_stdout(said),
        ):
            self.assertEqual(package.main(), 0)
        build.assert_called_once_with(package.own_arch(), "lambda")
        console.assert_not_called()
        self.assertEqual(said.getvalue(), "somewhere\n")

    def test_without_the_console_nothing_is_packaged(self) -> None:
        with self.assertRaisesRegex(package.PackageFailed, "needs Node.js"):
            package.build_console((sys.executable, "-c", "raise SystemExit(1)"))
        # What `make package` does without Node.js: it does not come to the functions.
        failed = package.PackageFailed("no console")
        with (
            mock.patch.object(package, "build_console", side_effect=failed),
            mock.patch.object(package, "build") as functions,
            mock.patch.object(sys, "argv", ["package.py"]),
            self.assertRaisesRegex(SystemExit, "package: no console"),
        ):
            package.main()
        functions.assert_not_called()

    def test_the_interface_carries_the_console(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            console = Path(directory)
            with self.assertRaisesRegex(package.PackageFailed, "make web"):
                package.check_console(b"", console)
            (console / "assets").mkdir()
            for name, text in [("index.html", b"<html>"), ("assets/a.js", b"let a"), ("assets/a.js.map", b"{}")]:
                (console / name).write_bytes(text)
            package.check_console(b"code <html> code let a", console)
            with self.assertRaisesRegex(package.PackageFailed, "assets/a.js of the console"):
                package.check_console(b"code <html> of an older console", console)

    def test_a_zip_is_executable_and_the_same_each_time(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            one, two = Path(directory, "a/one.zip"), Path(directory, "two.zip")
            package.write_zip(one, b"x")
            package.write_zip(two, b"x")
            self.assertEqual(one.read_bytes(), two.read_bytes())
            entry = zipfile.ZipFile(one).getinfo("bootstrap")
            self.assertEqual(entry.external_attr >> 16, 0o755)


if __name__ == "__main__":
    unittest.main()
