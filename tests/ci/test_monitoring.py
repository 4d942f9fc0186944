"""The dashboard for Grafana and the alerts for Prometheus: valid expressions of known metrics."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from tests.ci.workflow import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "twelvefold.json"
RULES = ROOT / "deploy" / "prometheus" / "twelvefold.rules.yaml"
PAGE = ROOT / "docs" / "howto" / "metrics.md"
VARIABLES = {"$__rate_interval": "5m"}
"""Variables of Grafana outside strings."""
OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that Prometheus adds."""
OF_PROCESSES: dict[str, set[str]] = {
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
}
"""Metrics of Prometheus' library."""
PARTS = ("expr", "lhs", "rhs", "args", "vector_selector", "param")
DURATION = re.compile(r"\d+[smhd]")


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def expressions() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield f"{panel['title']} {target['refId']}", expression
    for rule in rules():
        yield rule["alert"], rule["expr"]


EXPRESSIONS = dict(expressions())


def selectors(expression: Any) -> Iterator[Any]:
    """Yield the vector selectors of a parsed expression."""
    if isinstance(expression, list):
        for part in expression:
            yield from selectors(part)
    elif isinstance(expression, promql_parser.VectorSelector):
        yield expression
    else:
        for part in PARTS:
            if (inner := getattr(expression, part, None)) is not None:
                yield from selectors(inner)


def grouped_by(expression: str) -> set[str]:
    """Return the labels in `by (…)`, `on (…)` and `ignoring (…)`."""
    lists = re.findall(r"\b(?:by|on|ignoring) \(([^)]*)\)", expression)
    return {label.strip() for labels in lists for label in labels.split(",")}


def documented() -> dict[str, set[str]]:
    """Return the labels of each metric by its name, as the page has them."""
    found = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    series = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
    labels = {
        name + suffix: set(re.findall(r"`(\w+)`", columns))
        for name, kind, columns in found
        for suffix in series[kind]
    }
    return labels | OF_PROCESSES


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_expression_is_valid(name: str) -> None:
    parsed = promql_parser.parse(EXPRESSIONS[name])

    assert list(selectors(parsed))


def test_every_expression_has_metrics_that_the_page_describes() -> None:
    labels = documented()

    for name, expression in EXPRESSIONS.items():
        for selector in selectors(promql_parser.parse(expression)):
            assert selector.name in labels, f"{name}: there is no {selector.name}"


def test_every_label_is_that_of_a_metric() -> None:
    labels = documented()

    for name, expression in EXPRESSIONS.items():
        found = list(selectors(promql_parser.parse(expression)))
        own = set().union(*(labels[selector.name] for selector in found)) | OF_PROMETHEUS
        matched = {matcher.name for selector in found for matcher in selector.matchers.matchers}
        used = matched | grouped_by(expression)
        assert used <= own, f"{name}: no label {used - own}"


def test_the_panels_have_a_place_of_their_own() -> None:
    ids = Counter(panel["id"] for panel in panels())
    places = Counter(
        (x, y)
        for panel in panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    )

    assert set(ids.values()) == set(places.values()) == {1}
    assert max(x for x, _ in places) == 23


def test_every_panel_has_a_title_a_unit_and_the_chosen_source() -> None:
    for panel in panels():
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            for source in (panel["datasource"], *(one["datasource"] for one in panel["targets"])):
                assert source == {"type": "prometheus", "uid": "${datasource}"}


def test_every_variable_of_the_dashboard_is_defined_and_used() -> None:
    text = DASHBOARD.read_text()
    defined = {one["name"] for one in json.loads(text)["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__all"}

    assert used == defined


def test_every_alert_says_what_happens() -> None:
    for rule in rules():
        assert rule.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}
        assert re.fullmatch(r"Twelvefold[A-Z]\w+", rule["alert"])
        assert DURATION.fullmatch(rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_a_template_names_a_label_that_its_alert_has() -> None:
    for rule in rules():
        texts = " ".join(rule["annotations"].values())
        used = set(re.findall(r"\$labels\.(\w+)", texts))

        assert used <= grouped_by(rule["expr"]) | {"instance", "pool"}, rule["alert"]


def test_the_page_says_what_to_do_about_each_alert() -> None:
    named = re.findall(r"^\| `(Twelvefold\w+)` \|", PAGE.read_text(), re.MULTILINE)

    assert named == [rule["alert"] for rule in rules()]
