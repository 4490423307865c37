-- certhash: the hash of every certificate in a TLS or DTLS handshake, as in the cnf files of Cisco IP phones.
--
-- This file connects Wireshark to the modules in the folder certhash beside it: frame (what a frame holds), memory (what is
-- remembered of a capture), show (what is shown of it), batch (lines for a program), carriers (TLS in other protocols) and
-- menu.
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
    return chunk()
end

-- All are loaded before anything is declared: a script that fails later leaves fields behind that nothing fills.
local part = module("plain").connected(module)
for _, name in ipairs({ "batch", "carriers", "fields", "frame", "memory", "show" }) do
    part[name] = module(name)
end

local version = part.version.version
local address, folder, handshakes, menu = part.address, part.folder, part.handshakes, part.menu
local stated, story, visible = part.stated, part.story, part.visible

set_plugin_info({
    version = version,
    description = "Hashes of TLS certificates as Cisco IP phones expect them, and who expects them",
    author = "The certhash authors",
})

-- A batch run prints lines of text instead of a tree.  A server (sharkd) dissects captures in sequence, and continues
-- when it has read a line.
local FOR = os.getenv("CERTHASH_BATCH")
local BATCH = FOR == "1" or FOR == "engine"

local certhash = Proto("certhash", "Certificate hash (Cisco IP phone VPN)")
local field, warn = part.fields.declare(certhash)

certhash.prefs.cnf_directory = Pref.string("cnf folder", "",
    "Folder with SEP<MAC>.cnf.xml files (plain or signed), copied from flash or from the TFTP server. "
    .. "It is read once, at the first certificate. Tools > certhash > Reload cnf folder reads it again.")
certhash.prefs.expect = Pref.string("Expected hash", "",
    "A hash that phones expect, without any file: Base64, or hex as in a thumbprint. HASH=https://HOST/PATH is for one "
    .. "head-end, HASH alone for any. Separate several with semicolons.")
certhash.prefs.learn_from_capture = Pref.bool("Learn cnf files from the capture", true,
    "Use the cnf files that phones download in the capture over TFTP or HTTP, from then on.")
certhash.prefs.follow_tls = Pref.bool("Find TLS inside RDP, upgraded HTTP and OpenVPN", false,
    "Dissect TLS where Wireshark does not look for it. This changes the dissection of such connections. On a "
    .. "registered port it also needs TCP's preference to try heuristic sub-dissectors first. An audit always does it.")
certhash.prefs.info_column = Pref.bool("Show the verdict in the Info column", true,
    "Add match, mismatch or rejected to the Info column of packets with certificates.")

-- The cnf folder is kept from capture to capture.  It is read when it is first needed, because preferences have their
-- defaults while this script is loaded, and because reading thousands of files takes long.
local directory  -- { path =, files =, problems =, copies = }, or nil

local function list_folder(path)
    local ok, names = pcall(Dir.open, path)
    if ok and names then
        return names
    end
    return nil, Dir.exists(path) and "this folder cannot be read" or "there is no such folder"
end

local function read_directory()
    local path = certhash.prefs.cnf_directory
    if not directory or directory.path ~= path then
        directory = { files = {}, problems = {}, copies = {} }
        if path ~= "" then
            directory = folder.read(path, {
                list = list_folder,
                is_folder = function(name) return Dir.exists(name) == true end,
                open = io.open,
            })
        end
        directory.path = path
        if #directory.problems > 0 then
            report_failure("certhash: " .. directory.problems[1]
                .. (#directory.problems > 1 and ("\n\nTools > certhash > Certificates in this capture lists %d more.")
                    :format(#directory.problems - 1) or ""))
        end
    end
    return directory
end

-- The files that count from the first frame on: those of the folder, and the hashes that the user states.
local function files_from_the_start()
    local files = {}
    for _, file in ipairs(read_directory().files) do
        files[#files + 1] = file
    end
    local told, problems = stated.read(certhash.prefs.expect)
    for _, file in ipairs(told) do
        files[#files + 1] = file
    end
    if #problems > 0 then
        report_failure("certhash: " .. table.concat(problems, "; "))
    end
    return files
end

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

local frame = part.frame.using({
    reader = reader,
    handshakes = handshakes,
    story = story,
    know = part.certificates,
})
local memory = part.memory.using({
    address = address,
    batch = BATCH,
    cnf = part.cnf,
    folder_files = files_from_the_start,
    nowhere = stated.nowhere,
    frame = frame,
    handshakes = handshakes,
    http = part.http,
    names = part.names,
    tftp = part.tftp,
    verdict = part.verdict,
    visible = visible,
})

-- Wireshark calls init twice before a file's first packet.
certhash.init = memory.forget

local function endpoint_text(endpoint)
    local bytes, port = handshakes.split(endpoint)
    return story.endpoint(address.text(bytes), port)
end

local show = part.show.using({
    endpoint_text = endpoint_text,
    field = field,
    info_column = function() return certhash.prefs.info_column end,
    memory = memory,
    protocol = certhash,
    story = story,
    visible = visible,
    warn = warn,
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
        version = version,
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
        write = function(text) io.stdout:write(text) end,
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
part.carriers.using({
    openvpn = part.openvpn,
    upgrade = part.upgrade,
    wanted = function() return BATCH or certhash.prefs.follow_tls end,
})

if gui_enabled() then
    menu.register({
        handshakes = memory.handshakes,
        endpoint = endpoint_text,
        judge = function(handshake) return memory.judge(handshake.server_sent, 100) end,
        problems = function() return read_directory().problems end,
        copies = function() return read_directory().copies end,
        files = function() return memory.book().files end,
        reload = function()
            directory = nil
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
