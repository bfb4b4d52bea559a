"""SageMaker's multi-model endpoints: one container that loads and unloads Trusses while it runs.

https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html

SageMaker fetches a model's archive when the model is asked for first, names the folder, and has the least
used unloaded when memory is short. Each model has a front of its own (pool, queue, limits of its config), so
that none waits for another; here is only the way to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from truss.config import TrussConfig, read_config
from truss.errors import (
    InvalidInputError,
    MalformedBodyError,
    MethodNotAllowedError,
    ModelExistsError,
    ModelLoadError,
    NoRoomError,
    NotReadyError,
    RouteNotFoundError,
    TrussError,
)
from truss.model.brought import truss_in
from truss.runtime import logs
from truss.runtime.app import Exchange, Receive, Scope, Send
from truss.runtime.arena import Arena
from truss.runtime.devices import worker_environment
from truss.runtime.forked import starters
from truss.runtime.front import Front, front_of
from truss.runtime.listener import address, listen
from truss.runtime.platform import Platform
from truss.runtime.predictions import Reply, Request, error_reply
from truss.runtime.process import Spawned
from truss.runtime.protocols.routes import LIVE_PATHS, READY_PATHS
from truss.runtime.room import free_memory, size_of
from truss.runtime.serve import HttpStop, http_server, run, say_what_is_not_installed
from truss.runtime.tls import Tls

logger = logging.getLogger("truss.serve")

_LOOK_SECONDS = 0.02
_LARGEST = 1 << 16
"""Bytes of a request to load a model: its name and its folder."""
_NO_MEMORY = ("MemoryError", "out of memory", "Cannot allocate memory", "bad_alloc", "died: signal 9")
"""What libraries say when memory is short, and what Linux does then."""


class Asked(msgspec.Struct, frozen=True):
    """The body of a request to load a model.

    Attributes:
        model_name: What it is called from then on.
        url: The folder that its archive was unpacked to.
    """

    model_name: str
    url: str


@dataclass(frozen=True)
class Loaded:
    """A model that is served.

    Attributes:
        url: As SageMaker named it.
        config: Its config.
        front: What answers for it.
        starting: What starts its workers, ended with it.
    """

    url: str
    config: TrussConfig
    front: Front
    starting: contextlib.ExitStack

    def told(self, name: str) -> dict[str, str]:
        """What SageMaker is told about it."""
        return {"modelName": name, "modelUrl": self.url}

    async def end(self, grace: float) -> None:
        """Let it answer what it has begun, for so many seconds at most, and end its workers."""
        pool = self.front.pool
        end = asyncio.get_running_loop().time() + grace
        while (pool.running or pool.waiting) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(_LOOK_SECONDS)
        await self.front.close()
        self.starting.close()


class Models:
    """The models of this container, as an ASGI application that speaks SageMaker's contract.

    Args:
        grace: Seconds for answering what was begun when a model is unloaded.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._arena = Arena()
        self._loaded: dict[str, Loaded] = {}
        self._loading: set[str] = set()
        self._draining = False
        self._numbers = itertools.count(1)

    @property
    def draining(self) -> bool:
        """Whether the server is about to stop."""
        return self._draining

    @draining.setter
    def draining(self, stopping: bool) -> None:
        self._draining = stopping
        for model in self._loaded.values():
            model.front.predictions.draining = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (the ASGI entry point)."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        name, action = _named(scope["path"])
        if action == "/invoke" and name in self._loaded and scope["method"] == "POST":
            passed_on = {**scope, "path": "/invocations", "raw_path": b"/invocations"}
            await self._loaded[name].front.app(passed_on, receive, send)
            return
        request = Request(b"models-%d" % next(self._numbers))
        exchange = Exchange(receive, send, request, scope)
        try:
            reply = await self._answer(exchange, scope["method"], scope["path"].rstrip("/"))
        except TrussError as error:
            reply = error_reply(error, request.id, debug=False)
        await exchange.respond(reply, close=self._draining)

    async def _answer(self, exchange: Exchange, method: str, path: str) -> Reply:
        if path in READY_PATHS or (path or "/") in LIVE_PATHS:
            if self._draining and path in READY_PATHS:
                raise NotReadyError("the server is stopping", hint="send requests to another instance")
            return _said({"status": "alive", "models": len(self._loaded)})
        name, action = _named(path)
        found: dict[tuple[str, str], Callable[[], Awaitable[Reply]]] = {
            ("/models", "GET"): self._list,
            ("/models", "POST"): lambda: self._load(exchange),
            ("/models/NAME", "GET"): lambda: self._describe(name),
            ("/models/NAME", "DELETE"): lambda: self._unload(name),
            ("/models/NAME/invoke", "POST"): lambda: self._describe(name),  # which says that there is none
        }
        route = f"/models/NAME{action}" if name else path
        methods = [known for known_route, known in found if known_route == route]
        if not methods:
            raise RouteNotFoundError(
                f"there is no route {path}", hint="this container serves several models: see GET /models"
            )
        if method not in methods:
            known = " or ".join(methods)
            raise MethodNotAllowedError(
                f"{path} takes {known}, not {method}", allowed=methods, hint=f"send {known}"
            )
        return await found[route, method]()

    async def _list(self) -> Reply:
        return _said({"models": [model.told(name) for name, model in self._loaded.items()]})

    async def _describe(self, name: str) -> Reply:
        return _said(self._known(name).told(name))

    def _known(self, name: str) -> Loaded:
        if name not in self._loaded:
            raise RouteNotFoundError(f"the model {name!r} is not loaded", hint="load it by POST /models")
        return self._loaded[name]

    async def _unload(self, name: str) -> Reply:
        model = self._known(name)
        del self._loaded[name]
        await model.end(self._grace)
        self._set_up_log()
        return _said(model.told(name))

    async def _load(self, exchange: Exchange) -> Reply:
        asked = await _read(exchange.receive)
        name = asked.model_name
        if name in self._loaded or name in self._loading:
            raise ModelExistsError(f"the model {name!r} is loaded already", hint="unload it first")
        self._loading.add(name)
        try:
            self._loaded[name] = await self._start(asked)
        finally:
            self._loading.discard(name)
        return _said(self._loaded[name].told(name))

    async def _start(self, asked: Asked) -> Loaded:
        """The model of a folder, once it is ready.

        Raises:
            TrussError: there is none, it cannot be loaded, or there is too little memory for it.
        """
        folder = truss_in(Path(asked.url))
        if folder is None:
            hint = "pack the Truss's files, config.yaml among them, into the archive"
            raise InvalidInputError("there is no Truss", where=asked.url, hint=hint)
        config = read_config(folder)
        if config.docker_server is not None:
            hint = "a server of somebody else's needs a container of its own"
            raise InvalidInputError("this Truss wraps a server", where=str(folder), hint=hint)
        size, free = size_of(folder), free_memory()
        if free is not None and size > free:
            raise _no_room(
                f"the model has {size} bytes of files, and {free} bytes of memory are free", folder
            )
        self._set_up_log(config)
        say_what_is_not_installed(config)
        if config.runtime.grpc.port is not None:
            logger.warning("%s: runtime.grpc is not heeded: of several models none is served by gRPC", folder)
        config = replace(config, runtime=replace(config.runtime, exit_on_load_failure=True))
        environments = worker_environment(config.runtime.workers or 0, dict(os.environ))
        failure: asyncio.Future[TrussError] = asyncio.get_running_loop().create_future()
        with contextlib.ExitStack() as starting:
            start = starting.enter_context(starters(folder, self._arena.fd, environments))
            front = front_of(folder, config, [_noting(one, failure, folder) for one in start], self._arena)
            try:
                await _opened(front, start, failure, folder)
            except BaseException:
                await front.close()
                raise
            return Loaded(asked.url, config, front, starting.pop_all())

    def _set_up_log(self, *more: TrussConfig) -> None:
        """Write the log without the secrets of any model that is there."""
        secrets: dict[str, Any] = {}
        for config in [*(model.config for model in self._loaded.values()), *more]:
            secrets.update(config.secrets)
        logs.set_up(TrussConfig(secrets=secrets))

    async def close(self) -> None:
        """End all models."""
        await asyncio.gather(*(model.end(0.0) for model in self._loaded.values()))


def _noting(start: Callable[[], Spawned], failure: asyncio.Future[TrussError], folder: Path) -> Any:
    """What starts a worker again; while the model is loaded for the first time, that ends the attempt."""

    def again() -> Spawned:
        if not failure.done():
            failure.set_result(_no_room("the process that loaded the model was killed", folder))
        return start()

    return again


async def _opened(
    front: Front, start: list[Callable[[], Spawned]], failure: asyncio.Future[TrussError], folder: Path
) -> None:
    """Return when the model is ready.

    Raises:
        TrussError: it cannot be loaded.
    """

    def fail(error: TrussError) -> None:
        if not failure.done():
            short = any(words in error.message for words in _NO_MEMORY)
            failure.set_result(_no_room(error.message, folder) if short else error)

    front.pool.on_fatal = fail
    try:
        spawned = [start_one() for start_one in start]
    except OSError as refusal:  # the system has no room for another process
        raise _no_room(f"no process can be started: {refusal.strerror}", folder) from refusal
    await front.pool.open(spawned)
    while not front.pool.ready:
        if failure.done():
            error = failure.result()
            raise (
                error
                if isinstance(error, NoRoomError)
                else ModelLoadError(error.message, where=error.where, hint=error.hint)
            )
        await asyncio.sleep(_LOOK_SECONDS)
    if not failure.done():
        failure.cancel()


def _no_room(message: str, folder: Path) -> NoRoomError:
    return NoRoomError(message, where=str(folder), hint="unload another model, or choose a larger instance")


async def _read(receive: Receive) -> Asked:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedBodyError("the client left while it was sending")
        body += message.get("body", b"")
        more = message.get("more_body", False) and len(body) <= _LARGEST
    try:
        return msgspec.json.decode(body, type=Asked)
    except msgspec.DecodeError as error:
        raise MalformedBodyError(
            f"this names no model to load: {error}",
            hint='send {"model_name": "...", "url": "/opt/ml/models/..."}',
        ) from error


def _named(path: str) -> tuple[str, str]:
    """The model that a path is about, and what follows its name; empty when it is about none."""
    if not path.startswith("/models/"):
        return "", ""
    name = path.removeprefix("/models/").rstrip("/")
    return (name.removesuffix("/invoke"), "/invoke") if name.endswith("/invoke") else (name, "")


def _said(content: Any) -> Reply:
    return Reply(200, msgspec.json.encode(content))


def serve_models(host: str, platform: Platform, tls: Tls | None = None) -> int:
    """Serve models that come and go, until SIGTERM or SIGINT.

    Args:
        host: The address to listen on.
        platform: What the place it runs at asks of it: the port, for one.
        tls: How connections are encrypted; default: not at all.

    Returns:
        The exit status: 0.

    Raises:
        ServerStartError: the address cannot be listened on, or the certificate cannot be used.
        MissingExtraError: the packages of the `runtime` extra are not installed.
    """
    listener = listen(host, platform.port)
    logs.set_up(TrussConfig())
    return run(_serve(listener, platform, tls))


async def _serve(listener: socket.socket, platform: Platform, tls: Tls | None) -> int:
    settings = TrussConfig().runtime
    ending = platform.ending(settings.timeouts)
    models = Models(ending.grace)
    context = None if tls is None else tls.context()
    server = http_server(models, "auto", settings.transport, context)
    if tls is not None and context is not None:
        tls.take_up_renewals(context)
    stop = HttpStop(server, models, listener, ending, None)
    with stop.on_signals():
        logger.info("listening on %s for models", address(listener, "http" if tls is None else "https"))
        await server.serve(sockets=[listener])
    await models.close()
    return stop.exit_status
