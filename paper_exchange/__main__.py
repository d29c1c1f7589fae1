"""`python -m paper_exchange`: start a paper exchange alone, print its addresses, stop cleanly.

The only place that names the clock, the disk and the network together. Exit codes: 0 after
SIGTERM, SIGINT or the parent's end; 4 when it cannot start; 1 when the world could not go on.
"""

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
import threading
import uuid
from pathlib import Path
from typing import NoReturn

import msgspec

from paper_exchange.config import Config, ConfigError, load_config
from paper_exchange.server import Server, now_ms
from paper_exchange.state import WorldRecord
from paper_exchange.store import SqliteStore, StoreError
from paper_exchange.world import World, fresh_rng

CANNOT_START = 4
EXAMPLE = """\
start it alone:
  paper-exchange --config config/paper.yaml --data-dir var/paper-exchange
then, from another terminal:
  curl -s localhost:8900/control/world
  curl -s -X POST localhost:8900/control/accounts -d '{"user_id": "1", "venue": "alpha"}'

The data directory holds the world: accounts, orders, trades, prices. Start again on it and the
world goes on; start on an empty one and a new world begins.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="paper-exchange",
        description="A local imitation of Binance for paper trading.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, default=Path("config/paper.yaml"), help="YAML configuration")
    parser.add_argument("--data-dir", type=Path, required=True, help="where the world is kept")
    parser.add_argument("--host", help="address to listen on (default: the configuration's)")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes any free one")
    parser.add_argument("--seed", type=int, help="seed of prices and delays (default: the configuration's)")
    parser.add_argument("--exit-with-parent", action="store_true", help="exit when standard input ends")
    return parser


def main() -> None:
    """The console script."""
    arguments = _parser().parse_args()
    try:
        config = load_config(arguments.config)
        store = SqliteStore(arguments.data_dir)
    except (ConfigError, StoreError) as error:
        _refuse(str(error))
    if arguments.seed is not None:
        config = config.model_copy(update={"seed": arguments.seed})
    try:
        world = _open_world(config, store)
    except (ValueError, OSError, sqlite3.Error, msgspec.MsgspecError) as error:
        store.close()
        _refuse(f"cannot open the world in {arguments.data_dir}: {error}")
    host = arguments.host or config.server.host
    port = config.server.port if arguments.port is None else arguments.port
    try:
        code = asyncio.run(_run(world, host, port, arguments.exit_with_parent))
    finally:
        store.close()
    sys.exit(code)


def _refuse(reason: str) -> NoReturn:
    sys.stderr.write(f"paper-exchange: {reason}\n")
    sys.exit(CANNOT_START)


def _open_world(config: Config, store: SqliteStore) -> World:
    """The world of the data directory, or a new one with an id of its own."""
    found = [msgspec.json.decode(body, type=WorldRecord) for body in store.load("world")]
    boots = found[0].boots if found else 0
    return World(
        config,
        store,
        rng=fresh_rng(config.seed, boots),
        world_id=found[0].world_id if found else uuid.uuid4().hex,
        now_ms=now_ms(),
    )


async def _run(world: World, host: str, port: int, exit_with_parent: bool) -> int:
    server = Server(world)
    loop = asyncio.get_running_loop()
    try:
        bound = await server.start(host, port)
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"paper-exchange: cannot listen on {host}:{port}: {error}\n")
        return CANNOT_START
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopped.set)
    if exit_with_parent:
        threading.Thread(target=_watch_parent, args=(loop, server.stopped), daemon=True).start()
    _announce(world, host, bound)
    await server.stopped.wait()
    await server.close()
    if server.failure is not None:
        sys.stderr.write(f"paper-exchange: the world cannot go on: {server.failure!r}\n")
        return 1
    return 0


def _watch_parent(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    """Read standard input to its end; os.read holds no lock that an exiting interpreter needs."""
    try:
        while os.read(0, 4096):
            continue
    except OSError:
        pass  # a closed standard input is an ended parent
    loop.call_soon_threadsafe(stopped.set)


def _announce(world: World, host: str, port: int) -> None:
    world_id = world.exchange.state.world.world_id
    at = f"{host}:{port}"
    lines = [
        f"paper-exchange ready port={port} world={world_id}",
        f"Alpha REST     http://{at}/bapi/",
        f"Alpha streams  ws://{at}/w3w/wsa/stream (public), ws://{at}/w3w/stream (orders)",
        f"Spot REST      http://{at}/api/v3/",
        f"Spot WS API    ws://{at}/ws-api/v3 (with user data)",
        f"Spot streams   ws://{at}/ws, ws://{at}/stream",
        f"control        http://{at}/control/world",
        f"world          {world_id}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
