"""Options: where they come from, and what happens to wrong ones."""

import json
import re
import socket

import pytest
from support.wire import Wire, head

BAD = [
    ("LISTEN", "foo"),
    ("LISTEN", ""),
    ("LISTEN", "127.0.0.1"),
    ("LISTEN", "127.0.0.1:"),
    ("LISTEN", "127.0.0.1:99999"),
    ("LISTEN", "127.0.0.1:x"),
    ("LISTEN", "127.0.0.1:0,"),
    ("LISTEN", "::1:0"),
    ("LISTEN", "127.example.org:0"),
    ("WORKERS", "0"),
    ("WORKERS", "65"),
    ("WORKERS", "two"),
    ("WORKERS", ""),
    ("DURABILITY", "maybe"),
    ("QUEUE_MAX_BYTES", "1"),
    ("QUEUE_MAX_BYTES", "8 GiB"),
    ("QUEUE_MAX_BYTES", "99999999999999999999"),
    ("SEGMENT_BYTES", "1GiB1"),
    ("MAX_BODY_BYTES", "-1"),
    ("HEADER_TIMEOUT", "10"),
    ("FORWARD_RETRY_MIN", "1h"),
    ("ENVIRONMENT", "STAGING"),
    ("ENVIRONMENT", "PRODUCTION"),
    ("LOG_LEVEL", "loud"),
    ("LOG_FORMAT", "xml"),
    ("DATABASE_URL", "mysql://u@h/d"),
    ("DATABASE_URL", ""),
    ("PRODUCTS", "x"),
    ("PRODUCTS", "3=TAKEN"),
    ("ALLOWED_URNS", "clubs"),
    ("ALLOWED_URNS", "*"),
    ("ALLOWED_URNS", ""),
    ("DATA_DIR", ""),
    ("JWKS_URL", "provider.example"),
    ("JWKS_URL", "http://provider.example/identity/jwks/"),
    ("JWKS_URL", "http://127.0.0.1.provider.example/"),
    ("JWKS_URL", "ftp://127.0.0.1/"),
    ("JWKS_URL", "https://user:password@provider.example/"),
    ("JWKS_URL", "https://"),
    ("JWKS_REFRESH", "100ms"),
    ("JWKS_MIN_INTERVAL", "0"),
    ("JWKS_TIMEOUT", "2m"),
    ("CA_FILE", "/nowhere"),
    ("CA_FILE", "/dev/null"),
    ("INTROSPECTION_USER", ""),
    ("INTROSPECTION_USER", ","),
    ("INTROSPECTION_USER", "username,"),
    ("URN_PRODUCTS", "urn:pennlabs:clubs"),
    ("URN_PRODUCTS", "urn:pennlabs:clubs="),
    ("URN_PRODUCTS", "urn:pennlabs:clubs=CLUBS+"),
    ("URN_PRODUCTS", "urn:pennlabs:clubs=NOTHING"),
    ("URN_PRODUCTS", "urn:pennlabs*=CLUBS"),
    ("URN_PRODUCTS", "urn:pennlabs:clubs=CLUBS,"),
    ("URN_PRODUCTS", "urn:pennlabs:clubs=CLUBS,urn:pennlabs:clubs=PCR"),
]


@pytest.fixture
def idle(engines):
    return engines(start=False, listen="127.0.0.1:0")


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_wrong_value_stops_the_start_with_one_line(idle, name, value):
    options = {"LISTEN": "127.0.0.1:0", name: value}
    done = idle.command("serve", check=False, **options)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"labs-analytics: {name}\b[^\n]{{5,}}\n", done.stderr), done.stderr
    assert not idle.data_dir.exists()


@pytest.mark.parametrize("value", [value for name, value in BAD if name == "LISTEN" and value])
def test_a_wrong_address_stops_the_start_with_a_provider_too(idle, value):
    done = idle.command("serve", check=False, LISTEN=value, JWKS_URL="https://127.0.0.1:1/")
    assert done.returncode == 2
    assert done.stderr.startswith(f"labs-analytics: LISTEN={value}: "), done.stderr
    assert done.stderr.count("\n") == 1
    assert not idle.data_dir.exists()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("DATABASE_URL", "mysql://me:hush@db/x", "mysql://me:***@db/x"),
        ("DATABASE_URL", "postgres:/me:hush@db/x", "postgres:***@db/x"),
        ("JWKS_URL", "https:/me:hush@id.example/?hush", "https:***@id.example/?***"),
        ("INTROSPECTION_URL", "https://me:hush@id.example/?hush", "https://me:***@id.example/?***"),
        ("RETENTION", "59m", "59m"),
    ],
)
def test_a_wrong_value_is_shown_without_its_secrets(idle, name, value, shown):
    done = idle.command("serve", check=False, **{name: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"labs-analytics: {name}={shown}: "), done.stderr
    assert not idle.data_dir.exists()


def test_a_wrong_value_is_blamed_on_where_it_came_from(idle):
    (idle.folder / ".env").write_text("# comment\n\nWORKERS=many\n")
    done = idle.command("serve", check=False)
    assert done.returncode == 2
    assert "WORKERS=many (.env line 3): must be an integer from 1 to 64" in done.stderr
    done = idle.command("serve", "--workers=0", check=False)
    assert "WORKERS=0 (flag --workers)" in done.stderr


@pytest.mark.parametrize(
    "address", ["0.0.0.0:0", "[::]:0", "8.8.8.8:0", "127.0.0.1:0,0.0.0.0:0", "128.0.0.1:0"]
)
@pytest.mark.parametrize("environment", ["DEVELOPMENT", "TESTING"])
def test_the_development_issuer_serves_loopback_only(idle, address, environment):
    done = idle.command("serve", check=False, LISTEN=address, ENVIRONMENT=environment)
    assert done.returncode == 2
    assert done.stderr.startswith(f"labs-analytics: LISTEN={address}: must be loopback")


def test_production_has_no_development_issuer(idle):
    done = idle.command("serve", check=False, ENVIRONMENT="PRODUCTION")
    assert "JWKS_URL" in done.stderr
    done = idle.command("token", check=False, ENVIRONMENT="PRODUCTION")
    assert done.returncode == 2
    assert not (idle.data_dir / "development-key.pem").exists()


def test_a_flag_goes_before_environment_before_dotenv_before_default(engines):
    engine = engines(start=False, MAX_BODY_BYTES="128KiB", arguments=["--body-timeout", "7s"])
    (engine.folder / ".env").write_text(
        "MAX_BODY_BYTES=256KiB\nBODY_TIMEOUT=8s\nexport QUEUE_MAX_BYTES='1GiB' # comment\n"
    )
    engine.start()
    assert engine.status()["queue"]["max_bytes"] == 1 << 30
    assert engine.post(b" " * (128 << 10)).status_code == 400
    assert engine.post(b" " * ((128 << 10) + 1)).status_code == 413


# -- addresses


def test_port_0_is_a_free_one_and_is_logged(engines):
    first, second = engines(), engines()
    assert first.address != second.address
    assert int(first.address.split(":")[1]) > 0


def test_several_addresses_are_served(engines):
    engine = engines(start=False, listen="127.0.0.1:0,[::1]:0, 127.0.0.2:0,localhost:0")
    engine.start()
    (line,) = re.findall(r"listening on (\S+), store", engine.log)
    addresses = line.split(",")
    assert [address.rsplit(":", 1)[0] for address in addresses] == [
        "127.0.0.1",
        "[::1]",
        "127.0.0.2",
        "127.0.0.1",
    ]
    for address in addresses:
        with Wire(address) as wire:
            wire.send(head("GET", "/v1/status", token=engine.token()))
            assert wire.answer().status == 200


def test_commands_find_an_engine_that_listens_on_ipv6_only(engines):
    engine = engines(start=False, listen="[::1]:0").launch()
    engine.wait_for_log(r"listening on \[::1\]:\d+")
    assert json.loads(engine.command("status", "--json").stdout)["running"] is True


def test_a_taken_port_fails_in_words(engines):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        engine = engines(start=False, listen=address).launch()
        assert engine.wait_for_exit() == 1
        assert f"listen on {address}: Address already in use" in engine.log


@pytest.mark.parametrize("workers", [1, 4])
def test_every_worker_serves(engines, workers):
    engine = engines(WORKERS=workers)
    wires = [Wire(engine.address) for _ in range(20)]
    for wire in wires:
        wire.send(head("GET", "/v1/status", token=engine.token()))
    assert [wire.answer().status for wire in wires] == [200] * 20
    for wire in wires:
        wire.socket.close()


@pytest.mark.parametrize("durability", ["os", "fsync"])
def test_both_kinds_of_durability_survive_a_kill(engines, durability):
    engine = engines(DURABILITY=durability)
    ids = [engine.accept() for _ in range(10)]
    engine.kill9()
    engine.start()
    engine.wait_until_stored()
    assert engine.stored_ids() == dict.fromkeys(ids, 2)


# -- the log


def test_the_log_can_be_json(engines):
    engine = engines(start=False, LOG_FORMAT="json", LOG_LEVEL="debug").launch()
    engine.wait_for_log("listening on")
    engine.stop()
    lines = [json.loads(line) for line in engine.log.splitlines()]
    assert len(lines) >= 3
    for line in lines:
        assert set(line) == {"time", "level", "room", "message"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
        assert line["level"] in ("debug", "info", "warning", "error")


def test_the_log_can_be_quiet(engines):
    engine = engines(start=False, LOG_LEVEL="error").launch()
    engine.wait_until(lambda: (engine.data_dir / "lock").read_text().strip())
    engine.stop()
    assert engine.log == ""


def test_nothing_is_logged_per_request(engines):
    engine = engines()
    engine.accept()
    engine.wait_until_stored()
    before = engine.log
    for _ in range(20):
        engine.accept()
        engine.post({})
    assert engine.log == before
