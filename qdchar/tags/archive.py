"""Map an analysis over many files, on one machine or many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import QdcharError, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class FileResult(Generic[T]):
    """What came of one file.

    Attributes
    ----------
    file
        The file.
    value
        The analysis' result; None if it failed.
    error
        Why it failed; empty if it did not.
    """

    file: Path
    value: T | None
    error: str = ""


def map_files(
    analysis: Callable[[Path], T], files: Sequence[Path], executor: Executor | None = None
) -> Iterator[FileResult[T]]:
    """Analyse each file, giving results as they come; a file that fails does not stop the rest.

    Parameters
    ----------
    analysis
        A function of the file alone; with an executor it must be importable by the workers.
    files
        Files to go through; workers on other machines need them under the same path.
    executor
        Anything like `concurrent.futures.Executor`, for instance Dask's
        ``Client(...).get_executor()``; without it, one file after the other, in order.
    """
    if executor is None:
        for file in files:
            yield _run(analysis, file)
        return
    waiting: dict[Future[FileResult[T]], Path] = {
        executor.submit(_run, analysis, file): file for file in files
    }
    for future in _as_completed(waiting):
        try:
            yield future.result()
        except Exception as error:
            # A worker that died, or could not import the analysis.
            yield FileResult(waiting[future], None, f"worker: {type(error).__name__}: {error}")


def _run(analysis: Callable[[Path], T], file: Path) -> FileResult[T]:
    try:
        return FileResult(file, analysis(file))
    except QdcharError as error:
        return FileResult(file, None, str(error))
    except Exception as error:
        # A fault of the program; with its name it can be reported, and the rest goes on.
        return FileResult(file, None, f"{type(error).__name__}: {error}")


def _as_completed(
    futures: dict[Future[FileResult[T]], Path],
) -> Iterator[Future[FileResult[T]]]:
    first = next(iter(futures), None)
    if first is None or isinstance(first, Future):
        yield from as_completed(futures)
    else:  # Dask's are futures of its own kind
        yield from import_module("distributed").as_completed(list(futures))


@contextmanager
def open_executor(name: str) -> Iterator[Executor | None]:
    """Open an executor by name.

    Parameters
    ----------
    name
        ``serial``, ``processes`` (all processors of this machine), or ``dask://HOST:PORT``, the
        address of a running Dask scheduler (extra ``cluster``).

    Raises
    ------
    UsageError
        If the name is none of these, Dask is not installed, or no scheduler answers.
    """
    if name == "serial":
        yield None
    elif name == "processes":
        with ProcessPoolExecutor() as pool:
            yield pool
    elif name.startswith("dask://"):
        try:
            Client = import_module("distributed").Client
        except ImportError as error:
            raise UsageError(
                "Dask is not installed: pip install 'qdchar[cluster]', or use --executor processes"
            ) from error
        address = f"tcp://{name.removeprefix('dask://')}"
        try:
            client = Client(address, timeout=10)
        except (OSError, ValueError) as error:
            raise UsageError(f"no Dask scheduler answers at {address}: {error}") from error
        with client:
            yield client.get_executor(pure=False)
    else:
        raise UsageError(
            f"executor {name!r} is unknown; take serial, processes or dask://HOST:PORT"
        )
