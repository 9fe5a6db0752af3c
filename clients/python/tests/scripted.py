"""A server in place of the engine or the identity service, which answers what a test says."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Request:
    def __init__(self, path, headers, body):
        self.path = path
        self.headers = headers
        self.body = body

    @property
    def transactions(self):
        packed = self.headers.get("Content-Encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)


def accept(request):
    """The engine's answer when it accepts all."""
    results = [{"id": f"engine-{number}"} for number, _ in enumerate(request.transactions)]
    return 202, {"accepted": len(results), "rejected": 0, "results": results}


class Scripted:
    """`answers`: functions of the request, each for one request, then `accept` for ever. They
    give (status, JSON or bytes), and if they like headers, and an Event that the body waits for
    after its headers. `default` replaces accept."""

    def __init__(self, *answers, default=accept):
        self.requests = []
        self.connections = 0
        self._answers = list(answers)
        self._default = default
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                outer.connections += 1
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer._answer(self, Request(self.path, self.headers, body))

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, handler, request):
        self.requests.append(request)
        answer = self._answers.pop(0) if self._answers else self._default
        status, content, *more = answer(request)
        if status is None:  # hang up
            handler.close_connection = True
            return
        try:
            self._send(handler, status, content, *more)
        except OSError:
            handler.close_connection = True  # the client has gone

    @staticmethod
    def _send(handler, status, content, headers=(), release=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = dict(headers)
        if "Date" in headers:
            handler.send_response_only(status)
        else:
            handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if release is not None:
            release.wait(60)
        handler.wfile.write(body)
        if headers.get("Connection") == "close":
            handler.close_connection = True

    @property
    def accepted(self):
        """The first datapoint's values of all transactions that were sent, in order."""
        return [
            transaction["data"][0]["value"]
            for request in self.requests
            for transaction in request.transactions
        ]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def status(number, detail="no", **headers):
    """An answer for Scripted: this status with these headers (Retry_After=...)."""
    sent = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return lambda _: (number, {"detail": detail}, sent)


def hang_up(_):
    return None, b""
