"""The published package django-labs-accounts, unmodified, against the engine: products as they are
today. It gets its tokens from the identity provider, which signs them without a kid and with
fractional dates, and posts to its own fixed URL over TLS."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import guard
from support.certificates import Authority
from support.provider import Provider

APP = Path(__file__).parent / "products" / "labs_accounts_app.py"
HOST = "analytics.pennlabs.org"


class Product:
    """The Django product in a process of its own; see the file for what it can be told."""

    def __init__(self, provider, engine, ca_file):
        port = engine.tls_address.rsplit(":", 1)[1]
        self.process = subprocess.Popen(
            [sys.executable, APP, provider.url, port, ca_file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        guard.watch(self.process)

    def tell(self, command, count=None):
        line = command if count is None else f"{command} {count}"
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, f"the product ended with {self.process.wait()}"
        assert json.loads(answer) == {"done": command}

    def finish(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def provider():
    provider = Provider()
    provider.expects("clubs", "the secret of clubs", "urn:pennlabs:clubs")
    yield provider
    provider.close()


@pytest.fixture
def engine(engines, provider, tmp_path):
    authority = Authority(tmp_path / "authority.pem")
    cert_file, key_file = tmp_path / "chain.pem", tmp_path / "key.pem"
    authority.issue(cert_file, key_file, names=[HOST, "127.0.0.1"])
    return engines(
        listen="https://127.0.0.1:0,http://127.0.0.1:0",
        ca_file=authority.ca_file,
        provider=provider,
        ENVIRONMENT="PRODUCTION",
        TLS_CERT=cert_file,
        TLS_KEY=key_file,
    )


@pytest.fixture
def product(provider, engine):
    product = Product(provider, engine, engine.ca_file)
    yield product
    product.finish()


def test_every_transaction_of_the_published_package_arrives(engine, provider, product):
    product.tell("submit", 200)
    product.tell("function", 50)
    product.tell("view", 50)
    provider.stop()  # tokens are checked by the keys that are known: writing goes on
    product.tell("submit", 100)
    product.tell("end")

    engine.wait_until(lambda: len(engine.stored_ids()) == 400, what="400 transactions stored")
    rows = engine.events()
    assert {row["product"] for row in rows} == {"CLUBS"}
    sent = [row for row in rows if row["datapoint"].startswith("submit.")]
    assert len(sent) == 300
    awkward = {row["value"] for row in sent}
    assert awkward == {"it's", 'say "hi"', "päälle", "a\\b", "', DROP TABLE event; --", "🎓", ""}
    assert {row["pennkey"] for row in sent} == {f"user{n}" for n in range(200)}
    searched = [row for row in rows if row["datapoint"].endswith("search.searched")]
    assert {row["value"] for row in searched} == {f"words {n}" for n in range(50)}
    assert {row["pennkey"] for row in searched} == {"jdoe"}
    for name, count in [("visit", 50), ("time", 50), ("status", 50)]:
        found = [row for row in rows if row["datapoint"] == f"clubs_list.{name}.get"]
        assert len(found) == count, {row["datapoint"] for row in rows}
