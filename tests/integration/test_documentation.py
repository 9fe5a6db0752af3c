"""What the documents say is so: examples run as they stand, tables are whole."""

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


def keys_of(value):
    """The members of an answer, as far down as they go; of a list those of its first one."""
    if isinstance(value, dict):
        return {name: keys_of(member) for name, member in value.items()}
    return keys_of(value[0]) if isinstance(value, list) and value else None


def test_the_answers_that_are_shown_have_the_members_of_real_ones(shared):
    page = (ROOT / "docs/http-api.md").read_text()
    blocks = BLOCK.findall(page)
    compared = 0
    for script, shown in zip(blocks, blocks[1:], strict=False):
        # Behind the compressed one stands the answer to another.
        if script not in EXAMPLES or "gzip" in script or not shown.startswith("{"):
            continue
        said, told = json.loads(shown), json.loads(run(shared, script))
        if told.get("transactions") == []:
            said["transactions"] = []
        assert keys_of(told) == keys_of(said), script
        compared += 1
    assert compared >= 7


def rows_of(page, heading):
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| ")
    ][1:]


def test_every_field_of_the_status_is_explained_and_no_other(shared):
    explained, group = [], ""
    for cell, *_ in rows_of((ROOT / "docs/operation.md").read_text(), "What to watch"):
        for name in re.findall(r"`([a-z_.]+)`", cell):
            group = name.split(".")[0] or group
            explained.append(group + name if name.startswith(".") else name)
    given = []
    for name, value in shared.get("/v1/status").json().items():
        given += [f"{name}.{member}" for member in value] if isinstance(value, dict) else [name]
    # The member is there with INTROSPECTION_URL only.
    assert sorted(name for name in explained if not name.startswith("users.")) == sorted(given)


CALL = re.compile(r'log_(info|warning|error)\(\s*"(\w+)",\s*((?:"(?:[^"\\]|\\.)*"|PRI\w+|\s)+)')


def lines_of_the_source():
    """Level, room and pattern of each line that the engine may log."""
    for file in sorted((ROOT / "src").rglob("*.c")):
        for level, room, words in CALL.findall(file.read_text()):
            text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', re.sub(r"PRI\w+", '"u"', words)))
            pieces = re.split(r"%[-0-9.*]*(?:zu|ll?u|[a-z])", text)
            yield level, room, ".*".join(re.escape(piece) for piece in pieces)


def test_every_line_of_the_log_is_explained_and_no_other():
    source = sorted(set(lines_of_the_source()))
    explained = [
        (row[0], row[1], line)
        for row in rows_of((ROOT / "docs/operation.md").read_text(), "The log")
        if len(row) == 4
        for line in re.findall(r"`([^`]+)`", row[2])
    ]
    for level, room, pattern in source:
        fitting = [line for *where, line in explained if where == [level, room]]
        assert any(re.fullmatch(pattern, line) for line in fitting), (level, room, pattern)
    for level, room, line in explained:
        fitting = [pattern for *where, pattern in source if where == [level, room]]
        assert any(re.fullmatch(pattern, line) for pattern in fitting), (level, room, line)


def test_every_metric_is_explained_and_no_other(shared):
    page = (ROOT / "docs/operation.md").read_text()
    table = page.split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    explained = re.findall(r"`([a-z0-9_]+)(?:\{[a-z]+\})?`", " ".join(rows))
    given = {name.split("{")[0].removeprefix("labs_analytics_") for name in shared.metrics()}
    assert sorted(explained) == sorted(given)
