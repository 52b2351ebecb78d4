"""tau2's task data is fetched with git at a pinned revision, whole or not at all; a kill costs little."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autoharness.benchmarks.tau2 import data
from autoharness.core.errors import SetupError


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository like tau2-bench's, whose data changed after the tag; the fetching folder is the current one."""
    repository = tmp_path / "source"
    tasks = repository / "data" / "tau2" / "domains" / "mock" / "tasks.json"
    tasks.parent.mkdir(parents=True)
    (repository / "README.md").write_text("not wanted")
    _git(repository, "init", "--quiet")
    for text, tag in (("old", "v1"), ("new", "v2")):
        tasks.write_text(text)
        _git(repository, "add", ".")
        _git(repository, "commit", "--quiet", "--message", text)
        _git(repository, "tag", tag)
    monkeypatch.delenv(data.VARIABLE, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return repository


def _files() -> dict[str, str]:
    return {str(path): path.read_text() for path in Path("tau2_data").rglob("*") if path.is_file()}


@pytest.mark.parametrize("by", ["tag", "commit"])
def test_fetches_the_data_alone_at_the_pinned_revision(source: Path, by: str) -> None:
    revision = "v1" if by == "tag" else _git(source, "rev-parse", "v1").strip()
    data.fetch(str(source), revision)
    assert _files() == {"tau2_data/tau2/domains/mock/tasks.json": "old"}
    assert data.environment() == {data.VARIABLE: str(Path("tau2_data").absolute())}


def test_a_url_will_do_as_well(source: Path) -> None:
    data.fetch(source.as_uri(), "v2")
    assert list(_files().values()) == ["new"]


def test_goes_to_the_folder_that_is_named(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.VARIABLE, str(tmp_path / "elsewhere"))
    data.fetch(str(source), "v1")
    assert (tmp_path / "elsewhere" / "tau2" / "domains" / "mock" / "tasks.json").read_text() == "old"


def test_what_was_fetched_before_a_kill_is_not_fetched_again(source: Path) -> None:
    """Killed when the files are about to be laid out; then the source is gone."""
    code = (
        "import os; from autoharness.benchmarks.tau2 import data; from autoharness.core import git_repository; "
        "run = git_repository._run\n"
        "git_repository._run = lambda *a: os._exit(9) if a[0][0] == 'checkout' else run(*a)\n"
        f"data.fetch({str(source)!r}, 'v1')"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(data.__file__).parents[3])}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 9
    assert not data.environment()
    shutil.rmtree(source)
    data.fetch(str(source), "v1")
    assert list(_files().values()) == ["old"]


@pytest.mark.parametrize(("place", "revision"), [("nowhere", "v1"), (None, "v9")], ids=["source", "revision"])
def test_what_cannot_be_fetched_is_one_line(source: Path, place: str | None, revision: str) -> None:
    with pytest.raises(SetupError, match=r"tau2_data_source in experiment_config\.yaml"):
        data.fetch(place or str(source), revision)
    assert not data.environment()


def test_nvidias_package_comes_with_its_data() -> None:
    assert data.comes_with_package()
