-- Run by test_hostid.py: print what the host-ID check says of each certificate, setting and URL, a line each.
-- A line of the input is the certificate in hex, what the file says of the check, and the URL, apart by tabs.
local modules, input = arg[1], arg[2]
local part = dofile(modules .. "/plain.lua").connected(function(name) return loadfile(modules .. "/" .. name .. ".lua") end)
local address, headend, hostid, x509 = part.address, part.headend, part.hostid, part.x509

for line in io.lines(input) do
    local hex, check, url = line:match("^(%x*)\t(%d?)\t(.*)$")
    local der = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
    local names = x509.names(der, address.text)
    io.write(hostid.doubt({ host_id_check = check }, names, assert(headend.read(url)).host) or "", "\n")
end
