-- Sends the lines of a file in rotation as JSON; without a file, plain GETs.
-- With the word "fresh" every "@" in a line becomes a number that never was there before.
local bodies, prepared, turn = {}, {}, 0
local headers = { ["Content-Type"] = "application/json" }
local fresh = false

function init(arguments)
  fresh = arguments[2] == "fresh"
  if arguments[1] == nil then
    prepared[1] = wrk.format("GET")
    return
  end
  for line in io.lines(arguments[1]) do
    bodies[#bodies + 1] = line
    prepared[#prepared + 1] = wrk.format("POST", nil, headers, line)
  end
  turn = os.time() * 1000
end

function request()
  turn = turn + 1
  local place = turn % #prepared + 1
  if fresh then
    return wrk.format("POST", nil, headers, (bodies[place]:gsub("@", turn)))
  end
  return prepared[place]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"errors":{"connect":%d,"read":%d,"write":%d,' ..
    '"timeout":%d,"status":%d},"latency_us":[%f,%f,%f,%f]}\n',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write,
    errors.timeout, errors.status, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency:percentile(99.9)))
end
