-- wrk: POST one BODY to PATH on and on, or once to each path in the file PATHS. What answers name by PATTERN goes to FOUND.
local headers = {["Content-Type"] = os.getenv("TYPE"), ["Accept"] = os.getenv("ACCEPT"), ["Authorization"] = os.getenv("CREDENTIAL")}
local paths, number, found = nil, 0, nil
if os.getenv("PATHS") then
  paths = {}
  for line in io.lines(os.getenv("PATHS")) do paths[#paths + 1] = line end
end
if os.getenv("FOUND") then found = io.open(os.getenv("FOUND"), "w") end

function request()
  number = number + 1
  return wrk.format("POST", paths and paths[number] or os.getenv("ASKED"), headers, os.getenv("BODY"))
end

if found then
  function response(status, headers, body)
    local path = string.match(body, os.getenv("PATTERN"))
    if path then found:write(path, "\n"); found:flush() end
  end
end

function done(summary)
  io.write(string.format("RESULT %d %d %d %f\n", summary.requests, summary.errors.status, summary.errors.read + summary.errors.write + summary.errors.timeout, summary.duration / 1e6))
end
