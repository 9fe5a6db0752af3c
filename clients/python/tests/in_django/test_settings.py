"""LABS_ANALYTICS: what is read from it, and what wrong settings do to a product: nothing."""

import os
import subprocess
import sys
import textwrap
import threading

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import Client, override_settings

from labs_analytics import IdentityTokens
from labs_analytics.django import conf, get_client, record, submit
from labs_analytics.django.analytics import (
    LabsAnalyticsRecorder,
    LocalAnalyticsRecorder,
    OffAnalyticsRecorder,
    Product,
    get_analytics_recorder,
)

GOOD = {"URL": "http://127.0.0.1:9", "KEY": "la_secret", "PRODUCT": "CLUBS"}


def faults():
    return [message.msg for message in run_checks() if message.id == "labs_analytics.W001"]


def test_record_and_submit_use_the_shared_client(product):
    mine = product()
    assert record("club.visit", "penn-labs", pennkey="jdoe", timestamp=12.5, product=4)
    assert submit([{"key": "a", "value": 1}, {"key": "b", "value": None}])
    first, second = mine.sent()
    assert first["data"] == [{"key": "club.visit", "value": "penn-labs"}]
    assert (first["product"], first["pennkey"], first["timestamp"]) == (4, "jdoe", 12.5)
    assert (second["product"], [one["key"] for one in second["data"]]) == ("CLUBS", ["a", "b"])


def test_all_threads_share_one_client():
    with override_settings(LABS_ANALYTICS=GOOD):
        found, threads = [], []
        barrier = threading.Barrier(8)

        def ask():
            barrier.wait()
            found.append(get_client())

        for _ in range(8):
            threads.append(threading.Thread(target=ask))
            threads[-1].start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1
        assert found[0] is not None


def test_a_name_in_capitals_is_an_option_of_the_client(tmp_path):
    given = GOOD | {"SPOOL_DIR": tmp_path, "BATCH_AGE": 3, "WHEN_FULL": "block", "QUEUE_COUNT": 7}
    with override_settings(LABS_ANALYTICS=given):
        options = get_client()._options
    assert options.spool_dir == str(tmp_path)
    assert (options.batch_age, options.patience, options.queue_count) == (3, 0.1, 7)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["URL"], "must be a dict"),
        (GOOD | {"KEYS": "la_secret"}, "'KEYS' is not known"),
        (GOOD | {"url": "x"}, "'url' is not known"),
        (GOOD | {"URL": "ftp://x"}, "ftp"),
        (GOOD | {"KEY": "secret"}, "a key starts with la_"),
        (GOOD | {"TOKEN": "secret"}, "give one of token"),
        (GOOD | {"IDENTITY": {"CLIENT_ID": "a", "CLIENT_SECRET": "secret"}}, "give only one of"),
        ({"PRODUCT": "CLUBS"}, "give one of KEY"),
        ({"IDENTITY": {"CLIENT_ID": "a"}}, "CLIENT_SECRET must be given"),
        ({"IDENTITY": {"CLIENT_ID": "a", "SECRET": "secret"}}, "'SECRET' is not known"),
        (GOOD | {"BATCH_AGE": -1}, "batch_age must be from"),
        (GOOD | {"PRODUCT": None, "RULES": [{}]}, "RULES need a PRODUCT"),
        (GOOD | {"RULES": ["club"]}, "RULES[0]: must be a dict"),
        (GOOD | {"RULES": 5}, "RULES must be a list"),
        (GOOD | {"RULES": [{}, {"url": "x"}]}, "RULES[1]: 'url' is not known"),
        (GOOD | {"RULES": [{"url_name": 5}]}, "RULES[0]: url_name must be a text"),
        (GOOD | {"RULES": [{"key": ""}]}, "RULES[0]: key must be a text"),
        (GOOD | {"RULES": [{"methods": "GET"}]}, "RULES[0]: methods must be a list"),
        (GOOD | {"RULES": [{"methods": 5}]}, "RULES[0]: methods must be a list"),
        (GOOD | {"RULES": [{"status": "200"}]}, "RULES[0]: status must be"),
        (GOOD | {"RULES": [{"status": [2.0]}]}, "RULES[0]: status must be"),
        (GOOD | {"RULES": [{"argument": "a", "value": 1}]}, "RULES[0]: argument must be"),
        (GOOD | {"RULES": [{"value": [1]}]}, "RULES[0]: value must be"),
    ],
)
def test_wrong_settings_are_told_by_check_and_stop_nothing(given, words, capsys):
    with override_settings(LABS_ANALYTICS=given):
        (told,) = faults()
        assert told.startswith("LABS_ANALYTICS: ")
        assert words in told
        assert "secret" not in told.replace("SECRET", "")
        assert Client().get("/plain/").status_code == 200
        assert record("key") is False
        assert submit([{"key": "key", "value": 1}]) is False
        assert isinstance(get_analytics_recorder(Product.CLUBS), LocalAnalyticsRecorder)
        assert words in capsys.readouterr().out


def test_wrong_settings_stop_no_command(capsys):
    """Django runs the checks before migrate, runserver and test, and an Error would end them."""
    with override_settings(LABS_ANALYTICS=GOOD | {"KEYS": "la_secret"}):
        call_command("check")
    assert "'KEYS' is not known" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["", "no.such.settings"])
def test_a_program_without_djangos_settings_is_told_once_and_goes_on(module):
    code = """
        import logging
        logging.basicConfig(format="%(message)s")
        from labs_analytics.django import get_client, record, submit
        from labs_analytics.django.analytics import Product, get_analytics_recorder
        print(record("a"), submit([{"key": "a", "value": 1}]), get_client())
        get_analytics_recorder(Product.CLUBS)
        from django.conf import settings
        if not settings.configured:
            settings.configure(LABS_ANALYTICS={"URL": "http://127.0.0.1:1", "KEY": "la_x"})
        print(get_client() is not None)
    """
    environment = {name: text for name, text in os.environ.items() if "DJANGO" not in name}
    if module:
        environment["DJANGO_SETTINGS_MODULE"] = module
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    first, _, last = done.stdout.splitlines()
    assert (first, last) == ("False False None", "True")
    assert done.stderr.count("told once") == 1


@pytest.mark.parametrize("given", [GOOD, GOOD | {"OFF": True}, {"OFF": True}, {}])
def test_good_settings_pass_the_check(given):
    with override_settings(LABS_ANALYTICS=given):
        assert faults() == []


def test_the_identity_is_used_for_tokens():
    identity = {"CLIENT_ID": "a", "CLIENT_SECRET": "b", "PLATFORM_URL": "https://p.example"}
    with override_settings(LABS_ANALYTICS={"IDENTITY": identity, "PRODUCT": "CLUBS"}):
        options = get_client()._options
    assert isinstance(options.provider, IdentityTokens)
    assert options.provider._address.host == "p.example"
    assert options.address.host == "analytics.pennlabs.org"


def test_without_settings_the_credentials_of_django_labs_accounts_are_used(monkeypatch):
    assert get_client() is None
    accounts = {"CLIENT_ID": "a", "CLIENT_SECRET": "b", "PLATFORM_URL": "https://p.example"}
    with override_settings(PLATFORM_ACCOUNTS=accounts, LABS_ANALYTICS={}):
        assert get_client()._options.provider._address.host == "p.example"
        assert isinstance(get_analytics_recorder(Product.CLUBS), LabsAnalyticsRecorder)
    monkeypatch.setenv("LABS_CLIENT_ID", "a")
    monkeypatch.setenv("LABS_CLIENT_SECRET", "b")
    with override_settings(LABS_ANALYTICS={}):
        assert get_client()._options.provider._address.host == "platform.pennlabs.org"
        assert get_client()._options.address.host == "analytics.pennlabs.org"


def test_recorders_are_local_without_credentials_and_off_when_told(capsys):
    assert isinstance(get_analytics_recorder(Product.CLUBS, off=True), OffAnalyticsRecorder)
    with override_settings(LABS_ANALYTICS=GOOD | {"OFF": True}):
        assert isinstance(get_analytics_recorder(Product.CLUBS), OffAnalyticsRecorder)
        LabsAnalyticsRecorder(Product.CLUBS).submit([{"key": "a", "value": "1"}])
    local = get_analytics_recorder(Product.CLUBS)
    assert isinstance(local, LocalAnalyticsRecorder)
    local.submit([{"key": "a", "value": "1"}], pennkey="jdoe")
    assert "{'product': 10, 'pennkey': 'jdoe', 'timestamp': " in capsys.readouterr().out


def test_settings_of_earlier_tests_are_not_kept():
    for number in range(5):
        with override_settings(LABS_ANALYTICS=GOOD | {"QUEUE_COUNT": 100 + number}):
            assert get_client()._options.queue_count == 100 + number
    assert len(conf._configs) <= 1
