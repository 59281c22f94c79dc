"""EventBridge's event patterns: which events a rule wants.

Field names must be there, a list of alternatives matches any of them, an array in the event matches if one of its
elements does, and `$or` joins alternatives of several fields. What is not known here raises: a pattern that this
stand-in does not understand must not look like one that never matches.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

_MISSING = object()


class PatternError(ValueError):
    """A pattern uses something that is not known here."""


def matches(pattern: Mapping[str, object], value: object) -> bool:
    """Whether an event, or an object in one, is what the pattern wants."""
    for name, wanted in pattern.items():
        if name == "$or":
            if not isinstance(wanted, list) or not wanted:
                raise PatternError("`$or` needs a list of patterns")
            if not any(matches(branch, value) for branch in wanted):
                return False
            continue
        found = value[name] if isinstance(value, Mapping) and name in value else _MISSING
        if not _field(wanted, found):
            return False
    return True


def _flat(value: object) -> list[object]:
    if value is _MISSING:
        return []
    if isinstance(value, list):
        return [inner for element in value for inner in _flat(element)]
    return [value]


def _field(wanted: object, found: object) -> bool:
    present = _flat(found)
    if isinstance(wanted, Mapping):
        # All fields of an object in an array must be met by the same object.
        return any(matches(wanted, one) for one in present)
    if not isinstance(wanted, list):
        raise PatternError(f"a field needs a list of alternatives, not {wanted!r}")
    return any(_alternative(one, present) for one in wanted)


def _alternative(wanted: object, present: Sequence[object]) -> bool:
    if isinstance(wanted, Mapping):
        if set(wanted) == {"exists"}:
            return bool(present) == bool(wanted["exists"])
        return any(_content(wanted, value) for value in present)
    return any(_same(wanted, value) for value in present)


def _same(wanted: object, value: object) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    return wanted == value


def _content(filters: Mapping[str, object], value: object) -> bool:
    for name, argument in filters.items():
        match name:
            case "prefix":
                good = isinstance(value, str) and value.startswith(str(argument))
            case "suffix":
                good = isinstance(value, str) and value.endswith(str(argument))
            case "equals-ignore-case":
                good = isinstance(value, str) and value.lower() == str(argument).lower()
            case "wildcard":
                parts = [re.escape(part) for part in str(argument).split("*")]
                good = isinstance(value, str) and re.fullmatch(".*".join(parts), value) is not None
            case "anything-but":
                good = _anything_but(argument, value)
            case "numeric":
                good = _numeric(argument, value)
            case "cidr":
                good = isinstance(value, str) and ipaddress.ip_address(value) in ipaddress.ip_network(str(argument))
            case _:
                raise PatternError(f"the filter `{name}` is not known")
        if not good:
            return False
    return True


def _anything_but(argument: object, value: object) -> bool:
    if isinstance(argument, Mapping):
        return not _content(argument, value)
    refused = argument if isinstance(argument, list) else [argument]
    return not any(_same(one, value) for one in refused)


def _numeric(argument: object, value: object) -> bool:
    if not isinstance(argument, list) or len(argument) % 2:
        raise PatternError("`numeric` needs pairs of operator and number")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    for operator, number in zip(argument[::2], argument[1::2], strict=True):
        compared = {
            "=": value == number,
            "<": value < number,
            "<=": value <= number,
            ">": value > number,
            ">=": value >= number,
        }
        if operator not in compared:
            raise PatternError(f"the operator `{operator}` is not known")
        if not compared[operator]:
            return False
    return True
