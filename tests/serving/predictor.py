"""A custom predictor as KServe's users write it, with KServe's own server: it doubles what it is given, and says who it is."""

import argparse
import asyncio
import os

from kserve import InferOutput, InferResponse, Model, ModelServer, model_server


class Doubler(Model):
    def __init__(self, name, delay):
        super().__init__(name)
        self.delay = delay
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        await asyncio.sleep(self.delay)
        if isinstance(payload, dict):
            return {"predictions": [2 * value for value in payload["instances"]], "pid": os.getpid()}
        tensor = payload.inputs[0]
        doubled = (tensor.as_numpy() * 2).flatten().tolist()
        output = InferOutput("output-0", list(tensor.shape), tensor.datatype, doubled)
        return InferResponse(payload.id or "", self.name, [output])


parser = argparse.ArgumentParser(parents=[model_server.parser])
parser.add_argument("--delay", type=float, default=0.0)
arguments, _ = parser.parse_known_args()

if __name__ == "__main__":
    ModelServer().start([Doubler(arguments.model_name, arguments.delay)])
