"""One task from PROVISIONING to STOPPED, as Fargate's agent leads it.

Containers start when their `dependsOn` is met, and are stopped in reverse: one gets SIGTERM when everything that
depends on it has stopped, and SIGKILL after its `stopTimeout`. The end of an essential container ends the task.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from events import Bus
from faults import Fault, Faults, Kind
from lane import LaneError
from logs import AwsLogs, Driver, FireLens, Streams
from model import Container, Task
from runtime import ImageMissing, Launch, Running, Runtime, StartFailed

# What containers get when a dependency can no longer be met; ECS' agent reports a SIGTERM that never was.
_DEPENDENCY_CODE = 143


@dataclass(frozen=True)
class Pace:
    """How long the phases take, and how much shorter than real the stop timeouts are."""

    provisioning_s: float = 0.01
    pull_s: float = 0.01
    deprovisioning_s: float = 0.01
    stop_scale: float = 1.0


@dataclass(frozen=True)
class World:
    """What all tasks share."""

    runtime: Runtime
    bus: Bus
    faults: Faults
    streams: Streams
    pace: Pace
    root: Path
    secret: Callable[[str], str]
    # Base URL of the metadata endpoint.
    metadata_url: str
    # Environment that Fargate gives every container, the emulator's endpoint included.
    environment: Mapping[str, str]
    # Tasks that run at once on this machine; others wait in PROVISIONING.
    places: threading.Semaphore


class Led:
    """A task that is being led to its end by a thread of its own."""

    def __init__(self, task: Task, world: World) -> None:
        self.task = task
        self._world = world
        self._running: dict[str, Running] = {}
        self._changed = threading.Condition(task.lock)
        self._stop_asked = False
        self._terminated: set[str] = set()
        self._resolved: dict[str, dict[str, str]] = {}
        self.directory = world.root / task.id

    def begin(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._lead, daemon=True).start()

    # What others may do to it.

    def stop(self, code: str, reason: str) -> None:
        """Asks for its end; the first reason counts."""
        with self._changed:
            if self.task.desired == "STOPPED":
                return
            self.task.desired = "STOPPED"
            self.task.stop_code = code
            self.task.stopped_reason = reason
            self.task.times["stoppingAt"] = self.task.times["executionStoppedAt"] = time.time()
            self._stop_asked = True
            self._tell()
            self._changed.notify_all()

    def interrupt(self) -> None:
        """Takes the machine away: the warning, and SIGTERM at the same time."""
        self.stop("SpotInterruption", "Your Spot Task was interrupted.")

    def end(self) -> None:
        """Ends it without courtesy, because the stand-in ends."""
        self.stop("UserInitiated", "the stand-in ends")
        for running in list(self._running.values()):
            running.signal(signal.SIGKILL)

    def exhaust(self, name: str = "main") -> bool:
        """Kills a container as the kernel does when memory is used up."""
        running = self._running.get(name)
        if running is not None:
            running.kill_for_memory()
        return running is not None

    def stats(self) -> dict[str, object]:
        """Of each container, by its id."""
        return {
            one.runtime_id: running.stats() if (running := self._running.get(one.name)) else None
            for one in self.task.containers
        }

    def log_options(self) -> dict[str, dict[str, str]]:
        """Of each container whose log goes to CloudWatch."""
        found: dict[str, dict[str, str]] = {}
        for one in self.task.containers:
            if one.log_stream is not None:
                found[one.name] = {**_log_options(one), "awslogs-stream": one.log_stream}
        return found

    # The way.

    def _lead(self) -> None:
        with self._world.places:
            self._tell()
            if not self._provision():
                return
            waiters = []
            while True:
                with self._changed:
                    if self._is_over():
                        break
                    ready = [] if self._stop_asked else self._ready()
                    if not ready:
                        if self._stop_asked:
                            self._stop_next()
                        self._changed.wait(timeout=0.5)
                        continue
                for container in ready:
                    waiters.append(self._start(container))
            for waiter in waiters:
                waiter.join()
            self._leave()

    def _provision(self) -> bool:
        """Until containers may start; false if it came to nothing."""
        task, pace = self.task, self._world.pace
        self._pause(pace.provisioning_s)
        if self._fault(Kind.FAIL_TO_START):
            return self._never("Timeout waiting for network interface provisioning to complete.")
        try:
            self._resolved = {one.name: self._secrets(one) for one in task.containers}
        except LaneError as error:
            return self._never(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource "
                f"retrieval failed: unable to retrieve secret from asm: {str(error)[:300]}"
            )
        with self._changed:
            task.last = "PENDING"
            task.times["connectivityAt"] = task.times["pullStartedAt"] = time.time()
            self._tell()
        self._pause(pace.pull_s)
        for one in task.containers:
            try:
                if self._fault(Kind.CANNOT_PULL):
                    raise ImageMissing(f"{one.definition['image']}: not found")
                self._world.runtime.pull(str(one.definition["image"]))
            except ImageMissing as error:
                one.reason = f"CannotPullContainerError: pull image manifest has been retried 1 time(s): {error}"
                return self._never(one.reason)
        with self._changed:
            task.times["pullStoppedAt"] = time.time()
        return True

    def _never(self, reason: str) -> bool:
        """It cannot start."""
        with self._changed:
            task = self.task
            task.desired = "STOPPED"
            # A stop that was asked for before has its own code.
            task.stop_code = task.stop_code or "TaskFailedToStart"
            task.stopped_reason = task.stopped_reason or reason
            task.times.setdefault("stoppingAt", time.time())
            for one in task.containers:
                one.status = "STOPPED"
        self._leave()
        return False

    def _secrets(self, container: Container) -> dict[str, str]:
        listed = container.definition.get("secrets") or []
        assert isinstance(listed, list)
        return {str(one["name"]): self._world.secret(str(one["valueFrom"])) for one in listed}

    def _ready(self) -> list[Container]:
        """Containers that may start now. Those that never can are ended. Under the lock."""
        ready = []
        for one in self.task.containers:
            if one.status != "PENDING":
                continue
            met = [self._met(name, condition) for name, condition in one.waits_for]
            if False in met:
                one.status = "STOPPED"
                one.exit_code = _DEPENDENCY_CODE
                one.reason = (
                    "CannotStartContainerError: dependency graph: failed to resolve the container "
                    "ordering dependency"
                )
                self._container_ended(one)
            elif None not in met:
                one.status = "CREATED"
                ready.append(one)
        return ready

    def _met(self, name: str, condition: str) -> bool | None:
        """Whether a dependency is met; None for not yet."""
        other = self.task.container(name)
        stopped = other.status == "STOPPED"
        match condition:
            case "START" | "HEALTHY":
                if other.started is not None:
                    return True
            case "COMPLETE":
                if stopped:
                    return True
            case "SUCCESS":
                if stopped and other.exit_code == 0:
                    return True
        return False if stopped else None

    def _start(self, container: Container) -> threading.Thread:
        """Starts it and waits for its end on a thread."""
        driver, socket = self._log_driver(container)
        launch = Launch(
            container_id=container.runtime_id,
            image=str(container.definition["image"]),
            entry_point=_words(container.definition.get("entryPoint")),
            command=container.command,
            environment=self._environment(container),
            working_directory=_text(container.definition.get("workingDirectory")),
            mounts=self._mounts(container),
            memory_bytes=None if container.memory_mib is None else container.memory_mib << 20,
            user=_text(container.definition.get("user")),
            init=bool(_object(container.definition.get("linuxParameters")).get("initProcessEnabled")),
            driver=driver,
            router_socket=socket,
        )
        try:
            running = self._world.runtime.start(launch)
        except StartFailed as error:
            with self._changed:
                container.status, container.reason, container.exit_code = "STOPPED", str(error), 127
                self._container_ended(container)
                self._changed.notify_all()
            return _started(lambda: None)
        with self._changed:
            self._running[container.name] = running
            container.status, container.started = "RUNNING", time.time()
            self._task_runs()
            self._changed.notify_all()
        if container.name == "main":
            if self._fault(Kind.OOM):
                running.kill_for_memory()
            if self._fault(Kind.SPOT):
                self.interrupt()
        return _started(lambda: self._await(container, running, driver))

    def _await(self, container: Container, running: Running, driver: Driver | None) -> None:
        ended = running.wait()
        if driver is not None:
            driver.close()
        with self._changed:
            container.status, container.exit_code, container.finished = "STOPPED", ended.code, time.time()
            if ended.out_of_memory:
                container.reason = "OutOfMemoryError: Container killed due to memory usage"
            self._container_ended(container)
            self._changed.notify_all()

    def _container_ended(self, container: Container) -> None:
        """Under the lock."""
        if container.essential and self.task.desired != "STOPPED":
            self.stop("EssentialContainerExited", "Essential container in task exited")

    def _task_runs(self) -> None:
        """RUNNING once every container has started, or can no longer. Under the lock."""
        if self.task.last == "PENDING" and all(
            one.status in ("RUNNING", "STOPPED") for one in self.task.containers
        ):
            self.task.last = "RUNNING"
            self.task.times["startedAt"] = time.time()
            self._tell()

    def _stop_next(self) -> None:
        """Sends SIGTERM to what nothing that still runs depends on. Under the lock."""
        alive = [one for one in self.task.containers if one.status == "RUNNING"]
        for one in self.task.containers:
            if one.status in ("PENDING", "CREATED") and one.name not in self._running:
                one.status = "STOPPED"
        for one in alive:
            needed = any(one.name == name for other in alive for name, _ in other.waits_for)
            if not needed and one.name not in self._terminated:
                self._terminated.add(one.name)
                _started(lambda one=one: self._terminate(one))

    def _terminate(self, container: Container) -> None:
        running = self._running[container.name]
        running.signal(signal.SIGTERM)
        deadline = time.monotonic() + container.stop_timeout_s * self._world.pace.stop_scale
        with self._changed:
            while container.status == "RUNNING" and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(timeout=left)
            if container.status != "RUNNING":
                return
        running.signal(signal.SIGKILL)

    def _is_over(self) -> bool:
        """Under the lock."""
        return all(one.status == "STOPPED" for one in self.task.containers)

    def _leave(self) -> None:
        task, pace = self.task, self._world.pace
        with self._changed:
            if task.stop_code is None:
                # Only containers that are not essential ended, or none could start.
                task.stop_code, task.stopped_reason = "EssentialContainerExited", "All containers exited"
            task.desired = "STOPPED"
            task.times.setdefault("executionStoppedAt", time.time())
            task.times.setdefault("stoppingAt", time.time())
            task.last = "DEPROVISIONING"
            self._tell()
        late = self._fault(Kind.STOPPED_LATE)
        time.sleep(pace.deprovisioning_s + (int(str(late.options.get("ms", 0))) / 1000 if late else 0))
        with self._changed:
            task.last = "STOPPED"
            task.times["stoppedAt"] = time.time()
            self._tell()
            self._changed.notify_all()

    # Small things.

    def _tell(self) -> None:
        with self.task.lock:
            self.task.version += 1
            self._world.bus.publish(self.task)

    def _fault(self, kind: Kind) -> Fault | None:
        return self._world.faults.take(kind, started_by=self.task.started_by or "")

    def _pause(self, seconds: float) -> None:
        """A phase; ends early when a stop is asked for."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop_asked, timeout=seconds)

    def _environment(self, container: Container) -> dict[str, str]:
        url = f"{self._world.metadata_url}/v4/{container.runtime_id}"
        fargate = {
            **self._world.environment,
            "ECS_CONTAINER_METADATA_URI_V4": url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self._world.metadata_url}/v2/credentials/{self.task.id}",
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
        }
        if container.definition.get("firelensConfiguration"):
            fargate["OPERON_LOG_SOCKET"] = str(self._router_socket())
        return {**fargate, **container.environment, **self._resolved[container.name]}

    def _mounts(self, container: Container) -> dict[str, Path]:
        listed = container.definition.get("mountPoints") or []
        assert isinstance(listed, list)
        mounts = {}
        for one in listed:
            directory = self.directory / "volumes" / str(one["sourceVolume"])
            directory.mkdir(parents=True, exist_ok=True)
            mounts[str(one["containerPath"])] = directory
        return mounts

    def _router_socket(self) -> Path:
        path = self.directory / "run" / "fluent.sock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _log_driver(self, container: Container) -> tuple[Driver | None, Path | None]:
        match _object(container.definition.get("logConfiguration")).get("logDriver"):
            case "awslogs":
                options = _log_options(container)
                prefix = options.get("awslogs-stream-prefix", "ecs")
                container.log_stream = f"{prefix}/{container.name}/{self.task.id}"
                group = options.get("awslogs-group", "")
                return AwsLogs(self._world.streams, group, container.log_stream), None
            case "awsfirelens":
                socket = self._router_socket()
                tag = f"{container.name}-firelens-{self.task.id}"
                return FireLens(socket, tag, container.runtime_id), socket
            case _:
                return None, None


def _started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _words(value: object) -> list[str] | None:
    return [str(word) for word in value] if isinstance(value, list) and value else None


def _log_options(container: Container) -> dict[str, str]:
    options = _object(_object(container.definition.get("logConfiguration")).get("options"))
    return {name: str(value) for name, value in options.items()}
