"""A repository that names programs wherever git would run one."""

import shutil
from pathlib import Path

from checkout import Checkout

HOOKS = (
    *("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "pre-auto-gc", "post-rewrite", "post-merge"),
    *("post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman", "pre-push", "update"),
    *("proc-receive", "push-to-checkout", "pre-rebase", "applypatch-msg", "sendemail-validate"),
)
PROGRAMS = (
    *("core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "core.askPass", "core.gitProxy"),
    *("core.alternateRefsCommand", "sequence.editor", "gpg.program", "gpg.ssh.program", "gpg.x509.program"),
    *("gpg.ssh.defaultKeyCommand", "diff.external", "diff.evil.command", "diff.evil.textconv", "merge.evil.driver"),
    *("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "credential.helper", "pager.log"),
    *("pager.status", "interactive.diffFilter", "uploadpack.packObjectsHook", "trailer.evil.command"),
    *("log.showSignature", "hook.evil.command", "submodule.sub.update", "alias.status", "alias.commit-tree"),
)


def plant(checkout: Checkout, ran: Path) -> None:
    """Every program that a repository can name; each writes down that it ran, and the key where it has one."""
    program = checkout.root.parent / "program"
    program.write_text(f'#!/bin/sh\necho "$0 $* $OPENAI_API_KEY" >> {ran}\ncat\n')
    program.chmod(0o755)
    hooks = checkout.root.parent / "hooks"
    for folder in (hooks, checkout.root / ".git" / "hooks"):
        folder.mkdir(exist_ok=True)
        for hook in HOOKS:
            shutil.copy(program, folder / hook)
    lines = [f"[include]\n\tpath = {checkout.root.parent / 'included'}\n"]
    for setting in PROGRAMS:
        section, _, rest = setting.partition(".")
        inner, dot, name = rest.rpartition(".")
        value = "true" if setting == "log.showSignature" else f"!{program}" if "alias" in setting else program
        lines.append(f'[{section} "{inner}"]\n' if dot else f"[{section}]\n")
        lines.append(f"\t{name} = {value}\n")
    lines += ['[hook "evil"]\n\tevent = reference-transaction\n\tevent = post-index-change\n']
    lines += ["[commit]\n\tgpgSign = true\n[tag]\n\tgpgSign = true\n[core]\n\tsplitIndex = false\n"]
    lines += [f"[core]\n\thooksPath = {hooks}\n\tattributesFile = {checkout.root.parent / 'attributes'}\n"]
    lines += [f'[remote "origin"]\n\turl = ext::{program}\n\tpromisor = true\n\tuploadpack = {program}\n']
    with (checkout.root / ".git" / "config").open("a") as config:
        config.write("".join(lines[:1]))
    (checkout.root.parent / "included").write_text("".join(lines[1:]))
    attributes = "* filter=evil diff=evil merge=evil\n"
    for file in (checkout.root / ".gitattributes", checkout.root / ".git" / "info" / "attributes"):
        file.write_text(attributes)
    (checkout.root.parent / "attributes").write_text(attributes)
    (checkout.root / ".env").write_text(f"GIT_PYTHON_GIT_EXECUTABLE={program}\nGIT_EXTERNAL_DIFF={program}\n")
