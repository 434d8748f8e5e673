-- A worker's life without the work: what was claimed is completed, and when nothing is held, the next is claimed. The
-- first request of the file is the claim, the others complete: ~ is the improvement, ten @ number the new entry, the
-- nil UUID is the lease.
missed = 0

function init(arguments)
   local claim
   local parts = {}
   for line in io.lines(arguments[1]) do
      local method, path, body = line:match("^(%S+)\t(%S+)\t(.*)$")
      local whole = wrk.format(method, path, nil, body)
      if claim then
         local id = whole:find("~", 1, true)
         local number = whole:find("@@@@@@@@@@", id, true)
         local lease = whole:find("00000000-0000-0000-0000-000000000000", number, true)
         table.insert(parts, {
            whole:sub(1, id - 1),
            whole:sub(id + 1, number - 1),
            whole:sub(number + 10, lease - 1),
            whole:sub(lease + 36),
         })
      else
         claim = whole
      end
   end
   local ids, leases, held, number = {}, {}, 0, 0

   function request()
      if held == 0 then return claim end
      local id, lease = ids[held], leases[held]
      held, number = held - 1, number + 1
      local part = parts[number % #parts + 1]
      return part[1] .. id .. part[2] .. string.format("%010d", number) .. part[3] .. lease .. part[4]
   end

   function response(status, headers, body)
      if body == '{"items":[]}' then
         missed = missed + 1
         return
      end
      local lease = body:match('"lease_token":"([^"]+)"')
      if lease then
         held = held + 1
         ids[held], leases[held] = body:match('"improvement_id":"([^"]+)"'), lease
      end
   end
end
