"""The commands of docs/http-api.md run as they stand, and tables name what there is."""

import contextlib
import json
import re
import sqlite3
import subprocess

import pytest
from support.engine import a_transaction
from support.paths import BINARY, ROOT

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


def first_column(head):
    """The cells of the first column of the tables below a heading of docs/operation.md."""
    page = (ROOT / "docs/operation.md").read_text()
    table = page.split(f"\n## {head}\n")[1].split("\n## ")[0]
    return [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]


def test_every_metric_is_explained_and_no_other(shared):
    rows = first_column("Metrics")
    explained = re.findall(r"`([a-z0-9_]+)(?:\{[a-z]+\})?`", " ".join(rows))
    given = {name.split("{")[0].removeprefix("labs_analytics_") for name in shared.metrics()}
    assert sorted(explained) == sorted(given)


def names(value, prefix=""):
    """The names of all that a JSON object holds: queue.max_bytes."""
    if not isinstance(value, dict):
        return {prefix}
    below = (names(inner, f"{prefix}.{name}" if prefix else name) for name, inner in value.items())
    return set().union(*below)


def test_every_field_of_the_status_is_explained_and_no_other(engines):
    engine = engines(INTROSPECTION_URL="http://127.0.0.1:9/")
    explained, room = set(), ""
    for name in re.findall(r"`([a-z_.]+)`", " ".join(first_column("What to watch"))):
        room = name.split(".")[0] or room
        explained.add(room + name if name.startswith(".") else name)
    assert explained == names(engine.status())


def test_every_column_of_the_store_is_explained_and_no_other(engines, store_url):
    engine = engines(DATABASE_URL=store_url)
    engine.accept()
    engine.wait_until_stored()
    columns = {}
    for cell in first_column("The store"):
        table, column = re.fullmatch(r" `(\w+)\.(\w+)` ", cell).groups()
        columns.setdefault(table, []).append(column)
    assert {table: list(engine.query(f"SELECT * FROM {table}")[0]) for table in columns} == columns
    assert sorted(columns) == ["event", "forward_cursor", "schema_migration"]


def test_the_embedded_store_is_copied_to_postgres_as_it_stands(engines, postgres):
    page = (ROOT / "docs/operation.md").read_text()
    script = next(block for block in BLOCK.findall(page) if "sqlite3" in block)
    texts = [
        "",
        None,
        "\\N",
        "\\",
        "a\n\\.\nb",
        "a\r\nb\r",
        "a\tb",
        "\\.",
        '"x","y"',
        "\x01\x1b\x7f",
    ]
    members = [{"key": text or "-", "value": text} for text in texts]
    engine = engines()
    answer = engine.post(a_transaction(pennkey="a\n\\.\n\tb", data=members))
    assert answer.status_code == 200, answer.text
    engine.wait_until_stored()
    engine.stop()
    before = engine.events()
    engine.options["DATABASE_URL"] = postgres.url()
    done = subprocess.run(
        ["sh", "-euc", re.sub(r"^URL=.*", f"URL='{postgres.url()}'", script)],
        cwd=engine.data_dir,
        env=engine.environment | {"PATH": f"{BINARY.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    columns = ["transaction_id", "product", "pennkey", "datapoint", "value"]
    assert [[row[name] for name in columns] for row in engine.events()] == [
        [row[name] for name in columns] for row in before
    ]


def test_every_column_of_the_ledger_is_explained_and_no_other(engines):
    engine = engines()
    engine.stop()
    page = (ROOT / "docs/disk-format.md").read_text().split("\n## Ledger\n")[1].split("\n## ")[0]
    explained = {
        table: re.findall(r"`(\w+)`", columns)
        for table, columns in re.findall(r"^\| `(\w+)` \| ([^|]*) \| ", page, re.MULTILINE)
    }
    with contextlib.closing(sqlite3.connect(engine.data_dir / "ledger.db")) as ledger:
        tables = ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        assert explained == {
            table: [row[1] for row in ledger.execute(f"PRAGMA table_info({table})")]
            for (table,) in tables
        }
        assert f"`user_version` {ledger.execute('PRAGMA user_version').fetchone()[0]}" in page


def test_every_file_of_the_data_directory_is_explained(shared):
    shared.accept()
    explained = re.findall(r"`([^`]+?)/?`", " ".join(first_column("The data directory")))
    explained += ["events.db-wal", "events.db-shm"]
    assert {file.name for file in shared.data_dir.iterdir()} <= set(explained)


def test_the_readme_names_every_command_and_no_other(shared):
    readme = (ROOT / "README.md").read_text().split("\n## Commands\n")[1].split("\n## ")[0]
    command = re.compile(r"^ *labs-analytics ([a-z]+)", re.MULTILINE)
    assert sorted(set(command.findall(readme))) == sorted(
        command.findall(shared.command("--help").stdout)
    )
