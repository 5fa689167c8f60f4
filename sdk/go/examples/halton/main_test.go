package main

import (
	"testing"

	"purlin.dev/plugin/cases"
)

func TestVectors(t *testing.T) { cases.Tuner(t, "../../../halton.json", Halton{}) }
