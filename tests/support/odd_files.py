"""Things other than a regular file at a path, and a time limit for tests that read them."""

import contextlib
import os
import signal
import socket
import tempfile
from pathlib import Path


def as_socket(path):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"{folder}/s")
        os.rename(f"{folder}/s", path)


KINDS = {
    "a pipe": os.mkfifo,
    "a link to a pipe": lambda path: (os.mkfifo(f"{path}.pipe"), os.symlink(f"{path}.pipe", path)),
    "a socket": as_socket,
    "a link to a device": lambda path: os.symlink("/dev/zero", path),
    "a folder": os.mkdir,
    "a sparse terabyte": lambda path: (Path(path).touch(), os.truncate(path, 1 << 40)),
}


@contextlib.contextmanager
def no_longer_than(seconds):
    def ring(*_):
        raise AssertionError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
