"""What submit() of the Python client adds to the request of its caller, beside the package that
products use today: with the engine up, and with it stopped.
"""

import json
import os
import statistics
import subprocess
import sys

from lib import engines
from lib.load import Invalid
from lib.program import run
from lib.rounds import Line, at_most, finish, take_turns
from support import ports
from support.paths import ROOT

PYTHON = ROOT / ".venv-client/bin/python"
PROGRAM = ROOT / "bench/client_calls.py"


def calls(settings, side, engine, is_up):
    """The median of a call, in microseconds."""
    key = engine.data_dir / "development-key.pem"
    words = [PYTHON, PROGRAM, side, engine.url, engine.token(), key, settings.seconds]
    done = subprocess.run(
        list(map(str, words)),
        env=os.environ | {"PYTHONPATH": str(ROOT / "clients/python/src")},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise Invalid(f"{side} ended with {done.returncode}: {done.stderr[-2000:]}")
    result = json.loads(done.stdout)
    wanted = result["calls"] if is_up else 0
    if result["sent"] != wanted:
        raise Invalid(f"{side}: {result['sent']} of {result['calls']} transactions were sent")
    return statistics.median(result["us"])


def measure(settings):
    port = ports.take()
    up = engines.start(settings, "up")
    stopped = engines.start(settings, "stopped", listen=f"127.0.0.1:{port}")
    stopped.token()
    stopped.stop()
    figures = take_turns(
        settings,
        {
            "ours": lambda: calls(settings, "ours", up, True),
            "published": lambda: calls(settings, "published", up, True),
            "ours, stopped": lambda: calls(settings, "ours", stopped, False),
            "published, stopped": lambda: calls(settings, "published", stopped, False),
        },
        warm_up=False,
    )
    ours, ours_stopped = figures["ours"], figures["ours, stopped"]
    published, published_stopped = figures["published"], figures["published, stopped"]
    up_name, stopped_name, name = "submit, engine up", "submit, engine stopped", "published package"
    short, same = (at_most(0.1), at_most(10, absolute=True)), (at_most(1.0),)
    lines = [
        Line(up_name, "us", ours, published, name, 1, short),
        Line(stopped_name, "us", ours_stopped, published_stopped, name, 1),
        Line(stopped_name, "us", ours_stopped, ours, "engine up", 1, same),
    ]
    return [finish(line) for line in lines]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"client": measure}))
