"""What a lane cannot do, with the reason. A test that needs it is counted as skipped and says why.

docs/testing.md lists the same; test_lanes.py holds it to that.
"""

from __future__ import annotations

CANNOT: dict[str, dict[str, str]] = {
    "localstack": {
        "ecs-resources": "its CloudFormation passes over ECS::Cluster, which is not in the free edition",
    },
    "ministack": {},
}
"""By lane and capability."""
