"""The transactions that are sent: distinct ones, the same in every run.

Users, keys and values follow Zipf's law (the n-th most frequent is n times rarer than the
first), as names and pages do: caches and branch predictors meet what they meet in use. Bodies
are written as Python's JSON clients write them, with a space behind comma and colon.
"""

import itertools
import json
import random

SEED = 20260921
TRANSACTIONS = 20000
DATAPOINTS = 10
BATCH = 1000
USERS, KEYS, VALUES = 20000, 300, 50000
STARTED = 1790000000

PRODUCTS = [
    *("PORTAL", "MOBILE_IOS", "PCR", "PCP", "CLUBS", "MOBILE_ANDROID", "OHQ", "PDP", "PCA"),
    *("MOBILE_BACKEND", "OTHER"),
]
AREAS = ["club", "course", "dining", "gsr", "laundry", "queue", "review", "home", "plan", "fair"]
ACTIONS = ["visit", "search", "open", "click", "filter", "save", "share", "join", "leave", "rate"]
WORDS = ["penn-labs", "robotics", "cis-1200", "hill-house", "spring", "math-1400", "chess", "1920"]


def _zipf(count):
    return list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))


class _Pool:
    """Texts of which the first are drawn most often."""

    def __init__(self, chance, texts):
        self.chance = chance
        self.texts = texts
        self.weights = _zipf(len(texts))

    def draw(self, count):
        return self.chance.choices(self.texts, cum_weights=self.weights, k=count)


def transactions(count=TRANSACTIONS):
    """`count` bodies for POST /analytics, as text."""
    chance = random.Random(SEED)
    users = _Pool(chance, [f"user{number}" for number in range(USERS)])
    products = _Pool(chance, PRODUCTS)
    keys = _Pool(
        chance,
        [
            f"{AREAS[n % 10]}.{ACTIONS[n // 10 % 10]}" + (f".{n // 100}" if n >= 100 else "")
            for n in range(KEYS)
        ],
    )
    values = _Pool(chance, [f"{WORDS[n % 8]}" + (f"-{n}" if n >= 8 else "") for n in range(VALUES)])
    made = []
    for number in range(count):
        pairs = zip(keys.draw(DATAPOINTS), values.draw(DATAPOINTS), strict=True)
        made.append(
            json.dumps(
                {
                    "product": products.draw(1)[0],
                    "pennkey": users.draw(1)[0],
                    "timestamp": STARTED + number / 128,  # exact in binary: no long fractions
                    "data": [{"key": key, "value": value} for key, value in pairs],
                }
            )
        )
    return made


def batches():
    """Bodies for POST /v1/transactions of BATCH transactions each, as text."""
    made = transactions()
    return [f"[{', '.join(made[at : at + BATCH])}]" for at in range(0, len(made), BATCH)]


def write(bodies, path):
    """A file with a body a line, as load.lua reads it; gives its path."""
    path.write_text("\n".join(bodies) + "\n")
    return path
