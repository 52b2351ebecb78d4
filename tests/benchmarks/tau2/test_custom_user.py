"""Your own user simulator: where it comes from, whose fault it is, and that scores of another never mix."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from llm_server import LLMServer
from provider import Provider

from autoharness.benchmarks.tau2 import custom_user
from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.setting_sources import from_settings
from autoharness.core.settings import Experiment
from autoharness.engine.score_identity import Measure

MODEL = "openai/solver"

LOUD = """
from tau2.user.user_simulator import UserSimulator

class Loud(UserSimulator):
    def generate_next_message(self, message, state):
        said, state = super().generate_next_message(message, state)
        if said.content:
            said.content = f"LISTEN! {said.content}"
        return said, state
"""

PLAIN = """
from tau2.data_model.message import SystemMessage, UserMessage
from tau2.utils.llm_utils import generate

class Plain:
    '''No subclass of anything: it has the methods, and asks once.'''
    def __init__(self, tools=None, instructions=None, llm=None, llm_args=None):
        self.instructions = instructions
    def set_seed(self, seed): pass
    def stop(self, message=None, state=None): pass
    def get_init_state(self, message_history=None): return 0
    def generate_next_message(self, message, state):
        scenario = SystemMessage(role="system", content=f"<scenario>\\n{self.instructions}\\n</scenario>")
        heard = UserMessage(role="user", content=message.content)
        said = generate(model="another", messages=[scenario, heard], temperature=0.5)
        return UserMessage(role="user", content=said.content), state + 1
"""

BROKEN = """
from tau2.data_model.message import UserMessage
from tau2.user.user_simulator import UserSimulator

class Raises(UserSimulator):
    def generate_next_message(self, message, state):
        raise RuntimeError("I have\\nhad enough")

class SaysNothing(UserSimulator):
    def generate_next_message(self, message, state):
        return UserMessage(role="user", content=""), state

class WantsMore(UserSimulator):
    def __init__(self, tools, instructions, llm, llm_args, mood): pass

class Incomplete:
    def get_init_state(self, message_history=None): pass

NUMBER = 1
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "root" / "agent").mkdir(parents=True)
    (tmp_path / "root" / "agent" / "agent.py").write_text("class HarnessAgent: pass\n")
    (tmp_path / "root" / "users.py").write_text(LOUD + PLAIN + BROKEN)
    monkeypatch.chdir(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def server(tau2: Tau2, monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    with LLMServer(Provider(tau2).reply) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "the-key")
        yield server


@pytest.fixture
def run(root: Path, server: LLMServer, simulator: Callable[..., Any]) -> Callable[[str], Outcome]:
    def run(spec: str) -> Outcome:
        outcome: Outcome = simulator(agent_model=MODEL, user=spec).run(Trial("create_task_1", 0, 1), diagnose=False)
        return outcome

    return run


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("nowhere:Loud", "user: there is no module nowhere: neither here nor among the installed ones"),
        ("people.angry:Loud", "user: there is no module people.angry: neither"),
        ("users:Lound", "user: users:Lound: users has no class Lound; did you mean Loud?"),
        ("users:NUMBER", "user: users:NUMBER: users has no class NUMBER"),
        ("users:Incomplete", "no user simulator: it has no generate_next_message, set_seed, stop"),
        ("agent.agent:HarnessAgent", "agent/agent.py is the agent's: put it beside the doors"),
    ],
)
def test_a_mistake_is_one_line(spec: str, expected: str) -> None:
    with pytest.raises(UserError) as error:
        custom_user.load(spec)
    assert expected in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("code", ["import nowhere", "def", "1 / 0"])
def test_a_module_that_does_not_load_is_one_line(root: Path, code: str) -> None:
    (root / "users.py").write_text(code)
    with pytest.raises(UserError, match="user: users cannot be imported: ") as error:
        custom_user.load("users:Loud")
    assert "\n" not in str(error.value)


def test_a_link_to_the_agents_folder_is_no_way_around(root: Path) -> None:
    (root / "people.py").symlink_to(root / "agent" / "agent.py")
    with pytest.raises(UserError, match="is the agent's"):
        custom_user.load("people:HarnessAgent")


def test_what_lies_beside_it_is_not_imported(root: Path) -> None:
    """Otherwise a file planted in the root would stand in for a module of a library."""
    (root / "planted.py").write_text("raise SystemExit")
    (root / "users.py").write_text("import planted\nclass Loud: pass\n")
    with pytest.raises(UserError, match="cannot be imported: No module named 'planted'"):
        custom_user.load("users:Loud")


@pytest.mark.usefixtures("root")
def test_a_class_of_an_installed_package_will_do() -> None:
    found = custom_user.load("tau2.user.user_simulator:UserSimulator")
    assert found.cls.__name__ == "UserSimulator" and len(found.sha256) == 64


@pytest.mark.parametrize(
    "value", ["users", "users:", ":Loud", "users.Loud", "a b:C", "../users:Loud", "users:Loud:Loud"]
)
def test_what_names_no_class_is_refused(value: str) -> None:
    with pytest.raises(UserError, match="user: must be such as 'users:Impatient'"):
        from_settings({"user": value})


def test_it_talks_to_the_agent_and_asks_the_users_model(run: Callable[[str], Outcome]) -> None:
    outcome = run("users:Loud")
    assert outcome.status == Status.PASSED, outcome.detail
    said = [one["content"] for one in outcome.messages if one["role"] == "user" and one["content"]]
    assert said and all(text.startswith("LISTEN! ") for text in said)
    assert outcome.usage["user"].calls == len([one for one in outcome.messages if one["role"] == "user"])


def test_one_that_is_no_subclass_asks_through_the_gateway_too(
    run: Callable[[str], Outcome], server: LLMServer
) -> None:
    outcome = run("users:Plain")
    asked = [one.body for one in server.requests if "<scenario>" in json.dumps(one.body)]
    assert outcome.usage["user"].calls == len(asked) > 0
    assert {(body["model"], body["temperature"]) for body in asked} == {("solver", 0.5)}


@pytest.mark.parametrize(
    ("name", "why"), [("Raises", "RuntimeError: I have had enough"), ("SaysNothing", "ValueError: ")]
)
def test_its_failures_are_not_the_agents(run: Callable[[str], Outcome], name: str, why: str) -> None:
    outcome = run(f"users:{name}")
    assert (outcome.status, outcome.reward) == (Status.USER_ERROR, None)
    assert f"users:{name} raised {why}" in outcome.detail


@pytest.mark.usefixtures("root")
def test_one_that_cannot_be_made_is_said_before_anything_is_run() -> None:
    with pytest.raises(UserError, match="user: users:WantsMore cannot be made as tau2 makes its own: TypeError"):
        Tau2(Experiment(domain="mock", user="users:WantsMore")).facts("mock")


def test_it_is_part_of_what_a_score_depends_on_to_the_last_byte(root: Path) -> None:
    def key(**settings: Any) -> Any:
        experiment = Experiment(domain="mock", **settings)
        facts = asdict(Tau2(experiment).facts("mock")) | {"layers": {}}
        return Measure(experiment, facts).key(Trial("create_task_1", 0, 1))

    before = key(user="users:Loud")
    assert before != key() and before != key(user="users:Plain")
    (root / "users.py").write_text((root / "users.py").read_text() + "# louder\n")
    assert before != key(user="users:Loud")


def test_so_is_the_package_that_it_comes_from(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = root / "site" / "users_pack"
    package.mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "loud": "from users_pack.words import WORD\n" + LOUD,
        "words": "WORD = 1\n",
    }.items():
        (package / f"{name}.py").write_text(text)
    (root / "mine.py").write_text("from users_pack.loud import Loud\n")
    monkeypatch.syspath_prepend(str(root / "site"))
    before = custom_user.load("mine:Loud").sha256
    assert custom_user.load("mine:Loud").sha256 == before
    (package / "words.py").write_text("WORD = 2\n")
    changed = custom_user.load("mine:Loud").sha256
    (root / "mine.py").write_text("from users_pack.loud import Loud\n\nLoud.PATCHED = True\n")
    assert len({before, changed, custom_user.load("mine:Loud").sha256}) == 3


@pytest.mark.slow
def test_it_runs_from_the_command_line_and_another_version_runs_anew(prepared: Checkout) -> None:
    def words() -> str:
        return "".join(path.read_text() for path in prepared.root.glob("workspace/traces/latest/*/trace.md"))

    config = prepared.root / "experiment_config.yaml"
    config.write_text(f'{config.read_text()}user: "users:Loud"\n')
    for word in ("LISTEN", "HEAR"):
        (prepared.root / "users.py").write_text(LOUD.replace("LISTEN", word))
        done = prepared.run("benchmark.py", "--num-tasks", "1")
        assert done.returncode == 0, done.stderr
        assert f"{word}! " in words()
    assert "LISTEN! " not in words()
