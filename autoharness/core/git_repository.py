"""Runs git safely: reads a repository and commits to it, without running the programs that the repository names.

A repository names programs that git runs: hooks, filters, fsmonitor, signing programs, editors, pagers, ssh commands,
diff drivers, and what later versions of git may add. Anyone who can write its `.git` chooses them, and they would run
with our keys in reach. So each call runs git in a new git directory of our own. It shares the repository's objects,
references and logs, and nothing else: git reads no config, hooks or attributes of the repository, the account or the
system, and its environment holds no key. Only `fetch` needs the network: there git reads the config of the account
and the system, and gets the variables for proxies, certificates and ssh. A file's bytes are committed unchanged,
without filters.

What it does not protect against: a `git` on PATH that is another program. Objects and references are the repository's
own: anyone who can write them can make any history.
"""

import errno
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from autoharness.core.command_form import unmounted_repository
from autoharness.core.errors import UserError
from autoharness.core.files import write_bytes, write_text

_SHARED = ("objects", "refs", "packed-refs", "reftable", "shallow")
_PASSED = ("PATH", "TMPDIR", "TZ")
_FOR_THE_NETWORK = (
    *("HOME", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
    *("http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"),
)
_IDENTITY = [f"GIT_{role}_{what}" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL", "DATE")]
_NOBODY = {"NAME": "auto-harness", "EMAIL": "auto-harness@localhost"}
_ALONE = {
    "GIT_NO_REPLACE_OBJECTS": "1",  # otherwise references could replace these commits by others
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_CONFIG = """[core]
    repositoryformatversion = {version}
    bare = false
    logAllRefUpdates = true
    splitIndex = false
    hooksPath = /dev/null
    fsmonitor = false
{of_the_disk}[maintenance]
    auto = false
[gc]
    auto = 0
[extensions]
{extensions}"""
_EXTENSIONS = ("objectformat", "refstorage")
_OF_THE_DISK = ("filemode", "symlinks")
"""What the file system can store: without these every file may count as changed."""
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_REGULAR = {"100644", "100755"}


class Repository:
    """The git repository whose root is the given folder."""

    def __init__(self, folder: Path = Path(), search_parents: bool = False) -> None:
        """Raises UserError if there is none."""
        found = _found(folder, search_parents)
        self._root = (folder if (folder / ".git").exists() else Path(found.working_tree_dir)).absolute()
        self._own, self._common = Path(found.git_dir).absolute(), Path(found.common_dir).absolute()
        self._config = _config_of(found)
        self._identity = _identity_of(found)

    # -- reading

    def check(self) -> None:
        """Raises UserError if there is no commit yet."""
        with self._apart() as git:
            _head(git)

    @property
    def head(self) -> str:
        """The commit that is checked out. Raises UserError if there is none yet."""
        with self._apart() as git:
            return _head(git)

    @property
    def branch(self) -> str:
        """The branch that is checked out; "" if none is. Raises UserError if there is no commit yet."""
        with self._apart() as git:
            _head(git)
            name = git.text("rev-parse", "--symbolic-full-name", "HEAD")
            return name.removeprefix("refs/heads/") if name != "HEAD" else ""

    def file(self, commit: str, path: Path) -> bytes | None:
        """The bytes of a file in a commit; None if it has none. Raises UserError if this clone does not have them."""
        if not _COMMIT.fullmatch(commit):
            return None
        with self._apart() as git:
            return _file(git, commit, path)

    def has(self, commit: str) -> bool:
        """Whether the commit is here, on a branch or not."""
        if not _COMMIT.fullmatch(commit):
            return False
        with self._apart() as git:
            return _has(git, commit)

    @property
    def is_shallow(self) -> bool:
        """Whether it is a shallow clone: a part of its history was left out."""
        return (self._common / "shallow").exists()

    def messages(self) -> dict[str, str]:
        """Messages of all commits that a branch, tag or other reference leads to, by commit; newest first."""
        with self._apart() as git:
            printed = git.text("log", "--all", "-z", "--format=%H%n%B")
        commits = [one.partition("\n") for one in printed.split("\0") if one]
        return {commit: message for commit, _, message in commits}

    def tracks(self, path: Path) -> bool:
        with self._apart() as git:
            return bool(git("ls-files", "-z", "--", str(path), index=self._index))

    def is_dirty(self) -> bool:
        """Whether tracked files differ from the checked-out commit; files that a filter changed count as different.

        Submodules are left out: git would run in them.
        """
        with self._apart() as git:
            wanted = ("--porcelain", "--untracked-files=no", "--ignore-submodules=all")
            return bool(git("status", *wanted, index=self._index))

    # -- writing

    def commit(self, path: Path, content: bytes, message: str) -> str:
        """Commit one file with exactly these bytes, whatever else is staged; returns the commit that has them.

        If the checked-out commit has them already, that one is returned. Raises UserError.
        """
        with self._apart() as git:
            head = _head(git)
            blob = git.text("hash-object", "-w", "--stdin", input=content)
            mode = git.text("ls-tree", "HEAD", "--", str(path)).partition(" ")[0]
            entry = f"{mode if mode in _REGULAR else '100644'},{blob},{path}"
            git("read-tree", "HEAD")
            git("update-index", "--add", "--cacheinfo", entry)
            tree = git.text("write-tree")
            if self._index.exists():  # first: if a kill comes between, the file is staged, as after `git add`
                git("update-index", "--add", "--cacheinfo", entry, index=self._index)
            if tree == git.text("rev-parse", "HEAD^{tree}"):
                return head
            commit = git.text("commit-tree", tree, "-p", head, input=f"{message}\n".encode(), more=self._identity)
            self._advance(git, commit, head, message.partition("\n")[0])
            return commit

    def _advance(self, git: "_Git", commit: str, head: str, subject: str) -> None:
        """Move the branch that is checked out, or HEAD itself if there is none."""
        git("update-ref", "-m", f"commit: {subject}", "HEAD", commit, head, more=self._identity)
        if (git.folder / "HEAD").read_text().strip() == commit:  # a detached HEAD: only our copy has moved
            lock = self._own / "HEAD.lock"  # git's own lock
            try:
                with lock.open("x") as file:
                    file.write(f"{commit}\n")
                lock.replace(self._own / "HEAD")
            except FileExistsError:
                raise UserError(f"{lock} is there: git is at work, or was killed; then remove it") from None
            except OSError as error:  # a full disk: the lock would keep the next command out
                lock.unlink(missing_ok=True)
                raise OSError(error.errno, error.strerror, str(lock)) from error

    def add_worktree(self, root: Path, folder: str) -> None:
        """Make a worktree of the checked-out commit at `root`, with the plain files of one folder in it.

        `root` must not exist. Everything is written by hand: `git worktree add` runs hooks, a checkout runs filters.
        """
        entry = self._worktree(root)
        with self._apart() as git:
            head = _head(git)
            # gitdir comes first: by it we find and remove what a kill or a full disk leaves
            for name, text in (("gitdir", str(root / ".git")), ("commondir", "../.."), ("HEAD", head)):
                write_text(entry / name, f"{text}\n")
            git("read-tree", "HEAD", index=entry / "index")
            for mode, blob, name in _entries(git, head, folder):
                if mode in _REGULAR:
                    write_bytes(root / name, git("cat-file", "blob", blob), root)
        write_text(root / ".git", f"gitdir: {entry}\n")

    def worktree_entry(self, root: Path) -> Path | None:
        """The repository's own folder for a worktree; None if it knows of none there."""
        own = self._worktree(root)
        if own.is_dir() and not (own / "gitdir").exists():
            return own
        for gitdir in self._common.glob("worktrees/*/gitdir"):
            if gitdir.read_text(encoding="utf-8").strip() == str(root / ".git"):
                return gitdir.parent
        return None

    def fetch(self, source: str, revision: str, path: str) -> None:
        """Fetch a revision, unless that was done before, and check out one of its folders. Raises UserError."""
        kept = f"refs/heads/fetched-{revision}"
        with self._apart(network=True) as git:
            if not git.text("for-each-ref", "--format=%(refname)", kept):
                git("fetch", "--quiet", "--no-tags", "--depth=1", "--", source, revision)
                git("update-ref", kept, "FETCH_HEAD")
            git("checkout", "--quiet", kept, "--", path)

    # -- running git

    @property
    def _index(self) -> Path:
        return self._own / "index"

    def _worktree(self, root: Path) -> Path:
        return self._common / "worktrees" / root.parent.name

    @contextmanager
    def _apart(self, network: bool = False) -> Iterator["_Git"]:
        """git in a git directory of its own, which shares what _SHARED names."""
        with tempfile.TemporaryDirectory(prefix="git-") as name:
            folder = Path(name)
            shared = [self._common / one for one in _SHARED] + sorted(self._own.glob("sharedindex.*"))
            for one in shared:
                if one.exists():
                    (folder / one.name).symlink_to(one)
            (folder / "logs").mkdir()
            for one in (self._common / "logs" / "refs", self._own / "logs" / "HEAD"):
                if one.exists():
                    (folder / "logs" / one.name).symlink_to(one)
            (folder / "HEAD").write_text((self._own / "HEAD").read_text())
            (folder / "config").write_text(self._config)
            yield _Git(folder, self._root, network)


class _Git:
    """Runs git in its folder."""

    def __init__(self, folder: Path, root: Path, network: bool) -> None:
        self.folder, self._root = folder, root
        self._environment = _environment(folder, network)

    def __call__(
        self, *arguments: str, input: bytes = b"", index: Path | None = None, more: dict[str, str] | None = None
    ) -> bytes:
        """Run git and return what it prints. `index`: the repository's; otherwise git's own. Raises UserError."""
        of_this = {"GIT_DIR": str(self.folder), "GIT_WORK_TREE": str(self._root)}
        environment = self._environment | of_this | ({"GIT_INDEX_FILE": str(index)} if index else {}) | (more or {})
        return _run(arguments, self._root, environment, input)

    def text(self, *arguments: str, input: bytes = b"", more: dict[str, str] | None = None) -> str:
        return self(*arguments, input=input, more=more).decode(errors="replace").strip()


def begin(folder: Path) -> Repository:
    """The repository of a folder, made if there is none. Raises UserError."""
    if not (folder / ".git").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _run(("init", "--quiet", "--template=", str(folder.absolute())), folder, _environment(folder, False), b"")
    return Repository(folder)


def _environment(home: Path, network: bool) -> dict[str, str]:
    """Without keys. git reads the system's and the account's own config only if it needs the network."""
    names = (*_PASSED, *(_FOR_THE_NETWORK if network else ()))
    passed = {name: os.environ[name] for name in names if name in os.environ}
    apart = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
    return {**({} if network else apart), **passed, **_ALONE}


def _run(arguments: tuple[str, ...], folder: Path, environment: dict[str, str], input: bytes) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, env=environment, input=input, capture_output=True)
    except FileNotFoundError as error:
        raise UserError(f"git is missing: {error}") from error
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())[:300]
        full = (
            f" ({folder}: make room there; the same command goes on)" if os.strerror(errno.ENOSPC) in reason else ""
        )
        raise UserError(f"git {arguments[0]} failed: {reason}{full}")
    return done.stdout


def _found(folder: Path, search_parents: bool) -> Any:
    """Find the repository with GitPython, which reads files. Its import only asks git for its version."""
    os.environ.pop("GIT_PYTHON_GIT_EXECUTABLE", None)  # `.env` may name one, and the import would run it
    try:
        import git
    except ImportError as error:
        raise UserError(f"git is missing: {error}") from error
    try:
        found = git.Repo(folder, search_parent_directories=search_parents)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
        begin = "this folder is no git repository: git init && git add . && git commit -m start"
        raise UserError(unmounted_repository(folder) or begin) from error
    except Exception as error:  # its config may hold anything
        raise UserError(f"{folder / '.git'}: no repository that can be read ({error!r:.200})") from error
    if not found.working_tree_dir:
        raise UserError("this git repository has no files of its own: clone it, and work there")
    return found


def _config_of(found: Any) -> str:
    """The config of our own git directory: how the objects and references that it shares are stored."""
    extensions, kept = [], ""
    with suppress(Exception), found.config_reader("repository") as reader:  # GitPython cannot read all that git can
        stored = {name: str(reader.get_value("extensions", name, "")).lower() for name in _EXTENSIONS}
        extensions = [f"    {name} = {value}\n" for name, value in stored.items() if value.isalnum()]
        told = {name: reader.get_value("core", name, True) for name in _OF_THE_DISK}
        kept = "".join(f"    {name} = {str(bool(value)).lower()}\n" for name, value in told.items())
    return _CONFIG.format(version=1 if extensions else 0, of_the_disk=kept, extensions="".join(extensions))


def _identity_of(found: Any) -> dict[str, str]:
    """Author and committer: from the environment, otherwise the user's config, otherwise a placeholder."""
    known = dict(_NOBODY)
    with suppress(Exception), found.config_reader() as reader:
        named = {what: str(reader.get_value("user", what.lower(), "")) for what in _NOBODY}
        known = named if all(named.values()) else known
    identity = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in known.items()}
    return identity | {name: os.environ[name] for name in _IDENTITY if os.environ.get(name)}


def _head(git: _Git) -> str:
    try:
        return git.text("rev-parse", "--verify", "HEAD^{commit}")
    except UserError as error:
        raise UserError("there is no commit yet: git add . && git commit -m start") from error


def _has(git: _Git, commit: str) -> bool:
    return git.text("cat-file", "--batch-check", input=commit.encode()).split()[1:2] == ["commit"]


def _file(git: _Git, commit: str, path: Path) -> bytes | None:
    if not _has(git, commit):
        return None
    listed = git.text("ls-tree", commit, "--", str(path)).split()  # a partial clone has the tree
    return git("cat-file", "blob", listed[2]) if listed[1:2] == ["blob"] else None


def _entries(git: _Git, commit: str, folder: str) -> Iterator[tuple[str, str, str]]:
    """Mode, object and path of everything in a folder."""
    for line in git("ls-tree", "-r", "-z", commit, "--", folder).decode(errors="surrogateescape").split("\0"):
        if line:
            about, _, path = line.partition("\t")
            mode, _, blob = about.split()
            yield mode, blob, path
