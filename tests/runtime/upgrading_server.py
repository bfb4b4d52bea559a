"""A server that changes protocol, then sends back what it gets: `python upgrading_server.py PORT`."""

import asyncio
import sys

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello "
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UNBOUNDED = b"HTTP/1.0 200 OK\r\n\r\nuntil the end"


async def serve(reader, writer):
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"upgrade: echo" in head:
        writer.write(SWITCH)
        while data := await reader.read(1000):
            writer.write(data)
    else:
        writer.write(UNBOUNDED if b"/unbounded" in head else PLAIN)
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
