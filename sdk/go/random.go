package plugin

import "math/bits"

// Random is a sequence of random numbers that depends on a seed and a stream and on nothing else: SplitMix64, the same
// in every SDK. Not for secrets.
type Random struct {
	state uint64
}

const step = 0x9e3779b97f4a7c15

// NewRandom begins a stream: an independent sequence under the same seed. Give every thing that is numbered (a trial, a
// worker) the stream of its number.
func NewRandom(seed, stream uint64) *Random {
	return &Random{scramble(scramble(seed+step) + stream*step)}
}

// Bits is any 64 bits.
func (r *Random) Bits() uint64 {
	r.state += step
	return scramble(r.state)
}

// Unit is a number of [0, 1), each of the 2^53 multiples of 2^-53 alike.
func (r *Random) Unit() float64 {
	return float64(r.Bits()>>11) * (1.0 / (1 << 53))
}

// Below is a whole number below bound, each with the same probability; 0 where bound is 0.
func (r *Random) Below(bound uint64) uint64 {
	if bound == 0 {
		return 0
	}
	uneven := -bound % bound
	for {
		high, low := bits.Mul64(r.Bits(), bound)
		if low >= uneven {
			return high
		}
	}
}

func scramble(x uint64) uint64 {
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}
