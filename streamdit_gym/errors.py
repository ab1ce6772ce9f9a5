"""Every error that the project raises on purpose, each with its remedy.

Each also subclasses the builtin exception that it refines.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

# errors of a full, read-only or forbidden place, or of an impossible path
DISK_ERRORS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EFBIG,
    errno.EIO,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
EXIT_DONE = 0
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # as shells have it: 128 + SIGINT
DISK_REMEDY = "make room or give another folder, and call again; what is done is kept"


class StreamDiTError(Exception):
    """Base of all deliberate errors; the text reads: given / allowed / remedy.

    Args:
        problem: what is wrong, in a line.
        given: what was given; None: not said.
        allowed: what would be right; None: not said.
        remedy: what to do.
    """

    def __init__(
        self, problem: str, *, given: object = None, allowed: object = None, remedy: str = ""
    ) -> None:
        parts = [problem]
        if given is not None:
            parts.append(f"  given:   {given}")
        if allowed is not None:
            parts.append(f"  allowed: {allowed}")
        if remedy:
            parts.append(f"  remedy:  {remedy}")
        self.problem = problem
        self.given = given
        self.allowed = allowed
        self.remedy = remedy
        super().__init__("\n".join(parts))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle rebuild the error without its constructor, whose arguments differ by class."""
        return _rebuild_error, (type(self), self.args, self.__dict__)


def _rebuild_error(
    error_class: type[StreamDiTError], args: tuple[str, ...], attributes: dict[str, Any]
) -> StreamDiTError:
    error = error_class.__new__(error_class, *args)
    error.__dict__.update(attributes)
    return error


class UnknownNameError(StreamDiTError, LookupError):
    """A name that is not in a known list.

    Args:
        kind: what the name is of, such as "world".
        given: the name.
        allowed: all names that there are.
        remedy: what to do where no name is near the given one.
        problem: what is wrong; by default that the name is unknown.
    """

    def __init__(
        self, kind: str, given: str, allowed: Iterable[str], remedy: str = "", *, problem: str = ""
    ) -> None:
        names = sorted(allowed)
        nearest = difflib.get_close_matches(given, names, n=1, cutoff=0.4)
        if nearest:
            remedy = f"did you mean {nearest[0]!r}?"
        super().__init__(
            problem or f"unknown {kind} {given!r}",
            given=repr(given),
            allowed=", ".join(names),
            remedy=remedy or "use a name of the list",
        )


class UnknownArgumentError(UnknownNameError, TypeError):
    """A keyword argument that a call does not have.

    The text uses Python's words, since other programs look for them. Gymnasium makes the error anew
    from its text alone when an environment's constructor raises it.

    Args:
        problem: what is wrong, or the whole text.
        given: the argument's name.
        allowed: all names that there are.
        remedy: what to do; by default the nearest name.
    """

    def __init__(
        self, problem: str, given: str = "", allowed: Iterable[str] = (), remedy: str = ""
    ) -> None:
        if remedy:
            names = ", ".join(sorted(allowed))
            StreamDiTError.__init__(self, problem, given=repr(given), allowed=names, remedy=remedy)
        elif given:
            super().__init__("argument", given, allowed, problem=problem)
        else:  # as Gymnasium makes it anew
            StreamDiTError.__init__(self, problem)

    @classmethod
    def of(cls, name: str, allowed: Iterable[str], remedy: str = "") -> UnknownArgumentError:
        """Return the error for an argument's name; without a remedy it gives the nearest name."""
        return cls(f"got an unexpected keyword argument {name!r}", name, allowed, remedy)


class ArgumentError(StreamDiTError, ValueError):
    """An argument of the wrong type, not finite, or out of range."""


class StorageError(StreamDiTError, RuntimeError):
    """Something cannot be written: the disk is full or read-only, or the folder forbidden."""


class BusyError(StreamDiTError, RuntimeError):
    """A folder in which another process works."""


class PartitionError(StreamDiTError, ValueError):
    """A partition (K, N, c, s) that is impossible, or that does not fit the model."""


class ShapeError(StreamDiTError, ValueError):
    """An array of the wrong shape, dtype or range."""


class ActionError(StreamDiTError, ValueError):
    """An action outside the action space."""


class BundleError(StreamDiTError, RuntimeError):
    """A world bundle with a missing, cut, foreign or too-new file."""


class DefinitionError(StreamDiTError, ValueError):
    """A world's definition or its simulator breaks the rules that everything else relies on."""


class DatasetError(StreamDiTError, RuntimeError):
    """A recorded data set that is missing, cut or of another world."""


class NotReadyError(StreamDiTError, RuntimeError):
    """A call out of order: step before reset, or a closed environment."""


class MissingExtraError(StreamDiTError, ImportError):
    """An optional package that the call needs and that is not installed.

    Args:
        package: as pip names it.
        extra: of streamdit_gym, that brings the package.
        why: what needs it.
    """

    def __init__(self, package: str, extra: str, why: str) -> None:
        super().__init__(
            f"{why} needs the package {package!r}",
            given="not installed",
            remedy=f'in the repository: pip install -e ".[{extra}]"',
        )


def require(module: str, extra: str, why: str) -> Any:
    """Import an optional module.

    Args:
        module: its name.
        extra: the extra of this package that brings it.
        why: what needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(module.split(".")[0], extra, why) from error


def exit_status(run: Callable[[], None], again: str) -> int:
    """Run a command and return its exit status: 0 done, 2 a clear error, 130 stopped by Ctrl-C.

    Args:
        run: the command.
        again: the command line that goes on after Ctrl-C; empty: nothing is lost.
    """
    try:
        run()
    except StreamDiTError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        clear = StreamDiTError("a file cannot be read or written", given=error, remedy=DISK_REMEDY)
        print(f"error: {clear}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        advice = f"; what is done is kept. Go on with: {again}" if again else ""
        print(f"\nstopped{advice}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_DONE
