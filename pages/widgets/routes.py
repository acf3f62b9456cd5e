"""What the dashboard serves beside its pages: thumbnails, full images and tables, each behind a signed address."""

from dataclasses import replace
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pages.widgets.shell import open_workspace, selection_of
from recipe_core.data.decode import Unreadable
from recipe_core.data.export import csv_chunks, manifest_chunks
from recipe_core.data.pictures import for_browser, media_type
from recipe_core.data.thumbnails import read_thumbnail
from recipe_core.errors import NotFound, RecipeError
from recipe_core.links import View, browse

# Names never change what they mean, and nothing that is served can run as a page.
HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


NOT_SIGNED = PlainTextResponse("This address is not signed by this dashboard; open it from a page.", 403)


def thumbnail(request: Request) -> Response:
    """/picture/{dataset}/thumbnail/{shard}/{offset}-{length}"""
    workspace, named = open_workspace(), request.path_params
    place = (named["shard"], named["offset"], named["length"])
    if not workspace.signer.is_valid(request.query_params.get("s", ""), "thumbnail", named["dataset"], *place):
        return NOT_SIGNED
    try:
        data = read_thumbnail(workspace.folder / "datasets" / named["dataset"] / "thumbnails", *place)
    except FileNotFoundError:
        return PlainTextResponse("The thumbnail is gone; reload the page.", 404)
    return Response(data, media_type=media_type(data), headers=HEADERS)


def image(request: Request) -> Response:
    """/picture/{dataset}/image?key=...&version=..."""
    workspace, dataset, query = open_workspace(), request.path_params["dataset"], request.query_params
    key, version = query.get("key", ""), query.get("version", "")
    if not workspace.signer.is_valid(query.get("s", ""), "image", dataset, key, version):
        return NOT_SIGNED
    try:
        data, kind = for_browser(workspace.dataset(dataset).read(key))
    except (FileNotFoundError, NotFound):
        return PlainTextResponse("The image is gone.", 404)
    except (OSError, RecipeError, Unreadable) as problem:
        return PlainTextResponse(str(problem), 422)
    return Response(data, media_type=kind, headers=HEADERS)


def table(request: Request) -> Response:
    """/table/{dataset}.csv?..., the samples of a view as the Browse page's address says it"""
    workspace, dataset = open_workspace(), request.path_params["dataset"]
    view = replace(View.parse(parse_qs(request.url.query, keep_blank_values=True)), dataset=dataset)
    signed = workspace.signer.is_valid(request.query_params.get("s", ""), "table", browse(view))
    if not signed or view.dataset != dataset:  # the path is not part of what is signed
        return NOT_SIGNED
    selection = selection_of(view)
    try:
        catalog = workspace.dataset(dataset).catalog
        catalog.count(selection)
    except RecipeError as problem:
        return PlainTextResponse(str(problem), 422)
    return StreamingResponse(
        csv_chunks(catalog, selection, view.order_by), media_type="text/csv", headers=_attached(dataset)
    )


def manifest(request: Request) -> Response:
    """/manifest/{dataset}.csv, what training reads now"""
    workspace, name = open_workspace(), request.path_params["dataset"]
    if not workspace.signer.is_valid(request.query_params.get("s", ""), "manifest", name):
        return NOT_SIGNED
    try:
        dataset = workspace.dataset(name)
        chunks = manifest_chunks(dataset.manifest(), dataset.source)
    except RecipeError as problem:
        return PlainTextResponse(str(problem), 422)
    return StreamingResponse(chunks, media_type="text/csv", headers=_attached(f"{name}-manifest"))


def _attached(name: str) -> dict[str, str]:
    """The headers of a table that is saved, never shown."""
    return {
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}.csv",
        "X-Content-Type-Options": "nosniff",
    }


ROUTES = [
    Route("/picture/{dataset}/thumbnail/{shard}/{offset:int}-{length:int}", thumbnail),
    Route("/picture/{dataset}/image", image),
    Route("/table/{dataset}.csv", table),
    Route("/manifest/{dataset}.csv", manifest),
]
