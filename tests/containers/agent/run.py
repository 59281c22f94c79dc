"""The agent in its image beside images with a shell: the stories of tests/fargate with real containers.

    python3 run.py unix:///var/run/docker.sock PATH-OF-THE-STATIC-AGENT

Part of `make test-containers`; needs the engine's image `busybox`. See docs/testing-containers.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "fargate"))

from engine import EngineRuntime  # noqa: E402
from lifecycle import Pace  # noqa: E402
from scenario import SECRET, Stories  # noqa: E402
from server import Options  # noqa: E402

# ENTRYPOINT stays as it is in an image: this one runs what it is given by a shell.
_SHELL = 'FROM busybox:latest\nENTRYPOINT ["/bin/sh"]\n'


class Given:
    """What the command line says."""

    host = ""


class WithContainers(Stories):
    def options(self) -> Options:
        runtime = EngineRuntime(Given.host)
        self.addCleanup(runtime.remove_all)
        return Options(
            runtime=runtime,
            root=self.root,
            secrets={"plain": SECRET},
            environment={"AWS_ENDPOINT_URL": self.cloud.url},
            pace=Pace(stop_scale=0.2),
        )


class InScratch(unittest.TestCase):
    def test_a_name_is_found_in_an_image_that_holds_only_the_agent(self) -> None:
        answer = self.lookup("agent.example.test", "--add-host", "agent.example.test:192.0.2.7")
        self.assertEqual(answer.returncode, 0, answer.stdout)
        self.assertIn(b"192.0.2.7", answer.stdout)

    def test_servers_of_resolv_conf_are_asked(self) -> None:
        with Names({"bucket.example.test": "192.0.2.9"}) as names:
            with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
                conf.write("nameserver 127.0.0.53\noptions timeout:2\n")
                conf.flush()
                mount = ("--volume", f"{conf.name}:/etc/resolv.conf:ro")
                answer = self.lookup("bucket.example.test", *mount)
                self.assertEqual(answer.returncode, 0, answer.stdout)
                self.assertIn(b"192.0.2.9", answer.stdout)
                answer = self.lookup("other.example.test", *mount)
                self.assertNotEqual(answer.returncode, 0)
            self.assertIn("bucket.example.test", names.asked)

    def lookup(self, name: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        command = ["docker", "--host", Given.host, "run", "--rm", "--network", "host", *options]
        return subprocess.run([*command, "agent", "lookup", name], capture_output=True, check=False)


from names import Names  # noqa: E402


def build(tag: str, dockerfile: str | None, directory: Path) -> None:
    """Builds an image without a network."""
    if dockerfile is not None:
        (directory / "Dockerfile").write_text(dockerfile)
    command = ["docker", "--host", Given.host, "build", "--quiet", "--network", "none", "--tag", tag, "."]
    # The builder of the engine itself: the newer one is a plug-in of its own.
    made = subprocess.run(
        command, cwd=directory, env={"DOCKER_BUILDKIT": "0", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        sys.exit(f"the image {tag} cannot be built: {made.stderr}")


def main() -> int:
    parser = argparse.ArgumentParser(description="The agent with real containers")
    parser.add_argument("host")
    parser.add_argument("agent", type=Path)
    options = parser.parse_args()
    Given.host = options.host
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        shutil.copy(options.agent, here / "operon-agent")
        shutil.copy(ROOT / "agent" / "Dockerfile", here / "Dockerfile")
        build("agent", None, here)
        (here / "operon-agent").unlink()
        build("shell", _SHELL, here)
    loader = unittest.TestLoader()
    cases = [loader.loadTestsFromTestCase(case) for case in (WithContainers, InScratch)]
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(cases))
    return 0 if result.wasSuccessful() and result.testsRun > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
