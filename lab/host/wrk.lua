-- What wrk asks of a guest's nginx, and what has to come: see WebFiles.cs. Each of wrk's threads has one connection, so that an answer belongs to the request before it.
local files, known, n = 6, {}, 0
for file = 0, files - 1 do
  local lines = {}
  for line = 0, 4 ^ file - 1 do
    lines[#lines + 1] = string.format("file %d line %08d known text\n", file, line)
  end
  known[file] = table.concat(lines)
end

local threads = {}
function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  answers, refused, wrong, first = 0, 0, 0, ""
end

local asked
function request()
  asked = n % files
  n = n + 1
  return wrk.format("GET", "/" .. asked)
end

-- What came of an answer before its connection broke stands before the next one on that connection (wrk keeps its buffer).
local function is_known(body)
  local text = known[asked]
  if body == text then
    return true
  end
  if #body <= #text or body:sub(-#text) ~= text then
    return false
  end
  local begun = body:sub(1, #body - #text)
  for file = 0, files - 1 do
    if known[file]:sub(1, #begun) == begun then
      return true
    end
  end
  return false
end

function response(status, headers, body)
  if status == 200 and is_known(body) then
    answers = answers + 1
  elseif status >= 500 then
    refused = refused + 1
  else
    wrong = wrong + 1
    if wrong == 1 then
      first = string.format("file %d was answered with status %d and %d bytes", asked, status, #body)
    end
  end
end

function done(summary, latency, requests)
  local a, r, w, what = 0, 0, 0, ""
  for _, thread in ipairs(threads) do
    a, r, w = a + thread:get("answers"), r + thread:get("refused"), w + thread:get("wrong")
    if what == "" then
      what = thread:get("first")
    end
  end
  io.write(string.format("\nanswers %d refused %d wrong %d %s\n", a, r, w, what))
end
