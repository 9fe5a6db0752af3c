"""One run of wrk. What was not answered with 2xx makes the run invalid, not slower."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import requests

SCRIPT = Path(__file__).resolve().parents[1] / "load.lua"
ERRORS = ["connect", "read", "write", "status", "timeout"]


class Invalid(Exception):
    """The round measured something else than it should have."""


@dataclass
class Load:
    """What is sent where. `corpus` is a file of corpus.write(); times are in seconds."""

    url: str
    path: str
    token: str
    corpus: Path
    connections: int

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
                allow_redirects=False,
            )
        if not 200 <= answer.status_code < 300:
            raise Invalid(f"{self.url}{self.path}: {answer.status_code} {answer.text[:500]}")

    def run(self, seconds, rate=0):
        """Gives wrk's result as load.lua prints it. `rate`: requests a second, 0 for as many as
        there can be."""
        threads = min(os.cpu_count(), self.connections)
        done = subprocess.run(
            [
                *("wrk", "--threads", str(threads), "--connections", str(self.connections)),
                *("--duration", f"{seconds}s", "--timeout", "20s"),
                *("--script", SCRIPT, self.url, "--"),
                *(self.corpus, self.path, self.token, str(rate / threads)),
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 120,
        )
        told = [line for line in done.stdout.splitlines() if line.startswith("result ")]
        if done.returncode != 0 or not told:
            raise Invalid(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
        result = json.loads(told[-1].removeprefix("result "))
        failed = {name: result[name] for name in ERRORS if result[name] > 0}
        if failed or result["requests"] == 0:
            raise Invalid(f"{self.url}{self.path}: {failed} of {result['requests']} requests")
        return result
