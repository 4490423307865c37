-- Run by test_verdict_rules.py: judge handshakes as the plugin does, and print what came of it, a line each.
-- Every line of the input is one thing that was seen, in the order of the frames, cells apart by tabs, bytes in hex.
local modules, input = arg[1], arg[2]
local part = dofile(modules .. "/plain.lua").connected(function(name) return loadfile(modules .. "/" .. name .. ".lua") end)
local address, cnf, stated, verdict, x509 = part.address, part.cnf, part.stated, part.verdict, part.x509

local function bytes(hex)
    return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function chain_of(text)
    local chain = {}
    for one, other, der in text:gmatch("(%x+):(%x+):(%x+)") do
        chain[#chain + 1] = {
            thumbprint = bytes(one), thumbprint256 = bytes(other), names = x509.names(bytes(der), address.text),
        }
    end
    return chain
end

local book
local things = {}
-- An audit knows the whole capture: so all servers of a world are known before the first handshake is judged.
local servers, waiting = {}, {}

local function finish()
    for _, judge in ipairs(waiting) do
        judge()
    end
    servers, waiting = {}, {}
end

function things.world()
    finish()
    book = verdict.new()
end

function things.stated(text)
    local files, problems = stated.read(text)
    assert(#files == 1 and #problems == 0, problems[1])
    book:add(files[1])
end

function things.hidden(server, port, name)
    local key = server .. ":" .. port .. ":" .. name
    servers[key] = servers[key] or false
end

function things.file(name, content, frame, client)
    local file = assert(cnf.read(name, bytes(content)))
    file.frame = tonumber(frame)
    file.client = file.frame and bytes(client)
    file.path = not file.frame and name or nil
    book:add(file)
end

function things.answer(name, host)
    book:answer(name, bytes(host), 0)
end

local function judge(frame, server, port, client, transport, name, rejected, chain)
    local here = servers
    local found = book:judge({
        frame = tonumber(frame),
        server = { address = bytes(server), port = tonumber(port) },
        client = { address = bytes(client), port = 50000 },
        transport = transport,
        server_name = name ~= "" and name or nil,
        rejected = rejected == "1" or nil,
        chain = chain_of(chain),
        most = 100,
        nowhere = function(file) return stated.nowhere(file, here) end,
    })
    local devices, known = {}, {}
    for _, told in ipairs(found.told) do
        if not known[told.file.device] then
            known[told.file.device] = true
            devices[#devices + 1] = told.file.device
        end
    end
    table.sort(devices)
    local doubts, seen = {}, {}
    for _, entry in ipairs(found.unnamed) do
        local text = entry.file.device .. ": " .. entry.doubt
        doubts[#doubts + 1] = not seen[text] and text or nil
        seen[text] = true
    end
    table.sort(doubts)
    io.write(found.verdict or "none", " ", table.concat(devices, ","), "\n")
    for _, doubt in ipairs(doubts) do
        io.write("doubt ", doubt, "\n")
    end
end

function things.handshake(...)
    local _, server, port, _, _, name, _, chain = ...
    servers[server .. ":" .. port .. ":" .. name] = chain_of(chain)
    local cells = { ... }
    waiting[#waiting + 1] = function() judge(table.unpack(cells)) end
end

for line in io.lines(input) do
    local cells = {}
    for cell in (line .. "\t"):gmatch("([^\t]*)\t") do
        cells[#cells + 1] = cell
    end
    things[cells[1]](cells[2], cells[3], cells[4], cells[5], cells[6], cells[7], cells[8], cells[9])
end
finish()
