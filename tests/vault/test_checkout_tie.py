"""A checkout and its vault know each other: neither is taken for another's, and one that was moved is told so."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from autoharness.core.command_form import COMMAND_VARIABLE, through_compose
from autoharness.core.errors import UserError
from autoharness.vault import checkout_tie, store
from autoharness.vault.checkout_tie import CHECKOUT_FILE, tie
from autoharness.vault.location import named_vault
from autoharness.vault.store import Store

Prepare = Callable[..., Path]


def default_vault() -> Path:
    """What a new process finds."""
    checkout_tie._tied.clear()
    return store.default_vault()


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a folder the working one, as its checkout's root; its vault is where it is by default."""
    monkeypatch.delenv("AUTOHARNESS_VAULT")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def go(name: str) -> Path:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        return tmp_path / name

    return go


def prepare(adopt: bool = False) -> Path:
    """What `prepare.py` does with the vault."""
    vault = named_vault() if adopt else default_vault()
    opened = Store(vault)
    with opened.lock():
        tie(vault, opened.folder, adopt)
    return vault


@pytest.mark.parametrize("lost", ["", "checkout", "vault"])
def test_a_checkout_that_stays_where_it_is_finds_its_vault(at: Callable[[str], Path], lost: str) -> None:
    """Also if workspace/ was removed, and in a vault of an earlier version, which has no id."""
    at("a/proj")
    vault = prepare()
    if lost == "checkout":
        CHECKOUT_FILE.unlink()
    if lost == "vault":
        CHECKOUT_FILE.unlink()
        (Store(vault).folder / "checkout.json").unlink()
    assert default_vault() == prepare() == default_vault()
    known = json.loads(CHECKOUT_FILE.read_text())
    assert known["id"] == json.loads((Store(vault).folder / "checkout.json").read_text())["id"]


def test_a_moved_checkout_is_told_which_command_moves_its_vault(at: Callable[[str], Path]) -> None:
    old = at("a/proj")
    vault = prepare()
    shutil.move(old, old.with_name("moved"))
    at("a/moved")
    with pytest.raises(UserError, match="this checkout has another vault than ") as told:
        default_vault()
    words = shlex.split(str(told.value).split("if it was moved, mv ")[1].split(";")[0])
    assert words == [str(vault), str(named_vault())] and not named_vault().exists()
    shutil.move(*words)
    assert prepare() == default_vault() == named_vault()


def test_a_copy_is_not_told_to_take_the_originals_vault(at: Callable[[str], Path]) -> None:
    """A night may be running there."""
    first = at("a/my proj")
    prepare()
    shutil.copytree(first, first.with_name("copy"))
    at("a/copy")
    with pytest.raises(UserError, match=r"it is a copy of .*my proj, whose vault stays where it is") as told:
        default_vault()
    assert "mv " not in str(told.value)


def test_a_vault_that_lies_where_the_moved_one_belongs_is_moved_aside_first(at: Callable[[str], Path]) -> None:
    old = at("a/my proj")
    vault = prepare()
    at("a/my new")
    Store(default_vault())  # somebody ran a command there
    CHECKOUT_FILE.parent.mkdir()
    shutil.move(old / CHECKOUT_FILE, CHECKOUT_FILE)
    shutil.rmtree(old)
    with pytest.raises(UserError, match="if it was moved") as told:
        default_vault()
    line = str(told.value).split("if it was moved, ")[1].split(";")[0]
    for words in map(shlex.split, line.split(" && ")):
        assert words[0] == "mv" and not Path(words[2]).exists()
        shutil.move(*words[1:])
    assert prepare() == default_vault() == named_vault() != vault


def test_what_changes_while_a_command_runs_ends_no_night(at: Callable[[str], Path]) -> None:
    at("proj")
    vault = prepare()
    CHECKOUT_FILE.write_text('{"id": "another"}')
    assert store.default_vault() == vault


@pytest.mark.parametrize("lost", ["id", "file"])
def test_a_vault_that_is_here_and_was_restored_goes_on(at: Callable[[str], Path], tmp_path: Path, lost: str) -> None:
    at("proj")
    vault = prepare()
    tied = Store(vault).folder / "checkout.json"
    (Store(vault).folder / "trials" / "one.json").write_text("{}")
    if lost == "id":
        tied.write_text(json.dumps(json.loads(tied.read_text()) | {"id": "from a backup"}))
        assert prepare() == vault
        return
    tied.unlink()
    with pytest.raises(UserError, match=r"does not know its checkout: .* go on in it: .*--adopt-vault"):
        default_vault()
    assert prepare(adopt=True) == default_vault() == vault


def test_a_copied_checkout_is_told_and_begins_anew_only_if_it_is_asked_to(at: Callable[[str], Path]) -> None:
    first = at("a/proj")
    vault = prepare()
    shutil.copytree(first, first.with_name("copy"))
    at("a/copy")
    with pytest.raises(UserError, match="--adopt-vault"):
        prepare()
    own = prepare(adopt=True)
    assert own != vault and default_vault() == own
    at("a/proj")
    assert default_vault() == vault


@pytest.mark.parametrize("kind", ["another", "a copy"])
@pytest.mark.parametrize("compose", [False, True], ids=["plain", "compose"])
def test_two_checkouts_do_not_share_a_vault_without_a_word(
    at: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, compose: bool
) -> None:
    monkeypatch.setenv("AUTOHARNESS_VAULT", str(tmp_path / "vault"))
    if compose:
        monkeypatch.setenv(COMMAND_VARIABLE, through_compose("").strip())
        monkeypatch.setenv("AUTOHARNESS_PROJECT", "proj")
    first = at("a/proj")
    prepare()
    if kind == "a copy":
        shutil.copytree(first, tmp_path / "b/proj")
    at("b/proj")
    for command in (default_vault, prepare):
        with pytest.raises(UserError, match="COMPOSE_PROJECT_NAME" if compose else "AUTOHARNESS_VAULT") as told:
            command()
        assert str(first) in str(told.value)
    prepare(adopt=True)
    assert default_vault() == tmp_path / "vault"
    at("a/proj")
    with pytest.raises(UserError):
        default_vault()


@pytest.mark.parametrize(
    ("before", "after", "way"),
    [
        ("old", "new", "put COMPOSE_PROJECT_NAME=old into .env"),
        ("old", "old", "the volume is gone"),
        ("old", None, f"it was prepared through docker compose: {through_compose('prepare.py')}"),
        (None, "new", "it was prepared without docker"),
    ],
    ids=["other-project", "no-volume", "on-the-host", "in-compose"],
)
def test_a_checkout_whose_vault_is_elsewhere_is_told_the_way(
    at: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str | None,
    after: str | None,
    way: str,
) -> None:
    at("proj")
    for project, vault in ((before, "one"), (after, "other")):
        monkeypatch.setenv("AUTOHARNESS_VAULT", str(tmp_path / vault))
        for name, value in ((COMMAND_VARIABLE, through_compose("").strip()), ("AUTOHARNESS_PROJECT", project)):
            monkeypatch.setenv(name, str(value)) if project else monkeypatch.delenv(name, raising=False)
        if vault == "one":
            prepare()
    with pytest.raises(UserError, match=way):
        default_vault()
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 5}', '{"id": ""}', "\udcff"])
def test_a_damaged_file_of_the_checkout_is_written_anew(at: Callable[[str], Path], text: str) -> None:
    at("proj")
    prepare()
    CHECKOUT_FILE.write_bytes(text.encode(errors="surrogateescape"))
    prepare()
    assert json.loads(CHECKOUT_FILE.read_text())["id"]
