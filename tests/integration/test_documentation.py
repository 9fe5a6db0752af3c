"""The commands of docs/http-api.md run as they stand."""

import json
import re
import subprocess

import pytest
from support.paths import ROOT

BLOCK = re.compile(r"^```(?:\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    block
    for block in BLOCK.findall((ROOT / "docs/http-api.md").read_text())
    if "curl" in block and "build/labs-analytics" not in block
]
# These act on a failed transaction, which a good example cannot make.
NEED_A_FAILED_ONE = ["/retry", "-X DELETE"]


def run(engine, script):
    identity = engine.accept()
    engine.events_of(identity)
    environment = {
        "API": engine.url,
        "TOKEN": engine.token(),
        "ID": identity,
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        ["bash", "-euc", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.split("\n")[0][:60])
def test_an_example_runs_as_it_stands(shared, script):
    told = run(shared, script)
    if "/metrics" in script:
        assert "labs_analytics_uptime_seconds" in told
        return
    answer = json.loads(told)
    if any(mark in script for mark in NEED_A_FAILED_ONE):
        assert answer == {"detail": "the transaction is not failed"}
    else:
        assert "detail" not in answer


def test_there_are_examples_of_every_endpoint():
    text = "\n".join(EXAMPLES)
    for path in ("/analytics", "/v1/transactions", "/v1/deliveries", "/v1/status", "/livez"):
        assert f"$API{path}" in text


def test_every_metric_is_explained_and_no_other(shared):
    page = (ROOT / "docs/operation.md").read_text()
    table = page.split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    explained = re.findall(r"`([a-z0-9_]+)(?:\{[a-z]+\})?`", " ".join(rows))
    given = {name.split("{")[0].removeprefix("labs_analytics_") for name in shared.metrics()}
    assert sorted(explained) == sorted(given)
