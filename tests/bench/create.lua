-- wrk: creates ConfigMaps, each with a name of its own. Environment: TOKEN, RUN (part of the names).
local threads = 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

function init()
  count = 0
  run = os.getenv("RUN")
  headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. os.getenv("TOKEN") }
  filler = string.rep("x", 256)
  refused = 0
end

function request()
  count = count + 1
  local name = run .. "-" .. id .. "-" .. count
  local body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"' .. name .. '"},"data":{"filler":"' .. filler .. '"}}'
  return wrk.format("POST", nil, headers, body)
end

function done(summary, latency)
  local seconds = summary.duration / 1e6
  io.write(string.format("RESULT %d %d %.6f %.3f %.3f\n", summary.requests, summary.errors.status + summary.errors.read + summary.errors.timeout,
    seconds, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
