"""Acknowledgements a second while 5,000 connections send a byte a second each, over the same
without them, on one engine. The slow clients send from the same cores; what that takes is told.
"""

import sys

from lib import corpus, engines
from lib.load import Invalid, Load
from lib.program import run
from lib.rounds import Line, finish, take_turns
from support.drip import Drip

SLOW, HONEST = 5000, 64


def measure(settings):
    bodies = corpus.write(corpus.transactions(), settings.folder / "transactions")
    # Their time is not up before the round is: all of them are there all the time.
    patient = {"HEADER_TIMEOUT": "1h", "BODY_TIMEOUT": "1h"}
    engine = engines.start(settings, "slow", DATABASE_URL=engines.no_store(), **patient)
    load = Load(engine.url, "/analytics", engine.token(), bodies, HONEST)
    load.probe()
    shares = []

    def alone():
        result = load.run(settings.seconds)
        return result["requests"] / result["seconds"]

    def beside():
        with Drip(engine.address, SLOW, engine.token()) as drip:
            figure = alone()
        if drip.told["cut"] > 0 or drip.told["sent"] < 0.9 * SLOW * drip.told["seconds"]:
            raise Invalid(f"the slow connections were not slow: {drip.told}")
        shares.append(drip.told["cpu_share"])
        engine.wait_until(lambda: engine.metrics()["labs_analytics_http_connections"] < HONEST)
        return figure

    figures = take_turns(settings, {"beside": beside, "alone": alone})
    print(f"  sending for the slow ones took {max(shares):.2f} of a core at most", flush=True)
    return [
        finish(Line("slow connections", "1/s", figures["beside"], figures["alone"], "without them"))
    ]


if __name__ == "__main__":
    sys.exit(run(__doc__, {"slow": measure}))
