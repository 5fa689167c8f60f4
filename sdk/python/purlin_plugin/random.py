"""Random numbers that can be replayed: SplitMix64, the same sequence in every SDK."""

from __future__ import annotations

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


def _scramble(bits: int) -> int:
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)


class Random:
    """A sequence of random numbers that depends on a seed and a stream and on nothing else.

    A stream is an independent sequence under the same seed. Give every thing that is numbered (a trial, a worker) the
    stream of its number. Not for secrets.
    """

    def __init__(self, seed: int, stream: int = 0):
        self._state = _scramble((_scramble((seed + _STEP) & _MASK) + stream * _STEP) & _MASK)

    def bits(self) -> int:
        """Any 64 bits."""
        self._state = (self._state + _STEP) & _MASK
        return _scramble(self._state)

    def unit(self) -> float:
        """A number of [0, 1), each of the 2^53 multiples of 2^-53 alike."""
        return (self.bits() >> 11) * 2.0**-53

    def below(self, bound: int) -> int:
        """A whole number below ``bound``, each with the same probability; 0 where ``bound`` is 0."""
        if bound <= 0:
            return 0
        uneven = (1 << 64) % bound
        while True:
            product = self.bits() * bound
            if product & _MASK >= uneven:
                return product >> 64
