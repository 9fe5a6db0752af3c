"""The yardstick: nginx with a configuration of its own in a folder, and what it answers.

`/analytics` answers 202 at once; the body is small and arrives with the headers. A larger one
nginx would answer before it has read it, so `/v1/transactions` goes through a proxy step, before
which nginx reads the whole body into memory; behind it, another server of the same nginx answers
202 to the request without its body. What was read is logged, and checked by check_taken().

With a certificate it answers the same by TLS as well, at tls_url. `/answered` counts its requests.
"""

import os
import signal
import subprocess

import requests
from support import ports
from support.wait import wait_until

from lib import engines
from lib.load import Invalid

ANSWER = '{"message": "Data stored successfully!", "id": "7h3kq0m2000000000gdv"}'

CONFIGURATION = """
daemon off;
{user}
worker_processes auto;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 12000; }}
http {{
    default_type application/json;
    access_log off;
    keepalive_requests 1000000000;
    client_header_buffer_size 4k;
    client_body_buffer_size 8m;
    client_max_body_size 64m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    log_format taken '$status $request_length';
    upstream static {{
        server unix:{folder}/static.sock;
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        {tls}
        location = /analytics {{
            return 202 '{answer}';
        }}
        location = /answered {{
            stub_status;
        }}
        location = /v1/transactions {{
            access_log {folder}/taken.log taken buffer=64k;
            proxy_pass http://static;
            proxy_http_version 1.1;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Connection "";
        }}
    }}
    server {{
        listen unix:{folder}/static.sock backlog=4096;
        location / {{
            return 202 '{answer}';
        }}
    }}
}}
"""


TLS = """listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;"""


class Nginx:
    def __init__(self, folder, certificate=None, key=None):
        """Starts it and waits until it answers. `folder` is made."""
        folder.mkdir(parents=True)
        self.folder = folder
        self.url = f"http://127.0.0.1:{ports.take()}"
        self.tls_url = None
        tls = ""
        if certificate is not None:
            port = ports.take()
            self.tls_url = f"https://127.0.0.1:{port}"
            tls = TLS.format(port=port, certificate=certificate, key=key)
        # As root its workers would be another user's, who may not write into the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            CONFIGURATION.format(
                user=user,
                folder=folder,
                port=self.url.rsplit(":", 1)[1],
                tls=tls,
                answer=ANSWER,
            )
        )
        self.process = subprocess.Popen(
            ["nginx", "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, 30, "nginx to answer")

    def _answers(self):
        with requests.Session() as session:
            session.trust_env = False
            return session.post(f"{self.url}/analytics", data="{}", timeout=5).status_code == 202

    def answered(self):
        """How many requests it has had so far, those that ask for it included."""
        with requests.Session() as session:
            session.trust_env = False
            status = session.get(f"{self.url}/answered", timeout=30).text
        return int(status.splitlines()[2].split()[2])

    def processes(self):
        """The ids of the master and its workers."""
        return engines.with_children(self.process.pid)

    def stop(self):
        """Ends it in order, so that its logs are complete; nothing if it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.terminate()
                self.process.wait(20)

    def check_taken(self, requests_sent, shortest_body):
        """After stop(): so many requests came to /v1/transactions, all of them were read in
        full, and answered with 202."""
        taken = [line.split() for line in (self.folder / "taken.log").read_text().splitlines()]
        good = sum(
            1 for status, length in taken if status == "202" and int(length) >= shortest_body
        )
        if good < requests_sent:
            raise Invalid(f"nginx took in {good} of {requests_sent} requests in full")
