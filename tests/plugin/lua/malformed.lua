-- Run by test_malformed.py: print what is wrong with each certHash (a line each, in hex), and how it is shown.
local modules, input = arg[1], arg[2]
local function module(name)
    return dofile(modules .. "/" .. name .. ".lua")
end
local cnf = module("cnf").using({ base64 = module("base64"), address = module("address"), xml = module("xml") })

for line in io.lines(input) do
    local value = line:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
    io.write(cnf.shown(value), "\t", cnf.why_malformed(value), "\n")
end

for i = 3, #arg do
    io.write(cnf.why_longer(arg[i]), "\n")
end
