"""What clients read about a model: its schema, the OpenAPI document, the page. Made when asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from truss.errors import NotReadyError
from truss.runtime import openapi, page
from truss.runtime.description import Description, described
from truss.runtime.protocols.routes import Service

Document = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]
"""A body, its content type, further headers."""

_JSON = b"application/json"


class Documents:
    """Makes the documents of a model.

    Args:
        interface: Gives what the model says of itself (`truss.model.interface`); None until it is loaded.
        service: What it is called, and its signature.
        example: Reads the input of its first example; None where there is none. Runs in a thread.
        secured: Whether requests need an API key.
    """

    def __init__(
        self,
        interface: Callable[[], Mapping[str, Any] | None],
        service: Service,
        example: Callable[[], Any],
        *,
        secured: bool,
    ) -> None:
        self._interface = interface
        self._service = service
        self._example = example
        self._secured = secured
        self._made: tuple[Mapping[str, Any], Description] | None = None

    async def schema(self) -> Document:
        """What is taken and answered, as JSON Schema.

        Raises:
            NotReadyError: the model has not been loaded yet; so for the others.
        """
        description = await self._description()
        return msgspec.json.encode(description.schema()), _JSON, ()

    async def openapi(self, prefix: str) -> Document:
        """The OpenAPI document; `prefix` is what is before all paths."""
        return msgspec.json.encode(openapi.document(await self._description(), prefix)), _JSON, ()

    async def page(self, host: str, scheme: str, prefix: str) -> Document:
        """The page for people.

        Args:
            host: What the client calls the server: its `Host` header.
            scheme: `http` or `https`.
            prefix: What is before all paths.
        """
        description = await self._description()
        base = page.base_of(host, scheme) + prefix
        text = page.page(description, openapi.document(description), base)
        return text.encode(), b"text/html; charset=utf-8", page.HEADERS

    async def _description(self) -> Description:
        said = self._interface()
        if said is None:
            raise NotReadyError("the model is not loaded yet", hint="ask again in a few seconds")
        if self._made is None or self._made[0] is not said:  # else it was loaded anew
            example = await asyncio.to_thread(self._example)
            self._made = said, described(said, self._service, example, secured=self._secured)
        return self._made[1]
