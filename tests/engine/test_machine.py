"""What a run was made on: the system and every package, as importlib.metadata says it too."""

import getpass
import importlib.metadata
import json
import os
import platform
import re
import sys
from pathlib import Path

from checkout import Checkout

from autoharness.engine.machine import environment, installed


def test_it_names_the_system_and_neither_machine_nor_user() -> None:
    found = environment()
    assert found["system"]["cpus"] == os.cpu_count()
    assert found["system"]["kernel"] == f"{platform.system()} {platform.release()}"
    assert found["system"]["python"] == platform.python_version() and found["system"]["machine"]
    words = set(re.split(r"\W+", json.dumps(found["system"])))
    assert not words & {platform.node(), getpass.getuser()}


def test_its_packages_are_the_installed_ones() -> None:
    theirs: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        theirs.setdefault(re.sub(r"[-_.]+", "-", one.name).lower(), one.version)
    ours = {re.sub(r"[-_.]+", "-", name): version for name, version in installed(sys.path).items()}
    assert ours == theirs and "litellm" in ours


def test_the_first_on_the_path_counts_and_a_missing_folder_is_none(tmp_path: Path) -> None:
    for folder, version in (("a", "1.0"), ("b", "2.0")):
        (tmp_path / folder / f"Some_Thing-{version}.dist-info").mkdir(parents=True)
    folders = [str(tmp_path / name) for name in ("missing", "a", "b")]
    assert installed(folders) == {"some-thing": "1.0"}


def test_it_lies_beside_every_run(prepared: Checkout) -> None:
    runs = {path.parent for path in prepared.kept.glob("runs/*/run-001.json")}
    assert runs
    for run in runs:
        beside = json.loads((run / "environment.json").read_text())
        assert beside["packages"]["litellm"]
        assert json.loads((run / "run-001.json").read_text())["system"] == beside["system"]
