-- What wrk sends: the bodies of a corpus in turn, each thread starting elsewhere in it. With a
-- rate, requests are due at even intervals; without one, each connection sends as fast as it
-- is answered.
--
--   wrk ... -s load.lua URL -- CORPUS PATH TOKEN RATE_OF_A_THREAD
--
-- The last line of the output is one JSON object behind "result ".

local threads = 0
local requests, at = {}, 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

-- Seconds that never jump; wrk's Lua has no clock of its own that is fine enough.
local function clock()
   local ffi = require("ffi")
   ffi.cdef("struct now { long s, ns; }; int clock_gettime(int clock, struct now *now);")
   local now = ffi.new("struct now[1]")
   return function()
      ffi.C.clock_gettime(1, now) -- CLOCK_MONOTONIC
      return tonumber(now[0].s) + tonumber(now[0].ns) / 1e9
   end
end

-- The requests of all connections share one timetable. A late one is sent at once and moves
-- none of those after it, so the rate holds on average as long as a connection is free.
local function keep_rate(rate)
   local now = clock()
   local due
   function delay()
      local time = now()
      due = (due or time) + 1 / rate
      return math.max(0, math.floor((due - time) * 1000 + 0.5))
   end
end

function init(args)
   local headers = {
      ["Content-Type"] = "application/json",
      ["Authorization"] = "Bearer " .. args[3],
   }
   for body in io.lines(args[1]) do
      requests[#requests + 1] = wrk.format("POST", args[2], headers, body)
   end
   at = number * 7919 % #requests
   local rate = tonumber(args[4])
   if rate > 0 then
      keep_rate(rate)
   end
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      'result {"requests": %d, "seconds": %.6f, "mean": %.6f, "p50": %.6f, "p95": %.6f, "p99": %.6f, ' ..
      '"longest": %.6f, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
      summary.requests, summary.duration / 1e6, latency.mean / 1e6,
      latency:percentile(50) / 1e6, latency:percentile(95) / 1e6, latency:percentile(99) / 1e6, latency.max / 1e6,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
