"""One engine: the built binary with a data directory of its own, and how a test talks to it.

Options are given by their environment names: Engine(folder, WORKERS=1, DURABILITY="os"). The
engine sees no other environment and no `.env`. Methods are safe to call from several threads,
except those that start and end it.

With provider=Provider() the engine's tokens are the provider's, and JWKS_URL names it.

Making a signing key takes longer than all else at a start, so engines are given one that is made
once, unless a test asks for own_key=True.
"""

import functools
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time

import psycopg
import psycopg.rows
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from support import guard, instrumented
from support.paths import BINARY
from support.wait import wait_until

LISTENING = re.compile(r"listening on (\S+), store")
METRIC = re.compile(r"^(\w+)(\{[^}]*\})? (\S+)", re.MULTILINE)
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:")
VALGRIND_FAULT = 99
VALGRIND = [
    "valgrind",
    "--quiet",
    f"--error-exitcode={VALGRIND_FAULT}",
    "--leak-check=full",
    "--show-leak-kinds=definite,indirect",
    "--errors-for-leak-kinds=definite,indirect",
]
# Kept from the test's own environment: what finds programs and what sanitizers read.
INHERITED = ["PATH", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_PRELOAD"]

EVENTS = (
    "SELECT transaction_id, product, pennkey, datapoint, value, timestamp, received_at "
    "FROM event ORDER BY id"
)


def a_transaction(datapoints=2, **members):
    """A valid body for POST /analytics; keyword arguments add or replace members."""
    return {
        "product": "CLUBS",
        "pennkey": "jdoe",
        "timestamp": time.time(),
        "data": [{"key": f"club.visit.{n}", "value": f"value {n}"} for n in range(datapoints)],
    } | members


@functools.cache
def _a_key():
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Engine:
    def __init__(
        self,
        folder,
        listen="127.0.0.1:0",
        valgrind=None,
        arguments=(),
        own_key=False,
        ca_file=None,
        provider=None,
        **options,
    ):
        self.provider = provider
        self.folder = folder
        self.own_key = own_key
        self.data_dir = folder / "data"
        self.listen = listen
        self.ca_file = ca_file
        if provider is not None:
            options = {"JWKS_URL": provider.jwks_url, "CA_FILE": provider.ca_file or ""} | options
        self.options = {name: str(value) for name, value in options.items()}
        self.arguments = list(arguments)
        self.valgrind = instrumented.VALGRIND if valgrind is None else valgrind
        self.patience = 10 if self.valgrind else 4 if instrumented.SANITIZED else 1
        self.log_file = folder / "engine.log"
        self.process = None
        self.address = self.tls_address = None
        self.exit_code = None
        self._log_start = 0
        self._tokens = {}
        self._local = threading.local()
        folder.mkdir(parents=True, exist_ok=True)

    # -- its life

    @property
    def environment(self):
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return inherited | {"DATA_DIR": str(self.data_dir)} | self.options

    def command(self, *words, check=True, timeout=60, stdout=subprocess.PIPE, **environment):
        """Runs `labs-analytics WORDS...` on the same options; gives the finished process."""
        done = subprocess.run(
            [BINARY, *map(str, words)],
            cwd=self.folder,
            env=self.environment | {name: str(value) for name, value in environment.items()},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{words} ended with {done.returncode}: {done.stderr}")
        return done

    def _give_key(self):
        key = self.data_dir / "development-key.pem"
        if self.own_key or self.provider is not None or key.exists():
            return
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        key.touch(mode=0o600)
        key.write_bytes(_a_key())

    def launch(self):
        """Starts the process and waits for nothing."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        self._give_key()
        prefix = VALGRIND if self.valgrind else []
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        self.exit_code = self.address = self.tls_address = None
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, BINARY, "serve", "--listen", self.listen, *self.arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        guard.watch(self.process)
        return self

    def start(self, timeout=30):
        """Starts it and waits until it answers."""
        self.launch()

        def has_an_address():
            code = self.process.poll()
            return code is not None or LISTENING.search(self.log)

        wait_until(has_an_address, timeout * self.patience, "the engine's address in its log")
        found = LISTENING.search(self.log)
        assert found, f"the engine ended with {self.process.poll()}:\n{self.log}"
        self._read_addresses(found[1])
        wait_until(
            lambda: self.get("/livez", token=None).status_code == 200,
            timeout * self.patience,
            "/livez",
        )
        return self

    def _read_addresses(self, listed):
        """The first plain one and the first that speaks TLS, as a client on this machine asks."""
        listed = listed.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:").split(",")
        secure = [one.removeprefix("https://") for one in listed if one.startswith("https://")]
        plain = [one for one in listed if not one.startswith("https://")]
        self.address = plain[0] if plain else None
        self.tls_address = secure[0] if secure else None

    def wait_until_ready(self, timeout=30):
        """Waits until it has keys to check tokens with."""
        self.wait_until(
            lambda: self.get("/readyz", token=None).status_code == 200, timeout, "/readyz"
        )
        return self

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait_for_exit(self, timeout=30):
        self.exit_code = self.process.wait(timeout * self.patience)
        return self.exit_code

    def stop(self, timeout=30, expect=0):
        """SIGTERM, as an operator would; gives the exit code and checks it (None: any)."""
        if self.exit_code is None:
            self.signal(signal.SIGTERM)
            self.wait_for_exit(timeout)
        assert expect is None or self.exit_code == expect, (
            f"the engine ended with {self.exit_code}:\n{self.log[-8000:]}"
        )
        return self.exit_code

    def kill9(self):
        self.process.kill()
        self.wait_for_exit()

    def restart(self, **options):
        """Stops it (unless it is dead) and starts it again, with these options changed. With
        the default address it comes up on another port."""
        if self.running:
            self.stop()
        self.options |= {name: str(value) for name, value in options.items()}
        return self.start()

    def finish(self):
        """What the fixture does at the end: an engine that still runs must stop cleanly, and
        no sanitizer may have spoken in any of its lives."""
        try:
            if self.running:
                self.stop()
        finally:
            if self.running:
                self.process.kill()
                self.process.wait()
        found = SANITIZER.search(self.full_log)
        assert not found, self.full_log[found.start() : found.start() + 8000]
        assert self.exit_code != VALGRIND_FAULT, self.log[-8000:]

    # -- what it says

    @property
    def full_log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def log(self):
        """The log since the last start."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def wait_for_log(self, pattern, timeout=30):
        """Waits for a line that matches since the last start; gives the match."""
        wanted = re.compile(pattern)
        return wait_until(
            lambda: wanted.search(self.log), timeout * self.patience, f"{pattern!r} in the log"
        )

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024

    # -- talking to it

    @property
    def url(self):
        """Plain if it has such an address; `ca_file` is what is trusted where it has none."""
        assert self.address or self.tls_address, "the engine has not been started"
        return f"http://{self.address}" if self.address else self.tls_url

    @property
    def tls_url(self):
        return f"https://{self.tls_address}"

    def token(self, urn=None, ttl=None):
        """A token of the development issuer, or of the provider; the same one for the same
        arguments."""
        if self.provider is not None and (urn, ttl) not in self._tokens:
            self._tokens[urn, ttl] = self.provider.token(**({"sub": urn} if urn else {}))
        if (urn, ttl) not in self._tokens:
            words = ["token"]
            words += ["--urn", urn] if urn else []
            words += ["--ttl", ttl] if ttl else []
            self._tokens[urn, ttl] = self.command(*words).stdout.strip()
        return self._tokens[urn, ttl]

    def forget_tokens(self):
        self._tokens.clear()

    def _session(self):
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
            self._local.session.verify = str(self.ca_file) if self.ca_file else True
        return self._local.session

    def request(self, method, path, token="own", headers=None, timeout=30, **arguments):
        """`token`: "own" sends one of the development issuer, None sends none."""
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {self.token() if token == 'own' else token}"
        return self._session().request(
            method,
            self.url + path,
            headers=headers,
            timeout=timeout * self.patience,
            **arguments,
        )

    def get(self, path, **arguments):
        return self.request("GET", path, **arguments)

    def post(self, body, path="/analytics", **arguments):
        """Posts bytes or text as they are, and anything else as JSON."""
        if isinstance(body, (bytes, str)):
            data = body.encode() if isinstance(body, str) else body
            headers = {"Content-Type": "application/json"} | dict(arguments.pop("headers", {}))
            return self.request("POST", path, data=data, headers=headers, **arguments)
        return self.request("POST", path, json=body, **arguments)

    def accept(self, **members):
        """Stores one valid transaction and gives its id."""
        answer = self.post(a_transaction(**members))
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def status(self):
        answer = self.get("/v1/status")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def counts(self):
        """status()["transactions"], checked to reconcile."""
        counts = self.status()["transactions"]
        parts = counts["uncompleted"] + counts["successful"] + counts["failed"]
        assert counts["accepted"] == parts, counts
        return counts

    def transaction(self, identity):
        answer = self.get(f"/v1/transactions/{identity}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def metrics(self):
        """{'name{label="value"}': number}"""
        answer = self.get("/metrics", token=None)
        assert answer.status_code == 200, answer.text
        found = METRIC.findall(answer.text)
        return {name + labels: float(value) for name, labels, value in found}

    def wait_until(self, condition, timeout=30, what=None):
        return wait_until(condition, timeout * self.patience, what)

    def wait_until_stored(self, timeout=60):
        """Waits until nothing is uncompleted; gives the counts."""

        def nothing_waits():
            counts = self.counts()
            return counts if counts["uncompleted"] == 0 else None

        return self.wait_until(nothing_waits, timeout, "everything to be stored or failed")

    # -- what the store has

    def events(self):
        """The rows of the table `event` as dicts, in the order of their ids."""
        return self.query(EVENTS)

    def events_of(self, identity, timeout=30):
        """The rows of one transaction, waited for."""
        where = f"WHERE transaction_id = '{identity}' ORDER BY id"
        sql = EVENTS.replace("ORDER BY id", where)
        return self.wait_until(lambda: self.query(sql), timeout, f"the rows of {identity}")

    def stored_ids(self):
        """{transaction id: rows}, read from the store."""
        counted = self.query("SELECT transaction_id, count(*) AS n FROM event GROUP BY 1")
        return {row["transaction_id"]: row["n"] for row in counted}

    def query(self, sql):
        url = self.options.get("DATABASE_URL", f"sqlite:{self.data_dir}/events.db")
        if url.startswith("sqlite:"):
            database = sqlite3.connect(f"file:{url.removeprefix('sqlite:')}?mode=ro", uri=True)
            database.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in database.execute(sql)]
            finally:
                database.close()
        with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as database:
            return database.execute(sql).fetchall()
