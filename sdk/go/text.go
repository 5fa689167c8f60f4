package plugin

import (
	"math"
	"strconv"
	"strings"
)

// Number is the shortest decimal that reads back as this number, as ECMAScript writes it: 0.5, 64, 1e-7.
func Number(value float64) string {
	if value == 0 {
		return "0"
	}
	if size := math.Abs(value); size >= 1e-6 && size < 1e21 {
		return strconv.FormatFloat(value, 'f', -1, 64)
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(value, 'e', -1, 64), "e")
	sign := exponent[:1]
	return digits + "e" + sign + strings.TrimLeft(exponent[1:], "0")
}

// OnStep is min + position*step as text, without the dust of binary arithmetic (0.30000000000000004).
func OnStep(min, step float64, position int64) string {
	// The conversion keeps compilers from fusing product and sum, which would round once instead of twice.
	sum := min + float64(float64(position)*step)
	clean, err := strconv.ParseFloat(strconv.FormatFloat(sum, 'f', max(places(min), places(step)), 64), 64)
	if err != nil {
		clean = sum
	}
	return Number(clean)
}

func places(value float64) int {
	_, fraction, _ := strings.Cut(strconv.FormatFloat(value, 'f', -1, 64), ".")
	return len(fraction)
}
