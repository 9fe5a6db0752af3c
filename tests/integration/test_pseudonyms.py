"""PSEUDONYMIZE=on: the store, and what the API shows, know users by a keyed hash alone."""

import hashlib
import hmac

import pytest


def pseudonym(engine, pennkey):
    key = (engine.data_dir / "pseudonym.key").read_bytes()
    return "p_" + hmac.new(key, pennkey.encode(), hashlib.sha256).hexdigest()[:32]


def user_of(engine, identity):
    (user,) = {row["pennkey"] for row in engine.events_of(identity)}
    return user


def test_the_store_gets_pseudonyms_that_outlive_restarts(engines, store_url):
    engine = engines(DATABASE_URL=store_url, PSEUDONYMIZE="on")
    first = engine.accept(pennkey="bfranklin")
    other = engine.accept(pennkey="jwilson")
    nobody = engine.accept(pennkey=None)
    assert user_of(engine, first) == pseudonym(engine, "bfranklin")
    assert user_of(engine, other) == pseudonym(engine, "jwilson") != user_of(engine, first)
    assert user_of(engine, nobody) is None
    engine.restart()
    assert user_of(engine, engine.accept(pennkey="bfranklin")) == user_of(engine, first)


def test_the_api_shows_the_pseudonym_from_the_start(engines, postgres):
    url = postgres.url()
    postgres.stop()
    engine = engines(DATABASE_URL=url, PSEUDONYMIZE="on", SHUTDOWN_TIMEOUT="0s")
    identity = engine.accept(pennkey="bfranklin")
    wanted = pseudonym(engine, "bfranklin")
    assert engine.transaction(identity)["pennkey"] == wanted
    listed = engine.get("/v1/transactions?status=uncompleted").json()["transactions"]
    assert [one["pennkey"] for one in listed] == [wanted]
    engine.stop()
    offline = engine.command("transactions", "show", identity).stdout
    assert wanted in offline and "bfranklin" not in offline
    postgres.start()
    engine.start()
    engine.wait_until_stored()
    assert engine.transaction(identity)["pennkey"] == wanted


def test_it_can_be_turned_on_later(engines):
    engine = engines()
    before = engine.accept(pennkey="bfranklin")
    engine.wait_until_stored()
    assert not (engine.data_dir / "pseudonym.key").exists()
    engine.restart(PSEUDONYMIZE="on")
    after = engine.accept(pennkey="bfranklin")
    assert user_of(engine, after) == pseudonym(engine, "bfranklin")
    assert user_of(engine, before) == "bfranklin"


@pytest.mark.parametrize(
    ("size", "mode", "words"), [(32, 0o644, "may be used by others"), (16, 0o600, "not a key")]
)
def test_a_key_that_is_none_or_open_to_others_stops_the_start(engines, size, mode, words):
    engine = engines(start=False, PSEUDONYMIZE="on")
    engine.data_dir.mkdir(mode=0o700)
    key = engine.data_dir / "pseudonym.key"
    key.write_bytes(bytes(size))
    key.chmod(mode)
    engine.launch()
    assert engine.wait_for_exit() == 2
    assert words in engine.log
