"""What operators are handed: a dashboard and rules that name only what the daemon tells, a table of all its records."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from alfred_voice.errors import Overloaded, TooManySessions, TooManySessionsOfAddress, TooManySessionsOfKey
from alfred_voice.pipeline.alerts import AlertBook, Readings
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.options import AlertOptions


ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "alfred_voice"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
DASHBOARD = json.loads((ROOT / "docs" / "grafana" / "alfred-voice.json").read_text("utf-8"))
RULES = yaml.safe_load((ROOT / "docs" / "prometheus" / "alerts.yml").read_text("utf-8"))

NAME = re.compile(r"\b(?:alfred|http|process|python)_[a-z0-9_]+")
SELECTOR = re.compile(r"\b((?:alfred|http|process|python)_[a-z0-9_]+)\{([^}]*)\}")
GROUPED = re.compile(r"\bby \(([^)]*)\)")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}
PROMETHEUS_LABELS = {"instance", "le"}


def samples() -> dict[str, set[str]]:
    """Every name that can be asked for, with its labels."""
    metrics = Metrics("0")
    LaneMetrics("stt", metrics)
    labels = {
        name: set(getattr(collector, "_labelnames", ()))
        for collector, names in metrics.registry._collector_to_names.items()
        for name in names
    }
    known: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        seen = {label for sample in family.samples for label in sample.labels}
        for suffix in SUFFIXES[family.type]:
            known[family.name + suffix] = seen | labels.get(family.name, set())
    return known


def panel_queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


QUERIES = [*panel_queries(), *(rule["expr"] for rule in rules())]


@pytest.mark.parametrize("query", QUERIES)
def test_every_figure_that_is_asked_for_is_told_with_the_labels_that_are_used(query: str) -> None:
    known = samples()
    names = NAME.findall(query)
    assert names
    assert set(names) <= known.keys()
    for name, matchers in SELECTOR.findall(query):
        used = {matcher.partition("=")[0].strip().rstrip("!~") for matcher in matchers.split(",")}
        assert used <= known[name] | PROMETHEUS_LABELS, name
    offered = set().union(*(known[name] for name in names)) | PROMETHEUS_LABELS
    for group in GROUPED.findall(query):
        assert {label.strip() for label in group.split(",")} <= offered


@pytest.mark.parametrize("query", QUERIES)
def test_counters_are_asked_for_their_rate_and_brackets_are_closed(query: str) -> None:
    for name in NAME.findall(query):
        if name.endswith(("_total", "_bucket", "_sum", "_count")):
            assert re.search(rf"(?:rate|increase)\({name}\b", query), name
    for opening, closing in ("()", "[]", "{}"):
        assert query.count(opening) == query.count(closing)


def test_a_figure_that_nobody_tells_would_be_noticed() -> None:
    assert "alfred_made_up_total" not in samples()
    assert "alfred_ws_close_total" in samples()
    assert samples()["alfred_ws_close_total"] == {"code"}


def test_all_our_families_are_on_the_dashboard() -> None:
    shown = {name for query in panel_queries() for name in NAME.findall(query)}
    families = Metrics("0").registry.collect()
    ours = [family for family in families if family.name.startswith(("alfred_", "http_"))]
    absent = [f.name for f in ours if not any(f.name + suffix in shown for suffix in SUFFIXES[f.type])]
    assert absent == ["alfred_backpressure_step"], "the rung says it more finely"


def test_the_dashboard_can_be_imported_anywhere() -> None:
    assert DASHBOARD["schemaVersion"] >= 39
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}"
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(places) == len(set(places))


def test_every_rule_says_what_it_means_how_bad_it_is_and_is_explained() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert f"`{rule['alert']}`" in OPERATIONS, rule["alert"]


def test_the_rule_about_refused_sessions_reads_both_figures_that_count_them() -> None:
    (query,) = [rule["expr"] for rule in rules() if rule["alert"] == "AlfredVoiceRefusesSessions"]
    metrics = Metrics("0")
    kinds = (TooManySessions, Overloaded, TooManySessionsOfKey, TooManySessionsOfAddress)
    for kind in kinds:
        metrics.note_refusal(kind("no"))
    counted = [sample for family in metrics.registry.collect() for sample in family.samples
               if "refused" in sample.name and sample.name.endswith("_total")]  # fmt: skip
    assert sorted(sample.value for sample in counted) == [1.0] * len(kinds)
    assert {sample.name for sample in counted} == set(NAME.findall(query))
    (pattern,) = re.findall(r'reason=~"([^"]+)"', query)
    reasons = {sample.labels["reason"] for sample in counted if "reason" in sample.labels}
    assert len(reasons) == 2
    assert all(re.fullmatch(pattern, reason) for reason in reasons)


def test_every_alert_of_the_daemon_is_explained() -> None:
    figures: Any = {each.name: 1e6 for each in fields(Readings)} | {"engines_down": ("stt",)}
    book = AlertBook(AlertOptions())
    book.update(Readings(**figures), 0.0)
    codes = {change.alert.code for change in book.update(Readings(**figures), 1.0)}
    assert codes == set(re.findall(r"^\| `(\w+)` \| (?:`alerts\.|none)", OPERATIONS, re.MULTILINE))


# Records of the log


LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
UNTABLED = {"commands", "bench"}
"""What these log is seen by whoever has started them."""
ABOUT_SESSIONS = {"row_failed", "audio_failed", "audio_unheard", "resume_too_late", "close_unanswered",
                  "connection_failed", "speech_failed", "request_failed"}  # fmt: skip
"""Records about one session whose name does not begin with ``session_``."""
WITHOUT_SESSION = {"pipeline/synthesiser.py": {"row_failed"}}
"""A sentence does not know who has asked for it; ``speech_failed`` follows and does."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A place where something is logged."""

    file: str
    event: str
    level: str
    extra: str


def logged() -> Iterator[Logged]:
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE)
        if path.parts[0] in UNTABLED:
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                if not re.fullmatch(r"_?log|logging\.getLogger\(\w+\)", ast.unparse(node.func.value)):
                    continue
                extra = next((ast.unparse(word.value) for word in node.keywords if word.arg == "extra"), "")
                for constant in ast.walk(node.args[0]):
                    if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                        yield Logged(path.as_posix(), constant.value, node.func.attr, extra)


def table() -> dict[str, str]:
    """Every event in the document's table, with its level."""
    rows = re.findall(r"^\| `(\w+)` \| (debug|info|warning|error|critical) \|", OPERATIONS, re.MULTILINE)
    assert len(rows) == len({event for event, _ in rows}), "an event stands twice in the table"
    return dict(rows)


def test_every_record_is_in_the_operators_table_with_its_level_and_no_other_is() -> None:
    told = {each.event: "error" if each.level == "exception" else each.level for each in logged()}
    assert len(told) > 50
    assert table() == told


def test_an_event_has_one_level_wherever_it_is_logged() -> None:
    levels: dict[str, set[str]] = {}
    for each in logged():
        levels.setdefault(each.event, set()).add("error" if each.level == "exception" else each.level)
    assert {event: found for event, found in levels.items() if len(found) > 1} == {}


def test_every_record_about_a_session_names_it() -> None:
    for each in logged():
        if each.event in WITHOUT_SESSION.get(each.file, ()):
            continue
        if each.event.startswith("session_") or each.event in ABOUT_SESSIONS:
            assert re.search(r"'session'|\.fields|_about\(|^fields$", each.extra), f"{each.file}: {each.event}"
