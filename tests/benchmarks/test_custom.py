"""Your own benchmark: whose fault what goes wrong is, and what is checked of the class."""

import itertools
import json
import os
import py_compile
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from conftest import ROOT, TEMPLATE
from llm_server import Fault, LLMServer, assistant, tool_call

from autoharness.benchmarks.custom import OwnBenchmark
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.setting_sources import from_settings
from autoharness.core.settings import Experiment
from autoharness.engine.score_identity import Measure
from autoharness.engine.simulator import Simulator
from autoharness.host.pool import Hosts, confinement_of
from autoharness.host.process import AgentFile

SUMS = '''
from benchmark import BenchmarkRunner, Check, Result, Simulation, Step

def _add(a, b):
    if a is None:
        raise ValueError("a number is missing")
    return a + b

class Sums(BenchmarkRunner):
    """Sums of two numbers."""

    policy = "Add."
    tools = ({"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}},)

    def splits(self):
        return {"train": ["1", "2"], "test": ["3"]}

    def simulate(self, simulation):
        said = simulation.ask(f"1 + {simulation.task_id}?", {"add": _add})
        right = said == str(1 + int(simulation.task_id))
        return Result(float(right), [Check("the sum is right", right, f"said {said}")])
'''

_names = itertools.count()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OwnBenchmark]]:
    """Loads a class from a module in the root, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmark.py").write_text((ROOT / "benchmark.py").read_text())
    monkeypatch.syspath_prepend(str(ROOT))
    before = set(sys.modules)

    def make(source: str = SUMS, name: str = "Sums", **settings: Any) -> OwnBenchmark:
        module = f"sums_{next(_names)}"
        (tmp_path / f"{module}.py").write_text(source)
        return OwnBenchmark(from_settings({"benchmark": f"{module}:{name}", "agent_model": "openai/m"} | settings))

    yield make
    for name in set(sys.modules) - before:
        if name.startswith("sums_"):
            del sys.modules[name]


@pytest.fixture
def run(own: Callable[..., OwnBenchmark], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs one trial in a real agent host, against a server that answers as the test says."""
    opened: list[Any] = []

    def once(reply: Any, source: str = SUMS, agent: str = TEMPLATE, **settings: Any) -> Outcome:
        server = LLMServer(reply if callable(reply) else lambda request: reply).__enter__()
        opened.append(server)
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "the-key-of-this-test")
        benchmark = own(source)
        experiment = Experiment(
            **{"agent_model": "openai/m", "domain": "Sums", "llm_retries": 0, "simulation_retries": 0} | settings
        )
        confinement = confinement_of(experiment, tmp_path, benchmark.folders)
        hosts = Hosts({"": AgentFile(agent, "openai/m", None)}, experiment.agent_timeout_s, confinement)
        opened.append(hosts)
        return Simulator(benchmark, experiment, hosts).run(Trial("2", 0, 7), diagnose=True)

    yield once
    for one in reversed(opened):
        one.close() if isinstance(one, Hosts) else one.__exit__(None, None, None)


# -- whose fault it is --


def test_the_right_answer_scores_and_its_checks_are_kept(run: Any) -> None:
    outcome = run(assistant("3"))
    assert (outcome.status, outcome.reward, outcome.termination) == (Status.PASSED, 1.0, "finished")
    assert outcome.reward_info["checks"] == [{"what": "the sum is right", "met": True, "why": "said 3"}]
    assert [message["role"] for message in outcome.messages] == ["user", "assistant"]
    assert outcome.usage["agent"].calls == 1


def test_the_agent_is_given_policy_tools_and_the_trials_seed(run: Any) -> None:
    asked: list[dict[str, Any]] = []
    run(lambda request: asked.append(request) or assistant("3"))
    assert "Add." in asked[0]["messages"][0]["content"] and asked[0]["seed"] == 7
    assert asked[0]["tools"][0]["function"]["name"] == "add"


def _calling(*calls: Any) -> Callable[[Any], Any]:
    """Answers with these tool calls one after the other, and then with what the last one gave."""

    def reply(request: Any) -> Any:
        done = sum(message["role"] == "tool" for message in request["messages"])
        return assistant(None, [calls[done]]) if done < len(calls) else assistant(request["messages"][-1]["content"])

    return reply


def test_tools_run_and_their_failures_are_told_to_the_agent(run: Any) -> None:
    assert run(_calling(tool_call("add", {"a": 1, "b": 2}))).reward == 1.0
    calls = [tool_call("subtract", {}), tool_call("add", {"c": 1}), tool_call("add", {"a": None, "b": 1})]
    outcome = run(_calling(*calls))
    results = [message["content"] for message in outcome.messages if message["role"] == "tool"]
    assert results[0] == "Error: there is no tool 'subtract'"
    assert "unexpected keyword argument 'c'" in results[1]
    assert results[2] == "Error: a number is missing"
    assert (outcome.status, outcome.reward) == (Status.FAILED, 0.0)


def test_tool_calls_of_one_message_are_answered_together(run: Any) -> None:
    both = [tool_call("add", {"a": 1, "b": 2}), tool_call("add", {"a": 2, "b": 2})]

    def reply(request: Any) -> Any:
        told = [message["content"] for message in request["messages"] if message["role"] == "tool"]
        return assistant(told[0]) if len(told) == 2 else assistant(None, both)

    assert run(reply).reward == 1.0


@pytest.mark.parametrize(
    ("settings", "termination"), [({"max_steps": 5}, "max_steps"), ({"max_errors": 2}, "too_many_errors")]
)
def test_a_limit_ends_the_conversation_with_0(run: Any, settings: Any, termination: str) -> None:
    outcome = run(lambda request: assistant(None, [tool_call("add", {})]), **settings)
    assert (outcome.status, outcome.reward, outcome.termination) == (Status.FAILED, 0.0, termination)


def test_a_tool_may_end_the_conversation(run: Any) -> None:
    """Both calls of the message are answered; after that nobody is asked any more."""
    source = SUMS.replace('{"add": _add}', '{"add": lambda a, b: simulation.stop() or "noted"}').replace(
        "right = said == str(1 + int(simulation.task_id))", 'right = said == "" and len(simulation.messages) == 4'
    )
    asked: list[Any] = []
    calls = [tool_call("add", {"a": 1, "b": 2}), tool_call("add", {"a": 2, "b": 2})]
    outcome = run(lambda request: asked.append(request) or assistant(tool_calls=calls), source)
    assert (outcome.status, outcome.reward, len(asked)) == (Status.PASSED, 1.0, 1)


def test_after_that_it_is_over_whatever_the_benchmark_says(run: Any) -> None:
    """Otherwise the agent's LLM got a call without its result, which providers refuse."""
    source = SUMS.replace('{"add": _add}', '{"add": lambda a, b: simulation.stop()}').replace(
        "        right = said ==", '        said = simulation.ask("And now?") + "3"\n        right = said =='
    )
    call = tool_call("add", {"a": 1, "b": 2})
    outcome = run(lambda request: assistant(tool_calls=[call]), source)
    assert (outcome.status, outcome.reward) == (Status.PASSED, 1.0)


def test_a_task_has_a_seed_of_its_own_for_its_chance(run: Any) -> None:
    source = SUMS.replace('f"said {said}"', 'f"seed {simulation.seed}."')
    outcomes = [
        run(assistant("3"), source, seeds=seeds, benchmark="sums:Sums") for seeds in ("tau2", "per_role", "per_task")
    ]
    assert ["seed 7." in json.dumps(one.reward_info) for one in outcomes] == [True, True, False]


def _swallowing() -> str:
    head, tail = SUMS.split("        said = simulation.ask", 1)
    asks_once = "try:\n            simulation.ask('once', {})\n        "
    catches = "except BaseException:\n            return Result(1.0)\n        "
    return f"{head}        {asks_once}{catches}said = simulation.ask{tail}"


def test_a_benchmark_that_catches_everything_does_not_save_the_agent(run: Any) -> None:
    outcome = run(assistant(None, [tool_call("add", "{no JSON")]), source=_swallowing())
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert run(lambda _: assistant(None, [tool_call("add", {})]), source=_swallowing(), max_steps=4).reward == 0.0


def test_nor_does_it_make_an_outage_the_agents_failure(run: Any) -> None:
    outcome = run(Fault(503), source=_swallowing())
    assert (outcome.status, outcome.reward) == (Status.PROVIDER_ERROR, None)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ("Result(1.5)", "reward 1.5"),
        ("Result(float('nan'))", "reward nan"),
        ("1.0", "returned float, not Result"),
        ("{}['no']", "KeyError"),
    ],
    ids=["above-1", "nan", "no-result", "a-bug"],
)
def test_what_goes_wrong_in_the_benchmark_itself_is_no_score(run: Any, result: str, says: str) -> None:
    outcome = run(assistant("3"), source=SUMS.replace("Result(float(right)", f"{result} or Result(float(right)"))
    assert (outcome.status, outcome.reward) == (Status.ENVIRONMENT_ERROR, None)
    assert says in outcome.detail and len(outcome.messages) == 2


def test_a_crash_of_the_agents_code_scores_0(run: Any) -> None:
    crash = TEMPLATE.replace(
        "        if isinstance(message, MultiToolMessage):", "        raise OSError('no')\n        if 1:"
    )
    outcome = run(assistant("3"), agent=crash)
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)


def test_user_and_judge_are_asked_through_the_gateway(run: Any) -> None:
    asks = SUMS.replace(
        "        right = said",
        "        said = simulation.complete('judge', [{'role': 'user', 'content': said}], temperature=0.5)\n"
        "        right = said",
    )
    outcome = run(lambda request: assistant("3" if request.get("temperature") == 0.5 else "hm"), source=asks)
    assert outcome.reward == 1.0
    assert (outcome.usage["agent"].calls, outcome.usage["judge"].calls) == (1, 1)


def test_the_agent_cannot_read_the_benchmark(run: Any, tmp_path: Path) -> None:
    """Wherever it lies: its file stands among what no rule opens."""
    spy = TEMPLATE.replace(
        "        if isinstance(message, MultiToolMessage):",
        f"        import glob\n        open(glob.glob({str(tmp_path)!r} + '/sums_*.py')[0])\n        if 1:",
    )
    outcome = run(assistant("3"), agent=spy)
    assert outcome.status == Status.AGENT_ERROR and (
        "PermissionError" in outcome.detail or "IndexError" in outcome.detail
    )


@pytest.mark.parametrize("place", ["a + b", "right = said"], ids=["tool", "simulate"])
def test_code_that_ends_its_process_does_not_hang_the_run(run: Any, place: str) -> None:
    """As command-line libraries do on bad input, which the agent may have written."""
    ending = SUMS.replace(place, f"exit('bad input') or {place}" if place == "a + b" else f"exit('no'); {place}")
    outcome = run(_calling(tool_call("add", {"a": 1, "b": 2})), source=ending)
    if place == "a + b":
        assert outcome.status == Status.FAILED and outcome.messages[2]["content"] == "Error: bad input"
    else:
        assert outcome.status == Status.ENVIRONMENT_ERROR and "SystemExit: no" in outcome.detail


def test_no_key_is_in_what_a_benchmark_raises(run: Any) -> None:
    key = "__import__('os').environ['OPENAI_API_KEY']"
    leaking = SUMS.replace("right = said", f"raise ValueError('wrong key: ' + {key}); right = said")
    assert run(assistant("3"), source=leaking).detail.endswith("wrong key: ($OPENAI_API_KEY)")
    outcome = run(_calling(tool_call("add", {"a": 1, "b": 2})), source=SUMS.replace("a + b", f"open({key})"))
    assert "the-key" not in str(outcome.messages) and "($OPENAI_API_KEY)" in str(outcome.messages)


def test_what_cannot_be_sent_is_not_taken_for_the_agents_failure(run: Any) -> None:
    outcome = run(assistant("3"), source=SUMS.replace('f"1 + {simulation.task_id}?"', "None"))
    assert outcome.status == Status.ENVIRONMENT_ERROR and "the agent is told a text, not NoneType" in outcome.detail
    odd = SUMS.replace("a + b", r"'\ud800' * 300000").replace('f"said {said}"', r"'\udfff' * 10000")
    called = tool_call("add", {"a": 1, "b": 2})

    def reply(request: Any) -> Any:
        return assistant("hm") if request["messages"][-1]["role"] == "tool" else assistant(None, [called])

    outcome = run(reply, source=odd)
    content = outcome.messages[2]["content"]
    assert outcome.status == Status.FAILED
    assert content.startswith("???") and content.endswith("(100000 more characters)")
    assert outcome.reward_info["checks"][0]["why"] == "?" * 4000
    json.dumps(outcome.to_json(), ensure_ascii=False).encode()


def test_more_checks_than_fit_are_cut_so_that_the_reward_arrives(run: Any) -> None:
    outcome = run(assistant("3"), source=SUMS.replace('f"said {said}")]', "'x' * 9999)] * 10**5"))
    assert outcome.status == Status.PASSED and len(outcome.reward_info["checks"]) == 500


# -- what stands in the configuration --


def test_tau2s_own_runner_is_no_benchmark_of_ones_own(own: Any) -> None:
    """Workers drive tau2 for it: it has no splits() of its own."""
    with pytest.raises(UserError, match=r"defines no splits\(\)"):
        own("from benchmark import TauBenchRunner\n\nclass Sums(TauBenchRunner):\n    pass\n")


@pytest.mark.slow
def test_a_class_that_runs_itself_is_stopped(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path, "benchmark: sums:Sums\nagent_model: offline/clerk\n")
    itself = SUMS.replace('return {"train"', 'self.measure(); return {"train"')
    (checkout.root / "sums.py").write_text(itself)
    done = checkout.run("benchmark.py")
    assert done.returncode == 3 and "a simulation cannot run a benchmark" in done.stderr


def test_one_installed_file_is_refused(own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytecode and whatever it imports beside it would be open to the agent, and no part of the key."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sums_alone.py").write_text(SUMS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(UserError, match="is one installed file"):
        OwnBenchmark(from_settings({"benchmark": "sums_alone:Sums"}))


def test_each_file_of_its_data_counts(own: Any, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tasks.json").write_text(folder)
    paths = 'data = ("one/tasks.json", "two/tasks.json")'
    facts = own(SUMS.replace('policy = "Add."', f'policy = "Add."\n    {paths}')).facts("Sums")
    assert {"data/one/tasks.json", "data/two/tasks.json"} < set(facts.data_files)


@pytest.mark.parametrize(
    ("source", "name", "says"),
    [
        ("", "Sums", "has no class Sums"),
        ("Sums = 3", "Sums", "has no class Sums"),
        ("class Sum: pass", "Sums", "has no class Sums; did you mean Sum?"),
        ("class Sums: pass", "Sums", "is no subclass of BenchmarkRunner"),
        ("import no_such_thing", "Sums", "cannot be imported: No module named 'no_such_thing'"),
        ("def (", "Sums", "cannot be imported: SyntaxError"),
        ("exit('enough')", "Sums", "cannot be imported: SystemExit: enough"),
        (SUMS.replace("def splits", "def split"), "Sums", "defines no splits()"),
        (SUMS.replace("def simulate", "def run"), "Sums", "defines no simulate()"),
    ],
    ids=["empty", "3", "nearly", "another", "import-fails", "no-python", "exit", "no-splits", "no-simulate"],
)
def test_a_class_that_cannot_be_used_is_one_clear_line(own: Any, source: str, name: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        own(source, name)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"test": ["3"]', '"valid": ["3"]', "there are no test tasks"),
        ('{"train": ["1", "2"], "test": ["3"]}', "[]", "splits() of sums_"),
        ('"test": ["3"]', '"test": ["2"]', "test and train have"),
        ('"test": ["3"]', '"test": ["3", "3"]', "twice"),
        ('policy = "Add."', "policy = 3", "policy and version are texts"),
        ('policy = "Add."', 'data = ("nowhere.db",)\n    policy = "Add."', "nowhere.db"),
        (
            'policy = "Add."',
            'data = "numbers.json"\n    policy = "Add."',
            "data is a list of paths, not 'numbers.json'",
        ),
        ('"test": ["3"]', '"test": [3]', "a task id is a text that can be printed, not 3"),
        ('"test": ["3"]', r'"test": ["3\nval_score: 1.0"]', "a task id is a text that can be printed"),
        ('"test": ["3"]', '"test": "3"', "each split is a name with a list of task ids"),
        ("tools = (", 'tools = ("add",); other = (', "a tool is "),
        ('policy = "Add."', r'policy = "\ud800"', "surrogates not allowed"),
        ('return {"train"', 'exit(1); return {"train"', "raised SystemExit: 1"),
    ],
    ids=[
        *("no-test", "no-mapping", "overlap", "twice", "policy", "no-data", "one-path", "number", "lines", "text"),
        *("tools", "half-a-character", "exit"),
    ],
)
def test_what_a_class_says_of_itself_is_checked(own: Any, old: str, new: str, says: str) -> None:
    assert old in SUMS
    with pytest.raises(UserError) as error:
        own(SUMS.replace(old, new)).facts("Sums")
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_domain_is_tau2s_alone() -> None:
    with pytest.raises(UserError, match="domain: sums:Sums has no domains: take it out"):
        from_settings({"benchmark": "sums:Sums", "domain": "retail"})
    assert from_settings({"benchmark": "my.sums:Sums"}).domain == "Sums"


def test_a_package_offers_its_benchmark_by_name(own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site"
    (package / "sums_pack").mkdir(parents=True)
    (package / "sums_pack" / "__init__.py").write_text("")
    (package / "sums_pack" / "more.py").write_text("ONE = 1\n")
    (package / "sums_pack" / "bench.py").write_text(SUMS)
    (package / "sums_pack-1.dist-info").mkdir()
    (package / "sums_pack-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: sums-pack\nVersion: 1\n"
    )
    points = "[auto_harness.benchmarks]\nsums = sums_pack.bench:Sums\n"
    (package / "sums_pack-1.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(package))
    with pytest.raises(UserError, match="did you mean 'sums'"):
        from_settings({"benchmark": "sumz"})
    benchmark = OwnBenchmark(from_settings({"benchmark": "sums"}))
    facts = benchmark.facts("sums")
    assert (facts.flavour, facts.version) == ("sums", "1")
    assert set(facts.data_files) == {f"code/sums_pack/{name}.py" for name in ("__init__", "bench", "more")}
    assert benchmark.folders == [str(package / "sums_pack")]


def test_scores_compare_only_under_the_same_code_version_and_data(own: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "numbers.json").write_text("[1]")

    def measure(source: str) -> str:
        benchmark = own(source.replace('policy = "Add."', 'policy = "Add."\n    data = ("data",)'))
        facts = benchmark.facts("Sums")
        facts.data_files["code"] = facts.data_files.pop(next(one for one in facts.data_files if "sums_" in one))
        named = {"flavour": "sums", "version": facts.version, "data_checksum": json.dumps(facts.data_files)}
        known = {**named, "splits": facts.splits, "layers": {}}
        return Measure(from_settings({"benchmark": "sums:Sums", "agent_model": "m"}), known).id

    first = measure(SUMS)
    assert measure(SUMS) == first
    assert measure(SUMS.replace("1 + int", "2 + int")) != first
    assert measure(SUMS.replace('policy = "Add."', 'version = "2"\n    policy = "Add."')) != first
    (tmp_path / "data" / "numbers.json").write_text("[2]")
    assert measure(SUMS) != first


@pytest.mark.slow
def test_prepare_has_the_benchmark_fetch_its_data(tmp_path: Path) -> None:
    fetching = SUMS.replace(
        "    def splits",
        "    data = ('fetched.txt',)\n\n    def provide_data(self):\n        open('fetched.txt', 'w').close()\n\n"
        "    def reference(self, task_id):\n        return []\n\n    def splits",
    )
    checkout = Checkout.make(tmp_path, "benchmark: sums:Sums\nagent_model: offline/clerk\n")
    (checkout.root / "sums.py").write_text(fetching)
    checkout.commit()
    before = checkout.run("benchmark.py")
    assert before.returncode == 3 and "fetched.txt: No such file or directory; " in before.stderr
    assert checkout.run("prepare.py").returncode == 0
    assert checkout.run("benchmark.py").returncode == 0


def test_without_a_reference_the_offline_model_says_so(own: Any) -> None:
    with pytest.raises(UserError, match=r"has no reference\(\): the offline model cannot play it"):
        own().script("Sums", "1")


def test_bytecode_that_lies_around_is_not_believed(own: Any, tmp_path: Path) -> None:
    """It may say that it was made from this very source."""
    own()
    module = max(tmp_path.glob("sums_*.py"))
    module.write_text(SUMS.replace('"Add."', '"Bad."'))
    stamp = module.stat().st_mtime
    py_compile.compile(str(module), doraise=True)
    module.write_text(SUMS)
    os.utime(module, (stamp, stamp))
    benchmark = OwnBenchmark(from_settings({"benchmark": f"{module.stem}:Sums", "agent_model": "openai/m"}))
    assert benchmark.facts("Sums").policy == "Add."
    believed = subprocess.run(
        [sys.executable, "-c", f"import {module.stem}; print({module.stem}.Sums.policy)"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert believed.stdout.strip() == "Bad.", believed.stderr  # if it is imported as usual
