"""`python benchmark.py` as a person types it: a real process in a checkout that was never prepared."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from conftest import ROOT, TEMPLATE
from llm_server import Fault, LLMServer
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.commands.benchmark import told_of_held_out
from autoharness.core.outcomes import NO_SERVER, Outcome, Status, Trial, slug
from autoharness.llm.seeds import role_seed
from autoharness.vault.store import Store, default_vault

RECORDING = f"replay/{ROOT / 'examples' / 'recording.json'}"
RECORDED = ["1", "10", "12", "17", "20"]
WITHHELD = ["held_out: 1 tasks were run; a part of a held-out split shows no score"]


def said(done: Any) -> list[str]:
    """What was printed, but for the isolation, which is the kernel's, and the usage."""
    lines = done.stdout.splitlines()
    assert sum(line.startswith("isolation: sandbox") for line in lines) == 1
    return [line for line in lines if not line.startswith(("isolation: ", "usage: "))]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    (folder / "agent").mkdir(parents=True)
    (folder / "agent" / "agent.py").write_text(TEMPLATE)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def serve(tau2: Tau2, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LLMServer]]:
    """Starts a server that solves the mock domain's tasks, with a reply of the test's before it."""
    servers: list[LLMServer] = []
    solver = Solver(tau2._tasks("mock").values())

    def start(first: Callable[[dict[str, Any]], Any] = lambda request: None) -> LLMServer:
        server = LLMServer(lambda request: first(request) or solver.reply(request)).__enter__()
        servers.append(server)
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "the-key")
        return server

    yield start
    for server in servers:
        server.__exit__()


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ROOT / "benchmark.py"), *arguments], capture_output=True, text=True)


@pytest.mark.slow
def test_a_recording_gives_its_rewards_in_lines_that_grep_finds(checkout: Path) -> None:
    """With them: the train results and one folder for each task, where the coding agent reads them."""
    done = benchmark("--domain", "airline", "--agent-model", RECORDING, "--task-ids", *RECORDED)
    assert done.returncode == 0, done.stderr
    assert said(done) == [
        "val_score: 0.8000  (4/5 passed, 0 infra errors), 95 % interval 0.38 to 0.96",
        *(
            f"  {'FAIL' if task_id == '20' else 'PASS'}  {task_id}: {float(task_id != '20'):.2f}"
            for task_id in RECORDED
        ),
        "statuses: passed 4, failed 1",
    ]
    results = json.loads((checkout / "workspace/train_results.json").read_text())
    assert results["split"] == "train"
    assert results["results"] == {task_id: float(task_id != "20") for task_id in RECORDED}
    trace = (checkout / "workspace/traces/latest" / slug("20") / "trace.md").read_text()
    assert "NOT made: assistant: book_reservation" in trace
    assert "agent.reservations.HATHAT" in trace
    assert (checkout / "workspace/domain/policy.md").read_text().startswith("# Airline Agent Policy")


@pytest.mark.slow
def test_the_same_command_again_runs_nothing(checkout: Path, serve: Callable[..., LLMServer]) -> None:
    server = serve()
    command = ["--domain", "mock", "--agent-model", "openai/solver", "--num-tasks", "2"]
    first = benchmark(*command)
    asked = len(server.requests)
    role = r"{} \d+ calls, \d+ tokens, price unknown"
    assert re.search(rf"^usage: {role.format('agent')}; {role.replace('1', '2').format('user')}$", first.stdout, re.M)
    again = benchmark(*command)
    assert asked == len(server.requests) > 0
    assert again.stdout == first.stdout
    assert "2 of 2 simulations are in the store already" in again.stderr


@pytest.mark.slow
def test_an_edited_agent_is_run_anew_and_more_trials_are_added(
    checkout: Path, serve: Callable[..., LLMServer]
) -> None:
    server = serve()
    command = ["--domain", "mock", "--agent-model", "openai/solver", "--task-ids", "create_task_1"]
    benchmark(*command)
    once = len(server.requests)
    assert benchmark(*command, "--trials", "2").stdout.startswith("val_score: 1.0000  (1/1 passed")
    assert len(server.requests) == 2 * once
    seeds = {request.body["seed"] for request in server.requests}
    firsts = {role_seed(626729, "create_task_1", 0, role) for role in ("agent", "user")}
    assert len(seeds) == 4 and firsts < seeds, "from tau2's own first seed, then from another"
    (checkout / "agent" / "agent.py").write_text(TEMPLATE + "\n# edited\n")
    benchmark(*command)
    assert len(server.requests) == 3 * once


@pytest.mark.slow
def test_infrastructure_errors_are_none_and_run_again(checkout: Path, serve: Callable[..., LLMServer]) -> None:
    """Exit code 2, no reward, and `--failed errors` runs just these tasks."""
    broken = [True]
    serve(
        lambda request: (
            Fault(401, '{"error": {"message": "wrong key"}}') if broken[0] and "Meeting" in str(request) else None
        )
    )
    command = ["--domain", "mock", "--agent-model", "openai/solver", "--json"]
    ids = ["create_task_1", "update_task_1"]
    assert set(ids) <= set(_mock_ids())
    first = benchmark(*command, "--task-ids", *ids)
    failed = [task_id for task_id, reward in json.loads(first.stdout)["results"].items() if reward is None]
    assert first.returncode == 2 and failed, first.stdout + first.stderr
    broken[0] = False
    second = benchmark(*command, "--failed", "errors")
    assert second.returncode == 0, second.stderr
    assert list(json.loads(second.stdout)["results"]) == failed
    assert benchmark(*command, "--failed").returncode == 3


@pytest.mark.slow
def test_what_ended_with_a_status_is_run_again_by_its_name(checkout: Path, serve: Callable[..., LLMServer]) -> None:
    broken = [True]
    serve(lambda request: Fault(401) if broken[0] and "Meeting" in str(request) else None)
    command = ["--domain", "mock", "--agent-model", "openai/solver"]
    first = benchmark(*command, "--task-ids", "create_task_1")
    assert "statuses: user_error 1" in first.stdout.splitlines()
    broken[0] = False
    assert "nothing to run again" in benchmark(*command, "--failed", "judge_error").stderr
    again = benchmark(*command, "--failed", "user_error")
    assert said(again)[1:] == ["  PASS  create_task_1: 1.00", "statuses: passed 1"]


def _mock_ids() -> list[str]:
    from tau2.registry import registry

    return [task.id for task in registry.get_tasks_loader("mock")()]


def _solved(task_ids: list[str]) -> str:
    """tau2-bench 1.0.1 has a task that nobody can pass: it asks for what its reference actions do not do, and for the
    databases that these leave."""
    impossible = task_ids.count("update_task_with_user_tools")
    return f"passed {len(task_ids) - impossible}{f', failed {impossible}' if impossible else ''}"


@pytest.mark.slow
def test_held_out_results_are_not_shown(checkout: Path, serve: Callable[..., LLMServer], tau2: Tau2) -> None:
    """A whole held-out split shows its mean; a part of one shows no score; a reveal is recorded."""
    serve()
    command = ["--domain", "mock", "--agent-model", "openai/solver"]
    held_out = tau2.facts("mock").splits["test"]
    whole = benchmark(*command, "--split", "test")
    assert said(whole)[1:] == [f"held_out: {len(held_out)} tasks", f"statuses: {_solved(held_out)}"]
    assert whole.stdout.startswith("val_score: ")
    part = benchmark(*command, "--task-ids", held_out[0])
    assert said(part) == WITHHELD
    for shown in (whole, part):
        assert not any(task_id in shown.stdout + shown.stderr for task_id in held_out)
        assert "passed" not in shown.stderr
    assert not (checkout / "workspace/traces").exists() and not (checkout / "workspace/train_results.json").exists()
    revealed = benchmark(*command, "--task-ids", held_out[0], "--reveal-held-out")
    assert f"PASS  {held_out[0]}: 1.00" in revealed.stdout
    log = (Store(default_vault()).folder / "holdout.jsonl").read_text().splitlines()
    assert [(entry["tasks"], entry["revealed"]) for entry in map(json.loads, log)] == [
        (len(held_out), False),
        (1, False),
        (1, True),
    ]


@pytest.mark.slow
def test_no_way_of_asking_tells_how_one_held_out_task_ended(
    checkout: Path, serve: Callable[..., LLMServer], tau2: Tau2
) -> None:
    """Neither `--failed`, which would choose it or not, nor a reason for its 0, nor the exit code."""
    serve()
    (checkout / "agent" / "agent.py").write_text("1 / 0")
    command = ["--domain", "mock", "--agent-model", "openai/solver"]
    task_id = tau2.facts("mock").splits["test"][0]
    part = benchmark(*command, "--task-ids", task_id)
    assert part.returncode == 0
    assert not any(word in part.stdout + part.stderr for word in (task_id, "agent_error", "ZeroDivision"))
    failed = benchmark(*command, "--task-ids", task_id, "--failed")
    assert failed.returncode == 3 and "held-out tasks are not chosen" in failed.stderr


@pytest.mark.slow
def test_another_gate_split_does_not_lay_the_test_split_open(
    checkout: Path, serve: Callable[..., LLMServer], tau2: Tau2
) -> None:
    serve()
    (checkout / "experiment_config.yaml").write_text("domain: mock\nagent_model: openai/solver\ngate_split: train\n")
    task_id = tau2.facts("mock").splits["test"][0]
    done = benchmark("--task-ids", task_id)
    assert said(done) == WITHHELD
    assert task_id not in done.stderr


@pytest.mark.slow
def test_nothing_of_a_held_out_task_lies_under_the_checkout(
    checkout: Path, serve: Callable[..., LLMServer], tau2: Tau2
) -> None:
    """Neither there nor beside tau2's data; the same search finds it in the vault."""
    serve()
    held_out = tau2.facts("mock").splits["test"]
    before = set(_tau2_files())
    benchmark("--domain", "mock", "--agent-model", "openai/solver", "--split", "test")
    assert set(_tau2_files()) == before
    assert not _mentions(checkout, held_out)
    assert _mentions(Path(os.environ["AUTOHARNESS_VAULT"]), held_out)


def _tau2_files() -> Iterator[Path]:
    import tau2

    return (path for path in Path(str(tau2.__file__)).parent.rglob("*") if "__pycache__" not in path.parts)


def _mentions(folder: Path, words: list[str]) -> list[Path]:
    texts = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    return [path for path, text in texts.items() if any(word in text for word in words)]


def _with_ctrl_c() -> None:
    """A shell starts what it puts into the background with Ctrl-C ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(checkout: Path, serve: Callable[..., LLMServer], tau2: Tau2) -> None:
    """The same command again does only what is missing, and no process is left behind."""
    server = serve(lambda request: Fault(500, hang_s=60) if "<<update" in str(request) and waiting[0] else None)
    waiting = [True]
    command = ["--domain", "mock", "--agent-model", "openai/solver", "--concurrency", "4"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "benchmark.py"), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_with_ctrl_c,
    )
    store = Store(Path(os.environ["AUTOHARNESS_VAULT"]))
    deadline = time.monotonic() + 60
    while not list((store.folder / "trials").glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "interrupted" in errors and "PASS" in output
    finished = len(list((store.folder / "trials").glob("*.json")))
    waiting[0] = False
    asked = len(server.requests)
    again = benchmark(*command)
    assert again.returncode == 0, again.stderr
    assert f"{finished} of {len(tau2.facts('mock').splits['train'])} simulations are in the store" in again.stderr
    assert len(server.requests) > asked


@pytest.mark.slow
def test_a_killed_run_leaves_no_process_and_loses_only_what_was_in_flight(
    checkout: Path, serve: Callable[..., LLMServer]
) -> None:
    serve(lambda request: Fault(500, hang_s=60) if "<<update" in str(request) else None)
    command = ["--domain", "mock", "--agent-model", "openai/solver", "--concurrency", "4"]
    process = subprocess.Popen([sys.executable, str(ROOT / "benchmark.py"), *command], stderr=subprocess.DEVNULL)
    store = Store(Path(os.environ["AUTOHARNESS_VAULT"]))
    deadline = time.monotonic() + 60
    while not list((store.folder / "trials").glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    family = _descendants(process.pid)
    assert len(family) >= 2, "a worker and an agent host"
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(_is_alive(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in family if _is_alive(pid)]


def _descendants(pid: int) -> list[int]:
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            if stat.read_text().rsplit(")", 1)[1].split()[1] == str(pid):
                children.append(int(stat.parent.name))
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.slow
def test_a_dry_run_says_where_each_value_came_from_and_runs_nothing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = "domain: airline\nmax_concurrency: 7\nagent_model: gpt-4.1\nuser_model: gpt-4.1\n"
    (checkout / "experiment_config.yaml").write_text(written)
    monkeypatch.setenv("AGENT_MODEL", "openai/from-the-environment")
    tau2s = ["--user-llm", "llama", "--user-llm-args", '{"temperature": 0.7}']
    server = ["--user-url", "http://127.0.0.1:8000/v1/chat/completions", "--user-api-key", "LOCAL_KEY"]
    done = benchmark("--dry-run", "--concurrency", "9", "--set", "max_errors=4", *tau2s, *server)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert 'domain: "airline"  (experiment_config.yaml)' in lines
    assert "max_concurrency: 9  (command line)" in lines
    assert 'agent_model: "gpt-4.1"  (experiment_config.yaml)' in lines
    assert "seed: 300  (default)" in lines
    assert "max_errors: 4  (command line)" in lines
    assert 'user_model: "llama"  (command line)' in lines
    assert 'user_llm_args: {"temperature": 0.7}  (command line)' in lines
    assert 'user_url: "http://127.0.0.1:8000/v1"  (command line)' in lines
    assert 'user_api_key_name: "LOCAL_KEY"  (command line)' in lines
    assert "splits: train 30, test 20, base 50" in lines
    assert not (Store(default_vault()).folder / "holdout.jsonl").exists()
    assert not (checkout / "workspace").exists()


MISUSE = {
    "unknown-domain": (["--domain", "retial"], "retail"),
    "unknown-split": (["--domain", "mock", "--split", "trian"], "train"),
    "unknown-task": (["--domain", "mock", "--task-ids", "create_task_99"], "create_task_99"),
    "no-such-list": (["--domain", "mock", "--task-ids", "@nothing.txt"], "nothing.txt"),
    "no-such-config": (["--config", "nothing.yaml"], "experiment_config.yaml.template"),
    "no-such-recording": (["--domain", "mock", "--agent-model", "replay/nothing.json"], "nothing.json"),
    "no-key": (
        ["--domain", "mock", "--agent-model", "gpt-5.4", "--task-ids", "create_task_1"],
        "no key for gpt-5.4: OPENAI_API_KEY is not set",
    ),
    "no-such-provider": (
        ["--domain", "mock", "--agent-model", "foo-model", "--task-ids", "create_task_1"],
        "error: foo-model: litellm knows no provider for it",
    ),
    "unknown-setting": (["--set", "domian=mock"], "did you mean 'domain'?"),
    "no-json": (["--agent-llm-args", "{"], "--agent-llm-args: not YAML"),
    "address-with-a-password": (["--agent-url", "http://me:pw@host/v1"], "agent_url has a user or a password in it"),
    "no-count": (["--num-tasks", "0"], "--num-tasks"),
    "no-trials": (["--trials", "0"], "trials must be at least 1"),
    "unknown-flag": (["--trails", "3"], "--trails"),
    "unknown-status": (["--domain", "mock", "--failed", "judge_eror"], "'judge_error'"),
    "nothing-failed": (["--domain", "mock", "--failed"], "nothing to run again"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "hint"), MISUSE.values(), ids=MISUSE)
def test_misuse_is_one_line_and_exit_code_3(checkout: Path, arguments: list[str], hint: str) -> None:
    done = benchmark(*arguments)
    assert done.returncode == 3
    assert hint in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not done.stdout


def test_without_an_agent_file_the_mend_is_named(checkout: Path) -> None:
    (checkout / "agent" / "agent.py").unlink()
    done = benchmark("--domain", "mock")
    assert done.returncode == 3
    assert "cp agent/templates/tau_bench.py agent/agent.py" in done.stderr


@pytest.mark.slow
def test_a_run_says_how_many_simulations_it_has_checked(prepared: Checkout) -> None:
    """And how many of them tau2's plain path scores otherwise."""
    done = prepared.run("benchmark.py", "--verify-sample", "1", "--seed", "7")
    checked = re.search(r"(\d+) simulations scored the same on tau2's plain path, 0 did not", done.stderr)
    scored = re.search(r"\((\d+)/(\d+) passed", done.stdout)
    assert checked and scored and int(scored[1]) <= int(checked[1]) <= int(scored[2])


def test_of_a_held_out_task_without_reward_only_a_failed_connection_is_told() -> None:
    """It says nothing about the task; all else might."""
    trial = Trial("1", 0, 1)
    lost = Outcome(trial, Status.PROVIDER_ERROR, None, f"m: {NO_SERVER}: connection refused (through a proxy)")
    assert told_of_held_out(lost) == f"(held out) {NO_SERVER}: connection refused"
    for detail in ("the customer wants a refund", f"{NO_SERVER}: the customer wants a refund"):
        assert told_of_held_out(Outcome(trial, Status.USER_ERROR, None, detail)) == "(held out)"
    assert told_of_held_out(Outcome(trial, Status.AGENT_ERROR, 0.0, lost.detail)) == "(held out)"
