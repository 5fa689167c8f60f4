//go:build wasip1

package http

import (
	"unsafe"

	"purlin.dev/plugin/internal/abi"
)

//go:wasmimport purlin:plugin/http@0.2.0 send
func hostSend(method, url, urlLength, headers, headersLength, body, bodyLength, timed, timeout, redirects, answer uint32)

var send = func(request Request) (Response, error) {
	url, urlLength := abi.String(request.URL)
	headers, headersLength := abi.List(request.Headers)
	body, bodyLength := abi.List(request.Body)
	timed, timeout := abi.Option(request.TimeoutMs)
	answer := abi.Region[abi.Result[Response, abi.HostError]]()
	hostSend(uint32(request.Method), url, urlLength, headers, headersLength, body, bodyLength, timed, timeout, request.Redirects, answer)
	return abi.Asked[Response](answer)
}

// Keeps the import of unsafe, without which go:wasmimport is not allowed.
var _ unsafe.Pointer
