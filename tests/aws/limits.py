"""What a lane cannot do, with the reason. A test that needs it is counted as skipped and says why, or does less.

docs/testing.md lists the same; test_lanes.py holds it to that.
"""

from __future__ import annotations

CANNOT: dict[str, dict[str, str]] = {
    "localstack": {
        "ecs-resources": "its CloudFormation passes over ECS::Cluster, which is not in the free edition",
        "keys-on-the-bus": "its EventBridge events have url-encoded keys, which those of AWS have not",
        "conditional-delete": "its S3 refuses `If-Match` of DeleteObject, so removing and moving objects is tested elsewhere only",
        "alias-configuration": "its Lambda tells no configuration of an alias, so `operon doctor` finds no function there",
        "burst-1000": "it carries about a hundred requests a second, so the burst is of a hundred uploads",
    },
    "ministack": {},
}
"""By lane and capability."""
