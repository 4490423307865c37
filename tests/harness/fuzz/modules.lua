-- Run by many.py in a plain interpreter: give one of the plugin's modules damaged inputs, thousands a second.
--
--   lua5.4 modules.lua PLUGIN TARGET SEED COUNT SAMPLE...
--
-- It prints each input that broke something, in hex.  Every target raises only for an error in the plugin: a wrong result,
-- or one that took long.
local plugin, wanted, seed, most = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local part = dofile(plugin .. "/plain.lua").connected(function(name) return loadfile(plugin .. "/" .. name .. ".lua") end)
local LONGEST = 5 -- seconds for one input, on the slowest machine

math.randomseed(seed)
local random = math.random

local samples = {}
for i = 5, #arg do
    local handle = assert(io.open(arg[i], "rb"))
    samples[#samples + 1] = handle:read("*a")
    handle:close()
end

-- ---------------------------------------------------------------------------------------------------------------------
-- Damage, as in mutate.py

local function bytes(count)
    local out = {}
    for i = 1, count do
        out[i] = string.char(random(0, 255))
    end
    return table.concat(out)
end

local SIZES = { 1, 2, 4, 16, 200 }
local EXTREMES = { "\0", "\1", "\127", "\128", "\255" }

local function mutated(text)
    for _ = 1, random(3) do
        if text == "" then
            return text
        end
        local at = random(#text)
        local stop = math.min(at + SIZES[random(#SIZES)] - 1, #text)
        local before, piece, after = text:sub(1, at - 1), text:sub(at, stop), text:sub(stop + 1)
        local way = random(8)
        if way == 1 then
            text = before .. EXTREMES[random(#EXTREMES)] .. text:sub(at + 1)
        elseif way == 2 then
            text = before .. bytes(#piece) .. piece .. after
        elseif way == 3 then
            text = before .. piece .. piece .. after
        elseif way == 4 then
            text = before .. after
        elseif way == 5 then
            text = before
        elseif way == 6 then
            text = before .. ("\0"):rep(#piece) .. after
        elseif way == 7 then
            text = before .. string.char(random(0, 255)) .. text:sub(at + 1)
        else
            local other = samples[random(#samples)] or text
            local from = random(math.max(#other, 1))
            text = before .. other:sub(from, from + SIZES[random(#SIZES)] - 1) .. after
        end
    end
    return text
end

local function sample()
    return mutated(samples[random(#samples)])
end

local function one_of(list)
    return list[random(#list)]
end

-- ---------------------------------------------------------------------------------------------------------------------
-- Properties

local function sentence(problem)
    assert(type(problem) == "string" and problem ~= "" and not problem:find("[\r\n]"), "no message in one line")
end

-- A hash is never invented: its Base64 is in the file, unless something in it may stand for other bytes, or removes some.
local function hashes_are_there(file, content)
    if content:find("[&\0\b\27]") or content:find("<!", 1, true) or content:find("More", 1, true) then
        return
    end
    local bare
    for _, item in ipairs(file.hashes or {}) do
        if item.digest then
            bare = bare or content:gsub("[%s%c]+", "")
            local text = part.base64.encode(item.digest):gsub("=+$", "")
            assert(bare:find(text, 1, true), "a hash that the file does not contain")
        end
    end
end

local target = {}

function target.cnf(content)
    for _, reader in ipairs({ part.cnf, part.excerpt }) do
        local file, problem = reader.read("SEP00005E005311.cnf.xml", content)
        if file then
            assert(file.device == "SEP00005E005311" and part.names.device(file.name))
            hashes_are_there(file, content)
            for _, message in ipairs(part.cnf.problems(file)) do
                sentence(message)
            end
        elseif problem or reader == part.cnf then
            sentence(problem)
        end
    end
end

function target.xml(content)
    local root = part.xml.parse(content, part.cnf.WANTED)
    assert(root == nil or type(root.name) == "string")
end

function target.x509(der)
    local subject, names = part.x509.subject(der), part.x509.names(der, part.address.text)
    assert(subject == nil or type(subject) == "string")
    for _, name in ipairs(names or {}) do
        assert(type(name) == "string")
        part.hostid.names_host({ name }, "vpn.example.com")
    end
    local shown = part.visible.text(subject or der, 200)
    assert(not shown:find("[%c]"), "a control character is shown")
    part.hostid.doubt({ host_id_check = one_of({ "", "0", "1" }) }, names, "vpn.example.com")
end

function target.texts(text)
    local head_end, problem = part.headend.read(text)
    if head_end then
        assert(head_end.host ~= "" and head_end.port > 0 and head_end.port < 65536)
    else
        sentence(problem)
    end
    local raw = part.address.parse(text)
    assert(not raw or part.address.parse(part.address.text(raw)) == raw, "an address does not come back")
    local device = part.names.device(text)
    assert(not (device and part.names.is_copy(text)), "a phone's file is no copy")
    sentence(part.digest.why_malformed(text))
    assert(#part.digest.shown(text) <= 90)
    local digest, algorithm = part.digest.read(text)
    assert(not digest or part.digest.ALGORITHMS[#digest] == algorithm)
    for _, file in ipairs((part.stated.read(text))) do
        assert(part.digest.ALGORITHMS[#file.hashes[1].digest])
    end
    local decoded = part.base64.decode(text)
    local bare = text:gsub("[%s=]", "")
    assert(not decoded or part.base64.encode(decoded):gsub("=", "") == bare, "Base64 does not come back")
    assert(part.base64.decode(part.base64.encode(text)) == text, "bytes do not come back from Base64")
    part.upgrade.before_tls(text)
    part.upgrade.is_hello(text)
    part.openvpn.opens_stream(text)
    part.openvpn.opens_datagram(text)
    part.openvpn.control(text, one_of({ 0, 24, 28 }))
end

-- The parent compares the digests with hashlib's.
local function hex(text)
    return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

function target.digests(text)
    io.write("DIGEST ", hex(text), " ", hex(part.sha1.digest(text)), " ", hex(part.sha256.digest(text)), "\n")
end

-- A stream in pieces that are repeated, exchanged or lost: what comes out is its beginning.
function target.openvpn(text)
    local records = {}
    for _ = 1, random(4) do
        local from = random(math.max(#text, 1))
        local body = text:sub(from, from + random(0, 400))
        records[#records + 1] = "\22\3\3" .. string.char(math.floor(#body / 256), #body % 256) .. body
    end
    local whole, pieces, at = table.concat(records), {}, 1
    while at <= #whole do
        local size = random(200)
        pieces[#pieces + 1] = { #pieces + 1, whole:sub(at, at + size - 1) }
        at = at + size
    end
    local sent = {}
    for _, piece in ipairs(pieces) do
        for _ = 1, one_of({ 1, 1, 1, 0, 2 }) do
            table.insert(sent, random(math.max(#sent - 3, 1), #sent + 1), piece)
        end
    end
    local stream, out = part.openvpn.stream(), ""
    for _, piece in ipairs(sent) do
        out = out .. stream.take(piece[1], piece[2])
    end
    assert(whole:sub(1, #out) == out, "bytes that were not sent")
    stream = part.openvpn.stream()
    for _ = 1, 10 do
        stream.take(random(0, 12), text)
    end
end

-- Two clients fetch files of two phones, and two of none, from servers that answer late, twice, from other ports, in any
-- order.  A file that comes out was sent, under that name, by one port.
local FILES = {}
for i, name in ipairs({ "SEP00005E005311.cnf.xml", "SEP00005E005312.cnf.xml", "ringlist.xml", "b.xml" }) do
    FILES[i] = { name = name }
end

local function block(number, data)
    return "\0\3" .. string.char(math.floor(number / 256) % 256, number % 256) .. data
end

function target.tftp(text)
    local transfers = part.tftp.new(part.names.device)
    local size = one_of({ 8, 64, 512 })
    local versions = {}
    for i, file in ipairs(FILES) do
        for version = 1, 2 do
            local content = i .. version .. text:sub(1, random(0, 4 * size))
            versions[#versions + 1] = { name = file.name, content = content }
        end
    end
    local schedule = {}
    for flow = 1, random(3) do
        local version, client, server = one_of(versions), "c" .. random(2), "s" .. flow
        local at = random(#schedule + 1)
        local function put(item)
            table.insert(schedule, math.min(at, #schedule + 1), item)
            at = at + random(1, 3)
        end
        local option = size == 512 and "" or "blksize\0" .. size .. "\0"
        put({ asks = "\0\1" .. version.name .. "\0octet\0" .. option, client = client })
        if size ~= 512 then
            put({ "\0\6" .. option, server, client })
        end
        local number = 1
        for from = 1, #version.content + size, size do
            local data = version.content:sub(from, from + size - 1)
            for _ = 1, one_of({ 1, 1, 1, 1, 1, 2, 0 }) do
                put({ block(number, data), server, client })
            end
            put({ "\0\4" .. string.char(math.floor(number / 256), number % 256), client, server })
            number = number + 1
            if #data < size then
                break
            end
        end
        if random(6) == 1 then
            put({ "\0\5\0\0" .. text:sub(1, 20) .. "\0", client, server })
        end
    end
    local damaged = random(3) == 1
    local last = {}
    for frame, item in ipairs(schedule) do
        if item.asks then
            transfers:request(frame, damaged and mutated(item.asks) or item.asks, item.client)
            last[item.client] = frame
        else
            local asked = last[item[3]] or last[item[2]]
            local payload = damaged and random(5) == 1 and mutated(item[1]) or item[1]
            local complete, event = nil, nil
            if asked then
                complete, event = transfers:packet(asked, payload, item[2], item[3])
            end
            assert(not event or event.what)
            if complete and not damaged then
                local sent = false
                for _, version in ipairs(versions) do
                    sent = sent or version.name == complete.name and version.content == complete.content
                end
                assert(sent, "a file that nobody sent")
            end
        end
        local total, count = 0, 0
        for _, request in pairs(transfers.open) do
            total, count = total + request.size, count + 1
        end
        assert(total == transfers.bytes and count == transfers.count, "the counts of memory are wrong")
    end
end

-- Requests and responses of three connections: one request is named only if no other may be meant.
function target.http(text)
    local exchanges, model = part.http.new(), {}
    for i = 1, math.min(#text, 60) do
        local byte = text:byte(i)
        local stream, what, count = byte % 3, math.floor(byte / 3) % 2, math.floor(byte / 6) % 4
        local open = model[stream] or { asked = 0, mixed = false }
        if what == 0 then
            local uris = {}
            for number = 1, count do
                uris[number] = "/" .. number
            end
            exchanges:request(stream, uris, i)
            open.asked = open.asked + count
            model[stream] = open
        else
            local doubtful, frame = exchanges:response(stream, count)
            assert(not frame or count == 1 and open.asked == 1 and not open.mixed, "a response to one of several")
            assert(not (frame and doubtful))
            open.mixed = open.mixed or open.asked > 1
            if frame then
                model[stream] = nil
            end
        end
    end
end

function target.handshakes(text)
    local tracker = part.handshakes.new()
    for i = 1, math.min(#text - 3, 80), 4 do
        local a, b, c, d = text:byte(i, i + 3)
        local source, target_end = part.handshakes.endpoint("abcd", a % 4), part.handshakes.endpoint("efgh", b % 4)
        if c % 2 == 0 then
            source, target_end = target_end, source
        end
        local types = {}
        for number = 1, c % 5 do
            types[number] = (d + number * b) % 26
        end
        local name, random_value = d % 3 == 0 and "vpn" or nil, a % 7 > 2 and a % 3 or nil
        local handshake, role = tracker:observe(source, target_end, types, name, random_value)
        assert(role == nil or handshake[role] == source, "a role that is another's")
        local _, other = tracker:find(target_end, source)
        assert(other == nil or other ~= role, "both ends have one role")
    end
end

-- A match needs a certificate with the hash.
local URLS = {
    "https://203.0.113.1/phone", "https://203.0.113.1:444/x", "https://vpn.example.com", "https://VPN.example.com./p",
}
local FILE = "<device><vpnGroup><enableHostIDCheck>%s</enableHostIDCheck>"
    .. "<addresses><url1>%s</url1><url2>%s</url2></addresses>"
    .. "<credentials><certHash1>%s</certHash1></credentials></vpnGroup></device>"

function target.verdict(text)
    local book, known, prints = part.verdict.new(), {}, {}
    for i = 1, 4 do
        local from = random(math.max(#text, 1))
        prints[i] = (text:sub(from, from + 19) .. ("\7"):rep(20)):sub(1, 20)
    end
    for i = 1, random(3) do
        local hash = part.base64.encode(one_of(prints))
        local content = FILE:format(one_of({ "0", "1", "" }), one_of(URLS), one_of(URLS), hash)
        content = random(3) == 1 and mutated(content) or content
        local file = part.cnf.read(("SEP00005E00531%d.cnf.xml"):format(random(3)), content)
        if file then
            file.frame = random(2) == 1 and i or nil
            file.client = file.frame and one_of({ "\10\0\0\1", "\10\0\0\2" })
            file.path = not file.frame and file.name or nil
            book:add(file)
            known[#known + 1] = file
        end
    end
    if random(3) == 1 then
        local files = part.stated.read(part.base64.encode(one_of(prints)) .. one_of({ "", "=" .. one_of(URLS) }))
        for _, file in ipairs(files) do
            book:add(file)
            known[#known + 1] = file
        end
    end
    if random(2) == 1 then
        book:answer("vpn.example.com", "\203\0\113\1", 0)
    end
    local chain = {}
    for i = 1, random(0, 3) do
        chain[i] = {
            thumbprint = one_of(prints),
            thumbprint256 = bytes(32),
            names = one_of({ {}, { "vpn.example.com" }, { "203.0.113.1" } }),
        }
    end
    local found = book:judge({
        frame = 10,
        server = { address = one_of({ "\203\0\113\1", "\203\0\113\2" }), port = one_of({ 443, 444 }) },
        client = { address = one_of({ "\10\0\0\1", "\10\0\0\2" }), port = 50000 },
        transport = one_of({ "tcp", "udp" }),
        server_name = one_of({ "vpn.example.com", false }) or nil,
        rejected = random(3) == 1 or nil,
        chain = chain,
        most = 100,
        nowhere = function(file) return part.stated.nowhere(file, { chain }) end,
    })
    if found.verdict == "match" or found.verdict == "rejected" and #known > 0 then
        local carried = false
        for _, file in ipairs(known) do
            for _, item in ipairs(file.hashes or {}) do
                for _, certificate in ipairs(chain) do
                    carried = carried or item.digest == certificate.thumbprint or item.digest == certificate.thumbprint256
                end
            end
        end
        assert(carried, found.verdict .. " without a certificate")
    end
end

-- ---------------------------------------------------------------------------------------------------------------------

local run = assert(target[wanted], "no such target")
local made = (wanted == "http" or wanted == "handshakes") and function() return bytes(random(0, 80)) end or sample
local clock = os.clock()
for _ = 1, most do
    local input = made()
    local ok, problem = pcall(run, input)
    local now = os.clock()
    if not ok or now - clock > LONGEST then
        print("BROKE " .. hex(input) .. " " .. (ok and "too slow" or tostring(problem):gsub("%c", " ")))
    end
    clock = now
end
