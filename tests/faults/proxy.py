"""A TCP proxy on loopback that fails as networks do: cut, refused, half-open, slow.

`async with Proxy(port) as proxy:` listens on `proxy.port` and passes bytes both ways until told not to.
TCP keeps the order of bytes, so nothing is turned round here; the paper exchange does that to frames.
"""

import asyncio
from types import TracebackType

CHUNK = 65_536


class Proxy:
    """One way in, one way out. Its switches act on connections there are and on later ones."""

    def __init__(self, target_port: int, port: int = 0) -> None:
        self._target_port = target_port
        self._wanted_port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._silent_back = False
        self.refusing = False
        self.delay_seconds = 0.0
        self.connections = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._wanted_port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """Every connection ends now, without a goodbye."""
        for writer in list(self._writers):
            writer.transport.abort()

    def half_open(self, on: bool = True) -> None:
        """Nothing passes any more, either way, and nobody is told."""
        if on:
            self._open.clear()
        else:
            self._open.set()

    def lose_answers(self, on: bool = True) -> None:
        """What the client says arrives; what it is told does not."""
        self._silent_back = on

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            writer.transport.abort()
            return
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back_writer}
        for pumping in (
            self._pump(reader, back_writer, back=False),
            self._pump(back_reader, writer, back=True),
        ):
            task = asyncio.create_task(pumping)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        try:
            while data := await reader.read(CHUNK):
                await asyncio.sleep(self.delay_seconds)
                await self._open.wait()
                if back and self._silent_back:
                    continue
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the other end is gone: so is this one
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
