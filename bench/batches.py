"""Datapoints a second through /v1/transactions, in batches of 1,000 transactions of 10, fsync,
over nginx that reads the same bodies to their end and answers a static 202. The store is away.
"""

import sys

from lib import corpus, engines
from lib.load import Load
from lib.nginx import Nginx
from lib.program import run
from lib.rounds import Line, at_least, finish, take_turns

CONNECTIONS = 8  # enough to keep every core busy: a body takes milliseconds
PATH = "/v1/transactions"


def measure(settings):
    texts = corpus.batches()
    bodies = corpus.write(texts, settings.folder / "batches")
    nginx = Nginx(settings.folder / "nginx")
    settings.stack.callback(nginx.stop)
    # Half a GiB a second came in when this was written: more than the default holds in the end.
    room = f"{max(8, (settings.rounds + 1) * settings.seconds)}GiB"
    away = {"DATABASE_URL": engines.no_store(), "QUEUE_MAX_BYTES": room}
    engine = engines.start(settings, "engine", **away)
    ours = Load(engine.url, PATH, engine.token(), bodies, CONNECTIONS)
    theirs = Load(nginx.url, PATH, engine.token(), bodies, CONNECTIONS)
    ours.probe()
    theirs.probe()
    answered_by_nginx = 0

    def rate(result):
        return result["requests"] * corpus.BATCH * corpus.DATAPOINTS / result["seconds"]

    def measure_engine():
        with engines.accepting(engine, corpus.BATCH, CONNECTIONS) as result:
            result |= ours.run(settings.seconds)
        return rate(result)

    def measure_nginx():
        nonlocal answered_by_nginx
        result = theirs.run(settings.seconds)
        answered_by_nginx += result["requests"]
        return rate(result)

    figures = take_turns(settings, {"engine": measure_engine, "nginx": measure_nginx})
    nginx.stop()
    nginx.check_taken(answered_by_nginx, min(map(len, texts)))
    name, unit = "batches of 1,000", "datapoints/s"
    reach = (at_least(0.3), at_least(2_000_000, absolute=True))
    line = Line(name, unit, figures["engine"], figures["nginx"], "nginx 202", reach=reach)
    return [finish(line)]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"batches": measure}))
