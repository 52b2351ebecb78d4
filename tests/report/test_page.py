"""The report as a page, in a real browser: it shows what the vault has, and nothing that it shows can act in it."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoharness.core.outcomes import slug
from autoharness.report.overview import Overview, score_of
from autoharness.report.page import View, page
from autoharness.report.task_map import State
from autoharness.report.visible_trials import Trials
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Baseline, Confirmation, Gate, Look, Record, Side
from autoharness.vault.spending import CODER
from autoharness.vault.store import Store
from perf.report_vault import HELD_OUT, MEASURE, Night, make_night

TASKS = [str(number) for number in range(30)]
MARKUP = "<img src=x onerror=\"document.title='hacked'\"></script><script>document.title='hacked'</script>{{ 7 * 7 }}"
Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a page of HTML from disk; what went wrong in the browser fails the test."""
    contexts, problems = [], []

    def open_(html: str, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
        file = tmp_path / "report.html"
        file.write_text(html)
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        contexts[-1].set_default_timeout(10_000)
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: _is_own(request.url, file) or problems.append(f"asked for {request.url}"))
        tab.goto(file.as_uri())
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert not problems


def _is_own(url: str, file: Path) -> bool:
    return url.split("#")[0] == file.as_uri() or url.startswith("data:")


def _view(store: Store, reveal: bool = False) -> View:
    return View.of(store, Trials(store), reveal)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_night(tmp_path_factory.mktemp("night"), Night(12, TASKS))


@pytest.fixture(scope="module")
def html(night: Store) -> str:
    return page(_view(night))


def test_the_headline_is_the_ledger_s(night: Store, html: str, opened: Open) -> None:
    tab, ledger = opened(html), Ledger(night)
    best, baseline = ledger.best.row.val_score, ledger.versions[0].row.val_score
    assert best is not None and baseline is not None
    assert tab.text_content("#baseline-score") == f"{100 * baseline:.1f} %"
    assert tab.text_content("#best-score") == f"{100 * best:.1f} %"
    assert tab.text_content("#difference") == f"{100 * (best - baseline):+.1f} points"
    assert tab.text_content("#confirmed") == "not yet"
    assert tab.text_content("#spent").startswith("$")
    assert tab.locator("#simulated").count() == 0 and tab.locator("#revealed").count() == 0


def test_the_plots_show_the_numbers_of_the_store(night: Store, html: str, opened: Open) -> None:
    tab, overview = opened(html), Overview.of(night)
    scores = {0: score_of(overview.baseline)}
    scores |= {place: score_of(one.version) for place, one in enumerate(overview.attempts, 1) if one.version}
    assert len(scores) > 2
    for place, score in scores.items():
        assert score and _height(tab, "scores", f"score-{place}") == pytest.approx(100 * score.mean, abs=0.5)
    asked = {place: one.differences for place, one in enumerate(overview.attempts, 1) if one.differences}
    assert len(asked) > 2
    for place, differences in asked.items():
        mean = 100 * sum(differences) / len(differences)
        assert _height(tab, "questions", f"question-{place}") == pytest.approx(mean, abs=1)
    view = _view(night)
    for number, counts in enumerate(view.map.groups.values(), 1):
        for place, count in enumerate(counts):
            assert _bar(tab, "failures", f"bar-{number}-{place}") == pytest.approx(count, abs=0.2)
    dollars = [one.spent.usd[CODER] for one in overview.attempts]
    assert [_bar(tab, "costs", f"bar-1-{place}") for place in range(12)] == pytest.approx(dollars, abs=0.01)


def _height(tab: Any, plot: str, mark: str) -> float:
    """The value at which a mark lies, by the positions of the axis's ticks."""
    found: float = tab.evaluate(_AXIS + "return value((box.top + box.bottom) / 2) }", [plot, mark])
    return found


def _bar(tab: Any, plot: str, mark: str) -> float:
    found: float = tab.evaluate(_AXIS + "return value(box.top) - value(box.bottom) }", [plot, mark])
    return found


_AXIS = """([plot, mark]) => {
    const box = document.getElementById(`${plot}-${mark}`).getBoundingClientRect();
    const ticks = [...document.querySelectorAll(`[id^="${plot}-ytick_"]`)].map((tick) => {
        const line = [...tick.querySelectorAll("use")].at(-1).getBoundingClientRect();
        const number = Number(tick.querySelector("text").textContent.replace("\\u2212", "-"));
        return [number, (line.top + line.bottom) / 2];
    });
    const [[low, bottom], [high, top]] = [ticks[0], ticks.at(-1)];
    const value = (y) => low + (y - bottom) / (top - bottom) * (high - low);
"""


def test_each_mark_says_what_it_is_and_leads_to_its_iteration(html: str, opened: Open) -> None:
    tab = opened(html)
    assert "iteration 4: " in tab.text_content("#scores-score-4 title")
    tab.evaluate("document.querySelector('#scores-score-4').closest('svg').scrollIntoView()")
    tab.locator("#scores-score-4 a").click()
    tab.wait_for_selector("#attempt-4[open]")
    assert "edit 4" in tab.text_content("#attempt-4 pre.diff")


def test_the_map_says_what_was_run_and_how_it_went(night: Store, html: str, opened: Open) -> None:
    tab, view = opened(html), _view(night)
    letters = {"passed": "p", "failed": "f", "partly passed": "k", "lost": "l", "not run": "n"}
    for task_id in view.tasks:
        cells = view.map.row(task_id)
        shown = tab.locator(f'tr[data-task="{slug(task_id)}"] td').evaluate_all("all => all.map(c => c.className)")
        assert [name[0] for name in shown] == [letters[cell.state] for cell in cells]
        assert [(" x" in name) - (" b" in name) for name in shown] == [cell.change for cell in cells]
        assert [" y" in name for name in shown] == [cell.flaky for cell in cells]


def test_a_task_is_found_and_read_with_the_keyboard_alone(html: str, opened: Open) -> None:
    tab = opened(html)
    tab.keyboard.press("/")
    tab.keyboard.type("17")
    assert tab.text_content("#shown") == "1 tasks"
    tab.keyboard.press("Enter")
    tab.wait_for_selector("dialog[open] .turn")
    assert tab.text_content("#viewer-task") == "Task 17"
    left, right = tab.locator(".trial").all()
    assert "I want to return the lamp" in left.inner_text()
    assert "I want to return the lamp" in right.inner_text()
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog:not([open])", state="attached")
    assert tab.evaluate("document.activeElement.id") == "find"


def test_the_map_is_walked_by_arrows(html: str, opened: Open) -> None:
    """From the second task's name to what iteration 4 made of it, beside its incumbent."""
    tab = opened(html)
    tab.locator(f'tr[data-task="{slug("0")}"] button').focus()
    for key in ("ArrowDown", *["ArrowRight"] * 5):
        tab.keyboard.press(key)
    assert re.search(
        r"(passed|failed).* · iteration 4: accepted, the best version|accepted$",
        tab.evaluate("document.activeElement.ariaLabel"),
    )
    tab.keyboard.press("Enter")
    tab.wait_for_selector("dialog[open] .turn")
    assert tab.text_content("#viewer-task") == "Task 1"
    chosen = tab.locator(".pane select").evaluate_all("all => all.map(s => s.selectedOptions[0].text)")
    assert chosen[0].startswith("the baseline, trial 0") and chosen[1].startswith("iteration 4, trial 0")
    tab.keyboard.press("ArrowRight")
    tab.get_by_role("heading", name="Task 2", exact=True).wait_for()


def test_the_filters_leave_what_they_say(night: Store, html: str, opened: Open) -> None:
    tab, view = opened(html), _view(night)
    rows = {task_id: view.map.row(task_id) for task_id in view.tasks}
    expected = {
        "flaky": [task_id for task_id, cells in rows.items() if any(cell.flaky for cell in cells)],
        "changed": [task_id for task_id, cells in rows.items() if any(cell.change for cell in cells)],
        "failing": [task_id for task_id in rows if view.map.now(task_id).state != "passed"],
    }
    for kind, tasks in expected.items():
        tab.select_option("#show", kind)
        assert tab.locator("#map tbody tr:not([hidden]) th").all_inner_texts() == tasks != []
        assert f"({len(tasks)})" in tab.locator(f"#show option[value={kind}]").inner_text()


def test_a_group_of_failures_leads_to_its_tasks(night: Store, html: str, opened: Open) -> None:
    tab, view = opened(html), _view(night)
    tab.locator("#groups button").first.click()
    what = next(iter(view.map.groups))
    shown = tab.locator("#map tbody tr:not([hidden]) th").all_inner_texts()
    assert shown == [task_id for task_id in view.tasks if what in view.map.wrong(task_id)]


def test_a_failed_check_stands_beside_the_turn_that_caused_it(night: Store, html: str, opened: Open) -> None:
    tab, view = opened(html), _view(night)
    failed = next(
        kept for kept in view.shown if kept.wrong and kept.outcome.trial.agent == view.overview.best.row.agent
    )
    tab.locator(f'tr[data-task="{slug(failed.outcome.trial.task_id)}"] button').click()
    right = tab.locator(".pane").nth(1)
    right.locator(".turn").first.wait_for()
    right.locator("select").select_option(
        label=f"{view.overview.best.name}, trial {failed.outcome.trial.number}: failed"
    )
    beside = right.locator(".turn:has(summary) .remark").all_inner_texts()
    assert beside == [
        'the reference makes this call otherwise: order "#W1234567", not "#W7654321"; why null, not '
        '"Hello, I want to return the lamp of order #W1234567."'.replace("; ", ", ")
    ]
    end = right.locator(".trial > .remark").all_inner_texts()
    assert end == [
        'agent.orders.#W1234567 is not as the reference leaves it: status is "delivered", expected "returned"'
    ]
    assert not right.locator("details[open]").count()
    right.locator("summary").click()
    assert "#W7654321" in right.locator("details[open] pre").first.inner_text()


def test_nothing_of_a_held_out_task_is_in_it(html: str, night: Store) -> None:
    packs = [json.dumps(_view(night).conversations_of(slug(task))) for task in TASKS]
    for text in (html, *packs):
        assert "hush" not in text and not any(task in text for task in HELD_OUT)
    assert _view(night).conversations_of(slug(HELD_OUT[0])) == []


def test_what_was_revealed_is_in_it_and_said(tmp_path: Path) -> None:
    """Its cells say how it went and open; what is said of train tasks stays as it was."""
    store = make_night(tmp_path / "vault", Night(4, TASKS[:3]))
    store.count_holdout({"command": "report.py", "domain": "retail", "revealed": True})
    plain, revealed = _view(store), _view(store, reveal=True)
    html = page(revealed)
    assert HELD_OUT[0] in html and "shown 1 time" in html
    assert "hush" in json.dumps(revealed.conversations_of(slug(HELD_OUT[0])))
    cells = [revealed.map.row(task_id) for task_id in HELD_OUT]
    assert all(row[0].state != State.NOT_RUN and row[4].state != State.NOT_RUN for row in cells)
    assert not any(cell.change for row in cells for cell in row if cell.state == State.NOT_RUN)
    for name in ("complete", "groups", "repeated", "predictions"):
        assert getattr(revealed.map, name) == getattr(plain.map, name)


@pytest.mark.slow
def test_text_cannot_become_markup(tmp_path: Path, opened: Open) -> None:
    """In task ids, conversations, tool calls and results, notes, reasons and diffs."""
    store = make_night(tmp_path / "vault", Night(3, [f"{MARKUP} {number}" for number in range(3)], MARKUP))
    tab = opened(page(_view(store)))
    for summary in tab.locator("details.attempt summary").all():
        summary.click()
    assert MARKUP in tab.text_content("#attempt-1 pre.note")
    assert MARKUP in tab.text_content("#attempt-1 pre.diff")
    assert MARKUP in tab.locator("#attempt-1 li").nth(1).text_content()
    tab.locator("#map tbody button").first.click()
    tab.wait_for_selector("dialog[open] .turn")
    for summary in tab.locator(".pane").first.locator("summary").all():
        summary.click()
    assert MARKUP in tab.text_content("#viewer-task")
    assert MARKUP in tab.locator(".turn.user .text").first.text_content()
    assert json.dumps(MARKUP) in tab.locator(".turn details pre").first.text_content()
    assert tab.locator("img").count() == 0
    assert "hacked" not in tab.title()


def test_a_script_from_elsewhere_is_not_run(html: str, browser: Any, tmp_path: Path) -> None:
    """Were there a hole in the escaping, the page's own policy would still stand."""
    (tmp_path / "report.html").write_text(html.replace("<main>", "<main><script>document.title='hacked'</script>"))
    tab = browser.new_page()
    refused: list[str] = []
    tab.on("console", lambda message: refused.append(message.text))
    tab.goto((tmp_path / "report.html").as_uri())
    assert "hacked" not in tab.title() and "Content Security Policy" in refused[0]
    tab.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_it_fits_its_window(width: int, scheme: str, html: str, opened: Open) -> None:
    """No part is wider than the window, and text stands out from what it stands on (WCAG AA: 4.5 to 1)."""
    tab = opened(html, width=width, scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("body", ".faint", ".badge.accepted", ".badge.rejected", "nav a", "#baseline-score", *CELLS):
        assert tab.evaluate(_CONTRAST, selector) >= 4.5, selector


CELLS = [f".map td.{name}" for name in ("f", "y", "x", "b")]
_CONTRAST = """(selector) => {
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).slice(0, 3).map((part) => {
            const value = part / 255;
            return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let element = document.querySelector(selector);
    const ink = light(getComputedStyle(element).color);
    while (getComputedStyle(element).backgroundColor === "rgba(0, 0, 0, 0)") element = element.parentElement;
    const ground = light(getComputedStyle(element).backgroundColor);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
}"""


def test_it_prints(html: str, opened: Open, tmp_path: Path) -> None:
    """The map and the plots are there on paper, and what is only for a screen is not."""
    tab = opened(html)
    tab.emulate_media(media="print")
    assert tab.locator("#map").is_visible() and tab.locator("#score svg").first.is_visible()
    assert not tab.locator("nav").is_visible() and not tab.locator("#filters").is_visible()
    assert tab.pdf().startswith(b"%PDF")


@pytest.mark.skipif(not os.environ.get("AUTOHARNESS_FULL_TESTS"), reason="AUTOHARNESS_FULL_TESTS=1 makes that page")
def test_300_edits_of_114_tasks_stay_usable(tmp_path: Path, opened: Open) -> None:
    """How fast it opens is measured by perf/report_page.py."""
    store = make_night(tmp_path / "vault", Night(300, [str(number) for number in range(114)], accepted=20))
    tab = opened(page(_view(store)))
    assert tab.locator("#map tbody tr").count() == 114
    assert tab.locator("#map tbody tr").first.locator("td").count() == 301
    tab.keyboard.press("/")
    tab.keyboard.type("113")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("dialog[open] .turn")
    assert tab.text_content("#viewer-task") == "Task 113"


def test_what_is_left_out_is_said(night: Store, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason to patch: the bound is 100 MB."""
    monkeypatch.setattr("autoharness.report.conversations.MOST_BYTES", 40_000)
    tab = opened(page(_view(night)))
    said = tab.locator("#tasks > p.faint").last.inner_text()
    assert re.match(r"\d+ of the conversations are not in this file", said)


def _text(html: str, name: str) -> str:
    """What stands in the element with this id, without its markup."""
    [(_, found)] = re.findall(rf'<(\w+)[^>]* id="{name}"[^>]*>(.*?)</\1>', html, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", found).split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rewards", "says"),
    [
        ([0.0, 1.0], "yes: +100.0 points"),
        ([1.0, 0.0], "no, worse: -100.0 points"),
        ([0.5, 0.5], "no: +0.0 points"),
    ],
    ids=["better", "worse", "open"],
)
def test_a_confirmation_says_what_it_found(rewards: list[float], says: str, tmp_path: Path) -> None:
    store = make_night(tmp_path / "vault", Night(4, TASKS[:2]))
    ledger = Ledger(store)
    looks = [
        Look(side, f"held-{task}", number, reward)
        for side, reward in zip((Side.INCUMBENT, Side.CANDIDATE), rewards, strict=True)
        for task in range(30)
        for number in range(2)
    ]
    fields = {"measure": ledger.measure, "agent": ledger.best.row.agent, "split": "test", "looks": looks}
    ledger.append(Confirmation(**fields, tasks=HELD_OUT, experiment=ledger.best.row.experiment))  # type: ignore[arg-type]
    html = page(_view(store))
    assert _text(html, "confirmed") == says
    result = _text(html, "result")
    assert (
        f"{100 * rewards[0]:.1f} % to {100 * rewards[1]:.1f} %, 30 tasks \N{MULTIPLICATION SIGN} 2 trials of test"
        in result
    )
    assert ("the interval holds 0" in result) == (rewards[0] == rewards[1])
    assert "The number to tell others is the confirmed one." in result
    assert "It is of the gate's own tasks" in result


def test_the_ratchet_has_words_of_its_own(tmp_path: Path) -> None:
    store = make_night(tmp_path / "vault", Night(4, TASKS[:2], gate="ratchet"))
    html = page(_view(store))
    assert "is that of the very trials it was chosen by, so it is too high" in _text(html, "result")
    assert "by other trials" not in html and "stops as soon as it knows enough" not in html
    assert "The bar rises" not in html and "tasks compared" in html


def test_what_infrastructure_took_is_said(tmp_path: Path) -> None:
    store = make_night(tmp_path / "vault", Night(0, TASKS[:2]))
    row = Ledger(store).versions[0].row
    (store.folder / "ledger.jsonl").unlink()
    (store.folder / "ledger.head.json").unlink()
    held_out = {task: None if task in HELD_OUT[:3] else 1.0 for task in HELD_OUT}
    Ledger(store, row.measure).append(replace(row, held_out=held_out, val_score=1.0))
    assert f"{len(HELD_OUT) - 3} of {len(HELD_OUT) - 3} passed, 3 lost to infrastructure" in _text(
        page(_view(store)), "result"
    )


def test_a_task_that_another_measure_holds_out_is_nowhere_on_the_page(tmp_path: Path) -> None:
    """It was a train task of the edits on this page: neither what they fixed nor what they predicted names it."""
    store = make_night(tmp_path / "vault", Night(4, ["plain", "hidden-by-now"], every_edit=True))
    assert "hidden-by-now" in page(_view(store))
    other = Baseline("another", "a", experiment={"domain": "retail"}, tasks=["hidden-by-now"])
    Ledger(store, "another").append(other)
    ledger = Ledger(store)
    ledger.append(replace(ledger.all_rows[0], measure=MEASURE, number=-1))  # the newest row is this measure's again
    html = page(_view(store))
    assert Overview.of(store).ledger.measure == MEASURE
    assert "plain" in html and "hidden-by-now" not in html


def test_an_edit_by_hand_and_another_measure_s_money(tmp_path: Path) -> None:
    store = make_night(tmp_path / "vault", Night(4, TASKS[:2]))
    ledger = Ledger(store)
    best, agent = ledger.best, store.keep_agent(b"# by hand\n")
    fields = {"measure": ledger.measure, "agent": agent, "incumbent": best.row.agent, "verdict": "accepted"}
    gate = ledger.append(Gate(**fields, experiment=best.row.experiment, order="x", val_score=0.5))  # type: ignore[arg-type]
    ledger.append(Record(measure=ledger.measure, agent=agent, gate=gate.number, iteration=5))
    store.append_line("spending.jsonl", {"iteration": 99, "usd": {"agent": 7.0}})
    html = page(_view(store))
    assert "iteration 5, by hand" in html and 'id="attempt-5"' in html
    assert re.fullmatch(
        r"\$\S+: \$3.20 by the loop, \$\S+ by prepare and by hand; and \$7.00 under other settings",
        _text(html, "spent"),
    )
    assert "Not run on all train tasks, and left out: iteration 5." in html


def test_a_cell_of_the_baseline_opens_one_conversation(html: str, opened: Open) -> None:
    tab = opened(html, width=390)
    tab.locator(f'tr[data-task="{slug("3")}"] td').first.click()
    tab.wait_for_selector("dialog[open] .turn")
    assert tab.locator(".pane:visible").count() == 1


def test_on_a_phone_the_version_that_was_asked_for_is_in_sight(html: str, opened: Open) -> None:
    tab = opened(html, width=390, height=844)
    tab.locator(f'tr[data-task="{slug("3")}"] td').nth(4).click()
    tab.wait_for_selector("dialog[open] .turn")
    box = tab.locator(".pane").nth(1).bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 391
    assert tab.locator(".pane select").nth(1).evaluate("one => one.selectedOptions[0].text").startswith("iteration 4")
    tab.locator("#next").click()
    tab.get_by_role("heading", name="Task 4", exact=True).wait_for()
    assert tab.locator(".pane select").nth(1).evaluate("one => one.selectedOptions[0].text").startswith("iteration 4")


@pytest.mark.slow
def test_the_viewer_says_where_a_conversation_is_missing(
    night: Store, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reason to patch: the bound is 100 MB. The best version's are carried first, the baseline's not."""
    view = _view(night)
    best = sum(kept.size for kept in view.shown if kept.outcome.trial.agent == view.overview.best.row.agent)
    monkeypatch.setattr("autoharness.report.conversations.MOST_BYTES", best)
    tab = opened(page(view))
    tab.locator(f'tr[data-task="{slug("3")}"] td').first.click()
    tab.wait_for_selector("dialog[open]")
    assert "There is no conversation here. It is not in this file" in tab.locator(".trial").first.inner_text()
    assert tab.locator(".pane select").first.evaluate("one => one.selectedOptions[0].text") == "choose a version"
    tab.locator(".pane select").first.select_option(index=1)
    assert tab.locator(".pane").first.locator(".turn").count() > 2
