"""A transformer as KServe's users write it, with KServe's own server: it multiplies what the predictor is given, and says so in
the answer."""

import argparse

from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server

parser = argparse.ArgumentParser(parents=[model_server.parser])
parser.add_argument("--factor", type=float, default=2.0)
arguments, _ = parser.parse_known_args()


class Multiplier(Model):
    def __init__(self, name, factor):
        super().__init__(name)
        self.factor = factor
        self.ready = True

    async def preprocess(self, payload, headers=None):
        if isinstance(payload, dict):
            return {"instances": [[self.factor * value for value in row] for row in payload["instances"]]}
        tensor = payload.inputs[0]
        data = (self.factor * tensor.as_numpy()).flatten().tolist()
        changed = InferInput(tensor.name, list(tensor.shape), tensor.datatype, data)
        return InferRequest(self.name, [changed], request_id=payload.id)

    async def postprocess(self, result, headers=None, response_headers=None):
        if isinstance(result, dict):
            return {**result, "factor": self.factor}
        factor = InferOutput("factor", [1], "FP32", [self.factor])
        return InferResponse(result.id, self.name, [*result.outputs, factor])


if __name__ == "__main__":
    ModelServer().start([Multiplier(arguments.model_name, arguments.factor)])
