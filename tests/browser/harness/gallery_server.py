"""Serves gallery_page.py beside pictures made to order: /picture/NAME.png?w=64&h=48&delay=0.5."""

import asyncio
import io
import zlib
from pathlib import Path

import streamlit as st
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def picture(request: Request) -> Response:
    """A gradient in a colour of its own for each name; a name that starts with "gone" is not found."""
    name, query = request.path_params["name"], request.query_params
    await asyncio.sleep(float(query.get("delay", 0)))
    if name.startswith("gone"):
        return Response(status_code=404)
    size = int(query.get("w", 96)), int(query.get("h", 96))
    tint = Image.new("RGB", size, f"hsl({zlib.crc32(name.encode()) % 360}, 70%, 55%)")
    grey = Image.linear_gradient("L").resize(size).convert("RGB")
    data = io.BytesIO()
    Image.blend(tint, grey, 0.35).save(data, "PNG")
    return Response(data.getvalue(), media_type="image/png", headers={"Cache-Control": "max-age=3600"})


app = st.App(Path(__file__).with_name("gallery_page.py"), routes=[Route("/picture/{name}", picture)])
