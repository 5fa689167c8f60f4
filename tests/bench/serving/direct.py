"""ONNX Runtime called directly: texts to vectors again and again, as fast as it goes. The first line that it reads has the texts
(JSON); after each further one, a number of seconds, it prints texts a second, with the texts' tokens made each time and with these
made once. Usage: direct.py FOLDER THREADS"""

import json
import pathlib
import sys
import time

import numpy
import onnxruntime
import tokenizers

folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
texts = json.loads(sys.stdin.readline())
tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(256)
tokenizer.enable_padding()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(folder / "onnx/model.onnx", options, providers=["CPUExecutionProvider"])


def tensors():
    encodings = tokenizer.encode_batch(texts)
    ids = numpy.array([encoding.ids for encoding in encodings], numpy.int64)
    mask = numpy.array([encoding.attention_mask for encoding in encodings], numpy.int64)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}


def embed():
    given = tensors()
    (hidden,) = session.run(None, given)
    mask = given["attention_mask"][:, :, None]
    pooled = (hidden * mask).sum(1) / mask.sum(1)
    return pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True)


def rate(work, seconds):
    work()
    calls, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        work()
        calls += 1
    return calls * len(texts) / (time.perf_counter() - began)


once = tensors()
for line in sys.stdin:
    seconds = float(line)
    answer = {"texts_per_s": rate(embed, seconds), "graph_texts_per_s": rate(lambda: session.run(None, once), seconds)}
    print(json.dumps(answer), flush=True)
