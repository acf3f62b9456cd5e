"""Viewers of a page without a browser: they speak the dashboard's protocol, as a browser on another computer does.

So what is measured is the server, not how many Chromiums the measuring machine can carry. A viewer opens the address,
runs each live fragment again as often as the page asks for, and keeps the charts that it was sent.
"""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Iterator

import numpy as np
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

Seen = list[tuple[float, str]]  # when a chart came, and its figure as JSON


async def view(host: str, page: str, query: str, seconds: float) -> Seen:
    """Look at a page for some seconds.

    Args:
        host: "localhost:8501".
        page, query: of the address, "train" and "dataset=demo&run=1".
    """
    seen: Seen = []
    timers: dict[str, asyncio.Task] = {}
    async with websockets.connect(f"ws://{host}/_stcore/stream", subprotocols=["streamlit"], max_size=None) as socket:

        async def ask(fragment: str = "", interval: float = 0.0) -> None:
            """Run the page, or every `interval` seconds a fragment of it."""
            while True:
                await asyncio.sleep(interval)
                message = BackMsg()
                state = message.rerun_script
                state.query_string, state.page_name = query, page
                state.fragment_id, state.is_auto_rerun = fragment, bool(fragment)
                await socket.send(message.SerializeToString())
                if not fragment:
                    return

        await ask()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for data in socket:
                    message = ForwardMsg.FromString(data)
                    kind = message.WhichOneof("type")
                    if kind == "delta" and message.delta.new_element.WhichOneof("type") == "plotly_chart":
                        seen.append((time.time(), message.delta.new_element.plotly_chart.spec))
                    elif kind == "auto_rerun" and message.auto_rerun.fragment_id not in timers:
                        told = message.auto_rerun
                        timers[told.fragment_id] = asyncio.create_task(ask(told.fragment_id, told.interval))
        for timer in timers.values():
            timer.cancel()
    return seen


def newest_steps(seen: Seen) -> Iterator[tuple[float, float]]:
    """When a later step was seen than before, and which: (moment, step) of the first chart sent of each renewal."""
    last = -1.0
    for moment, spec in seen:
        ends = [line["x"][-1] for line in map(_unpacked, json.loads(spec)["data"]) if len(line["x"])]
        if ends and max(ends) > last:
            last = max(ends)
            yield moment, last


def _unpacked(line: dict) -> dict:
    """Plotly sends numbers as base64 of their bytes."""
    x = line.get("x") or []
    return {"x": np.frombuffer(base64.b64decode(x["bdata"]), x["dtype"]) if isinstance(x, dict) else x}
