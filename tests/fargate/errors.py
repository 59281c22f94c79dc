"""The errors of the ECS API, as its clients see them."""

from __future__ import annotations

from collections.abc import Sequence


class EcsError(Exception):
    """An answer other than 200, by the name that the service model gives it."""

    def __init__(
        self, kind: str, message: str, *, status: int = 400, resource_ids: Sequence[str] | None = None
    ) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.status = status
        self.resource_ids = resource_ids

    def body(self) -> dict[str, object]:
        """As the JSON protocol writes it."""
        shown: dict[str, object] = {"__type": self.kind, "message": self.message}
        if self.resource_ids is not None:
            shown["resourceIds"] = list(self.resource_ids)
        return shown


def invalid(message: str) -> EcsError:
    """A parameter that the service refuses."""
    return EcsError("InvalidParameterException", message)


def client(message: str) -> EcsError:
    """Something the caller may not do, or that is not there."""
    return EcsError("ClientException", message)


def throttled(message: str = "Rate exceeded") -> EcsError:
    """Too many requests, said plainly."""
    return EcsError("ThrottlingException", message)


def disguised_throttle() -> EcsError:
    """Too many requests of ECS itself to EC2, which reach the caller as a wrong parameter (E9)."""
    return invalid(
        "Error retrieving subnet information for [subnet-0f00]: Request limit exceeded. Rate exceeded "
        "(ErrorCode: RequestLimitExceeded)"
    )
