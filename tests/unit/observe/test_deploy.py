"""Rules and dashboards name metrics and labels that exist, and every alert is seen quiet and seen to fire."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from supply import dashboards, metrics
from tests.promtool import needs_promtool, promtool
from tests.unit.observe.queries import faults

ROOT = Path(__file__).parents[3]
RULES, TESTS = ROOT / "deploy/prometheus/beat.rules.yml", ROOT / "deploy/prometheus/beat.rules.test.yml"
ALL: list[dict[str, Any]] = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in ALL if "alert" in rule]
RECORDED = {rule["record"]: rule["expr"] for rule in ALL if "record" in rule}
PANELS = [
    (path.stem, panel["title"], target["expr"])
    for path in sorted((ROOT / "deploy/grafana").glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
    for target in panel["targets"]
]


@pytest.mark.parametrize("rule", ALL, ids=[rule.get("alert") or rule["record"] for rule in ALL])
def test_a_rule_names_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    assert list(faults(rule["expr"], RECORDED)) == []


def test_every_panel_names_metrics_and_labels_that_exist() -> None:
    assert len({dashboard for dashboard, *_ in PANELS}) == 5
    found = {(dashboard, title): list(faults(query, RECORDED)) for dashboard, title, query in PANELS}
    assert {panel: said for panel, said in found.items() if said} == {}


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sum(beat_queue_size)", "there is no metric beat_queue_size"),
        ('beat_queue_depth{handle="x"}', "beat_queue_depth has no label handle"),
        ("sum by (credential) (beat_queue_depth)", "no metric of the query has the label credential"),
        ("rate(beat_claim_interval_seconds[1m])", "there is no metric beat_claim_interval_seconds"),
        ("beat:nothing:rate5m", "there is no metric beat:nothing:rate5m"),
        ("sum by (le, stage) (rate(beat_claim_interval_seconds_sum[1m]))", "no metric of the query has the label le"),
    ],
)
def test_what_does_not_exist_is_found(query: str, fault: str) -> None:
    assert list(faults(query, RECORDED)) == [fault]


def test_labels_in_texts_of_annotations_exist() -> None:
    for rule in ALERTS:
        named = sorted(set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"]))))
        assert list(faults(f"sum by ({', '.join(named)}) ({rule['expr']})", RECORDED)) == [], rule["alert"]


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    for rule in ALERTS:
        assert set(rule["annotations"]) == {"summary", "description", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in ("info", "warning", "critical")


def test_every_alert_has_a_moment_at_which_it_is_quiet_and_one_at_which_it_fires() -> None:
    tested: dict[str, set[bool]] = {}
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        for one in test["promql_expr_test"]:
            for name in re.findall(r'alertname="(\w+)"', one["expr"]):
                tested.setdefault(name, set()).add(bool(one["exp_samples"]))
    assert tested == {rule["alert"]: {True, False} for rule in ALERTS}


def test_the_files_are_what_their_declarations_say() -> None:
    assert metrics.PAGE.read_text() == metrics.page(), "python -m supply.metrics"
    made = dashboards.files()
    assert {path: path.read_text() for path in dashboards.FOLDER.glob("*.json")} == made, "python -m supply.dashboards"


@needs_promtool
def test_promtool_finds_no_fault_in_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))


@needs_promtool
def test_s1_3_and_s2_2_and_s2_3_and_s2_14_the_alerts_fire_when_they_are_to_and_not_before() -> None:
    """Half of the calls to a source fail; claims, statements and queues are slow; a pool is used up; and all others."""
    said = promtool("test", "rules", TESTS.name, cwd=TESTS.parent)
    assert "SUCCESS" in said


@needs_promtool
@pytest.mark.parametrize(("used", "half", "nearly"), [(9_999, 0, 0), (10_000, 1, 0), (15_999, 1, 0), (16_000, 0, 1)])
def test_s9_10_half_and_four_fifths_of_20000_are_told_at_10000_and_16000(
    tmp_path: Path, used: int, half: int, nearly: int
) -> None:
    def of(name: str, firing: int) -> dict[str, Any]:
        labels = f'{{alertname="{name}"}}'
        found = [{"labels": labels, "value": firing}] if firing else []
        query = f'count by (alertname) (ALERTS{{alertname="{name}",alertstate="firing"}})'
        return {"expr": query, "eval_time": "5m", "exp_samples": found}

    series = {
        'beat_on_demand_limit_used{limit="l"}': f"{used}x40",
        'beat_on_demand_limit_calls{limit="l"}': "20000x40",
    }
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [of("BeatOnDemandHalfUsed", half), of("BeatOnDemandNearlyUsed", nearly)],
    }
    file = {"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [test]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(file))
    promtool("test", "rules", "test.yml", cwd=tmp_path)


@needs_promtool
def test_promtool_reads_the_query_of_every_panel(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{n}", "expr": query.replace("$__rate_interval", "5m")}
        for n, (_, _, query) in enumerate(PANELS)
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", "--lint=none", str(tmp_path / "panels.yml"))
