"""A stand-in for the identity provider: a real server that publishes keys, signs tokens by them,
and answers token introspection (RFC 7662), well or badly, as the test wants it.

    provider = Provider()                    # serves at once, on a port that stays its own
    engine = engines(JWKS_URL=provider.jwks_url)
    engine.post(body, token=provider.token(sub="urn:pennlabs:clubs"))
    provider.publish(Key.ec(kid="next"))     # from now on the set is this one key
    provider.jwks.breaks(500)                # or hangs(), drips(), says(b"<html>"); works() again
    provider.stop(); provider.start()        # nobody listens; the same port again

Provider(tls=True) speaks TLS with a certificate for `names` by an authority of its own, whose
certificate is the file `provider.ca_file`. Methods are safe to call from any thread.
"""

import base64
import contextlib
import http.server
import json
import socket
import ssl
import threading
import time
import urllib.parse

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from support import ports
from support.certificates import Authority

JWKS_PATH = "/identity/jwks/"
INTROSPECTION_PATH = "/accounts/introspect/"
ATTEST_PATH = "/identity/attest/"
REFRESH_PATH = "/identity/refresh/"
URN = "urn:pennlabs:clubs"


class Key:
    """A signing key of the provider; its `kid` may be None, as today's provider has it."""

    def __init__(self, private, algorithm, kid=None):
        self.private, self.algorithm, self.kid = private, algorithm, kid

    @classmethod
    def rsa(cls, kid=None, bits=2048):
        return cls(rsa.generate_private_key(65537, bits), "RS256", kid)

    @classmethod
    def ec(cls, kid=None):
        return cls(ec.generate_private_key(ec.SECP256R1()), "ES256", kid)

    def jwk(self, **members):
        """Its public part as it is published."""
        maker = jwt.algorithms.get_default_algorithms()[self.algorithm]
        public = maker.to_jwk(self.private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        named = {"kid": self.kid} if self.kid is not None else {}
        return public | {"use": "sig", "alg": self.algorithm} | named | members

    def sign(self, claims, headers=None):
        """A token with these claims, and with the key's kid unless `headers` has another."""
        named = {"kid": self.kid} if self.kid is not None else {}
        return jwt.encode(claims, self.private, self.algorithm, named | (headers or {}))


def good_claims(**changed):
    """Claims of a good access token; those that are changed to None are left out."""
    now = time.time()
    merged = {"sub": URN, "use": "access", "iat": now, "exp": now + 600} | changed
    return {name: value for name, value in merged.items() if value is not None}


class Endpoint:
    """One path: how it behaves at the moment, and how often it was asked."""

    def __init__(self):
        self._changed = threading.Condition()
        self._count = 0
        self._way = None
        self._free = threading.Event()

    @property
    def requests(self):
        with self._changed:
            return self._count

    def _behave(self, way):
        with self._changed:
            self._free.set()
            self._free = threading.Event()
            self._way = way

    def works(self):
        """As it should, also for requests that hang."""
        self._behave(None)

    def says(self, body, status=200, media_type="application/json"):
        self._behave(lambda handler, free: handler.answer(status, body, media_type))

    def breaks(self, status=500):
        self.says(b"it broke", status, "text/plain")

    def hangs(self):
        """Takes requests and does not answer; closes them when it is told another behaviour."""
        self._behave(lambda handler, free: free.wait())

    def drips(self, pause=0.2):
        """Answers one byte at a time, for as long as anybody listens."""

        def drip(handler, free):
            handler.head(200, "application/json", 1 << 20)
            while not free.wait(pause):
                handler.wfile.write(b" ")
                handler.wfile.flush()

        self._behave(drip)

    def take(self, handler):
        """Counts a request; True if the way it behaves has dealt with it."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()
            way, free = self._way, self._free
        if way is None:
            return False
        handler.close_connection = True
        with contextlib.suppress(OSError):
            way(handler, free)
        return True

    def wait_for(self, count, timeout=30):
        """Waits until it was asked `count` times since it exists."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._count >= count, timeout), (
                f"asked {self._count} times, not {count}"
            )


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    @property
    def page(self):
        return self.path.partition("?")[0]

    def head(self, status, media_type, length):
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer(self, status, body, media_type="application/json"):
        self.head(status, media_type, len(body))
        self.wfile.write(body)

    def answer_json(self, status, value):
        self.answer(status, json.dumps(value).encode())

    def do_GET(self):
        provider = self.server.provider
        if self.page != JWKS_PATH:
            self.answer_json(404, {"detail": "there is no such page"})
        elif not provider.jwks.take(self):
            self.answer_json(200, provider.key_set())

    def do_POST(self):
        provider = self.server.provider
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.page in (ATTEST_PATH, REFRESH_PATH):
            self.answer_json(*provider.issue(self.page, self.headers))
        elif self.page != INTROSPECTION_PATH:
            self.answer_json(404, {"detail": "there is no such page"})
        elif not provider.introspection.take(self):
            self.answer_json(*provider.introspect(self.headers, body))

    def log_message(self, format, *arguments):  # noqa: A002 (the name is the library's)
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, provider, address, context):
        self.provider, self.context = provider, context
        self.open, self.guard = set(), threading.Lock()
        super().__init__(address, _Handler)

    def finish_request(self, request, client_address):
        """In the connection's own thread: a client that is slow with TLS holds nobody up."""
        with contextlib.suppress(OSError):
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
            with self.guard:
                self.open.add(request)
            try:
                super().finish_request(request, client_address)
            finally:
                with self.guard:
                    self.open.discard(request)
                request.close()

    def handle_error(self, request, client_address):
        pass

    def cut(self):
        with self.guard:
            for connection in self.open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Provider:
    def __init__(self, *keys, tls=False, names=("localhost", "127.0.0.1"), folder=None):
        self.jwks, self.introspection = Endpoint(), Endpoint()
        self.client_id, self.client_secret = "labs-analytics", "a secret: of the provider"
        self.sessions = {}  # what introspection answers to a token; others are not active
        self.clients, self.refreshing = {}, {}  # Authorization, refresh token → URN
        self.lifetime = 900  # seconds, of access tokens
        self.refused = 0  # introspections without the client's id and secret
        self.keys = list(keys) or [Key.rsa()]
        self.extra = []  # members of the set beside them, as they are
        self.port = ports.take()
        self.names, self.tls = names, tls
        self.ca_file = folder / f"authority-{self.port}.pem" if tls else None
        self._context = _certify(names, self.ca_file) if tls else None
        self._server = None
        self.start()

    # -- its life

    def start(self):
        assert self._server is None
        self._server = _Server(self, ("127.0.0.1", self.port), self._context)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def renew_authority(self):
        """Serves with a certificate by another authority, whose own stands in the same file."""
        self.stop()
        self._context = _certify(self.names, self.ca_file)
        self.start()

    def stop(self):
        """Nobody listens any more; what is under way is cut off."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        server.cut()

    def close(self):
        self.stop()
        self.jwks.works()
        self.introspection.works()

    # -- what it is

    @property
    def url(self):
        origin = f"https://{self.names[0]}" if self.tls else "http://127.0.0.1"
        return f"{origin}:{self.port}"

    @property
    def jwks_url(self):
        return self.url + JWKS_PATH

    @property
    def introspection_url(self):
        return self.url + INTROSPECTION_PATH

    # -- keys and tokens

    def publish(self, *keys):
        """From now on exactly these keys."""
        self.keys = list(keys)

    def key_set(self):
        return {"keys": [key.jwk() for key in self.keys] + self.extra}

    def token(self, key=None, headers=None, **claims):
        """A good access token of the first key, with these claims changed."""
        return (key or self.keys[0]).sign(good_claims(**claims), headers)

    # -- attestation: tokens for a product that shows its client id and secret

    def expects(self, client_id, client_secret, urn):
        """From now on this client gets tokens for this URN."""
        pair = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self.clients["Basic " + pair] = urn

    def issue(self, path, headers):
        authorization = headers.get("Authorization", "")
        if path == ATTEST_PATH:
            urn = self.clients.get(authorization)
        else:
            urn = self.refreshing.get(authorization.removeprefix("Bearer "))
        if urn is None:
            return 403, {"detail": "unknown client"}
        access = self.token(sub=urn, exp=time.time() + self.lifetime)
        if path == REFRESH_PATH:
            return 200, {"access": access}
        refresh = self.token(sub=urn, use="refresh", exp=time.time() + 86400)
        self.refreshing[refresh] = urn
        return 200, {"access": access, "refresh": refresh}

    # -- introspection

    def knows(self, token, username, **members):
        """Makes `token` an active one of this user, with these members changed."""
        answer = {"active": True, "username": username, "exp": int(time.time()) + 3600} | members
        self.sessions[token] = {name: value for name, value in answer.items() if value is not None}

    def introspect(self, headers, body):
        pair = (self.client_id, self.client_secret)
        # RFC 6749 section 2.3.1 wants each form-encoded; most clients send them as they are.
        taken = {
            "Basic " + base64.b64encode(":".join(map(written, pair)).encode()).decode()
            for written in (str, urllib.parse.quote_plus)
        }
        if headers.get("Authorization") not in taken:
            self.refused += 1
            return 401, {"error": "invalid_client"}
        if headers.get("Content-Type", "").split(";")[0] != "application/x-www-form-urlencoded":
            return 400, {"error": "invalid_request"}
        fields = urllib.parse.parse_qs(body.decode("utf-8", "replace"))
        if "token" not in fields:
            return 400, {"error": "invalid_request"}
        return 200, self.sessions.get(fields["token"][0], {"active": False})


# -- an authority and a certificate of its


def certify(names, ca_file, chain_file):
    """Makes an authority, whose certificate goes to `ca_file`, and a certificate of its for these
    names, which goes to `chain_file` with its private key."""
    Authority(ca_file).issue(chain_file, chain_file, names)


def _certify(names, ca_file):
    chain_file = ca_file.with_suffix(".chain")
    certify(names, ca_file, chain_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain_file)
    return context
