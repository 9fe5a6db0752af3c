"""One batch goes to the engine, until each transaction in it is settled or the try has failed.

Settled is what the engine has acknowledged and what it has refused for good. What it says about
the batch as a whole is judged in `retry`; a batch that is too much for it goes in halves, and so
does one that is too much for the time limit (`retry.Pace`). When a try fails, what is not settled
is handed back, to be sent again as it is: ids make that safe.

A 400 of a transaction that is sent alone may mean that one, or all that is ever sent: a server on
the way that does not understand us, say. It counts for the transaction only where the same server
has just understood something else; until then it is "not now", and the next try begins with a
question that the engine answers by 202 whenever it can read us at all.
"""

from __future__ import annotations

import json
import socket
import time
from http.client import HTTPException
from typing import Any, Callable, List, NamedTuple, Optional

from labs_analytics.encode import body_of
from labs_analytics.options import Options
from labs_analytics.retry import Pace, Verdict, judge, retry_after
from labs_analytics.tally import Tally
from labs_analytics.transport import Answer, Connection

PATH = "/v1/transactions"
# No transaction: the engine rejects it, and nothing is stored.
QUESTION = b"[{}]"


class Again(NamedTuple):
    """The try has failed."""

    rest: List[bytes]  # what is not settled
    reason: str
    after: Optional[float]  # seconds, if the engine said when


class _Failed(Exception):
    def __init__(
        self, reason: str, after: Optional[float] = None, *, timed_out: bool = False
    ) -> None:
        self.reason = reason
        self.after = after
        self.timed_out = timed_out


class Sender:
    def __init__(self, options: Options, tally: Tally) -> None:
        self._options = options
        self._tally = tally
        self._connection = Connection(options.address, options.timeout, options.ssl_context)
        self._pace = Pace()
        self._in_doubt = False  # whether the engine can read what is sent
        self._understood = False  # something of the present try

    def prepare(self) -> None:
        self._connection.prepare()

    def close(self) -> None:
        self._connection.close()

    def abandon(self) -> None:
        """For a forked child."""
        self._connection.abandon()

    def send(self, lines: List[bytes]) -> Optional[Again]:
        """None: all are settled."""
        parts = [lines]
        self._understood = False
        try:
            if self._in_doubt:
                self._ask()
            while parts:
                count = self._pace.part(parts[-1])
                if count < len(parts[-1]):
                    parts[-1:] = [parts[-1][count:], parts[-1][:count]]
                halves = self._send_part(parts[-1])
                self._pace.went_through(count)
                parts[-1:] = reversed(halves)
        except _Failed as fault:
            if fault.timed_out:
                self._pace.timed_out(len(parts[-1]))
            rest = [line for one in reversed(parts) for line in one]
            return Again(rest, fault.reason, fault.after)
        self._in_doubt = False
        return None

    def _send_part(self, part: List[bytes]) -> List[List[bytes]]:
        """What is to be sent in its place: nothing, or its halves."""
        answer = self._post(body_of(part))
        verdict = _verdict_on(answer)
        if verdict is Verdict.READ:
            self._read(part, answer)
        elif verdict is not Verdict.SPLIT:
            raise _failure(answer)
        elif len(part) > 1:
            middle = len(part) // 2
            return [part[:middle], part[middle:]]
        else:
            self._refuse_alone(part[0], answer)
        return []

    def _refuse_alone(self, line: bytes, answer: Answer) -> None:
        if answer.status == 400 and not self._understood:
            self._in_doubt = True
            raise _failure(answer)
        self._tally.refuse([(line, _words_of(answer))])

    def _ask(self) -> None:
        answer = self._post(QUESTION)
        if _verdict_on(answer) is not Verdict.READ:
            raise _failure(answer)
        self._understood = True

    def _post(self, body: bytes) -> Answer:
        answer = self._post_once(body)
        if _verdict_on(answer) is Verdict.RENEW:
            invalidate = getattr(self._options.provider, "invalidate", None)
            if invalidate is not None:
                _provided(invalidate)
                answer = self._post_once(body)
        return answer

    def _post_once(self, body: bytes) -> Answer:
        token = _provided(self._options.provider)
        if not isinstance(token, str):
            raise _Failed(f"no token: {type(token).__name__} is no str")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._tally.requests += 1
        try:
            return self._connection.post(PATH, body, headers)
        except (OSError, HTTPException) as fault:
            # On Python 3.9 the one of sockets is no TimeoutError.
            timed_out = isinstance(fault, (TimeoutError, socket.timeout))
            words = str(fault) or type(fault).__name__
            raise _Failed(words, timed_out=timed_out) from None
        except ValueError:
            # Its words quote the header, and that is the token.
            raise _Failed("the token cannot be sent in a header") from None

    def _read(self, part: List[bytes], answer: Answer) -> None:
        """The results of a 202, in the order of the batch."""
        try:
            results = json.loads(answer.body)["results"]
            refusals = [_refusal(result) for result in results]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise _Failed("an answer of 202 that is not the engine's") from None
        if len(refusals) != len(part):
            raise _Failed(f"{len(refusals)} results for {len(part)} transactions")
        self._understood = True
        self._tally.accepted += refusals.count(None)
        refused = [(line, why) for line, why in zip(part, refusals) if why is not None]
        if refused:
            self._tally.refuse(refused)


def _refusal(result: Any) -> Optional[str]:
    """None: accepted."""
    if "error" not in result:
        result["id"]  # or it is no result
        return None
    error = result["error"]
    field = ".".join(str(step) for step in error.get("loc", [])[2:])
    message = str(error.get("msg", "refused"))
    return f"{field}: {message}" if field else message


def _provided(call: Callable[[], Any]) -> Any:
    """What the application's provider gives. It may raise what no `except Exception` catches, as
    asyncio does where a task is cancelled: that is not meant for this thread."""
    try:
        return call()
    except BaseException as fault:
        raise _Failed(f"no token: {str(fault) or type(fault).__name__}") from None


def _verdict_on(answer: Answer) -> Verdict:
    return judge(answer.status, _detail_of(answer))


def _failure(answer: Answer) -> _Failed:
    return _Failed(_words_of(answer), retry_after(answer.retry_after, answer.date, time.time()))


def _detail_of(answer: Answer) -> Optional[str]:
    """The engine's own words; None: it is not the engine's answer."""
    try:
        detail = json.loads(answer.body)["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return str(detail) if isinstance(detail, (str, list)) else None


def _words_of(answer: Answer) -> str:
    """For the log: the status, and the engine's own words for it."""
    words = _detail_of(answer) or answer.reason
    return f"{answer.status} {words[:200]}"
