package tuner

import "purlin.dev/plugin/internal/abi"

func init() {
	abi.Variant[Domain](FloatRange{}, IntRange{}, Discrete(nil), Categorical(nil))
}
