"""One run of wrk. What was not answered with 2xx makes the run invalid, not slower."""

import contextlib
import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import requests
from support import guard

SCRIPT = Path(__file__).resolve().parents[1] / "load.lua"
ERRORS = ["connect", "read", "write", "status", "timeout"]
LEAST = 0.95  # of a rate must be reached, or it was not that rate


class Invalid(Exception):
    """The round measured something else than it should have."""


def reached(result, rate):
    """Whether wrk's result is of that rate; says so if not."""
    found = result["requests"] / result["seconds"]
    if found < LEAST * rate:
        print(f"  (only {found:.0f} of {rate:.0f} requests a second)", flush=True)
    return found >= LEAST * rate


@dataclass
class Load:
    """What is sent where. `corpus` is a file of corpus.write(), `ca_file` what probe() trusts;
    times are in seconds."""

    url: str
    path: str
    token: str
    corpus: Path
    connections: int
    ca_file: Path | None = None

    def probe(self):
        """Posts the first body once and demands 2xx. wrk itself notices 4xx and 5xx only."""
        with self.corpus.open() as bodies, requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                self.url + self.path,
                data=bodies.readline().encode(),
                headers={
                    "Content-Type": "application/json",
                    "Authorization": f"Bearer {self.token}",
                },
                timeout=30,
                verify=str(self.ca_file) if self.ca_file else True,
                allow_redirects=False,
            )
        if not 200 <= answer.status_code < 300:
            raise Invalid(f"{self.url}{self.path}: {answer.status_code} {answer.text[:500]}")

    def run(self, seconds, rate=0):
        """Gives wrk's result as load.lua prints it. `rate`: requests a second, 0 for as many as
        there can be."""
        process = self._start(seconds, rate)
        try:
            return self._result(process, seconds + 120)
        finally:
            process.kill()

    @contextlib.contextmanager
    def running(self, rate=0, longest=300):
        """Sends while the body of the `with` runs, `longest` at most; wrk's result is then in the
        dict that it gets. The body waits for what it needs to be sent."""
        process = self._start(longest, rate)
        result = {}
        try:
            yield result
            if process.poll() is not None:
                raise Invalid("wrk ended before it was told to")
            process.send_signal(signal.SIGINT)
            result |= self._result(process, 60)
        finally:
            process.kill()

    def _start(self, seconds, rate):
        threads = min(os.cpu_count(), self.connections)
        process = subprocess.Popen(
            [
                *("wrk", "--threads", str(threads), "--connections", str(self.connections)),
                *("--duration", f"{seconds}s", "--timeout", "20s"),
                *("--script", SCRIPT, self.url, "--"),
                *(self.corpus, self.path, self.token, str(rate / threads)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        guard.watch(process)
        return process

    def _result(self, process, patience):
        output, _ = process.communicate(timeout=patience)
        told = [line for line in output.splitlines() if line.startswith("result ")]
        if process.returncode != 0 or not told:
            raise Invalid(f"wrk ended with {process.returncode}: {output}")
        result = json.loads(told[-1].removeprefix("result "))
        failed = {name: result[name] for name in ERRORS if result[name] > 0}
        if failed or result["requests"] == 0:
            raise Invalid(f"{self.url}{self.path}: {failed} of {result['requests']} requests")
        return result
