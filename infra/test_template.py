"""Rules that the template keeps and no linter knows, and that the Terraform module passes all of it on."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

INFRA = Path(__file__).resolve().parent
TEMPLATE = (INFRA / "template.yaml").read_text(encoding="utf-8")
ROLES = ("intake", "planner", "launcher", "worker", "watcher", "reconciler", "api")


def blocks() -> dict[str, str]:
    """Resources by name, as text."""
    resources = TEMPLATE[TEMPLATE.index("\nResources:\n") : TEMPLATE.index("\nOutputs:\n")]
    parts = re.split(r"^  (\w+):$", resources, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def of_type(kind: str) -> dict[str, str]:
    """Resources of one type."""
    return {name: text for name, text in blocks().items() if f"    Type: {kind}\n" in text}


def number(pattern: str, text: str, default: int = 0) -> int:
    """The number after a property."""
    match = re.search(rf"^ +{pattern}: (\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else default


class TestTemplate(unittest.TestCase):
    """What the header of the template promises."""

    def test_a_wildcard_as_a_resource_says_why(self) -> None:
        lines = TEMPLATE.splitlines()
        for at, line in enumerate(lines):
            if re.search(r'Resource: "\*"', line):
                with self.subTest(line=at + 1):
                    before = lines[max(0, at - 4) : at]
                    self.assertTrue(any("# Wildcard:" in text for text in before), before)

    def test_no_role_may_do_anything_of_a_service(self) -> None:
        for name, text in of_type("AWS::IAM::Role").items():
            with self.subTest(name):
                self.assertEqual(re.findall(r'"(?:[a-z0-9]+:)?\*"(?=[,\]]|$)', re.sub(r'Resource: "\*"', "", text)), [])

    def test_a_role_has_the_actions_on_the_table_that_its_function_asks_for(self) -> None:
        source = (INFRA.parent / "shared/aws/src/store/table.rs").read_text(encoding="utf-8")
        calls = set(re.findall(r"^ +\.((?:get|put|update|delete|batch|query|scan|transact)\w*)\(\)$", source, re.MULTILINE))
        asked = {"".join(word.title() for word in call.split("_")) for call in calls}
        read, write = {"GetItem", "BatchGetItem", "Query"}, {"PutItem", "UpdateItem", "DeleteItem"}
        # Attempts that ended go in batches: of a turn, and of a replay, which the api makes.
        expected = {
            "Intake": read | write, "Planner": read | write | {"BatchWriteItem"},
            "Launcher": {"GetItem", "Query", "PutItem", "DeleteItem"}, "Worker": read | write, "Watcher": {"GetItem"},
            "Reconciler": read | write, "Api": read | write | {"BatchWriteItem"}, "Task": set(), "Execution": set(), "Schedule": set(),
        }  # fmt: skip
        self.assertEqual(set().union(*expected.values()), asked)
        found = {name.removesuffix("Role"): set(re.findall(r'"dynamodb:(?!LeadingKeys)(\w+)"', text))
                 for name, text in of_type("AWS::IAM::Role").items()}  # fmt: skip
        self.assertEqual(found, expected)
        for name, text in of_type("AWS::IAM::Role").items():
            for statement in re.split(r"^              - ", text, flags=re.MULTILINE):
                # An index is read and nothing else; what is removed is limited to some items.
                self.assertEqual("/index/*" in statement, '"dynamodb:Query"' in statement and name != "LauncherRole", name)
                if "dynamodb:DeleteItem" in statement:
                    self.assertIn('"dynamodb:LeadingKeys"', statement, name)

    def test_who_may_write_which_items_is_looked_at_again_when_others_write_them(self) -> None:
        shared = INFRA.parent / "shared"
        # Of the ports, what writes other items than those that begin an execution, and records; and what removes.
        callers = {
            # The planner's turn and end, a poisoned execution (reconciler), a replay (api).
            "store.write": {"planner.rs", "finish.rs", "dead_letters.rs", "replay.rs"},
            # The planner's.
            "save_lock": {"locks.rs"}, "set_queued": {"locks.rs"},
            # The worker's.
            "kv_set": {"tasks/kv.rs"}, "kv_delete": {"tasks/kv.rs"},
            # The planner's and the worker's.
            "put_cached": {"reports.rs"},
            # The worker's and the api's.
            "set_labels": {"worker.rs", "routes/steer.rs", "routes/bulk.rs"},
            # Of notifications (worker, api), claims (worker), task definitions (launcher), batches and letters of triggers.
            "delete_record": {
                "notify/deliver.rs", "notify/policies.rs", "claims.rs", "launcher.rs", "triggers/batches/make.rs",
                "triggers/dead.rs",
            },
        }  # fmt: skip
        for call, files in callers.items():
            pattern = re.compile(rf"\b(?:{call.replace('.', r'\s*\.\s*')})\(")
            found = {
                str(path.relative_to(top)) for top in (shared / "engine/src", shared / "api/src") for path in top.rglob("*.rs")
                if "tests" not in path.stem and "ports" not in path.parts and path.name != "ports.rs"
                and pattern.search(re.sub(r"\bfn \w+", "", path.read_text(encoding="utf-8")))
            }  # fmt: skip
            with self.subTest(call):
                self.assertEqual(found, files, "may the functions that run this do so? see infra/template.yaml")

    def test_every_function_has_a_role_and_a_log_group_of_its_own(self) -> None:
        functions = of_type("AWS::Serverless::Function")
        self.assertEqual(sorted(name.lower() for name in functions), sorted(ROLES))
        for name, text in functions.items():
            with self.subTest(name):
                self.assertIn(f"Role: !GetAtt {name}Role.Arn", text)
                self.assertIn(f"LogGroup: !Ref {name}Logs", text)
                self.assertIn(f"Binary: operon-{name.lower()}-function", text)

    def test_every_function_gets_every_variable_it_may_read(self) -> None:
        config = (INFRA.parent / "shared/aws/src/config.rs").read_text(encoding="utf-8")
        wanted = re.findall(r'^    \w+ "(OPERON_\w+)" "', config, re.MULTILINE)
        self.assertGreater(len(wanted), 10)
        given = re.findall(r"^        (OPERON_\w+):", TEMPLATE[: TEMPLATE.index("\nResources:")], re.MULTILINE)
        # Some are for one function, beside what all of them get.
        own = re.findall(r"^          (OPERON_\w+):", TEMPLATE, re.MULTILINE)
        # No function reads that; it is there to differ.
        self.assertIn("OPERON_DEPLOYED_WITH", given)
        self.assertEqual(sorted({*given, *own} - {"OPERON_DEPLOYED_WITH"}), sorted(wanted))

    def test_the_two_addresses_of_the_interface_follow_aliases(self) -> None:
        urls = {name: text for name, text in blocks().items() if "AuthType: " in text}
        self.assertEqual(sorted(urls), ["Api", "SignedUrl"])
        self.assertIn("    AutoPublishAlias: live\n", TEMPLATE)
        # An alias has one URL. Both are at the version that was published last.
        self.assertIn("      Qualifier: signed\n", urls["SignedUrl"])
        self.assertIn("    DependsOn: SignedAlias\n", urls["SignedUrl"])
        alias = blocks()["SignedAlias"]
        self.assertIn("FunctionVersion: !GetAtt Api.Version.Version, Name: signed", alias)

    def test_only_its_rules_and_the_upload_bucket_send_to_intake(self) -> None:
        policy = blocks()["IntakeQueuePolicy"]
        statements = re.split(r"(?=Sid: )", policy)[1:]
        found = {re.findall(r"Sid: (\w+)", text)[0]: text for text in statements}
        self.assertEqual(sorted(found), ["Topics", "TriggerRules", "UploadBucketItself", "UploadBucketRule", "UploadRule"])
        for sid, text in found.items():
            with self.subTest(sid):
                self.assertIn('"aws:SourceArn"', text)
                sender = {"UploadBucketItself": "s3", "Topics": "sns"}.get(sid, "events")
                self.assertIn(f"Principal: {{ Service: {sender}.amazonaws.com }}", text)
        own = found["UploadBucketItself"]
        self.assertIn('"arn:${AWS::Partition}:s3:::${UploadBucket}"', own)
        self.assertIn('StringEquals: { "aws:SourceAccount": !Ref AWS::AccountId }', own)
        # Each without a bucket of that name is left out.
        self.assertEqual(policy.count("- HasUploadBucket\n"), 2)
        self.assertEqual(policy.count("- HasSourceTopics\n"), 1)

    def test_what_brings_events_of_triggers_goes_to_intake_only(self) -> None:
        policy, role = blocks()["IntakeQueuePolicy"], blocks()["ApiRole"]
        # The names that shared/aws/src/feeds.rs gives.
        feeds = (INFRA.parent / "shared/aws/src/feeds.rs").read_text(encoding="utf-8")
        self.assertIn('format!("operon-{}.{of}", self.stage)', feeds)
        self.assertIn('format!("operon-{}-intake:live", self.stage)', feeds)
        for text in (policy, role):
            self.assertIn(":rule/operon-${Stage}.*", text)
            self.assertNotIn(":rule/*\"", text)
        statements = re.split(r"(?=- Effect: Allow)", role)
        limited = {"events:PutTargets": "IntakeQueue.Arn", "sns:Subscribe": "IntakeQueue.Arn",
                   "lambda:CreateEventSourceMapping": "operon-${Stage}-intake*"}  # fmt: skip
        for action, to in limited.items():
            with self.subTest(action):
                found = [text for text in statements if action in text]
                self.assertEqual(len(found), 1)
                self.assertRegex(found[0], rf"Condition: .*{re.escape(to)}")

    def test_all_launchers_together_keep_to_what_ecs_allows(self) -> None:
        source = (INFRA.parent / "functions/launcher/src/main.rs").read_text(encoding="utf-8")

        def constant(name: str) -> float:
            found = re.search(rf"^const {name}: f64 = ([0-9.]+);$", source, re.MULTILINE)
            assert found is not None, f"functions/launcher/src/main.rs has no constant {name}"
            return float(found[1])

        launchers = re.findall(r"ScalingConfig: \{ MaximumConcurrency: (\d+) \}", blocks()["Launcher"])
        self.assertEqual(len(launchers), 1)
        # Of an account and region, for tasks on Fargate.
        self.assertLessEqual(int(launchers[0]) * constant("LAUNCHES_PER_SECOND"), 20)
        self.assertLessEqual(int(launchers[0]) * constant("LAUNCH_BURST"), 100)

    def test_who_starts_executions_may_store_plans_and_who_settles_attempts_may_read_manifests(self) -> None:
        roles = of_type("AWS::IAM::Role")

        def may(action: str, prefix: str) -> set[str]:
            found = set()
            for name, text in roles.items():
                for statement in re.split(r"^              - ", text, flags=re.MULTILINE):
                    if f'"{action}"' in statement and f"${{DataBucket.Arn}}/{prefix}/*" in statement:
                        found.add(name.removesuffix("Role"))
            return found

        starts = {"Intake", "Planner", "Worker", "Reconciler", "Api"}
        self.assertEqual(may("s3:PutObject", "plans"), starts)
        self.assertEqual(may("s3:GetObject", "artifacts"), starts | {"Launcher", "Watcher", "Task"})
        # What becomes an input is copied from where it was put.
        self.assertEqual(may("s3:GetObject", "uploads"), starts | {"Task"})
        bucket = '"arn:${AWS::Partition}:s3:::${UploadBucket}/*"'
        for name in starts:
            with self.subTest(name):
                text = roles[f"{name}Role"]
                statements = [part for part in re.split(r"^ +- Effect: ", text, flags=re.MULTILINE) if bucket in part]
                self.assertTrue(any('"s3:GetObject", "s3:GetObjectVersion"' in part for part in statements), statements)

    def test_whoever_reads_secrets_reads_both_stores_and_only_below_the_prefix(self) -> None:
        stores = ("secretsmanager", "secret:"), ("ssm", "parameter/")
        place = "${AWS::Region}:${AWS::AccountId}"
        expected = {
            f'!Sub "arn:${{AWS::Partition}}:{store}:{place}:{kind}operon/${{Stage}}/*"' for store, kind in stores
        }
        readers = set()
        for name, text in of_type("AWS::IAM::Role").items():
            for statement in re.split(r"^              - (?!!)", text, flags=re.MULTILINE):
                actions = re.findall(r'"((?:secretsmanager|ssm|kms):\w+)"', statement)
                if not actions:
                    continue
                with self.subTest(name):
                    readers.add(name.removesuffix("Role"))
                    # ECS asks for several at once.
                    self.assertIn("ssm:GetParameters" if name == "ExecutionRole" else "ssm:GetParameter", actions)
                    self.assertIn("secretsmanager:GetSecretValue", actions)
                    resources = re.findall(r"^                  - (!Sub .*)$", statement, re.MULTILINE)
                    self.assertEqual(set(resources), expected)
        self.assertEqual(readers, {"Execution", "Intake", "Planner", "Launcher", "Worker", "Reconciler", "Api"})

    def test_whoever_finds_a_poll_due_may_ask_the_worker(self) -> None:
        may = set()
        for name, text in of_type("AWS::IAM::Role").items():
            for statement in re.split(r"^              - ", text, flags=re.MULTILINE):
                if 'Action: "sqs:SendMessage"' in statement and "- !GetAtt WorkQueue.Arn" in statement:
                    may.add(name.removesuffix("Role"))
        # The planner gives the worker its tasks.
        self.assertEqual(may, {"Intake", "Reconciler", "Api", "Worker", "Planner"})

    def test_files_of_deployed_flows_do_not_expire(self) -> None:
        rules = re.findall(r"^            Prefix: (\S+)$", TEMPLATE, re.MULTILINE)
        self.assertIn("artifacts/executions/", rules)
        for key in ["artifacts/files/x", "artifacts/flows/x", "plans/x"]:
            self.assertEqual([rule for rule in rules if key.startswith(rule)], [], key)

    def test_every_queue_that_is_read_has_a_dead_letter_queue(self) -> None:
        queues = of_type("AWS::SQS::Queue")
        for name, text in queues.items():
            with self.subTest(name):
                self.assertIn("SqsManagedSseEnabled: true", text)
                if name.endswith("DeadLetters"):
                    self.assertEqual(number("MessageRetentionPeriod", text), 14 * 86400)
                else:
                    self.assertRegex(text, r"deadLetterTargetArn: !GetAtt \w+DeadLetters\.Arn, maxReceiveCount: 5")

    def test_a_queue_is_invisible_for_six_timeouts_of_its_reader(self) -> None:
        queues = of_type("AWS::SQS::Queue")
        shared = number("Timeout", TEMPLATE[: TEMPLATE.index("\nResources:")])
        read = 0
        for name, text in of_type("AWS::Serverless::Function").items():
            for queue in re.findall(r"Queue: !GetAtt (\w+)\.Arn", text):
                read += 1
                with self.subTest(name):
                    visibility = number("VisibilityTimeout", queues[queue])
                    self.assertGreaterEqual(visibility, 6 * number("Timeout", text, shared))
                    self.assertIn("FunctionResponseTypes: [ReportBatchItemFailures]", text)
        self.assertEqual(read, 4)

    def test_planner_and_launcher_are_rolled_out_by_canary(self) -> None:
        functions = of_type("AWS::Serverless::Function")
        slow = {name for name, text in functions.items() if "Type: Canary10Percent5Minutes\n" in text}
        self.assertEqual(slow, {"Planner", "Launcher"})
        for name in slow:
            self.assertRegex(functions[name], r"Alarms: \[!Ref \w+, !Ref \w+")

    def test_every_log_group_ends(self) -> None:
        for name, text in of_type("AWS::Logs::LogGroup").items():
            self.assertIn("RetentionInDays: !Ref LogDays", text, name)

    def test_only_the_data_bucket_is_left(self) -> None:
        left = {name for name, text in blocks().items() if "    DeletionPolicy: Retain\n" in text}
        self.assertEqual(left, {"DataBucket"})

    def test_nothing_costs_while_idle(self) -> None:
        for kind in ["AWS::EC2::NatGateway", "AWS::EC2::EIP", "AWS::ECS::Service", "AWS::KMS::Key"]:
            self.assertEqual(of_type(kind), {}, kind)
        for name, text in of_type("AWS::EC2::VPCEndpoint").items():
            self.assertIn("VpcEndpointType: Gateway", text, name)

    def test_the_guide_counts_the_alarms(self) -> None:
        guide = (INFRA.parent / "docs/operations.md").read_text(encoding="utf-8")
        row = re.search(r"^\| alarms, (\d+), .* \| ([0-9.]+) dollars .*, else ([0-9.]+) dollars \|$", guide, re.MULTILINE)
        assert row is not None
        found = of_type("AWS::CloudWatch::Alarm")
        alarms = len(found)
        self.assertEqual(int(row[1]), alarms)
        # Ten cents for each metric, and ten of an account are free.
        self.assertEqual([name for name, text in found.items() if text.count("MetricName: ") != 1], [])
        self.assertEqual((row[2], row[3]), (f"{max(0, alarms - 10) / 10:.2f}", f"{alarms / 10:.2f}"))

    def test_the_guide_explains_every_alarm(self) -> None:
        guide = (INFRA.parent / "docs/operations.md").read_text(encoding="utf-8")
        section = guide[guide.index("\n## Alarms\n") : guide.index("\n## Dead letters\n")]
        # Those of dead letters are alike.
        alike = {f"{queue}DeadLetters{what}" for queue in ("Launch", "Work", "Intake", "Event") for what in ("Alarm", "Stay")}
        explained = {name for row in re.findall(r"^\| (.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
        self.assertEqual(explained | alike, set(of_type("AWS::CloudWatch::Alarm")))

    def test_the_dashboard_is_made_unless_it_is_left_out(self) -> None:
        self.assertIn("    Condition: ShowsDashboard\n", blocks()["Dashboard"])
        self.assertRegex(TEMPLATE, r"\n  ShowDashboard:\n    Type: String\n    Default: \"true\"\n")

    def test_what_a_function_gives_back_is_counted_in_its_own_log(self) -> None:
        source = (INFRA.parent / "shared/aws/src/sqs.rs").read_text(encoding="utf-8")
        filters = of_type("AWS::Logs::MetricFilter")
        self.assertEqual(set(filters), {"PlannerUnhandled", "LauncherUnhandled"})
        for name, text in filters.items():
            function = name.removesuffix("Unhandled")
            self.assertIn(f"LogGroupName: !Ref {function}Logs", text)
            said = re.search(r"\$\.message = \"([^\"]+)\"", text)
            assert said is not None
            self.assertIn(f'"{said[1]}"', source)
            self.assertIn(f"!Ref {function}Refuses", of_type("AWS::Serverless::Function")[function])
            self.assertIn(f"Value: {function.lower()} }}", of_type("AWS::CloudWatch::Alarm")[f"{function}Refuses"])

    def test_nothing_may_connect_to_containers(self) -> None:
        for name, text in of_type("AWS::EC2::SecurityGroup").items():
            self.assertNotIn("SecurityGroupIngress", text, name)


class TestTerraform(unittest.TestCase):
    """The module beside it."""

    def test_changed_parameters_are_a_new_version(self) -> None:
        main = (INFRA / "terraform/main.tf").read_text(encoding="utf-8")
        replaced = re.search(r'replace\(local\.template, "([^"]+)", "([^"$]+)\$\{local\.deployed_with\}"\)', main)
        assert replaced is not None
        self.assertEqual(TEMPLATE.count(replaced[1]), 1)
        self.assertEqual(replaced[2], "OPERON_DEPLOYED_WITH: p")
        self.assertIn("jsonencode([local.release, local.template, local.parameters])", main)

    def test_every_parameter_is_passed_on(self) -> None:
        parameters = TEMPLATE[TEMPLATE.index("\nParameters:\n") : TEMPLATE.index("\nConditions:\n")]
        main = (INFRA / "terraform/main.tf").read_text(encoding="utf-8")
        passed = main[main.index("parameters = {") :]
        names = re.findall(r"^  (\w+):$", parameters, re.MULTILINE)
        self.assertEqual(sorted(re.findall(r"^    (\w+) +=", passed, re.MULTILINE)), sorted(names))

    def test_every_parameter_is_explained(self) -> None:
        parameters = TEMPLATE[TEMPLATE.index("\nParameters:\n") : TEMPLATE.index("\nConditions:\n")]
        guide = (INFRA.parent / "docs/operations.md").read_text(encoding="utf-8")
        rows = [line.split("|")[1] for line in guide.splitlines() if line.startswith("| `")]
        explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
        # Those are the words of `make deploy`.
        expected = set(re.findall(r"^  (\w+):$", parameters, re.MULTILINE)) - {"Stage", "Architecture"}
        self.assertGreater(len(expected), 10)
        self.assertEqual(expected - explained, set())

    def test_every_function_gets_its_zip(self) -> None:
        main = (INFRA / "terraform/main.tf").read_text(encoding="utf-8")
        pattern = re.search(r'"/(CodeUri.*)/",', main)
        assert pattern is not None
        # As Terraform reads it: a backslash is written twice in a string.
        found = re.findall(pattern[1].replace("\\\\", "\\"), TEMPLATE)
        self.assertEqual(sorted(found), sorted(ROLES))
        self.assertEqual(sorted(re.findall(r'"([a-z]+)"', main[: main.index("])")])), sorted(ROLES))


if __name__ == "__main__":
    unittest.main()
