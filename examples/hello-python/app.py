"""Answers every request with which release and which Python it is. Listens on $PORT; ends its requests on SIGTERM."""

import os
import platform
import signal
import socketserver
import threading
from wsgiref.simple_server import WSGIServer, make_server

import bottle

RELEASE = os.environ.get("DPLOYR_RELEASE", "none")
app = bottle.Bottle()


@app.get("/")
def hello():
    bottle.response.content_type = "text/plain; charset=utf-8"
    return f"Hello from Python {platform.python_version()}, release {RELEASE}\n"


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread a request; `server_close` waits for those that run."""

    daemon_threads = False


def main():
    server = make_server("", int(os.environ.get("PORT", "3000")), app, server_class=Server)
    # shutdown() waits for the loop below, which this handler interrupts: hence the thread
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    print("ended", flush=True)


if __name__ == "__main__":
    main()
