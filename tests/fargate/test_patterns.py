"""Event patterns match as EventBridge's do."""

from __future__ import annotations

import unittest

from patterns import PatternError, matches

# The rule of the deployment for the watcher.
STOPPED = {
    "source": ["aws.ecs"],
    "detail": {
        "lastStatus": ["STOPPED"],
        "$or": [
            {"stopCode": [{"anything-but": ["EssentialContainerExited"]}]},
            {"containers": {"exitCode": [{"anything-but": [0]}]}},
        ],
    },
}


def event(stop_code: str, exit_codes: list[int | None]) -> dict[str, object]:
    containers = [{} if code is None else {"exitCode": code} for code in exit_codes]
    return {
        "source": "aws.ecs",
        "detail": {"lastStatus": "STOPPED", "stopCode": stop_code, "containers": containers},
    }


class Patterns(unittest.TestCase):
    def test_a_success_is_not_delivered_and_everything_else_is(self) -> None:
        self.assertFalse(matches(STOPPED, event("EssentialContainerExited", [0, 0, 0])))
        for stop_code, codes in (
            ("EssentialContainerExited", [0, 1, 0]),
            ("EssentialContainerExited", [0, 0, 75]),
            ("TaskFailedToStart", []),
            ("SpotInterruption", [0, 0, 0]),
            ("UserInitiated", [0, None]),
        ):
            with self.subTest(stop_code=stop_code, codes=codes):
                self.assertTrue(matches(STOPPED, event(stop_code, list(codes))))

    def test_a_field_that_is_missing_matches_nothing_but_its_absence(self) -> None:
        self.assertFalse(matches({"a": [{"anything-but": [1]}]}, {}))
        self.assertTrue(matches({"a": [{"exists": False}]}, {}))
        self.assertFalse(matches({"a": [{"exists": False}]}, {"a": 1}))
        self.assertTrue(matches({"a": [{"exists": True}]}, {"a": None}))

    def test_fields_of_one_object_in_an_array_belong_together(self) -> None:
        pattern = {"c": {"name": ["main"], "code": [1]}}
        self.assertTrue(matches(pattern, {"c": [{"name": "main", "code": 1}]}))
        self.assertFalse(matches(pattern, {"c": [{"name": "main", "code": 0}, {"name": "x", "code": 1}]}))

    def test_filters(self) -> None:
        for wanted, value, expected in (
            ({"prefix": "ab"}, "abc", True),
            ({"suffix": "bc"}, "abc", True),
            ({"wildcard": "a*c"}, "abbc", True),
            ({"wildcard": "a*c"}, "abbd", False),
            ({"anything-but": {"prefix": "a"}}, "abc", False),
            ({"anything-but": "x"}, "abc", True),
            ({"equals-ignore-case": "ABC"}, "abc", True),
            ({"numeric": [">", 1, "<=", 5]}, 5, True),
            ({"numeric": [">", 1, "<=", 5]}, 6, False),
            ({"cidr": "10.0.0.0/24"}, "10.0.0.9", True),
            (True, 1, False),
            (None, None, True),
            ("1", 1, False),
        ):
            with self.subTest(wanted=wanted, value=value):
                self.assertIs(matches({"f": [wanted]}, {"f": value}), expected)

    def test_what_is_not_known_is_no_silent_mismatch(self) -> None:
        for pattern in ({"f": [{"sounds-like": "x"}]}, {"f": "x"}, {"$or": []}, {"f": [{"numeric": ["~", 1]}]}):
            with self.subTest(pattern=pattern), self.assertRaises(PatternError):
                matches(pattern, {"f": 1})


if __name__ == "__main__":
    unittest.main()
