"""A browser without a screen: takes what the page of the live view is sent, and counts it. For bench `view`."""

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

import msgspec
import viser
import websockets.asyncio.client
import zstandard
from websockets.typing import Subprotocol

from twin_nodes.app.bench.view_source import METRES_PER_SECOND, TOOL, WRAP_S

CAMERA = {
    'type': 'ViewerCameraMessage',
    'wxyz': (1.0, 0.0, 0.0, 0.0),
    'position': (0.0, 0.0, 1.0),
    'fov': 0.6,
    'near': 0.01,
    'far': 100.0,
    'image_height': 720,
    'image_width': 880,
    'look_at': (0.0, 0.0, 0.0),
    'up_direction': (0.0, 0.0, 1.0),
}
RECONNECT_S = 0.05


class PageReader:
    """Counts what a page is sent.

    Args:
        url: Address of the page.
    """

    def __init__(self, url: str) -> None:
        self._address = url.replace('http://', 'ws://')
        self._origin = url
        self._unpack = zstandard.ZstdDecompressor()
        self.surfaces = 0
        self.bytes = 0
        self.ages_ms: list[float] = []
        self.places: list[float] = []
        self.first_moving: float | None = None

    async def read(self, seconds: float, *, until_moving: bool = False) -> None:
        """Connect, trying again until it is served, and read for so long, or until the tool has moved."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                async with websockets.asyncio.client.connect(
                    self._address, subprotocols=[Subprotocol(f'viser-v{viser.__version__}')], max_size=None,
                    origin=self._origin, compression=None, proxy=None,
                ) as socket:  # fmt: skip
                    await socket.send(msgspec.msgpack.encode(CAMERA))
                    await self._take_all(socket, end, until_moving=until_moving)
                    return
            except (OSError, websockets.exceptions.WebSocketException):
                await asyncio.sleep(RECONNECT_S)

    async def _take_all(self, socket: Any, end: float, *, until_moving: bool) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(end - time.monotonic(), 0.0)):
                async for data in socket:
                    self._take(data)
                    if until_moving and self.first_moving is not None:
                        return

    def _take(self, data: bytes) -> None:
        self.bytes += len(data)
        packed = int.from_bytes(data[8:16], 'little')
        for message in msgspec.msgpack.decode(self._unpack.decompress(data[16 : 16 + packed]))['messages']:
            if message['type'] == 'SceneNodeUpdateMessage' and 'vertices' in message['updates']:
                self.surfaces += 1
            elif message['type'] == 'SetPositionMessage' and message['name'].startswith('/tools/'):
                self._take_place(message['name'], message['position'])

    def _take_place(self, name: str, position: Any) -> None:
        now = time.monotonic()
        if name == f'/tools/{TOOL}/tip' and not self._until_known(position):
            self.ages_ms.append(1e3 * ((now - position[0] / METRES_PER_SECOND) % WRAP_S))
        if self.places and position[0] != self.places[-1] and self.first_moving is None:
            self.first_moving = now
        self.places = [float(position[0])]

    @staticmethod
    def _until_known(position: Any) -> bool:
        return not 0.0 <= position[0] <= METRES_PER_SECOND * WRAP_S


async def _main(url: str, seconds: float, warm: float) -> dict[str, Any]:
    reader = PageReader(url)
    task = asyncio.create_task(reader.read(seconds + warm))
    await asyncio.sleep(warm)
    reader.surfaces, reader.bytes, reader.ages_ms = 0, 0, []
    await task
    return {'surfaces': reader.surfaces, 'bytes': reader.bytes, 'ages_ms': reader.ages_ms}


if __name__ == '__main__':
    print(json.dumps(asyncio.run(_main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))))
