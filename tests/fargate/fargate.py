"""Starts a Fargate stand-in; prints its URL as JSON on a line and runs until SIGTERM.

    python3 fargate.py --images images.json [--lane http://127.0.0.1:4566] [--port N] …

The SDK is pointed at it by AWS_ENDPOINT_URL_ECS. Containers are processes by the table of images, or those of a
Docker engine with --engine.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
from pathlib import Path

from engine import EngineRuntime
from lane import Lane
from lifecycle import Pace
from runtime import ProcessRuntime, Runtime
from server import Options, StandIn
from service import Rates


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="ECS on Fargate, on this machine")
    parser.add_argument("--images", type=Path, help="JSON: image to {entryPoint, command, environment}")
    parser.add_argument("--engine", metavar="unix://…", help="run real containers of this Docker engine")
    parser.add_argument("--lane", metavar="URL", help="the emulator behind: secrets, logs, rules and targets")
    parser.add_argument("--region", default="eu-central-1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--secrets", type=Path, help="JSON: secret id to value, before those of the emulator")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="of every container")
    parser.add_argument("--root", type=Path, help="directory of the tasks; a temporary one by default")
    parser.add_argument("--places", type=int, default=16, help="tasks at once")
    parser.add_argument("--no-rates", action="store_true", help="without AWS' launch quota")
    parser.add_argument("--provisioning-ms", type=int, default=10)
    parser.add_argument("--stop-scale", type=float, default=1.0, help="shortens stop timeouts, such as 0.1")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    root = options.root or Path(tempfile.mkdtemp(prefix="operon-fargate-"))
    runtime: Runtime
    if options.engine:
        runtime = EngineRuntime(options.engine)
    elif options.images:
        runtime = ProcessRuntime(ProcessRuntime.table(options.images.read_text()), root / "containers")
    else:
        sys.exit("fargate: --images or --engine is needed")
    stand_in = StandIn(
        Options(
            runtime=runtime,
            root=root,
            region=options.region,
            port=options.port,
            lane=Lane(options.lane, options.region) if options.lane else None,
            secrets=json.loads(options.secrets.read_text()) if options.secrets else {},
            environment=dict(pair.split("=", 1) for pair in options.env),
            pace=Pace(provisioning_s=options.provisioning_ms / 1000, stop_scale=options.stop_scale),
            rates=None if options.no_rates else Rates.of_aws(),
            places=options.places,
        )
    )
    print(json.dumps({"url": stand_in.url, "root": str(root)}), flush=True)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    over.wait()
    stand_in.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
