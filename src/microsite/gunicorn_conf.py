"""Packaged gunicorn configuration: `gunicorn -c python:microsite.gunicorn_conf microsite.wsgi:app`.

One worker with many threads: open sockets and slow transfers each hold a thread, and idle threads are free. The
master imports next to nothing; checks and migrations run before it, in a process of their own.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from typing import Any

from microsite.config import CORE_SETTINGS, load
from microsite.gunicorn_worker import WAITING_MAX

PREPARED = "_MICROSITE_PREPARED"

if os.environ.get(PREPARED) != "1":
    _result = subprocess.run([sys.executable, "-m", "microsite", "prepare"], check=False)
    if _result.returncode:
        sys.exit(_result.returncode)
    os.environ[PREPARED] = "1"

_values = load(CORE_SETTINGS, others_allowed=True).values
_host = _values["HOST"]
bind = [f"[{_host.strip('[]')}]:{_values['PORT']}" if ":" in _host else f"{_host}:{_values['PORT']}"]
worker_class = "microsite.gunicorn_worker.CollectingWorker"
workers = _values["WORKERS"]
threads = _values["THREADS"]
timeout = 120
graceful_timeout = 15
keepalive = 5
control_socket_disable = True
loglevel = "warning"
limit_request_line = 8190
http_parser = "python"
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))  # open sockets and files are many here
# A thread may need a connection, a file and a database connection at once.
waiting_max = max(64, min(WAITING_MAX, _hard - 3 * threads - 200))
# Connections that wait are dropped by the worker itself, the oldest first. This is for requests that
# wait for a thread: beyond it new connections stay with the system.
worker_connections = waiting_max + 16 * threads
umask = 0o077
forwarded_allow_ips = ""  # the application itself counts trusted proxies
if os.path.isdir("/dev/shm"):  # noqa: S108 - heartbeat files: a slow disk must not look like a dead worker
    worker_tmp_dir = "/dev/shm"  # noqa: S108 - as above


def on_starting(server: Any) -> None:
    """Take a number of workers given on gunicorn's command line, or refuse one that would lose messages and limits."""
    if server.cfg.workers > 1 and not _values["REDIS_URL"]:
        sys.exit(f"WORKERS is {server.cfg.workers}, but more than one worker needs REDIS_URL.")
    os.environ["MICROSITE_WORKERS"] = str(server.cfg.workers)


def post_fork(_server: Any, worker: Any) -> None:
    """Tell the worker how many connections may wait."""
    worker.waiting_max = waiting_max
    if _values["TRUSTED_PROXIES"]:
        worker.waiting_per_ip = None


def post_worker_init(worker: Any) -> None:
    """Start the job thread in the worker, never in the master."""
    from microsite.core.jobs import Runner

    app = worker.wsgi
    app.extensions["microsite.runner"] = runner = Runner(app)
    runner.start()
    threading.Thread(target=_leave, args=[worker, app], name="leave", daemon=True).start()


def _leave(worker: Any, app: Any) -> None:
    """When the worker is told to stop, let polls answer and sockets reconnect elsewhere, so that it can end in time."""
    while worker.alive:
        time.sleep(0.2)
    app.extensions["microsite.live"].close()


def worker_int(worker: Any) -> None:
    """Ctrl-C in a terminal is an ordinary end."""
    worker.alive = False


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Let the job at hand finish."""
    app = getattr(worker, "wsgi", None)
    if app is not None and "microsite.runner" in app.extensions:
        app.extensions["microsite.runner"].stop()
