"""A replica of Ray Serve that is a front of ours: its queue, its batches, its workers, all its routes.

Ray's part is to place replicas, to hand requests to them, to scale and to replace them. The cluster imports
`application` (docs/guides/deploy/ray.md); the Truss and this code come to its nodes in one archive.
https://docs.ray.io/en/latest/serve/http-guide.html
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.errors import TrussError

if TYPE_CHECKING:
    from truss.runtime.front import Front

DEPLOYMENT = "model"
"""What the one deployment of an application is called."""

_NEEDED = ("httptools", "msgspec", "ruamel.yaml", "uvicorn", "xxhash")
"""The modules that a front imports."""

_LOOK_SECONDS = 0.02
"""How often is looked whether the model is loaded."""

_FIXES = "install it on every node, or deploy with --packages uv"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def application(_: dict[str, Any]) -> Any:
    """What Serve deploys: one deployment whose replicas are fronts.

    Raises:
        RuntimeError: a package that serving needs is not there. Errors of ours would not survive their way
            through Ray's processes, which know no Truss.
    """
    missing = [name for name in _NEEDED if not _importable(name)]
    if missing:
        raise RuntimeError(f"serving needs {', '.join(missing)}, which this node has not: {_FIXES}")
    from ray import serve

    return serve.deployment(name=DEPLOYMENT)(serve.ingress(replica)(Health)).bind()


def replica() -> Replica:
    """The application of a replica of the Truss that is in the same archive as this code."""
    return Replica(Path(os.environ.get("TRUSS_DIR") or Path(__file__).parents[2] / "app"))


class Health:
    """What Serve asks of a replica beside requests; Serve makes it a class with the application as `app`."""

    app: Replica

    async def check_health(self) -> None:
        """Nothing, unless the replica is to be replaced.

        A worker that is started again is no reason: requests wait for it, or go to the others.

        Raises:
            RuntimeError: it is, for this reason.
        """
        complaint = await self.app.complaint()
        if complaint:
            raise RuntimeError(complaint)


class Replica:
    """A front, from Serve's signal to start to its signal to stop; between them an ASGI application.

    Args:
        truss_dir: The Truss.
    """

    def __init__(self, truss_dir: Path) -> None:
        self._truss_dir = truss_dir
        self._around = contextlib.AsyncExitStack()
        self._front: Front | None = None
        self._failure = ""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or a signal."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        assert self._front is not None  # Serve sends requests between its signals only
        await self._front.app(_below_the_prefix(scope), receive, send)

    async def complaint(self) -> str:
        """Why it cannot answer; empty when it can."""
        if self._failure or self._front is None:
            return self._failure or "it has not been started"
        return await self._front.pool.complaint()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except TrussError as error:  # told by `complaint`, which Serve asks next and whose words it shows
            self._failure = str(error)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._around.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        """Start the workers, and return when the model is loaded, or cannot be."""
        from truss.config import read_config
        from truss.model.installed import unmet
        from truss.runtime import logs
        from truss.runtime.allocator import keep_freed_memory
        from truss.runtime.arena import Arena
        from truss.runtime.devices import worker_environment
        from truss.runtime.forked import starters
        from truss.runtime.front import front_of

        keep_freed_memory()
        config = read_config(self._truss_dir)
        logs.set_up(config)
        # Ray names the GPUs that a replica was given; one that asked for none is not to look for any.
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
        arena = Arena()
        environments = worker_environment(config.runtime.workers or 0, os.environ)
        start = self._around.enter_context(starters(self._truss_dir, arena.fd, environments))
        front = front_of(self._truss_dir, config, start, arena)
        front.pool.on_fatal = self._fail
        self._around.push_async_callback(front.close)
        await front.pool.open([start_one() for start_one in start])
        while not (front.pool.ready or self._failure or front.pool.load_error):
            await asyncio.sleep(_LOOK_SECONDS)
        if front.pool.load_error is not None:
            self._fail(front.pool.load_error)
            lacking = unmet(config.requirements, gpus=config.resources.use_gpu)
            self._failure += "".join(f"; on this node: {one}: {_FIXES}" for one in lacking)
        self._front = front

    def _fail(self, error: TrussError) -> None:
        self._failure = f"the model cannot be loaded: {error}"


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def _below_the_prefix(scope: Mapping[str, Any]) -> Message:
    """A request as it would be at a host of its own: Serve leaves the application's prefix in its path."""
    prefix = scope.get("root_path", "")
    path = scope["path"]
    inside = path[len(prefix) :] if prefix and path.startswith(prefix) else path
    return {**scope, "path": inside or "/"}
