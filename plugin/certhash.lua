-- certhash: the hash of every certificate in a TLS or DTLS handshake, as in the cnf files of Cisco IP phones.
--
-- This file connects Wireshark to the modules in the folder certhash beside it: preferences, frame (what a frame holds),
-- memory (what is remembered of a capture), show (what is shown of it), batch (lines for a program), carriers (TLS in other
-- protocols) and menu.
--
-- One source for Lua 5.2 (Wireshark up to 4.2) and Lua 5.4 (from 4.4).

-- The modules lie beside this file, wherever it is: in the personal plugin folder, in a checkout, in a Python package.
-- They are loaded by path, so that a second copy elsewhere on Lua's path can never be mixed in.
local HERE = debug.getinfo(1, "S").source:gsub("^@", ""):match("^(.*[/\\])") or ""

local function module(name)
    local chunk, problem = loadfile(HERE .. "certhash/" .. name .. ".lua")
    if not chunk then
        error("certhash: the folder certhash must lie beside certhash.lua: " .. tostring(problem), 0)
    end
    return chunk
end

-- All are loaded before anything is declared: a script that fails later leaves fields behind that nothing fills.
local part = module("plain")().connected(module)
for _, name in ipairs({ "batch", "carriers", "fields", "frame", "memory", "preferences", "show" }) do
    part[name] = module(name)(part)
end

set_plugin_info({
    version = part.version.version,
    description = "Hashes of TLS certificates as Cisco IP phones expect them, and who expects them",
    author = "The certhash authors",
})

-- A batch run prints lines of text instead of a tree.  A server (sharkd) dissects captures in sequence, and continues
-- when it has read a line.
local FOR = os.getenv("CERTHASH_BATCH")
local BATCH = FOR == "1" or FOR == "engine"

local certhash = Proto("certhash", "Certificate hash (Cisco IP phone VPN)")
local field, warn = part.fields.declare(certhash)

part.preferences.declare(certhash)
local given = part.preferences.reading(certhash.prefs)

-- The fields of the dissectors that this one reads.  A name that this Wireshark does not know gives a reader that finds
-- nothing.  Protocols ("ip", "tftp") are there in any case; every other name makes Wireshark keep a value for us.
local names_read = {}

local function reader(name)
    local ok, extractor = pcall(Field.new, name)
    if not ok then
        return function() end
    end
    names_read[#names_read + 1] = name
    return extractor
end

local frame = part.frame.reading(reader)
local memory = part.memory.using({ frame = frame, batch = BATCH, files = given.files })

-- Wireshark calls init twice before a file's first packet.
certhash.init = memory.forget

local show = part.show.using({
    protocol = certhash,
    field = field,
    warn = warn,
    memory = memory,
    info_column = function() return certhash.prefs.info_column end,
})

local read, TLS, DTLS, has, values_or_nil = frame.read, frame.tls, frame.dtls, frame.has, frame.values_or_nil
local TCP, UDP, CERTIFICATE = frame.TCP, frame.UDP, frame.CERTIFICATE

function certhash.dissector(tvb, pinfo, tree)
    -- Nearly all packets end here, so that the fewest questions are asked of each: what comes over TCP is no TFTP, and DNS
    -- over TCP names no head-end of a phone.  QUIC has no TLS layer around its handshake, and certificates of SSL 2 have
    -- no handshake type, or one of its own.
    local transport = pinfo.port_type
    local tls, dtls, alert, transfer, http, lookup
    if transport == UDP and read.quic() or read.tls() then
        tls = values_or_nil(TLS.type()) or TLS.certificate() and {}
        alert = TLS.alert_message()
    end
    if transport ~= UDP then
        http = read.http()
    end
    if transport ~= TCP then
        if read.dtls() then
            dtls = values_or_nil(DTLS.type())
            alert = alert or DTLS.alert_message()
        end
        transfer, lookup = read.tftp(), read.dns()
    end
    if not (tls or dtls or alert or transfer or http or lookup) then
        return
    end
    local found = {}
    if tls and (has(tls, CERTIFICATE) or TLS.certificate()) then
        frame.messages(TLS, found)
    end
    if dtls and has(dtls, CERTIFICATE) then
        frame.messages(DTLS, found)
    end
    memory.observe(tvb, pinfo, {
        types = tls or dtls,
        messages = found,
        alert = alert,
        lookup = lookup,
        transfer = transfer,
        http = http,
    }, certhash.prefs.learn_from_capture)
    show(tree, pinfo, found)
end

if BATCH then
    local line = part.batch.using({
        version = part.version.version,
        wireshark = get_version(),
        names_read = names_read,
        one_pass_server = FOR == "engine",
        reader = reader,
        frame = frame,
        file = function(tvb, pinfo)
            if certhash.prefs.learn_from_capture then
                return memory.take_file(tvb, pinfo)
            end
        end,
        write = function(...) io.stdout:write(...) end,
    })
    if FOR == "engine" then
        io.stdout:flush()
        io.stdin:read("*l")
    end
    function certhash.dissector(tvb, pinfo)
        line(tvb, pinfo)
    end
end

register_postdissector(certhash)

-- Wireshark follows TLS neither after X.224, nor after an upgrade of HTTP, nor in OpenVPN on another port.  To follow it
-- changes what Wireshark dissects, which an annotation must not do unasked: in the window, the user switches it on.
part.carriers.follow(function() return BATCH or certhash.prefs.follow_tls end)

if gui_enabled() then
    part.menu.register({
        handshakes = memory.handshakes,
        endpoint = memory.endpoint_text,
        judge = function(handshake) return memory.judge(handshake.server_sent, 100) end,
        problems = function() return given.directory().problems end,
        copies = function() return given.directory().copies end,
        files = function() return memory.book().files end,
        reload = function()
            given.forget()
            redissect_packets()
        end,
        folder = function() return certhash.prefs.cnf_directory end,
        register_menu = function(name, action) register_menu(name, action, MENU_TOOLS_UNSORTED) end,
        register_packet_menu = register_packet_menu,
        window = function(title) return TextWindow.new(title) end,
        ask = new_dialog,
        copy = copy_to_clipboard,
        filter = function(text)
            set_filter(text)
            apply_filter()
        end,
        fail = report_failure,
        open = io.open,
    })
end
