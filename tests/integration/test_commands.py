"""The commands of the one binary, with an engine that runs and without one."""

import json
import os
import re
import sqlite3
import stat
import subprocess

import jwt
import pytest
from support.engine import a_transaction
from support.paths import BINARY

WRONG_USAGE = [
    ["--version", "extra"],
    [],
    ["launch"],
    ["serve", "now"],
    ["serve", "--no-such-flag", "1"],
    ["serve", "-x"],
    ["serve", "--workers"],
    ["token", "--ttl"],
    ["token", "--ttl", "soon"],
    ["token", "--ttl", "0s"],
    ["token", "--urn", ""],
    ["token", "--urn", "two words"],
    ["token", "extra"],
    ["status", "extra"],
    ["status", "--json", "extra"],
    ["transactions"],
    ["transactions", "burn"],
    ["transactions", "show"],
    ["transactions", "show", "a", "b"],
    ["transactions", "list", "a"],
    ["transactions", "retry"],
    ["transactions", "retry", "--all", "a"],
    ["transactions", "discard"],
    ["transactions", "export", "a"],
    ["transactions", "import"],
    ["transactions", "import", "a", "b"],
    ["transactions", "list", "--status", "lost"],
    ["transactions", "list", "--limit", "0"],
    ["transactions", "list", "--limit", "1001"],
    ["transactions", "list", "--limit", "5x"],
    ["transactions", "list", "--limit"],
    ["transactions", "list", "--after", "garbage"],
    ["transactions", "list", "--after", "a&status=x"],
    ["migrate", "extra"],
    ["verify", "a", "b"],
    ["config", "extra"],
]


@pytest.fixture
def idle(engines):
    """An engine that was never started: only its folder and options."""
    return engines(start=False)


@pytest.fixture(params=["online", "offline"])
def reach(request):
    """Called with an engine: leaves it running, or stops it, so that commands read the disk."""

    def prepare(engine):
        if request.param == "offline" and engine.running:
            engine.stop()
        return request.param == "online"

    return prepare


def fields(text):
    return dict(line.split(": ", 1) for line in text.splitlines())


# -- usage


@pytest.mark.parametrize("words", WRONG_USAGE, ids=" ".join)
def test_wrong_usage_is_one_line_and_2(idle, words):
    done = idle.command(*words, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"labs-analytics: [^\n]{5,}\n", done.stderr)
    assert not idle.data_dir.exists() or not (idle.data_dir / "queue").exists()


def test_help_names_every_command_and_option(idle):
    done = idle.command("--help")
    assert done.stderr == ""
    for command in ("serve", "token", "status", "transactions", "migrate", "verify", "config"):
        assert f"labs-analytics {command}" in done.stdout
    for line in idle.command("config", "--markdown").stdout.splitlines():
        found = re.match(r"\| `[A-Z_]+` \| `(--[a-z-]+)`", line)
        assert not found or found[1] in done.stdout
    for words in (
        ["-h"],
        ["help"],
        ["serve", "--help"],
        ["status", "-h"],
        ["key", "create", "--help"],
        ["transactions", "list", "--limit", "5", "--help"],
    ):
        assert idle.command(*words).stdout == done.stdout


def test_the_version_is_one_line(idle):
    assert re.fullmatch(r"labs-analytics \d+\.\d+\.\d+\n", idle.command("--version").stdout)


def into_a_full_disk(engine, *words):
    with open("/dev/full", "w") as full:
        return engine.command(*words, check=False, stdout=full)


@pytest.mark.parametrize(
    "words", ["--help", "--version", "token --help", "token", "config", "config --markdown"]
)
def test_a_command_whose_output_is_not_written_fails(idle, words):
    done = into_a_full_disk(idle, *words.split())
    assert done.returncode == 1
    assert re.fullmatch(r"labs-analytics: write to stdout: [^\n]+\n", done.stderr)


@pytest.mark.parametrize("words", ["status", "transactions list --json", "key create --scope read"])
def test_an_answer_that_is_not_written_fails(engine, reach, words):
    reach(engine)
    done = into_a_full_disk(engine, *words.split())
    assert done.returncode == 1
    *_, told = done.stderr.splitlines()  # behind the audit's, if the command has changed a thing
    assert told == "labs-analytics: write to stdout: No space left on device"


# -- token


def test_a_token_is_a_jwt_of_a_backend(idle):
    done = idle.command("token")
    assert done.stdout.count("\n") == 1
    claims = jwt.decode(done.stdout.strip(), options={"verify_signature": False})
    assert claims["use"] == "access"
    assert claims["sub"].startswith("urn:pennlabs:")
    assert claims["exp"] - claims["iat"] == 24 * 3600
    claims = jwt.decode(
        idle.command("token", "--urn", "urn:pennlabs:pcr", "--ttl=90s").stdout.strip(),
        options={"verify_signature": False},
    )
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("urn:pennlabs:pcr", 90)


def test_the_key_is_made_once_and_for_its_owner_only(idle):
    idle.command("token")
    key = idle.data_dir / "development-key.pem"
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(idle.data_dir.stat().st_mode) == 0o700
    idle.command("token")
    assert key.read_bytes() == before


def test_a_key_that_others_may_read_is_refused(idle):
    idle.command("token")
    (idle.data_dir / "development-key.pem").chmod(0o644)
    done = idle.command("token", check=False)
    assert done.returncode == 1
    assert "chmod 600" in done.stderr


def test_tokens_may_be_made_while_an_engine_starts(engines):
    engine = engines(start=False, own_key=True)
    makers = [
        subprocess.Popen([BINARY, "token"], env=engine.environment, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    engine.start()
    tokens = [maker.communicate()[0].decode().strip() for maker in makers]
    assert [engine.post(a_transaction(), token=token).status_code for token in tokens] == [200] * 4


# -- status


def test_the_status_is_shown(engine, reach):
    engine.accept()
    engine.wait_until_stored()
    online = reach(engine)
    told = json.loads(engine.command("status", "--json").stdout)
    assert told["running"] is online
    assert told["transactions"] == {
        "accepted": 1,
        "uncompleted": 0,
        "successful": 1,
        "failed": 0,
        "discarded": 0,
        "damaged": 0,
    }
    shown = fields(engine.command("status").stdout)
    assert shown["transactions.successful"] == "1"
    assert shown["queue.pending_transactions"] == "0"
    assert shown["store.kind"] == "sqlite"
    assert shown["node"] == told["node"]


def test_what_waits_is_counted_without_an_engine(engines, postgres):
    postgres.stop()
    engine = engines(DATABASE_URL=postgres.url(), SHUTDOWN_TIMEOUT="0s")
    for _ in range(4):
        engine.accept()
    engine.stop()
    told = json.loads(engine.command("status", "--json").stdout)
    assert told["transactions"]["uncompleted"] == told["transactions"]["accepted"] == 4
    assert told["queue"]["pending_transactions"] == 4
    assert told["queue"]["oldest_pending_age_s"] > 0
    assert told["store"]["kind"] == "postgres"


def test_without_a_data_directory_commands_say_so(idle):
    for words in (["status"], ["transactions", "list"], ["verify"], ["verify", "/nonexistent"]):
        done = idle.command(*words, check=False)
        assert done.returncode == 1
        assert done.stderr.endswith(": name it with --data-dir or DATA_DIR\n")
        assert done.stderr.count("\n") == 1
    assert not idle.data_dir.exists()


def test_many_commands_may_look_at_once(engine):
    engine.accept()
    engine.wait_until_stored()
    engine.stop()
    lookers = [
        subprocess.Popen([BINARY, "status"], env=engine.environment, stdout=subprocess.DEVNULL)
        for _ in range(6)
    ]
    engine.start()
    assert [looker.wait(60) for looker in lookers] == [0] * 6


# -- transactions


@pytest.fixture
def failing(engine):
    """An engine with two refused transactions, and their ids."""
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    run_sql(
        engine,
        "CREATE TRIGGER no BEFORE INSERT ON event WHEN new.datapoint = 'no' "
        "BEGIN SELECT RAISE(ABORT, 'not\n\x1b[31mthis'); END",
    )
    ids = [engine.accept(data=[{"key": "no", "value": 1}], pennkey=f"user{n}") for n in range(2)]
    assert engine.wait_until_stored()["failed"] == 2
    return ids


def run_sql(engine, sql):
    database = sqlite3.connect(engine.data_dir / "events.db", timeout=30)
    database.execute(sql)
    database.commit()
    database.close()


def test_failed_transactions_are_listed_and_shown(engine, failing, reach):
    reach(engine)
    done = engine.command("transactions", "list")
    header, *rows = done.stdout.splitlines()
    assert header.split("\t")[:2] == ["id", "status"]
    assert [row.split("\t")[:2] for row in rows] == [[one, "failed"] for one in failing]
    assert "\x1b" not in done.stdout  # the store's words do not reach the terminal raw
    page = json.loads(engine.command("transactions", "list", "--json", "--limit=1").stdout)
    assert [one["id"] for one in page["transactions"]] == failing[:1]
    after = ["--after", page["next"], "--status", "failed"]
    page = json.loads(engine.command("transactions", "list", "--json", *after).stdout)
    assert [one["id"] for one in page["transactions"]] == failing[1:]
    shown = fields(engine.command("transactions", "show", failing[1]).stdout)
    assert (shown["status"], shown["pennkey"], shown["data[0].key"]) == ("failed", "user1", "no")
    told = json.loads(engine.command("transactions", "show", failing[0], "--json").stdout)
    assert told["id"] == failing[0]


def test_without_a_status_all_transactions_are_listed(engine, failing, reach):
    stored = engine.accept()
    engine.wait_until_stored()
    reach(engine)
    for words, expected in (
        ([], [*failing, stored]),
        (["--limit", "2"], failing),
        (["--after", failing[1]], [stored]),
        (["--status", "failed"], failing),
        (["--status", "successful"], [stored]),
    ):
        page = json.loads(engine.command("transactions", "list", "--json", *words).stdout)
        assert [one["id"] for one in page["transactions"]] == expected


def test_an_id_that_is_none_is_a_failure_in_words(engine, failing, reach):
    reach(engine)
    for verb in ("show", "retry", "discard"):
        for identity in ("garbage", failing[0][:-2] + "zz", "../../etc"):
            done = engine.command("transactions", verb, identity, check=False)
            assert (done.returncode, done.stdout) == (1, "")
            assert re.fullmatch(r"labs-analytics: [^\n]+\n", done.stderr)


def test_a_failed_transaction_is_tried_again_or_discarded(engine, failing, reach):
    run_sql(engine, "DROP TRIGGER no")
    online = reach(engine)
    assert "uncompleted" in engine.command("transactions", "retry", failing[0]).stdout or online
    engine.command("transactions", "discard", failing[1])
    done = engine.command("transactions", "show", failing[1], check=False)
    assert done.returncode == 1
    if not online:
        told = json.loads(engine.command("status", "--json").stdout)["transactions"]
        assert (told["uncompleted"], told["failed"], told["discarded"]) == (1, 0, 1)
        engine.start()
    counts = engine.wait_until_stored()
    assert (counts["accepted"], counts["successful"], counts["discarded"]) == (1, 1, 1)
    assert engine.stored_ids() == {failing[0]: 1}


def test_all_failed_transactions_are_tried_again(engine, failing, reach):
    run_sql(engine, "DROP TRIGGER no")
    online = reach(engine)
    done = engine.command("transactions", "retry", "--all")
    assert done.stdout == "2 marked for another try\n"
    if not online:
        engine.start()
    counts = engine.wait_until_stored()
    assert (counts["successful"], counts["failed"]) == (2, 0)
    assert engine.stored_ids() == dict.fromkeys(failing, 1)
    assert engine.command("transactions", "retry", "--all").stdout.startswith("0 ")


def test_a_user_named_id_is_not_taken_for_an_id(engine, failing, reach):
    failing.append(engine.accept(data=[{"key": "no", "value": 1}], pennkey="id"))
    assert engine.wait_until_stored()["failed"] == 3
    run_sql(engine, "DROP TRIGGER no")
    online = reach(engine)
    assert engine.command("transactions", "retry", "--all").stdout.startswith("3 ")
    if not online:
        engine.start()
    assert engine.wait_until_stored()["successful"] == 3
    assert engine.stored_ids() == dict.fromkeys(failing, 1)


@pytest.mark.parametrize("fate", ["recovered", "discarded"])
def test_what_is_failed_no_longer_does_not_end_a_retry_of_all(engine, failing, reach, fate):
    """It goes between the page that has it and its turn: as soon as another one is marked."""
    for _ in range(2):
        failing.append(engine.accept(data=[{"key": "no", "value": 1}]))
    assert engine.wait_until_stored()["failed"] == 4
    engine.command("transactions", "discard", failing.pop())
    run_sql(engine, "DROP TRIGGER no")
    engine.stop()
    ledger = sqlite3.connect(engine.data_dir / "ledger.db")
    second = ledger.execute("SELECT position FROM failed ORDER BY 1 LIMIT 1 OFFSET 1").fetchone()[0]
    note = f"INSERT OR IGNORE INTO discarded VALUES ({second});" if fate == "discarded" else ""
    ledger.execute(
        f"CREATE TRIGGER gone AFTER UPDATE ON failed WHEN new.retrying = 1 BEGIN {note} "
        f"DELETE FROM failed WHERE position = {second}; END"
    )
    ledger.close()
    engine.start()
    online = reach(engine)
    done = engine.command("transactions", "retry", "--all")
    assert (done.stdout, done.returncode) == ("2 marked for another try\n", 0)
    if not online:
        engine.start()
    engine.wait_until(lambda: engine.stored_ids() == dict.fromkeys([failing[0], failing[2]], 1))


# -- migrate


def test_migrations_are_listed_and_applied(engines, store_url):
    engine = engines(start=False, DATABASE_URL=store_url)
    before = engine.command("migrate", "--status").stdout.splitlines()
    assert before
    for line in before:
        assert re.fullmatch(r"\d{8,}_[a-z0-9_]+: not applied", line)
    assert re.match(r"[1-9]\d* migrations? applied\n", engine.command("migrate").stdout)
    assert engine.command("migrate").stdout == "0 migrations applied\n"
    after = engine.command("migrate", "--status").stdout.splitlines()
    assert [line.split(":")[0] for line in after] == [line.split(":")[0] for line in before]
    for line in after:
        assert re.search(r": applied \d{4}-\d\d-\d\dT", line)
    assert len(engine.query("SELECT version FROM schema_migration")) == len(after)
    engine.start()
    engine.accept()
    assert engine.wait_until_stored()["successful"] == 1


def test_the_embedded_store_is_migrated_before_the_first_start(idle):
    assert idle.command("migrate", "--status", check=False).returncode == 1
    assert not idle.data_dir.exists()
    idle.command("migrate")
    assert stat.S_IMODE(idle.data_dir.stat().st_mode) == 0o700
    idle.start()
    idle.accept()
    assert idle.wait_until_stored()["successful"] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away takes root")
def test_what_root_makes_belongs_to_the_owner_of_the_data_directory(idle):
    idle.data_dir.mkdir(mode=0o700)
    os.chown(idle.data_dir, 12345, 12346)
    before = idle.folder / "before"
    before.touch()
    (idle.data_dir / "lock").symlink_to(before)
    for words in ("token", "migrate", "key create --scope read", "key create --scope read"):
        idle.command(*words.split())
    made = {path.name: path.lstat() for path in idle.data_dir.iterdir()}
    assert {"development-key.pem", "events.db", "keys.json"} <= set(made)
    assert {(file.st_uid, file.st_gid) for name, file in made.items() if name != "lock"} == {
        (12345, 12346)
    }
    assert before.stat().st_uid == 0  # a link leads to what is not to be given away
    (idle.data_dir / "lock").unlink()
    idle.command("key", "create", "--scope", "read")
    assert (idle.data_dir / "lock").stat().st_uid == 12345


def test_migrating_without_a_server_fails_in_one_line(engines, postgres):
    url = postgres.url()
    postgres.stop()
    engine = engines(start=False, DATABASE_URL=url)
    for words in (["migrate"], ["migrate", "--status"]):
        done = engine.command(*words, check=False)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "labs-pass" not in done.stderr


# -- verify


def test_a_sound_queue_is_verified(engine):
    for _ in range(5):
        engine.accept()
    engine.wait_until_stored()
    engine.stop()
    for done in (engine.command("verify"), engine.command("verify", engine.data_dir)):
        assert "5 transactions" in done.stdout
        assert "damaged: 0 bytes" in done.stdout


def test_a_running_engine_is_not_verified(engine):
    done = engine.command("verify", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"labs-analytics: an engine works on {engine.data_dir} ({engine.address})\n"
    )


def damage(engine, mark):
    """Flips a bit of the record that holds `mark`."""
    for segment in (engine.data_dir / "queue").iterdir():
        content = segment.read_bytes()
        if mark in content:
            with segment.open("r+b") as file:
                file.seek(content.index(mark))
                file.write(bytes([mark[0] ^ 1]))
            return
    raise AssertionError(f"no segment holds {mark!r}")


def test_a_damaged_record_is_found_and_the_others_are_kept(engines, postgres):
    postgres.stop()
    engine = engines(DATABASE_URL=postgres.url(), SHUTDOWN_TIMEOUT="0s")
    ids = [engine.accept(pennkey=f"marked-{n}") for n in range(3)]
    engine.stop()
    damage(engine, b"marked-1")
    done = engine.command("verify", check=False)
    assert done.returncode == 1
    assert re.search(r"damaged: [1-9]\d* bytes in 1 stretch", done.stdout)
    postgres.start()
    engine.start()
    engine.wait_until(lambda: set(engine.stored_ids()) == {ids[0], ids[2]})


# -- config


def test_config_shows_values_and_where_they_come_from(idle):
    (idle.folder / ".env").write_text("READERS=3\nWORKERS=5\n")
    done = idle.command("config", "--token-cache", "7", WORKERS=6)
    shown = {}
    for line in done.stdout.splitlines():
        found = re.fullmatch(r"([A-Z_]+)=(\S*) +# ([^;]+); .+", line)
        if found:
            shown[found[1]] = found[2], found[3]
    assert shown["TOKEN_CACHE"][0] == "7" and "flag" in shown["TOKEN_CACHE"][1]
    assert shown["WORKERS"][0] == "6" and "environment" in shown["WORKERS"][1]
    assert shown["READERS"][0] == "3" and ".env" in shown["READERS"][1]
    assert shown["LOG_LEVEL"] == ("info", "default")


def test_config_tells_no_password(idle):
    done = idle.command("config", DATABASE_URL="postgres://u:hush@h/d?password=hush2")
    assert "hush" not in done.stdout
    assert "postgres://u:" in done.stdout
