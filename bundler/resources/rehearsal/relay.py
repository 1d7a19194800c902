"""Carry connections between the pods of a rehearsal, which share a folder of sockets and no network.

Usage: relay.py JSON, where JSON has "listen" ([address, port, socket], what this pod may reach) and "offer" ([socket,
port], what it serves). Runs in the image under rehearsal, so it needs nothing but its Python.
"""

import asyncio
import json
import os
import sys


async def pump(reader, writer):
    try:
        while True:
            chunk = await reader.read(1 << 16)
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


def joining(connect):
    async def join(reader, writer):
        try:
            other_reader, other_writer = await connect()
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))
        other_writer.close()
        writer.close()

    return join


async def main(plan):
    for socket, port in plan["offer"]:

        def connect(port=port):
            return asyncio.open_connection("127.0.0.1", port)

        await asyncio.start_unix_server(joining(connect), socket)
        os.chmod(socket, 0o666)  # noqa: S103  (only relays mount the folder)
    for address, port, socket in plan["listen"]:

        def connect(socket=socket):
            return asyncio.open_unix_connection(socket)

        await asyncio.start_server(joining(connect), address, port)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(json.loads(sys.argv[1])))
