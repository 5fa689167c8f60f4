//go:build wasip1

package events

import (
	"unsafe"

	"purlin.dev/plugin/internal/abi"
)

//go:wasmimport purlin:plugin/events@0.2.0 publish
func hostPublish(id, idLength, kind, kindLength, about, subject, subjectLength, typed, media, mediaLength, data, dataLength, extensions, extensionsLength, answer uint32)

var publish = func(event Event) error {
	id, idLength := abi.String(event.ID)
	kind, kindLength := abi.String(event.Type)
	about, subjectText := abi.Option(event.Subject)
	subject, subjectLength := abi.String(subjectText)
	typed, mediaText := abi.Option(event.DataContentType)
	media, mediaLength := abi.String(mediaText)
	data, dataLength := abi.List(event.Data)
	extensions, extensionsLength := abi.List(event.Extensions)
	answer := abi.Region[abi.Result[struct{}, abi.HostError]]()
	hostPublish(id, idLength, kind, kindLength, about, subject, subjectLength, typed, media, mediaLength, data, dataLength, extensions, extensionsLength, answer)
	_, err := abi.Asked[struct{}](answer)
	return err
}

// Keeps the import of unsafe, without which go:wasmimport is not allowed.
var _ unsafe.Pointer
