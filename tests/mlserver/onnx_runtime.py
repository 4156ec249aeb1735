"""MLServer's side of the tests: a model that onnxruntime computes, in MLServer's own environment."""

from __future__ import annotations

import numpy as np
import onnxruntime
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from mlserver import MLModel


class OnnxRuntime(MLModel):
    """Answers with scores, and with the best class's number and name for models whose settings ask for that."""

    async def load(self) -> bool:
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = NumpyCodec.decode_input(payload.inputs[0])
        name = self.session.get_inputs()[0].name
        (scores,) = self.session.run(None, {name: images.astype(np.float32)})
        wanted = (self.settings.parameters.extra or {}).get("answers", "scores")
        best = scores.argmax(1)
        if wanted == "scores":
            outputs = [NumpyCodec.encode_output("scores", scores)]
        elif wanted == "labels":
            outputs = [NumpyCodec.encode_output("label", best.astype(np.int64))]
        elif wanted == "names":
            outputs = [StringCodec.encode_output("name", [f"class {number}" for number in best])]
        else:
            order = np.argsort(-scores, axis=1)[:, :3].astype(np.int64)
            outputs = [
                NumpyCodec.encode_output("classes", order),
                NumpyCodec.encode_output("scores", np.take_along_axis(scores, order, 1)),
            ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
