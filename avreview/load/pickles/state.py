"""What a pickle's opcodes work on: a stack, a memo, and an account of what was built and named."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from mmap import mmap
from typing import Any, NamedTuple

from avreview.checkpoint import NamedCode
from avreview.errors import AvreviewError
from avreview.load.pickles.inert import Global, Instance
from avreview.load.pickles.keys import Keys
from avreview.load.wording import one_line, quoted, shortened

Data = bytes | mmap | memoryview
Builders = Mapping[tuple[str, str], Callable[..., Any]]

INSTANCE = 400  # bytes of an Instance with its empty containers
_MOST_NAMES = 20_000  # that a pickle may name or use in all; a large model's names some dozens
_LONGEST_NAME = 4_000  # characters
_SIZED = frozenset({list, tuple, dict, set, frozenset})
_MANY = 8  # parts, from which a builder's walk over them is accounted for


class PickleError(Exception):
    """The pickle cannot be read; the text is one phrase with the file as its subject: `its pickle is cut off`."""


class PickleLimits(NamedTuple):
    """How far a pickle is followed: opcodes run, levels of nesting in its value, bytes of what it builds, seconds."""

    opcodes: int = 20_000_000
    depth: int = 500
    memory: int = 1 << 30
    seconds: float = 60.0


class Record:
    """Base of what a builder returns when BUILD is still to fill it in. `copied` is how many bytes it has copied."""

    __slots__ = ("copied",)

    def __init__(self) -> None:
        self.copied = 0

    def build(self, state: Any) -> None:
        """Takes the state. Raises TypeError or ValueError for one that does not fit."""
        raise NotImplementedError

    def parts(self) -> Sequence[Any]:
        """What it holds of the pickle's own values."""
        return ()


class _Use:
    """How often one name was called or made, and how often what came of it got the state of an nn.Module."""

    __slots__ = ("made", "modules", "offset")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.made = 0
        self.modules = 0


class Machine:
    """The state of one pickle being read. Sizes are estimates in bytes of what CPython takes."""

    __slots__ = (
        "builders", "data", "file", "inside", "keys", "limits", "marks", "memo", "names", "nested", "offset",
        "persistent", "room", "size", "stack", "started", "uses",
    )  # fmt: skip

    def __init__(
        self,
        data: Data,
        *,
        file: str,
        persistent: Callable[[Any], Any] | None,
        builders: Builders,
        limits: PickleLimits,
    ) -> None:
        self.data = data
        self.size = len(data)
        self.file = file
        self.persistent = persistent
        self.builders = builders
        self.limits = limits
        self.room = limits.memory
        self.started = time.monotonic()
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}
        self.keys = Keys()
        self.names: dict[Global, int] = {}  # → the offset of the opcode that first named it
        self.uses: dict[tuple[Any, str], _Use] = {}
        self.nested: list[NamedCode] = []  # of pickles inside this one
        self.inside: dict[int, bytes] = {}  # those pickles, by id
        self.offset = 0  # of the opcode at work, where it matters

    def charge(self, size: int) -> None:
        """Takes `size` bytes off the memory left. Raises PickleError when there is no more."""
        self.room -= size
        if self.room < 0:
            raise PickleError(f"its pickle builds more than {self.limits.memory:,} bytes")

    def check_time(self) -> None:
        if time.monotonic() - self.started > self.limits.seconds:
            raise PickleError(f"its pickle takes more than {self.limits.seconds:g} seconds to read")

    def take(self, position: int, length: int) -> int:
        """The place behind `length` bytes at `position`. Raises PickleError when there are fewer."""
        end = position + length
        if end > self.size:
            raise PickleError("its pickle is cut off")
        return end

    def unmark(self) -> list[Any]:
        """What lies above the last mark, which goes with it."""
        if not self.marks:
            raise PickleError("its pickle ends a group that it never began")
        above = self.stack
        self.stack = self.marks.pop()
        return above

    def name(self, module: str, name: str, offset: int) -> Global:
        """The function or class of that name, not looked up."""
        found = Global(module, name)
        if found not in self.names:
            if len(module) + len(name) > _LONGEST_NAME:
                raise PickleError(f"its pickle names a function with {len(module) + len(name):,} characters")
            self.charge(200)
            self.names[found] = offset
            self._check_names(self.names)
        return found

    def use(self, what: Any, how: str) -> None:
        """Notes that loading would call or make `what`, which is a name or an object, or is told as text."""
        known = isinstance(what, Global)
        key = (what if known or isinstance(what, str) else described(what), how)
        use = self.uses.get(key)
        if use is None:
            self.charge(300)
            use = self.uses[key] = _Use(self.names.get(what, self.offset) if known else self.offset)
            self._check_names(self.uses)
        use.made += 1

    def _check_names(self, noted: Mapping[Any, Any]) -> None:
        if len(noted) > _MOST_NAMES:
            raise PickleError(f"its pickle names more than {_MOST_NAMES:,} functions and classes")

    def note_module(self, instance: Instance) -> None:
        """Notes that what was made of a name turned out to be an nn.Module."""
        use = self.uses.get((instance.of, instance.how)) if isinstance(instance.of, Global) else None
        if use is not None:
            use.modules += 1

    def build(
        self, what: Global | str, builder: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """What a known function or class gives. Raises PickleError when the arguments do not fit it."""
        for part in args:
            if type(part) in _SIZED and len(part) > _MANY:
                self.charge(8 * len(part))
                self.check_time()
        try:
            built = builder(*args, **options)
        except (PickleError, AvreviewError):
            raise
        except Exception as error:
            # The text of other errors may be a value of the pickle, of any size
            why = one_line(str(error), 200) if isinstance(error, TypeError | ValueError) else type(error).__name__
            kind = quoted(what.dotted) if isinstance(what, Global) else what
            raise PickleError(f"its pickle makes {kind} of the wrong parts ({why})") from None
        self.charge(sys.getsizeof(built) + (built.copied if isinstance(built, Record) else 0))
        return built

    def code(self, known: Callable[[Global], bool]) -> list[NamedCode]:
        """Every name that is not known, by its use: `named` only where it is neither called nor made."""
        used = {what for what, _ in self.uses if isinstance(what, Global)}
        found = [
            NamedCode(_written(what), how, self.file, use.offset, use.made == use.modules, _leads_through(what))
            for (what, how), use in self.uses.items()
        ]
        found += [
            NamedCode(_written(what), "named", self.file, offset, through=_leads_through(what))
            for what, offset in self.names.items()
            if what not in used and not known(what)
        ]
        return sorted(found, key=lambda code: code.offset) + self.nested


def _written(what: Any) -> str:
    if isinstance(what, Global):
        return what.dotted if what.module else what.name
    return str(what)


def _leads_through(what: Any) -> bool:
    """Whether a dotted name begins with no class: picklers write so only what is inside of classes."""
    return isinstance(what, Global) and "." in what.name and not what.name.lstrip("_")[:1].isupper()


def described(what: Any, depth: int = 3) -> str:
    """A value in a few words, the way a call of it would be written: `getattr(os.path, 'join')`."""
    if isinstance(what, Global):
        return shortened(_written(what).removeprefix("builtins."), 80)
    if isinstance(what, Instance):
        if not depth:
            return "…"
        shown = [described(part, depth - 1) for part in what.args[:3]] + (["…"] if len(what.args) > 3 else [])
        return f"{described(what.of, depth - 1)}({', '.join(shown)})"
    if isinstance(what, str):
        return quoted(what, 40)
    if what is None or isinstance(what, bool | float) or (isinstance(what, int) and abs(what) < 1 << 64):
        return repr(what)
    return type(what).__name__
