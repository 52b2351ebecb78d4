"""The worked example of docs/your-benchmark.md, through the commands."""

import re
from pathlib import Path

import pytest
from checkout import Checkout
from conftest import ROOT

DOC = (ROOT / "docs" / "your-benchmark.md").read_text()
CONFIG = 'benchmark: "shop_questions:ShopQuestions"\nagent_model: offline/clerk\nmax_concurrency: 2\nmax_trials: 1\n'


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The page's own code in a checkout where prepare was run."""
    checkout = Checkout.make(tmp_path_factory.mktemp("shop"), CONFIG)
    (found,) = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
    (checkout.root / "shop_questions.py").write_text(found)
    checkout.commit()
    assert "ok    data: shop_questions 1, 1 files, whose" in checkout.run("prepare.py", "--check").stdout
    done = checkout.run("prepare.py")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^baseline: 0\.\d+  \(\d+/16 passed, 0 infra errors\)", done.stdout, re.MULTILINE)
    return checkout


def test_the_example_is_prepared_as_a_benchmark_that_comes_along(shop: Checkout) -> None:
    check = shop.run("prepare.py", "--check")
    assert check.returncode == 0, check.stdout
    assert "ok    data: shop_questions 1, 1 files, as prepare found them" in check.stdout
    program = (shop.root / "workspace" / "PROGRAM.md").read_text()
    assert "Questions about the orders of a small shop." in program and "tau2" not in program
    assert "`generate` raises `MalformedToolCall`" in program


def test_the_example_has_traces_that_say_what_was_checked(shop: Checkout) -> None:
    traces = [path.read_text() for path in (shop.root / "workspace/traces/baseline").glob("*/trace.md")]
    assert len(traces) == 24
    scored = [trace for trace in traces if "agent_error" not in trace]
    assert scored and all("met: the right answer was handed in (handed in: [" in trace for trace in scored)


@pytest.mark.slow
def test_the_gate_judges_an_edit_of_the_examples_agent(shop: Checkout, tmp_path: Path) -> None:
    checkout = shop.copy(tmp_path / "own")
    text = checkout.agent.read_text()
    lines = (
        "Before you end, check that every request is done.",
        "Never guess an identifier; look it up first.",
        "Hand over to a human agent only as a last resort.",
    )
    checkout.agent.write_text(text.replace("provided below.\n", "provided below.\n" + "\n".join(lines) + "\n", 1))
    judged = checkout.run("gating.py")
    assert judged.returncode in (0, 1), judged.stderr
    assert re.search(r"^verdict: (accepted|rejected)", judged.stdout, re.MULTILINE)
    assert checkout.run("report.py").returncode == 0
    assert "the right answer was handed in" in (checkout.root / "workspace/report.html").read_text()


@pytest.mark.slow
def test_an_edit_that_copies_a_question_is_refused(shop: Checkout, tmp_path: Path) -> None:
    checkout = shop.copy(tmp_path / "own")
    with checkout.agent.open("a") as agent:
        agent.write('\nKNOWN = {"What was the smallest order from Lugano in May?": "1"}\n')
    judged = checkout.run("gating.py")
    assert judged.returncode == 1 and "carries" in judged.stdout


@pytest.mark.slow
def test_held_out_questions_stay_hidden(shop: Checkout) -> None:
    done = shop.run("benchmark.py", "--split", "test")
    assert done.returncode == 0 and "held_out: 16 tasks" in done.stdout and "PASS" not in done.stdout


def test_tau2s_own_results_file_is_not_for_it(shop: Checkout) -> None:
    done = shop.run("report.py", "--export", "tau2")
    assert done.returncode == 3 and "tau2" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_from_python_it_is_run_by_its_class(shop: Checkout) -> None:
    script = shop.root / "script.py"
    script.write_text(
        "from shop_questions import ShopQuestions\n"
        "runner = ShopQuestions(agent_model='offline/faultless-clerk', split='train')\n"
        "print(runner.val_score(runner.run(['0', '1'])))\n"
    )
    done = shop.run("script.py")
    script.unlink()
    assert done.stdout.strip() == "1.0", done.stderr
