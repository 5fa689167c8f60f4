-- wrk: one request again and again. Environment: BODY (a file), TYPE (its content type), JSON_LENGTH (of the header of a
-- binary request; empty for none), HOST (empty for the server's own).
function init()
  local file = assert(io.open(os.getenv("BODY"), "rb"))
  local body = file:read("*all")
  file:close()
  local headers = { ["Content-Type"] = os.getenv("TYPE") or "application/json" }
  local length = os.getenv("JSON_LENGTH") or ""
  if length ~= "" then headers["Inference-Header-Content-Length"] = length end
  local host = os.getenv("HOST_HEADER") or ""
  if host ~= "" then headers["Host"] = host end
  -- Written once: the client shares the machine with who is measured.
  written = wrk.format("POST", nil, headers, body)
end

function request()
  return written
end

function done(summary, latency)
  local seconds = summary.duration / 1e6
  local failed = summary.errors.status + summary.errors.read + summary.errors.timeout + summary.errors.connect
  io.write(string.format("RESULT %d %d %.6f %.1f %.1f\n", summary.requests, failed, seconds,
    latency:percentile(50), latency:percentile(99)))
end
