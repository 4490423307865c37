-- Run by test_digests.py, in a plain interpreter and inside tshark: hash and encode what a file says, a line each in hex.
local modules, input = ...
local part = dofile(modules .. "/plain.lua").connected(function(name) return loadfile(modules .. "/" .. name .. ".lua") end)
local base64, sha1, sha256 = part.base64, part.sha1, part.sha256

local function hex(bytes)
    return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

for line in io.lines(input) do
    local bytes = line:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
    local text = base64.encode(bytes)
    assert(base64.decode(text) == bytes, "Base64 does not come back")
    io.stdout:write("DIGEST ", hex(sha1.digest(bytes)), " ", hex(sha256.digest(bytes)), " ", text, "\n")
end
