"""llama.cpp's own HTTP server with a model of one's own, on loopback alone: `make real-model` fetches it.

python examples/serve_model.py MODEL.gguf PORT [--ctx N] [--slots N]
"""

import argparse
import signal
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[1] / ".venv" / "real-model"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model")
    arguments.add_argument("port", type=int)
    arguments.add_argument("--ctx", type=int, default=4096, help="tokens of all slots together")
    arguments.add_argument("--slots", type=int, default=1)
    given = arguments.parse_args()
    sys.path.insert(0, str(HOME))
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = given.model
    params.n_ctx, params.n_parallel = given.ctx, given.slots
    params.hostnames = ["127.0.0.1"] if isinstance(params.hostnames, list) else "127.0.0.1"
    params.port, params.use_jinja, params.endpoint_slots = given.port, True, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # more would wait for each other
    params.n_threads_http, params.fit_params = 8, False
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = xllamacpp.Server(params)
    print("listening", server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
