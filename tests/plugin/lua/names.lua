-- Run by test_names_and_urls.py: say which device a file's name is of, which head-end a URL names, and which address a text
-- is, a line each for each line of the input (kind, blank, text in hex); "none" where it is none.
local modules, input = arg[1], arg[2]
local part = dofile(modules .. "/plain.lua").connected(function(name) return loadfile(modules .. "/" .. name .. ".lua") end)
local address, headend, names = part.address, part.headend, part.names

local kinds = { device = names.device, copy = function(name) return names.is_copy(name) and "copy" end }

function kinds.url(text)
    local head_end = headend.read(text)
    return head_end and ("%s %d %s"):format(head_end.host, head_end.port, head_end.address and "address" or "name")
end

function kinds.address(text)
    local bytes = address.parse(text)
    return bytes and address.text(bytes)
end

for line in io.lines(input) do
    local kind, hex = line:match("^(%a+) (%x*)$")
    local text = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
    io.write(kinds[kind](text) or "none", "\n")
end
