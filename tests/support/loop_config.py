"""Configurations of the loop with the scripted coding agent."""

import json

from checkout import Checkout
from conftest import ROOT

BANK = ROOT / "tests" / "support" / "loop_bank.py"


def config_text(*names: str, **settings: object) -> str:
    arguments = json.dumps(["--bank", str(BANK), "--names", *names])
    given = {"max_iterations": len(names), "max_without_gain": 20, "max_concurrency": 1} | settings
    lines = "".join(f"{name}: {json.dumps(value)}\n" for name, value in given.items())
    return (
        f"domain: mock\nagent_model: offline/clerk\ncoding_agent: scripted\ncoding_agent_args: {arguments}\n{lines}"
    )


def configured(prepared: Checkout, *names: str, **settings: object) -> Checkout:
    (prepared.root / "experiment_config.yaml").write_text(config_text(*names, **settings))
    return prepared
