-- Run by test_menus.py: the menus with a window, a clipboard and dialogs that write down what they are given.
local modules, saved, given = arg[1], arg[2], arg[3]
local part = dofile(modules .. "/plain.lua").connected(function(name) return loadfile(modules .. "/" .. name .. ".lua") end)
local address, base64, cnf, menu = part.address, part.base64, part.cnf, part.menu

local function say(kind, text)
    for line in (tostring(text) .. "\n"):gmatch("(.-)\n") do
        io.write(kind, "|", line, "\n")
    end
end

-- Three head-ends: one matches, one does not, and no cnf file names the third.
local book = part.verdict.new()
local ONE, TWO, THREE = ("\1"):rep(20), ("\2"):rep(20), ("\3"):rep(20)
local function expect(device, host, digest)
    local content = ("<device><vpnGroup><addresses><url1>https://%s/x</url1></addresses><credentials><hashAlg>0</hashAlg>"
        .. "<certHash1>%s</certHash1></credentials></vpnGroup></device>"):format(host, base64.encode(digest))
    local file = assert(cnf.read(device .. ".cnf.xml", content))
    file.path = device .. ".cnf.xml"
    book:add(file)
end
expect("SEP000000000001", "203.0.113.1", ONE)
expect("SEP000000000002", "203.0.113.2", ONE)

local function handshake(frame, host, digest, refused)
    return {
        client = { address = "\192\0\2\7", port = 50000 },
        server = { address = address.parse(host), port = 443 },
        server_sent = {
            frame = frame, time = 0, transport = "tcp",
            refusal = refused and { frame = frame + 1, code = 42, after = 0.01 },
            chain = { { thumbprint = digest, thumbprint256 = "", sha1 = base64.encode(digest), subject = "CN=" .. host,
                names = { host } } },
        },
    }
end
local handshakes = given == "nothing" and {} or {
    handshake(10, "203.0.113.3", THREE),
    handshake(20, "203.0.113.1", ONE),
    handshake(30, "203.0.113.2", TWO, true),
    handshake(40, "203.0.113.2", TWO, true),
}
if given == "shared" then  -- five phones with one finding, at a head-end that is asked for with a name and without
    for i = 3, 6 do
        expect("SEP00000000000" .. i, "203.0.113.2", ONE)
    end
    handshakes[4].server_name = "vpn.example"
end
if handshakes[1] then
    handshakes[1].server_name = "vpn.example"
end

local actions, asked, buttons = {}, {}, {}
local gui = {
    handshakes = function() return handshakes end,
    endpoint = function(server) return address.text(server.address) .. ":" .. server.port end,
    judge = function(one)
        local sent = one.server_sent
        return book:judge({ frame = sent.frame, server = one.server, client = one.client, transport = "tcp",
            chain = sent.chain, rejected = sent.refusal, most = 10 })
    end,
    copies = function() return given == "broken" and { "cnf/SEP0.cnf.xml.bak" } or {} end,
    problems = function() return given == "broken" and { "cnf/SEP0.cnf.xml: it is empty" } or {} end,
    files = function() return book.files end,
    reload = function() say("RELOAD", "") end,
    folder = function() return given == "unset" and "" or "/cnf" end,
    register_menu = function(name, action) actions[name] = action end,
    register_packet_menu = function(name, action, fields)
        actions[name], asked[name] = action, fields
    end,
    window = function(title)
        say("WINDOW", title)
        return {
            set = function(_, text) say("TEXT", text) end,
            set_editable = function() end,
            add_button = function(_, name, action) buttons[name] = action end,
        }
    end,
    ask = function(_, action) action(saved) end,
    copy = function(text) say("COPY", text) end,
    filter = function(text) say("FILTER", text) end,
    fail = function(text) say("FAIL", text) end,
    open = io.open,
}
if given == "old" then
    gui.register_packet_menu = nil
end
menu.register(gui)

local names = {}
for name in pairs(actions) do
    names[#names + 1] = name
end
table.sort(names)
say("MENUS", table.concat(names, ", "))
actions["certhash/Certificates in this capture"]()
if buttons["Save"] then
    buttons["Save"]()
    say("SORT", "")
    buttons["Change order"]()
end
actions["certhash/Copy certHash line"]()
actions["certhash/Reload cnf folder"]()
if actions["certhash/Copy Base64 hash"] then
    local fields = {
        { name = "frame.number", value = 7 },
        { name = "certhash.sha1", value = "AQEBAQ==" },
        { name = "certhash.thumbprint", value = { tohex = function() return "01010101" end } },
        { name = "certhash.sha1", value = "of the next one" },
    }
    for _, name in ipairs({ "Copy Base64 hash", "Copy thumbprint", "Filter on this hash" }) do
        actions["certhash/" .. name](table.unpack(fields))
        say("ASKED", asked["certhash/" .. name])
        actions["certhash/" .. name]()  -- no field: nothing happens
    end
end
