"""Fixtures for all tests: no keys, a vault of the test's own, and tau2 loaded once."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from checkout import Checkout
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = ROOT.parent / "shared" / "recordings"

sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from llm_server import Fault, LLMServer  # noqa: E402
from provider import Provider  # noqa: E402
from solver import Solver  # noqa: E402

from autoharness.benchmarks.tau2.adapter import Tau2  # noqa: E402
from autoharness.core.settings import Experiment  # noqa: E402
from autoharness.engine.simulator import Simulator  # noqa: E402
from autoharness.host.pool import Hosts, confinement_of  # noqa: E402
from autoharness.host.process import AgentFile  # noqa: E402

hypothesis.settings.register_profile("no test measures seconds", deadline=None)
hypothesis.settings.load_profile("no test measures seconds")

TEMPLATE = (ROOT / "agent" / "templates" / "tau_bench.py").read_text()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: one that begins last has all other processes wait for it."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_API_BASE")) or name in ("AGENT_MODEL", "AGENT_REASONING_EFFORT"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AUTOHARNESS_VAULT", str(tmp_path / "vault"))


@pytest.fixture(scope="session")
def tau2() -> Tau2:
    return Tau2()


@pytest.fixture
def simulator(tau2: Tau2, tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Makes a Simulator: real tau2, a real agent host; models and agent file as the test says."""
    opened: list[Hosts] = []

    def make(agent_source: str = TEMPLATE, **settings: object) -> Simulator:
        experiment = Experiment(**{"domain": "mock", "llm_retries": 0, "simulation_retries": 0} | settings)  # type: ignore[arg-type]
        agent = AgentFile(agent_source, experiment.agent_model, experiment.reasoning_effort)
        confinement = confinement_of(experiment, tmp_path, tau2.folders)
        opened.append(Hosts({"": agent}, experiment.agent_timeout_s, confinement))
        return Simulator(Tau2(experiment), experiment, opened[-1])

    yield make
    for hosts in opened:
        hosts.close()


@pytest.fixture
def provider(tau2: Tau2, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """What answers models whose names begin with "openai/"."""
    provider = Provider(tau2)
    with LLMServer(provider.reply) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "the-key")
        yield provider


@pytest.fixture(scope="session")
def _prepared_once(tmp_path_factory: pytest.TempPathFactory) -> "Checkout":
    from checkout import Checkout

    checkout = Checkout.make(tmp_path_factory.mktemp("prepared"))
    done = checkout.run("prepare.py")
    assert done.returncode == 0, done.stderr
    return checkout


@pytest.fixture
def prepared(_prepared_once: "Checkout", tmp_path: Path) -> "Checkout":
    """A checkout of the test's own in which prepare was run: the mock domain, the offline model."""
    return _prepared_once.copy(tmp_path / "own")


@pytest.fixture
def solver_server(tau2: Tau2) -> Iterator[tuple[LLMServer, set[str]]]:
    """A server that solves the mock domain, but for requests in which one of the words in the set occurs."""
    down: set[str] = set()
    solver = Solver(tau2._tasks("mock").values())

    def answer(request: dict[str, Any]) -> Any:
        text = json.dumps(request)
        return Fault(503) if any(word in text for word in down) else solver.reply(request)

    with LLMServer(answer) as server:
        yield server, down


CHROMIUM_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """A headless Chromium. Where there is none the test is skipped, but for where one was promised."""
    path = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if not path:
        assert not os.environ.get("AUTOHARNESS_BROWSER"), "AUTOHARNESS_BROWSER is set, and there is no Chromium"
        pytest.skip("there is no Chromium: make browser")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield opened
        opened.close()
