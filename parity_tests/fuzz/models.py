"""safetensors, ONNX, npz and .pth: headers, tensors, members, programs of pickles."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import Any

import numpy as np

from . import bytes_, images, json_
from .bytes_ import CONTROLS, NUMBERS, TEXTS, Change, pick


def safetensors(rng: np.random.Generator, data: bytes) -> Change:
    """The JSON header, whose length stays right, or the tensors' bytes."""
    if rng.random() < 0.25:
        return bytes_.change(rng, data)
    length = struct.unpack("<Q", data[:8])[0]
    head, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    what = pick(rng, ("json", "json", "rename", "dtype", "offsets", "length", "not finite", "metadata", "shape"))
    names = [name for name in head if name != "__metadata__"]
    name = pick(rng, names)
    if what == "json":
        kind, text = json_.change(rng, json.dumps(head).encode())
        return f"header {kind}".replace("!", ""), struct.pack("<Q", len(text)) + text + body
    if what == "rename":
        head[pick(rng, (*TEXTS, name + pick(rng, CONTROLS), "module." + name))] = head.pop(name)
    elif what == "dtype":
        head[name]["dtype"] = pick(rng, ("F64", "F16", "BF16", "I64", "BOOL", "U8", "F8_E4M3", "C64", "x"))
    elif what == "offsets":
        head[name]["data_offsets"] = pick(rng, ([0, 0], [0, 2**63], [4, 0], [-1, 4], [0, 4], [0, 10**30]))
    elif what == "shape":
        head[name]["shape"] = pick(rng, ([], [0], [2**62, 4], [-1], head[name]["shape"][::-1], [1] * 70))
    elif what == "length":
        return what, struct.pack("<Q", pick(rng, (0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1))) + data[8:]
    elif what == "not finite":
        low, high = head[name]["data_offsets"]
        if head[name]["dtype"] != "F32" or high == low:
            return bytes_.change(rng, data)
        value = np.float32(pick(rng, (np.nan, np.inf, -np.inf))).tobytes()
        return "!not finite", data[: 8 + length] + body[:low] + value + body[low + 4 :]
    else:
        head["__metadata__"] = pick(
            rng, ({"format": "x"}, {"a": "\x1b[31m"}, {"a": 1}, [], {"config": "{" * 5000}, {k: k for k in TEXTS})
        )
    text = json.dumps(head).encode("utf-8", "surrogatepass")
    return what, struct.pack("<Q", len(text)) + text + body


def onnx(rng: np.random.Generator, data: bytes) -> Change:
    """A model: one of its messages' fields."""
    if rng.random() < 0.25:
        return bytes_.change(rng, data)
    import onnx as package

    model = package.load_model_from_string(data)
    graph = model.graph
    what = pick(
        rng,
        ("op", "attribute", "tensor", "outside", "metadata", "opset", "name", "dims", "input", "drop", "loop", "field"),
    )
    node, tensor = pick(rng, graph.node), pick(rng, graph.initializer)
    text = pick(rng, [t for t in TEXTS if "\ud800" not in t])
    try:
        if what == "op":
            node.op_type, node.domain = (
                pick(rng, ("Loop", "If", "Tile", "Expand", "X", text)),
                pick(rng, ("", "x", text)),
            )
        elif what == "attribute" and len(node.attribute):
            attribute = pick(rng, node.attribute)
            attribute.ints[:] = [pick(rng, (0, -1, 2**31, 2**62, 65536)) for _ in attribute.ints]
            attribute.i = int(pick(rng, (0, -1, 2**62)))
        elif what == "tensor":
            tensor.raw_data = bytes_.change(rng, tensor.raw_data)[1]
        elif what == "dims":
            tensor.dims[:] = pick(rng, ([], [0], [2**40, 2**20], [-1], list(tensor.dims)[::-1], [1] * 50))
        elif what == "outside":
            tensor.data_location = package.TensorProto.EXTERNAL
            tensor.ClearField("raw_data")
            entry = tensor.external_data.add()
            entry.key, entry.value = (
                "location",
                pick(rng, ("../../outside.bin", "/etc/hostname", "x\x1b[31m", "/dev/zero")),
            )
        elif what == "metadata":
            entry = model.metadata_props.add()
            entry.key, entry.value = pick(rng, ("unet_config", "x", text)), text
        elif what == "opset":
            model.opset_import[0].version = pick(rng, (0, -1, 1, 99, 2**40))
            model.ir_version = pick(rng, (0, 1, 99, 2**40, model.ir_version))
        elif what == "name":
            at = pick(rng, (node, tensor, graph.input[0], graph.output[0], graph))
            at.name = text
        elif what == "input":
            dim = pick(rng, graph.input[0].type.tensor_type.shape.dim)
            dim.dim_value = int(pick(rng, (0, -1, 1, 3, 2**40)))
        elif what == "drop":
            graph.node.remove(node)
        elif what == "loop":
            node.input[0] = node.output[0]
        else:
            model.producer_name = model.doc_string = text
    except (ValueError, TypeError, IndexError):
        return bytes_.change(rng, data)
    return what, model.SerializeToString()


def npz(rng: np.random.Generator, data: bytes) -> Change:
    """Members and their headers."""
    if rng.random() < 0.25:
        return bytes_.change(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name = pick(rng, list(members))
    what = pick(rng, ("npy", "npy", "drop", "rename", "no zip", "growth", "object", "double", "values"))
    if what == "npy":
        kind, members[name] = images.npy(rng, members[name])
        what = f"member's {kind}".replace("!", "")
    elif what == "drop":
        del members[name]
    elif what == "rename":
        members[pick(rng, ("../../escaped.npy", "/escaped.npy", "x\x1b[31m.npy", "a\nb.npy", ""))] = members.pop(name)
    elif what == "no zip":
        return what, members[name]
    elif what == "growth":
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "<f4", "fortran_order": False, "shape": (1, 28000, 28000, 1)}
        )
        members[name] = head.getvalue() + bytes(2**28)
    elif what == "object":
        stream = io.BytesIO()
        np.save(stream, np.array([{"a": 1}, None], object), allow_pickle=True)
        members[name] = stream.getvalue()
    elif what == "values":
        array = np.load(io.BytesIO(members[name]))
        with np.errstate(all="ignore"):
            changed = pick(
                rng,
                (
                    array.astype(np.float64),
                    array * np.nan if array.dtype.kind == "f" else array,
                    array[:0],
                    array.T,
                    array.astype(str),
                ),
            )
        stream = io.BytesIO()
        np.save(stream, changed)
        members[name] = stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for key, content in members.items():
            file.writestr(key, content)
            if what == "double" and key == name:
                file.writestr(key + "x", content)
    return what, stream.getvalue()


def pth(rng: np.random.Generator, data: bytes) -> Change:
    """What torch.save wrote: its zip, its pickle, or another object of plain types."""
    if rng.random() < 0.3:
        return bytes_.change(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    program = next(name for name in members if name.endswith("data.pkl"))
    what = pick(
        rng, ("state", "state", "laughs", "pickle", "global", "drop", "storage", "deep", "growth", "not finite")
    )
    if what in ("state", "not finite"):
        return _state(rng, data, what)
    if what == "laughs":
        members[program] = laughs(int(pick(rng, (5, 10, 20))), in_state=bool(rng.random() < 0.5))
    elif what == "pickle":
        members[program] = bytes_.change(rng, members[program])[1]
    elif what == "global":
        members[program] = (
            b"\x80\x02c"
            + pick(rng, (b"os\nsystem\n", b"builtins\neval\n", b"x\x1b[31m\ny\n"))
            + b"X\x0e\0\0\0touch escaped!\x85R."
        )
    elif what == "deep":
        depth = int(pick(rng, (500, 100_000)))
        members[program] = b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."
    elif what == "growth":
        members[pick(rng, list(members))] = bytes(2**28)
    else:
        name = pick(rng, [n for n in members if n != program])
        if what == "drop":
            del members[name]
        else:
            members[name] = bytes_.change(rng, members[name])[1]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", pick(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
        for key, content in members.items():
            file.writestr(key, content)
    return what, stream.getvalue()


def laughs(width: int, in_state: bool) -> bytes:
    """A pickle of tuples of the tuples before: few bytes, `width` to the 10th leaves."""
    program = b"\x80\x02" + (b"}X\x06\0\0\0weight" if in_state else b"") + b"K\x01" + b"q\0"
    for level in range(10):
        program += (
            b"0" * (level > 0 or True)
            + b"("
            + b"h"
            + bytes([level])
            + (b"h" + bytes([level])) * (width - 1)
            + b"tq"
            + bytes([level + 1])
        )
    return program + (b"s" if in_state else b"") + b"."


def _state(rng: np.random.Generator, data: bytes, what: str) -> Change:
    """Another state_dict, as torch itself writes it."""
    import torch

    state: Any = torch.load(io.BytesIO(data), weights_only=False)  # our own
    inner = next((state[k] for k in ("network_weights", "state_dict") if k in state), state)
    name = pick(rng, [k for k, v in inner.items() if torch.is_tensor(v)])
    tensor = inner[name]
    if what == "not finite":
        if not tensor.is_floating_point() or not tensor.numel():
            return bytes_.change(rng, data)
        tensor.view(-1)[0] = float(pick(rng, ("nan", "inf")))
        return _saved("!not finite", state)
    done = pick(rng, ("key", "value", "shape", "dtype", "int key", "more", "wrapped", "less", "huge"))
    if done == "key":
        inner[pick(rng, [t for t in TEXTS if "\ud800" not in t])] = inner.pop(name)
    elif done == "value":
        inner[name] = pick(rng, (None, 1, 1.5, "x", [], {}, (1, 2), b"x", [tensor], {"a": tensor}, torch.float32))
    elif done == "shape":
        inner[name] = pick(rng, (tensor.reshape(-1), tensor[:0] if tensor.ndim else tensor, tensor[None], tensor.sum()))
    elif done == "dtype":
        inner[name] = tensor.to(
            pick(rng, (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64))
        )
    elif done == "int key":
        inner[int(pick(rng, (0, -1, 10)))] = inner.pop(name)
    elif done == "more":
        inner[pick(rng, ("x", "a\x1b[31m", "epoch"))] = pick(
            rng, (tensor, *[n for n in NUMBERS if isinstance(n, float)])
        )
    elif done == "wrapped":
        state = pick(
            rng,
            (
                {"model": inner},
                {"state_dict": state},
                [state],
                (state, 1),
                tensor,
                1,
                None,
                {},
                {"a": {"b": {"c": inner}}},
            ),
        )
    elif done == "less":
        del inner[name]
    else:
        inner[name] = torch.zeros(1).expand(10**6, 10**6)
    return _saved(f"state: {done}", state)


def _saved(what: str, state: Any) -> Change:
    import torch

    stream = io.BytesIO()
    try:
        torch.save(state, stream)
    except Exception:
        return what, b""
    return what, stream.getvalue()
