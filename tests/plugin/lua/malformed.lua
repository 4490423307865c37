-- Run by test_malformed.py: print what is wrong with each certHash (a line each, in hex), and how it is shown.
local modules, input = arg[1], arg[2]
local part = dofile(modules .. "/plain.lua").connected(function(name) return loadfile(modules .. "/" .. name .. ".lua") end)
local digest = part.digest

for line in io.lines(input) do
    local value = line:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
    io.write(digest.shown(value), "\t", digest.why_malformed(value), "\n")
end

for i = 3, #arg do
    io.write(digest.why_longer(arg[i]), "\n")
end
