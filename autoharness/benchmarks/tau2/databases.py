"""Shared databases with copy on read: a process loads each database once, and environments get cheap views of it.

tau2 loads, validates and hashes the whole database for each environment, and makes three of them for a simulation. A
view is a model of the same class. Each of its tables (a dictionary of records) holds the shared records, and copies
one at its first access by key; everything else in it is a copy. Its hash is bit for bit tau2's own, composed from the
texts of records that were not touched.

`.values()` and `.items()` lend shared records: copying a whole table for one search would cost what this saves. So
code works on views inside `watch`, which compares lent records with what they were: if a tool has changed a shared
record, the work has to be done again inside `plain`, where everything is tau2's own.

What this does not notice: an extension that reads a table's storage past Python, keeps what it finds and changes it
later. A run with `verify_sample` would notice it.
"""

import hashlib
import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from threading import Lock
from typing import Any

from autoharness.core.errors import SharedRecordChanged

Json = dict[str, Any]

_is_plain: ContextVar[bool] = ContextVar("plain", default=False)
_lent: ContextVar[dict[int, "_Table"] | None] = ContextVar("lent", default=None)
_viewed: ContextVar[list["_Base"] | None] = ContextVar("viewed", default=None)


@contextmanager
def plain() -> Iterator[None]:
    """Environments that are made in the block are tau2's own, with a database loaded for each."""
    token = _is_plain.set(True)
    try:
        yield
    finally:
        _is_plain.reset(token)


def is_plain() -> bool:
    return _is_plain.get()


@contextmanager
def watch() -> Iterator[None]:
    """Raises SharedRecordChanged at the end if a record that was lent in the block has changed.

    Also in place of another error, which may be a result of the change.
    """
    lent: dict[int, _Table] = {}
    viewed: list[_Base] = []
    tokens = _lent.set(lent), _viewed.set(viewed)
    try:
        yield
    except Exception as error:
        _check(lent, viewed, error)
        raise
    finally:
        _lent.reset(tokens[0])
        _viewed.reset(tokens[1])
    _check(lent, viewed, None)


def _check(lent: dict[int, "_Table"], viewed: list["_Base"], cause: Exception | None) -> None:
    tables = [table for table in lent.values() if not table.is_untouched()]
    for base in viewed:
        if any(table in tables for table in base.tables.values()):
            base.changed = [table.name for table in tables]
            for key in [key for key, loaded in list(_bases.items()) if loaded is base]:
                _bases.pop(key, None)  # the next one that asks loads it anew
    by_others = {name for base in viewed for name in base.changed}  # in the meantime
    changed = sorted(by_others | {table.name for table in tables})
    if changed:
        raise SharedRecordChanged(f"a tool changed shared records of {', '.join(changed)}") from cause


def install(database_class: Any, toolkit_class: Any) -> None:
    """Have `database_class.load` hand out views, and the toolkits hash them. Once for each process."""
    if hasattr(database_class.load, "__wrapped__"):
        return
    load_in, hash_in = database_class.load.__func__, toolkit_class.get_db_hash

    @wraps(load_in)
    def load(cls: Any, path: Any) -> Any:
        return load_in(cls, path) if _is_plain.get() else _base(cls, path, load_in).view()

    @wraps(hash_in)
    def get_db_hash(self: Any) -> Any:
        return _hash_of(self.db) if _tables(self.db) else hash_in(self)

    database_class.load = classmethod(load)
    toolkit_class.get_db_hash = get_db_hash


_bases: dict[tuple[Any, str], "_Base"] = {}
_loading = Lock()


def _base(cls: Any, path: Any, load_in: Any) -> "_Base":
    with _loading:
        key = cls, str(path)
        if key not in _bases:
            _bases[key] = _Base(load_in(cls, path))
        return _bases[key]


class _Table:
    """The records of one table as they were loaded, by key."""

    def __init__(self, name: str, records: dict[str, Any]) -> None:
        self.name = name
        self.records = records
        self._pickles = {key: pickle.dumps(record, pickle.HIGHEST_PROTOCOL) for key, record in records.items()}
        self._loaded = [record.model_dump_json() for record in records.values()]
        texts = {key: _text(record.model_dump()) for key, record in records.items()}
        self.pieces = {key: _piece(key, texts[key]) for key in sorted(texts)}
        """By key: the records' parts of the text that tau2 hashes."""

    def copy(self, key: str) -> Any:
        return pickle.loads(self._pickles[key])

    def is_untouched(self) -> bool:
        """Whether no shared record was changed, in value or in type: 1 is not 1.0 is not true."""
        return [record.model_dump_json() for record in self.records.values()] == self._loaded


class Records(dict[str, Any]):
    """A view of a table. It copies a record when the record is accessed by its key.

    It is a real dictionary, since pydantic reads its storage. `__iter__` must be defined: without it `dict(records)`
    and the like would read the storage too, and take shared records along unnoticed.
    """

    def __init__(self, table: _Table) -> None:
        super().__init__(table.records)
        self.table = table
        self.own: set[str] = set()
        """The keys whose record, if there is one, is not shared."""

    def __getitem__(self, key: str) -> Any:
        record = super().__getitem__(key)
        if key in self.own:
            return record
        copied = self.table.copy(key)
        self[key] = copied
        return copied

    def __setitem__(self, key: str, record: Any) -> None:
        super().__setitem__(key, record)
        self.own.add(key)

    def __iter__(self) -> Iterator[str]:
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401  that would be this function

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        if key in self:
            self[key]  # hands out a copy of its own
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        key, record = super().popitem()
        return (key, record) if key in self.own else (key, self.table.copy(key))

    def update(self, *others: Any, **named: Any) -> None:
        for key, record in dict(*others, **named).items():
            self[key] = record

    def __ior__(self, other: Any) -> "Records":  # type: ignore[override]
        self.update(other)
        return self

    def __or__(self, other: Any) -> dict[str, Any]:  # type: ignore[override]
        merged: dict[str, Any] = self.copy() | other
        return merged

    def __ror__(self, other: Any) -> Any:
        return other | self.copy()

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.copy(),)

    __copy__ = copy

    def values(self) -> Any:
        self._lend()
        return super().values()

    def items(self) -> Any:
        self._lend()
        return super().items()

    def _lend(self) -> None:
        """Note that shared records are lent; outside of `watch`, which would notice changes, copy every record."""
        lent = _lent.get()
        if lent is None:
            for key in self:
                self[key]
        else:
            lent[id(self.table)] = self.table


class _Base:
    """A database as it was loaded: it is never handed out, only views of it are."""

    def __init__(self, database: Any) -> None:
        fields = database.__dict__
        self.tables = {name: _Table(name, records) for name, records in fields.items() if _is_table(records)}
        self.changed: list[str] = []
        """Tables in which a tool has changed a shared record: every view may have seen the change."""
        rest = database.model_copy(update=dict.fromkeys(self.tables))
        self._rest = pickle.dumps(rest, pickle.HIGHEST_PROTOCOL)

    def view(self) -> Any:
        viewed = _viewed.get()
        if viewed is not None:
            viewed.append(self)
        view = pickle.loads(self._rest)
        view.__dict__ |= {name: Records(table) for name, table in self.tables.items()}
        return view


def comparable(one: Any, other: Any) -> tuple[Json, Json]:
    """Two databases as JSON, without the records that neither of them has touched."""
    tables, others = _tables(one), _tables(other)
    touched = {
        name: tables[name].own | others[name].own | (tables[name].keys() ^ others[name].keys())
        for name in tables.keys() & others.keys()
        if tables[name].table is others[name].table
    }
    return _dumped(one, touched), _dumped(other, touched)


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[Json]:
    """The leaves at which two JSON values differ, as {"path", "expected", "actual"}; a missing side is None."""
    if type(expected) is type(actual) and expected == actual:
        return
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in expected | actual:
            yield from differences(expected.get(key), actual.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(expected, list) and isinstance(actual, list):
        for index in range(max(len(expected), len(actual))):
            one, other = (values[index] if index < len(values) else None for values in (expected, actual))
            yield from differences(one, other, f"{path}[{index}]")
    else:
        yield {"path": path, "expected": expected, "actual": actual}


def _dumped(database: Any, touched: dict[str, set[str]]) -> Json:
    include = {name: touched.get(name, True) for name in database.__dict__ if touched.get(name, True)}
    dumped: Json = database.model_dump(mode="json", include=include)
    return dumped


def _tables(database: Any) -> dict[str, Records]:
    """The tables that are views; a tool may have replaced one by something else."""
    fields = getattr(database, "__dict__", {})
    return {name: value for name, value in fields.items() if isinstance(value, Records)}


def _hash_of(view: Any) -> str:
    """The hash that tau2's `get_db_hash` gives for the same contents."""
    tables = _tables(view)
    texts = {name: _text(value) for name, value in view.model_dump(exclude=set(tables)).items()}
    texts |= {name: _table_text(view, name, records) for name, records in tables.items()}
    return hashlib.sha256(_object(_piece(name, texts[name]) for name in sorted(texts)).encode()).hexdigest()


def _table_text(view: Any, name: str, records: Records) -> str:
    pieces = records.table.pieces
    own = records.own & records.keys()
    if own:
        # through the field of the database, as tau2 does it: a tool may have put in something that is not a record
        dumped = view.model_dump(include={name: own})[name]
        pieces = pieces | {key: _piece(key, _text(record)) for key, record in dumped.items()}
    if pieces.keys() != records.keys() or len(pieces) != len(records.table.pieces):
        pieces = {key: pieces[key] for key in sorted(records.keys())}
    return _object(pieces.values())


def _is_table(value: Any) -> bool:
    return (
        type(value) is dict
        and bool(value)
        and all(type(key) is str and hasattr(record, "model_dump_json") for key, record in value.items())
    )


def _text(value: Any) -> str:
    """The value as tau2's `get_dict_hash` writes it."""
    return json.dumps(value, sort_keys=True, default=str)


def _piece(key: str, text: str) -> str:
    return f"{json.dumps(key)}: {text}"


def _object(pieces: Any) -> str:
    return "{" + ", ".join(pieces) + "}"
