"""Durable acknowledgements a second: single transactions of 10 datapoints on keep-alive
connections, token checked, fsync, over nginx that answers the same requests with a static 202.

At 256, 64 and 16 connections with the store away, so that the request's path is measured alone;
and at 256 while the engine forwards into its embedded store on the same cores.
"""

import sys

from lib import corpus, engines
from lib.load import Load
from lib.nginx import Nginx
from lib.program import run
from lib.rounds import Line, finish, take_turns


def compare(settings, name, connections, nginx, bodies, **options):
    engine = engines.start(settings, name.replace(" ", "-"), **options)
    ours = Load(engine.url, "/analytics", engine.token(), bodies, connections)
    theirs = Load(nginx.url, "/analytics", engine.token(), bodies, connections)
    ours.probe()
    theirs.probe()

    def measure_engine():
        with engines.accepting(engine, 1, connections) as result:
            result |= ours.run(settings.seconds)
        return result["requests"] / result["seconds"]

    def measure_nginx():
        result = theirs.run(settings.seconds)
        return result["requests"] / result["seconds"]

    figures = take_turns(settings, {"engine": measure_engine, "nginx": measure_nginx})
    engine.stop()
    return finish(Line(name, "1/s", figures["engine"], figures["nginx"], "nginx 202"))


def measure(settings):
    bodies = corpus.write(corpus.transactions(), settings.folder / "transactions")
    nginx = Nginx(settings.folder / "nginx")
    settings.stack.callback(nginx.stop)
    away = {"DATABASE_URL": engines.no_store()}
    lines = [
        compare(settings, f"acks, {count} connections", count, nginx, bodies, **away)
        for count in (256, 64, 16)
    ]
    lines.append(compare(settings, "acks, 256, forwarding", 256, nginx, bodies))
    return lines


if __name__ == "__main__":
    sys.exit(run(__doc__, {"acks": measure}))
