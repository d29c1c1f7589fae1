"""The paper exchange on a port: a thin shell of sockets and wall clock around a World.

Owns the beat task, which advances the world when something falls due, and one writer task per
WebSocket with a bounded queue: a reader too slow for it is disconnected, as venues do.
"""

import asyncio
import time

from aiohttp import WSMessage, WSMsgType, web

from paper_exchange.http import Answer, Held, Request, Response
from paper_exchange.lifetimes import Ping
from paper_exchange.streams import HANG_UP, Connection
from paper_exchange.world import World

FRAMES_QUEUED = 2000
LONGEST_SLEEP_SECONDS = 1.0
MAX_MESSAGE_BYTES = 65536


def now_ms() -> int:
    """The wall clock: the only one the paper exchange reads."""
    return time.time_ns() // 1_000_000


class Server:
    """Serves one world on one port until closed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._wake = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._beat: asyncio.Task[None] | None = None
        self._sockets: dict[web.WebSocketResponse, None] = {}
        self.stopped = asyncio.Event()
        self.failure: BaseException | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port bound. OSError if it is taken."""
        app = web.Application(client_max_size=MAX_MESSAGE_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._beat = asyncio.create_task(self._run_beat(), name="paper-exchange-beat")
        self._beat.add_done_callback(self._beat_ended)
        bound: int = self._runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.gather(self._beat, return_exceptions=True)
        for socket in list(self._sockets):
            await socket.close(code=1001, message=b"Server is going")
        if self._runner is not None:
            await self._runner.cleanup()

    async def _run_beat(self) -> None:
        while True:
            self._world.advance(now_ms())
            due = self._world.next_due()
            wait = LONGEST_SLEEP_SECONDS if due is None else max(0, due - now_ms()) / 1000
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), min(max(wait, 0.001), LONGEST_SLEEP_SECONDS))
            except TimeoutError:
                continue

    def _beat_ended(self, beat: asyncio.Task[None]) -> None:
        if not beat.cancelled() and (error := beat.exception()) is not None:
            self._fail(error)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self._serve_stream(request)
        asked = Request(
            method=request.method,
            path=request.path,
            query_string=request.rel_url.raw_query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
            remote=request.remote or "",
        )
        answer = self._ask(asked, held=False)
        while isinstance(answer, Held):
            await asyncio.sleep(max(0, answer.until_ms - now_ms()) / 1000)
            answer = self._ask(asked, held=True)
        return await _deliver(request, answer)

    def _ask(self, asked: Request, *, held: bool) -> Answer:
        self._wake.set()
        try:
            return self._world.handle(asked, now_ms(), held=held)
        except Exception as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        """What went wrong half way (disk full, a defect) must not be built upon: stop serving."""
        self.failure = self.failure or error
        self.stopped.set()

    async def _serve_stream(self, request: web.Request) -> web.StreamResponse:
        queue: asyncio.Queue[bytes] = asyncio.Queue(FRAMES_QUEUED)
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=MAX_MESSAGE_BYTES)
        overrun = asyncio.Event()

        def send(frame: bytes) -> None:
            try:
                queue.put_nowait(frame)
            except asyncio.QueueFull:
                overrun.set()

        asked = Request(
            method="GET",
            path=request.path,
            query_string=request.rel_url.raw_query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            remote=request.remote or "",
        )
        refused = self._world.refuse(asked, now_ms())
        if refused is not None:
            return web.Response(status=refused.status, body=refused.body, headers=dict(refused.headers))
        connection = self._world.connect(asked, send, pings=True)
        if connection is None:
            return web.Response(status=404, text=f"no streams at {request.path}")
        writer: asyncio.Task[None] | None = None
        try:
            await socket.prepare(request)
            self._sockets[socket] = None
            writer = asyncio.create_task(_write(socket, queue, overrun), name="paper-exchange-writer")
            async for message in socket:
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                self._hear(connection, message)
        finally:
            self._world.disconnect(connection)
            self._sockets.pop(socket, None)
            if writer is not None:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
        return socket

    def _hear(self, connection: Connection, message: WSMessage) -> None:
        self._wake.set()
        try:
            if message.type is WSMsgType.TEXT:
                self._world.receive(connection, message.data, now_ms())
            elif message.type is WSMsgType.PING:
                self._world.pinged(connection, now_ms())
            elif message.type is WSMsgType.PONG:
                self._world.ponged(connection, bytes(message.data), now_ms())
        except Exception as error:
            self._fail(error)
            raise


async def _write(socket: web.WebSocketResponse, queue: asyncio.Queue[bytes], overrun: asyncio.Event) -> None:
    """Send frames until the reader is gone or too far behind."""
    while not overrun.is_set():
        frame = await queue.get()
        if frame == HANG_UP:
            await socket.close(code=1008, message=b"disconnected")
            return
        try:
            if isinstance(frame, Ping):
                await socket.ping(frame)
            else:
                await socket.send_str(frame.decode())
        except ConnectionError:
            return
    await socket.close(code=1008, message=b"Reader too slow")


async def _deliver(request: web.Request, answer: Response) -> web.StreamResponse:
    if answer.delay_ms:
        await asyncio.sleep(answer.delay_ms / 1000)
    if answer.dropped and request.transport is not None:
        request.transport.abort()
    return web.Response(status=answer.status or 502, body=answer.body, headers=dict(answer.headers))
