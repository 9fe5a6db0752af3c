"""X-Session-Id: whose session it was is asked of the provider on the way to the store, and never
on a request's; what nobody can say in time is stored without a user, and counted."""

import json
import threading

import pytest
from support.engine import a_transaction

HASTE = {
    "FORWARD_RETRY_MIN": "20ms",
    "FORWARD_RETRY_MAX": "200ms",
    "INTROSPECTION_TIMEOUT": "300ms",
}


@pytest.fixture
def provider(providers):
    made = providers()
    made.knows("session-of-jdoe", "jdoe")
    made.knows("session-of-bfranklin", "bfranklin")
    return made


@pytest.fixture
def asking(engines, provider):
    """Makes engines that ask the provider."""

    def make(**options):
        asks = {
            "INTROSPECTION_URL": provider.introspection_url,
            "INTROSPECTION_CLIENT_ID": provider.client_id,
            "INTROSPECTION_CLIENT_SECRET": provider.client_secret,
        }
        return engines(**(HASTE | asks | options))

    return make


def send(engine, session, pennkey=None, **members):
    """Stores one transaction with a session, and gives its id."""
    body = a_transaction(pennkey=pennkey, **members)
    answer = engine.post(body, headers={"X-Session-Id": session})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def user_of(engine, identity):
    (user,) = {row["pennkey"] for row in engine.events_of(identity)}
    return user


def figure(engine, name):
    return engine.metrics()[f"labs_analytics_{name}"]


def expect(engine, *wanted):
    """So many resolved, refused and given up; they are counted just after they are stored."""
    names = [f'sessions_total{{result="{name}"}}' for name in ("resolved", "refused", "given_up")]
    engine.wait_until_stored()
    engine.wait_until(lambda: tuple(figure(engine, name) for name in names) == wanted)


def test_the_user_of_a_session_is_stored(asking, store_url):
    engine = asking(DATABASE_URL=store_url)
    jdoe, bfranklin = (send(engine, f"session-of-{name}") for name in ("jdoe", "bfranklin"))
    assert user_of(engine, jdoe) == "jdoe"
    assert user_of(engine, bfranklin) == "bfranklin"
    expect(engine, 2, 0, 0)
    assert engine.status()["users"]["introspection"] == "up"
    assert engine.status()["users"]["resolved"] == 2


def test_the_platforms_form_of_an_answer_is_understood(asking, provider):
    provider.knows("session", None, user={"username": "bfranklin", "pennid": 1})
    engine = asking()
    assert user_of(engine, send(engine, "session")) == "bfranklin"


def test_the_member_that_names_the_user_can_be_chosen(asking, provider):
    provider.knows("session", "not this one", account={"login": "jwilson"})
    engine = asking(INTROSPECTION_USER="account.login,username")
    assert user_of(engine, send(engine, "session")) == "jwilson"


@pytest.mark.parametrize(
    "answer",
    [
        {"active": False},
        {"active": True},
        {"active": True, "username": None},
        {"active": True, "username": ""},
        {"active": True, "username": "x" * 65},
        {"active": True, "username": "a\0b"},
        {"active": True, "username": 17},
        {"active": True, "username": ["jdoe"]},
    ],
)
def test_a_refused_session_is_stored_without_a_user(asking, provider, answer):
    provider.sessions["odd"] = answer
    engine = asking()
    assert user_of(engine, send(engine, "odd")) is None
    expect(engine, 0, 1, 0)


def test_an_unknown_session_is_refused_also_by_a_401(asking, provider):
    provider.introspection.says(json.dumps({"active": False}).encode(), 401)
    engine = asking()
    assert user_of(engine, send(engine, "unknown")) is None
    expect(engine, 0, 1, 0)


def test_a_pennkey_of_the_body_comes_before_the_session(asking, provider):
    engine = asking()
    assert user_of(engine, send(engine, "session-of-jdoe", pennkey="jwilson")) == "jwilson"
    assert user_of(engine, send(engine, "session-of-jdoe", pennkey="")) == ""
    assert provider.introspection.requests == 0


def test_answers_are_remembered(asking, provider):
    engine = asking()
    for _ in range(3):
        for session in ("session-of-jdoe", "nobodys"):
            send(engine, session)
        engine.wait_until_stored()
    assert provider.introspection.requests == 2
    assert figure(engine, "introspection_requests_total") == 2
    assert figure(engine, "introspection_cache_hits_total") > 2
    expect(engine, 3, 3, 0)


def test_a_body_of_many_has_one_session(asking):
    engine = asking()
    body = [
        a_transaction(pennkey=None),
        a_transaction(pennkey="jwilson"),
        a_transaction(product="nonsense"),
        {name: value for name, value in a_transaction().items() if name != "pennkey"},
    ]
    answer = engine.post(body, "/v1/transactions", headers={"X-Session-Id": "session-of-jdoe"})
    ids = [result.get("id") for result in answer.json()["results"]]
    assert [user_of(engine, ids[n]) for n in (0, 1, 3)] == ["jdoe", "jwilson", "jdoe"]
    expect(engine, 2, 0, 0)


@pytest.mark.parametrize("path", ["/analytics", "/v1/transactions"])
@pytest.mark.parametrize(
    ("session", "words"),
    [("s" * 513, "at most 512 bytes"), ("two words", "printable"), ("caf\xe9", "printable")],
)
def test_a_header_that_is_no_session_is_refused(asking, path, session, words):
    engine = asking()
    headers = {"X-Session-Id": session.encode("latin-1")}
    answer = engine.post(a_transaction(pennkey=None), path, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("x-session-id: ") and words in answer.text
    assert engine.counts()["accepted"] == 0
    assert engine.post(a_transaction(), path, headers=headers).ok, "of no matter beside a pennkey"


def test_the_longest_session_and_all_its_characters_arrive(asking, provider):
    session = "".join(map(chr, range(0x21, 0x7F)))
    session += "s" * (512 - len(session))
    provider.knows(session, "jdoe")
    engine = asking()
    assert user_of(engine, send(engine, session)) == "jdoe"
    nobody = engine.post(a_transaction(pennkey=None), headers={"X-Session-Id": ""}).json()["id"]
    assert user_of(engine, nobody) is None
    expect(engine, 1, 0, 0)


def test_without_a_provider_the_header_is_ignored(engines, provider):
    engine = engines()
    identity = send(engine, "session-of-jdoe")
    assert engine.post(a_transaction(pennkey=None), headers={"X-Session-Id": "s" * 600}).ok
    assert user_of(engine, identity) is None
    assert "users" not in engine.status()
    expect(engine, 0, 0, 0)
    assert b"session-of-jdoe" not in b"".join(
        path.read_bytes() for path in engine.data_dir.rglob("*.seg")
    )


def test_sessions_of_before_are_given_up_when_there_is_nobody_to_ask_any_more(asking, provider):
    provider.stop()
    engine = asking()
    identity = send(engine, "session-of-jdoe")
    engine.wait_until(lambda: figure(engine, "introspection_failures_total") > 0)
    engine.restart(INTROSPECTION_URL="", INTROSPECTION_CLIENT_ID="", INTROSPECTION_CLIENT_SECRET="")
    assert user_of(engine, identity) is None
    expect(engine, 0, 0, 1)


def test_a_provider_that_is_back_in_time_is_asked_again(asking, provider):
    provider.stop()
    engine = asking()
    identity = send(engine, "session-of-jdoe")
    engine.wait_for_log("users: introspection fails, transactions with a session wait")
    assert engine.status()["users"]["introspection"] == "down"
    assert figure(engine, "introspection_down") == 1
    assert engine.counts()["uncompleted"] == 1
    provider.start()
    assert user_of(engine, identity) == "jdoe"
    engine.wait_for_log("users: introspection answers again after")
    assert engine.status()["users"]["introspection"] == "up"
    assert engine.status()["users"]["last_error"]
    assert engine.log.count("introspection fails") == 1
    expect(engine, 1, 0, 0)


@pytest.mark.parametrize(
    "way",
    [
        lambda provider: provider.stop(),
        lambda provider: provider.introspection.hangs(),
        lambda provider: provider.introspection.drips(),
        lambda provider: provider.introspection.breaks(500),
        lambda provider: provider.introspection.says(b"<html>login</html>"),
        lambda provider: provider.introspection.says(b'{"username": "jdoe"}'),
        lambda provider: provider.introspection.says(b'{"active": true}', 403),
        lambda provider: setattr(provider, "client_secret", "another"),
    ],
    ids=["gone", "hangs", "drips", "500", "a page", "not an answer", "403", "other secret"],
)
def test_nobody_who_answers_in_time_means_no_user(asking, provider, way):
    engine = asking(INTROSPECTION_PATIENCE="1s")
    way(provider)
    before = engine.accept()
    lost = send(engine, "session-of-jdoe")
    engine.wait_until_stored()
    assert user_of(engine, lost) is None
    assert user_of(engine, before) == "jdoe"
    expect(engine, 0, 0, 1)
    assert figure(engine, "introspection_failures_total") >= 3


def test_acknowledgements_do_not_wait_for_the_provider(asking, provider):
    provider.introspection.hangs()
    engine = asking()
    ids = [send(engine, f"session-{n}") for n in range(50)]
    body = [a_transaction(pennkey=None)] * 100
    assert engine.post(body, "/v1/transactions", headers={"X-Session-Id": "more"}).ok
    provider.introspection.wait_for(1)
    assert engine.counts()["uncompleted"] == 150
    assert engine.get("/readyz", token=None).status_code == 200
    for n in range(50):
        provider.knows(f"session-{n}", f"user-{n}")
    provider.introspection.works()
    assert [user_of(engine, identity) for identity in ids] == [f"user-{n}" for n in range(50)]


def test_what_came_before_a_session_does_not_wait_for_it(asking, provider):
    provider.stop()
    engine = asking()
    before = [engine.accept() for _ in range(5)]
    waits = send(engine, "session-of-jdoe")
    for identity in before:
        assert user_of(engine, identity) == "jdoe"
    assert engine.transaction(waits)["status"] == "uncompleted"
    assert engine.transaction(waits)["pennkey"] is None


def test_a_session_outlives_a_kill_and_a_stop(asking, provider):
    provider.stop()
    engine = asking(SHUTDOWN_TIMEOUT="1h")  # that nothing waits for
    killed = send(engine, "session-of-jdoe")
    engine.kill9()
    engine.start()
    stopped = send(engine, "session-of-bfranklin")
    engine.wait_for_log("introspection fails")
    engine.stop()
    assert engine.stored_ids() == {}
    provider.start()
    engine.start()
    assert user_of(engine, killed) == "jdoe"
    assert user_of(engine, stopped) == "bfranklin"


def test_the_end_does_not_wait_for_a_provider_that_hangs(asking, provider):
    provider.introspection.hangs()
    engine = asking(INTROSPECTION_TIMEOUT="60s", SHUTDOWN_TIMEOUT="500ms")
    send(engine, "session-of-jdoe")
    provider.introspection.wait_for(1)
    engine.stop(timeout=20)
    provider.introspection.works()
    engine.start()
    engine.wait_until_stored()
    assert [row["pennkey"] for row in engine.events()] == ["jdoe", "jdoe"]


MANY = 260  # more than are asked for in one go


def test_many_sessions_are_asked_for_at_the_same_time(asking, provider):
    together = threading.Barrier(4)
    answer = provider.introspect

    def in_fours(headers, body):
        together.wait(30)
        return answer(headers, body)

    for n in range(MANY):
        provider.knows(f"session-{n}", f"user-{n}")
    provider.introspection.hangs()
    engine = asking(INTROSPECTION_TIMEOUT="30s")
    ids = [send(engine, "session-0")]
    provider.introspection.wait_for(1)
    ids += [send(engine, f"session-{n}") for n in range(1, MANY)]
    provider.introspect = in_fours
    provider.introspection.works()
    assert [user_of(engine, identity) for identity in ids] == [f"user-{n}" for n in range(MANY)]


def test_a_known_session_is_not_asked_for_beside_others(asking, provider):
    provider.knows("session-of-jwilson", "jwilson")
    engine = asking(INTROSPECTION_TIMEOUT="30s")
    users = ["jdoe", "bfranklin", "jwilson", "jdoe"]
    ids = [send(engine, "session-of-jdoe")]
    engine.wait_until_stored()
    provider.introspection.hangs()
    ids += [send(engine, "session-of-bfranklin")]
    provider.introspection.wait_for(2)
    ids += [send(engine, f"session-of-{user}") for user in users[2:]]
    provider.introspection.works()
    assert [user_of(engine, identity) for identity in ids] == users
    assert provider.introspection.requests == 4, "the one that hung twice"


def test_a_session_that_upsets_the_provider_holds_up_no_others(asking, provider):
    answer = provider.introspect
    provider.introspect = lambda headers, body: (
        (500, {}) if b"poison" in body else answer(headers, body)
    )
    engine = asking(INTROSPECTION_PATIENCE="2s")
    poisoned = [send(engine, f"poison-{n}") for n in range(5)]
    good = send(engine, "session-of-jdoe")
    assert user_of(engine, good) == "jdoe"
    assert {user_of(engine, identity) for identity in poisoned} == {None}
    expect(engine, 1, 0, 5)


def test_a_backlog_past_patience_is_given_up_at_once_while_nobody_answers(
    asking, provider, postgres
):
    url = postgres.url()
    postgres.stop()
    provider.stop()
    engine = asking(DATABASE_URL=url, INTROSPECTION_PATIENCE="100ms", SHUTDOWN_TIMEOUT="0s")
    for n in range(20):
        body = [a_transaction(pennkey=None)] * 50
        headers = {"X-Session-Id": f"session-{n}"}
        assert engine.post(body, "/v1/transactions", headers=headers).json()["accepted"] == 50
    engine.stop()
    postgres.start()
    engine.start()
    engine.wait_until_stored()
    assert len(engine.stored_ids()) == 1000
    expect(engine, 0, 0, 1000)
    assert provider.introspection.requests == 0


def refuse(postgres):
    check = "CHECK (datapoint <> 'club.visit.0') NOT VALID"
    postgres.ask(f"ALTER TABLE event ADD CONSTRAINT refuse {check}")


def allow(postgres):
    postgres.ask("ALTER TABLE event DROP CONSTRAINT refuse")


def fail_one(engine, session):
    failed = send(engine, session)
    engine.wait_until(lambda: engine.transaction(failed)["status"] == "failed")
    return failed


def test_a_failed_transaction_is_resolved_when_it_is_tried_again(asking, provider, postgres):
    engine = asking(DATABASE_URL=postgres.url(), INTROSPECTION_PATIENCE="1s")
    engine.accept()
    engine.wait_until_stored()
    refuse(postgres)
    provider.stop()
    failed = fail_one(engine, "session-of-jdoe")
    assert engine.transaction(failed)["pennkey"] is None, "nobody could say in time"
    # That nothing waits for the end, and the second try for the provider.
    engine.restart(SHUTDOWN_TIMEOUT="1h", INTROSPECTION_PATIENCE="1h")
    allow(postgres)
    assert engine.post("", f"/v1/transactions/{failed}/retry").status_code == 202
    engine.wait_for_log("introspection fails")
    other = engine.accept()
    assert user_of(engine, other) == "jdoe", "it holds up nothing"
    assert engine.transaction(failed)["status"] == "uncompleted"
    engine.stop()
    refuse(postgres)
    provider.start()
    engine.start()
    engine.wait_until(lambda: engine.transaction(failed)["attempts"] == 2)
    assert engine.transaction(failed)["pennkey"] == "jdoe"
    expect(engine, 1, 0, 0)
    allow(postgres)
    engine.post("", f"/v1/transactions/{failed}/retry")
    engine.wait_until(lambda: engine.transaction(failed)["status"] == "successful")
    assert user_of(engine, failed) == "jdoe"
    expect(engine, 1, 0, 0)


@pytest.mark.parametrize("pseudonymize", ["off", "on"])
def test_a_failed_transaction_keeps_its_user_and_not_the_session(
    asking, provider, postgres, pseudonymize
):
    engine = asking(DATABASE_URL=postgres.url(), PSEUDONYMIZE=pseudonymize)
    user = user_of(engine, engine.accept(pennkey="jdoe"))
    refuse(postgres)
    failed = fail_one(engine, "session-of-jdoe")
    assert engine.transaction(failed)["pennkey"] == user
    exported = engine.command("transactions", "export").stdout
    assert json.loads(exported)["pennkey"] == user
    provider.stop()
    engine.restart()
    for ledger in engine.data_dir.glob("ledger.db*"):
        assert b"session-of-jdoe" not in ledger.read_bytes()
    allow(postgres)
    engine.post("", f"/v1/transactions/{failed}/retry")
    engine.wait_until(lambda: engine.transaction(failed)["status"] == "successful")
    assert user_of(engine, failed) == user


def tries(engine):
    return [one["first_id"] for one in engine.get("/v1/deliveries").json()["deliveries"]]


def test_a_session_is_counted_once_however_often_its_transaction_is_tried(asking, postgres):
    engine = asking(DATABASE_URL=postgres.url(), FAILED_MAX=1)
    engine.accept()
    engine.wait_until_stored()
    refuse(postgres)
    failed = fail_one(engine, "session-of-jdoe")
    expect(engine, 1, 0, 0)
    engine.post("", f"/v1/transactions/{failed}/retry")
    engine.wait_until(lambda: engine.transaction(failed)["attempts"] == 2)
    waits = send(engine, "session-of-bfranklin")
    engine.wait_for_log("1 failed transactions of .* FAILED_MAX")
    engine.wait_until(lambda: tries(engine).count(waits) > 2)
    allow(postgres)
    engine.post("", f"/v1/transactions/{failed}/retry")
    engine.wait_until(lambda: engine.transaction(failed)["status"] == "successful")
    expect(engine, 2, 0, 0)


def test_sessions_are_shown_to_nobody(asking, provider, postgres):
    session = "a-session-that-must-not-be-seen"
    provider.knows(session, "jdoe")
    engine = asking(PSEUDONYMIZE="on", LOG_LEVEL="debug")
    identity = send(engine, session)
    engine.wait_until_stored()
    provider.stop()
    waits = send(engine, session + "-either")
    engine.wait_for_log("introspection fails")
    shown = engine.full_log
    for path in (
        f"/v1/transactions/{identity}",
        f"/v1/transactions/{waits}",
        "/v1/transactions?status=uncompleted",
        "/v1/transactions?status=successful",
        "/v1/status",
        "/v1/deliveries",
        "/metrics",
    ):
        shown += engine.get(path).text
    shown += engine.command("config").stdout + engine.command("transactions", "show", waits).stdout
    engine.stop()
    shown += engine.full_log
    assert session not in shown and provider.client_secret not in shown
    for store in engine.data_dir.glob("events.db*"):
        assert session.encode() not in store.read_bytes()
        assert b"jdoe" not in store.read_bytes()


def test_a_pseudonym_is_of_the_resolved_user(asking):
    engine = asking(PSEUDONYMIZE="on")
    by_session = user_of(engine, send(engine, "session-of-jdoe"))
    assert by_session.startswith("p_")
    assert user_of(engine, engine.accept(pennkey="jdoe")) == by_session


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"INTROSPECTION_URL": "http://platform.example.org/"}, "must begin with https://"),
        ({"INTROSPECTION_URL": "ftp://127.0.0.1/"}, "must begin with https://"),
        ({"INTROSPECTION_URL": "nonsense"}, "must begin with https://"),
        ({"INTROSPECTION_URL": "http://127.0.0.1.example.org/"}, "must begin with https://"),
        ({"INTROSPECTION_URL": "https://me:hush@example.org/"}, "must not hold a user"),
        ({"INTROSPECTION_CLIENT_ID": ""}, "INTROSPECTION_CLIENT_ID: must be given"),
        ({"INTROSPECTION_USER": "user..name"}, "must name members"),
        ({"INTROSPECTION_USER": "username, sub"}, "must name members"),
        ({"INTROSPECTION_CACHE": "10"}, "must be an integer from 1024"),
    ],
)
def test_a_wrong_option_stops_the_start(asking, engines, provider, options, words):
    asks = {
        "INTROSPECTION_URL": provider.introspection_url,
        "INTROSPECTION_CLIENT_ID": provider.client_id,
        "INTROSPECTION_CLIENT_SECRET": "hush",
    }
    engine = engines(start=False, **(asks | options)).launch()
    assert engine.wait_for_exit() == 2
    assert words in engine.log
    assert "hush" not in engine.log


def test_the_secret_is_not_shown(asking):
    engine = asking()
    shown = engine.command("config").stdout
    assert "INTROSPECTION_CLIENT_SECRET=***" in shown.replace(" ", "")
    long = engine.command("config", check=False, INTROSPECTION_CLIENT_SECRET="hush" * 2000)
    assert long.returncode == 2
    assert "***" in long.stderr and "hush" not in long.stderr


@pytest.mark.parametrize(
    "way",
    [
        lambda provider: provider.introspection.breaks(500),
        lambda provider: provider.introspection.says(b"<html>login</html>"),
        lambda provider: provider.stop(),
    ],
    ids=["500", "a page", "gone"],
)
def test_a_secret_in_the_addresss_query_is_not_told(asking, provider, way):
    way(provider)
    engine = asking(INTROSPECTION_URL=provider.introspection_url + "?api-key=hush")
    send(engine, "session-of-jdoe")
    engine.wait_for_log("introspection fails")
    told = engine.status()["users"]["last_error"]
    assert provider.introspection_url in told
    assert "hush" not in told + engine.full_log


def test_answers_come_and_go_while_transactions_are_sent(asking, provider):
    engine = asking()
    for n in range(30):
        provider.knows(f"session-{n}", f"user-{n}")
    wanted = {}
    done = threading.Event()

    def come_and_go():
        while not done.wait(0.2):
            provider.stop()
            done.wait(0.1)
            provider.start()

    away = threading.Thread(target=come_and_go)
    away.start()
    try:
        for n in range(90):
            wanted[send(engine, f"session-{n % 30}")] = f"user-{n % 30}"
            wanted[engine.accept(pennkey="jwilson")] = "jwilson"
    finally:
        done.set()
        away.join()
    engine.wait_until_stored()
    assert {row["transaction_id"]: row["pennkey"] for row in engine.events()} == wanted
