-- Sends the requests whose bodies lie in the folder BENCH_BODIES, in turn, and prints one JSON line at the end.

local requests = {}
local turn = 0

function init(_)
    local folder = os.getenv("BENCH_BODIES")
    local headers = {}
    for name, value in os.getenv("BENCH_HEADERS"):gmatch("([^:\n]+): ([^\n]+)") do
        headers[name] = value
    end
    for index = 1, tonumber(os.getenv("BENCH_COUNT")) do
        local file = assert(io.open(folder .. "/" .. index, "rb"))
        requests[index] = wrk.format("POST", os.getenv("BENCH_PATH"), headers, file:read("*a"))
        file:close()
    end
end

function request()
    turn = turn % #requests + 1
    return requests[turn]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "microseconds": %d, "p50": %d, "p90": %d, "p99": %d, "longest": %d, ' ..
        '"status_errors": %d, "socket_errors": %d, "timeouts": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(90),
        latency:percentile(99), latency.max, errors.status, errors.connect + errors.read + errors.write,
        errors.timeout))
end
