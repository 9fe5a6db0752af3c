"""What happens to the workers of this process when it forks and when it ends.

A forked child forgets its parent's workers; the first transaction of each client makes a new one.
(uWSGI forks without telling Python: there clients look at the number of their process.)

A process that ends sends what is queued, within each client's exit_timeout. Most ends are
atexit's; children of multiprocessing and Celery leave without it and tell those who asked them.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any, List, Set

from labs_analytics.worker import Worker, see_out

_workers: Set[Worker] = set()
_hooked_in = 0  # the process that has the hooks of those below


def enroll(worker: Worker) -> None:
    """Its process must not end without it."""
    _workers.add(worker)
    _hook()


def dismiss(worker: Worker) -> None:
    """It is closed."""
    _workers.discard(worker)


def end_all(*_: Any, **__: Any) -> None:
    """Closes all workers of this process at once, not one after the other."""
    mine = [worker for worker in list(_workers) if worker.pid == os.getpid()]
    _workers.clear()
    try:
        for worker in mine:
            worker.end(worker.exit_timeout)
    finally:
        _join_all(mine)


def _join_all(workers: List[Worker]) -> None:
    """A second signal, whose handler raises here, ends the waiting: what is left of each goes to
    its spool at once."""
    try:
        for worker in workers:
            worker.wait()
    finally:
        see_out(workers)


def _hook() -> None:
    global _hooked_in
    if _hooked_in == os.getpid():
        return
    _hooked_in = os.getpid()
    if _is_forked_by_multiprocessing():
        sys.modules["multiprocessing.util"].Finalize(None, end_all, exitpriority=100)
    celery = sys.modules.get("celery.signals")
    if celery is not None:
        celery.worker_process_shutdown.connect(end_all, weak=False)


def _is_forked_by_multiprocessing() -> bool:
    """In all other processes atexit comes, and later: multiprocessing's own handler may run before
    those of the program."""
    multiprocessing = sys.modules.get("multiprocessing")
    if "multiprocessing.util" not in sys.modules or multiprocessing is None:
        return False
    is_child = multiprocessing.parent_process() is not None
    return is_child and multiprocessing.get_start_method(allow_none=True) != "spawn"


def _after_fork() -> None:
    for worker in list(_workers):
        worker.forget()
    _workers.clear()


# Now, and not at the first event: handlers run in the reverse of the order in which they were
# registered, and those of the program, which may record something, shall come before this one.
atexit.register(end_all)  # a child inherits it
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
