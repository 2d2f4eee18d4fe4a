#!/usr/bin/env python
"""Run Snakemake with jobs that start at once: each `captionrl` is a fork of one process that has imported everything.

    .venv/bin/python tests/warm.py --configfile .ci/smoke.yaml -- all

Of a training of a few updates, three quarters are imports. The jobs are what they are without this: processes of their
own with the arguments, environment, folder and open files that the rule gives them, whose status Snakemake sees.
"""

import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from programs import write_program

import captionrl

# What stands for `captionrl`: it hands over all that a process has, passes signals on, and ends as the fork ends.
CLIENT = """
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [b"."], [0, 1, 2])
with server.makefile("rw") as talk:
    print(json.dumps([sys.argv, os.getcwd(), dict(os.environ)]), file=talk, flush=True)
    child = int(talk.readline())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(child, number))
    status = int(talk.readline() or 1)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        python = environment(Path(folder))
        address = f"{folder}/socket"
        listener.bind(address)
        listener.listen()
        write_program(Path(folder, "bin/captionrl"), CLIENT.format(address=address), options="-IS")
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(listener.fileno())],
            pass_fds=[listener.fileno()],
            env=os.environ | {"OMP_NUM_THREADS": "1", "THP_MEM_ALLOC_ENABLE": "1"},  # read by libraries as they load
        )
        try:
            return subprocess.run([python, "-m", "snakemake", *sys.argv[1:]]).returncode
        finally:
            server.kill()
            server.wait()


def environment(folder: Path) -> Path:
    """The Python of a virtual environment like this one but for its `captionrl`, which rules look for beside Python."""
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(sys.executable)
    (folder / "lib").symlink_to(Path(sys.prefix, "lib"))
    (folder / "pyvenv.cfg").symlink_to(Path(sys.prefix, "pyvenv.cfg"))
    return folder / "bin/python"


def import_all() -> None:
    """Every module of the package, and so what they import."""
    for module in pkgutil.walk_packages(captionrl.__path__, "captionrl."):
        import_module(module.name)
    gc.freeze()


def serve(listener: socket.socket) -> None:
    """Fork for every client. Returns in the fork, which then is where the client was."""
    import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if not os.fork():
            break
        connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listener.close()
    _, files, *_ = socket.recv_fds(connection, 1, 3)
    with connection, connection.makefile("rw") as talk:
        sys.argv, folder, variables = json.loads(talk.readline())
        if child := os.fork():  # only its parent learns how a process ended
            print(child, file=talk, flush=True)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=talk, flush=True)
            os._exit(0)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ |= variables


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(socket.socket(fileno=int(sys.argv[2])))
        from captionrl.cli import main

    sys.exit(main())
