"""Writes a module as an ONNX file in which all that depends on no input is computed already.

Weights are in full precision: a browser would convert shorter ones at every evaluation. torch's
older exporter is used on purpose: the newer one takes twenty times as long for the same graph.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from streamdit_gym.errors import require

OPSET = 18
# Instead of minus infinity in attention biases: exp() of it is 0 just as well, and shaders of
# browsers may take infinities for anything.
MINUS_INFINITY = -1e9


def write_graph(
    path: Path,
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: list[str],
    *,
    any_frames: bool = False,
) -> None:
    """Write a module as an ONNX graph.

    Args:
        path: the file.
        module: takes the inputs in their order.
        inputs: an example of every input, by the name that it gets.
        outputs: names of what the module returns.
        any_frames: whether the first axis of inputs and outputs may have any length.

    Raises:
        MissingExtraError: if onnx or onnxruntime are not installed.
    """
    onnx = require("onnx", "export", "an export")
    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "traced.onnx"
        folded = Path(folder) / "folded.onnx"
        _trace(traced, module, inputs, outputs, any_frames)
        _fold(traced, folded)
        model = onnx.load_model_from_string(folded.read_bytes())
    _make_finite(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _trace(
    path: Path,
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: list[str],
    any_frames: bool,
) -> None:
    """Write the graph as torch traces it."""
    axes = {name: {0: "frames"} for name in (*inputs, *outputs)} if any_frames else None
    with torch.no_grad(), _quiet():
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
        )


def _fold(path: Path, folded: Path) -> None:
    """Write a graph again, with all that depends on no input computed."""
    ort = require("onnxruntime", "export", "an export")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 3
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _make_finite(model: Any) -> None:
    """Replace minus infinity in a graph's constants."""
    from onnx import numpy_helper

    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.dtype == np.float32 and np.isneginf(values).any():
            finite = np.where(np.isneginf(values), np.float32(MINUS_INFINITY), values)
            constant.CopyFrom(numpy_helper.from_array(finite, constant.name))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what tracing warns of: that the exporter is the older one, and sizes are fixed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
