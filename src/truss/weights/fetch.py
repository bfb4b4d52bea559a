"""Fetch sources into a cache: files in parallel, gone on with where they broke off, checked, then named.

<cache>/<source>/lock                   held by who fetches it; others wait
<cache>/<source>/<version>/...          its files, whole: the folder appears when all are there
<cache>/<source>/<version>.json         the digests that they were checked by, and their commit
<cache>/<source>/unfinished/...         what has arrived so far, for the next try
<cache>/<source>/current                the version that was fetched last
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from truss.errors import WeightsError
from truss.weights.digests import Digests
from truss.weights.patience import Patience
from truss.weights.progress import Progress
from truss.weights.sources import Source
from truss.weights.store import Listing, RemoteFile, Store, bare
from truss.weights.stores import open_store

logger = logging.getLogger("truss.weights")

SIDE_BY_SIDE = 8
"""How many files are fetched at a time."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class Fetched:
    """A source whose files are here.

    Attributes:
        folder: Where they lie, by their paths below the source.
        revision: The commit that they belong to; empty where there are none.
    """

    folder: Path
    revision: str = ""

    def files(self) -> list[Path]:
        """Its files."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Fetcher:
    """Fetches sources into a cache.

    Attributes:
        cache: The cache's folder; made when it does not exist.
        secrets: The values of secrets by name.
        patience: How often what failed for now is tried again.
        open_store: Opens a source with the value of its secret.
        say: Told how far it has come; default: the log.
    """

    cache: Path
    secrets: Mapping[str, str | None]
    patience: Patience = field(default_factory=Patience)
    open_store: Callable[[Source, str], Store] = open_store
    say: Callable[[str], None] = logger.info

    def fetch(self, source: Source) -> Fetched:
        """The files of a source: from the cache where they are as the store has them, else fetched.

        Raises:
            MissingExtraError: the package that speaks the protocol is not installed.
            WeightsError: they are not there, not shown, not what their digests say, or cannot be written.
        """
        home = self.cache / source.key
        with _disk_errors(home):
            home.mkdir(parents=True, exist_ok=True)
            with _only_one(home / "lock"):
                return self._fetch(source, home)

    def listing(self, source: Source) -> Listing:
        """The files of a source as its store has them now; nothing is fetched.

        Raises:
            MissingExtraError: the package that speaks the protocol is not installed.
            WeightsError: there are none, or they are not shown.
        """
        return self._patiently(source, self._open(source).listing)

    def _open(self, source: Source) -> Store:
        return self.open_store(source, self.secrets.get(source.secret) or "")

    def _fetch(self, source: Source, home: Path) -> Fetched:
        kept = _kept(home)
        if kept is not None and (source.sha256 or _COMMIT.fullmatch(source.revision)):
            return kept  # what this names never changes
        store = self._open(source)
        try:
            listing = self._patiently(source, store.listing)
        except WeightsError as error:
            if kept is None or not isinstance(error.__cause__, OSError):
                raise
            logger.warning("%s cannot be reached; what was fetched before is used", bare(source.url))
            return kept
        if not listing.files:
            raise WeightsError(
                "no file matches", where=bare(source.url), hint="correct allow_patterns and ignore_patterns"
            )
        version = _version(listing)
        if not (home / version).is_dir():
            self._bring(source, store, listing, home, version)
        _write(home / "current", version)
        return Fetched(home / version, listing.revision)

    def _bring(self, source: Source, store: Store, listing: Listing, home: Path, version: str) -> None:
        """Fetch all files of a listing, and give their folder its name."""
        beside = home / "unfinished" / version
        beside.mkdir(parents=True, exist_ok=True)
        needed = sum(file.size or 0 for file in listing.files) - _arrived(beside)
        free = shutil.disk_usage(beside).free
        if needed > free:
            raise WeightsError(
                f"there is too little space: {needed} bytes are needed, {free} are free",
                where=str(self.cache),
                hint=_ROOM,
            )
        with Progress(bare(source.url), listing.files, self.say) as progress:
            self._side_by_side(source, store, listing.files, beside, progress)
        facts = {"revision": listing.revision, "files": {f.path: dict(f.digests) for f in listing.files}}
        _write(home / f"{version}.json", json.dumps(facts))
        beside.replace(home / version)
        shutil.rmtree(home / "unfinished", ignore_errors=True)  # parts of other versions

    def _side_by_side(
        self, source: Source, store: Store, files: tuple[RemoteFile, ...], folder: Path, progress: Progress
    ) -> None:
        with ThreadPoolExecutor(min(SIDE_BY_SIDE, len(files))) as pool:
            running = [pool.submit(self._bring_one, source, store, f, folder, progress) for f in files]
            done, waiting = wait(running, return_when=FIRST_EXCEPTION)
            for one in waiting:
                one.cancel()
            for one in done:
                one.result()

    def _bring_one(
        self, source: Source, store: Store, file: RemoteFile, folder: Path, progress: Progress
    ) -> None:
        place = folder / _inside(file.path, source)
        if place.is_file():
            progress.add(place.stat().st_size)
            return
        part = place.with_name(f".{place.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        if not file.version and not file.digests:
            part.unlink(missing_ok=True)  # nothing says that it is still a part of the same
        self._patiently(
            source,
            lambda: _go_on(store, file, part, progress),
            lambda: part.stat().st_size if part.exists() else 0,
        )
        found = Digests.of(part, file.digests)
        wrong = [name for name, wanted in file.digests.items() if found[name] != wanted.lower()]
        if wrong or (file.size is not None and part.stat().st_size != file.size):
            size = part.stat().st_size
            part.unlink()
            what = (
                f"its {wrong[0]} is {found[wrong[0]]}, not {file.digests[wrong[0]]}"
                if wrong
                else f"it has {size} bytes, not {file.size}"
            )
            raise WeightsError(
                f"what arrived of {file.path} is not what it has to be: {what}",
                where=bare(source.url),
                hint="correct `sha256` in config.yaml if the file was changed on purpose; else do not use it"
                if source.sha256
                else "try again; if it stays so, something on the way changes it",
            )
        part.replace(place)

    def _patiently(
        self, source: Source, attempt: Callable[[], object], reached: Callable[[], int] = lambda: 0
    ) -> Listing:
        """What an attempt gives, made again while it fails for now; getting further starts the count anew."""
        failed, furthest = 0, reached()
        while True:
            try:
                return attempt()  # type: ignore[return-value]
            except OSError as error:  # noqa: PERF203  # each try may fail
                if error.errno in _FULL or isinstance(error, PermissionError):
                    raise
                now = reached()
                failed = 1 if now > furthest else failed + 1
                furthest = max(now, furthest)
                if failed >= self.patience.tries:
                    raise WeightsError(
                        f"the store cannot be reached: {error}",
                        where=bare(source.url),
                        hint="look at the network, the proxy (HTTPS_PROXY), the address; what came is kept",
                    ) from error
                self.say(f"{bare(source.url)}: {error}; trying again")
                self.patience.before(failed)


def _go_on(store: Store, file: RemoteFile, part: Path, progress: Progress) -> None:
    """Append to a part what is missing of it."""
    start = part.stat().st_size if part.exists() else 0
    if file.size is not None and start >= file.size > 0:
        progress.add(start)
        return
    begins, blocks = store.read(file, start)
    with part.open("r+b" if begins else "wb") as out:
        out.seek(begins)
        progress.at(file.path, begins)
        for block in blocks:
            out.write(block)
            progress.at(file.path, out.tell())
    if file.size is not None and part.stat().st_size < file.size:
        raise ConnectionError("the connection broke off")


def _inside(path: str, source: Source) -> PurePosixPath:
    found = PurePosixPath(path)
    if found.is_absolute() or ".." in found.parts or not found.parts:
        raise WeightsError(f"the store names a file {path!r}", where=bare(source.url))
    return found


def _version(listing: Listing) -> str:
    facts = sorted((f.path, f.size, f.version, sorted(f.digests.items())) for f in listing.files)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]


def _kept(home: Path) -> Fetched | None:
    try:
        version = (home / "current").read_text("utf-8")
        facts = json.loads((home / f"{version}.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return Fetched(home / version, facts["revision"]) if (home / version).is_dir() else None


def _arrived(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Copies of a model start at the same time: one fetches, the others find what it fetched."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_ROOM = "free some space, or name a folder on another disk with TRUSS_WEIGHTS_DIR; what has arrived is kept"


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        raise WeightsError(
            f"the files cannot be written: {error.strerror or error}",
            where=str(error.filename or folder),
            hint=_ROOM if full else "name a folder that can be written with TRUSS_WEIGHTS_DIR",
        ) from error
