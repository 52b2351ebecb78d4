"""`python report.py --export`: what other programs read; nothing held out in it, but where a person reveals it."""

import csv
import io
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import openpyxl
import pytest
from checkout import MOCK, Checkout
from held_out_search import Search
from hypothesis import given
from hypothesis import strategies as st

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.commands.report import main
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, digest, mean
from autoharness.core.pass_k import pass_hat_k
from autoharness.report import tables
from autoharness.report.exports import NAMES, NEMO, ranking
from autoharness.report.tables import MOST_CHARS, fitting, harmless
from autoharness.vault.iterations import Edit, Iteration, Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Baseline, Gate, Look, Record
from autoharness.vault.store import Store
from perf.report_vault import Night, make_night

TRIALS = 3
FORMULA = "=cmd|' /C calc'!A0"
BAD_TEXT = "\x00\x1b[31m\ud800" + FORMULA
"""What a terminal, XML and UTF-8 do not like, before a formula."""

Exported = Callable[..., Path]

REVEALING = [kind for kind in NAMES if kind != NEMO]
"""What can have single results in it."""


@pytest.fixture(scope="module")
def _prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout.make(tmp_path_factory.mktemp("exports"), f"{MOCK}trials: {TRIALS}\n")
    done = checkout.run("prepare.py")
    assert done.returncode == 0, done.stderr
    _try_something(Store(checkout.vault))
    return checkout


def _try_something(store: Store) -> None:
    """An iteration whose edit was refused after one train trial, in which the agent said what harms spreadsheets."""
    _, key, outcome = next(one for one in _trials(store) if one[1]["task"] in Ledger(store).rows[0].train)
    agent = store.keep_agent(b"# another agent")
    said = {
        "role": "assistant",
        "content": BAD_TEXT,
        "tool_calls": None,
        "turn_idx": 0,
        "timestamp": "-",
        "cost": 0.0,
    }
    tried = replace(
        outcome,
        trial=replace(outcome.trial, agent=agent),
        status=Status.AGENT_ERROR,
        reward=0.0,
        detail=FORMULA,
        messages=[said, said | {"content": "x" * 40_000}],
    )
    store.keep(key | {"agent": agent}, tried)
    edit = Edit(agent=agent)
    row = Ledger(store).rows[0]
    Iterations(store).save(
        Iteration(
            1,
            row.measure,
            row.agent,
            "main",
            "scripted",
            edit=edit,
            end="refused",
            finished="2026-11-26T01:00:00+00:00",
        )
    )


def _trials(store: Store) -> list[tuple[Path, dict[str, object], Outcome]]:
    documents = [(path, json.loads(path.read_text())) for path in sorted(store.folder.glob("trials/*.json"))]
    return [(path, document["key"], Outcome.from_json(document["outcome"])) for path, document in documents]


@pytest.fixture
def checkout(prepared: Checkout, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """With a baseline of three trials a task, and one refused edit."""
    monkeypatch.chdir(prepared.root)
    monkeypatch.setenv("AUTOHARNESS_VAULT", str(prepared.vault))
    return prepared


@pytest.fixture
def store(checkout: Checkout) -> Store:
    return Store(checkout.vault)


@pytest.fixture
def exported(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> Exported:
    """Exports, and returns the file."""

    def run(kind: str, *arguments: str) -> Path:
        assert main(["--export", kind, *arguments]) == 0
        line = capsys.readouterr().out.splitlines()[0]
        assert line.startswith("exported: ")
        return Path(line.removeprefix("exported: ").partition("  (")[0])

    return run


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_line_for_each_simulation_of_a_train_task(exported: Exported, store: Store) -> None:
    path = exported("csv")
    assert path == Path("workspace/export.csv")
    rows, train = _rows(path), Ledger(store).rows[0].train
    kept = {
        (outcome.trial.task_id, outcome.trial.number, outcome.trial.agent[:12]): outcome
        for _, _, outcome in _trials(store)
        if outcome.trial.task_id in train
    }
    assert len(rows) == len(kept) == len(train) * TRIALS + 1
    for row in rows:
        outcome = kept[row["task"], int(row["trial"]), row["agent"]]
        assert (float(row["reward"]), row["status"]) == (outcome.reward, outcome.status)
        assert (int(row["turns"]), int(row["seed"])) == (len(outcome.messages), outcome.trial.seed)
        assert int(row["agent_llm_calls"]) == outcome.usage["agent"].calls
        assert float(row["cost_usd"]) == outcome.cost_usd


def test_each_line_names_the_version_or_the_iteration_that_it_belongs_to(exported: Exported) -> None:
    names = [row["version"] for row in _rows(exported("csv"))]
    assert set(names) == {"baseline", "iteration 1 (refused)"}
    assert names.count("iteration 1 (refused)") == 1
    assert {row["version"] for row in _rows(exported("csv", "--version", "baseline"))} == {"baseline"}


def test_jsonl_has_the_key_and_the_conversation(exported: Exported, store: Store) -> None:
    lines = [json.loads(line) for line in exported("jsonl").read_text().splitlines()]
    stored = {digest(key): json.loads(path.read_text()) for path, key, _ in _trials(store)}
    for line in lines:
        assert {"key": line["key"], "outcome": line["outcome"]} == stored[digest(line["key"])]
    assert len(lines) == len(_rows(exported("csv")))


def test_xlsx_has_a_ranking_the_runs_and_the_turns(exported: Exported, store: Store) -> None:
    book = openpyxl.load_workbook(exported("xlsx"))
    assert book.sheetnames == ["summary", "runs", "turns"]
    for sheet in book:
        assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", sheet.dimensions)
        assert all(cell.font.bold for cell in sheet[1])
        hidden = {name for name, dimension in sheet.column_dimensions.items() if dimension.hidden}
        assert {sheet[f"{name}1"].value for name in hidden} == (set() if sheet.title == "summary" else {"raw"})
    summary, runs, turns = (_as_dicts(sheet) for sheet in book)
    baseline = Ledger(store).versions[0].row
    assert [(row["rank"], row["version"], row["val_score"]) for row in summary] == [
        (1, "baseline", pytest.approx(baseline.val_score))
    ]
    assert (summary[0]["val_tasks"], summary[0]["train_mean"]) == (4, mean(baseline.train.values()))
    assert len(turns) == sum(row["turns"] for row in runs)
    assert all(json.loads(row["raw"])["trial"]["task_id"] == row["task"] for row in runs)
    by_run = {row["run"]: row for row in runs}
    assert all(row["task"] == by_run[row["run"]]["task"] for row in turns)


def _as_dicts(sheet: openpyxl.worksheet.worksheet.Worksheet) -> list[dict[str, object]]:
    header, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_the_ranking_has_the_versions_of_every_measure_the_best_of_each_first(store: Store) -> None:
    settings = {"domain": "retail", "agent_model": "m"}
    for agent, score in (("low", 0.25), ("high", 0.75)):
        other = Ledger(store, "other")
        look = Look("candidate", "9", 0, score)
        scored = {"experiment": settings, "val_score": score, "score_looks": [look]}
        if not other.rows:
            other.append(Baseline("other", agent, **scored))
        else:
            gate = other.append(Gate("other", agent, verdict="accepted", **scored))
            other.append(Record("other", agent, gate=gate.number, iteration=4))
    rows = ranking(store)
    assert [(row["rank"], row["version"], row["domain"], row["pass^1"]) for row in rows] == [
        (1, "iteration 4", "retail", 0.0),
        (2, "baseline", "retail", 0.0),
        (1, "baseline", "mock", rows[2]["val_score"]),
    ]
    assert rows[0]["pass^2"] is None
    assert len({tuple(row) for row in rows}) == 1, "all have the same columns"


def test_pass_hat_k_of_the_ranking_is_that_of_the_holdout(exported: Exported, store: Store) -> None:
    summary = _as_dicts(openpyxl.load_workbook(exported("xlsx"))["summary"])[0]
    looks = Ledger(store).versions[0].row.score_looks
    counts = {
        task_id: sum(look.reward == 1 for look in looks if look.task_id == task_id) for task_id in _held_out(store)
    }
    for k in range(1, TRIALS + 1):
        assert summary[f"pass^{k}"] == pytest.approx(mean(pass_hat_k(count, TRIALS, k) for count in counts.values()))


def _held_out(store: Store) -> list[str]:
    return Ledger(store).rows[0].tasks


def test_no_text_is_a_formula_and_none_breaks_the_file(exported: Exported) -> None:
    details = [row["detail"] for row in _rows(exported("csv"))]
    assert details.count(f"'{FORMULA}") == 1
    assert FORMULA not in details
    book = openpyxl.load_workbook(exported("xlsx"))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not [cell for cell in cells if cell.data_type == "f"]
    texts = [cell.value for cell in cells if isinstance(cell.value, str)]
    assert f"'[31m{FORMULA}" not in texts and f"[31m{FORMULA}" in texts
    cut = [text for text in texts if "(cut: it has" in text]
    assert len(cut) == 2, "one message, and its raw JSON"
    assert {len(text) for text in cut} == {MOST_CHARS}


@given(st.one_of(st.text(), st.text(alphabet="=+-@\t\r\n \ud800\x00\ufffe\uff1da\U0001f600")))
def test_a_text_is_harmless(text: str) -> None:
    cell = harmless(text)
    assert isinstance(cell, str)
    ElementTree.fromstring(f"<a>{escape(cell)}</a>".encode())
    assert not openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.search(cell)
    assert not cell.lstrip().startswith(tuple("=+-@\uff1d"))
    assert not cell.startswith(("\t", "\r", "\n"))
    lost = set(text) - set(cell)
    assert cell.removeprefix("'") == "".join(one for one in text if one not in lost).removeprefix("'")
    assert all(ord(one) < 32 or one in "\ufffe\uffff" or 0xD800 <= ord(one) < 0xE000 for one in lost)
    assert harmless(cell) == cell


@given(st.one_of(st.integers(), st.floats(), st.none(), st.booleans()))
def test_a_number_stays_what_it_is(number: float | None) -> None:
    assert harmless(number) is number
    assert fitting(number) is number


@pytest.mark.parametrize("text", ["x" * (MOST_CHARS + 1), "\U0001f600" * 20_000], ids=["one-unit", "two-units"])
def test_a_text_that_is_too_long_for_a_cell_says_that_it_was_cut(text: str) -> None:
    cell = fitting(text)
    assert isinstance(cell, str)
    assert len(cell.encode("utf-16-le")) // 2 in (MOST_CHARS - 1, MOST_CHARS)
    assert f"(cut: it has {len(text)} characters" in cell
    assert fitting("x" * MOST_CHARS) == "x" * MOST_CHARS


def test_tau2_reads_its_results_file_and_finds_the_same(exported: Exported, store: Store, tau2: Tau2) -> None:
    from tau2.data_model.simulation import Results
    from tau2.metrics.agent_metrics import compute_metrics

    results, baseline = Results.load(exported("tau2")), Ledger(store).versions[0]
    assert (results.info.git_commit, results.info.num_trials, results.info.seed) == (baseline.commit, TRIALS, 300)
    assert (results.info.agent_info.llm, results.info.user_info.llm) == ("offline/clerk", "offline/customer")
    assert results.info.environment_info.policy == tau2.facts("mock").policy
    assert {task.id for task in results.tasks} == set(baseline.row.train)
    ours = {digest(key): outcome for _, key, outcome in _trials(store)}
    for simulation in results.simulations:
        outcome = ours[simulation.id]
        assert simulation.reward_info.reward == outcome.reward
        assert (simulation.trial, simulation.seed) == (outcome.trial.number, outcome.trial.seed)
        assert len(simulation.messages) == len(outcome.messages)
    broken_off = [one for one in results.simulations if ours[one.id].status == Status.AGENT_ERROR]
    assert {one.termination_reason.value for one in broken_off} == {"agent_error"}
    metrics = compute_metrics(results)
    assert metrics.avg_reward == pytest.approx(mean(baseline.row.train.values()))
    passed = [
        sum(ours[one.id].reward == 1 for one in results.simulations if one.task_id == t.id) for t in results.tasks
    ]
    for k in range(1, TRIALS + 1):
        assert metrics.pass_hat_ks[k] == pytest.approx(mean(pass_hat_k(count, TRIALS, k) for count in passed))


def test_a_trial_that_broke_off_is_tau2s_agent_error_with_reward_0(checkout: Checkout, exported: Exported) -> None:
    """As tau2's own evaluator says of it."""
    from tau2.data_model.simulation import Results
    from tau2.scripts.evaluate_trajectories import compute_simulation_rewards

    store = Store(checkout.vault)
    path, key, outcome = next(
        one for one in _trials(store) if one[2].status == Status.FAILED and not one[2].trial.number
    )
    broken = replace(outcome, status=Status.TIMED_OUT, detail="too slow", termination="", reward_info={})
    path.write_text(json.dumps({"key": key, "outcome": broken.to_json()}))
    file = exported("tau2", "--reveal-held-out") if key["task"] in _held_out(store) else exported("tau2")
    results = Results.load(file)
    results.simulations = [one for one in results.simulations if one.id == digest(key)]
    again = compute_simulation_rewards(results).simulations[0].reward_info
    assert again.reward == results.simulations[0].reward_info.reward == 0
    assert again.info["note"] == results.simulations[0].reward_info.info["note"]
    assert results.simulations[0].reward_info.info["auto_harness"] == {"status": "timed_out", "detail": "too slow"}


def test_a_revealed_results_file_has_the_trials_of_the_score(exported: Exported, store: Store, tau2: Tau2) -> None:
    from tau2.data_model.simulation import Results
    from tau2.scripts.leaderboard.verify_trajectories_public import check_num_trials

    path = exported("tau2", "--reveal-held-out")
    assert path == store.folder / "revealed" / "results.tau2.json"
    results = Results.load(path)
    held_out = [one.reward_info.reward for one in results.simulations if one.task_id in _held_out(store)]
    assert mean(held_out) == pytest.approx(Ledger(store).versions[0].row.val_score)
    assert check_num_trials(results) == (True, "")
    assert {task.id for task in results.tasks} == {id for ids in tau2.facts("mock").splits.values() for id in ids}


@pytest.mark.slow
def test_nothing_held_out_is_in_a_file_without_the_reveal(
    exported: Exported, store: Store, tau2: Tau2, tmp_path: Path
) -> None:
    facts = tau2.facts("mock")
    search = Search(store.folder, facts.splits, facts.policy + json.dumps(facts.tools))
    assert set(_held_out(store)) <= search.needles
    for kind in NAMES:
        hidden, revealed = tmp_path / "hidden" / kind, tmp_path / "revealed" / kind
        _unpack(exported(kind), hidden)
        assert not search.in_folders(hidden)
        if kind in REVEALING:
            _unpack(exported(kind, "--reveal-held-out"), revealed)
            assert search.in_folders(revealed), "what is searched for can be found in such a file"
    shown = json.loads(json.dumps(_as_dicts(openpyxl.load_workbook("workspace/export.xlsx")["summary"])))
    assert len(shown) == 1, "one row for the version, none for a held-out task"


def _unpack(path: Path, folder: Path) -> None:
    """A workbook is a zip file: what it holds cannot be searched for as it is."""
    if zipfile.is_zipfile(path):
        zipfile.ZipFile(path).extractall(folder)
    else:
        folder.mkdir(parents=True)
        (folder / path.name).write_bytes(path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("kind", REVEALING)
def test_a_reveal_is_counted_and_nothing_else_is(exported: Exported, store: Store, kind: str) -> None:
    exported(kind)
    assert store.reveals("mock") == 0
    exported(kind, "--reveal-held-out")
    assert store.reveals("mock") == 1
    entry = json.loads(store.read_lines("holdout.jsonl")[-1])
    assert (entry["command"], entry["tasks"], entry["of"]) == (f"report.py --export {kind}", 4, 4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", REVEALING)
def test_a_reveal_is_counted_before_anything_is_written(store: Store, checkout: Checkout, kind: str) -> None:
    (checkout.root.parent / "there").write_text("a file where a folder would have to be")
    with pytest.raises(OSError):
        main(["--export", kind, "--reveal-held-out", "--output", str(checkout.root.parent / "there" / "file")])
    assert store.reveals("mock") == 1


@pytest.mark.parametrize(
    "output", ["x.csv", "workspace/x.csv", "../checkout/x.csv", "{outside}/into/x.csv", "out.csv"]
)
def test_a_revealed_file_must_not_lie_in_the_checkout(checkout: Checkout, store: Store, output: str) -> None:
    outside = checkout.root.parent
    output = output.format(outside=outside)
    (outside / "into").symlink_to(checkout.root / "workspace")
    Path("out.csv").symlink_to(outside / "x.csv")
    with pytest.raises(UserError, match="inside the checkout"):
        main(["--export", "csv", "--reveal-held-out", "--output", output])
    assert store.reveals("mock") == 0
    assert not Path(output).exists()


@pytest.mark.slow
def test_a_results_file_of_another_tau2_is_refused(checkout: Checkout, store: Store) -> None:
    for path, key, outcome in _trials(store):
        other = key | {"tau2": {"flavour": "tau2-bench", "version": "0.0.1", "data_checksum": "0" * 64}}
        path.write_text(json.dumps({"key": other, "outcome": outcome.to_json()}))
    with pytest.raises(UserError, match=r"made with tau2-bench 0\.0\.1 \(data 000000000000\), and \S+ "):
        main(["--export", "tau2", "--reveal-held-out"])
    assert store.reveals("mock") == 0
    assert main(["--export", "csv"]) == 0


@pytest.mark.parametrize("kind", NAMES)
def test_before_the_baseline_it_says_what_to_do(kind: str) -> None:
    with pytest.raises(UserError, match=r"python prepare\.py"):
        main(["--export", kind])


def test_an_unknown_version_is_one_line(checkout: Checkout) -> None:
    with pytest.raises(UserError, match="no version '7'"):
        main(["--export", "csv", "--version", "7"])


def test_nothing_to_export_is_one_line(checkout: Checkout, store: Store) -> None:
    for path, key, _ in _trials(store):
        if key["task"] not in _held_out(store):
            path.unlink()
    with pytest.raises(UserError, match=r"no simulation to export"):
        main(["--export", "csv"])


def test_without_openpyxl_it_says_how_to_get_it(
    checkout: Checkout, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)  # as where it is not installed
    with pytest.raises(UserError, match=r"pip install 'auto-harness\[xlsx\]'"):
        main(["--export", "xlsx", "--reveal-held-out"])
    assert store.reveals("mock") == 0


def test_a_failure_half_way_leaves_the_file_that_was_there(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And Excel's limit is one line. A million rows would take a minute, so a smaller Excel is made up."""
    path = exported("xlsx")
    before, files = path.read_bytes(), set(path.parent.iterdir())
    monkeypatch.setattr(tables, "MOST_ROWS", 20)
    with pytest.raises(UserError, match="turns: Excel holds 20 rows"):
        main(["--export", "xlsx"])
    assert path.read_bytes() == before
    assert set(path.parent.iterdir()) == files


@pytest.mark.parametrize("option", [["--output", "x"], ["--version", "best"], ["--reveal-held-out"]])
def test_its_options_go_with_it_alone(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--verify", *option])
    assert ended.value.code == 3
    assert "does not go with --verify" in capsys.readouterr().err


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_a_cell_is_no_formula_whichever_sign_ends_one(delimiter: str) -> None:
    """A spreadsheet of another language takes a semicolon."""
    file = io.BytesIO()
    tables.write_csv(file, iter([{"detail": 'x;=HYPERLINK("http://evil","a");|-1\t@x\n+1', "reward": -1.0}]))
    rows = csv.reader(io.StringIO(file.getvalue().decode()), delimiter=delimiter)
    cells = [cell.strip().lstrip('"') for row in list(rows)[1:] for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@")) or cell.startswith("-1\t")]


@pytest.mark.parametrize("text", ["#N/A", "#REF!"])
def test_a_text_is_no_error_of_a_workbook(text: str) -> None:
    assert tables.harmless(text) == f"'{text}"


def test_the_best_version_stands_first_whatever_its_score(tmp_path: Path) -> None:
    """Each version was found better than the one before: a luckier score of an earlier one says nothing."""
    store = make_night(tmp_path / "vault", Night(8, ["1", "2"]))
    ledger = Ledger(store)
    assert [row["version"] for row in ranking(store)] == ["iteration 8", "iteration 4", "baseline"]
    assert ledger.best.iteration == 8
