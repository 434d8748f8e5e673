-- Sends the requests of a file in turn: one a line, method, path and body with tabs between them. All are made
-- beforehand. A single one is left to wrk itself, which then runs no Lua while it measures.
function init(arguments)
   local requests = {}
   for line in io.lines(arguments[1]) do
      local method, path, body = line:match("^(%S+)\t(%S+)\t(.*)$")
      wrk.method, wrk.path, wrk.body = method, path, body ~= "" and body or nil
      table.insert(requests, wrk.format())
   end
   if #requests == 1 then return end
   local at, count = 0, #requests
   function request()
      at = at % count + 1
      return requests[at]
   end
end
