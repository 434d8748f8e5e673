-- Stands behind every script: the run's figures as one line of JSON, the last of the output.
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function done(summary, latency)
   local missed = 0
   for _, thread in ipairs(threads) do
      missed = missed + (thread:get("missed") or 0)
   end
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"microseconds":%d,"p50_us":%d,"p99_us":%d,' ..
      '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"missed":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.connect, errors.read, errors.write, errors.status, errors.timeout, missed))
end
