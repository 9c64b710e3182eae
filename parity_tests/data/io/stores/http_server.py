"""A server of http on this machine that counts the bytes of each file that it sends, with or without byte ranges."""

import base64
import http.server
import re
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

BROKEN: tuple[str, ...] = ()
"""Files that are refused, by their path in the folder."""


@contextmanager
def serving(folder, ranges=True, query=None, login=None):
    """Serves a folder; with a query, only requests by GET that have it, as with signed URLs; with a login, such as
    user:password, only requests that have it by HTTP's basic authentication. Yields its URL, as a path, and a counter
    of the bytes sent, by path in the folder."""
    sent = Counter()
    key = login and f"Basic {base64.b64encode(login.encode()).decode()}"

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, content):
            name, _, own = self.path.lstrip("/").partition("?")
            if key and self.headers.get("Authorization") != key:
                self.send_response(401)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if name in BROKEN or (query is not None and (own != query or not content)):
                self.send_response(403)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if not (folder / name).is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            size = (folder / name).stat().st_size
            asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")) if ranges else None
            first, last = 0, size - 1
            if asked and asked[1]:
                first, last = int(asked[1]), min(int(asked[2] or last), last)
            elif asked:
                first = max(0, size - int(asked[2]))
            self.send_response(206 if asked else 200)
            if ranges:
                self.send_header("Accept-Ranges", "bytes")
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Content-Length", str(last - first + 1))
            self.end_headers()
            if content:
                with open(folder / name, "rb") as file:
                    file.seek(first)
                    data = file.read(last - first + 1)
                sent[name] += len(data)
                try:
                    self.wfile.write(data)
                except ConnectionError:
                    self.close_connection = True

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Path(f"http://127.0.0.1:{server.server_port}"), sent
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
