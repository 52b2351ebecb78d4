"""`python prepare.py`: everything is there after it, nothing is lost, and a second time changes nothing."""

import json
from pathlib import Path

import pytest
from checkout import MOCK, Checkout
from conftest import ROOT, TEMPLATE
from llm_server import LLMServer, assistant

from autoharness.vault.store import Store

OFFLINE = ("--set", "agent_model=offline/clerk", "--set", "agent_url=")


def test_a_fresh_checkout_is_ready_after_it(prepared: Checkout) -> None:
    workspace = prepared.root / "workspace"
    results = (workspace / "results.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in results] == ["iteration", "0"]
    assert json.loads((workspace / "suite.json").read_text()) == {"tasks": [], "threshold": 0.8, "last_results": {}}
    train = json.loads((workspace / "train_results.json").read_text())
    assert train["split"] == "train" and set(train["results"].values()) == {0.0, 1.0}
    assert len(list((workspace / "traces" / "baseline").iterdir())) == len(train["results"])
    assert (workspace / "domain" / "policy.md").read_text() and (workspace / "learnings.md").read_text()
    assert "gating.py" in (prepared.root / "workspace" / "PROGRAM.md").read_text()
    assert prepared.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_a_second_time_changes_nothing(prepared: Checkout) -> None:
    before = prepared.contents()
    done = prepared.run("prepare.py")
    assert done.returncode == 0
    assert prepared.contents() == before
    assert done.stdout.startswith("baseline: 0.5000  (2/4 passed, 0 infra errors)")


@pytest.mark.slow
def test_an_edited_agent_stays_unless_it_is_to_be_reset_and_then_it_is_kept(prepared: Checkout) -> None:
    prepared.agent.write_text(edited := TEMPLATE + "# mine\n")
    assert prepared.run("prepare.py").returncode == 0
    assert prepared.agent.read_text() == edited
    assert prepared.run("prepare.py", "--reset-agent").returncode == 0
    assert prepared.agent.read_text() == TEMPLATE
    assert edited in [path.read_text() for path in (Store(prepared.vault).folder / "agents").iterdir()]


@pytest.mark.slow
def test_another_template_takes_the_place_of_a_template_and_of_an_edit_only_if_asked(prepared: Checkout) -> None:
    chosen = prepared.run("prepare.py", "--template", "openai_sdk")
    assert chosen.returncode == 0
    assert prepared.agent.read_text() == (ROOT / "agent/templates/openai_sdk.py").read_text()
    assert TEMPLATE in [path.read_text() for path in (Store(prepared.vault).folder / "agents").iterdir()]
    assert "is the template openai_sdk, the baseline was another file" in chosen.stderr
    prepared.agent.write_text(edited := prepared.agent.read_text() + "# mine\n")
    refused = prepared.run("prepare.py", "--template", "tau_bench")
    assert (refused.returncode, prepared.agent.read_text()) == (3, edited)
    assert refused.stderr.splitlines()[-1] == (
        "error: agent/agent.py is edited: add --reset-agent to replace it by agent/templates/tau_bench.py; "
        "it is kept in the vault"
    )
    assert prepared.run("prepare.py", "--template", "openai_sdk", "--reset-agent").returncode == 0
    assert prepared.agent.read_text() == (ROOT / "agent/templates/openai_sdk.py").read_text()
    assert edited in [path.read_text() for path in (Store(prepared.vault).folder / "agents").iterdir()]
    prepared.agent.write_text("import not_to_be_found\n\nclass HarnessAgent: ...\n")
    failing = next(line for line in prepared.run("prepare.py", "--check").stdout.splitlines() if "FAIL" in line)
    assert "agent/agent.py: imports not_to_be_found, not installed here" in failing


@pytest.mark.slow
def test_the_baseline_may_be_that_of_any_template(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path)
    done = checkout.run("prepare.py", "--template", "openai_sdk")
    assert done.returncode == 0 and "none of the templates" not in done.stderr
    row = json.loads((checkout.kept / "ledger.jsonl").read_text().splitlines()[0])
    assert (row["val_score"], set(row["train"].values())) == (0.5, {0.0, 1.0})


@pytest.mark.slow
@pytest.mark.slow
def test_check_asks_the_models_only_if_told_to(tmp_path: Path) -> None:
    with LLMServer(lambda one: assistant("1, 2, 3")) as server:
        checkout = Checkout.make(tmp_path, f"domain: mock\nagent_model: mine\nagent_url: {server.url}\n")
        checkout.run("prepare.py", "--check")
        assert server.asked == 0
        done = checkout.run("prepare.py", "--check", "--ask")
        assert "note  agent: tools: asked to call a tool, it called none; it said: '1, 2, 3'" in done.stdout
        assert 0 < server.asked < 12
    assert "ok    servers: none to ask" in checkout.run("prepare.py", "--check", "--ask", *OFFLINE).stdout
    assert checkout.run("prepare.py", "--ask").returncode == 3


@pytest.mark.slow
def test_check_says_of_every_part_whether_it_is_in_order_and_costs_nothing(prepared: Checkout) -> None:
    """A failing line ends with the command that mends it."""
    before = prepared.contents()
    done = prepared.run("prepare.py", "--check")
    assert (done.returncode, "FAIL" in done.stdout) == (0, False), done.stdout
    assert prepared.contents() == before
    (prepared.root / "workspace" / "suite.json").unlink()
    (prepared.root / "workspace" / "PROGRAM.md").write_text("")
    prepared.agent.write_text("class HarnessAgent")
    manifest = json.loads((prepared.kept / "data.json").read_text())
    manifest["files"]["domains/mock/db.json"] = "other"
    (prepared.kept / "data.json").write_text(json.dumps(manifest))
    (prepared.root / "experiment_config.yaml").write_text(
        "domain: mock\nagent_model: gpt-5.4\nuser_model: nobody-knows\n"
    )
    done = prepared.run("prepare.py", "--check", OPENAI_API_KEY="")
    lines = [line.removeprefix("FAIL").strip() for line in done.stdout.splitlines() if line.startswith("FAIL")]
    failing = {line.partition(": ")[0]: line for line in lines}
    assert done.returncode == 3
    assert failing["agent/agent.py"].endswith(" prepare.py --reset-agent")
    assert "not what prepare found: domains/mock/db.json" in failing["data"]
    assert failing["agent model"].endswith("gpt-5.4: OPENAI_API_KEY is not set; echo 'OPENAI_API_KEY=...' >> .env")
    assert "litellm knows no provider" in failing["user model"]
    assert 'set prices: {"nobody-knows": {input: USD, output: USD}}' in done.stdout
    assert {"workspace/PROGRAM.md", "workspace", "baseline", "evaluator"} <= set(failing)
    assert "ok    isolation: sandbox" in done.stdout


@pytest.mark.slow
def test_a_missing_key_is_one_line_before_anything_is_run(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path, "domain: mock\nagent_model: gpt-5.4\n")
    (checkout.root / ".env").write_text("OPENAI_API_KEY=\n")
    done = checkout.run("prepare.py")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1] == "error: no key for gpt-5.4: OPENAI_API_KEY is not set; put it into .env"
    assert not list((checkout.kept / "trials").iterdir())


@pytest.mark.slow
def test_the_configuration_is_made_from_its_template(tmp_path: Path) -> None:
    """Its active default is the offline model; here prepare ends at the lock, after a look at the settings alone."""
    checkout = Checkout.make(tmp_path)
    (checkout.root / "experiment_config.yaml").unlink()
    (checkout.root / "program_templates" / "base.md").unlink()
    done = checkout.run("prepare.py")
    assert (done.returncode, "program_templates/base.md" in done.stderr) == (3, True)
    made = (checkout.root / "experiment_config.yaml").read_text()
    assert made == (ROOT / "experiment_config.yaml.template").read_text()
    assert '\nagent_model: "offline/clerk"\n' in made


@pytest.mark.slow
@pytest.mark.parametrize("config", ["agent_model: [", "domain: nowhere\nagent_model: offline/clerk\n"])
def test_bad_settings_are_one_line(tmp_path: Path, config: str) -> None:
    done = Checkout.make(tmp_path, config).run("prepare.py")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("error: ") and "Traceback" not in done.stderr


def test_the_composed_program_is_the_committed_one() -> None:
    from autoharness.loop.program_md import committed, composed

    assert (ROOT / "PROGRAM.md").read_text() == committed()
    assert composed("docker compose run --rm autoeval python").count("docker compose run --rm autoeval python ") > 8


@pytest.mark.slow
def test_an_agent_that_fails_everywhere_is_no_baseline(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path)
    checkout.agent.write_text("x(")
    done = checkout.run("prepare.py")
    assert done.returncode == 3 and "agent/agent.py fails in every conversation: " in done.stderr
    assert "agent/agent.py is none of the templates" in done.stderr
    assert not (checkout.kept / "ledger.jsonl").exists()


@pytest.mark.slow
def test_a_gate_split_that_everybody_sees_is_refused(tmp_path: Path) -> None:
    done = Checkout.make(tmp_path, f"{MOCK}gate_split: base\n").run("prepare.py")
    assert done.returncode == 3 and "gate_split: base has train tasks in it" in done.stderr
