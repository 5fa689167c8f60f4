"""The training program of the fault tests: says in a ledger when it starts and ends, and prints one accuracy.

One line an event, appended in one write: `start|end TRIAL PID TIME`. The accuracy is a function of the parameter.
"""

import argparse
import os
import time


def note(ledger, event, trial):
    with open(ledger, "ab", buffering=0) as file:
        file.write(f"{event} {trial} {os.getpid()} {time.time():.3f}\n".encode())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float, required=True)
    parser.add_argument("--trial", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    flags = parser.parse_args()
    ledger = os.environ["LEDGER"]
    note(ledger, "start", flags.trial)
    for epoch in range(4):
        time.sleep(flags.seconds / 4)
        print(
            f"epoch={epoch} Validation-accuracy={1 - (flags.x - 0.5) ** 2 - 0.1 / (epoch + 1):.6f}",
            flush=True,
        )
    note(ledger, "end", flags.trial)


if __name__ == "__main__":
    main()
