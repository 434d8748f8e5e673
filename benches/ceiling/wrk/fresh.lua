-- As cycle.lua, but the ten @ of each body become a number that no other request of the run has. It is as wide as they
-- are, so that the head with the body's length is made beforehand, too.
function init(arguments)
   local heads, tails = {}, {}
   for line in io.lines(arguments[1]) do
      local method, path, body = line:match("^(%S+)\t(%S+)\t(.*)$")
      local whole = wrk.format(method, path, nil, body)
      local from, to = whole:find("@@@@@@@@@@", 1, true)
      table.insert(heads, whole:sub(1, from - 1))
      table.insert(tails, whole:sub(to + 1))
   end
   local number, count = 0, #heads
   function request()
      number = number + 1
      local at = number % count + 1
      return heads[at] .. string.format("%010d", number) .. tails[at]
   end
end
