-- Prints one line per frame, for a program that reads whole captures, instead of tree items.
--
-- In an audit, adding tree items and printing the same certificates repeatedly would be most of the work.  Here each
-- certificate's bytes are printed once, and every frame with it refers to it by a number.
--
-- CELL separates the cells of a line, and VALUE the values of a cell; neither occurs in a value.
--   the first line: "certhash", the versions of the plugin, of Wireshark and of Lua, the names of the fields read
--   a certificate:  "", its number, SHA-1 (Base64), its bytes (hex)
--   a frame:        7 cells: its number; seconds (empty if the capture does not say); transport; stream; addresses
--                   (source and target in hex, or two texts); ports (hex); l, a, s, d: packets before this one lost,
--                   packets that it acknowledges lost, this one cut, DTLS
--                   13 more with TLS: types of records; types of messages; of the first record, or message with one:
--                   version of a record, random value, session identifier, server name, and what the server chose (version,
--                   supported version, cipher suite); p if a server's message has the extension pre_shared_key;
--                   certificates (number, position, 0 if damaged); levels and codes of alerts
--                   10 more with DNS or a file: names, types and values (A, AAAA, CNAME) of resource records;
--                   the file's name, content (hex), client, server; what else a packet says of a file: "asks", "begins",
--                   "ends", "error", "other" (status) or "pipelined", protocol, name, source, target, frame of the request,
--                   code, message
--   a failure:      the frame's number, the error message
-- tshark can print everything except the file and the hash without this plugin, so both ways give the same result.

local M = { CELL = "\30", VALUE = "\31" }
local CELL, VALUE = M.CELL, M.VALUE

local CLIENT_HELLO, SERVER_HELLO, CHANGE_CIPHER_SPEC, PRE_SHARED_KEY = 1, 2, 20, 41
local TCP = 2  -- pinfo.port_type
local concat = table.concat

local HEX = {}
for byte = 0, 255 do
    HEX[string.char(byte)] = ("%02x"):format(byte)
end

local function hex(bytes)
    return (bytes:gsub(".", HEX))
end

-- Return a text from outside, with the characters that would end a value or a line escaped.
local function text(info)
    local shown = tostring(info)
    if shown:find("%c") then
        shown = shown:gsub("%c", function(c) return ("\\%03o"):format(c:byte()) end)
    end
    return shown
end

-- Numbers as text, which Lua 5.2 makes anew each time.  The fields have two bytes or fewer.
local digits = setmetatable({}, {
    __index = function(known, number)
        known[number] = ("%d"):format(number)
        return known[number]
    end,
})

-- Return the values of some fields as a cell.  (To call a FieldInfo returns its value, and costs less than its attribute.)
local function numbers(first, second, ...)
    if first == nil then
        return ""
    elseif second == nil then
        return digits[first()]
    end
    local list = { digits[first()], digits[second()] }
    for i = 1, select("#", ...) do
        list[i + 2] = digits[(select(i, ...))()]
    end
    return concat(list, VALUE)
end

local function texts(first, ...)
    if first == nil then
        return ""
    end
    local list = { text(first) }
    for i = 1, select("#", ...) do
        list[i + 1] = text((select(i, ...)))
    end
    return concat(list, VALUE)
end

-- Return the first of the values as a cell: a number, bytes in hex (which need no escapes), or text.
local function first_number(first)
    return first == nil and "" or digits[first()]
end

local function first_bytes(first)
    return first == nil and "" or tostring(first)
end

local function first_text(first)
    return first == nil and "" or text(first)
end

-- Return a function that returns whether a cell of numbers contains the wanted one.
local function contains(wanted)
    local pattern = "%f[%d]" .. wanted .. "%f[%D]"
    return function(cell) return cell:find(pattern) ~= nil end
end

local has_client_hello, has_server_hello = contains(CLIENT_HELLO), contains(SERVER_HELLO)
local has_change_cipher_spec, has_pre_shared_key = contains(CHANGE_CIPHER_SPEC), contains(PRE_SHARED_KEY)

--- Return the function that prints the lines of a frame, given its tvb and packet information.
-- @param plugin what it needs of the plugin: version; wireshark, its version; names_read, a list; reader(field name);
--   one_pass_server, whether the program is sharkd;
--   frame, the readers of a frame;
--   file(tvb, pinfo), which returns the phone configuration that a frame completes, and what else it says of one;
--   write(text)
function M.using(plugin)
    local reader, write, frame = plugin.reader, plugin.write, plugin.frame
    local last = frame.last
    local read = {
        tcp = reader("tcp"),
        eth_src = reader("eth.src"), eth_dst = reader("eth.dst"), time = reader("frame.time_epoch"),
        udp_stream = reader("udp.stream"),
        analysis = reader("tcp.analysis.flags"), lost = reader("tcp.analysis.lost_segment"),
        ack_lost = reader("tcp.analysis.ack_lost_segment"),
        short = plugin.one_pass_server and function() end or reader("_ws.short"),
        dns_type = reader("dns.resp.type"),
    }
    for name, extractor in pairs(frame.read) do
        read[name] = extractor
    end
    local function more(protocol, readers)
        for name, field in pairs({
            content_type = "record.content_type", record_version = "record.version", handshake = "handshake",
            version = "handshake.version", supported = "handshake.extensions.supported_version",
            session = "handshake.session_id", suite = "handshake.ciphersuite",
            extension = "handshake.extension.type",
        }) do
            readers[name] = reader(protocol .. "." .. field)
        end
        return readers
    end
    local TLS, DTLS = more("tls", frame.tls), more("dtls", frame.dtls)

    -- Certificates are numbered in order of appearance; the weak table drops those that the plugin has released.
    local named = setmetatable({}, { __mode = "k" })
    local count = 0

    local function name_of(known)
        local number = named[known]
        if not number then
            number = count
            count, named[known] = count + 1, count
            write(CELL .. number .. CELL .. known.sha1 .. CELL .. hex(known.der) .. "\n")
        end
        return number
    end

    -- Return a cell of certificates: number, position in the message, and whether it is complete.
    local function certificates(found)
        local list = {}
        for _, message in ipairs(found) do
            for index, certificate in ipairs(message) do
                local number, whole = name_of(certificate.known), certificate.damaged and 0 or 1
                list[#list + 1] = ("%d %d %d"):format(number, index - 1, whole)
            end
        end
        return concat(list, VALUE)
    end

    local function ends()
        local four, six = frame.innermost_ip()
        local header = four or six
        if not header then
            local source, target = last(read.eth_src()), last(read.eth_dst())
            return source and target and text(source) .. VALUE .. text(target) or ""
        end
        local size = four and 4 or 16
        local at = four and 12 or 8
        if #header < at + 2 * size then
            return ""
        end
        return hex(header.range:raw(at, 2 * size))
    end

    -- Return the transport, stream, addresses and ports of a frame.
    local function connection()
        local transport, stream = "tcp", last(read.tcp_stream())
        local header
        if stream then
            header = last(read.tcp())
        else
            transport, stream = "udp", last(read.udp_stream())
            if not stream then
                return CELL .. CELL .. ends() .. CELL
            end
            header = last(read.udp())
        end
        local ports = header and #header >= 4 and hex(header.range:raw(0, 4)) or ""
        return concat({ transport, stream(), ends(), ports }, CELL)
    end

    -- Return the cell of a field, of TLS and DTLS together; the readers are nil for protocols that the frame lacks.
    local tls, dtls

    local function cell(convert, name)
        local one = tls and convert(tls[name]()) or ""
        if not dtls then
            return one
        end
        local other = convert(dtls[name]())
        return one == "" and other or other == "" and one or one .. VALUE .. other
    end

    -- The same of the first value alone.
    local function first_cell(convert, name)
        local one = tls and convert(tls[name]()) or ""
        return one == "" and dtls and convert(dtls[name]()) or one
    end

    -- sharkd's first pass has no fields whose names begin with "_".  One of these says whether Wireshark reached the end
    -- of a cut packet; this cannot happen if every packet is complete.
    local function check_whole(tvb, ...)
        if tvb:len() < tvb:reported_len() then
            error("a packet was cut when it was recorded", 0)
        end
        for i = 1, select("#", ...) do
            local source = (select(i, ...)).source
            if source and source:len() < source:reported_len() then
                error("a packet in a packet was cut", 0)
            end
        end
    end

    -- Add the alerts that share a record.  In DTLS, Wireshark shows the first of them, which is then there already.
    local function add_packed_alerts(out)
        for _, readers in ipairs({ tls or false, dtls or false }) do
            for i, alert in ipairs(readers and frame.packed_alerts(readers) or {}) do
                if not (readers == DTLS and i == 1 and out[17] ~= "") then
                    out[16] = out[16] == "" and alert.level or out[16] .. VALUE .. alert.level
                    out[17] = out[17] == "" and alert.code or out[17] .. VALUE .. alert.code
                end
            end
        end
    end

    -- Add the cells of TLS, given those of the types of messages and records.
    local function add_handshake(out, types, records)
        local client, server = has_client_hello(types), has_server_hello(types)
        local found = {}
        if tls then
            frame.messages(tls, found)
        end
        if dtls then
            frame.messages(dtls, found)
        end
        out[5], out[6] = records, types
        out[7], out[8], out[9], out[10], out[11], out[12], out[13], out[14] = "", "", "", "", "", "", "", ""
        if client or server then
            out[8], out[9] = first_cell(first_bytes, "random"), first_cell(first_bytes, "session")
        end
        if client then
            out[10] = first_cell(first_text, "server_name")
        else
            out[7] = first_cell(first_number, "record_version")
        end
        if server then
            out[11], out[12] = first_cell(first_number, "version"), first_cell(first_number, "supported")
            out[13] = first_cell(first_number, "suite")
            out[14] = has_pre_shared_key(cell(numbers, "extension")) and "p" or ""
        end
        out[15] = #found > 0 and certificates(found) or ""
        out[16], out[17] = "", ""
        if tls and tls.alert_message() or dtls and dtls.alert_message() then
            out[16], out[17] = cell(numbers, "alert_level"), cell(numbers, "alert")
            add_packed_alerts(out)
        end
    end

    local function line(tvb, pinfo)
        if plugin.one_pass_server then
            check_whole(tvb, read.ip())
            check_whole(tvb, read.ipv6())
            check_whole(tvb, read.tcp())
            check_whole(tvb, read.udp())
        end
        -- QUIC has no TLS layer around its handshake.
        tls = (read.tls() or pinfo.port_type ~= TCP) and TLS or nil
        dtls = read.dtls() and DTLS or nil
        local types, records, matters = "", "", false
        if tls or dtls then
            types, records = cell(numbers, "type"), cell(numbers, "content_type")
            matters = types ~= "" or has_change_cipher_spec(records)
                -- From 4.4 on, the ServerHello of SSL 2 has a certificate and nothing else of a handshake.
                or tls and (tls.handshake() or tls.alert_message() or tls.certificate())
                or dtls and (dtls.handshake() or dtls.alert_message())
        end
        local lost, ack_lost
        if read.analysis() then
            lost, ack_lost = read.lost(), read.ack_lost()
        end
        local short = read.short()
        local names = read.dns_a() or read.dns_aaaa()
        local file, event
        if read.http() or read.tftp() then
            file, event = plugin.file(tvb, pinfo)
        end
        if not (matters or lost or ack_lost or names or file or event or short and (read.tcp() or read.udp())) then
            return
        end
        local time = read.time()
        local out = {
            pinfo.number,
            time and tostring(time()) or "",
            connection(),
            (lost and "l" or "") .. (ack_lost and "a" or "") .. (short and "s" or "")
                .. (dtls and dtls.content_type() and "d" or ""),
        }
        if matters then
            add_handshake(out, types, records)
        end
        if names or file or event then
            for i = 5, 17 do
                out[i] = out[i] or ""
            end
            out[18], out[19] = texts(read.dns_owner()), numbers(read.dns_type())
            out[20], out[21], out[22] = texts(read.dns_a()), texts(read.dns_aaaa()), texts(read.dns_alias())
            out[23], out[24] = file and file.name or "", file and hex(file.content) or ""
            out[25], out[26] = file and file.client or "", file and file.server or ""
            out[27] = event and concat({
                event.what, event.protocol, event.name, event.source, event.target,
                event.request or "", event.code or "", event.message or "",
            }, VALUE) or ""
        end
        write(concat(out, CELL), "\n")
    end

    local fields_read = concat(plugin.names_read, VALUE)
    write(concat({ "certhash", plugin.version, plugin.wireshark, _VERSION:match("%S+$"), fields_read }, CELL) .. "\n")
    return function(tvb, pinfo)
        local ok, problem = pcall(line, tvb, pinfo)
        if not ok then
            write(pinfo.number .. CELL .. tostring(problem):gsub("%c", " ") .. "\n")
        end
    end
end

return M
