"""Clients that keep writing through every fault, and the account of what they were told.

Each transaction carries a tag of its own in every value and says in `pennkey` how many
datapoints it has, so what the store holds can be judged by content and not only by ids:

    with Load(engine) as load:
        ...faults...
    engine.wait_until_stored()
    load.check(engine.query)

A client that was not answered sends a transaction with an id of its own again until it is, as
backends do; one without is "unsure": it may be stored, once, or not at all. What was answered
with 503 must not be stored, unless the engine dies while its disk fails.
"""

import collections
import http.client
import json
import random
import threading
import time
from dataclasses import dataclass

ROWS = "SELECT transaction_id, pennkey, datapoint, value FROM event"
TORN = (
    "SELECT transaction_id, count(*) AS n, min(pennkey) AS wanted FROM event "
    "GROUP BY transaction_id HAVING count(*) <> CAST(substr(min(pennkey), 2) AS integer)"
)


@dataclass
class Sent:
    tag: str
    count: int  # datapoints
    own_id: bool  # the client chose an id
    state: str = "unsure"  # or "acknowledged", "refused"
    identity: str | None = None  # as acknowledged

    def body(self):
        body = {
            "product": "CLUBS",
            "pennkey": f"k{self.count}",
            "timestamp": time.time(),
            "data": [{"key": f"key.{n}", "value": f"{self.tag}/{n}"} for n in range(self.count)],
        }
        return body | ({"id": self.tag} if self.own_id else {})

    def rows(self):
        return sorted((f"key.{n}", f"{self.tag}/{n}") for n in range(self.count))


class Client(threading.Thread):
    """One connection; single requests, arrays and NDJSON in turn."""

    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load = load
        self.random = random.Random(f"{load.seed} {number}")
        self.number = number
        self.count = 0
        self.connection = None
        self.fault = None

    def run(self):
        try:
            pending = []
            while not self.load.ended.is_set() or pending:
                pending = self._one_request(pending)
                if pending and self.load.given_up.is_set():
                    return
        except BaseException as fault:  # noqa: BLE001 (told by Load.end)
            self.fault = fault
        self._drop()

    def _new(self):
        self.count += 1
        tag = f"{self.load.seed}-{self.number}-{self.count}"
        count = self.random.choice([1, 2, 3, 10])
        return Sent(tag, count, own_id=self.random.random() < self.load.own_ids)

    def _one_request(self, pending):
        """Sends what is still to be answered, or something new; gives what was not answered."""
        sent = pending
        if not sent:
            many = self.random.random() < self.load.batches
            sent = [self._new() for _ in range(self.random.randint(2, 30) if many else 1)]
            self.load.note(sent)
        try:
            status, answer = self._send(sent)
        except (OSError, http.client.HTTPException):
            self._drop()
            self.load.ended.wait(0.01)
            return [one for one in sent if one.own_id]
        if status == 503:
            for one in sent:
                if not pending:  # else the attempt before may have been taken
                    one.state = "refused"
            self.load.ended.wait(0.01)
            return []
        assert status in (200, 202), f"{status}: {answer}"
        results = [answer] if status == 200 else answer["results"]
        self.load.acknowledge(sent, [result["id"] for result in results])
        return []

    def _send(self, sent):
        kind = "array" if len(sent) > 1 else self.random.choice(["single", "array"])
        path, content = "/v1/transactions", "application/json"
        bodies = [one.body() for one in sent]
        if kind == "single":
            path, body = "/analytics", json.dumps(bodies[0])
        elif self.random.random() < 0.5:
            content = "application/x-ndjson"
            body = "".join(json.dumps(one) + "\n" for one in bodies)
        else:
            body = json.dumps(bodies)
        if self.connection is None:
            host, port = self.load.engine.listen.rsplit(":", 1)
            if port == "0":
                host, port = self.load.engine.address.rsplit(":", 1)
            self.connection = http.client.HTTPConnection(host, int(port), timeout=60)
        headers = {"Authorization": f"Bearer {self.load.token}", "Content-Type": content}
        self.connection.request("POST", path, body.encode(), headers)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def _drop(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Load:
    """`own_ids`: share of transactions with the client's id; `batches`: of requests with many."""

    def __init__(self, engine, clients=3, own_ids=0.5, batches=0.3):
        self.engine = engine
        self.seed = f"{random.SystemRandom().randrange(1 << 32):08x}"
        self.token = engine.token()
        self.own_ids, self.batches = own_ids, batches
        self.sent = {}  # by tag
        self.acknowledged = 0
        self.ended = threading.Event()
        self.given_up = threading.Event()
        self._lock = threading.Lock()
        self.clients = [Client(self, number) for number in range(clients)]

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, kind, *_):
        self.end(patience=60 if kind is None else 0)

    def end(self, patience=60):
        """No new transactions; waits until every client has its answers."""
        self.ended.set()
        deadline = time.monotonic() + patience
        for client in self.clients:
            client.join(max(0, deadline - time.monotonic()))
        self.given_up.set()
        for client in self.clients:
            client.join(70)
            if client.fault:
                raise client.fault

    def note(self, sent):
        with self._lock:
            self.sent |= {one.tag: one for one in sent}

    def acknowledge(self, sent, identities):
        assert len(sent) == len(identities)
        with self._lock:
            for one, identity in zip(sent, identities, strict=True):
                one.state, one.identity = "acknowledged", identity
            self.acknowledged += len(sent)

    def wait_for(self, more, timeout=60):
        """Waits until so many more transactions have been acknowledged."""
        wanted = self.acknowledged + more
        self.engine.wait_until(
            lambda: self.acknowledged >= wanted, timeout, f"{more} more to be acknowledged"
        )

    def check(self, query, refused_too=False):
        """The store, asked by `query`, holds what was acknowledged, each once and whole, and
        nothing else but what was left unanswered. Gives the number of transactions stored.
        refused_too: what was answered with 503 may be there as well, once."""
        rows = collections.defaultdict(list)
        for row in query(ROWS):
            rows[row["transaction_id"]].append((row["datapoint"], row["value"]))
        seen = {}
        for identity, content in rows.items():
            tag = content[0][1].split("/")[0]
            assert tag in self.sent, f"{identity} was never sent: {content}"
            sent = self.sent[tag]
            assert tag not in seen, f"{tag} is stored twice: as {seen[tag]} and as {identity}"
            seen[tag] = identity
            assert sorted(content) == sent.rows(), f"{identity} is not as it was sent: {content}"
            assert refused_too or sent.state != "refused", (
                f"{identity} was answered with 503 and is stored"
            )
            if sent.state == "acknowledged":
                assert identity == sent.identity, f"{tag} was acknowledged as {sent.identity}"
        lost = [
            one for one in self.sent.values() if one.state == "acknowledged" and one.tag not in seen
        ]
        assert not lost, f"{len(lost)} acknowledged ones are lost, such as {lost[:3]}"
        return len(seen)


class Watch:
    """Looks at the store all the time: a transaction is there as a whole or not at all."""

    def __init__(self, query):
        self.query = query
        self.torn = []
        self._looked = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self._ended.wait(0.05) and not self.torn:
            try:
                self.torn = self.query(TORN)
                self._looked.set()
            except Exception:  # noqa: BLE001 (the store is down: that is the test)
                continue

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        # A fault can begin and end before the first look, which is waited for all the same.
        looked = kind is not None or self._looked.wait(60)
        self._ended.set()
        self._thread.join()
        assert not self.torn, f"seen in part: {self.torn[:3]}"
        assert looked, "the store could never be looked at"


def reconcile(engine, load, query, refused_too=False):
    """Waits until all is stored; what the engine counts is what the store and the clients have."""
    counts = engine.wait_until_stored()
    stored = load.check(query, refused_too)
    assert counts["successful"] == stored, (counts, stored)
    assert counts["failed"] == 0, counts
    return counts
