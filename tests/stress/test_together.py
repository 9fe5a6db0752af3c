"""Everything at the same time: what threads share is touched by all of them while the certificate,
the identity provider's keys and API keys change, users are forgotten, and the store comes and goes.

What it asserts is little; under `scripts/sanitize suites` the sanitizers look on.
"""

import functools
import random
import signal
import threading

import psycopg
import pytest
from support.certificates import Authority
from support.engine import a_transaction
from support.provider import Key

CLIENTS, TURNS = 8, 60
KEYS = [Key.rsa(kid="first"), Key.ec(kid="second")]


def read(ask, one):
    paths = ["/metrics", "/v1/status", "/v1/deliveries", "/readyz", "/v1/keys", "/nowhere"]
    paths += ["/v1/transactions?status=failed", "/v1/transactions?status=uncompleted"]
    paths += [f"/v1/transactions/{one}"] if one else []
    assert ask("GET", random.choice(paths)).status_code in (200, 404, 503)


def change(ask):
    """What only an admin may. It may come too late, or the store be away."""
    way = random.randrange(5)
    if way == 0:
        made = ask("POST", "/v1/keys", json={"scope": "write", "products": ["CLUBS"]})
        if made.status_code == 201:
            ask("DELETE", f"/v1/keys/{made.json()['id']}")
    elif way == 1:
        body = {"pennkey": f"user{random.randrange(9)}", "delete": random.random() < 0.5}
        ask("POST", "/v1/users/forget", json=body)
    elif way == 2:
        ask("POST", "/v1/forward")
    elif failed := ask("GET", "/v1/transactions?status=failed").json().get("transactions"):
        one = random.choice(failed)["id"]
        verb = ("POST", "/retry") if way == 3 else ("DELETE", "")
        ask(verb[0], f"/v1/transactions/{one}{verb[1]}")


def write(engine, number):
    session = random.randrange(20)
    batch = [
        a_transaction(
            pennkey=f"user{n % 9}",
            data=[{"key": random.choice(["taken"] * 99 + ["refused"]), "value": "x"}],
        )
        for n in range(random.choice([1, 3, 300]))
    ]
    if number % 2:
        del batch[0]["pennkey"]
    answer = engine.post(batch, "/v1/transactions", headers={"X-Session-Id": f"session-{session}"})
    assert answer.status_code in (202, 503), answer.text
    return answer.json()["results"][0].get("id") if answer.status_code == 202 else None


def client(engine, ask, faults):
    one = None
    try:
        for turn in range(TURNS):
            one = write(engine, turn) or one
            read(ask, one)
            change(ask)
            if turn % 10 == 9:
                engine._session().close()  # the next request has a connection of its own
    except Exception as fault:  # noqa: BLE001 (told by the test)
        faults.append(fault)


@pytest.mark.timeout(900)
def test_all_at_the_same_time(engines, postgres, proxy, providers, tmp_path):
    provider = providers(*KEYS)
    for number in range(0, 20, 2):
        provider.knows(f"session-{number}", f"user{number % 9}")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority = Authority(tmp_path / "ca.pem")
    authority.issue(certificate, key)
    engine = engines(
        provider=provider,
        ca_file=tmp_path / "ca.pem",
        DATABASE_URL=postgres.url(port=proxy.port, host="localhost"),
        listen="https://127.0.0.1:0",
        WORKERS=4,
        TLS_CERT=certificate,
        TLS_KEY=key,
        SEGMENT_BYTES="16MiB",
        TOKEN_CACHE=2,
        RETENTION="1h",
        RETENTION_INTERVAL="1s",
        FORWARD_BATCH_AGE="5ms",
        FORWARD_RETRY_MIN="5ms",
        FORWARD_RETRY_MAX="50ms",
        INTROSPECTION_URL=provider.introspection_url,
        INTROSPECTION_CLIENT_ID=provider.client_id,
        INTROSPECTION_CLIENT_SECRET=provider.client_secret,
    )
    engine.wait_until_ready()
    admin = engine.command("key", "create", "--scope", "admin").stdout.strip()
    ask = functools.partial(engine.request, token=admin)
    engine.wait_until(lambda: engine.status()["store"]["state"] == "up")
    with psycopg.connect(postgres.url(), autocommit=True) as database:
        database.execute("ALTER TABLE event ADD CHECK (datapoint <> 'refused') NOT VALID")
    faults = []
    threads = [threading.Thread(target=client, args=(engine, ask, faults)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    turn = 0
    while any(thread.is_alive() for thread in threads):
        turn += 1
        engine.signal(signal.SIGHUP)
        provider.publish(*KEYS[: 1 + turn % 2])
        (proxy.down if turn % 4 == 1 else proxy.up)()
        threads[0].join(0.2)
    proxy.up()
    assert not faults, faults[0]
    engine.stop(timeout=60)
