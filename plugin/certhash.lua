-- certhash: the hash of every certificate in a TLS or DTLS handshake, as Cisco IP phones' configuration files write it.
--
-- This file is the Wireshark post-dissector and nothing else: it takes fields from the dissectors, hands what they hold
-- to the modules in the folder certhash beside it, and shows what they say.  The modules are plain Lua.
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

local version = module("version").version
local sha1, sha256, base64 = module("sha1"), module("sha256"), module("base64")
local address, cnf, handshakes, tftp = module("address"), module("cnf"), module("handshakes"), module("tftp")

set_plugin_info({
    version = version,
    description = "Hashes of TLS certificates as Cisco IP phones expect them, and who expects them",
    author = "The certhash authors",
})

local certhash = Proto("certhash", "Certificate hash (Cisco IP phone VPN)")

local show = {
    certificate = ProtoField.string("certhash.certificate", "Certificate"),
    sha1 = ProtoField.string("certhash.sha1", "SHA-1, Base64 (certHash)"),
    thumbprint = ProtoField.bytes("certhash.thumbprint", "Thumbprint (SHA-1)"),
    sha256 = ProtoField.string("certhash.sha256", "SHA-256, Base64"),
    position = ProtoField.uint32("certhash.position", "Position in the chain"),
    whole = ProtoField.bytes("certhash.certificate_bytes", "Certificate as it stands in the message"),
    cnf_downloaded = ProtoField.string("certhash.cnf_downloaded", "Phone configuration downloaded"),
    cnf_content = ProtoField.bytes("certhash.cnf_content", "File as transferred"),
    cnf_client = ProtoField.string("certhash.cnf_client", "Fetched by"),
    cnf_server = ProtoField.string("certhash.cnf_server", "Served by"),
}
certhash.fields = {
    show.certificate, show.sha1, show.thumbprint, show.sha256, show.position, show.whole,
    show.cnf_downloaded, show.cnf_content, show.cnf_client, show.cnf_server,
}

-- The fields of the dissectors that this one reads.  A name that this Wireshark does not know gives a reader that finds
-- nothing.  Protocols ("ip", "tftp") are there in any case; every other name makes Wireshark keep a value for us.
local function reader(name)
    local ok, field = pcall(Field.new, name)
    return ok and field or function() end
end

local read = {
    ip = reader("ip"),
    ipv6 = reader("ipv6"),
    icmp = reader("icmp"),
    icmpv6 = reader("icmpv6"),
    udp = reader("udp"),
    tftp = reader("tftp"),
    tftp_request = reader("tftp.request_frame"),
    http_body = reader("http.file_data"),
    http_code = reader("http.response.code"),
    http_length = reader("http.content_length"),
    http_encoding = reader("http.content_encoding"),
    http_response_for = reader("http.response_for.uri"),  -- up to 4.2
    http_uri = reader("http.request.uri"),                -- on responses too, from 4.4
}
-- TLS and DTLS speak of the same things under two names.
local function handshake_readers(protocol)
    return {
        type = reader(protocol .. ".handshake.type"),
        certificate = reader(protocol .. ".handshake.certificate"),
        entry_length = reader(protocol .. ".handshake.certificate_length"),
        length = reader(protocol .. ".handshake.certificates_length"),
        server_name = reader(protocol .. ".handshake.extensions_server_name"),
    }
end
local TLS, DTLS = handshake_readers("tls"), handshake_readers("dtls")

-- ---------------------------------------------------------------------------------------------------------------------
-- What is remembered of a capture

-- Frames come once in their order, and then again whenever one is looked at.  What depends on the order (who is the client,
-- what a transfer brought) is found the first time and kept here under the frame's number.  The first time is told by the
-- number: Wireshark's own mark, pinfo.visited, is set in the second pass of "tshark -2", whose first shows us no fields.
local capture

local KEPT_FILES_BYTES = 64 * 1024 * 1024

local function forget()
    capture = {
        reached = 0,  -- the last frame that was observed
        tracker = handshakes.new(),
        transfers = tftp.new(function(name) return cnf.device(name) ~= nil end),
        roles = {},  -- frame -> role of the sender of its handshake messages
        files = {},  -- frame -> configuration file that this frame completes
        files_bytes = 0,
    }
end
forget()

-- init is called twice before a file's first packet.
certhash.init = forget

-- The hashes of certificates seen, by their bytes: most certificates come again and again, and a frame is dissected anew
-- at every look.  It is emptied at times, so that a large capture of different certificates does not fill the memory.
local hashes, hashes_kept = {}, 0

local function hash(der)
    local known = hashes[der]
    if not known then
        if hashes_kept >= 4096 then
            hashes, hashes_kept = {}, 0
        end
        local digest = sha1.digest(der)
        known = { thumbprint = digest, sha1 = base64.encode(digest), sha256 = base64.encode(sha256.digest(der)) }
        hashes[der], hashes_kept = known, hashes_kept + 1
    end
    return known
end

-- ---------------------------------------------------------------------------------------------------------------------
-- What a frame holds

-- Source and target of a frame as { address = bytes, port = }.  Of tunnelled packets it is the innermost addresses, which
-- stand last; a frame without IP (EAP over a LAN) has its hardware addresses' text.
local function endpoints(pinfo)
    local four, six = { read.ip() }, { read.ipv6() }
    four, six = four[#four], six[#six]
    local source, target
    if four and not (six and six.offset > four.offset) then
        local header = four.range:bytes(0, 20):raw()
        source, target = header:sub(13, 16), header:sub(17, 20)
    elseif six then
        local header = six.range:bytes(0, 40):raw()
        source, target = header:sub(9, 24), header:sub(25, 40)
    else
        return { address = tostring(pinfo.dl_src) }, { address = tostring(pinfo.dl_dst) }
    end
    local ports = pinfo.port_type ~= 0
    return { address = source, port = ports and pinfo.src_port or nil },
        { address = target, port = ports and pinfo.dst_port or nil }
end

local function endpoint_text(side)
    return #side.address == 17 and side.address or address.text(side.address)
end

-- A packet that an ICMP error quotes is an old one, and cut short.
local function quoted()
    return read.icmp() or read.icmpv6()
end

-- Certificate messages of a frame, in their order, each a list of { info = FieldInfo, length = what the message states }.
-- The dissector gives all certificates of a frame in one row; a message's length says how far it reaches.
local function messages(readers)
    local certificates = { readers.certificate() }
    if #certificates == 0 then
        return {}
    end
    local lengths, entries = { readers.length() }, { readers.entry_length() }
    local paired = #entries == #certificates
    local found, at, floor = {}, 0, math.huge
    for i, certificate in ipairs(certificates) do
        local from = certificate.offset
        local span = lengths[at]
        if not (span and from >= floor and from < span.offset + span.len + span.value) then
            repeat
                at = at + 1
            until at >= #lengths or lengths[at].value > 0
            found[#found + 1] = {}
        end
        table.insert(found[#found], { info = certificate, length = paired and entries[i].value or certificate.len })
        floor = from + certificate.len
    end
    return found
end

-- The bytes that the message gives for a certificate, and whether that is more than Wireshark's field holds: of damaged
-- DER the field ends where the damage begins, and a phone hashes what it was sent.
local function entry_bytes(certificate)
    local info, length = certificate.info, certificate.length
    local source = info.source
    if length ~= info.value:len() and source and info.offset + length <= source:len() then
        return source:range(info.offset, length)
    end
end

-- ---------------------------------------------------------------------------------------------------------------------
-- Showing it

-- The 20 bytes of a thumbprint are nowhere in the packet: they get a place of their own among the frame's bytes, one for
-- all thumbprints of the frame.  (Bytes that are handed to a tree item as a value are taken to be as long as the item's
-- range, and memory behind them would be shown.)
local function thumbprints_tvb(chains)
    local all = {}
    for _, chain in ipairs(chains) do
        for _, certificate in ipairs(chain) do
            all[#all + 1] = certificate.thumbprint
        end
    end
    return ByteArray.new(table.concat(all), true):tvb("Thumbprints")
end

local function show_certificates(tree, found, role)
    local chains = {}
    for _, message in ipairs(found) do
        local chain = {}
        for position, certificate in ipairs(message) do
            local whole = entry_bytes(certificate)
            local known = hash(whole and whole:bytes():raw() or certificate.info.value:raw())
            chain[position] = {
                range = certificate.info.range, whole = whole, thumbprint = known.thumbprint, hash = known,
            }
        end
        chains[#chains + 1] = chain
    end
    local bytes, shown = thumbprints_tvb(chains), 0
    for _, chain in ipairs(chains) do
        for index, certificate in ipairs(chain) do
            local text = ("%d%s: %s"):format(index - 1, role and " (" .. role .. ")" or "", certificate.hash.sha1)
            local item = tree:add(show.certificate, certificate.range, text):set_generated()
            item:set_text("Certificate " .. text)
            item:add(show.sha1, certificate.range, certificate.hash.sha1):set_generated()
            item:add(show.thumbprint, bytes:range(shown * 20, 20)):set_generated()
            item:add(show.sha256, certificate.range, certificate.hash.sha256):set_generated()
            item:add(show.position, certificate.range, index - 1):set_generated()
            if certificate.whole then
                item:add(show.whole, certificate.whole):set_generated()
            end
            shown = shown + 1
        end
    end
end

local function show_file(tree, file)
    local item = tree:add(show.cnf_downloaded, file.name):set_generated()
    item:add(show.cnf_client, file.client):set_generated()
    item:add(show.cnf_server, file.server):set_generated()
    if file.content and #file.content > 0 then
        local bytes = ByteArray.new(file.content, true):tvb(file.name)
        item:add(show.cnf_content, bytes:range()):set_generated()
    end
end

-- ---------------------------------------------------------------------------------------------------------------------
-- Phone configurations on their way to the phone

local function learn(number, file, content)
    if capture.files_bytes + #content <= KEPT_FILES_BYTES then
        capture.files_bytes = capture.files_bytes + #content
        file.content = content
    end
    capture.files[number] = file
end

-- The bytes of a TFTP packet.  Its tree item covers the header alone in some versions, and what follows a datagram in the
-- frame may be padding, so that UDP's length says where it ends.  Nil where the snapshot length cut it: a block that was
-- cut must not be taken for the short block that ends a file.
local function tftp_payload(info)
    local headers = { read.udp() }
    local header, whole = headers[#headers], info.source
    if not header or not whole then
        return nil
    end
    local length = header.range:range(4, 2):uint() - 8
    if length < 4 or info.offset + length > whole:len() then
        return nil
    end
    return whole:range(info.offset, length):bytes():raw()
end

local function observe_tftp(info, pinfo)
    local payload = not quoted() and tftp_payload(info)
    if not payload then
        return
    end
    local request = read.tftp_request()
    if not request then
        capture.transfers:request(pinfo.number, payload)
        return
    end
    local done = capture.transfers:packet(request.value, payload)
    if done then
        local source, target = endpoints(pinfo)
        learn(pinfo.number, {
            name = cnf.base_name(done.name),
            server = endpoint_text(source),
            client = endpoint_text(target),
        }, done.content)
    end
end

-- The body of a response, as the server meant it (chunks joined, compression undone), is what the field's range covers;
-- its value is text in some versions, and ends at a NUL.
local function observe_http(info, tvb, pinfo)
    local code, uri = read.http_code(), read.http_response_for() or read.http_uri()
    if not code or code.value ~= 200 or not uri or tvb:len() < tvb:reported_len() then
        return
    end
    local name = cnf.base_name(uri.value)
    if not cnf.device(name) or not info.range or info.range:len() > tftp.MAX_FILE then
        return
    end
    local content = info.range:bytes():raw()
    local length = read.http_length()
    if length and not read.http_encoding() and tostring(length.value) ~= tostring(#content) then
        return  -- cut short
    end
    local source, target = endpoints(pinfo)
    learn(pinfo.number, { name = name, server = endpoint_text(source), client = endpoint_text(target) }, content)
end

-- ---------------------------------------------------------------------------------------------------------------------
-- The dissector

local function values(fields)
    for i, info in ipairs(fields) do
        fields[i] = info.value
    end
    return fields
end

local function observe_handshake(pinfo)
    local source, target = endpoints(pinfo)
    local name = TLS.server_name() or DTLS.server_name()
    local types = values({ TLS.type() })
    for _, type in ipairs(values({ DTLS.type() })) do
        types[#types + 1] = type
    end
    local _, role = capture.tracker:observe({
        number = pinfo.number,
        source = source,
        target = target,
        types = types,
        server_name = name and name.value,
    })
    return role
end

function certhash.dissector(tvb, pinfo, tree)
    -- SSL 2 has certificates without handshake types.
    local shaking, transfer, body = TLS.type() or DTLS.type() or TLS.certificate(), read.tftp(), read.http_body()
    if not (shaking or transfer or body) then
        return
    end
    local number = pinfo.number
    local own  -- this dissector's subtree, made when there is something to put in it
    local function subtree()
        own = own or tree:add(certhash):set_generated()
        return own
    end
    if number > capture.reached then
        capture.reached = number
        if shaking then
            capture.roles[number] = observe_handshake(pinfo)
        end
        if transfer then
            observe_tftp(transfer, pinfo)
        elseif body then
            observe_http(body, tvb, pinfo)
        end
    end
    if shaking then
        local found = messages(TLS)
        for _, message in ipairs(messages(DTLS)) do
            found[#found + 1] = message
        end
        if #found > 0 then
            show_certificates(subtree(), found, capture.roles[number])
        end
    end
    if capture.files[number] then
        show_file(subtree(), capture.files[number])
    end
end

register_postdissector(certhash)
