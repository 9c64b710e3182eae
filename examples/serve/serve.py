"""Serve bundles over HTTP: an image file in; labels, probabilities or objects out. README.md lists the requests.

UNET_BUNDLES="em=bundle nuclei=other_bundle" uvicorn --app-dir examples/serve serve:app --port 8000
"""

import asyncio
import io
import os
import tempfile
import time
import warnings
from collections import Counter

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from unet_data import measure_objects
from unet_export import Predictor, load
from unet_spec import InputError

SUFFIXES = {"image/png": ".png", "image/tiff": ".tif", "image/jpeg": ".jpg", "application/x-npy": ".npy"}
OUTPUTS = ("labels", "probabilities", "objects")
QUEUE = int(os.environ.get("UNET_QUEUE", "32"))  # requests that may wait for the one that is computed
MAX_BYTES = int(os.environ.get("UNET_MAX_BYTES", str(2**25)))  # of an image file
os.environ.setdefault("UNET_MEMORY", "512MiB")  # most that the pixels of one image may take
folders = dict(argument.split("=", 1) for argument in os.environ["UNET_BUNDLES"].split())
predictors: dict[str, Predictor] = {}
active, finished, seconds, one_at_a_time = Counter(), Counter(), dict.fromkeys(folders, 0.0), asyncio.Lock()


def open_bundle(name: str) -> None:
    predictor = load(folders[name])
    predictor.warm_up()
    predictors[name] = predictor  # a request under way finishes with the one that it has


def compute(predictor: Predictor, content: bytes, suffix: str, output: str, form: str) -> Response:
    with tempfile.NamedTemporaryFile(suffix=suffix, buffering=0) as file, warnings.catch_warnings(record=True) as odd:
        warnings.simplefilter("always", UserWarning)
        file.write(content)
        images = predictor.read(file.name)
        found = getattr(predictor, output)(images)
    said = "; ".join(dict.fromkeys(str(each.message).replace(file.name, "image") for each in odd))
    headers = {"X-Bundle": predictor.bundle.digest, "X-Warning": said.encode("latin-1", "replace").decode("latin-1")}
    headers = {name: text for name, text in headers.items() if text}
    result = np.stack([numbers for numbers, _ in found]) if output == "objects" else found
    if form == "json" and output == "objects":
        tables = [measure_objects(own, image, len(c)) for (own, c), image in zip(found, images, strict=True)]
        return JSONResponse([{k: v.tolist() for k, v in table.items()} for table in tables], headers=headers)
    buffer = io.BytesIO()
    if form == "png" and output != "probabilities" and result.ndim == 3 and len(result) == 1:
        Image.fromarray(result[0].astype(np.uint8 if output == "labels" else np.uint16)).save(buffer, "png")
    elif form == "npy":
        np.save(buffer, result)
    else:
        raise InputError(f"no {form} of {output} of shape {result.shape}; format=npy gives any array")
    return Response(buffer.getvalue(), 200, headers, {"png": "image/png"}.get(form, "application/x-npy"))


async def predict(request: Request) -> Response:
    name, query, start = request.path_params["name"], request.query_params, time.monotonic()
    output, form = query.get("output", "labels"), query.get("format", "png")
    suffix = SUFFIXES.get(request.headers.get("content-type", ""))
    if name not in predictors:
        raise HTTPException(404, f"no model {name!r}; models: {[*predictors]}")
    if output not in OUTPUTS or suffix is None:
        raise HTTPException(400, f"outputs: {OUTPUTS}; content types: {[*SUFFIXES]}")
    if active.total() > QUEUE:
        raise HTTPException(503, "the queue is full", {"Retry-After": "1"})
    if int(request.headers.get("content-length", MAX_BYTES + 1)) > MAX_BYTES:
        raise HTTPException(413, f"expected a Content-Length of at most {MAX_BYTES}")
    active[name] += 1
    try:
        content = await asyncio.wait_for(request.body(), 30)  # no longer than its Content-Length
        async with one_at_a_time:
            return await asyncio.to_thread(compute, predictors[name], content, suffix, output, form)
    finally:
        active[name], finished[name] = active[name] - 1, finished[name] + 1
        seconds[name] += time.monotonic() - start


async def models(request: Request) -> Response:
    if (name := request.path_params.get("name")) is not None:
        if name not in folders:
            raise HTTPException(404, f"no model {name!r}; models: {[*folders]}")
        await asyncio.to_thread(open_bundle, name)
    return JSONResponse({name: {"bundle": p.bundle.digest, "classes": p.class_names} for name, p in predictors.items()})


async def metrics(request: Request) -> Response:
    rows = {"unet_active": active, "unet_requests_total": finished, "unet_seconds_total": seconds}
    return PlainTextResponse("".join(f'{k}{{model="{m}"}} {v[m]}\n' for k, v in rows.items() for m in folders))


async def refused(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 0) or {InputError: 400, TimeoutError: 408}[type(error)]
    return JSONResponse({"error": str(getattr(error, "detail", error))}, status, getattr(error, "headers", None))


routes = [Route("/models", models), Route("/health", models), Route("/metrics", metrics)]
routes += [Route("/models/{name}", predict, methods=["POST"])]
routes += [Route("/models/{name}/reload", models, methods=["POST"])]
for name in folders:
    open_bundle(name)
refusals = dict.fromkeys((InputError, TimeoutError, HTTPException), refused)
app = Starlette(routes=routes, exception_handlers=refusals)
