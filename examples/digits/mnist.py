"""Trains a small network on scikit-learn's handwritten digits and prints its accuracy after each epoch.

Stands for the program inside Katib's example image `mxnet-mnist`: the same flags, the same three lines an epoch
(`Train-accuracy=`, `Time cost=`, `Validation-accuracy=`), which Katib's stdout collector reads. The data set is smaller
(1,797 images of 8x8 pixels), so that a run takes a second or two on one core. Every printed accuracy is measured on the
network that was just trained; the same flags and seed give the same numbers.

A flag of the original that has no meaning here (GPUs, key-value stores, profiling) is not accepted: argparse refuses it.
"""

import argparse
import logging
import sys
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HIDDEN_LAYERS = (128, 64)


def parse_flags(arguments=None):
    """Reads the command line. Defaults are those of the original program where it has the flag."""
    parser = argparse.ArgumentParser(description="train on handwritten digits", allow_abbrev=False)
    parser.add_argument("--batch-size", type=positive(int), default=64, help="images a step")
    parser.add_argument("--lr", type=positive(float), default=0.05, help="learning rate of the first epoch")
    parser.add_argument(
        "--num-epochs", type=positive(int), default=10, help="passes over the training images"
    )
    parser.add_argument(
        "--lr-factor", type=positive(float), default=0.1, help="factor at each of --lr-step-epochs"
    )
    parser.add_argument(
        "--lr-step-epochs", type=epochs, default=[10], help="epochs that change the rate, e.g. 5,8"
    )
    parser.add_argument(
        "--optimizer", choices=["sgd", "nag"], default="sgd", help="momentum: plain or Nesterov's"
    )
    parser.add_argument("--mom", type=float, default=0.9, help="momentum")
    parser.add_argument("--wd", type=float, default=0.0001, help="weight decay")
    parser.add_argument(
        "--num-examples", type=positive(int), default=None, help="train on this many images at most"
    )
    parser.add_argument(
        "--disp-batches", type=positive(int), default=100, help="progress after this many steps"
    )
    parser.add_argument("--seed", type=int, default=0, help="of initial weights and of the order of images")
    return parser.parse_args(arguments)


def positive(number):
    """An argparse type: `number`, refused unless above zero."""

    def parse(text):
        value = number(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above zero")
        return value

    parse.__name__ = number.__name__
    return parse


def epochs(text):
    """An argparse type: comma-separated epoch numbers."""
    return [int(part) for part in text.split(",")]


class Network:
    """A fully connected network: ReLU between layers, softmax with cross entropy at the end."""

    def __init__(self, sizes, random):
        # He's initialisation: keeps the variance through ReLU layers.
        self.weights = [random.normal(0, np.sqrt(2 / a), (a, b)) for a, b in zip(sizes, sizes[1:])]
        self.biases = [np.zeros(b) for b in sizes[1:]]
        self.velocity = [np.zeros_like(p) for p in self.parameters()]

    def parameters(self):
        return self.weights + self.biases

    def forward(self, images):
        """The activations of every layer, the input first and the logits last."""
        layers = [images]
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            out = layers[-1] @ weight + bias
            layers.append(out if i == last else np.maximum(out, 0))
        return layers

    def gradients(self, images, labels):
        """Of the mean cross entropy, in the order of `parameters`."""
        layers = self.forward(images)
        logits = layers[-1] - layers[-1].max(axis=1, keepdims=True)
        error = np.exp(logits)
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1
        error /= len(labels)
        weights, biases = [], []
        for i in reversed(range(len(self.weights))):
            weights.insert(0, layers[i].T @ error)
            biases.insert(0, error.sum(axis=0))
            if i:
                error = (error @ self.weights[i].T) * (layers[i] > 0)
        return weights + biases

    def step(self, images, labels, rate, momentum, decay, nesterov):
        """One step of stochastic gradient descent, in place."""
        gradients = self.gradients(images, labels)
        for i, (parameter, gradient) in enumerate(zip(self.parameters(), gradients)):
            if i < len(self.weights):
                gradient = gradient + decay * parameter
            self.velocity[i] = momentum * self.velocity[i] - rate * gradient
            parameter += momentum * self.velocity[i] - rate * gradient if nesterov else self.velocity[i]

    def accuracy(self, images, labels):
        return float((self.forward(images)[-1].argmax(axis=1) == labels).mean())


def load(seed, limit):
    """Images scaled to 0..1 and labels: training, then validation (a fifth, the same for every seed)."""
    images, labels = load_digits(return_X_y=True)
    train_x, valid_x, train_y, valid_y = train_test_split(
        images / 16.0, labels, test_size=0.2, random_state=1, stratify=labels
    )
    order = np.random.default_rng(seed).permutation(len(train_x))[:limit]
    return train_x[order], train_y[order], valid_x, valid_y


def train(flags):
    random = np.random.default_rng(flags.seed)
    train_x, train_y, valid_x, valid_y = load(flags.seed, flags.num_examples)
    network = Network((train_x.shape[1], *HIDDEN_LAYERS, 10), random)
    rate = flags.lr
    for epoch in range(flags.num_epochs):
        started = time.monotonic()
        if epoch in flags.lr_step_epochs:
            rate *= flags.lr_factor
            logging.info("Epoch[%d] Change learning rate to %g", epoch, rate)
        order = random.permutation(len(train_x))
        for batch, start in enumerate(range(0, len(order), flags.batch_size), 1):
            picked = order[start : start + flags.batch_size]
            network.step(
                train_x[picked], train_y[picked], rate, flags.mom, flags.wd, flags.optimizer == "nag"
            )
            if batch % flags.disp_batches == 0:
                speed = batch * flags.batch_size / (time.monotonic() - started)
                logging.info("Epoch[%d] Batch [%d]\tSpeed: %.2f samples/sec", epoch, batch, speed)
        logging.info("Epoch[%d] Train-accuracy=%f", epoch, network.accuracy(train_x, train_y))
        logging.info("Epoch[%d] Time cost=%.3f", epoch, time.monotonic() - started)
        logging.info("Epoch[%d] Validation-accuracy=%f", epoch, network.accuracy(valid_x, valid_y))


def main():
    # Katib reads a time stamp at the start of a line in this form; the times must then be UTC.
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format="%(asctime)s %(levelname)-8s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%SZ",
    )
    flags = parse_flags()
    logging.info("start with arguments %s", flags)
    train(flags)


if __name__ == "__main__":
    main()
