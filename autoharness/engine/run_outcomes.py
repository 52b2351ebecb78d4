"""The outcomes of one run: from the vault, from the run itself, and from other commands that run meanwhile."""

from collections.abc import Mapping
from typing import Any

from autoharness.core.outcomes import EVALUATED, Outcome, Trial, digest
from autoharness.vault.store import Store
from autoharness.vault.trial_claims import Claims

Json = dict[str, Any]


class RunOutcomes:
    """The outcomes of a run: those that the store has, and those that come in, which are stored at once."""

    def __init__(self, store: Store, keys: Mapping[Trial, Json], claims: Claims) -> None:
        self._store = store
        self._keys = keys
        self._claims = claims
        self.made_elsewhere: set[Trial] = set()
        """Trials that other commands ran while this run waited for them: it pays nothing for these."""
        self.known = {trial: outcome for trial in keys if (outcome := store.find(keys[trial]))}

    @property
    def all(self) -> list[Outcome]:
        return list(self.known.values())

    def __contains__(self, trial: Trial) -> bool:
        return trial in self.known

    @property
    def missing(self) -> list[Trial]:
        return [trial for trial in self._keys if trial not in self.known]

    def take(self, outcome: Outcome) -> None:
        """Store an outcome. An infrastructure failure is part of this run alone: the next one tries again."""
        if outcome.status in EVALUATED:
            outcome = self._store.keep(self._keys[outcome.trial], outcome)
            self._store.unfinished(self._keys[outcome.trial]).unlink(missing_ok=True)
        self.known[outcome.trial] = outcome
        self._claims.release(digest(self._keys[outcome.trial]))

    def claim(self, trial: Trial) -> Outcome | bool:
        """Claim a trial: see `executor.Claim`."""
        key = self._keys[trial]
        if not self._claims.take(digest(key)):
            return False
        found = self._store.find(key)
        if found:
            self._claims.release(digest(key))
            self.made_elsewhere.add(trial)
        return found or True
