"""Where wall time is read: for people and calendars, never for what the daemon decides."""

from __future__ import annotations

import ast
from pathlib import Path


PACKAGE = Path(__file__).parent.parent / "alfred_voice"

CALENDAR = {
    # The server says until which date to wait (RFC 9110, section 10.2.3).
    ("models/openai_transport.py", "wall"),
    ("clock.py", "time"),
    # When a record was written.
    ("log.py", "fromtimestamp"),
    # When a session was recorded, in the name of its files and in them.
    ("pipeline/assembly.py", "wall"),
    ("pipeline/recording_folder.py", "fromtimestamp"),
    # When an alert came up, and when a turn was, for those who are told of it elsewhere.
    ("server/webhook.py", "wall"),
    ("server/webhook.py", "fromtimestamp"),
    ("pipeline/otel.py", "wall"),
    # When a figure of the monitor's history was taken.
    ("pipeline/vitals.py", "wall"),
}
READERS = {"wall", "time_ns", "now", "utcnow", "today", "fromtimestamp", "localtime", "gmtime"}


def readings() -> set[tuple[str, str]]:
    """File and name of whatever reads a calendar: ``Clock.wall``, the module ``time``'s clock, and dates."""
    found = set()
    for source in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            is_date = owner in ("datetime", "date", "time") and node.attr in READERS | {"time"}
            if node.attr == "wall" or is_date:
                found.add((source.relative_to(PACKAGE).as_posix(), node.attr))
    return found


def test_the_wall_clock_is_read_for_calendars_only() -> None:
    assert readings() == CALENDAR
