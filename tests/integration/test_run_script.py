"""scripts/run says how to use what it has started. It runs on a built engine here: what installs
and builds is left out."""

import contextlib
import os
import shutil
import subprocess

import pytest
from support import guard
from support.certificates import Authority
from support.paths import BINARY, ROOT


@pytest.fixture
def run(tmp_path):
    """Runs it in a checkout of its own, with these options; gives the process."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "build").mkdir()
    shutil.copy(ROOT / "scripts/run", tmp_path / "scripts")
    for name in ["setup", "build"]:
        (tmp_path / "scripts" / name).write_text("#!/bin/sh\n")
        (tmp_path / "scripts" / name).chmod(0o755)
    (tmp_path / "build/labs-analytics").symlink_to(BINARY)
    with contextlib.ExitStack() as stack:

        def start(**options):
            process = subprocess.Popen(
                [tmp_path / "scripts/run"],
                env={"PATH": os.environ["PATH"], "LISTEN": "127.0.0.1:0"} | options,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            guard.watch(process)
            stack.enter_context(process)
            stack.callback(process.terminate)  # SIGINT may be ignored, as by what nohup starts
            return process

        yield start


def told_curl(process):
    """What the curl that it prints gives."""
    for line in process.stdout:
        if line.startswith("curl "):
            done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
            return done.stdout + done.stderr
    raise AssertionError("it ended and printed no curl")


def test_the_curl_that_it_prints_stores_a_transaction(run):
    assert "Data stored" in told_curl(run())


def test_the_curl_that_it_prints_speaks_tls_where_the_engine_does(run, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    Authority(tmp_path / "ca.pem").issue(certificate, key)
    assert "Data stored" in told_curl(run(TLS_CERT=str(certificate), TLS_KEY=str(key)))


@pytest.mark.parametrize("level", ["warning", "error"])
def test_a_log_that_does_not_tell_the_address_is_told_of(run, level):
    assert f"LOG_LEVEL={level}" in run(LOG_LEVEL=level).stdout.readline()


def test_a_wrong_option_is_told_as_the_engine_tells_it(run):
    assert "WORKERS" in run(WORKERS="two").stdout.read()
