-- The load of every set-up: wrk goes round over 4,096 requests whose hosts are spread over a list, so that no look-up
-- finds in the processor's cache what the one before it left there.
--
--   wrk … --script hosts.lua URL -- PATTERN HOSTS
--
-- PATTERN is the host with `%d` for its place in a list of HOSTS. The last line of the output is JSON.

local REQUESTS = 4096
-- Prime to the sizes of all lists.
local STRIDE = 7919

local requests = {}
local sent = 0

function init(arguments)
  local pattern, hosts = arguments[1], tonumber(arguments[2])
  for place = 1, REQUESTS do
    requests[place] = wrk.format("GET", "/v1/items?page=2", {
      ["Host"] = pattern:format((place - 1) * STRIDE % hosts),
      ["User-Agent"] = "wrk",
      ["Accept"] = "*/*",
      ["Accept-Encoding"] = "gzip",
    })
  end
end

function request()
  sent = sent % REQUESTS + 1
  return requests[sent]
end

function done(summary)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(('{"requests": %d, "refused": %d, "broken": %d}\n'):format(summary.requests, errors.status, broken))
end
