"""The engine as it is measured: its defaults, and a store that is there or is not."""

import contextlib
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from support import ports
from support.engine import Engine

from lib import corpus
from lib.load import Invalid

FILLERS = 3  # connections
LOOK_AGAIN_S, SETTLED_WITHIN_S = 0.05, 10


def no_store():
    """The URL of a store that is down: nobody listens there, nor will."""
    return f"postgres://labs:labs@127.0.0.1:{ports.take()}/none"


def start(settings, name, **options):
    """An engine that runs until the measurement ends."""
    # Nothing is to be forwarded when it stops: the measurement is over by then.
    engine = Engine(settings.folder / name, **({"SHUTDOWN_TIMEOUT": "0"} | options))
    settings.stack.callback(engine.finish)
    return engine.start()


def _accepted(engine):
    """Once nothing more of what wrk left behind comes in."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    count = -1
    while True:
        last, count = count, engine.status()["transactions"]["accepted"]
        if count == last:
            return count
        if time.monotonic() > deadline:
            raise Invalid("transactions go on coming in")
        time.sleep(LOOK_AGAIN_S)


@contextlib.contextmanager
def accepting(engine, transactions_per_request, connections):
    """Checks that the engine accepted what was sent within: the body of the `with` puts wrk's
    result into the dict that it gets. wrk leaves its last requests unread."""
    before = _accepted(engine)
    result = {}
    yield result
    accepted = _accepted(engine) - before
    least = result["requests"] * transactions_per_request
    most = least + connections * transactions_per_request
    if not least <= accepted <= most:
        raise Invalid(f"{accepted} transactions were accepted, not {least} to {most}")


def fill(engine, datapoints, ids=False):
    """Has the engine accept so many datapoints, in batches, each of them once; with an id of the
    client's in each transaction if wanted."""
    bodies = corpus.batches()

    def send(number):
        body = bodies[number % len(bodies)]
        if ids:
            first, *rest = body.split('{"product"')
            body = first + "".join(f'{{"id": "{uuid4()}", "product"{part}' for part in rest)
        answer = engine.post(body.encode(), "/v1/transactions")
        # Its first words; parsing a thousand results would take as long as the engine does.
        wanted = b'{"accepted":%d,' % corpus.BATCH
        if answer.status_code != 202 or not answer.content.startswith(wanted):
            raise Invalid(f"a batch was answered with {answer.status_code}: {answer.text[:500]}")

    engine.token()
    with ThreadPoolExecutor(FILLERS) as fillers:
        for _ in fillers.map(send, range(datapoints // (corpus.BATCH * corpus.DATAPOINTS))):
            pass


def log_files(engine):
    """The files of the queue that hold records, without the spare ones."""
    files = (engine.data_dir / "queue").iterdir()
    return sorted(file for file in files if not file.name.startswith("spare"))


def memory(processes, field="VmRSS"):
    """MiB of all these processes; VmHWM is the most that VmRSS ever was."""
    total = 0
    for process in processes:
        with open(f"/proc/{process}/status") as status:
            total += int(re.search(rf"{field}:\s+(\d+) kB", status.read())[1])
    return total / 1024


def with_children(process):
    """The ids of a process, by its own, and of those that it has started."""
    with open(f"/proc/{process}/task/{process}/children") as children:
        return [process, *map(int, children.read().split())]


def cpu_seconds(processes):
    """Of the cores, by all threads of these processes so far, to the nanosecond."""
    # The kernel's number of the clock of a process: see clock_getcpuclockid(3).
    return sum(time.clock_gettime(~process << 3 | 2) for process in processes)


def copy_of(folder, target):
    """A copy of a data directory, on the disk and not on its way there."""
    shutil.copytree(folder, target)
    os.sync()
    return target
