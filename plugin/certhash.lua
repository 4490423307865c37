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
local address, visible, x509 = module("address"), module("visible"), module("x509")
local cnf = module("cnf").using({ base64 = base64, address = address, xml = module("xml") })
local folder = module("folder").using({ cnf = cnf, visible = visible })
local story = module("story").using({ visible = visible })
local handshakes, tftp, verdict = module("handshakes"), module("tftp"), module("verdict")
local menu = module("menu").using({ story = story, visible = visible })

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
    match = ProtoField.bool("certhash.match", "Listed in a known configuration"),
    device = ProtoField.string("certhash.device", "Device"),
    cnf = ProtoField.string("certhash.cnf", "Configuration file"),
    url = ProtoField.string("certhash.url", "Told to use"),
    verdict = ProtoField.string("certhash.verdict", "Verdict"),
    story = ProtoField.string("certhash.story", "In words"),
    certificate_in = ProtoField.framenum("certhash.certificate_in", "Rejected certificate in", base.NONE,
        frametype.REQUEST),
    rejected_in = ProtoField.framenum("certhash.rejected_in", "Rejected in", base.NONE, frametype.RESPONSE),
    cnf_downloaded = ProtoField.string("certhash.cnf_downloaded", "Phone configuration downloaded"),
    cnf_content = ProtoField.bytes("certhash.cnf_content", "File as transferred"),
    cnf_client = ProtoField.string("certhash.cnf_client", "Fetched by"),
    cnf_server = ProtoField.string("certhash.cnf_server", "Served by"),
    cnf_problem = ProtoField.string("certhash.cnf_problem", "Cannot be used"),
}
local warn = {
    mismatch = ProtoExpert.new("certhash.expert.mismatch", "The certificate is not the one that phones are told to expect",
        expert.group.SECURITY, expert.severity.WARN),
    rejected = ProtoExpert.new("certhash.expert.rejected", "The certificate was rejected",
        expert.group.SECURITY, expert.severity.ERROR),
    match = ProtoExpert.new("certhash.expert.match", "The certificate is one that phones are told to expect",
        expert.group.SECURITY, expert.severity.CHAT),
    stale = ProtoExpert.new("certhash.expert.stale", "The copy in the folder is not what the phone fetched",
        expert.group.SECURITY, expert.severity.WARN),
    unusable = ProtoExpert.new("certhash.expert.unusable", "The phone configuration cannot be used",
        expert.group.SECURITY, expert.severity.NOTE),
}
do
    local fields, experts = {}, {}
    for _, field in pairs(show) do
        fields[#fields + 1] = field
    end
    for _, field in pairs(warn) do
        experts[#experts + 1] = field
    end
    certhash.fields, certhash.experts = fields, experts
end

certhash.prefs.cnf_directory = Pref.string("Folder of phone configurations", "",
    "A folder with SEP<MAC>.cnf.xml files (plain or signed), copied from the call agent's flash or TFTP server. "
    .. "It is read once, when the first certificate is looked at; Tools > certhash > Reload cnf folder reads it again.")
certhash.prefs.learn_from_capture = Pref.bool("Learn configurations from the capture", true,
    "Read the configuration files that phones fetch in the capture, over TFTP or HTTP, and use them for what follows.")
certhash.prefs.follow_tls = Pref.bool("Follow TLS inside RDP, upgraded HTTP and OpenVPN", false,
    "Dissect TLS where Wireshark does not look for it. This changes how such connections are dissected. On a registered "
    .. "port it also takes TCP's preference to try heuristic sub-dissectors first. certhash audit always does it.")
certhash.prefs.info_column = Pref.bool("Show the verdict in the Info column", true,
    "Add match, mismatch or rejected to the Info column of packets with certificates.")

-- The fields of the dissectors that this one reads.  A name that this Wireshark does not know gives a reader that finds
-- nothing.  Protocols ("ip", "tftp") are there in any case; every other name makes Wireshark keep a value for us.
local function reader(name)
    local ok, field = pcall(Field.new, name)
    return ok and field or function() end
end

local read = {
    ip = reader("ip"),
    ipv6 = reader("ipv6"),
    protocols = reader("frame.protocols"),
    icmp = reader("icmp"),
    icmpv6 = reader("icmpv6"),
    udp = reader("udp"),
    tls = reader("tls"),
    dtls = reader("dtls"),
    quic = reader("quic"),
    dns = reader("dns"),
    dns_name = reader("dns.qry.name"),
    dns_owner = reader("dns.resp.name"),
    dns_alias = reader("dns.cname"),
    dns_a = reader("dns.a"),
    dns_aaaa = reader("dns.aaaa"),
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
local function tls_readers(protocol)
    return {
        type = reader(protocol .. ".handshake.type"),
        random = reader(protocol .. ".handshake.random"),
        certificate = reader(protocol .. ".handshake.certificate"),
        entry_length = reader(protocol .. ".handshake.certificate_length"),
        length = reader(protocol .. ".handshake.certificates_length"),
        server_name = reader(protocol .. ".handshake.extensions_server_name"),
        alert = reader(protocol .. ".alert_message.desc"),
        alert_level = reader(protocol .. ".alert_message.level"),
    }
end
local TLS, DTLS = tls_readers("tls"), tls_readers("dtls")
local FATAL = 2
local TCP, UDP = 2, 3  -- pinfo.port_type

-- A program that reads whole captures, and says so, gets lines of text; nothing is shown then.
local BATCH = os.getenv("CERTHASH_BATCH") == "1"

-- How many devices are named under a certificate: hundreds of phones may have the same hash.
local MOST_DEVICES = 20

-- ---------------------------------------------------------------------------------------------------------------------
-- What is remembered

-- Frames come once in their order, and then again whenever one is looked at.  What depends on the order (who is the client,
-- what a transfer brought) is found the first time and kept here under the frame's number.  The first time is told by
-- Wireshark's own mark, pinfo.visited, and by the number: the mark is set in the second pass of "tshark -2", whose first
-- shows us no fields, and a frame that a read filter leaves out has the number of the next one.
local capture

local KEPT_FILES_BYTES = 64 * 1024 * 1024

local function forget()
    capture = {
        reached = 0,  -- the last frame that was observed
        trackers = { [false] = handshakes.new(), [true] = handshakes.new() },  -- [over UDP]: its ports are not those of TCP
        transfers = tftp.new(function(name) return cnf.device(name) ~= nil end),
        book = verdict.new(),
        book_has_folder = false,
        sent = {},        -- frame -> the certificates in it, and the handshake that they belong to
        alerts = {},      -- frame -> the refusal of certificates in it
        handshakes = {},  -- those whose server sent certificates, in their order
        files = {},       -- frame -> configuration file that this frame completes
        files_bytes = 0,
    }
end
forget()

-- init is called twice before a file's first packet.
certhash.init = forget

-- The folder of configurations outlives a capture.  It is read when it is first needed, since preferences have their
-- defaults while this script is loaded, and since reading thousands of files takes its time.
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
                .. (#directory.problems > 1 and (" (and %d more)"):format(#directory.problems - 1) or ""))
        end
    end
    return directory
end

local function book()
    if not capture.book_has_folder then
        capture.book_has_folder = true
        for _, file in ipairs(read_directory().files) do
            capture.book:add(file)
        end
    end
    return capture.book
end

-- Certificates seen, by their bytes: most come again and again, and a frame is dissected anew at every look.  What is known
-- of one (its digests, their Base64, its subject) is found out when somebody asks, and then kept instead of the bytes.
local derive = {
    thumbprint = function(known) return sha1.digest(known.der) end,
    thumbprint256 = function(known) return sha256.digest(known.der) end,
    sha1 = function(known) return base64.encode(known.thumbprint) end,
    sha256 = function(known) return base64.encode(known.thumbprint256) end,
    subject = function(known)
        local subject = x509.subject(known.der)
        return subject and visible.text(subject, 200) or "no X.509 certificate"
    end,
}
local Known = {
    __index = function(known, name)
        local make = derive[name]
        local value = make and make(known)
        rawset(known, name, value)
        return value
    end,
}

local certificates, certificates_kept = {}, 0
local MOST_CERTIFICATES = 4096

local function know(der)
    local known = certificates[der]
    if not known then
        if certificates_kept >= MOST_CERTIFICATES then
            -- So that a large capture of different certificates does not fill the memory.  Handshakes go on knowing theirs.
            for _, other in pairs(certificates) do
                for name in pairs(derive) do
                    other[name] = other[name]
                end
                other.der = nil
            end
            certificates, certificates_kept = {}, 0
        end
        known = setmetatable({ der = der }, Known)
        certificates[der], certificates_kept = known, certificates_kept + 1
    end
    return known
end

-- ---------------------------------------------------------------------------------------------------------------------
-- What a frame holds

-- The last of some values: of a protocol that stands in itself, the innermost.
local function last(...)
    local count = select("#", ...)
    if count > 0 then
        return (select(count, ...))
    end
end

-- The innermost header of IP, as one of version 4 or one of version 6.  Which of two is within the other is told by the
-- frame's protocols in their order: what a tunnel's fragments were put together to has places of its own.
local function innermost_ip()
    local four, six = last(read.ip()), last(read.ipv6())
    if four and six and (":" .. tostring(read.protocols()) .. ":"):match(".*:(ip[v6]*):") == "ipv6" then
        four = nil
    end
    return four, six
end

-- Source and target of a frame, as handshakes.endpoint writes them.  Of tunnelled packets it is the innermost addresses;
-- a frame without IP (EAP over a LAN) has its hardware addresses' text.
local function endpoints(pinfo)
    local four, six = innermost_ip()
    local source, target
    if four then
        local header = four.range
        source, target = header:raw(12, 4), header:raw(16, 4)
    elseif six then
        local header = six.range
        source, target = header:raw(8, 16), header:raw(24, 16)
    else
        return handshakes.endpoint(tostring(pinfo.dl_src), 0), handshakes.endpoint(tostring(pinfo.dl_dst), 0)
    end
    if pinfo.port_type == 0 then
        return handshakes.endpoint(source, 0), handshakes.endpoint(target, 0)
    end
    return handshakes.endpoint(source, pinfo.src_port), handshakes.endpoint(target, pinfo.dst_port)
end

local function address_text(endpoint)
    return address.text((handshakes.split(endpoint)))
end

local function endpoint_text(endpoint)
    local bytes, port = handshakes.split(endpoint)
    return story.endpoint(address.text(bytes), port)
end

-- A packet that an ICMP error quotes is an old one, and cut short.
local function quoted()
    return read.icmp() or read.icmpv6()
end

local function values(fields)
    for i, info in ipairs(fields) do
        fields[i] = info.value
    end
    return fields
end

-- The values of some fields, nil where there are none.  (Each FieldInfo costs more than all that is done with it, so that
-- none is asked for twice.)
local function values_or_nil(first, ...)
    if first == nil then
        return nil
    end
    local list = { first.value }
    for i = 1, select("#", ...) do
        list[i + 1] = (select(i, ...)).value
    end
    return list
end

-- Handshake types that matter here.
local CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = 1, 2, 11

local function has(types, wanted)
    for _, type in ipairs(types) do
        if type == wanted then
            return true
        end
    end
    return false
end

-- The bytes that the message gives for a certificate, where Wireshark's field holds others: of damaged DER the field ends
-- where the damage begins, and a phone hashes what it was sent.
local function entry_bytes(info, length)
    local source = info.source
    if length and length.value ~= info.len and source and info.offset + length.value <= source:len() then
        return source:range(info.offset, length.value)
    end
end

-- Certificate messages of a frame, in their order, added to a list; each is a list of { range =, known =, whole = }.  The
-- dissector gives all certificates of a frame in one row; a message's length says how far it reaches.
local function messages(readers, found)
    local infos = { readers.certificate() }
    if #infos == 0 then
        return found
    end
    local entries = { readers.entry_length() }
    local lengths = #infos > 1 and { readers.length() } or {}
    local paired = #entries == #infos
    local message, at, floor = nil, 0, math.huge
    for i, info in ipairs(infos) do
        local from = info.offset
        local span = lengths[at]
        if not (span and from >= floor and from < span.offset + span.len + span.value) then
            repeat
                at = at + 1
            until at >= #lengths or lengths[at].value > 0
            message = {}
            found[#found + 1] = message
        end
        local range, whole = info.range, paired and entry_bytes(info, entries[i]) or nil
        local der = whole and whole:raw() or info.len > 0 and range:raw() or ""
        local damaged = paired and #der ~= entries[i].value
        message[#message + 1] = { range = range, known = know(der), whole = whole, damaged = damaged }
        floor = from + info.len
    end
    return found
end

-- ---------------------------------------------------------------------------------------------------------------------
-- The first look at a frame

local function learn(pinfo, name, content, source, target)
    local number = pinfo.number
    local file = {
        name = visible.text(cnf.base_name(name), 200),
        server = address_text(source),
        client = address_text(target),
    }
    if BATCH then
        file.content = content
        capture.files[number] = file
        return
    end
    if capture.files_bytes + #content <= KEPT_FILES_BYTES then
        capture.files_bytes = capture.files_bytes + #content
        file.content = content
    end
    file.read, file.problem = cnf.read(name, content)
    if file.read then
        file.read.frame, file.read.client = number, (handshakes.split(target))
        capture.book:add(file.read)
        local problems = cnf.problems(file.read)
        file.problem = #problems > 0 and table.concat(problems, "; ") or nil
    end
    capture.files[number] = file
end

-- The bytes of a TFTP packet.  Its tree item covers the header alone in some versions, and what follows a datagram in the
-- frame may be padding, so that UDP's length says where it ends.  Nil where the snapshot length cut it: a block that was
-- cut must not be taken for the short block that ends a file.
local function tftp_payload(info)
    local header, whole = last(read.udp()), info.source
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
        learn(pinfo, done.name, done.content, endpoints(pinfo))
    end
end

-- The body of a response, as the server meant it (chunks joined, compression undone), is what the field's range covers;
-- its value is text in some versions, and ends at a NUL.
local function observe_http(info, tvb, pinfo)
    local code, uri = read.http_code(), read.http_response_for() or read.http_uri()
    if not code or code.value ~= 200 or not uri or tvb:len() < tvb:reported_len() then
        return
    end
    if not cnf.device(uri.value) or not info.range or info.range:len() > tftp.MAX_FILE then
        return
    end
    local content = info.range:bytes():raw()
    local length = read.http_length()
    if length and not read.http_encoding() and tostring(length.value) ~= tostring(#content) then
        return  -- cut short
    end
    learn(pinfo, uri.value, content, endpoints(pinfo))
end

-- A name and its addresses, as an answer of DNS gives them.  Of a chain of aliases it is the name that was asked for.  What
-- else stands in the answer (name servers, mostly) has addresses of its own: a record's name is the last one before them.
local function observe_dns(pinfo)
    local name = read.dns_name()
    if not name or quoted() then
        return
    end
    local asked = { [name.value:lower()] = true }
    for _, alias in ipairs({ read.dns_alias() }) do
        asked[alias.value:lower()] = true
    end
    local owners = { read.dns_owner() }
    for _, answers in ipairs({ { read.dns_a() }, { read.dns_aaaa() } }) do
        local at = 0
        for _, answer in ipairs(answers) do
            while owners[at + 1] and owners[at + 1].offset < answer.offset do
                at = at + 1
            end
            if owners[at] and asked[owners[at].value:lower()] then
                capture.book:answer(name.value, answer.range:bytes():raw(), pinfo.number)
            end
        end
    end
end

-- Whether an alert is a plain one: ciphertext may look like one, and Wireshark then takes it for one (in DTLS).  A record
-- of a plain alert has two bytes, and encrypted ones have more (RFC 5246, section 6.2.3); the length stands right before
-- them.  What Wireshark deciphered lies in a place of its own, where nothing stands before it.
local function is_plain(level)
    local source, at = level.source, level.offset
    return at < 2 or source ~= nil and source:range(at - 2, 2):uint() == 2
end

-- The refusal of a certificate among a frame's alerts, if there is one: its code.
local function refused(readers)
    local levels, codes = { readers.alert_level() }, values({ readers.alert() })
    for i, code in ipairs(codes) do
        if story.REFUSALS[code] and levels[i].value == FATAL and is_plain(levels[i]) then
            return code
        end
    end
    return nil
end

local function same(chain, other)
    for i = 1, math.max(#chain, #other) do
        if chain[i] ~= other[i] then
            return false
        end
    end
    return true
end

local function observe_handshake(pinfo, types, found)
    -- What a ClientHello adds is the name it asks for: a URL that becomes known later may be of that name.  The rest of a
    -- handshake says nothing that is needed here.
    local hello = has(types, CLIENT_HELLO)
    if not (hello or #found > 0 or has(types, SERVER_HELLO)) then
        return
    end
    local source, target = endpoints(pinfo)
    local name = hello and (TLS.server_name() or DTLS.server_name())
    name = name and name.value:lower():gsub("%.$", "") or nil
    local random = TLS.random() or DTLS.random()
    random = random and random.range:raw() or nil
    local over_udp = pinfo.port_type == UDP
    local handshake, role = capture.trackers[over_udp]:observe(source, target, types, name, random)
    if name and role == "client" then
        capture.book:answer(name, (handshakes.split(target)), pinfo.number)
    end
    if #found > 0 then
        local chain = {}
        for _, message in ipairs(found) do
            for _, certificate in ipairs(message) do
                chain[#chain + 1] = certificate.known
            end
        end
        local whose = role == "client" and "client_sent" or "server_sent"
        local sent = handshake[whose]
        -- What DTLS sends again, since it was lost, was sent once.
        if not (sent and over_udp and same(sent.chain, chain)) then
            sent = {
                frame = pinfo.number,
                time = pinfo.abs_ts,  -- the relative time begins anew at every packet that is marked as a reference
                chain = chain,
                over_udp = over_udp,
                handshake = handshake,
                role = role,
            }
        end
        if role ~= "client" then
            if not handshake.server_sent then
                capture.handshakes[#capture.handshakes + 1] = handshake
            end
            handshake.server = handshake.server or source
            handshake.client = handshake.client or target
        end
        handshake[whose] = sent
        capture.sent[pinfo.number] = sent
    end
end

-- An alert answers the other side's certificates; the first one counts.
local function observe_alert(pinfo)
    local code = refused(TLS) or refused(DTLS)
    local handshake, role = capture.trackers[pinfo.port_type == UDP]:find(endpoints(pinfo))
    if not code or not handshake then
        return
    end
    local sent
    if role == "server" then
        sent = handshake.client_sent
    else
        sent = handshake.server_sent
    end
    if not sent then
        return
    end
    local alert = { frame = pinfo.number, code = code, after = pinfo.abs_ts - sent.time, sent = sent }
    sent.refusal = sent.refusal or alert
    capture.alerts[pinfo.number] = alert
end

-- ---------------------------------------------------------------------------------------------------------------------
-- Judging

-- The verdict on the certificates that a server sent; nil for a client's.
local function judge(sent, most)
    if sent.role == "client" then
        return nil
    end
    local handshake = sent.handshake
    local server, port = handshakes.split(handshake.server)
    return book():judge({
        frame = sent.frame,
        server = { address = server, port = port },
        client = { address = (handshakes.split(handshake.client)) },
        transport = sent.over_udp and "udp" or "tcp",
        server_name = handshake.server_name,
        chain = sent.chain,
        rejected = sent.refusal,
        most = most or MOST_DEVICES,
    })
end

local function refusal_text(alert, judgement)
    local sent = alert.sent
    local by = sent.role == "client" and sent.handshake.server or sent.handshake.client
    local refusal = { by = address_text(by), code = alert.code, after = alert.after }
    return story.refusal(refusal, sent.chain[1].sha1, judgement)
end

-- ---------------------------------------------------------------------------------------------------------------------
-- Showing it

-- The 20 bytes of a thumbprint are nowhere in the packet: they get a place of their own among the frame's bytes, one for
-- all thumbprints of the frame.  (Bytes that are handed to a tree item as a value are taken to be as long as the item's
-- range, and memory behind them would be shown.)
local function thumbprints_tvb(found)
    local all = {}
    for _, message in ipairs(found) do
        for _, certificate in ipairs(message) do
            all[#all + 1] = certificate.known.thumbprint
        end
    end
    return ByteArray.new(table.concat(all), true):tvb("Thumbprints")
end

-- A device with its file and URLs.
local function show_device(item, file)
    local device = item:add(show.device, visible.text(file.device, 60)):set_generated()
    local source = device:add(show.cnf, visible.text(file.path or file.name)):set_generated()
    if file.frame then
        source:append_text((" (fetched in frame %d)"):format(file.frame))
    end
    for _, url in ipairs(file.urls or {}) do
        device:add(show.url, visible.text(url.text, 255)):set_generated()
    end
end

-- Devices, but none that this frame shows already: a column should not repeat them.
local function show_devices(item, list, shown)
    for _, entry in ipairs(list) do
        if not shown[entry.file] then
            shown[entry.file] = true
            show_device(item, entry.file)
        end
    end
    if list.more then
        item:add(certhash, "and more devices, which are not listed here"):set_generated()
    end
end

-- What of all this anybody asked for: everything where the packet's tree is looked at, in a batch run the fields that a
-- filter, a column or an output names.  Making the others would be the largest part of this plugin's cost.
local OPTIONAL = {
    "certificate", "sha1", "thumbprint", "sha256", "position", "match", "device", "cnf", "url", "verdict", "story",
}
local EVERYTHING = setmetatable({}, { __index = function() return true end })

local NOTHING = {}
local ourselves -- as something to ask about

local function wanted(tree)
    if tree.visible then
        return EVERYTHING
    end
    ourselves = ourselves or Dissector.get("certhash")
    if not tree:referenced(ourselves) then
        return NOTHING
    end
    local wants = {}
    for _, name in ipairs(OPTIONAL) do
        wants[name] = tree:referenced(show[name])
    end
    return wants
end

local function show_certificates(tree, found, role, judgement, wants)
    local bytes = wants.thumbprint and thumbprints_tvb(found)
    local shown, devices = 0, {}
    local listings = judgement and book().files > 0
        and (wants.match or wants.device or wants.cnf or wants.url) and judgement.listed
    for _, message in ipairs(found) do
        for index, certificate in ipairs(message) do
            local known, range, position = certificate.known, certificate.range, index - 1
            local item = tree
            if wants.certificate then
                local text = ("%d%s: %s %s"):format(position, role and " (" .. role .. ")" or "", known.sha1, known.subject)
                item = tree:add(show.certificate, range, text, "Certificate " .. text):set_generated()
            end
            if wants.sha1 then
                item:add(show.sha1, range, known.sha1):set_generated()
            end
            if bytes then
                item:add(show.thumbprint, bytes:range(shown * 20, 20)):set_generated()
            end
            if wants.sha256 then
                item:add(show.sha256, range, known.sha256):set_generated()
            end
            if wants.position then
                item:add(show.position, range, position):set_generated()
            end
            if certificate.whole then
                item:add(show.whole, certificate.whole):set_generated()
            end
            shown = shown + 1
            local listed = listings and listings[shown]
            if listed then
                local match = item:add(show.match, #listed > 0):set_generated()
                if #listed > 0 then
                    match:append_text(" (" .. story.listed(listed, position) .. ")")
                    show_devices(match, listed, devices)
                end
            end
        end
    end
end

local EXPERT = { match = warn.match, mismatch = warn.mismatch, rejected = warn.rejected }

-- The verdict on a server's certificates, and what follows from it.
local function show_verdict(tree, pinfo, sent, judgement, wants)
    local kind = judgement.verdict
    local expert_info = EXPERT[kind]
    local text = (expert_info or wants.verdict or wants.story)
        and story.verdict(judgement, endpoint_text(sent.handshake.server))
    if wants.verdict then
        tree:append_text((": %s, %s"):format(sent.chain[1].sha1, kind or "no verdict"))
    end
    if kind and text then
        local item = tree:add(show.verdict, kind, "Verdict: " .. text):set_generated()
        if expert_info then
            item:add_proto_expert_info(expert_info, text)
        end
        if kind == "mismatch" then
            show_devices(item, judgement.told, {})
        end
    elseif text then
        tree:add(show.story, text):set_generated()
    end
    local own = kind ~= "mismatch" and story.own(judgement)
    if own then
        tree:add(show.story, own):set_generated():add_proto_expert_info(warn.mismatch, own)
    end
    if expert_info and certhash.prefs.info_column then
        pinfo.cols.info:append(" [certhash: " .. kind .. "]")
    end
    if sent.refusal and wants.story then
        tree:add(show.story, refusal_text(sent.refusal, judgement)):set_generated()
    end
end

local function show_alert(tree, pinfo, alert)
    local sent = alert.sent
    local judgement = judge(sent)
    local text = refusal_text(alert, judgement)
    tree:add(show.story, text):set_generated():add_proto_expert_info(warn.rejected, text)
    tree:add(show.certificate_in, sent.frame):set_generated()
    if judgement and judgement.verdict then
        local item = tree:add(show.verdict, judgement.verdict):set_generated()
        item:set_text("Verdict: " .. story.verdict(judgement, endpoint_text(sent.handshake.server)))
        show_devices(item, judgement.told, {})
        if certhash.prefs.info_column then
            local known = judgement.verdict ~= "unlisted" and ", " .. judgement.verdict or ""
            pinfo.cols.info:append(" [certhash: certificate rejected" .. known .. "]")
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
    local what = file.read
    if what then
        show_device(item, what)
        local summary = what.urls and "expects " .. story.hashes(what)
            or what.kind == "encrypted" and "encrypted for the phone: what it expects cannot be told"
            or "no VPN is configured in it"
        item:add(show.story, summary):set_generated()
        item:append_text(" (" .. summary .. ")")
        for _, copy in ipairs(book():stale_copies(what)) do
            local text = ("the copy %s says something else: it expects %s"):format(
                visible.text(copy.path), copy.urls and story.expectation(copy) or "no VPN")
            item:add(show.story, text):set_generated():add_proto_expert_info(warn.stale, text)
        end
    end
    if file.problem then
        local problem = visible.text(file.problem, 400)
        item:add(show.cnf_problem, problem):set_generated()
            :add_proto_expert_info(warn.unusable, file.name .. ": " .. problem)
    end
end

-- ---------------------------------------------------------------------------------------------------------------------
-- The dissector

function certhash.dissector(tvb, pinfo, tree)
    -- Nearly all packets end here, so that the fewest questions are asked of each: what comes over TCP is no TFTP, and DNS
    -- over TCP names no head-end of a phone.  QUIC has no TLS layer around its handshake, and certificates of SSL 2 have
    -- no handshake type, or one of its own.
    local transport = pinfo.port_type
    local tls, dtls, alert, transfer, body, lookup
    if transport == UDP and read.quic() or read.tls() then
        tls = values_or_nil(TLS.type()) or TLS.certificate() and {}
        alert = TLS.alert()
    end
    if transport ~= UDP then
        body = read.http_body()
    end
    if transport ~= TCP then
        if read.dtls() then
            dtls = values_or_nil(DTLS.type())
            alert = alert or DTLS.alert()
        end
        transfer, lookup = read.tftp(), read.dns()
    end
    if not (tls or dtls or alert or transfer or body or lookup) then
        return
    end
    local number, types, found = pinfo.number, tls or dtls, {}
    if tls and (has(tls, CERTIFICATE) or TLS.certificate()) then
        messages(TLS, found)
    end
    if dtls and has(dtls, CERTIFICATE) then
        messages(DTLS, found)
    end
    if number > capture.reached or not pinfo.visited then
        capture.reached = number
        capture.sent[number], capture.alerts[number], capture.files[number] = nil, nil, nil
        if types then
            observe_handshake(pinfo, types, found)
        end
        if alert then
            observe_alert(pinfo)
        end
        if lookup then
            observe_dns(pinfo)
        end
        if (transfer or body) and certhash.prefs.learn_from_capture then
            if transfer then
                observe_tftp(transfer, pinfo)
            else
                observe_http(body, tvb, pinfo)
            end
        end
    end
    local sent, refusal, file = capture.sent[number], capture.alerts[number], capture.files[number]
    local wants = #found > 0 and wanted(tree)
    local certified = wants and (wants ~= NOTHING or book().files > 0)
    if not (certified or refusal or file) then
        return
    end
    local own = tree:add(certhash):set_generated()
    if certified then
        -- Expert information cannot be asked about, so that a verdict is looked for wherever there can be one.
        local judgement = sent and (wants.verdict or wants.story or book().files > 0) and judge(sent)
        if judgement then
            show_verdict(own, pinfo, sent, judgement, wants)
        end
        if sent and sent.refusal then
            own:add(show.rejected_in, sent.refusal.frame):set_generated()
        end
        show_certificates(own, found, sent and sent.role, judgement, wants)
    end
    if refusal then
        show_alert(own, pinfo, refusal)
    end
    if file then
        show_file(own, file)
    end
end

if BATCH then
    local line = module("batch").using({
        version = version,
        reader = reader,
        last = last,
        innermost_ip = innermost_ip,
        messages = messages,
        tls = TLS,
        dtls = DTLS,
        file = function(tvb, pinfo)
            local transfer, body = read.tftp(), read.http_body()
            if not certhash.prefs.learn_from_capture then
                return nil
            elseif transfer then
                observe_tftp(transfer, pinfo)
            elseif body then
                observe_http(body, tvb, pinfo)
            end
            local file = capture.files[pinfo.number]
            capture.files[pinfo.number] = nil
            return file
        end,
        write = function(text) io.stdout:write(text) end,
    })
    function certhash.dissector(tvb, pinfo)
        line(tvb, pinfo)
    end
end

register_postdissector(certhash)

-- Wireshark follows TLS neither after X.224, nor after an upgrade of HTTP, nor in OpenVPN on another port.  To follow it
-- changes what Wireshark dissects, which an annotation must not do unasked: in the window, the user switches it on.
module("carriers").using({
    openvpn = module("openvpn"),
    upgrade = module("upgrade"),
    wanted = function() return BATCH or certhash.prefs.follow_tls end,
})

-- ---------------------------------------------------------------------------------------------------------------------
-- The menus

if gui_enabled() then
    menu.register({
        handshakes = function() return capture.handshakes end,
        endpoint = endpoint_text,
        judge = function(handshake) return judge(handshake.server_sent, 100) end,
        problems = function() return read_directory().problems end,
        copies = function() return read_directory().copies end,
        files = function() return book().files end,
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
