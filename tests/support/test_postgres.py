"""The throwaway PostgreSQL survives what the fault tests do to it."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from support.paths import ROOT
from support.wait import wait_until

OWNER = """
import sys
from support.postgres import Postgres
print(Postgres().folder, flush=True)
sys.stdin.read()
"""


def write(url, sql):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)


def test_a_database_survives_a_kill(postgres):
    write(postgres.url(), "CREATE TABLE t AS SELECT 7 AS n")
    postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.url(), connect_timeout=5)
    postgres.start()
    assert postgres.ask("SELECT n FROM t") == [{"n": 7}]


def test_a_database_survives_a_stop(postgres):
    write(postgres.url(), "CREATE TABLE t AS SELECT 8 AS n")
    postgres.stop()
    assert not postgres.running
    postgres.start()
    assert postgres.ask("SELECT n FROM t") == [{"n": 8}]


def test_each_test_has_an_empty_database(postgres):
    assert postgres.ask("SELECT * FROM pg_tables WHERE schemaname = 'public'") == []
    assert len(postgres.databases) == 1


def test_the_proxy_stands_in_front_of_it(postgres, proxy):
    url = postgres.url(port=proxy.port)
    write(url, "CREATE TABLE t AS SELECT 9 AS n")
    sprung = proxy.cut_on(b"CREATE TABLE\0", "to client")
    with pytest.raises(psycopg.OperationalError):
        write(url, "CREATE TABLE u AS SELECT 10 AS n; CREATE TABLE v (n int)")
    assert sprung.wait(10)
    assert postgres.ask("SELECT n FROM u") == [{"n": 10}]


def test_a_paused_server_goes_on(postgres):
    postgres.pause()
    postgres.resume()
    assert postgres.ask("SELECT 1 AS one") == [{"one": 1}]


def test_nothing_of_it_is_left_by_a_killed_process():
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    folder = Path(owner.stdout.readline().rstrip())
    assert (folder / "data").is_dir()
    owner.kill()
    owner.wait()
    owner.stdin.close()
    owner.stdout.close()
    wait_until(lambda: not folder.exists(), what="the removal of its folder")
