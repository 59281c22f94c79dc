"""What is handed to SAM."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import deploy


class TestDeploy(unittest.TestCase):
    """From the template of the repository to the one that is deployed."""

    def test_every_function_gets_its_zip(self) -> None:
        text = deploy.with_zips((deploy.INFRA / "template.yaml").read_text(encoding="utf-8"))
        for role in ["intake", "planner", "launcher", "worker", "watcher", "reconciler", "api"]:
            self.assertEqual(text.count(f"CodeUri: {role}.zip\n"), 1, role)
        self.assertNotIn("../functions", text)
        self.assertNotIn("rust-cargolambda", text)

    def test_parameters_reach_the_stack(self) -> None:
        command = deploy.deploy_command(Path("sam"), "staging", "x86_64", ["AlertEmail=a@b.example", "UploadBucket="])
        given = command[command.index("--parameter-overrides") + 1 :]
        self.assertEqual(given, ["Stage=staging", "Architecture=x86_64", "AlertEmail=a@b.example", 'UploadBucket=""'])
        self.assertIn("operon-staging", command)

    def test_what_changes_beside_the_code_is_a_new_version(self) -> None:
        text = (deploy.INFRA / "template.yaml").read_text(encoding="utf-8")

        def changed(*parameters: str, text: str = text) -> list[tuple[str, str]]:
            lines = deploy.with_parameters(text, list(parameters)).splitlines()
            return [(old.strip(), new.strip()) for old, new in zip(text.splitlines(), lines, strict=True) if old != new]

        none, one = changed(), changed("OidcIssuer=https://a.example")
        self.assertEqual([old for old, _ in none + one], ["OPERON_DEPLOYED_WITH: nothing"] * 2)
        self.assertRegex(none[0][1], r"^OPERON_DEPLOYED_WITH: p[0-9a-f]{16}$")
        self.assertNotEqual(none, one)
        self.assertEqual(changed("A=1", "B=2"), changed("B=2", "A=1"))
        self.assertNotEqual(none, changed(text=text.replace("Timeout: 300", "Timeout: 200")))

    def test_the_region_of_the_guide_counts(self) -> None:
        self.assertEqual(deploy.region_for_python({"AWS_REGION": "eu-central-1"}), {"AWS_DEFAULT_REGION": "eu-central-1"})
        self.assertEqual(deploy.region_for_python({"AWS_DEFAULT_REGION": "us-east-1"}), {})

    def test_parameters_come_by_the_environment(self) -> None:
        makefile = (deploy.ROOT / "Makefile").read_text(encoding="utf-8")
        self.assertIn("\nexport PARAMETERS\n", makefile)
        self.assertNotIn("$(PARAMETERS)", makefile)

    def test_the_agent_is_pushed_unless_its_image_is_elsewhere(self) -> None:
        self.assertTrue(deploy.needs_agent(["AlertEmail=a@b.example", "AgentImage="]))
        self.assertFalse(deploy.needs_agent(["AgentImage=registry.example/agent:1"]))

    def test_a_deployment_is_removed_by_whoever_says_its_name(self) -> None:
        asked: list[str] = []

        def answers(text: str) -> str:
            asked.append(text)
            return "main\n"

        self.assertIsNone(deploy.why_it_stays("main", "main", None))
        self.assertIsNone(deploy.why_it_stays("main", "", answers))
        self.assertIn("the deployment main", asked[0])
        # Who gives a name is not asked for another one.
        self.assertIsNotNone(deploy.why_it_stays("staging", "main", answers))
        self.assertEqual(len(asked), 1)
        for confirm, ask in [("", None), ("main", None), ("yes", None), ("", answers), ("", lambda _: "")]:
            said = deploy.why_it_stays("staging", confirm, ask) or ""
            self.assertIn("stays", said)
            self.assertTrue(said.endswith("make destroy STAGE=staging CONFIRM=staging removes it"), said)

    def test_who_ends_the_question_removes_nothing(self) -> None:
        for end in (EOFError, KeyboardInterrupt):

            def ends(_: str, end: type[BaseException] = end) -> str:
                raise end

            self.assertIn("its name was not given", deploy.why_it_stays("main", "", ends) or "")

    def test_nothing_is_done_without_the_name(self) -> None:
        makefile = (deploy.ROOT / "Makefile").read_text(encoding="utf-8")
        self.assertIn("\nexport CONFIRM\n", makefile)
        with tempfile.TemporaryDirectory() as home:
            for confirm in ("", "staging"):
                # No program is found, so whatever came after the question would fail otherwise.
                done = subprocess.run(
                    [sys.executable, str(Path(deploy.__file__)), "destroy"],
                    env={"PATH": home, "HOME": home, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "CONFIRM": confirm},
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                )  # fmt: skip
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertRegex(done.stderr, r"^destroy: the deployment main stays: .*; make destroy STAGE=main CONFIRM=main")
            self.assertEqual(list(Path(home).iterdir()), [])

    def test_destroying_leaves_the_data_bucket_and_nothing_else(self) -> None:
        text = (deploy.INFRA / "template.yaml").read_text(encoding="utf-8")
        self.assertEqual(text.count("DeletionPolicy: Retain\n"), 1)
        before = text[: text.index("DeletionPolicy: Retain\n")].rstrip()
        self.assertTrue(before.endswith("DataBucket:\n    Type: AWS::S3::Bucket"), before[-80:])


if __name__ == "__main__":
    unittest.main()
