// Package abi reads and writes the contract's types as the component model's canonical ABI lays them out in memory.
//
// A Go type stands for a WIT type by its form: a struct for a record, field by field; a slice for a list; a pointer for
// an option; uint8 of a named type for an enum; Result for a result; an interface that was given to Variant for a
// variant. Memory is reached through Memory, so that tests need no WebAssembly.
package abi

import (
	"fmt"
	"math"
	"reflect"
)

// Memory is where values lie.
type Memory interface {
	// At is the bytes of a region that was laid out earlier or came from outside.
	At(address, length uint32) []byte
	// New gives a region that stays until the call has been answered.
	New(length, align uint32) uint32
}

// Result is a WIT result; E is nil where it is ok. T is struct{} where there is no value.
type Result[T any, E any] struct {
	Ok  T
	Err *E
}

func (Result[T, E]) result() {}

type result interface{ result() }

var resultType = reflect.TypeFor[result]()

// variants are the cases of each variant, in the contract's order; nil is a case without a payload.
var variants = map[reflect.Type][]reflect.Type{}

// Variant tells the types of a variant's cases, in the contract's order. Each implements the interface V.
func Variant[V any](cases ...V) {
	types := make([]reflect.Type, len(cases))
	for index, one := range cases {
		types[index] = reflect.TypeOf(one)
	}
	variants[reflect.TypeFor[V]()] = types
}

func align(offset, to uint32) uint32 { return (offset + to - 1) &^ (to - 1) }

// Layout is the size and the alignment of a type.
func Layout(t reflect.Type) (size, alignment uint32) {
	if t.Implements(resultType) {
		return tagged([]reflect.Type{t.Field(0).Type, t.Field(1).Type.Elem()})
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Uint8:
		return 1, 1
	case reflect.Uint16:
		return 2, 2
	case reflect.Uint32:
		return 4, 4
	case reflect.Uint64, reflect.Int64, reflect.Float64:
		return 8, 8
	case reflect.String, reflect.Slice:
		return 8, 4
	case reflect.Pointer:
		return tagged([]reflect.Type{t.Elem()})
	case reflect.Interface:
		return tagged(variants[t])
	case reflect.Struct:
		alignment = 1
		for index := range t.NumField() {
			inner, to := Layout(t.Field(index).Type)
			size = align(size, to) + inner
			alignment = max(alignment, to)
		}
		return align(size, alignment), alignment
	default:
		panic(fmt.Sprintf("abi: no layout for %s", t))
	}
}

// tagged is the layout of a variant: a byte, and the largest of its cases.
func tagged(cases []reflect.Type) (size, alignment uint32) {
	alignment = 1
	for _, one := range cases {
		inner, to := Layout(one)
		size, alignment = max(size, inner), max(alignment, to)
	}
	return align(payload(alignment)+size, alignment), alignment
}

// payload is where a variant's value begins.
func payload(alignment uint32) uint32 { return align(1, alignment) }

// Read reads a value at an address.
func Read(memory Memory, address uint32, into reflect.Value) {
	t := into.Type()
	size, alignment := Layout(t)
	raw := memory.At(address, size)
	if t.Implements(resultType) {
		if raw[0] == 0 {
			Read(memory, address+payload(alignment), into.Field(0))
		} else {
			failure := reflect.New(t.Field(1).Type.Elem())
			Read(memory, address+payload(alignment), failure.Elem())
			into.Field(1).Set(failure)
		}
		return
	}
	switch t.Kind() {
	case reflect.Bool:
		into.SetBool(raw[0] != 0)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		into.SetUint(number(raw))
	case reflect.Int64:
		into.SetInt(int64(number(raw)))
	case reflect.Float64:
		into.SetFloat(math.Float64frombits(number(raw)))
	case reflect.String:
		into.SetString(string(memory.At(uint32(number(raw[:4])), uint32(number(raw[4:])))))
	case reflect.Slice:
		first, count := uint32(number(raw[:4])), int(number(raw[4:]))
		if t.Elem().Kind() == reflect.Uint8 {
			into.SetBytes(append([]byte{}, memory.At(first, uint32(count))...))
			return
		}
		inner, _ := Layout(t.Elem())
		list := reflect.MakeSlice(t, count, count)
		for index := range count {
			Read(memory, first+uint32(index)*inner, list.Index(index))
		}
		into.Set(list)
	case reflect.Pointer:
		if raw[0] != 0 {
			value := reflect.New(t.Elem())
			Read(memory, address+payload(alignment), value.Elem())
			into.Set(value)
		}
	case reflect.Interface:
		value := reflect.New(variants[t][raw[0]]).Elem()
		Read(memory, address+payload(alignment), value)
		into.Set(value)
	case reflect.Struct:
		offset := uint32(0)
		for index := range t.NumField() {
			inner, to := Layout(t.Field(index).Type)
			offset = align(offset, to)
			Read(memory, address+offset, into.Field(index))
			offset += inner
		}
	default:
		panic(fmt.Sprintf("abi: cannot read %s", t))
	}
}

// Write writes a value at an address.
func Write(memory Memory, address uint32, value reflect.Value) {
	t := value.Type()
	size, alignment := Layout(t)
	raw := memory.At(address, size)
	if t.Implements(resultType) {
		if value.Field(1).IsNil() {
			raw[0] = 0
			Write(memory, address+payload(alignment), value.Field(0))
		} else {
			raw[0] = 1
			Write(memory, address+payload(alignment), value.Field(1).Elem())
		}
		return
	}
	switch t.Kind() {
	case reflect.Bool:
		raw[0] = 0
		if value.Bool() {
			raw[0] = 1
		}
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		setNumber(raw, value.Uint())
	case reflect.Int64:
		setNumber(raw, uint64(value.Int()))
	case reflect.Float64:
		setNumber(raw, math.Float64bits(value.Float()))
	case reflect.String:
		address, length := Text(memory, value.String())
		setNumber(raw[:4], uint64(address))
		setNumber(raw[4:], uint64(length))
	case reflect.Slice:
		inner, to := Layout(t.Elem())
		count := uint32(value.Len())
		first := memory.New(inner*count, to)
		if t.Elem().Kind() == reflect.Uint8 {
			copy(memory.At(first, count), value.Bytes())
		} else {
			for index := range value.Len() {
				Write(memory, first+uint32(index)*inner, value.Index(index))
			}
		}
		setNumber(raw[:4], uint64(first))
		setNumber(raw[4:], uint64(count))
	case reflect.Pointer:
		raw[0] = 0
		if !value.IsNil() {
			raw[0] = 1
			Write(memory, address+payload(alignment), value.Elem())
		}
	case reflect.Interface:
		for index, one := range variants[t] {
			if one == value.Elem().Type() {
				raw[0] = byte(index)
				Write(memory, address+payload(alignment), value.Elem())
				return
			}
		}
		panic(fmt.Sprintf("abi: %s is no case of %s", value.Elem().Type(), t))
	case reflect.Struct:
		offset := uint32(0)
		for index := range t.NumField() {
			inner, to := Layout(t.Field(index).Type)
			offset = align(offset, to)
			Write(memory, address+offset, value.Field(index))
			offset += inner
		}
	default:
		panic(fmt.Sprintf("abi: cannot write %s", t))
	}
}

// Text puts a text into memory.
func Text(memory Memory, text string) (address, length uint32) {
	length = uint32(len(text))
	address = memory.New(length, 1)
	copy(memory.At(address, length), text)
	return address, length
}

// Get reads a value of a type.
func Get[T any](memory Memory, address uint32) T {
	var value T
	Read(memory, address, reflect.ValueOf(&value).Elem())
	return value
}

// Put writes a value into new memory and gives its address.
func Put[T any](memory Memory, value T) uint32 {
	size, alignment := Layout(reflect.TypeFor[T]())
	address := memory.New(size, alignment)
	Write(memory, address, reflect.ValueOf(&value).Elem())
	return address
}

func number(raw []byte) uint64 {
	value := uint64(0)
	for index := len(raw) - 1; index >= 0; index-- {
		value = value<<8 | uint64(raw[index])
	}
	return value
}

func setNumber(raw []byte, value uint64) {
	for index := range raw {
		raw[index] = byte(value)
		value >>= 8
	}
}
