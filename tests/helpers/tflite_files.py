"""TFLite files of two operators: the mean over pixels, and a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = ["Quantised", "write_tflite"]

Quantised = tuple[float, int]
TYPES = {"float32": schema.TensorType.FLOAT32, "uint8": schema.TensorType.UINT8, "int8": schema.TensorType.INT8}


class _Writer:
    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]

    def tensor(self, name: str, kind: int, shape: list[int], values: Any = None, scale: Quantised | None = None) -> int:
        """The number of a new tensor."""
        tensor = schema.TensorT()
        tensor.name, tensor.type = name.encode(), kind
        tensor.shape = [max(1, length) for length in shape]
        tensor.shapeSignature = shape
        tensor.buffer = 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = list(np.ascontiguousarray(values).tobytes())
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale[0]], [scale[1]]
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def _operator(code: int, inputs: list[int], outputs: list[int], kind: int = 0, options: Any = None) -> Any:
    found = schema.OperatorT()
    found.opcodeIndex, found.inputs, found.outputs = code, inputs, outputs
    found.builtinOptionsType, found.builtinOptions = kind, options
    return found


def write_tflite(
    path: Path,
    shape: list[int],
    *,
    kind: str = "float32",
    scale: Quantised | None = None,
    scores: Quantised | None = None,
    channels_last: bool = True,
) -> np.ndarray[Any, Any]:
    """A network that multiplies the mean of each channel by a matrix, which is returned (3, 5).

    Args:
        path: of the file.
        shape: of the input.
        kind: of the input's numbers.
        scale: scale and zero point of the input.
        scores: scale and zero point of the output, uint8; else floats.
        channels_last: where the channels are.
    """
    matrix = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    writer, float32 = _Writer(), schema.TensorType.FLOAT32
    image = writer.tensor("image", TYPES[kind], shape, scale=scale)
    axes = np.array([1, 2] if channels_last else [2, 3], np.int32)
    over = writer.tensor("axes", schema.TensorType.INT32, [2], axes)
    weights = writer.tensor("weights", float32, [5, 3], matrix.T)
    means = writer.tensor("means", float32, [shape[0], 3])
    answer = writer.tensor("scores_float" if scores else "scores", float32, [shape[0], 5])
    operators, start = [], image
    codes = [schema.BuiltinOperator.MEAN, schema.BuiltinOperator.FULLY_CONNECTED]
    if kind != "float32":
        start = writer.tensor("floats", float32, shape)
        codes.append(schema.BuiltinOperator.DEQUANTIZE)
        operators.append(_operator(2, [image], [start]))
    reducer = schema.ReducerOptionsT()
    reducer.keepDims = False
    operators.append(_operator(0, [start, over], [means], schema.BuiltinOptions.ReducerOptions, reducer))
    full = schema.FullyConnectedOptionsT()
    operators.append(_operator(1, [means, weights], [answer], schema.BuiltinOptions.FullyConnectedOptions, full))
    last = answer
    if scores:
        last = writer.tensor("scores", TYPES["uint8"], [shape[0], 5], scale=scores)
        codes.append(schema.BuiltinOperator.QUANTIZE)
        operators.append(_operator(len(codes) - 1, [answer], [last]))
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = writer.tensors, [image], [last], operators
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], writer.buffers
    model.operatorCodes = []
    for code in codes:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 2 if code == schema.BuiltinOperator.DEQUANTIZE else 1
        model.operatorCodes.append(entry)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return matrix
